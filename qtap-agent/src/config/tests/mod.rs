//! Valid files and their settings, invalid files and the messages about them.

mod bad;
mod docs;
mod every_key;
mod places;
mod plugins;
mod redact;
mod remote;
mod rules;
mod tap;
mod transport;

/// Valid files, covering forms that the pages and examples do not.
pub(super) const GOOD_FILES: &[&str] = &[
    "version: 2\nservices: {event_stores: [], object_stores: }\nstacks:\ntap: {direction: , http: none}\ntags: []\n",
    "version: 2\ntap: {http: ''}\nrulekit: {macros: []}\n",
    "version: 2\nservices: {event_stores: [{type: disabled, whatever: [it, was]}]}\n",
    "version: 2\nservices: {event_stores: [{type: otel, otel_endpoint: 'x:4317', headers: {A: 7, B: {value: true}}, timeout: 1m30s}]}\n",
    "version: 2\nservices: {event_stores: [{type: otel, auth: {type: none, username: me}, retry: {max_elapsed: 0}, batch: {max_bytes: 2048}}]}\n",
    "version: 2\nservices: {event_stores: [{type: otel, auth: {type: basic, username: 7, password: {value: x}, name: }, limits: {batch_bytes: 1 MiB}}]}\n",
    "version: 2\nservices:\n  event_stores: [&s {type: otel, endpoint: a}, {<<: *s, endpoint: b}]\n",
    "version: 2\nstacks: {7: {plugins: [{type: http_capture, config: {level: headers}}, {type: redact, config: }]}}\n",
];

use std::time::Duration;

use super::*;
use crate::export::settings::{
    Auth, BatchSettings, Compression, Fsync, Keys, Limits, OtlpProtocol, OtlpSettings, Place, ProxySettings,
    QueueSettings, ResourceSettings, RetrySettings, S3Place, S3Settings, Secret, StoreKind, TlsSettings, WhenFull,
};
use crate::model::record::Severity;
use crate::pipeline::settings::{
    Artifacts, Format, HttpCapture, HttpMetrics, Level, Locator, Redact, RedactAction, Routing, Stack, Step,
};

fn env(name: &str) -> Option<String> {
    let value = match name {
        "KEY" => "k-secret",
        "HOST" => "collector.example",
        "TEAM" => "blue",
        "AWS_ACCESS_KEY_ID" => "AKIA",
        "AWS_SECRET_ACCESS_KEY" => "s3-secret",
        _ => return None,
    };
    Some(value.to_owned())
}

fn source(text: &str) -> Source {
    Source::Text { name: "qtap.yaml".to_owned(), text: text.to_owned() }
}

fn good(text: &str) -> (Settings, Vec<String>) {
    match load(source(text), &env) {
        Ok((settings, notes)) => (settings, notes.iter().map(ToString::to_string).collect()),
        Err(faults) => panic!("{text}\n{faults}"),
    }
}

fn bad(text: &str) -> String {
    match load(source(text), &env) {
        Ok(_) => panic!("taken:\n{text}"),
        Err(faults) => faults.to_string(),
    }
}

fn resource() -> ResourceSettings {
    ResourceSettings { service_name: "qtap".to_owned(), environment: None, attributes: Vec::new() }
}

fn otlp() -> OtlpSettings {
    OtlpSettings {
        resource: resource(),
        endpoint: "localhost:4317".to_owned(),
        endpoint_is_exact: false,
        protocol: OtlpProtocol::Grpc,
        put: false,
        compression: Compression::Gzip,
        headers: Vec::new(),
        auth: Auth::None,
        tls: TlsSettings::default(),
        proxy: ProxySettings::default(),
        timeout: Duration::from_secs(10),
        batch: BatchSettings::default(),
        retry: RetrySettings::default(),
        workers: 2,
        min_severity: Severity::Info,
        limits: Limits::default(),
    }
}

fn event_store(settings: OtlpSettings) -> StoreSettings {
    StoreSettings {
        id: "otel".to_owned(),
        events: true,
        objects: false,
        kind: StoreKind::Otlp(Box::new(settings)),
        queue: Some(QueueSettings::default()),
    }
}

fn locator(store: &str, url: &str, min_bytes: u64) -> Locator {
    Locator { store: store.to_owned(), url: url.to_owned(), min_bytes }
}

/// A file with an event store that has these lines.
fn with_otel(lines: &str) -> String {
    format!("version: 2\nservices:\n  event_stores:\n    - type: otel\n{}", indented(lines, 6))
}

fn indented(lines: &str, by: usize) -> String {
    lines.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

fn plugins(lines: &str) -> String {
    format!(
        "version: 2\nservices: {{event_stores: [{{type: stdout}}], object_stores: [{{type: stdout}}]}}\nstacks:\n  default_stack:\n    plugins:\n{}",
        indented(lines, 6)
    )
}

fn steps(lines: &str) -> Vec<Step> {
    good(&plugins(lines)).0.pipeline.http_stack.expect("a stack").steps
}

#[test]
fn the_smallest_file() {
    let (settings, notes) = good("version: 2\nservices:\n  event_stores:\n    - type: stdout\n");
    let store = StoreSettings {
        id: "stdout".to_owned(),
        events: true,
        objects: false,
        kind: StoreKind::Stdout(resource(), Severity::Trace),
        queue: None,
    };
    assert_eq!(settings.stores, [store]);
    assert_eq!(
        settings.pipeline,
        pipeline::settings::Settings {
            http_stack: Some(Stack {
                name: "default_stack".to_owned(),
                steps: vec![
                    Step::HttpCapture(HttpCapture::default()),
                    Step::HttpMetrics(HttpMetrics::default()),
                    Step::Redact(Redact::default()),
                ],
            }),
            routing: Routing::default(),
            locators: Vec::new(),
            tags: Vec::new(),
            fact_tags: Vec::new(),
        }
    );
    assert_eq!(
        settings.tap,
        TapSettings {
            direction: DirectionFilter::All,
            ignore_loopback: false,
            http_wanted: true,
            http_buffer_size: 2 << 20,
            filters: Filters::default(),
            reads_dns: false,
            audit_dns: false,
        }
    );
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn the_built_in_default() {
    let summary = Settings::built_in(Level::Summary);
    let text = "version: 2\nservices: {event_stores: [{type: stdout}], object_stores: [{type: stdout}]}\n";
    assert_eq!(summary, good(text).0);
    let full = Settings::built_in(Level::Full);
    let text = plugins("- {type: http_capture, config: {level: full}}\n- {type: http_metrics}\n- {type: redact}");
    assert_eq!(full, good(&text).0);
}

#[test]
fn every_key_of_an_otel_store() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        std::fs::write(dir.path().join(name), "").expect("a file");
    }
    std::fs::write(dir.path().join("token"), "from-file\n").expect("a file");
    let text = with_otel(
        "id: main\nendpoint: https://${HOST}:4318/v1/logs\nprotocol: http\nencoding: json\nmethod: PUT\ncompression: zstd
service_name: '{process}'\nenvironment: production\nresource_attributes: {team: blue, shard: 07}
headers:\n  X-Env: {type: env, value: KEY}\n  X-Text: {type: text, value: t}\n  X-File: {type: file, value: token}\n  X-Plain: 12
auth: {type: basic, username: me, password: {type: env, value: KEY}}
tls: {enabled: true, ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem, server_name: other, insecure_skip_verify: true}
timeout: 1m30s\nbatch: {max_records: 7, max_bytes: 2mb, interval: 250ms}
retry: {initial: 2s, max: 1m, max_elapsed: 1h}\nworkers: 5\nmin_severity: warn\nlimits: {record_attributes: 99}
queue: {max_bytes: 1gb, max_records: 90, when_full: block, fsync: always}\n",
    );
    let path = dir.path().join("qtap.yaml");
    std::fs::write(&path, text).expect("a file");
    let (settings, notes) = load(Source::Path(path), &env).unwrap_or_else(|faults| panic!("{faults}"));
    let secret = |text: &str| Secret::text(text);
    let mut store = event_store(OtlpSettings {
        resource: ResourceSettings {
            service_name: "{process}".to_owned(),
            environment: Some("production".to_owned()),
            attributes: vec![("team".to_owned(), "blue".to_owned()), ("shard".to_owned(), "07".to_owned())],
        },
        endpoint: "https://collector.example:4318/v1/logs".to_owned(),
        endpoint_is_exact: false,
        protocol: OtlpProtocol::HttpJson,
        put: true,
        compression: Compression::Zstd,
        headers: vec![
            ("X-Env".to_owned(), secret("k-secret")),
            ("X-Text".to_owned(), secret("t")),
            ("X-File".to_owned(), Secret::file(dir.path().join("token")).expect("a file")),
            ("X-Plain".to_owned(), secret("12")),
        ],
        auth: Auth::Basic { username: "me".to_owned(), password: secret("k-secret") },
        tls: TlsSettings {
            enabled: true,
            ca_file: Some(dir.path().join("ca.pem")),
            cert_file: Some(dir.path().join("cert.pem")),
            key_file: Some(dir.path().join("key.pem")),
            server_name: Some("other".to_owned()),
            insecure_skip_verify: true,
        },
        proxy: ProxySettings::default(),
        timeout: Duration::from_secs(90),
        batch: BatchSettings { max_records: 7, max_bytes: 2 << 20, interval: Duration::from_millis(250) },
        retry: RetrySettings {
            initial: Duration::from_secs(2),
            max: Duration::from_secs(60),
            max_elapsed: Duration::from_secs(3600),
        },
        workers: 5,
        min_severity: Severity::Warn,
        limits: Limits { record_attributes: 99, ..Limits::default() },
    });
    store.id = "main".to_owned();
    store.queue =
        Some(QueueSettings { max_bytes: 1 << 30, max_records: 90, when_full: WhenFull::Block, fsync: Fsync::Always });
    assert_eq!(settings.stores, [store]);
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn transports_and_authentication() {
    let store = |lines: &str| match good(&with_otel(lines)).0.stores.remove(0).kind {
        StoreKind::Otlp(settings) => *settings,
        other => panic!("{other:?}"),
    };
    assert_eq!(store(""), otlp());
    let http = store("protocol: http");
    assert_eq!((http.protocol, http.endpoint.as_str()), (OtlpProtocol::HttpProtobuf, "localhost:4318"));
    assert_eq!(store("endpoint: '{{ HOST }}:4317'").endpoint, "collector.example:4317");
    let value = Secret::text("v");
    assert_eq!(
        store("auth: {type: header, name: X-Key, value: v}").auth,
        Auth::Header { name: "X-Key".to_owned(), value: value.clone() }
    );
    assert_eq!(
        store("protocol: http\nauth: {type: query, name: key, value: v}").auth,
        Auth::Query { name: "key".to_owned(), value }
    );
    assert_eq!(store("auth: {type: none}").auth, Auth::None);
    let (settings, _) = good(&with_otel("protocol: stdout\nenvironment: test"));
    let StoreKind::Stdout(resource, least) = &settings.stores[0].kind else { panic!("{settings:?}") };
    assert_eq!((resource.environment.as_deref(), *least), (Some("test"), Severity::Trace));
    let (settings, _) = good(&with_otel("protocol: stdout\nmin_severity: error"));
    assert!(matches!(&settings.stores[0].kind, StoreKind::Stdout(_, Severity::Error)), "{settings:?}");
    assert_eq!(good(&with_otel("endpoint: http://[::1]:4317")).0.stores.len(), 1);
}

#[test]
fn queues() {
    let queue = |lines: &str| good(&with_otel(lines)).0.stores.remove(0).queue;
    let default = QueueSettings::default();
    assert_eq!(queue(""), Some(default));
    for (word, when_full) in
        [("drop_oldest", WhenFull::DropOldest), ("drop_newest", WhenFull::DropNewest), ("block", WhenFull::Block)]
    {
        assert_eq!(queue(&format!("queue: {{when_full: {word}}}")), Some(QueueSettings { when_full, ..default }));
    }
    for (word, fsync) in [("interval", Fsync::Interval), ("always", Fsync::Always), ("never", Fsync::Never)] {
        assert_eq!(queue(&format!("queue: {{fsync: {word}}}")), Some(QueueSettings { fsync, ..default }));
    }
    let (settings, notes) = good(&with_otel("protocol: stdout\nqueue: {max_bytes: 1mb}"));
    assert_eq!(settings.stores[0].queue, None);
    assert!(notes.len() == 1 && notes[0].contains("standard output has no queue on disk"), "{notes:?}");
    // Two lists, two different queues: not one store.
    let text = "version: 2\nservices:\n  event_stores: [{type: otel, queue: {max_bytes: 1mb}}]\n  object_stores: [{type: otel}]\n";
    assert_eq!(good(text).0.stores.len(), 2);
}

/// The defaults that the table states are those that apply.
#[test]
fn defaults_are_as_told() {
    for (shape, base) in [
        (&shape::EVENT_OTEL, "version: 2\nservices:\n  event_stores:\n    - type: otel\n"),
        (&shape::S3, "version: 2\nservices:\n  object_stores:\n    - type: s3\n      bucket: b\n"),
    ] {
        let defaults = |shape: &'static shape::Shape| shape.all().filter(|key| !key.default.is_empty());
        let written: String = defaults(shape).map(|key| format!("      {}: {}\n", key.name, key.default)).collect();
        assert_eq!(good(base).0, good(&format!("{base}{written}")).0, "{written}");
    }
    for (key, shape) in [
        ("batch", &shape::BATCH),
        ("retry", &shape::RETRY),
        ("queue", &shape::QUEUE),
        ("tls", &shape::TLS),
        ("limits", &shape::LIMITS),
    ] {
        let pairs: Vec<String> = shape
            .all()
            .filter(|key| !key.default.is_empty())
            .map(|key| format!("{}: {}", key.name, key.default))
            .collect();
        assert_eq!(good(&with_otel("")).0, good(&with_otel(&format!("{key}: {{{}}}", pairs.join(", ")))).0, "{key}");
    }
    for (plugin, shape) in [
        ("http_capture", &shape::HTTP_CAPTURE),
        ("access_logs", &shape::ACCESS_LOGS),
        ("report_usage", &shape::REPORT_USAGE),
        ("http_metrics", &shape::HTTP_METRICS),
        ("redact", &shape::REDACT),
        ("sample", &shape::SAMPLE),
    ] {
        let pairs: Vec<String> = shape
            .all()
            .filter(|key| !key.default.is_empty())
            .map(|key| format!("{}: {}", key.name, key.default))
            .collect();
        let written = steps(&format!("- {{type: {plugin}, config: {{{}}}}}", pairs.join(", ")));
        assert_eq!(steps(&format!("- type: {plugin}")), written, "{plugin}");
    }
}

#[test]
fn an_s3_store_and_its_urls() {
    let text = "version: 2
services:
  event_stores: [{type: stdout}]
  object_stores:
    - type: s3
      endpoint: http://127.0.0.1:9000
      region: eu-west-1
      bucket: artifacts
      access_key: {type: env, value: AWS_ACCESS_KEY_ID}
      secret_key: {type: env, value: AWS_SECRET_ACCESS_KEY}
      prefix: qtap/
      min_bytes: 4kb
      timeout: 5s
      workers: 9
      queue: {max_bytes: 2gb}
      retry: {initial: 10ms}
    - type: otel
      id: small
      otel_endpoint: https://api.example.com/v1/logs
      protocol: http
";
    let (settings, notes) = good(text);
    let s3 = S3Settings {
        place: Place::S3(S3Place {
            endpoint: Some("127.0.0.1:9000".to_owned()),
            insecure: true,
            region: "eu-west-1".to_owned(),
            bucket: "artifacts".to_owned(),
            path_style: true,
            keys: Some(Keys {
                access_key: Secret::text("AKIA"),
                secret_key: Secret::text("s3-secret"),
                session_token: None,
            }),
            encryption: None,
        }),
        prefix: "qtap/".to_owned(),
        tls: TlsSettings::default(),
        proxy: ProxySettings::default(),
        timeout: Duration::from_secs(5),
        retry: RetrySettings { initial: Duration::from_millis(10), ..RetrySettings::default() },
        workers: 9,
    };
    assert_eq!(
        settings.stores[1],
        StoreSettings {
            id: "s3".to_owned(),
            events: false,
            objects: true,
            kind: StoreKind::S3(Box::new(s3)),
            queue: Some(QueueSettings { max_bytes: 2 << 30, ..QueueSettings::default() }),
        }
    );
    assert_eq!(settings.stores[2].id, "small");
    assert_eq!(
        settings.pipeline.locators,
        [
            locator("s3", "http://127.0.0.1:9000/artifacts/qtap/{{DIGEST}}", 4096),
            locator("small", "otel://api.example.com/{{DIGEST}}", 0),
        ]
    );
    assert_eq!(
        notes,
        ["qtap.yaml:19:7: `otel_endpoint` is an old name of `endpoint`
   19 |       otel_endpoint: https://api.example.com/v1/logs
      |       ^^^^^^^^^^^^^ write `endpoint`"]
    );
    let url = |lines: &str| {
        let text =
            format!("version: 2\nservices:\n  object_stores:\n    - type: s3\n      bucket: b\n{}", indented(lines, 6));
        good(&text).0.pipeline.locators.remove(0).url
    };
    assert_eq!(url(""), "https://s3.amazonaws.com/b/{{DIGEST}}");
    assert_eq!(url("insecure: true\nendpoint: h:9"), "http://h:9/b/{{DIGEST}}");
    assert_eq!(
        url("access_url: 'https://{{ BUCKET }}.{{ENDPOINT}}/{{DIGEST}}?x'\nprefix: p-"),
        "https://b.s3.amazonaws.com/p-{{DIGEST}}?x"
    );
}

#[test]
fn a_store_in_both_lists_is_one() {
    let ids = |text: &str| -> Vec<(String, bool, bool)> {
        let stores = good(text).0.stores;
        stores.into_iter().map(|store| (store.id, store.events, store.objects)).collect()
    };
    let both = "version: 2\nservices:\n  event_stores: [{type: stdout}, {type: otel, id: a}]\n  object_stores: [{type: stdout}, {type: otel, id: a}]\n";
    assert_eq!(ids(both), [("stdout".to_owned(), true, true), ("a".to_owned(), true, true)]);
    let two = "version: 2\nservices:\n  event_stores: [{type: otel}, {type: otel, endpoint: 'b:1'}, {type: disabled, nonsense: 1}]\n  object_stores: [{type: otel, endpoint: 'c:1'}]\n";
    assert_eq!(
        ids(two),
        [("otel".to_owned(), true, false), ("otel-2".to_owned(), true, false), ("otel-3".to_owned(), false, true)]
    );
}

#[test]
fn plugins_of_a_stack() {
    let capture = |level, format, artifacts| {
        Step::HttpCapture(HttpCapture { level, format, artifacts, ..HttpCapture::default() })
    };
    assert_eq!(
        steps("- {type: http_capture, config: {level: full, format: http, artifacts: transaction}}\n- type: redact")[0],
        capture(Level::Full, Format::Http, Artifacts::Transaction)
    );
    assert_eq!(
        steps("- {type: http_capture, config: {level: headers, format: text}}\n- type: redact")[0],
        capture(Level::Details, Format::Text, Artifacts::Split)
    );
    assert_eq!(steps("- {type: http_capture, config: {rules: []}}"), [Step::HttpCapture(HttpCapture::default())]);
    let redact = Step::Redact(Redact {
        headers: vec!["x-session".to_owned()],
        credential_headers: false,
        query_keys: Vec::new(),
        credential_query_keys: false,
        action: RedactAction::Drop,
        ..Redact::default()
    });
    assert_eq!(
        steps("- {type: redact, config: {headers: [X-Session, x-session], query_keys: [], action: drop}}"),
        [redact]
    );
    let Step::Redact(more) =
        steps("- {type: redact, config: {headers: [credentials, X-More], action: hash}}").remove(0)
    else {
        panic!("not redact")
    };
    assert_eq!(more.headers.len(), Redact::default().headers.len() + 1);
    assert!(more.credential_headers && more.credential_query_keys);
    assert_eq!((more.action, more.query_keys), (RedactAction::Hash, Redact::default().query_keys));
}

#[test]
fn tap_and_tags() {
    let base = "version: 2\nservices: {event_stores: [{type: stdout}]}\n";
    let tap = |text: &str| good(&format!("{base}{text}")).0;
    let settings = tap(
        "tap: {direction: egress-internal, ignore_loopback: true, audit_include_dns: false, filters: {groups: [], custom: []}}\n",
    );
    assert_eq!((settings.tap.direction, settings.tap.ignore_loopback), (DirectionFilter::EgressInternal, true));
    for (word, direction) in [
        ("all", DirectionFilter::All),
        ("ingress", DirectionFilter::Ingress),
        ("egress", DirectionFilter::Egress),
        ("egress-external", DirectionFilter::EgressExternal),
    ] {
        assert_eq!(tap(&format!("tap: {{direction: {word}}}\n")).tap.direction, direction);
    }
    for none in ["none", "''", "{stack: none}", "{stack: ''}"] {
        let settings = tap(&format!("tap: {{http: {none}}}\n"));
        assert_eq!((settings.pipeline.http_stack, settings.tap.http_wanted), (None, false), "{none}");
    }
    let settings = tap("stacks: {a: {plugins: []}, b: {plugins: [{type: http_capture}]}}\ntap: {http: {stack: b}}\n");
    assert_eq!(settings.pipeline.http_stack.map(|stack| stack.name), Some("b".to_owned()));
    assert!(!tap("stacks: {a: {plugins: [{type: http_capture, config: {level: none}}]}}\n").tap.http_wanted);
    assert_eq!(tap("tags: [{key: team, source: env, location: TEAM}]\n").pipeline.tags, ["team:blue"]);
    let with = tap("").with(&["a:b".to_owned()], 64 << 20);
    assert_eq!((with.pipeline.tags, with.tap.http_buffer_size), (vec!["a:b".to_owned()], 64 << 20));
}

#[test]
fn anchors_and_merge_keys() {
    let text = "version: 2\nservices:\n  event_stores:\n    - &base\n      type: otel\n      timeout: 5s\n    - <<: *base\n      endpoint: other:4317\n";
    let stores = good(text).0.stores;
    let StoreKind::Otlp(second) = &stores[1].kind else { panic!("not otlp") };
    assert_eq!((second.endpoint.as_str(), second.timeout), ("other:4317", Duration::from_secs(5)));
}

#[test]
fn files_that_are_right_are_taken() {
    for text in GOOD_FILES {
        good(text);
    }
}
