//! Endpoints: checks that each domain is valid and that its stack exists.

use super::Around;
use super::stacks::Names;
use crate::config::fields::{At, twice};
use crate::config::file::endpoints::Endpoint as Typed;
use crate::config::wording::brief;
use crate::pipeline::settings::Endpoint;

/// Maximum length of a host name (RFC 1035 §2.3.4), and of one of its labels.
const NAME_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;

/// The endpoints of the file; their stacks must be among `names`.
pub(crate) fn settle(typed: &[Typed], names: &Names<'_>, around: &Around<'_>) -> Vec<Endpoint> {
    let mut known: Vec<(At<String>, Endpoint)> = Vec::new();
    for endpoint in typed {
        let Some(domain) = domain(&endpoint.domain, around) else { continue };
        if let Some((first, _)) = known.iter().find(|(_, other)| other.domain == domain) {
            twice(&domain, endpoint.domain.span, first.span, around.out);
            continue;
        }
        let stack = match endpoint.stack.value.as_str() {
            "" => None,
            name => names.find(&endpoint.stack, around).map(|_| name.to_owned()),
        };
        known.push((endpoint.domain.clone(), Endpoint { domain, stack }));
    }
    known.into_iter().map(|(_, endpoint)| endpoint).collect()
}

/// A name, or `*.` and a name, in lower case; reports a fault for anything else.
fn domain(given: &At<String>, around: &Around<'_>) -> Option<String> {
    let text = given.value.to_ascii_lowercase();
    let text = text.strip_suffix('.').unwrap_or(&text);
    let fault = |message: &str, help: &str| {
        around.out.fault(given.span, format!("`{}` {message}", brief(&given.value)), help);
        None
    };
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text == "*" {
        return fault("stands for every domain", "that is what `tap.http.stack` is for");
    }
    if name.contains('*') {
        return fault("cannot be a domain", "a `*` stands at its beginning, for all that is below: `*.example.com`");
    }
    if text.contains("://") || text.contains('/') {
        return fault("is a URL, not a domain", "write the host alone: `api.example.com`");
    }
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    if name.contains(':') && !is_address {
        return fault("cannot be a domain", "write it without the port");
    }
    if !name.is_ascii() {
        return fault("cannot be a domain", "names with other letters are asked for as `xn--…`: write that");
    }
    let label = |label: &str| {
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_BYTES).contains(&label.len()) && label.bytes().all(of_name)
    };
    if !is_address && (name.len() > NAME_BYTES || !name.split('.').all(label)) {
        return fault("cannot be a domain", "write `api.example.com`, or `*.example.com` for all that is below");
    }
    Some(text.to_owned())
}
