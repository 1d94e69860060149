//! Recordings of real exchanges, replayed by the program itself: the records must equal the expected ones beside them, line by line,
//! byte for byte. `replay/README.md` says how they were made. `UPDATE_EXPECT=1` rewrites the expected records.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use qtap_agent::capture::ABI;
use qtap_agent::capture::recording::{Fact, Frame, Reader};
use sha2::{Digest, Sha256};

/// Limit on all recordings together, so that they can live in a repository.
const MOST_BYTES: u64 = 2 << 20;

fn cases() -> Vec<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay");
    let mut cases: Vec<_> = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    cases
}

fn name(case: &Path) -> String {
    case.file_name().unwrap().to_string_lossy().into_owned()
}

/// `qtap replay`, without the environment of this process.
fn qtap_replay(recording: &Path, config: Option<&Path>, out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qtap"));
    command.env_clear().arg("replay").arg("-o").arg(out);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command.arg(recording).output().unwrap()
}

fn records_of(case: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    let config = Some(case.join("qtap.yaml")).filter(|path| path.exists());
    let ended = qtap_replay(&case.join("recording.qtap"), config.as_deref(), &out);
    assert!(ended.status.success(), "{}: {}", name(case), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.stdout.is_empty(), "{}: records go where they were sent", name(case));
    fs::read_to_string(out).unwrap()
}

/// Its standard output is a pipe that is full, and that nobody reads: it gives up after the ten seconds that stores have at the end.
#[test]
fn a_reader_that_does_not_read_keeps_nobody() {
    let (_reader, mut writer) = std::io::pipe().unwrap();
    // What a pipe holds (pipe(7)).
    writer.write_all(&[b'x'; 65_536]).unwrap();
    let recording = cases().into_iter().next().unwrap().join("recording.qtap");
    let mut command = Command::new(env!("CARGO_BIN_EXE_qtap"));
    let mut replay = command.env_clear().arg("replay").arg(recording).stdout(writer).spawn().unwrap();
    let start = Instant::now();
    while replay.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            replay.kill().unwrap();
            panic!("it waits for its reader");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The first line that differs, from both.
fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (mut expected, mut found) = (expected.lines(), found.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (expected.next(), found.next()) {
            (None, None) => return Some("the line ends differ".to_owned()),
            (expected, found) if expected == found => {}
            (expected, found) => {
                let line = |line: Option<&str>| line.unwrap_or("(no line)").to_owned();
                return Some(format!("line {number}\n  expected: {}\n  found:    {}", line(expected), line(found)));
            }
        }
    }
}

#[test]
fn each_recording_gives_the_expected_records() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut faults = Vec::new();
    for case in cases() {
        let path = case.join("expected.jsonl");
        let found = records_of(&case);
        if update {
            fs::write(&path, &found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        faults.extend(difference(&expected, &found).map(|what| format!("{}: {what}", name(&case))));
    }
    assert!(faults.is_empty(), "\n{}\nIf the new records are right: UPDATE_EXPECT=1\n", faults.join("\n"));
}

/// The environment variables that the examples' READMEs tell their readers to set.
const EXAMPLE_ENV: [(&str, &str); 10] = [
    ("COLLECTOR", "127.0.0.1:4317"),
    ("OTLP_ENDPOINT", "127.0.0.1:4317"),
    ("S3_ENDPOINT", "http://127.0.0.1:9000"),
    ("API_KEY", "x"),
    ("MINIO_SECRET", "x"),
    ("TEAM", "blue"),
    ("KEY", "x"),
    ("AWS_ACCESS_KEY_ID", "x"),
    ("AWS_SECRET_ACCESS_KEY", "x"),
    ("AWS_SESSION_TOKEN", "x"),
];

/// Each example is valid as it is; with its stores replaced by standard output, it makes records from a recording.
#[test]
fn each_example_is_valid_and_replays() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let case = cases().into_iter().find(|case| name(case) == "h1-keep-alive").unwrap();
    let mut count = 0;
    for folder in fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(text) = fs::read_to_string(folder.join("qtap.yaml")) else { continue };
        count += 1;
        let qtap = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_qtap"));
            command.env_clear().envs(EXAMPLE_ENV);
            command
        };
        let valid = qtap().arg("validate").arg(folder.join("qtap.yaml")).output().unwrap();
        let said = String::from_utf8_lossy(&valid.stdout).into_owned();
        assert!(valid.status.success() && said.ends_with("valid\n") && !said.contains("note"), "{said}");

        let mut file: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let stdout = "{event_stores: [{type: stdout}], object_stores: [{type: stdout}]}";
        file["services"] = serde_yaml::from_str(stdout).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (config, out) = (dir.path().join("qtap.yaml"), dir.path().join("out.jsonl"));
        fs::write(&config, serde_yaml::to_string(&file).unwrap()).unwrap();
        let mut replay = qtap();
        replay.arg("replay").arg("-o").arg(&out).arg("--config").arg(config).arg(case.join("recording.qtap"));
        let ended = replay.output().unwrap();
        assert!(ended.status.success(), "{}: {}", name(&folder), String::from_utf8_lossy(&ended.stderr));
        let records = fs::read_to_string(out).unwrap();
        assert!(records.contains("\"qtap.connection\""), "{}: {records}", name(&folder));
        if text.contains("http_capture") && !text.contains("level: none") {
            assert_eq!(records.matches("\"qtap.artifact_record\"").count(), 3, "{}", name(&folder));
        }
        // A config with tags has them on every record.
        if text.contains("TEAM") {
            let lines: Vec<&str> = records.lines().filter(|line| line.starts_with("{\"resourceLogs\"")).collect();
            assert!(lines.iter().all(|line| line.contains("team:blue")), "{}", name(&folder));
        }
    }
    assert!(count >= 5, "{count} examples");
}

#[test]
fn the_same_recording_gives_the_same_records_again() {
    let case = cases().into_iter().find(|case| name(case) == "h2-tls-streams").unwrap();
    assert_eq!(records_of(&case), records_of(&case));
}

#[test]
fn large_bodies_come_whole() {
    let large: String = (0..25_000).map(|number| format!("{number:07}\n")).collect();
    let digest = Sha256::digest(large.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (case, artifact) in [("h1-large", "http_response"), ("h2-tls-post", "http_request")] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.jsonl");
        let recording = cases().into_iter().find(|path| name(path) == case).unwrap().join("recording.qtap");
        assert!(qtap_replay(&recording, None, &out).status.success());
        let records = fs::read_to_string(out).unwrap();
        let body = records.lines().find(|line| line.contains("qtap.object") && line.contains(artifact)).unwrap();
        assert!(body.contains(&format!("sha256:{digest}")), "{case}");
    }
}

#[test]
fn recordings_are_small_and_name_no_machine() {
    let mut size = 0;
    for case in cases() {
        for file in fs::read_dir(&case).unwrap() {
            size += file.unwrap().metadata().unwrap().len();
        }
        let bytes = fs::read(case.join("recording.qtap")).unwrap();
        for place in ["root", "home", "mnt", "target"].map(|dir| format!("/{dir}/")) {
            assert!(!bytes.windows(place.len()).any(|part| part == place.as_bytes()), "{}: {place}", name(&case));
        }
        for frame in Reader::new(&bytes[..], ABI).unwrap() {
            if let Frame::Fact(Fact::Started(host)) = frame.unwrap() {
                assert_eq!((host.name.as_str(), host.kernel.as_str()), ("host", "6.12.0"), "{}", name(&case));
            }
        }
    }
    assert!(size < MOST_BYTES, "{size} bytes");
    assert!(cases().len() >= 14);
}

/// What `qtap replay` makes of this file: exit code, messages, records by name and time.
fn verdict(bytes: &[u8]) -> (Option<i32>, String, Vec<(String, u64)>) {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("r.qtap"), dir.path().join("out.jsonl"));
    fs::write(&file, bytes).unwrap();
    let ended = qtap_replay(&file, None, &out);
    let records = fs::read_to_string(out).unwrap_or_default();
    let record = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let record = &record["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        (record["eventName"].as_str().unwrap().to_owned(), record["timeUnixNano"].as_str().unwrap().parse().unwrap())
    };
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap(), records.lines().map(record).collect())
}

#[test]
fn a_recording_that_is_none_or_foreign_is_refused() {
    let case = cases().into_iter().find(|case| name(case) == "h1-keep-alive").unwrap();
    let whole = fs::read(case.join("recording.qtap")).unwrap();
    let header = |at: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..16]);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        bytes
    };
    let mut damaged = whole.clone();
    damaged[13] ^= 1;
    for (bytes, says) in [
        (Vec::new(), "not a recording"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not a recording"),
        (whole[..12].to_vec(), "cut"),
        (header(8, 99), "format 99"),
        (header(12, 99), "ABI 99"),
        (damaged, "checksum"),
    ] {
        let (code, words, records) = verdict(&bytes);
        assert_eq!((code, records.len()), (Some(4), 0), "{says}: {words}");
        assert!(words.contains(says) && words.contains("r.qtap"), "{says}: {words}");
    }
}

#[test]
fn what_is_whole_before_the_damage_is_replayed() {
    let case = cases().into_iter().find(|case| name(case) == "h1-keep-alive").unwrap();
    let whole = fs::read(case.join("recording.qtap")).unwrap();
    let (code, _, all) = verdict(&whole);
    assert_eq!((code, all.len()), (Some(0), 10), "three exchanges with two objects each, and their connection");

    let second = whole.windows(10).position(|part| part == b"GET /missi").unwrap();
    let mut flipped = whole.clone();
    flipped[second] ^= 1;
    let mut huge = whole[..second - 52].to_vec();
    huge.extend_from_slice(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    for (bytes, says) in [(flipped, "checksum"), (whole[..second].to_vec(), "cut"), (huge, "claims 4294967295 bytes")] {
        let (code, words, records) = verdict(&bytes);
        assert_eq!(code, Some(4), "{words}");
        assert_eq!(records.len(), 4, "one exchange with two objects, and the connection: {says}");
        let time = |name: &str| records.iter().find(|(event, _)| event == name).unwrap().1;
        assert!(time("qtap.connection") > time("qtap.artifact_record"), "it was open until the damage");
        let place = format!("at byte {}", second - 52);
        assert!(words.contains(says) && words.contains(&place) && words.contains("r.qtap"), "{place}: {words}");
    }
}
