//! Metrics of the HTTP exchanges of stacks that ask for them: counts, durations, body sizes. In: observations from the tap, whether or not
//! they become records. Out: metric families whose labels are method, host, status and protocol, and nothing else of an exchange. All labels
//! are bounded: a value beyond the bounds, or a host that does not look like a host name, is counted under `other`.

use std::collections::HashMap;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::conn::Protocol;
use crate::model::exchange::{Exchange, HttpExchange};
use crate::model::message::host_of;
use crate::model::observation::Observation;

/// Methods that get a label of their own. About forty methods are registered; few are used.
const METHODS: usize = 32;
/// Series of the request counter; beyond it, exchanges with a new combination of labels are counted under method and host `other`.
const SERIES: usize = 5_000;
const OTHER: &str = "other";

type CountLabels = [(&'static str, String); 4];
type SizeLabels = [(&'static str, String); 2];
type Histograms = Family<SizeLabels, Histogram, fn() -> Histogram>;

/// The HTTP families of the metrics page.
#[derive(Debug, Clone)]
pub struct HttpFamilies {
    requests: Family<CountLabels, Counter>,
    duration: Histograms,
    request_size: Histograms,
    response_size: Histograms,
}

impl HttpFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("qtap_http_requests", "HTTP exchanges seen", self.requests.clone());
        let histograms = [
            (
                "qtap_http_request_duration_seconds",
                "First byte of the request to last byte of the response",
                &self.duration,
            ),
            ("qtap_http_request_size_bytes", "Request bodies, as carried", &self.request_size),
            ("qtap_http_response_size_bytes", "Response bodies, as carried", &self.response_size),
        ];
        for (name, help, family) in histograms {
            registry.register(name, help, family.clone());
        }
    }
}

/// Counts exchanges.
#[derive(Debug)]
pub struct HttpMetrics {
    families: HttpFamilies,
    methods: Names,
    hosts: Names,
    counters: HashMap<(u16, u16, Option<u16>, Protocol), Counter>,
    histograms: HashMap<(u16, Protocol), [Histogram; 3]>,
}

impl HttpMetrics {
    /// Creates empty metrics; `max_hosts` is the number of hosts that get a label of their own.
    #[must_use]
    pub fn new(max_hosts: u16) -> HttpMetrics {
        let seconds =
            || Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        let bytes =
            || Histogram::new([0.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 16_777_216.0]);
        HttpMetrics {
            families: HttpFamilies {
                requests: Family::default(),
                duration: Family::new_with_constructor(seconds),
                request_size: Family::new_with_constructor(bytes),
                response_size: Family::new_with_constructor(bytes),
            },
            methods: Names::new(METHODS),
            hosts: Names::new(max_hosts.into()),
            counters: HashMap::new(),
            histograms: HashMap::new(),
        }
    }

    /// The families for the metrics page; they share the counts with `self`.
    #[must_use]
    pub fn families(&self) -> HttpFamilies {
        self.families.clone()
    }

    /// Counts an exchange. One that is reported in parts counts once, with its last part; connection reports are ignored.
    pub fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Exchange(seen) => {
                let Exchange::Http(http) = &seen.exchange;
                self.count(http);
            }
            Observation::Connection(_) => {}
        }
    }

    fn count(&mut self, http: &HttpExchange) {
        if http.part.is_some_and(|part| !part.last) {
            return;
        }
        let method = http.request.as_ref().and_then(|request| request.method.as_deref());
        let method = self.methods.number(method.filter(|method| is_method(method)));
        let host = http.request.as_ref().and_then(|request| request.authority.as_deref()).map(host_of);
        let host = self.hosts.number(host.filter(|host| is_host(host)));
        let status = http.response.as_ref().and_then(|response| response.status).filter(|status| *status < 1000);
        let mut series = (method, host, status, http.protocol);
        if self.counters.len() >= SERIES && !self.counters.contains_key(&series) {
            series = (0, 0, status, http.protocol);
        }
        let (families, methods, hosts) = (&self.families, &self.methods, &self.hosts);
        let counter = self.counters.entry(series).or_insert_with(|| {
            let labels = [
                ("method", methods.name(series.0)),
                ("host", hosts.name(series.1)),
                ("status_code", status.map_or_else(|| "none".to_owned(), |status| status.to_string())),
                ("protocol", protocol(http.protocol).to_owned()),
            ];
            families.requests.get_or_create_owned(&labels)
        });
        counter.inc();
        let histograms = self.histograms.entry((host, http.protocol)).or_insert_with(|| {
            let labels = [("host", hosts.name(host)), ("protocol", protocol(http.protocol).to_owned())];
            let family = [&families.duration, &families.request_size, &families.response_size];
            family.map(|family| family.get_or_create_owned(&labels))
        });
        for (histogram, value) in histograms.iter().zip(measures(http)) {
            value.into_iter().for_each(|value| histogram.observe(value));
        }
    }
}

/// Duration in seconds, sizes in bytes, where they are known.
fn measures(http: &HttpExchange) -> [Option<f64>; 3] {
    let (request, response) = (http.request.as_ref(), http.response.as_ref());
    let ended = response.and_then(|response| response.ended);
    let started = request.map(|request| request.started);
    let duration = ended.zip(started).map(|(ended, started)| ended.since(started).as_secs_f64());
    // Sizes past 2^53 bytes lose their last digits, which no histogram bucket shows.
    [duration, request.map(|request| request.body.size as f64), response.map(|response| response.body.size as f64)]
}

fn is_method(method: &str) -> bool {
    (1..=20).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

/// True when `host` has the form of a host name or address; anything else from a hostile peer must not become a label.
fn is_host(host: &str) -> bool {
    (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:%".contains(&b))
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "http1",
        Protocol::Http2 => "http2",
        Protocol::Grpc => "grpc",
        Protocol::Tls | Protocol::Dns | Protocol::Unknown => OTHER,
    }
}

/// The first `most` names seen, each with a number; 0 is `other`.
#[derive(Debug)]
struct Names {
    numbers: HashMap<String, u16>,
    names: Vec<String>,
    most: usize,
}

impl Names {
    fn new(most: usize) -> Names {
        Names { numbers: HashMap::new(), names: vec![OTHER.to_owned()], most }
    }

    fn number(&mut self, name: Option<&str>) -> u16 {
        let Some(name) = name else { return 0 };
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() > self.most {
            return 0;
        }
        let number = self.names.len() as u16; // at most `most`
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    fn name(&self, number: u16) -> String {
        self.names.get(usize::from(number)).cloned().unwrap_or_else(|| OTHER.to_owned())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::exchange::Part;
    use crate::model::message::{Body, Fields, Request, Response, Version};
    use crate::model::time::KernelTime;

    fn http(method: &str, authority: &str, status: u16) -> HttpExchange {
        let (fields, trailers) = (Fields::default(), Fields::default());
        let body = Body { size: 100, ..Body::default() };
        HttpExchange {
            protocol: Protocol::Http1,
            ordinal: 0,
            outgoing: true,
            pid: 1,
            request: Some(Request {
                method: Some(method.to_owned()),
                target: None,
                scheme: None,
                authority: Some(authority.to_owned()),
                protocol: None,
                version: Version::Http11,
                fields: fields.clone(),
                body: body.clone(),
                trailers: trailers.clone(),
                started: KernelTime(0),
                ended: None,
            }),
            response: Some(Response {
                status: Some(status),
                reason: "".into(),
                informational: Vec::new(),
                version: Version::Http11,
                fields,
                body,
                trailers,
                started: KernelTime(0),
                ended: Some(KernelTime(20_000_000)),
            }),
            incomplete: None,
            part: None,
        }
    }

    fn page(metrics: &HttpMetrics) -> String {
        let mut registry = Registry::default();
        metrics.families().register(&mut registry);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).map_or_else(|_| String::new(), |()| page)
    }

    /// The metrics page after one exchange.
    pub(in crate::admin) fn page_of_one() -> String {
        let mut metrics = HttpMetrics::new(100);
        metrics.count(&http("GET", "a.example", 200));
        page(&metrics)
    }

    #[test]
    fn exchanges_are_counted_by_method_host_status_and_protocol() {
        let mut metrics = HttpMetrics::new(100);
        metrics.count(&http("GET", "u:p@a.example:80", 200));
        metrics.count(&http("GET", "a.example", 200));
        metrics.count(&http("POST", "a.example", 500));
        let page = page(&metrics);
        let line = r#"qtap_http_requests_total{method="GET",host="a.example",status_code="200",protocol="http1"} 2"#;
        assert!(page.contains(line), "{page}");
        let line = r#"qtap_http_request_duration_seconds_bucket{le="0.025",host="a.example",protocol="http1"} 3"#;
        assert!(page.contains(line), "{page}");
        assert!(page.contains(r#"qtap_http_request_size_bytes_sum{host="a.example",protocol="http1"} 300"#), "{page}");
    }

    #[test]
    fn an_exchange_told_in_parts_is_counted_once() {
        let mut metrics = HttpMetrics::new(100);
        for (number, last) in [(0, false), (1, false), (2, true)] {
            metrics.count(&HttpExchange {
                part: Some(Part { number, last, large: false }),
                ..http("GET", "a.example", 200)
            });
        }
        let page = page(&metrics);
        let line = r#"qtap_http_requests_total{method="GET",host="a.example",status_code="200",protocol="http1"} 1"#;
        assert!(page.contains(line), "{page}");
    }

    #[test]
    fn hostile_labels_are_other() {
        let mut metrics = HttpMetrics::new(100);
        for number in 0..300 {
            metrics.count(&http("GET", &format!("h{number}.example"), 200));
            metrics.count(&http(&format!("M{number}"), "a b\"c", 200));
        }
        let page = page(&metrics);
        assert!(page.contains(r#"{method="GET",host="other",status_code="200",protocol="http1"} 200"#), "{page}");
        assert!(page.contains(r#"{method="other",host="other",status_code="200",protocol="http1"} 300"#), "{page}");
        assert!(!page.contains("a b"));
    }

    #[test]
    fn hosts_have_labels_up_to_the_bound_that_was_asked_for() {
        let mut metrics = HttpMetrics::new(1);
        for host in ["a.example", "b.example", "a.example"] {
            metrics.count(&http("GET", host, 200));
        }
        let page = page(&metrics);
        assert!(page.contains(r#"{method="GET",host="a.example",status_code="200",protocol="http1"} 2"#), "{page}");
        assert!(page.contains(r#"{method="GET",host="other",status_code="200",protocol="http1"} 1"#), "{page}");
        metrics = HttpMetrics::new(0);
        metrics.count(&http("GET", "a.example", 200));
        assert!(!self::page(&metrics).contains("a.example"));
    }

    #[test]
    fn series_are_bounded() {
        let mut metrics = HttpMetrics::new(100);
        for host in 0..101 {
            for status in 100..400 {
                metrics.count(&http("GET", &format!("h{host}"), status));
            }
        }
        assert!(metrics.counters.len() <= SERIES + 300, "{}", metrics.counters.len());
    }
}
