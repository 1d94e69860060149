//! Records of the stdout protocol, read as OTLP/JSON by a reader that knows only the contract.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One log record with its attributes by name.
#[derive(Debug, Clone)]
pub struct Record {
    pub log: Value,
    attributes: BTreeMap<String, Value>,
}

impl Record {
    pub fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    /// A string attribute; empty when it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.attributes.get(name).and_then(|value| value["stringValue"].as_str()).unwrap_or_default()
    }

    /// An integer attribute, which OTLP/JSON writes as a string.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attributes.get(name).and_then(|value| value["intValue"].as_str()).map(|text| text.parse().unwrap())
    }

    pub fn number(&self, name: &str) -> i64 {
        self.int(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub fn flag(&self, name: &str) -> bool {
        self.attributes.get(name).and_then(|value| value["boolValue"].as_bool()).unwrap_or_default()
    }

    pub fn kind(&self) -> &str {
        self.text("event.type")
    }

    pub fn connection(&self) -> &str {
        self.text("connection.id")
    }

    /// Lost bytes by reason.
    pub fn losses(&self) -> BTreeMap<&str, i64> {
        let names = self.attributes.keys().filter_map(|name| name.strip_prefix("connection.loss."));
        names.map(|name| (name, self.number(&format!("connection.loss.{name}")))).collect()
    }

    /// Bytes that the connection's socket carried in both directions.
    pub fn carried(&self) -> i64 {
        self.number("connection.bytes_sent") + self.number("connection.bytes_received")
    }

    /// For a closed connection: captured bytes plus losses by reason equal the bytes carried. This is exact where all of it was plain HTTP; for other
    /// protocols and for TLS the record itself says whether the sums agree.
    pub fn assert_conserved(&self) {
        let losses = self.losses();
        assert!(!losses.contains_key("unaccounted"), "unaccounted: {self:?}");
        let lost = self.number("connection.lost_bytes");
        assert_eq!(losses.values().sum::<i64>(), lost, "losses by name are not what was lost: {self:?}");
        if self.has("connection.tls.inspected") {
            return;
        }
        let accounted = self.number("connection.captured_bytes") + lost;
        let carried = [self.carried(), self.number("connection.bytes_sent"), self.number("connection.bytes_received")];
        if ["http1", "http2", "grpc"].contains(&self.text("connection.protocol")) {
            // A direction that was not HTTP from its first byte is counted and not captured, because no one asked for it.
            assert!(carried.contains(&accounted), "carried is not captured and lost: {self:?}");
        } else {
            assert!(accounted <= carried[0], "captured and lost is more than carried: {self:?}");
        }
    }

    /// An object's artifact, where it is JSON.
    pub fn artifact(&self) -> Value {
        serde_json::from_str(self.text("artifact.data")).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The records of a run.
#[derive(Debug, Clone, Default)]
pub struct Records {
    pub all: Vec<Record>,
}

/// Parses lines, and asserts that each has the form the contract requires.
pub fn parse(lines: &str) -> Records {
    let mut all = Vec::new();
    let mut known = BTreeSet::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for resource in line["resourceLogs"].as_array().expect("resourceLogs") {
            assert_eq!(resource["schemaUrl"], "https://opentelemetry.io/schemas/1.44.0");
            let about = named(&resource["resource"]["attributes"]);
            for name in ["service.name", "service.version", "host.name", "os.type"] {
                assert!(about.contains_key(name), "the resource has no {name}");
            }
            for scope in resource["scopeLogs"].as_array().expect("scopeLogs") {
                assert_eq!(scope["scope"]["name"], "qtap");
                for log in scope["logRecords"].as_array().expect("logRecords") {
                    let record = Record { attributes: named(&log["attributes"]), log: log.clone() };
                    assert_form(&record);
                    assert!(known.insert(record.text("log.record.uid").to_owned()), "a uid twice: {record:?}");
                    all.push(record);
                }
            }
        }
    }
    Records { all }
}

fn named(attributes: &Value) -> BTreeMap<String, Value> {
    let list = attributes.as_array().expect("attributes");
    let map: BTreeMap<_, _> =
        list.iter().map(|one| (one["key"].as_str().expect("key").to_owned(), one["value"].clone())).collect();
    assert_eq!(map.len(), list.len(), "an attribute twice: {attributes}");
    map
}

/// Asserts the OTLP/JSON form of one log record, as contract §3 requires.
fn assert_form(record: &Record) {
    for time in ["timeUnixNano", "observedTimeUnixNano"] {
        let text = record.log[time].as_str().unwrap_or_else(|| panic!("{time} is no string: {record:?}"));
        assert!(text.len() == 19 && text.bytes().all(|byte| byte.is_ascii_digit()), "{time}: {text}");
    }
    assert_eq!(record.log["eventName"].as_str().unwrap(), format!("qtap.{}", record.kind()));
    assert!(["connection", "artifact_record", "object", "request", "issue"].contains(&record.kind()), "{record:?}");
    assert!(record.log["severityNumber"].as_u64().is_some_and(|number| (1..=24).contains(&number)));
    assert!(record.log["body"]["stringValue"].as_str().is_some_and(|line| !line.contains('\n')));
    assert_eq!(record.connection().len(), 36, "connection.id: {record:?}");
    for id in ["traceId", "spanId"] {
        let hex = record.log[id].as_str();
        assert!(hex.is_none_or(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{id}: {record:?}");
    }
    assert_eq!(record.text("log.record.uid").len(), 32);
}

impl Records {
    fn of_kind(&self, kind: &str) -> Vec<&Record> {
        self.all.iter().filter(|record| record.kind() == kind).collect()
    }

    pub fn exchanges(&self) -> Vec<&Record> {
        self.of_kind("artifact_record")
    }

    pub fn objects(&self) -> Vec<&Record> {
        self.of_kind("object")
    }

    pub fn connections(&self) -> Vec<&Record> {
        self.of_kind("connection")
    }

    /// The records of TCP connections only: programs wake themselves through UNIX sockets.
    pub fn over_tcp(&self) -> Records {
        let tcp = |record: &&Record| record.text("network.transport") == "tcp";
        Records { all: self.all.iter().filter(tcp).cloned().collect() }
    }

    /// Final reports of connections.
    pub fn closed(&self) -> Vec<&Record> {
        let all = self.connections().into_iter();
        all.filter(|record| record.text("connection.state") == "closed").collect()
    }

    /// Exchanges of which both halves were seen whole.
    pub fn complete(&self) -> Vec<&Record> {
        self.exchanges().into_iter().filter(|record| !record.has("qtap.incomplete")).collect()
    }

    /// The one exchange of the path.
    pub fn exchange_of(&self, path: &str) -> &Record {
        let found: Vec<_> = self.exchanges().into_iter().filter(|record| record.text("url.path") == path).collect();
        assert_eq!(found.len(), 1, "{path}: {}", self.told());
        found[0]
    }

    /// The object with that digest.
    pub fn object(&self, digest: &str) -> &Record {
        let found = self.objects().into_iter().find(|record| record.text("artifact.digest") == digest);
        found.unwrap_or_else(|| panic!("no object {digest}"))
    }

    /// The artifact of an exchange's `request` or `response`.
    pub fn artifact_of(&self, exchange: &Record, side: &str) -> Value {
        self.object(exchange.text(&format!("artifact.{side}.digest"))).artifact()
    }

    /// One line per record, for failure messages.
    pub fn told(&self) -> String {
        let line = |record: &Record| {
            let losses = record.losses();
            let incomplete = record.text("qtap.incomplete");
            format!("{} {losses:?} {incomplete}", record.log["body"]["stringValue"].as_str().unwrap_or_default())
        };
        self.all.iter().take(60).map(line).collect::<Vec<_>>().join("\n")
    }

    /// The conservation law: when a connection closes, the bytes carried equal those captured plus the losses by reason; and every exchange
    /// and object belongs to a reported connection. Asserted on every capture of these tests.
    pub fn assert_conserved(&self) {
        for record in self.closed() {
            record.assert_conserved();
        }
        let told: BTreeSet<_> = self.connections().iter().map(|record| record.connection()).collect();
        for record in &self.all {
            assert!(told.contains(record.connection()), "a connection that was not told: {record:?}");
        }
        for record in self.objects() {
            let size = record.number("artifact.size_bytes");
            let data = record.text("artifact.data");
            assert!(data.is_empty() || data.len() as i64 == size, "size of {record:?}");
        }
    }

    /// The same law, and in addition no connection lost bytes and every exchange is whole.
    pub fn assert_whole(&self) {
        self.assert_conserved();
        for record in self.closed() {
            assert_eq!(record.number("connection.lost_bytes"), 0, "{record:?}");
        }
        for record in self.exchanges() {
            assert!(!record.has("qtap.incomplete"), "{record:?}");
        }
    }
}
