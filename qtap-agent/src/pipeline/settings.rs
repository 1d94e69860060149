//! What the pipeline does with an observation, checked and resolved. Larger plugin settings have a file of
//! their own.

mod access_logs;
mod detect_errors;
mod gen_ai;
mod http_metrics;
mod report_usage;
mod sample;

pub use access_logs::{AccessLogs, LogFormat};
pub use detect_errors::{DetectErrors, IssueRule, Pattern, Recorded, StatusPattern, UrlPattern, UrlSubject};
pub use gen_ai::GenAiStep;
pub use http_metrics::HttpMetrics;
pub use report_usage::{ReportUsage, UsageDigest};
pub use sample::{Sample, SampleBy};

mod routing;
mod rules;
mod tags;

pub use routing::{Endpoint, Routing};
pub(crate) use rules::first_to_pass;
pub use rules::{CaptureRule, Macros, Rule, compile};
pub(crate) use tags::tags_of;
pub use tags::{Fact, FactTag};

pub mod json_path;
mod redact;

pub use redact::{BodyValues, Ready, Redact, RedactAction, Salt, SecretForm};

/// All settings of the pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The stack for HTTP exchanges, unless `routing` selects another; `None`: they leave no record.
    pub http_stack: Option<Stack>,
    /// Exchanges that go through other stacks.
    pub routing: Routing,
    /// Where object records are stored, so that the artifact record can contain their URL; empty: no object store.
    pub locators: Vec<Locator>,
    /// `key:value` tags on every record.
    pub tags: Vec<String>,
    /// Tags for records of processes that have a certain fact.
    pub fact_tags: Vec<FactTag>,
}

impl Settings {
    /// Number of hosts with a label of their own in the HTTP metrics: the maximum over all stacks.
    #[must_use]
    pub fn max_hosts(&self) -> u16 {
        let hosts = self.stacks().flat_map(|stack| &stack.steps).filter_map(|step| match step {
            Step::HttpMetrics(metrics) => Some(metrics.max_hosts),
            Step::HttpCapture(_)
            | Step::AccessLogs(_)
            | Step::ReportUsage(_)
            | Step::DetectErrors(_)
            | Step::Redact(_)
            | Step::GenAi(_)
            | Step::Sample(_) => None,
        });
        hosts.max().unwrap_or_default()
    }
}

/// An ordered list of steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stack {
    /// Name in the file.
    pub name: String,
    /// Steps, in order.
    pub steps: Vec<Step>,
}

impl Stack {
    /// The highest level at which any output shows an exchange.
    #[must_use]
    pub fn shows(&self) -> Level {
        self.steps.iter().map(Step::shows).max().unwrap_or(Level::None)
    }

    /// The highest level at which objects are stored.
    #[must_use]
    pub fn stores(&self) -> Level {
        self.steps.iter().map(Step::stores).max().unwrap_or(Level::None)
    }
}

/// A step of a stack.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `http_capture`.
    HttpCapture(HttpCapture),
    /// `access_logs`.
    AccessLogs(AccessLogs),
    /// `report_usage`.
    ReportUsage(ReportUsage),
    /// `detect_errors`.
    DetectErrors(DetectErrors),
    /// `http_metrics`.
    HttpMetrics(HttpMetrics),
    /// `redact`.
    Redact(Redact),
    /// `gen_ai`.
    GenAi(GenAiStep),
    /// `sample`.
    Sample(Sample),
}

impl Step {
    /// The highest level at which objects are stored.
    fn stores(&self) -> Level {
        match self {
            Step::HttpCapture(capture) => capture.highest(),
            Step::DetectErrors(detect) => {
                let recorded = detect.rules.iter().map(|rule| rule.request.max(rule.response));
                recorded.max().map_or(Level::None, Recorded::level)
            }
            Step::AccessLogs(_)
            | Step::ReportUsage(_)
            | Step::HttpMetrics(_)
            | Step::Redact(_)
            | Step::GenAi(_)
            | Step::Sample(_) => Level::None,
        }
    }

    /// The highest level at which any output shows an exchange.
    fn shows(&self) -> Level {
        match self {
            Step::AccessLogs(logs) => logs.highest(),
            Step::HttpCapture(_)
            | Step::ReportUsage(_)
            | Step::DetectErrors(_)
            | Step::HttpMetrics(_)
            | Step::Redact(_)
            | Step::GenAi(_)
            | Step::Sample(_) => self.stores(),
        }
    }

    fn needs_bodies(&self) -> bool {
        let looks = match self {
            Step::DetectErrors(detect) => detect.rules.iter().any(|rule| !rule.body.is_empty()),
            // Only for LLM calls: see `judge`.
            Step::GenAi(_) => true,
            Step::HttpCapture(_)
            | Step::AccessLogs(_)
            | Step::ReportUsage(_)
            | Step::HttpMetrics(_)
            | Step::Redact(_)
            | Step::Sample(_) => false,
        };
        looks || self.shows() == Level::Full
    }

    fn needs_exchanges(&self) -> bool {
        match self {
            Step::HttpCapture(_) | Step::AccessLogs(_) => self.shows() > Level::None,
            Step::DetectErrors(detect) => !detect.rules.is_empty(),
            Step::ReportUsage(_) | Step::HttpMetrics(_) => true,
            Step::Redact(_) | Step::GenAi(_) | Step::Sample(_) => false,
        }
    }
}

/// How much of an exchange is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing: no artifact record, no object.
    None,
    /// The artifact record.
    Summary,
    /// Also objects with start lines and header fields.
    Details,
    /// Also bodies.
    Full,
}

/// How an artifact is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON document.
    Json,
    /// The message as it was sent (`message/http`).
    Http,
    /// Readable text.
    Text,
}

/// Which artifacts an exchange produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Artifacts {
    /// One `http_request`, one `http_response`.
    Split,
    /// One `http_transaction`.
    Transaction,
}

/// `http_capture`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCapture {
    /// Level.
    pub level: Level,
    /// Format of artifacts.
    pub format: Format,
    /// Which artifacts.
    pub artifacts: Artifacts,
    /// The first rule that matches sets the level instead.
    pub rules: Vec<CaptureRule>,
}

impl Default for HttpCapture {
    fn default() -> Self {
        HttpCapture { level: Level::Summary, format: Format::Json, artifacts: Artifacts::Split, rules: Vec::new() }
    }
}

/// The location of an object, known before it is stored, from its digest alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locator {
    /// Id of the object store.
    pub store: String,
    /// URL with the placeholder `{{DIGEST}}`; for S3 it already contains the rest of the object's key (prefix + digest).
    pub url: String,
    /// Objects smaller than this go to the next store in the list.
    pub min_bytes: u64,
}

impl Locator {
    /// The store for an object of `bytes` bytes: the first that accepts objects this small.
    #[must_use]
    pub fn first_for(locators: &[Locator], bytes: u64) -> Option<&Locator> {
        locators.iter().find(|locator| locator.min_bytes <= bytes)
    }

    /// The URL of the object whose SHA-256 is `digest`, in hexadecimal digits without a prefix, as in object keys.
    #[must_use]
    pub fn url_of(&self, digest: &str) -> String {
        const PLACE: &str = "{{DIGEST}}";
        let mut url = String::with_capacity(self.url.len() + digest.len());
        let mut rest = self.url.as_str();
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            let (instead, after) = match from.strip_prefix(PLACE) {
                Some(after) => (digest, after),
                None => ("{", from.get(1..).unwrap_or_default()),
            };
            url.push_str(before);
            url.push_str(instead);
            rest = after;
        }
        url.push_str(rest);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_goes_to_the_first_store_that_takes_its_size() {
        let locator = |store: &str, min_bytes| Locator {
            store: store.to_owned(),
            url: format!("{store}://x/{{{{DIGEST}}}}"),
            min_bytes,
        };
        let list = [locator("s3", 1000), locator("otel", 0)];
        assert_eq!(Locator::first_for(&list, 1000).map(|l| l.url_of("ab")), Some("s3://x/ab".to_owned()));
        assert_eq!(Locator::first_for(&list, 999).map(|l| l.url_of("ab")), Some("otel://x/ab".to_owned()));
        assert_eq!(Locator::first_for(&list[..1], 999), None);
    }

    #[test]
    fn the_digest_stands_wherever_the_url_asks_for_it() {
        let url = |url: &str| Locator { store: String::new(), url: url.to_owned(), min_bytes: 0 }.url_of("ab");
        assert_eq!(url("https://h/{{DIGEST}}"), "https://h/ab");
        assert_eq!(url("{{DIGEST}}/{x}{{{DIGEST}}}{"), "ab/{x}{ab}{");
        assert_eq!(url("none"), "none");
    }
}
