//! Why an object store did not accept an object, in words that an operator can act on. In: answers and errors of the client. Out: a
//! [`Refusal`]. Only the size of an object can be at fault, never its data: S3 answers 400 for a wrong region, an expired token or a
//! key that it does not accept.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use object_store::Error;

use super::bucket::Target;
use crate::export::refusal::{Refusal, Remedy};
use crate::export::retry::retry_after;

/// S3 refuses a signature when the clocks differ by more than this.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// A negative answer, with what it says about the reason.
#[derive(Debug, thiserror::Error)]
#[error("{status} {code}")]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The store's own error code (`NoSuchBucket`); empty if it gave none.
    pub(super) code: String,
    /// The bucket's region, if the answer contains it.
    region: Option<String>,
    /// How long to wait, if the answer contains it.
    pub(super) after: Option<Duration>,
    /// Difference between this host's clock and the store's.
    skew: Option<Duration>,
}

/// No answer within the time limit of one request.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?} (timeout)")]
pub(super) struct TooLate(pub(super) Duration);

/// The credentials provider gave no credentials.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct NoCredentials {
    pub(super) why: String,
}

impl Answer {
    /// Parses the answer's `headers` and `body`, received at `now`.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &str, now: SystemTime) -> Answer {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let code = between(body, "<Code>", "</Code>").or_else(|| header("x-ms-error-code")).unwrap_or_default();
        let date = header("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let apart = |date: SystemTime| now.duration_since(date).unwrap_or_else(|before| before.duration());
        let region = header("x-amz-bucket-region").or_else(|| between(body, "<Region>", "</Region>"));
        Answer {
            status,
            code: word(code),
            region: region.map(word),
            after: header("retry-after").and_then(|value| retry_after(value, now)),
            skew: date.map(apart),
        }
    }

    fn refusal(&self, target: &Target) -> Refusal {
        let Target { name, bucket } = target;
        let said = if self.code.is_empty() { self.status.to_string() } else { self.code.clone() };
        match self.code.as_str() {
            "NoSuchBucket" | "ContainerNotFound" => return no_such_bucket(target),
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => {
                let region = self.region.as_ref().map(|region| format!(": it is in {region}")).unwrap_or_default();
                return Refusal::reconfigure(format!(
                    "{name}: the bucket {bucket} is in another region{region} ({said}): see region and endpoint"
                ));
            }
            "RequestTimeTooSkewed" => {
                let by = self.skew.map(|skew| format!(" by {} s", skew.as_secs())).unwrap_or_default();
                return Refusal::reconfigure(format!("{name}: this host's clock is wrong{by} ({said}): set it"));
            }
            "SignatureDoesNotMatch" | "AuthenticationFailed" => {
                return Refusal::reconfigure(format!("{name}: the signature is wrong ({said}): is secret_key right?"));
            }
            "InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired" => {
                return Refusal::reconfigure(format!(
                    "{name}: the credentials are unknown or have expired ({said}): see access_key and session_token"
                ));
            }
            "EntityTooLarge" => {
                return Refusal::split(format!("{name}: the object is larger than the store takes ({said})"));
            }
            "RequestTimeout" | "SlowDown" | "ServerBusy" | "OperationAborted" | "InternalError" => {
                return Refusal {
                    remedy: Remedy::Wait(self.after),
                    why: format!("{name}: the store asks for less ({said})"),
                    throttled: matches!(self.code.as_str(), "SlowDown" | "ServerBusy"),
                };
            }
            _ => {}
        }
        self.by_status(target, &said)
    }

    fn by_status(&self, Target { name, bucket }: &Target, said: &str) -> Refusal {
        let text = |cure: &str| format!("{name}: {said}{cure}");
        match self.status.as_u16() {
            200..=299 => Refusal::reconfigure(text(
                ", but the answer is a page, not a store of objects'; is it a login page, a portal, or another server that answers at this endpoint?",
            )),
            300..=399 => Refusal::reconfigure(text("; it redirects elsewhere: see region and endpoint")),
            401 => Refusal::reconfigure(text("; credentials are missing or wrong: see access_key")),
            403 if self.skew.is_some_and(|skew| skew > SKEW) => {
                Refusal::reconfigure(text("; this host's clock is wrong: set it"))
            }
            403 => Refusal::reconfigure(format!(
                "{name}: the credentials may not write to the bucket {bucket} ({said}): s3:PutObject is needed, and the use of its key where it is encrypted"
            )),
            405 => Refusal::reconfigure(text("; is the endpoint a store of objects?")),
            407 => Refusal::reconfigure(text("; a proxy wants credentials")),
            413 => Refusal::split(text("; the object is larger than the store takes")),
            429 => {
                Refusal { throttled: true, ..Refusal::of(Remedy::Wait(self.after), text("; the store asks for less")) }
            }
            408 | 425 | 500..=599 => Refusal::of(Remedy::Wait(self.after), text("")),
            _ => Refusal::reconfigure(text("; see the store's settings")),
        }
    }
}

/// The refusal for `error`.
pub(super) fn refusal(error: &Error, target: &Target) -> Refusal {
    if let Some(answer) = answer(error) {
        return answer.refusal(target);
    }
    if let Some(NoCredentials { why }) = cause(error) {
        return Refusal::reconfigure(format!(
            "{}: no credentials: the file has no access_key, the environment none, and {why}",
            target.name
        ));
    }
    if let Some(late) = cause::<TooLate>(error) {
        return Refusal::wait(format!("{}: {late}", target.name));
    }
    match error {
        Error::NotFound { .. } => no_such_bucket(target),
        _ => match cause::<std::io::Error>(error).filter(|_| is_local(error)) {
            Some(io) => folder(io, target),
            None => Refusal::transport(error, &target.name),
        },
    }
}

fn no_such_bucket(Target { name, bucket }: &Target) -> Refusal {
    Refusal::reconfigure(format!("{name}: there is no bucket {bucket}, or it is not seen with these credentials"))
}

/// The refusal for an I/O error of a store that is a directory.
fn folder(error: &std::io::Error, Target { name, .. }: &Target) -> Refusal {
    use std::io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem => Refusal::reconfigure(format!("{name}: may not be written: {error}")),
        NotFound => Refusal::reconfigure(format!("{name}: is not there any more: {error}")),
        _ => Refusal::wait(format!("{name}: {error}")),
    }
}

fn is_local(error: &Error) -> bool {
    matches!(error, Error::Generic { store: "LocalFileSystem", .. })
}

/// True when the server answered that it does not support `If-None-Match`.
pub(super) fn does_not_know_the_condition(error: &Error) -> bool {
    let said = answer(error).is_some_and(|answer| answer.status == 501 || answer.code == "NotImplemented");
    said || matches!(error, Error::NotImplemented { .. } | Error::NotSupported { .. })
}

/// True when the server forbids checking for an object.
pub(super) fn forbids(error: &Error) -> bool {
    answer(error).is_some_and(|answer| answer.status == 403 || answer.status == 405)
}

fn answer(error: &Error) -> Option<&Answer> {
    cause(error)
}

/// The first error of type `E` in the source chain.
fn cause<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<E>() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    Some(text.split_once(open)?.1.split_once(close)?.0)
}

/// A short word from the server's text, without characters that could break a log line.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, code: &str, more: &[(&'static str, &str)]) -> Refusal {
        let mut headers = HeaderMap::new();
        for (name, value) in more {
            headers.insert(*name, value.parse().expect("a value"));
        }
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
        let status = StatusCode::from_u16(status).expect("a status");
        let target = Target { name: "h:9000".to_owned(), bucket: "b".to_owned() };
        Answer::read(status, &headers, &body, now).refusal(&target)
    }

    /// The codes of Amazon's list ("Error responses"), grouped by what is refused: the client, the data, or only the moment.
    #[test]
    fn codes_are_sorted_and_told_in_words() {
        for (status, code, words) in [
            (404, "NoSuchBucket", "there is no bucket b"),
            (301, "PermanentRedirect", "another region"),
            (400, "AuthorizationHeaderMalformed", "another region"),
            (403, "RequestTimeTooSkewed", "clock is wrong"),
            (403, "SignatureDoesNotMatch", "is secret_key right?"),
            (403, "InvalidAccessKeyId", "see access_key"),
            (400, "ExpiredToken", "session_token"),
            (403, "AccessDenied", "s3:PutObject"),
            (400, "InvalidArgument", "see the store's settings"),
            (405, "MethodNotAllowed", "a store of objects?"),
            (401, "", "credentials"),
        ] {
            let refusal = told(status, code, &[]);
            assert_eq!(refusal.remedy, Remedy::Reconfigure, "{code}");
            assert!(refusal.why.contains(words) && refusal.why.starts_with("h:9000: "), "{}", refusal.why);
        }
        for (status, code) in [(400, "EntityTooLarge"), (413, "")] {
            assert_eq!(told(status, code, &[]).remedy, Remedy::Split, "{code}");
        }
        for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (400, "RequestTimeout"), (429, ""), (507, "")]
        {
            assert_eq!(told(status, code, &[]).remedy, Remedy::Wait(None), "{code}");
        }
    }

    #[test]
    fn headers_say_where_how_long_and_how_late() {
        let redirect = told(301, "PermanentRedirect", &[("x-amz-bucket-region", "eu-central-1")]);
        assert!(redirect.why.contains("it is in eu-central-1"), "{}", redirect.why);
        let slow = told(503, "SlowDown", &[("retry-after", "7")]);
        assert_eq!(slow.remedy, Remedy::Wait(Some(Duration::from_secs(7))));
        let skewed = told(403, "RequestTimeTooSkewed", &[("date", "Fri, 31 Dec 1999 23:00:00 GMT")]);
        assert!(skewed.why.contains("by 3600 s"), "{}", skewed.why);
        let old = told(403, "AccessDenied", &[("date", "Fri, 31 Dec 1999 23:00:00 GMT")]);
        assert!(old.why.contains("clock"), "{}", old.why);
    }

    #[test]
    fn what_a_server_says_is_cut_to_a_word() {
        let refusal = told(400, &format!("A\n<b>{}", "x".repeat(100)), &[]);
        assert!(refusal.why.len() < 120 && !refusal.why.contains('\n'), "{}", refusal.why);
    }
}
