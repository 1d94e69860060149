//! Object stores as an operator configures them, by file and environment: the program itself sends its sample (`qtap test-connection`).
//! Google and Azure are small in-process servers that check path, method and condition: no emulator of theirs that accepts these
//! requests is available everywhere.

use std::path::Path;
use std::process::{Command, Output};

use super::far_end::{Answer, Asked, Log, lines, start, status};

/// The request that carried the sample: the last one.
fn sample(log: &Log) -> Asked {
    log.lock().unwrap().last().unwrap().clone()
}

/// Sends the sample to a store with this config and these variables, and none of this process's own environment.
async fn send(store: &str, variables: &[(&str, String)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("qtap.yaml");
    std::fs::write(&file, format!("version: 2\nservices:\n  object_stores:\n    - {{type: s3, {store}}}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qtap"));
    command.env_clear().args(["test-connection", "--config"]).arg(&file);
    command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    tokio::task::spawn_blocking(move || {
        let _folder = folder;
        command.output().unwrap()
    })
    .await
    .unwrap()
}

fn accepted(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("accepted"), "{said}");
}

fn url(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}{path}")
}

#[tokio::test]
async fn a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("objects");
    accepted(&send(&format!("endpoint: 'file://{}', prefix: p/", at.display()), &[]).await);
    let files: Vec<_> = std::fs::read_dir(at.join("p")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].len(), 64, "a digest");
}

#[tokio::test]
async fn google_cloud_storage() {
    let (port, log) = start(|_| status(200)).await;
    let variables = [("GOOGLE_BASE_URL", url(port, "")), ("GOOGLE_BEARER_TOKEN", "tok".to_owned())];
    accepted(&send("endpoint: 'gs://bucket/x'", &variables).await);
    let asked = sample(&log);
    assert!(asked.line.starts_with("PUT /bucket/x%2F") && asked.line.len() == 16 + 64, "{}", asked.line);
    assert_eq!(asked.header("x-goog-if-generation-match"), "0");
    assert_eq!((asked.header("content-type"), asked.header("authorization")), ("application/json", "Bearer tok"));
}

#[tokio::test]
async fn azure_blob_storage() {
    let (port, log) = start(|_| status(201)).await;
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "acc".to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5".to_owned()),
        ("AZURE_STORAGE_ENDPOINT", url(port, "")),
    ];
    accepted(&send("endpoint: 'az://box/x'", &variables).await);
    let asked = sample(&log);
    assert!(asked.line.starts_with("PUT /box/x/") && asked.line.len() == 11 + 64, "{}", asked.line);
    assert_eq!((asked.header("if-none-match"), asked.header("x-ms-blob-type")), ("*", "BlockBlob"));
    assert!(asked.header("authorization").starts_with("SharedKey acc:"), "{}", asked.header("authorization"));
}

/// The credentials of a request to S3: access key and session token.
fn credentials(asked: &Asked) -> (String, String) {
    let authorization = asked.header("authorization");
    let key = authorization.split("Credential=").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    (key.to_owned(), asked.header("x-amz-security-token").to_owned())
}

fn is(key: &str, token: &str) -> (String, String) {
    (key.to_owned(), token.to_owned())
}

fn json(text: &str) -> Answer {
    Some((200, vec![("content-type", "application/json".to_owned())], text.to_owned()))
}

const TEMPORARY: &str = r#"{"AccessKeyId":"TEMP","SecretAccessKey":"s","Token":"tok","Expiration":"2099-01-01T00:00:00Z","Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC"}"#;

fn bucket(port: u16) -> String {
    format!("endpoint: 'http://127.0.0.1:{port}', bucket: b")
}

#[tokio::test]
async fn keys_of_the_environment() {
    let (port, log) = start(|_| status(200)).await;
    let variables = [
        ("AWS_ACCESS_KEY_ID", "ENVKEY".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "s".to_owned()),
        ("AWS_SESSION_TOKEN", "envtok".to_owned()),
        ("AWS_REGION", "eu-west-3".to_owned()),
        // The endpoint of the file takes precedence over the environment.
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1".to_owned()),
    ];
    accepted(&send(&bucket(port), &variables).await);
    assert_eq!(credentials(&sample(&log)), is("ENVKEY", "envtok"));
    assert!(sample(&log).header("authorization").contains("/eu-west-3/s3/"));
}

#[tokio::test]
async fn keys_of_a_container() {
    let (port, log) = start(|asked| if asked.line == "GET /creds" { json(TEMPORARY) } else { status(200) }).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "pod-token").unwrap();
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url(port, "/creds")),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.display().to_string()),
    ];
    accepted(&send(&bucket(port), &variables).await);
    assert_eq!(credentials(&sample(&log)), is("TEMP", "tok"));
    assert_eq!(log.lock().unwrap()[0].header("authorization"), "pod-token");
}

#[tokio::test]
async fn keys_of_an_instance() {
    let (port, log) = start(|asked| match asked.line.as_str() {
        "PUT /latest/api/token" => Some((200, Vec::new(), "imds".to_owned())),
        "GET /latest/meta-data/iam/security-credentials/" => Some((200, Vec::new(), "role".to_owned())),
        "GET /latest/meta-data/iam/security-credentials/role" => json(TEMPORARY),
        _ => status(200),
    })
    .await;
    accepted(&send(&bucket(port), &[("AWS_METADATA_ENDPOINT", url(port, ""))]).await);
    assert_eq!(credentials(&sample(&log)), is("TEMP", "tok"));
}

#[tokio::test]
async fn keys_of_a_web_identity() {
    const ASSUMED: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <AccessKeyId>WEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>wt</SessionToken>\
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
        </AssumeRoleWithWebIdentityResponse>";
    let (port, log) =
        start(|asked| if asked.line.starts_with("POST /sts") { json(ASSUMED) } else { status(200) }).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "jwt").unwrap();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r".to_owned()),
        ("AWS_ENDPOINT_URL_STS", url(port, "/sts")),
    ];
    accepted(&send(&bucket(port), &variables).await);
    assert_eq!(credentials(&sample(&log)), is("WEB", "wt"));
    assert!(lines(&log)[0].contains("WebIdentityToken=jwt"), "{:?}", lines(&log));
}

#[tokio::test]
async fn credentials_that_nobody_has_are_told() {
    let (port, _) = start(|_| status(200)).await;
    let (other, _) = start(|_| status(404)).await;
    let output = send(&bucket(port), &[("AWS_METADATA_ENDPOINT", url(other, ""))]).await;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(&format!(
            "no credentials: the file has no access_key, the environment none, and 127.0.0.1:{other} answers 404"
        )),
        "{said}"
    );
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_used() {
    let (port, log) = start(|_| status(200)).await;
    let store = "endpoint: 'http://objects.example', bucket: b, access_key: k, secret_key: s";
    accepted(&send(store, &[("HTTP_PROXY", url(port, "")), ("http_proxy", url(port, ""))]).await);
    assert!(sample(&log).line.starts_with("PUT http://objects.example/b/"), "{}", sample(&log).line);
}

/// The virtual-host style sends requests to the bucket's own host.
#[tokio::test]
async fn the_bucket_stands_in_the_host() {
    let (port, log) = start(|_| status(200)).await;
    let store = "endpoint: 'http://objects.example', bucket: b, access_key: k, secret_key: s, force_path_style: false";
    accepted(&send(store, &[("HTTP_PROXY", url(port, "")), ("http_proxy", url(port, ""))]).await);
    assert!(sample(&log).line.starts_with("PUT http://b.objects.example/"), "{}", sample(&log).line);
    assert!(Path::new(&sample(&log).line).file_name().is_some_and(|name| name.len() == 64));
}
