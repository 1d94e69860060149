//! A config from a URL: what is requested, what is kept, and which config applies when the server can't be reached.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::env;
use crate::config::{Source, load};

const GOOD: &str = "version: 2\nservices: {event_stores: [{type: stdout}]}\n";

/// A server with a single page: its response, and the requests it received.
struct Server {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/qtap.yaml", listener.local_addr().expect("an address"));
        let (answer, asked) = (Arc::<Mutex<String>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (answers, asks) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                asks.lock().expect("asked").push(String::from_utf8_lossy(&head).to_ascii_lowercase());
                let _ = stream.write_all(answers.lock().expect("answer").as_bytes());
            }
        });
        Server { url, answer, asked }
    }

    fn answers(&self, status: &str, headers: &str, body: &str) {
        let len = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n{headers}\r\n{body}");
        *self.answer.lock().expect("answer") = answer;
    }

    fn last_asked(&self) -> String {
        self.asked.lock().expect("asked").last().cloned().unwrap_or_default()
    }
}

fn told(url: &str, folder: Option<&Path>) -> Result<Vec<String>, String> {
    let source = Source::named(url);
    let source = match folder {
        Some(folder) => source.with_copies(folder),
        None => source,
    };
    let loaded = load(source, &env).map_err(|faults| faults.to_string())?;
    Ok(loaded.1.iter().map(ToString::to_string).collect())
}

#[test]
fn it_is_asked_for_again_only_when_it_changed_and_its_copy_stands_in() {
    let (server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let data = folder.path().join("data");
    server.answers("200 OK", "ETag: \"one\"\r\n", GOOD);
    assert_eq!(told(&server.url, Some(&data)), Ok(vec![]));
    assert!(!server.last_asked().contains("if-none-match"));
    let copies: Vec<_> = std::fs::read_dir(data.join("config")).expect("copies").flatten().collect();
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].metadata().expect("a file").permissions().mode() & 0o777, 0o600, "it may hold secrets");

    server.answers("304 Not Modified", "", "");
    assert_eq!(told(&server.url, Some(&data)), Ok(vec![]));
    assert!(server.last_asked().contains("if-none-match: \"one\""), "{}", server.last_asked());

    // Not valid: it is refused, and the copy stays as it was.
    server.answers("200 OK", "ETag: \"two\"\r\n", "version: 3\n");
    let refused = told(&server.url, Some(&data)).expect_err("a fault");
    assert!(refused.starts_with(&format!("{}:1:10: `version` cannot be `3`", server.url)), "{refused}");

    for (status, why) in [("500 Oh", "the server answers 500"), ("404 No", "the server answers 404")] {
        server.answers(status, "", "");
        let notes = told(&server.url, Some(&data)).expect("the copy").join("\n");
        assert!(notes.contains(why) && notes.contains("s ago is used"), "{notes}");
    }
    let source = Source::named(&server.url).with_copies(&data);
    let again = source.read(false).expect_err("no copy while the agent runs").to_string();
    assert!(again.contains("the server answers 404"), "{again}");
    assert!(told(&server.url, None).expect_err("no copy").contains("the server answers 404"));
}

#[test]
fn what_is_no_config_is_refused() {
    let (server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    server.answers("200 OK", "", &"#".repeat((1 << 20) + 1));
    assert!(told(&server.url, None).expect_err("too large").contains("larger than 1mb"));
    let longer = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\nversion: 2\n".to_owned();
    *server.answer.lock().expect("answer") = longer;
    assert!(told(&server.url, None).is_err(), "cut short");
    server.answers("302 Found", &format!("Location: {}\r\n", server.url), "");
    assert!(told(&server.url, None).expect_err("a circle").contains("from place to place"));
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let nobody = told(&format!("http://{closed}/"), Some(folder.path())).expect_err("nobody there");
    assert!(nobody.contains("cannot be read: ") && nobody.contains("refused"), "{nobody}");
}

#[test]
fn secrets_of_a_url_are_not_shown() {
    let server = Server::start();
    server.answers("500 Oh", "", "");
    let url = server.url.replace("http://", "http://me:hunter2@") + "?token=hunter2#hunter2";
    let told = told(&url, None).expect_err("a fault");
    assert!(told.starts_with(&format!("{}: cannot be read", server.url)), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(server.last_asked().contains("authorization: basic ") && server.last_asked().contains("token=hunter2"));
}
