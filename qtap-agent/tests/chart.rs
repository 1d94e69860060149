//! The promises of the Helm chart, checked against the program: its schema accepts what it should and nothing else, its settings are a
//! config that qtap accepts, and its arguments are arguments of `qtap run`. In: `charts/qtap`, and the renderings in its folder `ci`,
//! which `cargo xtask chart` makes and compares. Nothing is rendered here.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use jsonschema::Validator;
use qtap_agent::cli::{Cli, Command};
use qtap_agent::config::{Source, validate};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/qtap")
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(chart().join(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn schema() -> (Value, Validator) {
    let text = fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::draft7::options().build(&schema).unwrap_or_else(|error| panic!("{error}"));
    (schema, validator)
}

/// Merges values as Helm does: maps key by key, anything else as a whole.
fn merged(mut into: Value, from: &Value) -> Value {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        for (key, value) in from {
            let before = into.remove(key).unwrap_or_default();
            into.insert(key.clone(), merged(before, value));
        }
        return Value::Object(std::mem::take(into));
    }
    from.clone()
}

/// The documents of this kind in a rendering.
fn documents(path: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let all = text.split("---\n").filter(|text| !text.trim().is_empty());
    let all = all.map(|text| serde_yaml::from_str::<Value>(text).unwrap_or_else(|error| panic!("{text}\n{error}")));
    all.filter(|document| document["kind"] == kind).collect()
}

/// One rendering: its config as text, and its pod template.
fn rendering(path: &Path) -> (String, Value) {
    let config = documents(path, "ConfigMap").remove(0)["data"]["qtap.yaml"].as_str().unwrap().to_owned();
    (config, documents(path, "DaemonSet").remove(0)["spec"]["template"].clone())
}

#[test]
fn values_of_each_case_meet_the_schema() {
    let (schema, validator) = schema();
    assert!(jsonschema::draft7::meta::is_valid(&schema));
    let defaults = yaml(&chart().join("values.yaml"));
    let cases = files("ci");
    assert!(cases.len() >= 5, "{cases:?}");
    for path in cases.iter().chain(&files("ci/refused")) {
        let values = merged(defaults.clone(), &yaml(path));
        let faults: Vec<_> = validator.iter_errors(&values).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", path.display());
    }
}

/// Each of these files has one fault. Its first line gives the words of the error that refuses it.
#[test]
fn bad_values_are_refused() {
    let (_, validator) = schema();
    let defaults = yaml(&chart().join("values.yaml"));
    let files = files("ci/bad");
    assert!(files.len() >= 20, "{}", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let words = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap();
        let values = merged(defaults.clone(), &yaml(&path));
        let faults: Vec<_> = validator.iter_errors(&values).map(|fault| fault.to_string()).collect();
        assert!(faults.iter().any(|fault| fault.contains(words)), "{}: {words}: {faults:?}", path.display());
    }
}

/// Each map of the schema is closed, or describes its members; and every name in it occurs in values.yaml.
#[test]
fn the_schema_is_strict_and_values_are_whole() {
    let (schema, _) = schema();
    let mut open = Vec::new();
    closed(&schema, "", &mut open);
    // Maps that Kubernetes or qtap define and check themselves, and what Helm passes to every chart.
    let known = [
        "/properties/affinity/properties/nodeAffinity",
        "/properties/affinity/properties/podAffinity",
        "/properties/affinity/properties/podAntiAffinity",
        "/properties/config/properties/rulekit",
        "/properties/config/properties/services",
        "/properties/config/properties/stacks",
        "/properties/config/properties/tap",
        "/properties/global",
    ];
    open.sort();
    assert_eq!(open, known);
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let mut told = names(&schema["properties"]);
    told.remove("global");
    assert_eq!(told, names(&yaml(&chart().join("values.yaml"))));
}

fn closed(schema: &Value, at: &str, open: &mut Vec<String>) {
    if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
        open.push(at.to_owned());
    }
    let below = |value: &Value, step: String, open: &mut Vec<String>| closed(value, &format!("{at}/{step}"), open);
    for inner in ["properties", "definitions"] {
        for (name, value) in schema[inner].as_object().into_iter().flatten() {
            below(value, format!("{inner}/{name}"), open);
        }
    }
    if schema["items"].is_object() {
        below(&schema["items"], "items".to_owned(), open);
    }
}

/// The agent accepts the config of each rendering, with the variables and files of its pods.
#[test]
fn each_config_is_valid() {
    for path in files("ci/golden") {
        let (config, template) = rendering(&path);
        let container = &template["spec"]["containers"][0];
        let variables: Vec<_> = container["env"].as_array().into_iter().flatten().cloned().collect();
        let env = |name: &str| {
            let found = variables.iter().find(|variable| variable["name"] == name)?;
            Some(found["value"].as_str().unwrap_or("secret").to_owned())
        };
        let secrets = tempfile::tempdir().unwrap();
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mounted = mounts.iter().filter_map(|mount| mount["mountPath"].as_str()?.strip_prefix("/etc/qtap-secrets/"));
        for folder in mounted.map(|name| secrets.path().join(name)) {
            fs::create_dir(&folder).unwrap();
            for file in ["access-key", "secret-key"] {
                fs::write(folder.join(file), "x").unwrap();
            }
        }
        let text = config.replace("/etc/qtap-secrets", &secrets.path().display().to_string());
        let verdict = validate(Source::Text { name: path.display().to_string(), text }, &env);
        assert!(verdict.valid && !verdict.text.contains("note"), "{}", verdict.text);
    }
}

/// The values at the beginning of the examples, and the config in them.
#[test]
fn values_of_the_examples_are_good() {
    let (_, validator) = schema();
    let defaults = yaml(&chart().join("values.yaml"));
    let files = files("../../examples/kubernetes");
    let values: Vec<_> = files.iter().filter(|path| path.to_string_lossy().ends_with("-values.yaml")).collect();
    assert!(values.len() >= 3, "{values:?}");
    for path in values {
        let values = merged(defaults.clone(), &yaml(path));
        let faults: Vec<_> = validator.iter_errors(&values).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", path.display());
        let (name, text) = (path.display().to_string(), serde_yaml::to_string(&values["config"]).unwrap());
        let env = |name: &str| values["env"].as_array()?.iter().any(|one| one["name"] == name).then(|| "x".to_owned());
        let verdict = validate(Source::Text { name, text }, &env);
        assert!(verdict.valid && !verdict.text.contains("note"), "{}", verdict.text);
    }
}

/// `qtap run` accepts the arguments of each rendering, with the meaning that the values have.
#[test]
fn each_argument_is_known() {
    let mut sockets = BTreeSet::new();
    for path in files("ci/golden") {
        let (_, template) = rendering(&path);
        let container = &template["spec"]["containers"][0];
        let arguments: Vec<_> = container["args"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        let name = path.display();
        // The environment variable, given as the flag that it stands for.
        let address = container["env"].as_array().unwrap().iter().find(|one| one["name"] == "HTTPD_LISTEN").unwrap();
        let address = format!("--httpd-listen={}", address["value"].as_str().unwrap());
        let words = ["qtap"].into_iter().chain(arguments.iter().copied()).chain([address.as_str()]);
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{name}: {error}"));
        let Command::Run(run) = cli.command else { panic!("{name}: {arguments:?}") };
        let mounts = container["volumeMounts"].as_array().unwrap();
        let is_mounted =
            |path: &Path| mounts.iter().any(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()));
        assert!(is_mounted(&run.data_dir) && is_mounted(Path::new(run.config.config.as_deref().unwrap())), "{name}");
        let asked = &run.capture.sockets;
        for socket in [&asked.cri_runtime_socket_endpoint, &asked.docker_socket_endpoint] {
            assert!(socket.0.as_deref().is_none_or(is_mounted), "{name}: {socket:?}");
        }
        sockets.insert((asked.cri_runtime_socket_endpoint.0.is_some(), asked.docker_socket_endpoint.0.is_some()));
        // The paths of the kubelet's probes, and where Prometheus is sent.
        assert_eq!(container["ports"][0]["containerPort"], run.httpd_listen.port(), "{name}");
        for (probe, page) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let asked = &container[probe]["httpGet"];
            assert_eq!((&asked["path"], &asked["port"]), (&page.into(), &container["ports"][0]["name"]), "{name}");
        }
        for monitor in documents(&path, "PodMonitor") {
            assert!(run.httpd_listen.ip().is_unspecified(), "{name}");
            let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
            assert_eq!(
                (&endpoint["port"], endpoint["path"].as_str()),
                (&container["ports"][0]["name"], Some("/metrics"))
            );
            let labels = template["metadata"]["labels"].as_object().unwrap();
            let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
            assert!(!wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value)), "{name}");
        }
    }
    assert_eq!(sockets.len(), 3, "runtimes are asked, or none is: {sockets:?}");
}

/// A change of the config rolls the pods, unless they watch it. Nothing else in the ConfigMap does.
#[test]
fn another_config_is_another_checksum() {
    let mut seen = 0;
    for path in files("ci/golden") {
        let (config, template) = rendering(&path);
        let checksum = template["metadata"]["annotations"]["checksum/config"].as_str();
        let arguments = template["spec"]["containers"][0]["args"].as_array().unwrap();
        let watched = arguments.iter().any(|one| one == "--config-watch");
        let digest: String = Sha256::digest(config.trim_end()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(checksum, (!watched).then_some(digest.as_str()), "{}", path.display());
        seen += usize::from(watched);
    }
    assert_eq!(seen, 1, "one case watches");
}

/// The container is privileged, or has the listed capabilities; its own file system is always read-only.
#[test]
fn privileges_are_those_of_the_level() {
    let mut levels = BTreeSet::new();
    for path in files("ci/golden") {
        let (_, template) = rendering(&path);
        let context = &template["spec"]["containers"][0]["securityContext"];
        let annotations = &template["metadata"]["annotations"];
        let armour = context["appArmorProfile"]["type"] == "Unconfined"
            || annotations["container.apparmor.security.beta.kubernetes.io/qtap"] == "unconfined";
        let privileged = context["privileged"] == true;
        levels.insert(privileged);
        assert_eq!(context["readOnlyRootFilesystem"], true, "{}", path.display());
        assert_eq!(context["capabilities"].is_object(), !privileged, "{}", path.display());
        assert_eq!(armour, !privileged, "{}", path.display());
        if !privileged {
            assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{}", path.display());
        }
        assert!(template["spec"]["hostPID"] == true && template["spec"]["hostNetwork"] == true);
    }
    assert_eq!(levels.len(), 2, "both levels have a case");
}
