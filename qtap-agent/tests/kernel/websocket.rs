//! WebSocket conversations between a third-party server and client, both captured.

use serde_json::{Value, json};

use super::lab::Lab;
use super::python::{interpreter, script};
use super::qtap::exec_script;

/// The client's text messages. The server echoes them, except the last, which ends the conversation.
fn texts() -> Vec<String> {
    let numbered = (0..20).map(|number| format!("Nummer {number}: grüße"));
    numbered.chain(["in drei Stücken".to_owned(), "genug".to_owned()]).collect()
}

/// Both ends, in the clear and over TLS, with and without permessage-deflate.
#[test]
fn both_ends_of_a_conversation() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    super::nginx::certificate(lab.dir());
    let (cert, key) = (lab.path("cert.pem"), lab.path("key.pem"));
    let line =
        format!("{} {} {} {}", python.display(), script("websocket.py").display(), cert.display(), key.display());
    let captured = exec_script(&lab, &[], &line);
    let records = captured.records.over_tcp();
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 8, "{}", records.told());
    for path in ["/plain", "/plain/deflate", "/tls", "/tls/deflate"] {
        assert!(captured.stdout.contains(&format!("said {path}\n")), "{}", captured.stdout);
        let ends: Vec<_> = records.exchanges().into_iter().filter(|one| one.text("url.path") == path).collect();
        assert_eq!(ends.len(), 2, "{path}: {}", records.told());
        for end in ends {
            assert_eq!(end.number("http.response.status_code"), 101);
            let count = |side: &str| end.number(&format!("websocket.{side}.message_count"));
            assert_eq!((count("request"), count("response")), (23, 22), "{end:?}");
            for side in ["request", "response"] {
                assert_eq!(end.number(&format!("websocket.{side}.close_code")), 4001);
                let artifact = records.artifact_of(end, side);
                assert_said(path, side == "request", &artifact["messages"]);
            }
        }
    }
    println!("WebSocket: 4 conversations, each from both ends, 23 + 22 messages each");
}

fn assert_said(path: &str, by_client: bool, messages: &Value) {
    assert_eq!(messages["framing"], "websocket", "{path}");
    let frames = if by_client {
        // The message sent in three pieces ends with an empty one.
        json!({"text": 22, "binary": 1, "continuation": 3, "ping": 1, "pong": 0, "close": 1})
    } else {
        json!({"text": 21, "binary": 1, "continuation": 0, "ping": 0, "pong": 1, "close": 1})
    };
    let told = |name: &str| messages["frames"][name].as_u64().unwrap_or(0);
    for (name, count) in frames.as_object().unwrap() {
        assert_eq!(told(name), count.as_u64().unwrap(), "{path} {name}: {}", messages["frames"]);
    }
    assert_eq!(messages["close"], json!({"code": 4001, "reason": "genug, danke"}), "{path}");
    let kept = messages["kept"].as_array().unwrap();
    let of = |kind: &'static str| kept.iter().filter(move |message| message["type"] == kind);
    let mut wanted = texts();
    if !by_client {
        wanted.pop();
    }
    let said: Vec<_> = of("text").map(|message| message["data"].as_str().unwrap()).collect();
    assert_eq!(said, wanted, "{path}");
    assert_eq!(of("binary").count(), 1);
    assert_eq!(kept.len() as u64, messages["count"].as_u64().unwrap());
    let compressed = messages["compressed"].as_u64().unwrap_or(0);
    assert_eq!(compressed, if path.ends_with("deflate") { kept.len() as u64 } else { 0 }, "{path}");
}
