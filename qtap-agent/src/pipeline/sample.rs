//! `sample`: which exchanges of a stack are kept. In: an exchange as observed. Out: whether it is kept. The ratio is applied to a hash of
//! the connection id, or to the trace, so that every evaluation, here or on another host, has the same result; the rate limit uses the
//! kernel timestamps of the observations. Nothing here reads a clock or draws a random number.
//!
//! For traces, the randomness is that of OpenTelemetry's consistent probability sampling: `rv` in the `ot` member of `tracestate` if
//! present, else the last 56 bits of the trace id, which W3C Trace Context Level 2 requires to be random.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::settings::{Sample, SampleBy};
use super::trace_context;
use crate::model::conn::ConnectionUid;
use crate::model::exchange::HttpExchange;
use crate::model::message::Fields;
use crate::model::observation::ExchangeSeen;
use crate::model::time::KernelTime;

/// One more than the largest randomness value.
const RANDOMNESS: u64 = 1 << 56;
/// Maximum number of exchanges in parts that the rate limit left out and that are remembered until their last part: as many as there
/// are connections. Any further one is kept.
const UNDER_WAY: usize = 65_536;
/// Maximum number of connections with a separate count of left-out exchanges: as many as the tap tracks. The rest count only in the total.
const CONNECTIONS: usize = 65_536;
const NANOS: u128 = 1_000_000_000;

/// A compiled `sample` step.
#[derive(Debug)]
pub(super) struct Sampler {
    /// The smallest randomness that is kept.
    threshold: u64,
    by: SampleBy,
    bucket: Option<Bucket>,
    keep_errors: bool,
    /// Exchanges in parts that the rate limit left out.
    under_way: HashSet<(ConnectionUid, u64)>,
}

impl Sampler {
    pub(super) fn new(settings: &Sample) -> Sampler {
        Sampler {
            threshold: threshold(settings),
            by: settings.by,
            bucket: settings.rate.map(|rate| Bucket::new(rate, settings.burst)),
            keep_errors: settings.keep_errors,
            under_way: HashSet::new(),
        }
    }

    /// True when failed exchanges are kept anyway.
    pub(super) fn keeps_errors(&self) -> bool {
        self.keep_errors
    }

    /// True when nothing of the connection is kept, whatever it carries.
    pub(super) fn leaves_out(&self, connection: ConnectionUid) -> bool {
        self.by == SampleBy::Connection && !self.keep_errors && of_connection(connection) < self.threshold
    }

    /// True when the exchange, or this part of it, is kept.
    pub(super) fn tells(&mut self, seen: &ExchangeSeen, http: &HttpExchange) -> bool {
        let fields = http.request.as_ref().map(|request| &request.fields);
        let randomness = match self.by {
            SampleBy::Connection => None,
            SampleBy::Trace => fields.and_then(of_trace),
        };
        randomness.unwrap_or_else(|| of_connection(seen.conn.uid)) >= self.threshold && self.is_in_time(seen, http)
    }

    /// Applies the rate limit: an exchange counts once, with its first part.
    fn is_in_time(&mut self, seen: &ExchangeSeen, http: &HttpExchange) -> bool {
        let Some(bucket) = &mut self.bucket else { return true };
        let name = (seen.conn.uid, seen.number);
        match http.part {
            Some(part) if part.number > 0 && part.last => !self.under_way.remove(&name),
            Some(part) if part.number > 0 => !self.under_way.contains(&name),
            None | Some(_) => {
                let taken = bucket.take(seen.observed);
                let goes_on = http.part.is_some_and(|part| !part.last);
                if !taken && goes_on {
                    let room = self.under_way.len() < UNDER_WAY;
                    return !(room && self.under_way.insert(name));
                }
                taken
            }
        }
    }
}

/// True when the id of a connection alone can decide that nothing of it is kept.
pub(super) fn draws_by_connection(settings: &Sample) -> bool {
    settings.by == SampleBy::Connection && !settings.keep_errors && settings.ratio < 1.0
}

/// True when nothing of `connection` is kept, given that the settings [draw by connection](draws_by_connection).
pub(super) fn leaves_out(settings: &Sample, connection: ConnectionUid) -> bool {
    of_connection(connection) < threshold(settings)
}

/// The smallest randomness that is kept.
fn threshold(settings: &Sample) -> u64 {
    // Exact: 2^56 is representable as a float, and the difference is not negative.
    ((1.0 - settings.ratio.clamp(0.0, 1.0)) * RANDOMNESS as f64) as u64
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    /// Tokens per second.
    rate: u128,
    /// In billionths of a token: those available, and the maximum.
    level: u128,
    most: u128,
    filled: Option<KernelTime>,
}

impl Bucket {
    fn new(rate: u64, burst: u64) -> Bucket {
        let most = u128::from(burst.max(1)) * NANOS;
        Bucket { rate: rate.into(), level: most, most, filled: None }
    }

    /// Takes a token if one is available. If time runs backwards, between two CPUs, no tokens are added.
    fn take(&mut self, now: KernelTime) -> bool {
        let since = self.filled.map_or(0, |filled| now.since(filled).as_nanos());
        self.level = self.level.saturating_add(since.saturating_mul(self.rate)).min(self.most);
        self.filled = self.filled.max(Some(now));
        let taken = self.level >= NANOS;
        self.level -= if taken { NANOS } else { 0 };
        taken
    }
}

/// 56 bits of a hash of the connection id, because the id itself begins with a time.
fn of_connection(uid: ConnectionUid) -> u64 {
    let digest = Sha256::digest(uid.0);
    digest.iter().take(7).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// The randomness of a trace; `None` without a trace.
fn of_trace(fields: &Fields) -> Option<u64> {
    let trace = trace_context::of(fields)?;
    let told = trace_context::state(fields).iter().flat_map(|state| state.split(',')).find_map(explicit);
    told.or_else(|| {
        let [_, _, _, _, _, _, _, _, _, random @ ..] = trace.trace_id;
        Some(random.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte)))
    })
}

/// `rv` in the member `ot`: 14 hexadecimal digits.
fn explicit(member: &str) -> Option<u64> {
    let value = member.trim().strip_prefix("ot=")?;
    let digits = value.split(';').find_map(|pair| pair.strip_prefix("rv:"))?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == 14 && digits.bytes().all(lower)).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// The number of left-out exchanges per open connection.
#[derive(Debug, Default)]
pub(super) struct LeftOut(HashMap<ConnectionUid, u64>);

impl LeftOut {
    /// Counts one left-out exchange.
    pub(super) fn add(&mut self, connection: ConnectionUid) {
        if self.0.len() < CONNECTIONS || self.0.contains_key(&connection) {
            let count = self.0.entry(connection).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    /// The count for a connection; `None` if there is none. `closed`: the count is removed.
    pub(super) fn of(&mut self, connection: ConnectionUid, closed: bool) -> Option<u64> {
        if closed { self.0.remove(&connection) } else { self.0.get(&connection).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Field, FieldText};

    fn fields(list: &[(&'static str, &str)]) -> Fields {
        let known = |text: &str| FieldText::Known(bytes::Bytes::copy_from_slice(text.as_bytes()));
        Fields(list.iter().map(|(name, value)| Field { name: known(name), value: known(value) }).collect())
    }

    #[test]
    fn the_randomness_of_a_trace_is_that_of_opentelemetry() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of_trace(&fields(&[("traceparent", parent)])), Some(0xce_929d_0e0e_4736));
        let with = |state: &str| of_trace(&fields(&[("traceparent", parent), ("tracestate", state)]));
        assert_eq!(with("a=1,ot=th:c;rv:6e6d1a75832a2f"), Some(0x6e_6d1a_7583_2a2f));
        for broken in ["ot=rv:6e6d", "ot=rv:6E6D1A75832A2F", "not=rv:6e6d1a75832a2f", "ot=xrv:6e6d1a75832a2f"] {
            assert_eq!(with(broken), Some(0xce_929d_0e0e_4736), "{broken}");
        }
        assert_eq!(of_trace(&fields(&[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-1")])), Some(0xce_929d_0e0e_4736));
        assert_eq!(of_trace(&fields(&[("tracestate", "ot=rv:6e6d1a75832a2f")])), None);
    }

    #[test]
    fn the_ends_of_the_ratio_are_all_and_none() {
        let threshold = |ratio| Sampler::new(&Sample { ratio, ..Sample::default() }).threshold;
        assert_eq!((threshold(1.0), threshold(0.0), threshold(0.5)), (0, RANDOMNESS, RANDOMNESS / 2));
        assert_eq!((threshold(-1.0), threshold(7.0)), (RANDOMNESS, 0));
    }

    #[test]
    fn a_bucket_holds_its_rate_and_its_burst() {
        let ms = |ms: u64| KernelTime(ms * 1_000_000);
        let mut bucket = Bucket::new(10, 3);
        let taken = |bucket: &mut Bucket, at| (0..5).filter(|_| bucket.take(ms(at))).count();
        assert_eq!(taken(&mut bucket, 1_000_000), 3, "the burst, whenever it starts");
        assert_eq!(taken(&mut bucket, 1_000_099), 0);
        assert_eq!(taken(&mut bucket, 1_000_100), 1, "ten a second");
        assert_eq!(taken(&mut bucket, 1_000_050), 0, "time that runs backwards brings nothing");
        assert_eq!(taken(&mut bucket, 1_000_200), 1);
        assert_eq!(taken(&mut bucket, 9_000_000), 3, "and no more than the burst after a pause");
        assert!(Bucket { filled: Some(ms(0)), ..Bucket::new(u64::MAX, u64::MAX) }.take(KernelTime(u64::MAX)));
    }

    #[test]
    fn connections_are_counted_while_they_are_open() {
        let mut left_out = LeftOut::default();
        let uid = ConnectionUid([1; 16]);
        left_out.add(uid);
        left_out.add(uid);
        assert_eq!((left_out.of(uid, false), left_out.of(uid, true), left_out.of(uid, true)), (Some(2), Some(2), None));
        for number in 0..CONNECTIONS as u128 + 5 {
            left_out.add(ConnectionUid(number.to_be_bytes()));
        }
        assert_eq!(left_out.0.len(), CONNECTIONS);
        assert_eq!(left_out.of(ConnectionUid(3_u128.to_be_bytes()), false), Some(1));
    }
}
