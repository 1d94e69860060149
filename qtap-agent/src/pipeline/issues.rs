//! `detect_errors`: which exchanges are issues. In: an exchange, or a part of one, as the previous steps left it. Out: the rules that
//! match, each with its reasons and what to record. All conditions of a rule must hold; every rule that matches makes
//! an issue of its own, at the end of the exchange.
//!
//! Bodies are inspected with their content codings undone, up to [`LOOKED_AT`]. For an exchange reported in parts, each part
//! is inspected together with the end of the previous one ([`across`]); matches are remembered until the last part.

mod across;

use self::across::{Across, Before};
use super::rule::{Facts, Outcomes};
use super::settings::{DetectErrors, IssueRule, Level, Pattern, Recorded, StatusPattern, UrlPattern, UrlSubject};
use super::spool::Spooled;
use super::url::{self, Url};
use crate::model::conn::{ConnFacts, Protocol};
use crate::model::exchange::{Exchange, HttpExchange, Incomplete};
use crate::model::judge::Wanted;
use crate::model::message::{Response, host_of};
use crate::model::observation::ExchangeSeen;

/// Decoded bytes of a body, or of a part of one, that are inspected: an error message is at the beginning.
pub(super) const LOOKED_AT: usize = 1 << 20;

/// A compiled `detect_errors` step.
#[derive(Debug)]
pub(super) struct Detectors {
    rules: Vec<IssueRule>,
    looks_into_bodies: bool,
    /// Bytes of a part that a pattern may need when it matches in the next part.
    carried: usize,
    /// State of exchanges reported in parts.
    across: Across,
}

/// A rule that an exchange matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue {
    /// Index of the rule in its step.
    pub(super) rule: u32,
    pub(super) name: String,
    pub(super) category: Option<String>,
    /// The conditions of the rule that hold.
    pub(super) reasons: Vec<&'static str>,
    /// How much of the request and of the response to record.
    pub(super) request: Level,
    pub(super) response: Level,
}

impl Detectors {
    pub(super) fn new(settings: &DetectErrors) -> Detectors {
        let rules: Vec<IssueRule> = settings.rules.iter().take(DetectErrors::MOST_RULES).cloned().collect();
        let looks_into_bodies = rules.iter().any(|rule| !rule.body.is_empty());
        let carried = rules.iter().flat_map(|rule| &rule.body).map(Pattern::carried).max().unwrap_or(0);
        Detectors { rules, looks_into_bodies, carried, across: Across::default() }
    }

    /// The rules whose expressions hold, or that have none: one bit each. Evaluated on the exchange before redaction.
    pub(super) fn hold(&self, facts: &Facts<'_>) -> u64 {
        let holds = |rule: &IssueRule| rule.expr.as_ref().is_none_or(|expr| expr.eval(facts) == Some(true));
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| holds(rule));
        rules.fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// The issues of an exchange that has ended; none for a part before the last. `held`: the result of [`hold`](Detectors::hold).
    pub(super) fn look(&mut self, seen: &ExchangeSeen, spooled: Option<&Spooled>, held: u64) -> Vec<Issue> {
        let Exchange::Http(http) = &seen.exchange;
        let found = self.in_body(seen, http, spooled);
        if http.part.is_some_and(|part| !part.last) {
            return Vec::new();
        }
        // Evaluate only what the previous conditions did not rule out: most exchanges are not issues.
        let url = std::cell::OnceCell::new();
        let url = || url.get_or_init(|| Subject::of(http, &seen.conn));
        let issue = |(number, rule): (usize, &IssueRule)| {
            let bit = 1 << number;
            let reasons = met(rule, http, (held & bit != 0, found & bit != 0), &url)?;
            Some(Issue {
                rule: number as u32, // at most `MOST_RULES`
                name: rule.name.clone(),
                category: rule.category.clone(),
                reasons,
                request: rule.request.level(),
                response: rule.response.level(),
            })
        };
        self.rules.iter().enumerate().filter_map(issue).collect()
    }

    /// The rules whose texts occur in the body, in this part or an earlier one: one bit each.
    fn in_body(&mut self, seen: &ExchangeSeen, http: &HttpExchange, spooled: Option<&Spooled>) -> u64 {
        if !self.looks_into_bodies {
            return 0;
        }
        let name = (seen.conn.uid, seen.number);
        let mut before = if http.part.is_some() { self.across.take(name) } else { Before::default() };
        if let Some(response) = &http.response {
            before.found |= self.texts(response, http.part.is_some(), spooled, &mut before);
        }
        let found = before.found;
        if http.part.is_some_and(|part| !part.last) {
            self.across.put(name, before);
        }
        found
    }

    fn texts(&self, response: &Response, part: bool, spooled: Option<&Spooled>, before: &mut Before) -> u64 {
        // A rule that the head rules out needs no decoded body.
        let asks = |rule: &IssueRule| !rule.body.is_empty() && may_meet(rule, response);
        if !self.rules.iter().any(asks) {
            return 0;
        }
        let bulk = spooled.and_then(|spooled| spooled.response.as_ref());
        let text = before.text(response, part, bulk, self.carried);
        let is_in =
            |rule: &IssueRule| asks(rule) && rule.body.iter().any(|pattern| pattern.is_in_from(&text.bytes, text.from));
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| is_in(rule));
        rules.fold(0, |bits, (number, _)| bits | 1 << number)
    }
}

/// True when the rules inspect bodies, or record them.
pub(super) fn want_bodies(detect: &DetectErrors) -> bool {
    detect.rules.iter().any(wants_bodies)
}

fn wants_bodies(rule: &IssueRule) -> bool {
    !rule.body.is_empty() || rule.request.max(rule.response) == Recorded::Body
}

/// Whether the bodies of a running exchange are wanted, judging by what is known of it.
pub(super) fn wanted(detect: &DetectErrors, http: &HttpExchange, facts: &Facts<'_>) -> Wanted {
    let may_hold = |rule: &IssueRule| {
        rule.expr.as_ref().is_none_or(|expr| expr.outcomes(facts).may_be(Outcomes::TRUE))
            && http.response.as_ref().is_none_or(|response| may_meet(rule, response))
    };
    match &http.response {
        _ if !detect.rules.iter().any(|rule| wants_bodies(rule) && may_hold(rule)) => Wanted::No,
        None => Wanted::Open,
        Some(_) => Wanted::Yes,
    }
}

/// Why `http` is an issue by `rule`; `None` if it is not.
fn met<'u>(
    rule: &IssueRule,
    http: &HttpExchange,
    (holds, in_body): (bool, bool),
    url: &impl Fn() -> &'u Subject,
) -> Option<Vec<&'static str>> {
    let response = http.response.as_ref();
    let duration = http.request.as_ref().zip(response).and_then(|(request, response)| {
        let ended = response.ended?;
        Some(ended.since(request.started))
    });
    let asked: [(bool, &'static str, &dyn Fn() -> bool); 7] = [
        (rule.expr.is_some(), "rule", &|| holds),
        (!rule.status.is_empty(), "status", &|| status(rule, response, http.incomplete)),
        (rule.empty_body, "empty_body", &|| is_empty(http)),
        (rule.min_duration.is_some(), "duration", &|| {
            duration.zip(rule.min_duration).is_some_and(|(took, min)| took >= min)
        }),
        (!rule.body.is_empty(), "body", &|| in_body),
        (!rule.content_types.is_empty(), "content_type", &|| {
            response.is_some_and(|response| is_of(&rule.content_types, response))
        }),
        (!rule.urls.is_empty(), "url", &|| rule.urls.iter().any(|pattern| url().is(pattern))),
    ];
    let mut reasons = Vec::new();
    for (_, reason, holds) in asked.iter().filter(|(asked, _, _)| *asked) {
        if !holds() {
            return None;
        }
        reasons.push(*reason);
    }
    let excepted = rule.except_urls.iter().any(|pattern| url().is(pattern));
    (!excepted && !reasons.is_empty()).then_some(reasons)
}

fn status(rule: &IssueRule, response: Option<&Response>, incomplete: Option<Incomplete>) -> bool {
    let code = response.and_then(|response| response.status);
    let is = |pattern: &StatusPattern| match pattern {
        StatusPattern::Codes(codes) => code.is_some_and(|code| codes.contains(&code)),
        StatusPattern::Failed => {
            matches!(incomplete, Some(Incomplete::NoResponse | Incomplete::ClosedEarly | Incomplete::Reset))
        }
    };
    rule.status.is_empty() || rule.status.iter().any(is)
}

/// False when the head of a response already rules out an issue by `rule`. Whether the exchange fails is not known yet.
fn may_meet(rule: &IssueRule, response: &Response) -> bool {
    rule.status.contains(&StatusPattern::Failed) || status(rule, Some(response), None)
}

/// True for a response that ended with an empty body although it could have had one (RFC 9110 §6.4.1, §15.3.6).
fn is_empty(http: &HttpExchange) -> bool {
    let Some(response) = &http.response else { return false };
    let asked_for_none = http.request.as_ref().and_then(|request| request.method.as_deref());
    let may_have_none = matches!(response.status, None | Some(0..=199 | 204 | 205 | 304));
    // A gRPC error response has only trailers.
    let is_rpc = http.protocol == Protocol::Grpc;
    !is_rpc
        && response.ended.is_some()
        && response.body.size == 0
        && http.incomplete.is_none()
        && !may_have_none
        && !matches!(asked_for_none, Some("HEAD" | "CONNECT"))
}

fn is_of(content_types: &[Pattern], response: &Response) -> bool {
    let value = response.fields.get("content-type").unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    content_types.iter().any(|pattern| pattern.is_in(media_type.as_bytes()))
}

/// The strings that URL patterns are matched against.
struct Subject {
    whole: String,
    host_and_path: String,
    path: String,
}

impl Subject {
    fn of(http: &HttpExchange, conn: &ConnFacts) -> Subject {
        let Some(request) = &http.request else {
            return Subject { whole: String::new(), host_and_path: String::new(), path: String::new() };
        };
        let Url { full, path, .. } = url::of(request, conn.tls.is_some(), None);
        let path = path.as_deref().unwrap_or("/").to_owned();
        let host = request.authority.as_deref().map(host_of).unwrap_or_default();
        Subject { whole: full.unwrap_or_else(|| path.clone()), host_and_path: format!("{host}{path}"), path }
    }

    fn is(&self, pattern: &UrlPattern) -> bool {
        let text = match pattern.subject {
            UrlSubject::Path => &self.path,
            UrlSubject::HostAndPath => &self.host_and_path,
            UrlSubject::Whole => &self.whole,
        };
        pattern.pattern.is_in(text.as_bytes())
    }
}
