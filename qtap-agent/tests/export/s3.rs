//! The S3 exporter against moto.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use qtap_agent::export::settings::{
    Keys, Place, ProxySettings, RetrySettings, S3Place, S3Settings, Secret, StoreKind, StoreSettings, TlsSettings,
};
use qtap_agent::export::{Health, Output, Store, spawn, test_connection};
use qtap_agent::model::loss::Loss;
use qtap_agent::model::record::RecordKind;
use qtap_agent::model::spool::SpoolFile;
use serde_json::json;
use tokio::runtime::Handle;

use super::python::{Receiver, interpreter};
use super::records::{connection, digest, object};

/// moto's server on a port that it chooses, with the bucket created; it ends when its input is closed.
const SERVER: &str = "
import sys, urllib.request
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{port}/artifacts', method='PUT'))
print(port, flush=True)
sys.stdin.read()
server.stop()
";

pub(crate) struct Moto(Child, pub(crate) u16);

impl Moto {
    pub(crate) fn start() -> Option<Moto> {
        let python = interpreter()?;
        let mut child = Command::new(python)
            .args(["-c", SERVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Moto(child, line.trim().parse().unwrap()))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn settings(port: u16, bucket: &str, prefix: &str) -> StoreSettings {
    let s3 = S3Settings {
        place: Place::S3(S3Place {
            endpoint: Some(format!("127.0.0.1:{port}")),
            insecure: true,
            region: "us-east-1".into(),
            bucket: bucket.into(),
            path_style: true,
            keys: Some(Keys { access_key: Secret::text("id"), secret_key: Secret::text("key"), session_token: None }),
            encryption: None,
        }),
        prefix: prefix.into(),
        tls: TlsSettings::default(),
        proxy: ProxySettings::default(),
        timeout: Duration::from_secs(5),
        retry: RetrySettings {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(50),
            max_elapsed: Duration::ZERO,
        },
        workers: 2,
    };
    StoreSettings { id: "s3".into(), events: false, objects: true, kind: StoreKind::S3(Box::new(s3)), queue: None }
}

fn output() -> Output {
    Output::to(Box::new(std::io::sink()), false)
}

fn start(settings: &StoreSettings) -> Store {
    spawn(settings, &Handle::current(), "1.2.3", &output()).unwrap()
}

/// Status, media type and body of a GET. moto requires some authorization for an object that is not public, but checks no signature.
pub(crate) async fn get(port: u16, path: &str) -> (u16, String, Vec<u8>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: AWS id:x\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let media_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default().to_owned();
    (head[9..12].parse().unwrap(), media_type, answer[end + 4..].to_vec())
}

#[tokio::test]
async fn objects_are_found_at_their_url() {
    let Some(moto) = Moto::start() else { return };
    for prefix in ["", "qtap/v1/", "dev-"] {
        let store = start(&settings(moto.1, "artifacts", prefix));
        let large = b"0123456789abcdef".repeat(1 << 16);
        store.offer(&[connection(1), object(2, b"{\"a\":1}"), object(3, &large), object(4, b"{\"a\":1}")]);
        let status = store.shutdown(Duration::from_secs(20)).await;
        assert_eq!((status.exported_records, status.health), (3, Health::Healthy), "{status:?}");
        assert!(status.losses.is_empty());
        for data in [b"{\"a\":1}".as_slice(), &large] {
            let hex = digest(data);
            let path = format!("/artifacts/{prefix}{}", hex.strip_prefix("sha256:").unwrap());
            let (code, media_type, body) = get(moto.1, &path).await;
            assert_eq!((code, media_type.as_str()), (200, "application/json"), "{path}");
            assert!(body.as_slice() == data, "{path}: {} bytes", body.len());
        }
    }
}

/// Sent in parts, from a file; on the next attempt the existing object is found before anything is sent.
#[tokio::test]
async fn a_large_object_is_found_at_its_url() {
    let Some(moto) = Moto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data: Vec<u8> = (0..3_000_000_u64).flat_map(u64::to_be_bytes).collect();
    for _ in 0..2 {
        let path = folder.path().join("1");
        std::fs::write(&path, &data).unwrap();
        let mut record = (*object(1, &data)).clone();
        if let RecordKind::Object(object) = &mut record.kind {
            object.data = bytes::Bytes::new();
            object.spooled = Some(Arc::new(SpoolFile::new(path.clone(), data.len() as u64)));
        }
        let store = start(&settings(moto.1, "artifacts", ""));
        store.offer(&[Arc::new(record)]);
        let status = store.shutdown(Duration::from_secs(60)).await;
        assert_eq!((status.exported_records, status.health), (1, Health::Healthy), "{status:?}");
        assert!(!path.exists(), "the file is gone with the last who held it");
    }
    let hex = digest(&data);
    let (code, media_type, body) = get(moto.1, &format!("/artifacts/{}", hex.strip_prefix("sha256:").unwrap())).await;
    assert_eq!((code, media_type.as_str()), (200, "application/json"));
    assert!(body == data, "{} bytes", body.len());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_a_matter_of_settings() {
    let Some(moto) = Moto::start() else { return };
    let error = test_connection(&settings(moto.1, "nowhere", ""), "1.2.3", &output()).await.unwrap_err();
    assert!(error.contains("there is no bucket nowhere"), "{error}");
    let good = settings(moto.1, "artifacts", "");
    assert_eq!(test_connection(&good, "1.2.3", &output()).await, Ok(()));
    let store = start(&settings(moto.1, "nowhere", ""));
    store.offer(&[object(1, b"x")]);
    let status = store.shutdown(Duration::from_secs(20)).await;
    assert_eq!((status.health, status.losses.count(Loss::Shutdown)), (Health::Misconfigured, 1));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = test_connection(&settings(port, "b", ""), "1.2.3", &output()).await.unwrap_err();
    assert_eq!(error, format!("127.0.0.1:{port}: connection refused: nothing listens there"));
}

/// The store uses the `tls` settings: the server here knows no buckets, and says so once it is trusted.
#[tokio::test]
async fn tls_is_verified_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let plan = json!({"tls": {"name": "objects.test", "certificate": certificate, "key": key}});
    let Some(receiver) = Receiver::start(&plan) else { return };
    let test = async |tls: TlsSettings| {
        let mut store = settings(u16::try_from(receiver.http).unwrap(), "b", "");
        if let StoreKind::S3(s3) = &mut store.kind {
            s3.tls = tls;
            if let Place::S3(place) = &mut s3.place {
                place.insecure = false;
            }
        }
        test_connection(&store, "1.2.3", &output()).await.unwrap_err()
    };
    let own = TlsSettings { ca_file: Some(certificate.clone()), ..TlsSettings::default() };
    let named = TlsSettings { server_name: Some("objects.test".into()), ..own.clone() };
    let reached = test(named).await;
    assert!(reached.contains("there is no bucket b"), "{reached}");
    let wrong = test(own).await;
    assert!(wrong.contains("tls.server_name"), "{wrong}");
    let unknown = test(TlsSettings::default()).await;
    assert!(unknown.contains("tls.ca_file"), "{unknown}");
    let any = test(TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() }).await;
    assert!(any.contains("there is no bucket b"), "{any}");
}
