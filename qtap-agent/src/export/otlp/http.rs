//! OTLP over HTTP: one POST (or PUT) per batch, as protobuf or JSON. At most 64 KiB of an answer are read.

use std::time::SystemTime;

use http::{HeaderValue, Method, StatusCode, header};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use reqwest::{Response, Url};

use super::compress::{Ladder, compress};
use super::{Encoder, Encoding, endpoint, receipt};
use crate::export::auth::{Authorizer, Carried, without};
use crate::export::client::HttpClient;
use crate::export::exporter::{Exporter, Item, Prepared, Receipt, Takes};
use crate::export::refusal::Refusal;
use crate::export::retry::retry_after;
use crate::export::settings::{Compression, OtlpSettings};
use crate::export::store::StartError;
use crate::model::record::Record;

/// Maximum bytes that are read of an answer.
const ANSWER_BYTES: usize = 64 << 10;

/// A store reached over OTLP/HTTP.
#[derive(Debug)]
pub struct HttpExporter {
    client: HttpClient,
    encoder: Encoder,
    encoding: Encoding,
    method: Method,
    url: Url,
    media_type: HeaderValue,
    authorizer: Authorizer,
    ladder: Ladder,
    target: String,
}

impl HttpExporter {
    /// Checks the settings and builds a client; does not connect.
    ///
    /// # Errors
    /// When the endpoint, headers, proxy or TLS files can't be used.
    pub fn new(
        settings: &OtlpSettings,
        takes: Takes,
        encoding: Encoding,
        version: &'static str,
    ) -> Result<HttpExporter, StartError> {
        let url = if settings.endpoint_is_exact {
            endpoint::exact(&settings.endpoint)?
        } else {
            endpoint::http(&settings.endpoint, settings.tls.enabled)?
        };
        let authorizer = Authorizer::new(settings, version)?;
        let media_type = match encoding {
            Encoding::Protobuf => HeaderValue::from_static("application/x-protobuf"),
            Encoding::Json => HeaderValue::from_static("application/json"),
        };
        let client = HttpClient::new(&url, &settings.tls, &settings.proxy, settings.timeout, version)?;
        let target = client.name(&url);
        let encoder = Encoder::for_store(settings, takes, encoding, version);
        let method = if settings.put { Method::PUT } else { Method::POST };
        let ladder = Ladder::new(settings.compression);
        Ok(HttpExporter { client, encoder, encoding, method, url, media_type, authorizer, ladder, target })
    }

    /// Sends one request with its credentials.
    async fn request(&self, items: &[Item], with: Compression, carried: &Carried) -> Result<Response, Refusal> {
        let (body, content_encoding) = compress(self.encoder.request(items)?, with)
            .map_err(|error| Refusal::wait(format!("compression: {error}")))?;
        let mut url = self.url.clone();
        if let Some((name, value)) = &carried.query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let mut headers = carried.headers.clone();
        headers.insert(header::CONTENT_TYPE, self.media_type.clone());
        if let Some(name) = content_encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        let (client, number) = self.client.current();
        client.request(self.method.clone(), url).headers(headers).body(body).send().await.map_err(|error| {
            self.client.suspect(number);
            // The error's own text contains the URL, which may have a key in its query.
            Refusal::transport(&error.without_url(), &self.target)
        })
    }

    async fn answer(&self, response: Response, carried: &Carried) -> Result<Receipt, Refusal> {
        let status = response.status();
        let after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after(value, SystemTime::now()));
        let body = Body::read(response).await;
        if status.is_success() {
            let receipt = body.success(self.encoding).ok_or_else(|| Refusal::stranger(status, &body.media_type))?;
            return Ok(Receipt { message: receipt.message.map(|text| self.hide(carried, &text)), ..receipt });
        }
        Err(Refusal::http(status, &self.hide(carried, &message(&body.bytes, &body.media_type)), after))
    }

    /// Removes the request's credentials from a server's text, and what the query of the endpoint holds.
    fn hide(&self, carried: &Carried, text: &str) -> String {
        without(&carried.hide(text), endpoint::query_values(&self.url).iter().map(String::as_str))
    }
}

impl Exporter for HttpExporter {
    fn prepare(&self, record: &Record) -> Prepared {
        self.encoder.prepare(record)
    }

    async fn send(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        if items.is_empty() {
            return Ok(Receipt::default());
        }
        let mut renewed = false;
        loop {
            let compression = self.ladder.current();
            let carried = self.authorizer.carried().await?;
            let response = self.request(items, compression, &carried).await?;
            match response.status() {
                StatusCode::UNSUPPORTED_MEDIA_TYPE if self.ladder.step_down(compression) => continue,
                StatusCode::UNAUTHORIZED if !renewed && self.authorizer.refused(&carried).await => {
                    renewed = true;
                    continue;
                }
                _ => {}
            }
            let answer = self.answer(response, &carried).await;
            if answer.is_ok() {
                self.ladder.prove();
            }
            return answer;
        }
    }
}

/// The body of an answer.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    /// Its Content-Type, in lower case; empty where there is none.
    media_type: String,
    /// True when all of it was read and it is not compressed: then it can be held to its type.
    clear: bool,
}

impl Body {
    /// Reads up to the limit; of an answer that breaks off, the part received.
    async fn read(mut response: Response) -> Body {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let media_type = header(header::CONTENT_TYPE).unwrap_or_default().trim().to_ascii_lowercase();
        let plain = header(header::CONTENT_ENCODING).is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
        let mut body = Body { media_type, ..Body::default() };
        while body.bytes.len() < ANSWER_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = ANSWER_BYTES - body.bytes.len();
                    body.bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                }
                Ok(None) => return Body { clear: plain, ..body },
                Err(_) => break,
            }
        }
        body
    }

    /// Reads that of a 2xx answer, in the form that it names, otherwise in that of the request. None: it was not OTLP that answered, so
    /// nobody has the data: it is a page, or not what it says it is. An empty body and one of another type, such as `ok` in plain text, are
    /// successes of lenient servers.
    fn success(&self, asked: Encoding) -> Option<Receipt> {
        let essence = self.media_type.split(';').next().unwrap_or_default().trim();
        let named = match essence {
            _ if self.bytes.is_empty() => return Some(Receipt::default()),
            "text/html" | "application/xhtml+xml" => return None,
            "application/x-protobuf" => Some(Encoding::Protobuf),
            "application/json" => Some(Encoding::Json),
            _ => None,
        };
        let receipt = partial_success(&self.bytes, named.unwrap_or(asked));
        receipt.or_else(|| (named.is_none() || !self.clear).then(Receipt::default))
    }
}

/// Reads an `ExportLogsServiceResponse`; none if the body is none.
fn partial_success(body: &[u8], encoding: Encoding) -> Option<Receipt> {
    match encoding {
        Encoding::Protobuf => {
            let partial = ExportLogsServiceResponse::decode(body).ok()?.partial_success;
            Some(
                partial.map(|partial| receipt(partial.rejected_log_records, partial.error_message)).unwrap_or_default(),
            )
        }
        Encoding::Json => {
            let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
            let partial = answer.get("partialSuccess");
            let rejected = partial.and_then(|partial| partial.get("rejectedLogRecords"));
            // Protobuf's JSON format writes an int64 as a string, and parsers accept both.
            let rejected = rejected.and_then(|n| n.as_i64().or_else(|| n.as_str()?.parse().ok())).unwrap_or(0);
            let message = partial.and_then(|partial| partial.get("errorMessage")).and_then(serde_json::Value::as_str);
            Some(receipt(rejected, message.unwrap_or_default().to_owned()))
        }
    }
}

/// The message of a failure: a `google.rpc.Status` (OTLP specification, "Failures") in either encoding, or plain text.
fn message(body: &[u8], media_type: &str) -> String {
    if media_type.starts_with("application/x-protobuf") {
        return tonic_types::Status::decode(body).map(|status| status.message).unwrap_or_default();
    }
    if media_type.starts_with("application/json") {
        let status: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        return status.get("message").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    }
    if media_type.starts_with("text/plain") { String::from_utf8_lossy(body).into_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as real servers write them: the Collector's empty partial success, and the numbers of both JSON dialects.
    #[test]
    fn partial_success_is_read_in_both_forms() {
        let success = |bytes: &[u8], encoding| {
            Body { bytes: bytes.to_vec(), clear: true, ..Body::default() }.success(encoding).expect("a success")
        };
        let json = |text: &str| success(text.as_bytes(), Encoding::Json);
        assert_eq!(json(r#"{"partialSuccess":{}}"#), Receipt::default());
        assert_eq!(json("{}"), Receipt::default());
        assert_eq!(json("not json"), Receipt::default());
        let want = Receipt { rejected: 2, message: Some("too old".into()) };
        assert_eq!(json(r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}"#), want);
        assert_eq!(json(r#"{"partialSuccess":{"rejectedLogRecords":2,"errorMessage":"too old"}}"#), want);
        // partial_success { rejected_log_records: 2, error_message: "too old" }
        assert_eq!(success(b"\x0a\x0b\x08\x02\x12\x07too old", Encoding::Protobuf), want);
        assert_eq!(success(b"\x0a\x00", Encoding::Protobuf), Receipt::default());
        assert_eq!(success(b"", Encoding::Protobuf), Receipt::default());
    }

    #[test]
    fn failures_are_read_in_all_forms() {
        // google.rpc.Status { code: 3, message: "bad" }
        assert_eq!(message(b"\x08\x03\x12\x03bad", "application/x-protobuf"), "bad");
        assert_eq!(message(br#"{"code":3,"message":"bad"}"#, "application/json; charset=utf-8"), "bad");
        assert_eq!(message(b"bad", "text/plain"), "bad");
        assert_eq!(message(b"<html>", "text/html"), "");
    }
}
