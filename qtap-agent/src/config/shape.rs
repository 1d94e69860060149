//! Every key of `qtap.yaml`: its place, what it takes, its bounds and its default. `fields` reads the file by these tables, and
//! `docs/config.md` is checked against them.

mod plugins;

use std::ops::RangeInclusive;
use std::time::Duration;

pub(crate) use plugins::{ACCESS_LOGS, DETECT_ERRORS, HTTP_METRICS, ISSUE_RULE, LOG_RULE, REPORT_USAGE, SAMPLE};

/// A map of the file.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What it is, as messages name it: `an otel store`.
    pub(crate) what: &'static str,
    /// Its keys, in groups that shapes share.
    pub(crate) keys: &'static [&'static [Key]],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    /// The default, as the file would write it; empty: there is none.
    pub(crate) default: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    /// Text.
    Text,
    /// Text, or `{type, value}`; never shown.
    Secret,
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Whole(u64, u64),
    /// A number from 0 to 1.
    Share,
    /// A duration within bounds.
    Time(Duration, Duration),
    /// A number of bytes within bounds.
    Size(u64, u64),
    /// One of these words. The format may define more, which this version refuses by name.
    Choice(&'static [&'static str]),
    /// A list of words.
    Words,
    /// A map of names to text.
    Names,
    /// A map of header names to secrets.
    Headers,
    /// A map, or a list or map of maps, that has a table of its own; described in words.
    More(&'static str),
    /// The old spelling of another key.
    Now(&'static str),
}

impl Shape {
    /// True for the same table: no two tables have the same `what`.
    pub(crate) fn is(&self, other: &Shape) -> bool {
        self.what == other.what
    }

    /// All keys.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().copied().flatten()
    }

    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.all().find(|key| key.name == name)
    }
}

/// True for a key whose value is never shown.
pub(crate) fn hides(key: &Key) -> bool {
    matches!(key.takes, Takes::Secret | Takes::Headers)
}

/// True for a word that can only be a key whose value may be shown: it is a known key, and not the tail of one that hides its
/// value (`key` of `access_key`, with its beginning lost).
pub(crate) fn is_public(name: &str) -> bool {
    let keys: Vec<&Key> = ALL.iter().flat_map(|shape| shape.all()).collect();
    keys.iter().any(|key| key.name == name) && !keys.iter().any(|key| hides(key) && key.name.ends_with(name))
}

const fn key(name: &'static str, takes: Takes, default: &'static str) -> Key {
    Key { name, takes, default }
}

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;

pub(crate) const EVENT_STORES: &[&str] = &["otel", "stdout", "disabled"];
pub(crate) const OBJECT_STORES: &[&str] = &["s3", "otel", "stdout", "disabled"];
const AUTHS: &[&str] = &["none", "basic", "header", "query", "oauth2"];
const PLUGINS: &[&str] =
    &["http_capture", "access_logs", "report_usage", "detect_errors", "http_metrics", "redact", "sample", "gen_ai"];
pub(super) const LEVELS: &[&str] = &["none", "summary", "details", "full"];
const TAG_SOURCES: &[&str] = &["env", "k8s.label", "k8s.annotation", "container.label"];

/// Every table, with the path of its maps in the file; `[]` stands for each item of a list, `*` for any name.
pub(crate) const ALL: &[&Shape] = &[
    &FILE,
    &SERVICES,
    &EVENT_OTEL,
    &EVENT_STDOUT,
    &OBJECT_OTEL,
    &OBJECT_STDOUT,
    &S3,
    &AUTH,
    &TLS,
    &BATCH,
    &LIMITS,
    &RETRY,
    &QUEUE,
    &STACK,
    &PLUGIN,
    &HTTP_CAPTURE,
    &CAPTURE_RULE,
    &ACCESS_LOGS,
    &LOG_RULE,
    &REPORT_USAGE,
    &DETECT_ERRORS,
    &ISSUE_RULE,
    &HTTP_METRICS,
    &REDACT,
    &PATTERN,
    &GEN_AI,
    &SAMPLE,
    &TAP,
    &TAP_HTTP,
    &ENDPOINT,
    &FILTERS,
    &FILTER,
    &TAG,
    &RULEKIT,
    &MACRO,
    &VALUE,
];

pub(crate) const FILE: Shape = Shape {
    what: "the file",
    keys: &[&[
        key("version", Takes::Whole(2, 2), ""),
        key("services", Takes::More("map"), ""),
        key("stacks", Takes::More("map of stacks"), ""),
        key("tap", Takes::More("map"), ""),
        key("tags", Takes::More("list of tags"), ""),
        key("rulekit", Takes::More("map"), ""),
    ]],
};

pub(crate) const SERVICES: Shape = Shape {
    what: "`services`",
    keys: &[&[
        key("event_stores", Takes::More("list of stores"), ""),
        key("object_stores", Takes::More("list of stores"), ""),
    ]],
};

const EVENT_STORE: &[Key] = &[key("type", Takes::Choice(EVENT_STORES), ""), key("id", Takes::Text, "")];
const OBJECT_STORE: &[Key] = &[
    key("type", Takes::Choice(OBJECT_STORES), ""),
    key("id", Takes::Text, ""),
    key("min_bytes", Takes::Size(0, 1 << 40), "0"),
];
const RESOURCE: &[Key] = &[
    key("service_name", Takes::Text, "qtap"),
    key("environment", Takes::Text, ""),
    key("resource_attributes", Takes::Names, "{}"),
];
const OTLP: &[Key] = &[
    key("endpoint", Takes::Text, "localhost:4317"),
    key("protocol", Takes::Choice(&["grpc", "http", "stdout"]), "grpc"),
    key("encoding", Takes::Choice(&["protobuf", "json"]), "protobuf"),
    key("method", Takes::Choice(&["POST", "PUT"]), "POST"),
    key("compression", Takes::Choice(&["gzip", "zstd", "none"]), "gzip"),
    key("headers", Takes::Headers, "{}"),
    key("auth", Takes::More("map"), "{type: none}"),
    key("tls", Takes::More("map"), "{}"),
    key("batch", Takes::More("map"), "{}"),
    key("min_severity", Takes::Choice(&["trace", "debug", "info", "warn", "error", "fatal"]), "info"),
    key("limits", Takes::More("map"), "{}"),
    key("queue", Takes::More("map"), "{}"),
];
/// Bounds of the request timeout of an OTLP store.
pub(crate) const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const OTLP_SENDING: &[Key] = &[
    key("timeout", Takes::Time(*TIMEOUT.start(), *TIMEOUT.end()), "10s"),
    key("retry", Takes::More("map"), "{}"),
    key("workers", Takes::Whole(1, 64), "2"),
];
const OLD_OTLP: &[Key] = &[key("otel_endpoint", Takes::Now("endpoint"), "")];

pub(crate) const EVENT_OTEL: Shape =
    Shape { what: "an otel event store", keys: &[EVENT_STORE, RESOURCE, OTLP, OTLP_SENDING, OLD_OTLP] };
pub(crate) const OBJECT_OTEL: Shape =
    Shape { what: "an otel object store", keys: &[OBJECT_STORE, RESOURCE, OTLP, OTLP_SENDING, OLD_OTLP] };
pub(crate) const EVENT_STDOUT: Shape = Shape { what: "a stdout event store", keys: &[EVENT_STORE, RESOURCE] };
pub(crate) const OBJECT_STDOUT: Shape = Shape { what: "a stdout object store", keys: &[OBJECT_STORE, RESOURCE] };

pub(crate) const S3: Shape = Shape {
    what: "an s3 store",
    keys: &[
        OBJECT_STORE,
        &[
            key("endpoint", Takes::Text, "s3.amazonaws.com"),
            key("region", Takes::Text, "us-east-1"),
            key("bucket", Takes::Text, ""),
            key("access_key", Takes::Secret, ""),
            key("secret_key", Takes::Secret, ""),
            key("session_token", Takes::Secret, ""),
            key("force_path_style", Takes::Flag, ""),
            key("server_side_encryption", Takes::Choice(&["AES256", "aws:kms", "aws:kms:dsse"]), ""),
            key("kms_key_id", Takes::Text, ""),
            key("tls", Takes::More("map"), "{}"),
            key("access_url", Takes::Text, "\"{{SCHEME}}://{{ENDPOINT}}/{{BUCKET}}/{{DIGEST}}\""),
            key("prefix", Takes::Text, "\"\""),
            key("insecure", Takes::Flag, "false"),
            key("timeout", Takes::Time(Duration::from_millis(100), HOUR), "30s"),
            key("retry", Takes::More("map"), "{}"),
            key("workers", Takes::Whole(1, 64), "4"),
            key("queue", Takes::More("map"), "{}"),
        ],
    ],
};

pub(crate) const AUTH: Shape = Shape {
    what: "`auth`",
    keys: &[&[
        key("type", Takes::Choice(AUTHS), ""),
        key("username", Takes::Text, ""),
        key("password", Takes::Secret, ""),
        key("name", Takes::Text, ""),
        key("value", Takes::Secret, ""),
        key("grant", Takes::Choice(&["client_credentials", "password", "jwt_bearer"]), ""),
        key("token_url", Takes::Text, ""),
        key("client_id", Takes::Text, ""),
        key("client_secret", Takes::Secret, ""),
        key("scopes", Takes::Words, "[]"),
        key("auth_style", Takes::Choice(&["header", "body"]), "header"),
        key("params", Takes::Names, "{}"),
        key("signing_key", Takes::Secret, ""),
        key("algorithm", Takes::Choice(&["RS256", "ES256", "HS256"]), "RS256"),
        key("key_id", Takes::Text, ""),
        key("issuer", Takes::Text, ""),
        key("subject", Takes::Text, ""),
        key("audience", Takes::Text, ""),
    ]],
};

pub(crate) const TLS: Shape = Shape {
    what: "`tls`",
    keys: &[&[
        key("enabled", Takes::Flag, "false"),
        key("ca_file", Takes::Text, ""),
        key("cert_file", Takes::Text, ""),
        key("key_file", Takes::Text, ""),
        key("server_name", Takes::Text, ""),
        key("insecure_skip_verify", Takes::Flag, "false"),
    ]],
};

pub(crate) const BATCH: Shape = Shape {
    what: "`batch`",
    keys: &[&[
        key("max_records", Takes::Whole(1, 10_000), "512"),
        key("max_bytes", Takes::Size(KB, 64 * MB), "1mb"),
        key("interval", Takes::Time(MS, HOUR), "1s"),
    ]],
};

pub(crate) const LIMITS: Shape = Shape {
    what: "`limits`",
    keys: &[&[
        key("attribute_value_bytes", Takes::Size(0, 64 * MB), "0"),
        key("record_attributes", Takes::Whole(16, 1024), "128"),
        key("batch_records", Takes::Whole(1, 1_000_000), "10000"),
        key("batch_bytes", Takes::Size(64 * KB, 64 * MB), "16mb"),
    ]],
};

pub(crate) const RETRY: Shape = Shape {
    what: "`retry`",
    keys: &[&[
        key("initial", Takes::Time(MS, HOUR), "1s"),
        key("max", Takes::Time(MS, HOUR), "30s"),
        key("max_elapsed", Takes::Time(Duration::ZERO, DAY), "0s"),
    ]],
};

pub(crate) const QUEUE: Shape = Shape {
    what: "`queue`",
    keys: &[&[
        key("max_bytes", Takes::Size(MB, 1 << 44), "512mb"),
        key("max_records", Takes::Whole(0, 1_000_000_000_000), "0"),
        key("when_full", Takes::Choice(&["drop_oldest", "drop_newest", "block"]), "drop_oldest"),
        key("fsync", Takes::Choice(&["interval", "always", "never"]), "interval"),
    ]],
};

pub(crate) const STACK: Shape =
    Shape { what: "a stack", keys: &[&[key("plugins", Takes::More("list of plugins"), "[]")]] };

pub(crate) const PLUGIN: Shape = Shape {
    what: "a plugin",
    keys: &[&[key("type", Takes::Choice(PLUGINS), ""), key("config", Takes::More("map"), "{}")]],
};

pub(crate) const HTTP_CAPTURE: Shape = Shape {
    what: "the config of `http_capture`",
    keys: &[&[
        key("level", Takes::Choice(LEVELS), "summary"),
        key("format", Takes::Choice(&["json", "http", "text"]), "json"),
        key("artifacts", Takes::Choice(&["split", "transaction"]), "split"),
        key("rules", Takes::More("list of rules"), "[]"),
    ]],
};

pub(crate) const CAPTURE_RULE: Shape = Shape {
    what: "a rule of `http_capture`",
    keys: &[&[key("name", Takes::Text, ""), key("expr", Takes::Text, ""), key("level", Takes::Choice(LEVELS), "")]],
};

pub(crate) const REDACT: Shape = Shape {
    what: "the config of `redact`",
    keys: &[&[
        key("headers", Takes::Words, "[credentials]"),
        key("query_keys", Takes::Words, "[credentials]"),
        key("cookies", Takes::Words, "[]"),
        key("json", Takes::Words, "[credentials]"),
        key("form", Takes::Words, "[credentials]"),
        key("patterns", Takes::More("list of patterns"), "[]"),
        key("action", Takes::Choice(&["mask", "hash", "drop"]), "mask"),
        key("salt", Takes::Secret, ""),
    ]],
};

pub(crate) const GEN_AI: Shape =
    Shape { what: "the config of `gen_ai`", keys: &[&[key("conversations", Takes::Flag, "true")]] };

pub(crate) const PATTERN: Shape =
    Shape { what: "a pattern", keys: &[&[key("name", Takes::Text, ""), key("regex", Takes::Text, "")]] };

pub(crate) const TAP: Shape = Shape {
    what: "`tap`",
    keys: &[&[
        key("direction", Takes::Choice(&["all", "ingress", "egress", "egress-internal", "egress-external"]), "all"),
        key("ignore_loopback", Takes::Flag, "false"),
        key("http", Takes::More("map"), ""),
        key("audit_include_dns", Takes::Flag, "false"),
        key("filters", Takes::More("map"), "{}"),
        key("endpoints", Takes::More("list of endpoints"), "[]"),
    ]],
};

pub(crate) const TAP_HTTP: Shape = Shape { what: "`tap.http`", keys: &[&[key("stack", Takes::Text, "")]] };

pub(crate) const ENDPOINT: Shape =
    Shape { what: "an endpoint", keys: &[&[key("domain", Takes::Text, ""), key("http", Takes::More("map"), "")]] };

pub(crate) const FILTERS: Shape = Shape {
    what: "`tap.filters`",
    keys: &[&[key("groups", Takes::Words, "[]"), key("custom", Takes::More("list of filters"), "[]")]],
};

pub(crate) const FILTER: Shape = Shape {
    what: "a filter",
    keys: &[&[
        key("exe", Takes::Text, ""),
        key("strategy", Takes::Choice(&["exact", "prefix", "suffix", "contains", "regex"]), "exact"),
        key("only", Takes::Words, "[]"),
    ]],
};

pub(crate) const TAG: Shape = Shape {
    what: "a tag",
    keys: &[&[
        key("key", Takes::Text, ""),
        key("source", Takes::Choice(TAG_SOURCES), ""),
        key("location", Takes::Text, ""),
    ]],
};

pub(crate) const RULEKIT: Shape =
    Shape { what: "`rulekit`", keys: &[&[key("macros", Takes::More("list of macros"), "[]")]] };

pub(crate) const MACRO: Shape =
    Shape { what: "a macro", keys: &[&[key("name", Takes::Text, ""), key("expr", Takes::Text, "")]] };

pub(crate) const VALUE: Shape = Shape {
    what: "a value",
    keys: &[&[key("type", Takes::Choice(&["text", "env", "file"]), "text"), key("value", Takes::Secret, "")]],
};
