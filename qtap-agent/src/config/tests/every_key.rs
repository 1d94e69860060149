//! No key is read and then ignored: for each there are two files that differ only in it, and their meanings must differ. The effect of a
//! setting is tested where it is implemented. A key without a row here fails the test.

use super::{Settings, env, load, source};
use crate::config::shape::{self, Shape, Takes};

/// Pairs of stores that differ in `type`, which selects the table by which a store is read.
const KINDS: &[(&str, &str)] = &[
    ("event_stores: [{type: otel}]", "event_stores: [{type: stdout}]"),
    ("object_stores: [{type: otel}]", "object_stores: [{type: stdout}]"),
    ("object_stores: [{type: otel}]", "object_stores: [{type: s3, bucket: b}]"),
];

/// The text that two files share, with `@` where they differ; and for each key what `@` is in the first file, and in the second.
type Row = (&'static Shape, &'static str, &'static [(&'static str, &'static str, &'static str)]);

const EVENTS: &str = "version: 2\nservices: {event_stores: [{@}]}\n";
const OBJECTS: &str = "version: 2\nservices: {object_stores: [{@}]}\n";
const OTEL: &str = "version: 2\nservices: {event_stores: [{type: otel, @}]}\n";
const OBJECTS_OTEL: &str = "version: 2\nservices: {object_stores: [{type: otel, @}]}\n";
const S3: &str = "version: 2\nservices: {object_stores: [{type: s3, @}]}\n";
const OAUTH: &str = "auth: {type: oauth2, token_url: 'https://t'";

const SERVICES: &[Row] = &[
    (
        &shape::FILE,
        "version: 2\n@\n",
        &[
            ("services", "services: {event_stores: [{type: stdout}]}", ""),
            ("stacks", "stacks: {a: {plugins: [{type: access_logs}, {type: redact}]}}", ""),
            ("tap", "tap: {direction: ingress}", ""),
            ("tags", "tags: [{key: a, source: env, location: TEAM}]", ""),
            (
                "rulekit",
                "stacks: {a: {plugins: [{type: http_capture, config: {rules: [{name: r, expr: m(), level: none}]}}, {type: redact}]}}\nrulekit: {macros: [{name: m, expr: 'true'}]}",
                "stacks: {a: {plugins: [{type: http_capture, config: {rules: [{name: r, expr: m(), level: none}]}}, {type: redact}]}}\nrulekit: {macros: [{name: m, expr: 'false'}]}",
            ),
        ],
    ),
    (
        &shape::SERVICES,
        "version: 2\nservices: {@}\n",
        &[
            ("event_stores", "event_stores: [{type: stdout}]", ""),
            ("object_stores", "object_stores: [{type: stdout}]", ""),
        ],
    ),
    (
        &shape::EVENT_STDOUT,
        EVENTS,
        &[
            ("type", "type: stdout", "type: otel"),
            ("id", "type: stdout, id: a", "type: stdout"),
            ("service_name", "type: stdout, service_name: a", "type: stdout"),
            ("environment", "type: stdout, environment: a", "type: stdout"),
            ("resource_attributes", "type: stdout, resource_attributes: {a: b}", "type: stdout"),
        ],
    ),
    (
        &shape::OBJECT_STDOUT,
        OBJECTS,
        &[
            ("type", "type: stdout", "type: otel"),
            ("id", "type: stdout, id: a", "type: stdout"),
            ("min_bytes", "type: stdout, min_bytes: 1kb", "type: stdout"),
            ("service_name", "type: stdout, service_name: a", "type: stdout"),
            ("environment", "type: stdout, environment: a", "type: stdout"),
            ("resource_attributes", "type: stdout, resource_attributes: {a: b}", "type: stdout"),
        ],
    ),
    (&shape::EVENT_OTEL, OTEL, OTEL_KEYS),
    (&shape::OBJECT_OTEL, OBJECTS_OTEL, OTEL_KEYS),
    (&shape::OBJECT_OTEL, OBJECTS_OTEL, &[("min_bytes", "min_bytes: 1kb", "")]),
    (
        &shape::S3,
        S3,
        &[
            ("id", "bucket: b, id: a", "bucket: b"),
            ("min_bytes", "bucket: b, min_bytes: 1kb", "bucket: b"),
            ("endpoint", "bucket: b, endpoint: 'https://a'", "bucket: b"),
            ("region", "bucket: b, region: a", "bucket: b"),
            ("bucket", "bucket: b", "bucket: c"),
            ("access_key", "bucket: b, access_key: a, secret_key: s", "bucket: b, access_key: b, secret_key: s"),
            ("secret_key", "bucket: b, access_key: a, secret_key: s", "bucket: b, access_key: a, secret_key: t"),
            (
                "session_token",
                "bucket: b, access_key: a, secret_key: s, session_token: t",
                "bucket: b, access_key: a, secret_key: s",
            ),
            ("force_path_style", "bucket: b, force_path_style: true", "bucket: b, force_path_style: false"),
            ("server_side_encryption", "bucket: b, server_side_encryption: AES256", "bucket: b"),
            (
                "kms_key_id",
                "bucket: b, server_side_encryption: 'aws:kms', kms_key_id: a",
                "bucket: b, server_side_encryption: 'aws:kms'",
            ),
            ("tls", "bucket: b, tls: {ca_file: Cargo.toml}", "bucket: b"),
            ("access_url", "bucket: b, access_url: 'https://a/{{DIGEST}}'", "bucket: b"),
            ("prefix", "bucket: b, prefix: a/", "bucket: b"),
            ("insecure", "bucket: b, endpoint: 'a:1', insecure: true", "bucket: b, endpoint: 'a:1'"),
            ("timeout", "bucket: b, timeout: 1s", "bucket: b"),
            ("retry", "bucket: b, retry: {initial: 9s}", "bucket: b"),
            ("workers", "bucket: b, workers: 9", "bucket: b"),
            ("queue", "bucket: b, queue: {when_full: block}", "bucket: b"),
        ],
    ),
    (
        &shape::AUTH,
        OTEL,
        &[
            (
                "type",
                "auth: {type: header, name: a, value: b}",
                "protocol: http, auth: {type: query, name: a, value: b}",
            ),
            (
                "username",
                "auth: {type: basic, username: a, password: p}",
                "auth: {type: basic, username: b, password: p}",
            ),
            (
                "password",
                "auth: {type: basic, username: a, password: p}",
                "auth: {type: basic, username: a, password: q}",
            ),
            ("name", "auth: {type: header, name: a, value: b}", "auth: {type: header, name: c, value: b}"),
            ("value", "auth: {type: header, name: a, value: b}", "auth: {type: header, name: a, value: c}"),
            (
                "grant",
                "@C, client_id: a, client_secret: s}",
                "@O, grant: password, client_id: a, client_secret: s, username: u, password: p}",
            ),
            (
                "token_url",
                "@C, client_id: a, client_secret: s}",
                "auth: {type: oauth2, token_url: 'https://u', grant: client_credentials, client_id: a, client_secret: s}",
            ),
            ("client_id", "@C, client_id: a, client_secret: s}", "@C, client_id: b, client_secret: s}"),
            ("client_secret", "@C, client_id: a, client_secret: s}", "@C, client_id: a, client_secret: t}"),
            ("scopes", "@C, client_id: a, client_secret: s, scopes: [x]}", "@C, client_id: a, client_secret: s}"),
            (
                "auth_style",
                "@C, client_id: a, client_secret: s, auth_style: body}",
                "@C, client_id: a, client_secret: s}",
            ),
            ("params", "@C, client_id: a, client_secret: s, params: {x: y}}", "@C, client_id: a, client_secret: s}"),
            ("signing_key", "@J, signing_key: a}", "@J, signing_key: b}"),
            ("algorithm", "@J, signing_key: a, algorithm: HS256}", "@J, signing_key: a, algorithm: ES256}"),
            ("key_id", "@J, signing_key: a, key_id: b}", "@J, signing_key: a}"),
            (
                "issuer",
                "@O, grant: jwt_bearer, audience: a, signing_key: k, issuer: a}",
                "@O, grant: jwt_bearer, audience: a, signing_key: k, issuer: b}",
            ),
            ("subject", "@J, signing_key: a, subject: b}", "@J, signing_key: a}"),
            (
                "audience",
                "@O, grant: jwt_bearer, issuer: i, signing_key: k, audience: a}",
                "@O, grant: jwt_bearer, issuer: i, signing_key: k, audience: b}",
            ),
        ],
    ),
    (
        &shape::TLS,
        OTEL,
        &[
            (
                "enabled",
                "protocol: http, endpoint: 'a:1', tls: {enabled: true}",
                "protocol: http, endpoint: 'a:1', tls: {enabled: false}",
            ),
            ("ca_file", "tls: {ca_file: Cargo.toml}", ""),
            (
                "cert_file",
                "tls: {cert_file: Cargo.toml, key_file: Cargo.toml}",
                "tls: {cert_file: build.rs, key_file: Cargo.toml}",
            ),
            (
                "key_file",
                "tls: {cert_file: Cargo.toml, key_file: Cargo.toml}",
                "tls: {cert_file: Cargo.toml, key_file: build.rs}",
            ),
            ("server_name", "tls: {server_name: a}", ""),
            ("insecure_skip_verify", "tls: {insecure_skip_verify: true}", ""),
        ],
    ),
    (
        &shape::BATCH,
        OTEL,
        &[
            ("max_records", "batch: {max_records: 7}", ""),
            ("max_bytes", "batch: {max_bytes: 7kb}", ""),
            ("interval", "batch: {interval: 7s}", ""),
        ],
    ),
    (
        &shape::LIMITS,
        OTEL,
        &[
            ("attribute_value_bytes", "limits: {attribute_value_bytes: 7kb}", ""),
            ("record_attributes", "limits: {record_attributes: 77}", ""),
            ("batch_records", "limits: {batch_records: 7}", ""),
            ("batch_bytes", "limits: {batch_bytes: 7mb}", ""),
        ],
    ),
    (
        &shape::RETRY,
        OTEL,
        &[
            ("initial", "retry: {initial: 7s}", ""),
            ("max", "retry: {max: 77s}", ""),
            ("max_elapsed", "retry: {max_elapsed: 7s}", ""),
        ],
    ),
    (
        &shape::QUEUE,
        OTEL,
        &[
            ("max_bytes", "queue: {max_bytes: 7mb}", ""),
            ("max_records", "queue: {max_records: 7}", ""),
            ("when_full", "queue: {when_full: block}", "queue: {when_full: drop_newest}"),
            ("fsync", "queue: {fsync: always}", "queue: {fsync: never}"),
        ],
    ),
    (
        &shape::VALUE,
        OTEL,
        &[
            ("type", "headers: {a: {type: env, value: KEY}}", "headers: {a: {type: text, value: KEY}}"),
            ("value", "headers: {a: {value: b}}", "headers: {a: {value: c}}"),
        ],
    ),
];

const OTEL_KEYS: &[(&str, &str, &str)] = &[
    ("id", "id: a", ""),
    ("service_name", "service_name: a", ""),
    ("environment", "environment: a", ""),
    ("resource_attributes", "resource_attributes: {a: b}", ""),
    ("endpoint", "endpoint: 'https://b'", ""),
    ("protocol", "protocol: http", ""),
    ("encoding", "protocol: http, encoding: json", "protocol: http"),
    ("method", "protocol: http, method: PUT", "protocol: http"),
    ("compression", "compression: none", ""),
    ("headers", "headers: {a: b}", ""),
    ("auth", "auth: {type: header, name: a, value: b}", ""),
    ("tls", "tls: {ca_file: Cargo.toml}", ""),
    ("batch", "batch: {max_records: 7}", ""),
    ("min_severity", "min_severity: warn", ""),
    ("limits", "limits: {batch_records: 7}", ""),
    ("queue", "queue: {when_full: block}", ""),
    ("timeout", "timeout: 7s", ""),
    ("retry", "retry: {initial: 7s}", ""),
    ("workers", "workers: 7", ""),
];

const PLUGIN: &str = "version: 2\nstacks: {s: {plugins: [{@}, {type: redact}]}}\n";
const ISSUE: &str =
    "version: 2\nstacks: {s: {plugins: [{type: detect_errors, config: {rules: [{@}]}}, {type: redact}]}}\n";
const SECRETS: &str = "version: 2\nstacks: {s: {plugins: [{type: http_capture}, {type: redact, config: {@}}]}}\n";

const STACKS: &[Row] = &[
    (&shape::STACK, "version: 2\nstacks: {s: {@}}\n", &[("plugins", "plugins: [{type: http_capture}]", "plugins: []")]),
    (
        &shape::PLUGIN,
        PLUGIN,
        &[
            ("type", "type: access_logs", "type: http_capture"),
            ("config", "type: http_capture, config: {level: details}", "type: http_capture"),
        ],
    ),
    (
        &shape::HTTP_CAPTURE,
        "version: 2\nstacks: {s: {plugins: [{type: http_capture, config: {@}}, {type: redact}]}}\n",
        &[
            ("level", "level: details", ""),
            ("format", "format: text", ""),
            ("artifacts", "artifacts: transaction", ""),
            ("rules", "rules: [{name: a, expr: 'true', level: full}]", ""),
        ],
    ),
    (
        &shape::CAPTURE_RULE,
        "version: 2\nstacks: {s: {plugins: [{type: http_capture, config: {rules: [{@}]}}, {type: redact}]}}\n",
        &[
            ("name", "name: a, expr: 'true', level: full", "name: b, expr: 'true', level: full"),
            ("expr", "name: a, expr: 'true', level: full", "name: a, expr: 'false', level: full"),
            ("level", "name: a, expr: 'true', level: full", "name: a, expr: 'true', level: none"),
        ],
    ),
    (
        &shape::ACCESS_LOGS,
        "version: 2\nstacks: {s: {plugins: [{type: access_logs, config: {@}}, {type: redact}]}}\n",
        &[
            ("mode", "mode: details", ""),
            ("format", "format: json", ""),
            ("rules", "rules: [{name: a, expr: 'true', mode: full}]", ""),
        ],
    ),
    (
        &shape::LOG_RULE,
        "version: 2\nstacks: {s: {plugins: [{type: access_logs, config: {rules: [{@}]}}, {type: redact}]}}\n",
        &[
            ("name", "name: a, expr: 'true', mode: full", "name: b, expr: 'true', mode: full"),
            ("expr", "name: a, expr: 'true', mode: full", "name: a, expr: 'false', mode: full"),
            ("mode", "name: a, expr: 'true', mode: full", "name: a, expr: 'true', mode: none"),
        ],
    ),
    (
        &shape::REPORT_USAGE,
        "version: 2\nstacks: {s: {plugins: [{type: report_usage, config: {@}}]}}\n",
        &[
            ("headers", "headers: [a]", ""),
            ("cookies", "cookies: [a]", ""),
            ("query_keys", "query_keys: [a]", ""),
            ("digest", "digest: none", ""),
            ("claims", "claims: [a]", ""),
        ],
    ),
    (
        &shape::DETECT_ERRORS,
        "version: 2\nstacks: {s: {plugins: [{type: detect_errors, config: {@}}]}}\n",
        &[("rules", "rules: []", "")],
    ),
    (
        &shape::ISSUE_RULE,
        ISSUE,
        &[
            ("expr", "name: a, status: [500], expr: 'true'", "name: a, status: [500]"),
            ("status", "name: a, status: [500]", "name: a, status: [501]"),
            ("empty_body", "name: a, status: [500], empty_body: true", "name: a, status: [500]"),
            ("min_duration", "name: a, min_duration: 1s", "name: a, min_duration: 2s"),
            ("body_contains", "name: a, body_contains: [a]", "name: a, body_contains: [b]"),
            ("body_matches", "name: a, body_matches: [a]", "name: a, body_matches: [b]"),
            ("content_types", "name: a, content_types: [a]", "name: a, content_types: [b]"),
            ("urls", "name: a, urls: [/a]", "name: a, urls: [/b]"),
            ("except_urls", "name: a, status: [500], except_urls: [/a]", "name: a, status: [500]"),
            ("name", "name: a, status: [500]", "name: b, status: [500]"),
            ("category", "name: a, status: [500], category: c", "name: a, status: [500]"),
            ("record", "name: a, status: [500], record: [request_body]", "name: a, status: [500]"),
        ],
    ),
    (
        &shape::HTTP_METRICS,
        "version: 2\nstacks: {s: {plugins: [{type: http_metrics, config: {@}}]}}\n",
        &[("max_hosts", "max_hosts: 7", "")],
    ),
    (
        &shape::REDACT,
        SECRETS,
        &[
            ("headers", "headers: [a]", ""),
            ("query_keys", "query_keys: [a]", ""),
            ("cookies", "cookies: [a]", ""),
            ("json", "json: [$.a]", ""),
            ("form", "form: [a]", ""),
            ("patterns", "patterns: [card]", ""),
            ("action", "action: drop", ""),
            ("salt", "action: hash, salt: a", "action: hash"),
        ],
    ),
    (
        &shape::PATTERN,
        SECRETS,
        &[
            ("name", "patterns: [{name: a, regex: x}]", "patterns: [{name: b, regex: x}]"),
            ("regex", "patterns: [{name: a, regex: x}]", "patterns: [{name: a, regex: y}]"),
        ],
    ),
    (
        &shape::GEN_AI,
        "version: 2\nstacks: {s: {plugins: [{type: gen_ai, config: {@}}]}}\n",
        &[("conversations", "conversations: false", "")],
    ),
    (
        &shape::SAMPLE,
        "version: 2\nstacks: {s: {plugins: [{type: sample, config: {@}}]}}\n",
        &[
            ("ratio", "ratio: 0.5", "ratio: 0.25"),
            ("by", "ratio: 0.5, by: trace", "ratio: 0.5"),
            ("rate", "rate: 7", "rate: 8"),
            ("burst", "rate: 7, burst: 9", "rate: 7"),
            ("keep_errors", "ratio: 0.5, keep_errors: true", "ratio: 0.5"),
        ],
    ),
    (&shape::RULEKIT, MACROS, &[("macros", "macros: [{name: m, expr: 'true'}]", "macros: [{name: m, expr: 'false'}]")]),
    (
        &shape::MACRO,
        MACROS,
        &[
            (
                "name",
                "macros: [{name: m, expr: 'true'}, {name: n, expr: 'false'}]",
                "macros: [{name: n, expr: 'true'}, {name: m, expr: 'false'}]",
            ),
            ("expr", "macros: [{name: m, expr: 'true'}]", "macros: [{name: m, expr: 'false'}]"),
        ],
    ),
];

const MACROS: &str = "version: 2\nstacks: {s: {plugins: [{type: http_capture, config: {rules: [{name: r, expr: m(), level: none}]}}, {type: redact}]}}\nrulekit: {@}\n";
const TWO: &str =
    "version: 2\nstacks: {s: {plugins: [{type: http_capture}]}, t: {plugins: [{type: access_logs}]}}\ntap: {@}\n";

const TAP: &[Row] = &[
    (
        &shape::TAP,
        TWO,
        &[
            ("direction", "http: {stack: s}, direction: egress", "http: {stack: s}"),
            ("ignore_loopback", "http: {stack: s}, ignore_loopback: true", "http: {stack: s}"),
            ("http", "http: {stack: s}", "http: none"),
            ("audit_include_dns", "http: {stack: s}, audit_include_dns: true", "http: {stack: s}"),
            ("filters", "http: {stack: s}, filters: {groups: [gke]}", "http: {stack: s}"),
            ("endpoints", "http: {stack: s}, endpoints: [{domain: a, http: none}]", "http: {stack: s}"),
        ],
    ),
    (&shape::TAP_HTTP, TWO, &[("stack", "http: {stack: s}", "http: {stack: t}")]),
    (
        &shape::ENDPOINT,
        TWO,
        &[
            (
                "domain",
                "http: {stack: s}, endpoints: [{domain: a, http: none}]",
                "http: {stack: s}, endpoints: [{domain: b, http: none}]",
            ),
            (
                "http",
                "http: {stack: s}, endpoints: [{domain: a, http: none}]",
                "http: {stack: s}, endpoints: [{domain: a, http: {stack: t}}]",
            ),
        ],
    ),
    (
        &shape::FILTERS,
        TWO,
        &[
            ("groups", "http: {stack: s}, filters: {groups: [gke]}", "http: {stack: s}, filters: {groups: [eks]}"),
            ("custom", "http: {stack: s}, filters: {custom: [{exe: /a}]}", "http: {stack: s}"),
        ],
    ),
    (
        &shape::FILTER,
        TWO,
        &[
            (
                "exe",
                "http: {stack: s}, filters: {custom: [{exe: /a}]}",
                "http: {stack: s}, filters: {custom: [{exe: /b}]}",
            ),
            (
                "strategy",
                "http: {stack: s}, filters: {custom: [{exe: /a, strategy: prefix}]}",
                "http: {stack: s}, filters: {custom: [{exe: /a}]}",
            ),
            (
                "only",
                "http: {stack: s}, filters: {custom: [{exe: /a, only: [dns]}]}",
                "http: {stack: s}, filters: {custom: [{exe: /a}]}",
            ),
        ],
    ),
    (
        &shape::TAG,
        "version: 2\ntags: [{@}]\n",
        &[
            ("key", "key: a, source: k8s.label, location: x", "key: b, source: k8s.label, location: x"),
            ("source", "key: a, source: k8s.label, location: x", "key: a, source: container.label, location: x"),
            ("location", "key: a, source: k8s.label, location: x", "key: a, source: k8s.label, location: y"),
        ],
    ),
];

fn rows() -> impl Iterator<Item = &'static Row> {
    SERVICES.iter().chain(STACKS).chain(TAP)
}

fn meant(template: &str, part: &str) -> Result<Settings, String> {
    let part = part.replace("@C", "@O, grant: client_credentials");
    let part = part.replace("@J", "@O, grant: jwt_bearer, issuer: i, audience: a").replace("@O", OAUTH);
    let text = template.replace('@', &part);
    load(source(&text), &env).map(|(settings, _)| settings).map_err(|faults| faults.to_string())
}

#[test]
fn two_values_of_a_key_mean_two_things() {
    let stores = KINDS.iter().map(|(one, other)| ("version: 2\nservices: {@}\n", one, other));
    let keys = rows().flat_map(|(_, template, keys)| keys.iter().map(|(_, one, other)| (*template, one, other)));
    let mut wrong = Vec::new();
    for (template, one, other) in stores.chain(keys) {
        match (meant(template, one), meant(template, other)) {
            (Ok(first), Ok(second)) if first == second => wrong.push(format!("no difference: {one} and {other}")),
            (Ok(_), Ok(_)) => {}
            (first, second) => wrong.extend([first, second].into_iter().filter_map(Result::err)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_key_is_left_out() {
    let mut missing = Vec::new();
    for shape in shape::ALL {
        let has =
            |name: &str| rows().any(|(of, _, keys)| of.is(shape) && keys.iter().any(|(known, ..)| *known == name));
        let known = |name: &str| shape.key(name).is_some();
        let named = rows().filter(|(of, ..)| of.is(shape)).flat_map(|(.., keys)| keys.iter());
        missing.extend(named.filter(|(name, ..)| !known(name)).map(|(name, ..)| format!("no key: `{name}`")));
        // There is only one version; and the type of a store selects the table by which it is read.
        let is_store = shape.key("type").is_some() && shape.key("id").is_some();
        let other = |name: &str| name == "version" || (name == "type" && is_store);
        let keys = shape.all().filter(|key| !matches!(key.takes, Takes::Now(_)) && !other(key.name));
        missing.extend(keys.filter(|key| !has(key.name)).map(|key| format!("{}: `{}`", shape.what, key.name)));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
