//! Object stores under faults: servers that do not support conditions, are slow, refuse, or cut; and the stores that other URL
//! schemes name. `s3` tests against a third-party server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use qtap_agent::export::exporter::{Exporter as _, Item, Receipt};
use qtap_agent::export::objects::{MULTIPART_BYTES, ObjectExporter};
use qtap_agent::export::refusal::{Refusal, Remedy};
use qtap_agent::export::settings::{
    Encryption, Keys, Place, ProxySettings, RetrySettings, S3Place, S3Settings, Secret, StoreKind, StoreSettings,
    TlsSettings,
};
use qtap_agent::export::{Health, Output, spawn};
use qtap_agent::model::record::RecordKind;
use qtap_agent::model::spool::SpoolFile;
use tokio::runtime::Handle;

use super::far_end::{Answer, Asked, Log, error, lines, start, status};
use super::records::{digest, object};

fn place(port: u16) -> S3Place {
    S3Place {
        endpoint: Some(format!("127.0.0.1:{port}")),
        insecure: true,
        region: "us-east-1".into(),
        bucket: "b".into(),
        path_style: true,
        keys: Some(Keys { access_key: Secret::text("id"), secret_key: Secret::text("key"), session_token: None }),
        encryption: None,
    }
}

fn settings(place: Place) -> S3Settings {
    S3Settings {
        place,
        prefix: String::new(),
        tls: TlsSettings::default(),
        proxy: ProxySettings::default(),
        timeout: Duration::from_secs(5),
        retry: RetrySettings {
            initial: Duration::from_millis(1),
            max: Duration::from_millis(20),
            max_elapsed: Duration::ZERO,
        },
        workers: 1,
    }
}

fn exporter(place: Place) -> ObjectExporter {
    ObjectExporter::new(&settings(place), "1.2.3").unwrap()
}

fn s3(port: u16) -> ObjectExporter {
    exporter(Place::S3(place(port)))
}

fn item(exporter: &ObjectExporter, data: &[u8]) -> Vec<Item> {
    exporter.prepare(&object(1, data)).items
}

fn hex(data: &[u8]) -> String {
    digest(data).strip_prefix("sha256:").unwrap().to_owned()
}

/// A gateway's own path before the bucket: its refusals are the store's, not those of a place for credentials.
#[tokio::test]
async fn an_endpoint_may_have_a_path() {
    for path in ["objects", "a/b"] {
        let (port, log) = start(|_| error(403, "AccessDenied")).await;
        let endpoint = Some(format!("127.0.0.1:{port}/{path}"));
        let exporter = exporter(Place::S3(S3Place { endpoint, ..place(port) }));
        let refusal = exporter.send(&item(&exporter, b"x")).await.unwrap_err();
        assert_eq!(lines(&log)[0], format!("PUT /{path}/b/{}", hex(b"x")));
        assert!(refusal.why.contains("may not write to the bucket b"), "{}", refusal.why);
    }
    let (port, _) = start(|asked| if asked.line.starts_with("PUT") { status(412) } else { status(404) }).await;
    let endpoint = Some(format!("127.0.0.1:{port}/objects"));
    let exporter = exporter(Place::S3(S3Place { endpoint, ..place(port) }));
    assert_eq!(exporter.send(&item(&exporter, b"x")).await, Ok(Receipt::default()));
}

/// The result of one attempt against a server with a fixed answer.
async fn refused(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Refusal {
    let (port, _) = start(answer).await;
    let exporter = s3(port);
    exporter.send(&item(&exporter, b"x")).await.unwrap_err()
}

#[tokio::test]
async fn an_object_is_put_if_absent_and_once() {
    let (port, log) = start(|_| status(200)).await;
    let exporter = s3(port);
    for _ in 0..3 {
        assert_eq!(exporter.send(&item(&exporter, b"x")).await, Ok(Receipt::default()));
    }
    assert_eq!(lines(&log), [format!("PUT /b/{}", hex(b"x"))], "asked once, though it was sent three times");
    let asked = log.lock().unwrap()[0].clone();
    assert_eq!((asked.header("if-none-match"), asked.header("content-type")), ("*", "application/json"));
    assert!(asked.header("authorization").contains("Credential=id/"));
    assert_eq!(asked.body, "x");
}

#[tokio::test]
async fn what_failed_is_not_taken_for_put() {
    let times = AtomicUsize::new(0);
    let (port, log) = start(move |_| match times.fetch_add(1, Ordering::Relaxed) {
        0 => error(500, "InternalError"),
        _ => status(200),
    })
    .await;
    let exporter = s3(port);
    assert!(exporter.send(&item(&exporter, b"x")).await.is_err());
    assert_eq!(exporter.send(&item(&exporter, b"x")).await, Ok(Receipt::default()));
    assert_eq!(lines(&log).len(), 2);
}

#[tokio::test]
async fn one_that_is_there_already_is_a_success() {
    for code in [412, 409, 304] {
        let (port, log) = start(move |asked| if asked.line.starts_with("PUT") { status(code) } else { found() }).await;
        let exporter = s3(port);
        assert_eq!(exporter.send(&item(&exporter, b"x")).await, Ok(Receipt::default()), "{code}");
        let asked = [format!("PUT /b/{}", hex(b"x")), format!("HEAD /b/{}", hex(b"x"))];
        assert_eq!(lines(&log), asked[..if code == 409 { 2 } else { 1 }], "{code}");
    }
    // Credentials that may only write.
    let (port, _) = start(|asked| if asked.line.starts_with("PUT") { status(412) } else { status(403) }).await;
    let exporter = s3(port);
    assert_eq!(exporter.send(&item(&exporter, b"x")).await, Ok(Receipt::default()));
    let under_way = refused(|asked| if asked.line.starts_with("PUT") { status(409) } else { status(404) }).await;
    assert_eq!(under_way.remedy, Remedy::Wait(None));
}

/// A login page or a portal says 200 to everything, and keeps nothing.
#[tokio::test]
async fn a_page_is_no_success() {
    let page = || {
        let headers = [
            ("content-type", "text/html; charset=utf-8".to_owned()),
            ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT".to_owned()),
        ];
        Some((200, headers.to_vec(), "<html>log in</html>".to_owned()))
    };
    let (port, _) = start(move |_| page()).await;
    let exporter = s3(port);
    for size in [1, usize::try_from(MULTIPART_BYTES).unwrap() + 1] {
        let refusal = exporter.send(&item(&exporter, &vec![b'x'; size])).await.unwrap_err();
        assert_eq!(refusal.remedy, Remedy::Reconfigure, "{size}");
        assert!(refusal.why.contains("200 OK, but the answer is a page"), "{}", refusal.why);
    }
}

/// The response to HEAD for an existing object.
fn found() -> Answer {
    let headers = [
        ("etag", "\"1\"".to_owned()),
        ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT".to_owned()),
        ("content-length", "1".to_owned()),
    ];
    Some((200, headers.to_vec(), "x".to_owned()))
}

/// A HEAD is sent first instead, and the condition is not tried again.
#[tokio::test]
async fn a_server_that_knows_no_conditions_is_looked_at_first() {
    let (port, log) = start(|asked| match asked.line.split_once(' ').unwrap().0 {
        "PUT" if !asked.header("if-none-match").is_empty() => error(501, "NotImplemented"),
        "PUT" => status(200),
        _ => status(404),
    })
    .await;
    let exporter = s3(port);
    for data in [b"x", b"y"] {
        assert_eq!(exporter.send(&item(&exporter, data)).await, Ok(Receipt::default()));
    }
    let methods: Vec<String> = lines(&log).iter().map(|line| line.split_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(methods, ["PUT", "HEAD", "PUT", "HEAD", "PUT"]);
}

/// Credentials that may write but not read.
#[tokio::test]
async fn who_may_not_look_puts_all_the_same() {
    let (port, log) = start(|asked| match asked.line.split_once(' ').unwrap().0 {
        "PUT" if !asked.header("if-none-match").is_empty() => error(501, "NotImplemented"),
        "PUT" => status(200),
        _ => status(403),
    })
    .await;
    let exporter = s3(port);
    assert_eq!(exporter.send(&item(&exporter, b"x")).await, Ok(Receipt::default()));
    assert_eq!(lines(&log).len(), 3);
}

#[tokio::test]
async fn refusals_are_told_in_words() {
    let gone = refused(|_| error(404, "NoSuchBucket")).await;
    assert_eq!(gone.remedy, Remedy::Reconfigure);
    assert!(gone.why.contains("there is no bucket b"), "{gone}");
    let forbidden = refused(|_| error(403, "AccessDenied")).await;
    assert_eq!(forbidden.remedy, Remedy::Reconfigure);
    assert!(forbidden.why.contains("may not write to the bucket b (AccessDenied)"), "{forbidden}");
    let moved = refused(|_| Some((301, vec![("x-amz-bucket-region", "eu-west-1".to_owned())], String::new()))).await;
    assert_eq!(moved.remedy, Remedy::Reconfigure);
    assert!(moved.why.contains("redirects elsewhere"), "{moved}");
    let large = refused(|_| error(400, "EntityTooLarge")).await;
    assert_eq!(large.remedy, Remedy::Split);
    let slow =
        refused(|_| Some((503, vec![("retry-after", "3".to_owned())], "<Code>SlowDown</Code>".to_owned()))).await;
    assert_eq!(slow.remedy, Remedy::Wait(Some(Duration::from_secs(3))));
    assert!(slow.why.contains("SlowDown"), "{slow}");
    let broken = refused(|_| error(500, "InternalError")).await;
    assert_eq!(broken.remedy, Remedy::Wait(None));
    let cut = refused(|_| None).await;
    assert_eq!(cut.remedy, Remedy::Wait(None));
    assert!(cut.why.contains("closed the connection"), "{cut}");
}

#[tokio::test]
async fn no_answer_in_time_is_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let exporter = ObjectExporter::new(
        &S3Settings { timeout: Duration::from_millis(200), ..settings(Place::S3(place(port))) },
        "1.2.3",
    )
    .unwrap();
    let refusal = exporter.send(&item(&exporter, b"x")).await.unwrap_err();
    assert_eq!(refusal.remedy, Remedy::Wait(None));
    assert!(refusal.why.contains("no answer within 200ms"), "{refusal}");
}

#[tokio::test]
async fn a_store_that_is_slow_gets_it_later() {
    let times = AtomicUsize::new(0);
    let (port, _) = start(move |_| match times.fetch_add(1, Ordering::Relaxed) {
        0..3 => error(503, "SlowDown"),
        _ => status(200),
    })
    .await;
    let kind = StoreKind::S3(Box::new(settings(Place::S3(place(port)))));
    let settings = StoreSettings { id: "s3".into(), events: false, objects: true, kind, queue: None };
    let output = Output::to(Box::new(std::io::sink()), false);
    let store = spawn(&settings, &Handle::current(), "1.2.3", &output).unwrap();
    store.offer(&[object(1, b"x"), object(2, b"y")]);
    tokio::time::timeout(Duration::from_secs(20), async {
        while store.status().exported_records < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let status = store.shutdown(Duration::from_secs(5)).await;
    assert_eq!((status.health, status.sends, status.losses.is_empty()), (Health::Healthy, 5, true), "{status:?}");
}

#[tokio::test]
async fn encryption_and_session_are_asked_for() {
    for (encryption, kind, key_id) in [
        (Encryption::Aes256, "AES256", ""),
        (Encryption::Kms(Some("k1".into())), "aws:kms", "k1"),
        (Encryption::KmsTwice(None), "aws:kms:dsse", ""),
    ] {
        let (port, log) = start(|_| status(200)).await;
        let keys = Keys {
            access_key: Secret::text("id"),
            secret_key: Secret::text("key"),
            session_token: Some(Secret::text("tok")),
        };
        let exporter = exporter(Place::S3(S3Place { encryption: Some(encryption), keys: Some(keys), ..place(port) }));
        exporter.send(&item(&exporter, b"x")).await.unwrap();
        let asked = log.lock().unwrap()[0].clone();
        assert_eq!(asked.header("x-amz-server-side-encryption"), kind);
        assert_eq!(asked.header("x-amz-server-side-encryption-aws-kms-key-id"), key_id);
        assert_eq!(asked.header("x-amz-security-token"), "tok");
    }
}

/// Keys stored in files may change while qtap runs.
#[tokio::test]
async fn keys_are_read_again_when_their_file_changes() {
    let (port, log) = start(|_| status(200)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "first").unwrap();
    let access_key = Secret::file(path.clone()).unwrap();
    let keys = Keys { access_key, secret_key: Secret::text("key"), session_token: None };
    let exporter = exporter(Place::S3(S3Place { keys: Some(keys), ..place(port) }));
    exporter.send(&item(&exporter, b"x")).await.unwrap();
    std::fs::write(&path, "another").unwrap();
    exporter.send(&item(&exporter, b"y")).await.unwrap();
    let log = log.lock().unwrap();
    let key = |nth: usize| {
        log[nth].header("authorization").split("Credential=").nth(1).unwrap().split('/').next().unwrap().to_owned()
    };
    assert_eq!((key(0), key(1)), ("first".to_owned(), "another".to_owned()));
}

/// A server for multipart uploads. `part` answers for a part number, and the count of the attempt.
async fn uploads(part: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> (u16, Log) {
    let times = AtomicUsize::new(0);
    start(move |asked| {
        let (method, target) = asked.line.split_once(' ').unwrap();
        match method {
            "HEAD" => status(404),
            "POST" if target.ends_with("?uploads") || target.ends_with("?uploads=") => {
                let body = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
                Some((200, Vec::new(), body.to_owned()))
            }
            "POST" => Some((
                200,
                Vec::new(),
                "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>".to_owned(),
            )),
            "PUT" => {
                let number = target.split("partNumber=").nth(1).unwrap().split('&').next().unwrap();
                part(number, times.fetch_add(1, Ordering::Relaxed))
            }
            _ => status(204),
        }
    })
    .await
}

fn taken() -> Answer {
    Some((200, vec![("etag", "\"p\"".to_owned())], String::new()))
}

/// More than fits in one request, with no two parts alike.
fn large() -> Vec<u8> {
    (0..MULTIPART_BYTES / 8 + 100_000).flat_map(u64::to_be_bytes).collect()
}

/// The accepted parts, joined in the order of their numbers.
fn put_together(log: &Log) -> Vec<u8> {
    let mut parts: Vec<(u32, bytes::Bytes)> = Vec::new();
    for asked in log.lock().unwrap().iter().filter(|asked| !asked.body.is_empty() && asked.line.starts_with("PUT")) {
        let number = asked.line.split("partNumber=").nth(1).unwrap().split('&').next().unwrap();
        parts.push((number.parse().unwrap(), asked.body.clone()));
    }
    parts.sort_by_key(|(number, _)| *number);
    parts.into_iter().flat_map(|(_, bytes)| bytes).collect()
}

#[tokio::test]
async fn a_large_object_goes_in_parts_from_memory_and_from_a_file() {
    let data = large();
    let folder = tempfile::tempdir().unwrap();
    for spooled in [false, true] {
        let (port, log) = uploads(|_, _| taken()).await;
        let exporter = s3(port);
        let mut items = item(&exporter, &data);
        if spooled {
            let path = folder.path().join("1");
            std::fs::write(&path, &data).unwrap();
            items[0].payload = bytes::Bytes::new();
            items[0].spooled = Some(Arc::new(SpoolFile::new(path, data.len() as u64)));
        }
        assert_eq!(exporter.send(&items).await, Ok(Receipt::default()));
        assert!(put_together(&log) == data, "what arrived is what was sent");
        let lines = lines(&log);
        assert!(lines[0].starts_with("HEAD ") && lines[1].starts_with("POST "), "{lines:?}");
        assert_eq!(lines.len(), 6, "a look, the beginning, three parts, the end: {lines:?}");
    }
}

/// A connection that is cut in the middle of a part costs only that part.
#[tokio::test]
async fn a_part_that_is_cut_is_sent_again() {
    let (port, log) = uploads(|_, nth| if nth == 1 { None } else { taken() }).await;
    let (exporter, data) = (s3(port), large());
    assert_eq!(exporter.send(&item(&exporter, &data)).await, Ok(Receipt::default()));
    assert!(put_together(&log) == data);
    let parts = lines(&log).iter().filter(|line| line.starts_with("PUT")).count();
    assert_eq!(parts, 4, "one of three was sent twice");
}

#[tokio::test]
async fn an_upload_that_fails_is_aborted() {
    for (answer, remedy) in [
        (error(403, "AccessDenied"), Remedy::Reconfigure),
        (Some((503, vec![("retry-after", "9".to_owned())], String::new())), Remedy::Wait(Some(Duration::from_secs(9)))),
    ] {
        let (port, log) = uploads(move |number, _| if number == "2" { answer.clone() } else { taken() }).await;
        let exporter = s3(port);
        let refusal = exporter.send(&item(&exporter, &large())).await.unwrap_err();
        assert_eq!(refusal.remedy, remedy);
        let lines = lines(&log);
        assert!(
            lines.last().unwrap().starts_with("DELETE ") && lines.last().unwrap().contains("uploadId=u1"),
            "{lines:?}"
        );
    }
}

/// An upload whose caller stops waiting is aborted too.
#[tokio::test]
async fn an_upload_that_is_let_go_is_aborted() {
    let (port, log) =
        uploads(|number, _| if number == "2" { Some((503, Vec::new(), String::new())) } else { taken() }).await;
    let exporter = s3(port);
    let items = item(&exporter, &large());
    // Part 2 is retried after half a second; until then the upload is in progress.
    assert!(tokio::time::timeout(Duration::from_millis(400), exporter.send(&items)).await.is_err());
    tokio::time::timeout(Duration::from_secs(10), async {
        while !lines(&log).iter().any(|line| line.starts_with("DELETE ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_spooled_file_that_is_gone_is_refused_for_good() {
    let (port, _) = uploads(|_, _| taken()).await;
    let exporter = s3(port);
    let mut items = item(&exporter, b"");
    items[0].spooled = Some(Arc::new(SpoolFile::new("/nowhere/1".into(), 5)));
    assert_eq!(exporter.send(&items).await.unwrap_err().remedy, Remedy::Split);
}

#[tokio::test]
async fn a_directory_holds_objects_by_their_digest() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a/b");
    let exporter =
        ObjectExporter::new(&S3Settings { prefix: "p/q-".to_owned(), ..settings(Place::Folder(dir.clone())) }, "1.2.3")
            .unwrap();
    let large = large();
    for data in [b"small".as_slice(), &large, b"small"] {
        assert_eq!(exporter.send(&item(&exporter, data)).await, Ok(Receipt::default()));
        let name = dir.join(format!("p/q-{}", hex(data)));
        assert!(std::fs::read(&name).unwrap() == data, "{}", name.display());
    }
    let again =
        ObjectExporter::new(&S3Settings { prefix: "p/q-".to_owned(), ..settings(Place::Folder(dir.clone())) }, "1.2.3");
    let again = again.unwrap();
    let name = dir.join(format!("p/q-{}", hex(b"small")));
    let before = name.metadata().unwrap().modified().unwrap();
    assert_eq!(again.send(&item(&again, b"small")).await, Ok(Receipt::default()));
    assert_eq!(name.metadata().unwrap().modified().unwrap(), before, "it is not written over");
    assert_eq!(std::fs::read_dir(dir.join("p")).unwrap().count(), 2, "nothing else is left there");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_a_matter_of_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = ObjectExporter::new(&settings(Place::Folder(file.join("x"))), "1.2.3").unwrap_err();
    assert!(error.to_string().contains("Not a directory"), "{error}");
}

#[test]
fn an_object_has_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = Arc::new(SpoolFile::new(folder.path().join("1"), 7));
    let mut record = (*object(1, b"")).clone();
    if let RecordKind::Object(object) = &mut record.kind {
        object.spooled = Some(Arc::clone(&file));
    }
    let exporter = exporter(Place::Folder(folder.path().to_owned()));
    assert_eq!(exporter.prepare(&record).items[0].spooled, Some(file));
}
