//! `detect_errors` on bodies that are reported in parts: text split across parts is found as in a whole body, and the kept state is bounded.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use std::io::Write as _;

use super::plugins::{answered, detect, issues, requests, rule};
use super::*;
use crate::model::exchange::Part;
use crate::pipeline::settings::{AccessLogs, LogFormat, Pattern, Recorded, ReportUsage};

/// The parts of one exchange, each with a part of the response body.
fn in_parts(bodies: &[&str], status: u16) -> Vec<HttpExchange> {
    let mut offset = 0;
    let last = bodies.len() - 1;
    bodies
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let size = offset + text.len() as u64;
            let body = Body { offset, size, ..body(text.as_bytes()) };
            offset = size;
            let part = Part { number: number as u32, last: number == last, large: false };
            HttpExchange {
                part: Some(part),
                ..answered(|response| (response.body, response.status) = (body.clone(), Some(status)))
            }
        })
        .collect()
}

#[test]
fn an_exchange_in_parts_is_told_once_with_what_any_part_held() {
    let rule = rule(|rule| (rule.body, rule.response) = (vec![Pattern::text("fail").unwrap()], Recorded::Body));
    let logs = Step::AccessLogs(AccessLogs { mode: Level::Full, format: LogFormat::Console, rules: Vec::new() });
    let told = |bodies: &[&str]| {
        let steps = vec![logs.clone(), Step::ReportUsage(ReportUsage::default()), detect(vec![rule.clone()])];
        let mut pipeline = Pipeline::new(stack(steps), &RedactionKey([9; 32]));
        let mut out = Vec::new();
        in_parts(bodies, 200).into_iter().for_each(|part| pipeline.apply(seen(part), &mut out));
        let lines = pipeline.take_lines();
        assert_eq!(lines.matches('\n').count(), 1, "{lines}");
        assert!(lines.contains("body of 15 bytes not shown") && !lines.contains("1 000"), "{lines}");
        (requests(&out).len(), issues(&out).len(), out.len())
    };
    assert_eq!(told(&["a", "b", "c"]), (1, 0, 1));
    assert_eq!(told(&["a", "it failed", "c"]), (1, 1, 3), "the object is that of the last part");
    assert_eq!(told(&["a", "b", "it failed"]), (1, 1, 3));
}

/// A pipeline that searches bodies for this pattern.
fn looking_for(pattern: Pattern) -> Pipeline {
    let rule = rule(|rule| rule.body = vec![pattern]);
    Pipeline::new(stack(vec![detect(vec![rule])]), &RedactionKey([9; 32]))
}

/// A body in pieces, carried with that coding.
fn pieces(body: &[u8], sizes: impl IntoIterator<Item = usize>, coding: &str) -> Vec<HttpExchange> {
    let (mut rest, mut offset, mut parts) = (body, 0, Vec::new());
    for size in sizes {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        let body = Body { offset, size: offset + piece.len() as u64, ..super::body(piece) };
        offset = body.size;
        let part = Part { number: parts.len() as u32, last: rest.is_empty(), large: false };
        let http = answered(|response| {
            (response.body, response.fields) = (body, fields(&[("content-encoding", coding)]));
        });
        parts.push(HttpExchange { part: Some(part), ..http });
        if rest.is_empty() {
            break;
        }
    }
    parts
}

fn found(pipeline: &mut Pipeline, parts: Vec<HttpExchange>) -> bool {
    let mut out = Vec::new();
    parts.into_iter().for_each(|part| pipeline.apply(seen(part), &mut out));
    !issues(&out).is_empty()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn wherever_a_body_is_cut_the_same_is_found_in_it() {
    let body = b"one two\nthe needle is here\nnine";
    let coded = gzip(body);
    for (pattern, is_in) in [
        (Pattern::text("needle is").unwrap(), true),
        (Pattern::text("needle  is").unwrap(), false),
        (Pattern::text("one two\nthe needle is here\nnine").unwrap(), true),
        (Pattern::regex(r"(?-u)\bneedle\b").unwrap(), true),
        (Pattern::regex(r"(?-u)\bdle\b").unwrap(), false),
        (Pattern::regex("^one").unwrap(), true),
        (Pattern::regex("^(two|the|nee|needle|here|n)").unwrap(), false),
        (Pattern::regex("(?m)^the needle").unwrap(), true),
        (Pattern::regex("t[a-z ]+needle.*\n").unwrap(), true),
    ] {
        let mut pipeline = looking_for(pattern.clone());
        for (bytes, coding) in [(&body[..], "identity"), (&coded, "gzip")] {
            for size in 1..bytes.len() {
                let parts = pieces(bytes, std::iter::repeat(size), coding);
                assert_eq!(found(&mut pipeline, parts), is_in, "{pattern:?}, {coding} in pieces of {size}");
                let two = pieces(bytes, [size, bytes.len()], coding);
                assert_eq!(found(&mut pipeline, two), is_in, "{pattern:?}, {coding} cut at {size}");
            }
        }
    }
}

#[test]
fn what_bytes_are_missing_between_is_not_put_together() {
    let mut pipeline = looking_for(Pattern::text("needle").unwrap());
    let cut = || pieces(b"a needle", [5, 3], "identity");
    assert!(found(&mut pipeline, cut()));
    let with = |nth: usize, change: &dyn Fn(&mut Body)| {
        let mut parts = cut();
        change(&mut parts[nth].response.as_mut().unwrap().body);
        parts
    };
    let later = with(1, &|body| (body.offset, body.size) = (body.offset + 7, body.size + 7));
    assert!(!found(&mut pipeline, later), "a part is missing");
    let hole = with(0, &|body| (body.size, body.missing) = (body.size + 7, std::iter::once(5..12).collect()));
    assert!(!found(&mut pipeline, hole), "the first part has a hole at its end");
    // Parts of two interleaved exchanges.
    let mut out = Vec::new();
    for (number, part) in [(1, 0), (2, 1), (1, 1)] {
        let Observation::Exchange(one) = seen(cut().swap_remove(part)) else { panic!("no exchange") };
        pipeline.apply(Observation::Exchange(Box::new(ExchangeSeen { number, ..*one })), &mut out);
        assert_eq!(issues(&out).len(), usize::from(number == 1 && part == 1));
    }
}

#[test]
fn a_long_text_is_found_in_one_part_and_beyond_the_bound_nothing_is() {
    let long = "x".repeat(5_000);
    let mut pipeline = looking_for(Pattern::text(&format!("a{long}b")).unwrap());
    let body = format!("....a{long}b....");
    assert!(found(&mut pipeline, pieces(body.as_bytes(), [body.len()], "identity")));
    assert!(found(&mut pipeline, pieces(body.as_bytes(), [500, body.len()], "identity")), "most of it is in one part");
    assert!(!found(&mut pipeline, pieces(body.as_bytes(), [4_500, body.len()], "identity")), "more than waits");
    // Bytes of a part that are not inspected count as a hole.
    let most = crate::pipeline::issues::LOOKED_AT;
    let mut pipeline = looking_for(Pattern::text("needle").unwrap());
    let body = [&b"x".repeat(most - 3)[..], b"needle"].concat();
    assert!(found(&mut pipeline, pieces(&body, [most, 3], "identity")));
    let body = [&b"x".repeat(most)[..], b"needle"].concat();
    assert!(!found(&mut pipeline, pieces(&body, [most + 3, 3], "identity")));
}

#[test]
fn no_more_waits_than_may() {
    let mut pipeline = looking_for(Pattern::text("needle").unwrap());
    let mut out = Vec::new();
    let mut part = |pipeline: &mut Pipeline, number, nth: usize| {
        let Observation::Exchange(one) = seen(pieces(b"a needle", [5, 3], "identity").swap_remove(nth)) else {
            panic!("no exchange")
        };
        out.clear();
        pipeline.apply(Observation::Exchange(Box::new(ExchangeSeen { number, ..*one })), &mut out);
        issues(&out).len()
    };
    (0..5_000).for_each(|number| assert_eq!(part(&mut pipeline, number, 0), 0));
    let found: usize = (0..5_000).map(|number| part(&mut pipeline, number, 1)).sum();
    assert_eq!(found, 4096);
}
