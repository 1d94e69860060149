//! The address of an OTLP store. In: what the user wrote: `host:port`, a base URL, or for HTTP the full URL. Out: a checked URL. A user
//! name or password in the URL is refused, because addresses appear in logs.

use reqwest::Url;

/// Port of OTLP over gRPC.
const GRPC_PORT: u16 = 4317;
/// Port of OTLP over HTTP.
const HTTP_PORT: u16 = 4318;
/// Path for logs (OTLP specification, "OTLP/HTTP Request").
const LOGS_PATH: &str = "/v1/logs";

/// Why an endpoint is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an address.
    #[error("endpoint `{0}` is neither host:port nor a URL: {1}")]
    Malformed(String, String),
    /// A scheme that OTLP does not use.
    #[error("endpoint `{0}`: the scheme is {1}, but OTLP travels over http or https")]
    Scheme(String, String),
    /// User name or password in the URL.
    #[error("the endpoint of `{0}` holds a user name or password: put them under auth (type: basic)")]
    Credentials(String),
    /// gRPC endpoints have no path.
    #[error("endpoint `{0}` has a path: gRPC needs host:port (protocol: http takes a path)")]
    Path(String),
}

/// The URL for logs over HTTP.
///
/// # Errors
/// When `text` is not such an address.
pub fn http(text: &str, tls: bool) -> Result<Url, EndpointError> {
    let mut url = parse(text, tls, HTTP_PORT)?;
    let base = url.path().trim_end_matches('/').to_owned();
    if !base.ends_with(LOGS_PATH) {
        url.set_path(&format!("{base}{LOGS_PATH}"));
    }
    Ok(url)
}

/// A URL that is used as it is, without adding a path.
///
/// # Errors
/// When `text` is not such a URL.
pub fn exact(text: &str) -> Result<Url, EndpointError> {
    parse(text, false, HTTP_PORT)
}

/// The address of a gRPC server: scheme `http` or `https`, host and port.
///
/// # Errors
/// When `text` is not such an address.
pub fn grpc(text: &str, tls: bool) -> Result<Url, EndpointError> {
    let url = parse(text, tls, GRPC_PORT)?;
    if url.path().trim_end_matches('/').is_empty() && url.query().is_none() {
        Ok(url)
    } else {
        Err(EndpointError::Path(shown(text)))
    }
}

/// Parses `host`, `host:port` (default: the OTLP port) or a URL (default: its scheme's port). `tls` turns http into
/// https.
fn parse(text: &str, tls: bool, default_port: u16) -> Result<Url, EndpointError> {
    let text = text.trim();
    let malformed = |why: &dyn std::fmt::Display| EndpointError::Malformed(shown(text), why.to_string());
    let bare = !text.contains("://");
    let full = if bare { format!("http://{text}") } else { text.to_owned() };
    let mut url = Url::parse(&full).map_err(|error| malformed(&error))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| malformed(&"no host"))?.to_owned();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EndpointError::Credentials(host));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(EndpointError::Scheme(shown(text), url.scheme().to_owned()));
    }
    // Read before the scheme changes: `set_scheme` drops a port that is the new scheme's default.
    let port = if bare && !names_port(text) { Some(default_port) } else { url.port_or_known_default() };
    let explicit = bare || names_port(text.split_once("://").map_or(text, |(_, rest)| rest));
    if tls && url.scheme() == "http" {
        url.set_scheme("https").map_err(|()| malformed(&"no host"))?;
    }
    if explicit {
        url.set_port(port).map_err(|()| malformed(&"no host"))?;
    }
    Ok(url)
}

/// The address for messages, without what may be secret: user name, password, query and fragment.
pub(super) fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    // A password may hold any character, so everything before the last `@` goes.
    let (hidden, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, after)| ("…@", after));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    scheme.map_or_else(|| format!("{hidden}{rest}"), |scheme| format!("{scheme}://{hidden}{rest}"))
}

/// What the query of an endpoint holds, which may be a key: the values, and what has no name; as written, and decoded.
pub(super) fn query_values(url: &Url) -> Vec<String> {
    let written =
        url.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let decoded = url.query_pairs().map(|(name, value)| if value.is_empty() { name } else { value });
    let mut values: Vec<String> = written.map(str::to_owned).chain(decoded.map(String::from)).collect();
    // The longest first: another may be a part of it.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values
}

/// True when the authority of `text` ends in a port.
fn names_port(text: &str) -> bool {
    let authority = text.split(['/', '?', '#']).next().unwrap_or(text);
    authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        && !(authority.starts_with('[') && authority.ends_with(']'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    /// Addresses in the forms that vendors and users write.
    #[test]
    fn http_endpoints() {
        for (text, tls, want) in [
            ("localhost:4318", false, "http://localhost:4318/v1/logs"),
            ("localhost", false, "http://localhost:4318/v1/logs"),
            ("localhost:80", false, "http://localhost/v1/logs"),
            ("localhost:80", true, "https://localhost:80/v1/logs"),
            ("[::1]:4318", true, "https://[::1]:4318/v1/logs"),
            ("[::1]", false, "http://[::1]:4318/v1/logs"),
            ("https://api.honeycomb.io", false, "https://api.honeycomb.io/v1/logs"),
            ("http://api.honeycomb.io", true, "https://api.honeycomb.io/v1/logs"),
            ("http://collector:4318", true, "https://collector:4318/v1/logs"),
            ("https://gw.grafana.net/otlp", true, "https://gw.grafana.net/otlp/v1/logs"),
            ("https://gw.grafana.net/otlp/", true, "https://gw.grafana.net/otlp/v1/logs"),
            ("https://otlp.datadoghq.com/v1/logs", false, "https://otlp.datadoghq.com/v1/logs"),
            ("https://h/v1/logs?a=b", false, "https://h/v1/logs?a=b"),
        ] {
            assert_eq!(http(text, tls).unwrap().as_str(), want, "{text} {tls}");
        }
    }

    #[test]
    fn grpc_endpoints() {
        for (text, tls, want) in [
            ("localhost:4317", false, "http://localhost:4317/"),
            ("collector", true, "https://collector:4317/"),
            ("https://otlp.nr-data.net:4317", false, "https://otlp.nr-data.net:4317/"),
            ("https://api.honeycomb.io", false, "https://api.honeycomb.io/"),
        ] {
            assert_eq!(grpc(text, tls).unwrap().as_str(), want, "{text} {tls}");
        }
        assert_eq!(grpc("http://h/v1/logs", false), Err(EndpointError::Path("http://h/v1/logs".into())));
    }

    #[test]
    fn what_is_no_endpoint() {
        assert!(matches!(http("", false), Err(EndpointError::Malformed(..))));
        assert!(matches!(http("host:port", false), Err(EndpointError::Malformed(..))));
        assert!(matches!(http("unix:///run/x", false), Err(EndpointError::Malformed(..) | EndpointError::Scheme(..))));
        let error = http("https://user:hunter2@host", false).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        for text in [
            "https://user:hunter2@host:port",
            "ftp://host/?key=hunter2",
            "user:hunter2@host:1/x",
            "https://user:hunter2?x@host",
            "https://user:hunter2/x@host:port",
            "https://user:a@hunter2@host:port",
            "https://host:port/#hunter2",
            "host:port?key=hunter2",
        ] {
            let error = grpc(text, false).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
