//! qtap's own logs, metrics and spans, enabled by the environment variables of the OpenTelemetry specification, to a receiver in another language.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::lab::{Lab, output_of, wait_until};
use super::nginx::Nginx;
use super::python::Script;
use super::qtap::{Agent, command};
use super::scope::config;

fn seen(receiver: &mut Script) -> Value {
    serde_json::from_str(&receiver.ask("?")).unwrap()
}

fn has(seen: &Value, kind: &str, name: &str) -> bool {
    seen[kind].as_array().unwrap().iter().any(|one| one == name)
}

/// An agent with these environment variables that has captured something.
fn agent(lab: &Lab, nginx: &Nginx, port: &str, protocol: &str, more: &[(&str, &str)]) -> Agent {
    let file = lab.write("qtap.yaml", config("level: summary", "").as_bytes()).display().to_string();
    let mut qtap = command();
    qtap.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
    qtap.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret%20key");
    qtap.env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip").env("OTEL_RESOURCE_ATTRIBUTES", "team=watchers");
    for delay in ["OTEL_METRIC_EXPORT_INTERVAL", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_BSP_SCHEDULE_DELAY"] {
        qtap.env(delay, "200");
    }
    qtap.envs(more.iter().copied());
    let agent = Agent::start_by(lab, qtap, ["--config", &file, "--pid", &nginx.pid().to_string()]);
    output_of(Command::new("curl").args(["-s", &nginx.http("/a.txt")]));
    agent.wait_for("\"artifact_record\"", 1);
    agent
}

#[test]
fn goes_out_as_the_variables_say() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    for (how, protocol) in [("http", "http/protobuf"), ("grpc", "grpc")] {
        let Some(mut receiver) = Script::start("signals.py", &[how]) else { return };
        let port = receiver.line();
        let more = [("OTEL_SERVICE_NAME", "the-watcher"), ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=of-traces")];
        let agent = agent(&lab, &nginx, &port, protocol, if how == "http" { &more } else { &[] });
        wait_until("all three signals", || {
            let seen = seen(&mut receiver);
            has(&seen, "logs", "ready: capturing")
                && has(&seen, "metrics", "qtap_connections_opened")
                && has(&seen, "spans", "export")
        });
        let ended = agent.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let seen = seen(&mut receiver);
        assert!(has(&seen, "logs", "ending: what was captured is delivered first"), "{how}: {}", seen["logs"]);
        let (name, of_traces) = if how == "http" { ("the-watcher", "of-traces") } else { ("qtap-agent", "secret key") };
        assert_eq!((&seen["resource"]["service.name"], &seen["resource"]["team"]), (&name.into(), &"watchers".into()));
        assert_eq!(
            seen["headers"],
            serde_json::json!({"logs": "secret key", "metrics": "secret key", "spans": of_traces})
        );
    }
}

#[test]
fn stays_here_unless_it_is_asked_for() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let Some(mut receiver) = Script::start("signals.py", &["http"]) else { return };
    let port = receiver.line();
    let none = [("OTEL_LOGS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "console")];
    for (more, said) in [(&[("OTEL_SDK_DISABLED", "true")][..], false), (&none[..], true)] {
        let agent = agent(&lab, &nginx, &port, "http/protobuf", more);
        std::thread::sleep(Duration::from_secs(1));
        let ended = agent.stop();
        assert_eq!(ended.stderr.contains("there is no exporter `console` here"), said, "{}", ended.stderr);
        for kind in ["logs", "metrics", "spans"] {
            assert_eq!(seen(&mut receiver)[kind], serde_json::json!([]), "{more:?}");
        }
    }
}
