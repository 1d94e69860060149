//! Routing of objects by size, with the program itself: it replays a recording to a bucket (moto) and an OTLP receiver (Python), and
//! every object is where its artifact record says. One body is larger than what is kept in memory.

use std::path::Path;
use std::process::Command;

use qtap_agent::capture::ABI;
use qtap_agent::capture::recording::{Fact, Writer};
use qtap_agent::model::event::Host;
use qtap_agent::model::process::Process;
use qtap_common::record::{flag, kind, role};
use qtap_common::state::PIECE;
use serde_json::{Value, json};

use super::otlp::taken;
use super::python::Receiver;
use super::records::digest;
use super::s3::{Moto, get};

const PID: u32 = 4242;

/// A recording of one accepted connection, as the probes would have written it.
struct Recording {
    writer: Writer<Vec<u8>>,
    now: u64,
    passed: [u64; 2],
}

impl Recording {
    fn new() -> Recording {
        let mut writer = Writer::new(Vec::new(), ABI).unwrap();
        writer.fact(&Fact::Started(Host { name: "h".to_owned(), ..Host::default() })).unwrap();
        let process = Process { pid: PID, executable_path: "/usr/sbin/nginx".to_owned(), ..Process::default() };
        writer.fact(&Fact::Process(process)).unwrap();
        let mut recording = Recording { writer, now: 1_000_000_000, passed: [0; 2] };
        let mut ends = 1_u64.to_ne_bytes().to_vec();
        for word in [2_u16, 8080, 40_000_u16.to_be(), 0] {
            ends.extend_from_slice(&word.to_ne_bytes());
        }
        for end in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            ends.extend_from_slice(&end);
            ends.extend_from_slice(&[0; 12]);
        }
        recording.record([kind::OPENED, 0, role::SERVER], &[&ends]);
        recording
    }

    fn record(&mut self, [kind, flags, detail]: [u8; 3], rest: &[&[u8]]) {
        self.now += 5_000;
        let len = 32 + rest.iter().map(|part| part.len()).sum::<usize>() as u32;
        let mut bytes = Vec::with_capacity(len as usize);
        bytes.extend_from_slice(&self.now.to_ne_bytes());
        bytes.extend_from_slice(&1_u64.to_ne_bytes());
        [PID, PID, len].iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
        bytes.extend_from_slice(&[kind, flags, detail, 0]);
        rest.iter().for_each(|part| bytes.extend_from_slice(part));
        self.writer.kernel(&bytes).unwrap();
    }

    /// A GET of `path`, answered with `body`.
    fn exchange(&mut self, path: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        self.pass(flag::RECEIVED, format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        self.pass(0, head.as_bytes());
        self.pass(0, body);
    }

    fn pass(&mut self, flags: u8, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let at = self.passed[usize::from(flags != 0)];
            self.passed[usize::from(flags != 0)] += piece.len() as u64;
            self.record([kind::DATA, flags, 0], &[&at.to_ne_bytes(), piece]);
        }
    }
}

fn replay(folder: &Path, recording: Recording, config: &str) {
    let (file, settings) = (folder.join("r.qtap"), folder.join("qtap.yaml"));
    std::fs::write(&file, recording.writer.into_inner()).unwrap();
    std::fs::write(&settings, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qtap"));
    command.env_clear().env("TMPDIR", folder).args(["replay", "--http-buffer-size", "64mb", "--config"]);
    let output = command.arg(&settings).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing but what was put there: {left:?}");
}

fn value<'a>(record: &'a Value, name: &str) -> &'a str {
    let list = record["attributes"].as_array().unwrap();
    let found = list.iter().find(|attribute| attribute["key"] == name);
    found.map_or("", |attribute| attribute["value"]["stringValue"].as_str().unwrap())
}

#[tokio::test]
async fn large_objects_go_to_the_bucket_and_small_ones_to_the_collector() {
    let (Some(moto), Some(receiver)) = (Moto::start(), Receiver::start(&json!({}))) else { return };
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..1_500_000_u32).flat_map(|number| format!("{number:05}\n").into_bytes()).collect();
    assert!(large.len() > 8 << 20);
    let bodies = [("/small", b"ok".to_vec()), ("/medium", vec![b'm'; 20_000]), ("/large", large)];
    let mut recording = Recording::new();
    bodies.iter().for_each(|(path, body)| recording.exchange(path, body));
    let (port, http) = (moto.1, receiver.http);
    let otel = format!("{{type: otel, endpoint: 'http://127.0.0.1:{http}', protocol: http, encoding: json}}");
    let config = format!(
        "version: 2
services:
  event_stores: [{otel}]
  object_stores:
    - {{type: s3, endpoint: 'http://127.0.0.1:{port}', bucket: artifacts, access_key: k, secret_key: s, prefix: p/, min_bytes: 4kb}}
    - {otel}
stacks: {{default_stack: {{plugins: [{{type: http_capture, config: {{level: full}}}}, {{type: redact}}]}}}}
"
    );
    replay(folder.path(), recording, &config);
    let records = taken(&receiver.finish());
    let of_kind = |name: &'static str| records.iter().filter(move |record| record["eventName"] == name);
    let (mut in_bucket, mut in_collector) = (0, 0);
    for (path, body) in &bodies {
        let about = of_kind("qtap.artifact_record").find(|record| value(record, "url.path") == *path).unwrap();
        for side in ["request", "response"] {
            let url = value(about, &format!("artifact.{side}.url"));
            let named = value(about, &format!("artifact.{side}.digest"));
            let document = if let Some(at) = url.strip_prefix(&format!("http://127.0.0.1:{port}")) {
                in_bucket += 1;
                let (code, media_type, document) = get(port, at).await;
                assert_eq!((code, media_type.as_str()), (200, "application/json"), "{url}");
                document
            } else {
                in_collector += 1;
                assert!(url.starts_with(&format!("otel://127.0.0.1:{http}/")), "{url}");
                let object = of_kind("qtap.object").find(|record| value(record, "artifact.digest") == named).unwrap();
                value(object, "artifact.data").as_bytes().to_vec()
            };
            assert_eq!(digest(&document), named, "{url}");
            let document: Value = serde_json::from_slice(&document).unwrap();
            if side == "response" {
                assert_eq!(document["body"]["digest"], digest(body), "{path}");
                assert_eq!(document["body"]["data"].as_str().unwrap().as_bytes(), body, "{path}");
            }
        }
    }
    assert_eq!((in_bucket, in_collector), (2, 4), "two answers are large enough");
    assert_eq!(of_kind("qtap.object").count(), 4, "what is in the bucket is not sent to the collector too");
}
