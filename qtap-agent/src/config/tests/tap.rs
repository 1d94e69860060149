//! `tap`, key by key: each has an assertion here that fails when the key is not obeyed.

use super::*;
use crate::capture::settings::{Aspect, Custom, Filters, Group, Match, Pattern};
use crate::pipeline::settings::{Endpoint, Fact, FactTag};

const BASE: &str = "version: 2\nservices: {event_stores: [{type: stdout}], object_stores: [{type: stdout}]}\n";
const STACKS: &str = "stacks:
  a: {plugins: [{type: http_capture}]}
  b: {plugins: [{type: http_capture, config: {level: full}}, {type: redact}]}
  quiet: {plugins: [{type: http_capture, config: {level: none}}]}
";

fn tap(lines: &str) -> Settings {
    good(&format!("{BASE}{lines}")).0
}

fn names(settings: &Settings) -> (Option<&str>, Vec<&str>) {
    let pipeline = &settings.pipeline;
    let others = pipeline.routing.stacks.iter().map(|stack| stack.name.as_str()).collect();
    (pipeline.http_stack.as_ref().map(|stack| stack.name.as_str()), others)
}

#[test]
fn endpoints_have_stacks_of_their_own() {
    let settings = tap(&format!(
        "{STACKS}tap:\n  http: {{stack: a}}\n  endpoints:\n    - {{domain: API.example.com, http: {{stack: b}}}}\n    - {{domain: \"*.example.com.\", http: none}}\n    - {{domain: 10.0.0.1, http: {{stack: none}}}}\n    - {{domain: \"2001:db8::1\", http: {{stack: quiet}}}}\n"
    ));
    assert_eq!(names(&settings), (Some("a"), vec!["b", "quiet"]));
    let endpoint =
        |domain: &str, stack: Option<&str>| Endpoint { domain: domain.to_owned(), stack: stack.map(str::to_owned) };
    let wanted = [
        endpoint("api.example.com", Some("b")),
        endpoint("*.example.com", None),
        endpoint("10.0.0.1", None),
        endpoint("2001:db8::1", Some("quiet")),
    ];
    assert_eq!(settings.pipeline.routing.endpoints, wanted);
    assert!(settings.pipeline.keeps_bodies() && settings.tap.http_wanted);
}

#[test]
fn an_endpoint_may_be_all_that_is_wanted() {
    let one = |stack: &str| {
        tap(&format!("{STACKS}tap: {{http: none, endpoints: [{{domain: x.org, http: {{stack: {stack}}}}}]}}\n"))
    };
    assert_eq!(names(&one("b")), (None, vec!["a", "b", "quiet"]));
    assert!(one("b").tap.http_wanted && !one("quiet").tap.http_wanted && !one("none").tap.http_wanted);
    let built_in = tap("tap: {http: none, endpoints: [{domain: x.org, http: {stack: default_stack}}]}\n");
    assert_eq!(names(&built_in), (None, vec!["default_stack"]));
    assert!(built_in.tap.http_wanted);
    let but_one = tap("tap: {endpoints: [{domain: x.org, http: none}]}\n");
    assert_eq!((names(&but_one).0, but_one.pipeline.routing.endpoints.len()), (Some("default_stack"), 1));
}

#[test]
fn a_stack_that_an_endpoint_names_is_used() {
    let text =
        format!("{BASE}{STACKS}tap: {{http: {{stack: a}}, endpoints: [{{domain: x.org, http: {{stack: b}}}}]}}\n");
    let notes = good(&text).1;
    assert!(notes.len() == 1 && notes[0].contains("the stack `quiet` is not used"), "{notes:?}");
}

#[test]
fn filters_of_every_kind() {
    let settings = tap("tap:
  filters:
    groups: [kubernetes, container-runtimes, eks, gke, qtap]
    custom:
      - {exe: /usr/bin/curl}
      - {exe: /usr/bin/curl, strategy: exact, only: []}
      - {exe: /opt/, strategy: prefix, only: [data]}
      - {exe: curl, strategy: suffix, only: [dns, tls]}
      - {exe: ur, strategy: contains, only: [http]}
      - {exe: '^/[a-z]+$', strategy: regex}
");
    let custom = |exe, only: &[Aspect]| Custom { exe, only: only.to_vec() };
    let text = |text: &str| text.to_owned();
    let wanted = Filters {
        groups: vec![Group::Kubernetes, Group::ContainerRuntimes, Group::Eks, Group::Gke, Group::Qtap],
        custom: vec![
            custom(Match::Exact(text("/usr/bin/curl")), &[]),
            custom(Match::Exact(text("/usr/bin/curl")), &[]),
            custom(Match::Prefix(text("/opt/")), &[Aspect::Data]),
            custom(Match::Suffix(text("curl")), &[Aspect::Dns, Aspect::Tls]),
            custom(Match::Contains(text("ur")), &[Aspect::Http]),
            custom(Match::Regex(Pattern::new("^/[a-z]+$").expect("an expression")), &[]),
        ],
    };
    assert_eq!(settings.tap.filters, wanted);
    assert_eq!(tap("tap: {filters: {}}\n").tap.filters, Filters::default());
}

#[test]
fn tags_from_variables_and_from_labels() {
    let settings = tap("tags:
  - {key: team, source: env, location: TEAM}
  - {key: app, source: k8s.label, location: app.kubernetes.io/name}
  - {key: owner, source: k8s.annotation, location: example.org/owner}
  - {key: service, source: container.label, location: com.docker.compose.service}
")
    .pipeline;
    assert_eq!(settings.tags, ["team:blue"]);
    let tag = |key: &str, fact, name: &str| FactTag { key: key.to_owned(), fact, name: name.to_owned() };
    let wanted = [
        tag("app", Fact::PodLabel, "app.kubernetes.io/name"),
        tag("owner", Fact::PodAnnotation, "example.org/owner"),
        tag("service", Fact::ContainerLabel, "com.docker.compose.service"),
    ];
    assert_eq!(settings.fact_tags, wanted);
}

#[test]
fn answers_of_name_servers_are_read_where_they_are_told_or_name_endpoints() {
    let dns = |text: &str| {
        let tap = tap(text).tap;
        (tap.reads_dns, tap.audit_dns)
    };
    assert_eq!(dns("tap: {audit_include_dns: true}\n"), (true, true));
    assert_eq!(dns("tap: {audit_include_dns: false}\n"), (false, false));
    assert_eq!(dns("tap: {endpoints: [{domain: x.org, http: none}]}\n"), (true, false));
}
