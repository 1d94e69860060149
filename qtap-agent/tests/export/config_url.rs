//! A config from an `https` URL: which certificates are trusted, and what the local copy is for. A process looks up its trusted roots itself, so
//! the config is read in another process, with the roots of the test (`SSL_CERT_FILE`).

use std::path::Path;
use std::process::Command;

use qtap_agent::config::{Source, load};

use super::authorities::Authority;
use super::far_end::{self, Answer};
use super::relay::{Manner, Relay};

const GOOD: &str = "version: 2\nservices: {event_stores: [{type: stdout}]}\n";
/// Tells the other process what to read, and where copies are.
const ORDERS: &str = "QTAP_TEST_CONFIG_URL";

#[test]
#[ignore = "run by the tests below, as another process"]
fn child() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let (url, copies) = orders.split_once('|').unwrap();
    match load(Source::named(url).with_copies(Path::new(copies)), &|_| None) {
        Ok((_, notes)) => println!("\nread: {}", notes.iter().map(ToString::to_string).collect::<String>()),
        Err(faults) => println!("\nrefused: {faults}"),
    }
}

/// Reads the config with these roots in another process, and returns the outcome.
async fn read(url: &str, copies: &Path, roots: &str) -> String {
    let file = copies.join("roots.pem");
    std::fs::write(&file, roots).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear().env("SSL_CERT_FILE", file).env(ORDERS, format!("{url}|{}", copies.display()));
    command.args(["--exact", "config_url::child", "--ignored", "--nocapture", "--test-threads=1"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let told = said.lines().skip_while(|line| !line.starts_with("read: ") && !line.starts_with("refused: "));
    told.take_while(|line| *line != "ok" && !line.starts_with("test ")).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// A server of one page behind a relay, for example over TLS.
async fn server(manner: Manner, answer: impl Fn() -> Answer + Send + Sync + 'static) -> (Relay, String) {
    let (port, _) = far_end::start(move |_| answer()).await;
    let relay = Relay::start(u64::from(port), manner).await;
    let url = format!("https://localhost:{}/qtap.yaml", relay.port);
    (relay, url)
}

fn page() -> Answer {
    Some((200, vec![("etag", "\"one\"".to_owned())], GOOD.to_owned()))
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_read_and_its_copy_stands_in_when_it_is_gone() {
    let (authority, folder) = (Authority::new("one"), tempfile::tempdir().unwrap());
    let tls = Manner::Tls(authority.identity("localhost", false).server(None));
    let (relay, url) = server(tls, page).await;
    let (data, none) = (folder.path(), tempfile::tempdir().unwrap());
    assert_eq!(read(&url, data, &authority.pem()).await, "read:");
    assert_eq!(std::fs::read_dir(data.join("config")).unwrap().count(), 1, "the copy");

    relay.become_of(Manner::Cut(0));
    let told = read(&url, data, &authority.pem()).await;
    assert!(told.starts_with(&format!("read: {url}")) && told.contains("s ago is used"), "{told}");
    let told = read(&url, none.path(), &authority.pem()).await;
    assert!(told.starts_with(&format!("refused: {url}: cannot be read: ")), "{told}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_read() {
    let (authority, other, folder) = (Authority::new("one"), Authority::new("two"), tempfile::tempdir().unwrap());
    let identity = |name: &str, expired: bool| Manner::Tls(authority.identity(name, expired).server(None));
    let (relay, url) = server(identity("localhost", false), page).await;
    let told = read(&url, folder.path(), &other.pem()).await;
    assert!(told.starts_with("refused: ") && told.contains("UnknownIssuer"), "{told}");
    relay.become_of(identity("localhost", true));
    let told = read(&url, folder.path(), &authority.pem()).await;
    assert!(told.starts_with("refused: ") && told.contains("expired"), "{told}");
    relay.become_of(identity("elsewhere.example", false));
    let told = read(&url, folder.path(), &authority.pem()).await;
    assert!(told.starts_with("refused: ") && told.contains("not valid for name"), "{told}");
    assert!(!folder.path().join("config").exists(), "what was not read has no copy");
}

#[tokio::test]
async fn a_server_that_sends_us_on_in_the_clear_is_not_followed() {
    let (authority, folder) = (Authority::new("one"), tempfile::tempdir().unwrap());
    let (plain, log) = far_end::start(|_| page()).await;
    let onward = format!("http://localhost:{plain}/qtap.yaml");
    let tls = Manner::Tls(authority.identity("localhost", false).server(None));
    let (_relay, url) = server(tls, move || Some((302, vec![("location", onward.clone())], String::new()))).await;
    let told = read(&url, folder.path(), &authority.pem()).await;
    assert!(told.starts_with("refused: ") && told.contains("from https to http"), "{told}");
    assert_eq!(far_end::lines(&log), [] as [String; 0]);
}
