//! How many exchanges a `sample` step keeps: within its ratio and its rate, the same decision for a whole connection or trace, and every
//! left-out exchange counted.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::exchange::Part;
use crate::pipeline::settings::{DetectErrors, Sample, SampleBy};

fn uid(number: u64) -> ConnectionUid {
    let mut uid = [0x11; 16];
    uid[8..].copy_from_slice(&number.to_be_bytes());
    ConnectionUid(uid)
}

fn on(connection: u64, number: u64, at: KernelTime, http: HttpExchange) -> Observation {
    let mut observation = seen(http);
    if let Observation::Exchange(seen) = &mut observation {
        seen.conn = Arc::new(ConnFacts { uid: uid(connection), ..conn() });
        (seen.number, seen.observed) = (number, at);
    }
    observation
}

fn traced(id: u128) -> HttpExchange {
    let mut http = http();
    let parent = format!("00-{id:032x}-00f067aa0ba902b7-01");
    http.request.as_mut().unwrap().fields = fields(&[("traceparent", &parent)]);
    http
}

fn with_status(status: u16) -> HttpExchange {
    HttpExchange { response: Some(Response { status: Some(status), ..response() }), ..http() }
}

fn pipeline(sample: Sample) -> Pipeline {
    let capture = Step::HttpCapture(HttpCapture::default());
    Pipeline::new(stack(vec![capture, Step::Sample(sample)]), &RedactionKey([9; 32]))
}

/// True when the exchange is kept.
fn tells(pipeline: &mut Pipeline, observation: Observation) -> bool {
    let mut out = Vec::new();
    pipeline.apply(observation, &mut out);
    !out.is_empty()
}

fn by(by: SampleBy, ratio: f64) -> Sample {
    Sample { ratio, by, ..Sample::default() }
}

#[test]
fn the_share_is_that_which_was_asked_for() {
    for (ratio, from, to) in [(0.0, 0, 0), (0.1, 150, 250), (0.5, 920, 1080), (1.0, 2000, 2000)] {
        for kind in [SampleBy::Connection, SampleBy::Trace] {
            let mut pipeline = pipeline(by(kind, ratio));
            let mut random = fastrand::Rng::with_seed(7);
            let told = (0..2000)
                .filter(|number| tells(&mut pipeline, on(*number, 0, ms(1), traced(random.u128(1..)))))
                .count();
            assert!((from..=to).contains(&told), "{ratio} by {kind:?}: {told}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    /// What is kept at one ratio is kept at every larger one, on every host.
    #[test]
    fn a_trace_is_told_whole(id in 1_u128.., ratio in 0.0..1.0_f64, more in 0.0..1.0_f64, connection in any::<u64>()) {
        let told = |ratio, connection, number| tells(&mut pipeline(by(SampleBy::Trace, ratio)), on(connection, number, ms(1), traced(id)));
        let one = told(ratio, connection, 0);
        prop_assert_eq!(one, told(ratio, connection.wrapping_add(1), 9));
        prop_assert!(!one || told(f64::max(ratio, more), connection, 3));
    }

    #[test]
    fn a_connection_is_told_whole(connection in any::<u64>(), ratio in 0.0..1.0_f64, ids in proptest::collection::vec(1_u128.., 2..6)) {
        let mut pipeline = pipeline(by(SampleBy::Connection, ratio));
        let told: Vec<bool> = ids.iter().enumerate().map(|(number, id)| tells(&mut pipeline, on(connection, number as u64, ms(1), traced(*id)))).collect();
        prop_assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    }

    /// Whatever the timestamps, no more than the burst and what the rate allows in between.
    #[test]
    fn the_rate_is_held(steps in proptest::collection::vec(0_u64..400, 1..200), rate in 1_u64..50, burst in 1_u64..20) {
        let mut pipeline = pipeline(Sample { rate: Some(rate), burst, ..Sample::default() });
        let mut now = 0;
        let mut told = 0;
        for (number, step) in steps.iter().enumerate() {
            now += step;
            told += u64::from(tells(&mut pipeline, on(1, number as u64, ms(5000 + now), http())));
        }
        let lost = pipeline.take_lost().count(Loss::SampledOut);
        let first = steps.first().copied().unwrap_or(0);
        prop_assert!(told <= burst + (now - first) * rate / 1000, "{told}");
        prop_assert!(told >= burst.min(steps.len() as u64));
        prop_assert_eq!(told + lost, steps.len() as u64);
    }
}

#[test]
fn exchanges_without_a_trace_are_drawn_by_their_connection() {
    let mut bare = http();
    bare.request.as_mut().unwrap().fields = Fields::default();
    for connection in 0..50 {
        let told = |kind| tells(&mut pipeline(by(kind, 0.5)), on(connection, 0, ms(1), bare.clone()));
        assert_eq!(told(SampleBy::Trace), told(SampleBy::Connection));
    }
}

#[test]
fn what_is_left_out_is_counted_and_the_connection_says_how_much() {
    let mut pipeline = pipeline(by(SampleBy::Connection, 0.0));
    for number in 0..3 {
        assert!(!tells(&mut pipeline, on(5, number, ms(1), http())));
    }
    assert!(!tells(&mut pipeline, on(6, 0, ms(1), http())));
    let lost = pipeline.take_lost();
    assert_eq!((lost.count(Loss::SampledOut), lost.bytes(Loss::SampledOut)), (4, 4 * (15 + 5)));
    let mut told = |connection, state| {
        let conn = Arc::new(ConnFacts { uid: uid(connection), ..conn() });
        let mut out = Vec::new();
        pipeline.apply(Observation::Connection(Box::new(ConnectionSeen { conn, ..report(state, 0) })), &mut out);
        super::connection(&out[0]).sampled_out
    };
    let all = [
        told(5, ConnState::Open),
        told(5, ConnState::Closed),
        told(5, ConnState::Closed),
        told(6, ConnState::Open),
        told(7, ConnState::Open),
    ];
    assert_eq!(all, [Some(3), Some(3), None, Some(1), None]);
}

#[test]
fn errors_are_kept_where_that_is_asked_for() {
    let failed = || HttpExchange { response: None, incomplete: Some(Incomplete::NoResponse), ..http() };
    for (keep_errors, wanted) in [(false, [false; 5]), (true, [false, true, true, false, false])] {
        let mut pipeline = pipeline(Sample { keep_errors, ..by(SampleBy::Connection, 0.0) });
        let exchanges = [http(), with_status(503), failed(), with_status(404), with_status(304)];
        let told = exchanges.map(|http| tells(&mut pipeline, on(1, 0, ms(1), http)));
        assert_eq!(told, wanted, "{keep_errors}");
    }
    // An issue counts as an error too; and an exchange that is left out makes no issue.
    let steps = |keep_errors| {
        let sample = Sample { keep_errors, ..by(SampleBy::Connection, 0.0) };
        vec![Step::DetectErrors(DetectErrors::default()), Step::Sample(sample)]
    };
    let count = |keep_errors| apply(stack(steps(keep_errors)), on(1, 0, ms(1), with_status(404))).len();
    assert_eq!((count(true), count(false)), (1, 0));
    let mut limited = pipeline(Sample { rate: Some(1), burst: 1, keep_errors: true, ..Sample::default() });
    let told: Vec<bool> =
        [200, 200, 500, 500].map(|status| tells(&mut limited, on(1, 0, ms(1), with_status(status)))).into();
    assert_eq!(told, [true, false, true, true]);
}

#[test]
fn an_exchange_in_parts_counts_once_and_is_told_whole_or_not_at_all() {
    let capture = Step::HttpCapture(HttpCapture { level: Level::Full, ..HttpCapture::default() });
    let sample = Step::Sample(Sample { rate: Some(1), burst: 1, ..Sample::default() });
    let mut pipeline = Pipeline::new(stack(vec![capture, sample]), &RedactionKey([9; 32]));
    let part = |number, last| HttpExchange { part: Some(Part { number, last, large: false }), ..http() };
    let mut told = Vec::new();
    for (name, number, last) in
        [(0, 0, false), (1, 0, false), (0, 1, false), (1, 1, false), (1, 2, true), (0, 2, true), (2, 0, true)]
    {
        // The second exchange begins in the same second as the first; time passes while it is running.
        let at = ms(1000 + if number == 0 { 0 } else { 60_000 });
        told.push((name, tells(&mut pipeline, on(1, name, at, part(number, last)))));
    }
    assert_eq!(told, [(0, true), (1, false), (0, true), (1, false), (1, false), (0, true), (2, false)]);
    assert_eq!(pipeline.take_lost().count(Loss::SampledOut), 2);
}

#[test]
fn sampling_stands_anywhere_and_takes_all_but_the_metrics() {
    use crate::pipeline::settings::{AccessLogs, HttpMetrics, ReportUsage};
    let sample = Step::Sample(by(SampleBy::Connection, 0.0));
    let others = vec![
        Step::HttpCapture(HttpCapture { level: Level::Full, ..HttpCapture::default() }),
        Step::AccessLogs(AccessLogs::default()),
        Step::ReportUsage(ReportUsage::default()),
        Step::DetectErrors(DetectErrors::default()),
        Step::HttpMetrics(HttpMetrics::default()),
    ];
    for at in [0, others.len()] {
        let mut steps = others.clone();
        steps.insert(at, sample.clone());
        let mut pipeline = Pipeline::new(stack(steps), &RedactionKey([9; 32]));
        assert!(pipeline.counts(&seen(with_status(500))));
        assert!(!tells(&mut pipeline, seen(with_status(500))));
        assert_eq!(pipeline.take_lines(), "");
    }
    let without = Pipeline::new(stack(vec![sample]), &RedactionKey([9; 32]));
    assert!(!without.counts(&seen(http())), "nobody asked");
}
