//! Stores of type s3: which place each endpoint names, the settings for it, and the URLs of its objects.

use std::path::PathBuf;

use super::{bad, good, indented};
use crate::config::{Settings, Source, load};
use crate::export::settings::{Encryption, Keys, Place, S3Place, S3Settings, Secret, StoreKind};

fn text(lines: &str) -> String {
    format!("version: 2\nservices:\n  object_stores:\n    - type: s3\n{}", indented(lines, 6))
}

fn found(settings: &Settings) -> (S3Settings, String) {
    match &settings.stores[0].kind {
        StoreKind::S3(s3) => ((**s3).clone(), settings.pipeline.locators[0].url.clone()),
        other => panic!("{other:?}"),
    }
}

fn store(lines: &str) -> (S3Settings, String) {
    found(&good(&text(lines)).0)
}

/// With these environment variables set, and no others.
fn with(lines: &str, variables: &[(&str, &str)]) -> (S3Settings, String) {
    let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let source = Source::Text { name: "qtap.yaml".to_owned(), text: text(lines) };
    found(&load(source, &env).unwrap_or_else(|faults| panic!("{faults}")).0)
}

fn place(lines: &str) -> S3Place {
    match store(lines).0.place {
        Place::S3(place) => place,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_scheme_names_the_place() {
    let (folder, url) = store("endpoint: file:///srv/objects/\nprefix: a/");
    assert_eq!((folder.place, folder.prefix.as_str()), (Place::Folder(PathBuf::from("/srv/objects/")), "a/"));
    assert_eq!(url, "file:///srv/objects/a/{{DIGEST}}");

    let (amazon, url) = store("endpoint: s3://b/x/y/\nprefix: z-\nregion: eu-west-1");
    assert_eq!(amazon.prefix, "x/y/z-");
    assert!(matches!(amazon.place, Place::S3(S3Place { endpoint: None, path_style: false, .. })));
    assert_eq!(url, "https://s3.amazonaws.com/b/x/y/z-{{DIGEST}}");

    let (google, url) = store("endpoint: gs://b/x");
    assert_eq!((google.place, google.prefix.as_str()), (Place::Google { bucket: "b".to_owned() }, "x/"));
    assert_eq!(url, "https://storage.googleapis.com/b/x/{{DIGEST}}");
    assert_eq!(with("endpoint: gs://b", &[("GOOGLE_BASE_URL", "http://h:1/")]).1, "http://h:1/b/{{DIGEST}}");

    let account = [("AZURE_STORAGE_ACCOUNT_NAME", "acc")];
    let (azure, url) = with("endpoint: az://c", &account);
    assert_eq!(azure.place, Place::Azure { container: "c".to_owned() });
    assert_eq!(url, "https://acc.blob.core.windows.net/c/{{DIGEST}}");
    assert!(bad(&text("endpoint: az://c")).contains("`AZURE_STORAGE_ACCOUNT_NAME` is not set"));
}

#[test]
fn the_bucket_stands_in_the_host_at_amazon_and_in_the_path_elsewhere() {
    for (lines, path_style) in [
        ("", false),
        ("endpoint: s3.amazonaws.com", false),
        ("endpoint: https://s3.dualstack.eu-west-1.amazonaws.com", false),
        ("endpoint: s3.cn-north-1.amazonaws.com.cn", false),
        ("endpoint: minio:9000", true),
        ("force_path_style: true", true),
        ("endpoint: oss.example\nforce_path_style: false", false),
    ] {
        assert_eq!(place(&format!("bucket: b\n{lines}")).path_style, path_style, "{lines}");
    }
}

#[test]
fn keys_encryption_region_and_tls() {
    let secret = |text: &str| Secret::text(text);
    let whole = "bucket: b\naccess_key: a\nsecret_key: s\nsession_token: t";
    let keys = Keys { access_key: secret("a"), secret_key: secret("s"), session_token: Some(secret("t")) };
    assert_eq!(place(whole).keys, Some(keys));
    let encryption = |lines: &str| place(&format!("bucket: b\n{lines}")).encryption;
    assert_eq!(encryption(""), None);
    assert_eq!(encryption("server_side_encryption: AES256"), Some(Encryption::Aes256));
    assert_eq!(encryption("server_side_encryption: aws:kms"), Some(Encryption::Kms(None)));
    let key = Some("k".to_owned());
    assert_eq!(encryption("server_side_encryption: aws:kms:dsse\nkms_key_id: k"), Some(Encryption::KmsTwice(key)));
    let region = |lines: &str, variables: &[(&str, &str)]| match with(&format!("bucket: b\n{lines}"), variables).0.place
    {
        Place::S3(place) => place.region,
        other => panic!("{other:?}"),
    };
    assert_eq!(region("", &[]), "us-east-1");
    assert_eq!(region("", &[("AWS_DEFAULT_REGION", "r2")]), "r2");
    assert_eq!(region("", &[("AWS_DEFAULT_REGION", "r2"), ("AWS_REGION", "r1")]), "r1");
    assert_eq!(region("region: r0", &[("AWS_REGION", "r1")]), "r0");
    let endpoints = [("AWS_ENDPOINT_URL", "http://all:1"), ("AWS_ENDPOINT_URL_S3", "http://s3:2")];
    assert_eq!(with("bucket: b", &endpoints).1, "http://s3:2/b/{{DIGEST}}");
    assert_eq!(with("bucket: b", &endpoints[..1]).1, "http://all:1/b/{{DIGEST}}");
    assert_eq!(with("bucket: b\nendpoint: h:3", &endpoints).1, "https://h:3/b/{{DIGEST}}");
    assert!(store("bucket: b\ntls: {insecure_skip_verify: true}").0.tls.insecure_skip_verify);
}

#[test]
fn what_says_nothing_is_a_fault() {
    for (lines, said) in [
        ("region: r", "`bucket` is missing in an s3 store"),
        ("endpoint: file:///x\nbucket: b", "`bucket` says nothing to an endpoint with `file://`"),
        ("endpoint: file:///x\nregion: r", "`region` says nothing to an endpoint with `file://`"),
        ("endpoint: gs://b\naccess_key: a\nsecret_key: s", "`access_key` says nothing to an endpoint with `gs://`"),
        ("endpoint: s3://b\nbucket: c", "`bucket` says nothing to an endpoint with `s3://`"),
        ("endpoint: s3:///x", "no bucket in this URL"),
        ("endpoint: file://x", "a directory that is not absolute"),
        ("endpoint: ftp://x\nbucket: b", "an endpoint cannot begin with `ftp://`"),
        ("bucket: b\nsession_token: t", "a `session_token` without its keys"),
        ("bucket: b\nkms_key_id: k", "a `kms_key_id` that nothing uses"),
        ("bucket: b\ninsecure: true\ntls: {enabled: true}", "`tls` and plain HTTP"),
        ("bucket: b\nprefix: /x", "this cannot begin the key of an object"),
        ("bucket: b\nprefix: a/../b", "this cannot begin the key of an object"),
    ] {
        let told = bad(&text(lines));
        assert!(told.contains(said), "{lines}\n{told}");
    }
}
