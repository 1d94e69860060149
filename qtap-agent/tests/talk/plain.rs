//! The plain exchange around which the cases of HTTP/1 are put, and cases made with it.

use std::sync::Arc;

use qtap_agent::http::Settings;

use super::{Case, case};

/// What is asked where it does not matter.
pub(crate) const GET: &[u8] = b"> GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
/// What is answered.
pub(crate) const OK: &[u8] = b"< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// What is heard of the two.
pub(crate) const ONE: &[&str] = &["GET /a| -> 200|ok"];

/// The settings of users.
pub(crate) fn usual() -> Arc<Settings> {
    Arc::new(Settings::default())
}

/// A request of these bytes is understood as one, and the exchange after it is whole.
pub(crate) fn request(section: &'static str, what: &'static str, text: &[u8], line: &str) -> Case {
    let said = [&[b"> ", text].concat()[..], OK, GET, OK];
    case(section, what, &said, &[&format!("{line} -> 200|ok"), "GET /a| -> 200|ok"], 0)
}

/// A response of these bytes to `GET /a` is understood as one, and the exchange after it is whole.
pub(crate) fn response(section: &'static str, what: &'static str, text: &[u8], line: &str) -> Case {
    let said = [GET, &[b"< ", text].concat()[..], GET, OK];
    case(section, what, &said, &[&format!("GET /a| -> {line}"), "GET /a| -> 200|ok"], 0)
}
