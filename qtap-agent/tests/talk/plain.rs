//! The plain exchange that the HTTP/1 cases are built around, and cases made with it.

use std::sync::Arc;

use qtap_agent::http::Settings;

use super::{Case, case};

/// The request used where any will do.
pub(crate) const GET: &[u8] = b"> GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
/// The response to it.
pub(crate) const OK: &[u8] = b"< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// What is reported for the two.
pub(crate) const ONE: &[&str] = &["GET /a| -> 200|ok"];

/// The default settings.
pub(crate) fn usual() -> Arc<Settings> {
    Arc::new(Settings::default())
}

/// These bytes are parsed as one request, and the exchange after it is whole.
pub(crate) fn request(section: &'static str, what: &'static str, text: &[u8], line: &str) -> Case {
    let said = [&[b"> ", text].concat()[..], OK, GET, OK];
    case(section, what, &said, &[&format!("{line} -> 200|ok"), "GET /a| -> 200|ok"], 0)
}

/// These bytes are parsed as one response to `GET /a`, and the exchange after it is whole.
pub(crate) fn response(section: &'static str, what: &'static str, text: &[u8], line: &str) -> Case {
    let said = [GET, &[b"< ", text].concat()[..], GET, OK];
    case(section, what, &said, &[&format!("GET /a| -> {line}"), "GET /a| -> 200|ok"], 0)
}
