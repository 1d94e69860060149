//! Only what was asked for is captured, and what is captured has the right names.

use std::process::Stdio;

use super::lab::{Guarded, Lab, output_of};
use super::nginx::Nginx;
use super::qtap::{Agent, exec, exec_script};

/// A config with stdout stores and one stack. `capture` is the config of http_capture, `tap` are lines of the tap section.
pub fn config(capture: &str, tap: &str) -> String {
    format!(
        "version: 2
services:
  event_stores: [{{type: stdout}}]
  object_stores: [{{type: stdout}}]
stacks:
  default_stack:
    plugins:
      - type: http_capture
        config:
          {capture}
tap:
  http: {{stack: default_stack}}
{tap}"
    )
}

#[test]
fn processes_outside_are_not_seen() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    // Another program that makes requests all the while.
    let url = nginx.https("/a.txt?outside");
    let noise = format!("i=0; while [ $i -lt 500 ]; do curl -sk '{url}' > /dev/null; i=$((i+1)); done");
    let _outside =
        Guarded(std::process::Command::new("sh").args(["-c", &noise]).stdout(Stdio::null()).spawn().unwrap());
    let script = format!("sh -c \"sh -c \\\"curl -sk '{}'\\\"; sleep 0.3\"; exit 7", nginx.https("/a.txt?inside"));
    let captured = exec(&lab, [] as [&str; 0], ["sh", "-c", &script]);
    assert_eq!(captured.code, Some(7), "the command's own");
    assert_eq!(captured.stdout, "a\n", "the command's own output");
    let records = captured.records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 1, "{}", records.told());
    assert_eq!(records.exchanges()[0].text("url.query"), "inside");
    assert_eq!(records.closed().len(), 1);
}

#[test]
fn a_process_of_a_moment_has_its_name() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    // Connects, sends one request, reads once and exits: it lives two or three milliseconds.
    let source = lab.write(
        "moment.c",
        b"#include <arpa/inet.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\
          int main(int argc, char **argv) { struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};\n\
          inet_pton(AF_INET, \"127.0.0.1\", &to.sin_addr); int fd = socket(AF_INET, SOCK_STREAM, 0);\n\
          if (connect(fd, (void *)&to, sizeof to)) return 1; char *said = \"GET /a.txt?moment HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\";\n\
          char got[4096]; write(fd, said, strlen(said)); return read(fd, got, sizeof got) > 0 ? 0 : 2; }\n",
    );
    let program = lab.path("momentary");
    output_of(std::process::Command::new("gcc").args(["-w", "-static", "-o"]).arg(&program).arg(&source));
    nginx.serve("a.txt", b"a\n");
    let script = format!("for i in 1 2 3 4 5 6 7 8; do {} {} $i; done", program.display(), nginx.http);
    let records = exec_script(&lab, &[], &script).records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 8, "{}", records.told());
    for record in &records.all {
        assert_eq!(record.text("process.executable.name"), "momentary", "{record:?}");
        assert_eq!(record.text("process.executable.path"), program.display().to_string());
        let command = record.text("process.command");
        assert!(command.starts_with(&format!("{} {} ", program.display(), nginx.http)), "{command:?}: {record:?}");
        assert_eq!(record.text("process.user.name"), "root");
    }
}

#[test]
fn levels_and_directions_of_the_file() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"the body\n");
    let script = format!("curl -sk '{}' && curl -s '{}'", nginx.https("/a.txt"), nginx.http("/a.txt"));
    // The config of http_capture, a line of the tap; the exchanges, objects and connections; whether objects have a body.
    let cases = [
        ("level: none", "", (0, 0, 2), false),
        ("level: summary", "", (2, 0, 2), false),
        ("level: details", "", (2, 4, 2), false),
        ("level: full", "", (2, 4, 2), true),
        ("level: full", "  ignore_loopback: true", (0, 0, 0), false),
        ("level: full", "  direction: ingress", (0, 0, 0), false),
        ("level: full", "  direction: egress", (2, 4, 2), true),
    ];
    for (capture, tap, told, with_body) in cases {
        let config = lab.write("qtap.yaml", config(capture, tap).as_bytes()).display().to_string();
        let records = exec_script(&lab, &["--config", &config], &script).records;
        records.assert_whole();
        let counts = (records.exchanges().len(), records.objects().len(), records.closed().len());
        assert_eq!(counts, told, "{capture} {tap}: {}", records.told());
        let holds_body = |record: &&super::records::Record| record.text("artifact.data").contains("the body");
        assert_eq!(records.objects().iter().any(holds_body), with_body, "{capture} {tap}");
    }
}

#[test]
fn a_server_is_ingress() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let config = lab.write("qtap.yaml", config("level: summary", "  direction: ingress").as_bytes());
    let agent = Agent::start(&lab, ["--config", &config.display().to_string(), "--pid", &nginx.pid().to_string()]);
    output_of(std::process::Command::new("curl").args(["-sk", &nginx.https("/a.txt")]));
    agent.wait_for("\"artifact_record\"", 1);
    let records = agent.stop().records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 1, "{}", records.told());
}
