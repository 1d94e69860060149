//! The trace a request belongs to: W3C Trace Context (Recommendation, 23 November 2021), else B3 (openzipkin/b3-propagation) →
//! trace id, span id, flags, state. Strict: values that the specifications call invalid yield nothing; nothing is repaired.

use crate::model::message::Fields;
use crate::model::record::TraceContext;

/// Length of a version 00 value: `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;
/// Maximum members of a `tracestate` that are reported (§3.3.1.1: there are no more).
const MEMBERS: usize = 32;
/// Maximum bytes of a `tracestate` that are reported; a member that does not fit is left out whole (§3.3.1.5: propagate at least 512).
const STATE: usize = 512;
/// The sampled bit (§3.2.2.5.1).
const SAMPLED: u8 = 1;

/// The trace context of a request: W3C if present, else B3.
pub(super) fn of(fields: &Fields) -> Option<TraceContext> {
    w3c(fields).or_else(|| b3(fields))
}

/// `traceparent`. A duplicate field is invalid (§3.2: it is a single field).
fn w3c(fields: &Fields) -> Option<TraceContext> {
    parse(single(fields, "traceparent")?)
}

/// The value of a field that occurs exactly once.
fn single<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    let mut named = fields.0.iter().filter(|field| field.is_named(name));
    match (named.next(), named.next()) {
        (Some(field), None) => field.value.bytes().map(|value| &value[..]),
        (None | Some(_), _) => None,
    }
}

/// The list of `tracestate` (§3.3), all fields joined as one; empty if there is none, or no valid `traceparent` (§3.3: it must
/// not be used then).
pub(super) fn state(fields: &Fields) -> Vec<String> {
    let mut state = String::new();
    let members = fields.all("tracestate").flat_map(|value| value.split(',')).map(str::trim).filter(|m| !m.is_empty());
    for member in members.take(MEMBERS) {
        let comma = usize::from(!state.is_empty());
        if state.len() + comma + member.len() <= STATE {
            state.push_str(if comma > 0 { "," } else { "" });
            state.push_str(member);
        }
    }
    if state.is_empty() || w3c(fields).is_none() { Vec::new() } else { vec![state] }
}

/// B3: the single field, which takes precedence, else the separate ones. Without both ids there is no context, whatever the sampling decision.
fn b3(fields: &Fields) -> Option<TraceContext> {
    if let Some(value) = single(fields, "b3") {
        return b3_single(value);
    }
    let trace_id = single(fields, "x-b3-traceid")?;
    let decided = single(fields, "x-b3-sampled").map(|sampled| matches!(sampled, b"1" | b"true" | b"True"));
    let debug = single(fields, "x-b3-flags") == Some(b"1");
    context(trace_id, single(fields, "x-b3-spanid")?, debug || decided == Some(true))
}

/// `{trace id}-{span id}-{sampling state}-{parent span id}`; the last two may be missing.
fn b3_single(value: &[u8]) -> Option<TraceContext> {
    let mut parts = value.split(|byte| *byte == b'-');
    let (trace_id, span_id) = (parts.next()?, parts.next()?);
    let sampled = match parts.next() {
        Some(b"1" | b"d") => true,
        Some(b"0") | None => false,
        Some(_) => return None,
    };
    let parent = parts.next().map(hex::<8>);
    let valid = parent.is_none_or(|id| id.is_some()) && parts.next().is_none();
    context(trace_id, span_id, sampled).filter(|_| valid)
}

/// B3 ids: 32 or 16 digits for the trace, 16 for the span. A 64-bit trace id is padded with zeros on the left.
fn context(trace_id: &[u8], span_id: &[u8], sampled: bool) -> Option<TraceContext> {
    let trace_id: [u8; 16] = match trace_id.len() {
        32 => hex(trace_id)?,
        16 => u128::from(u64::from_be_bytes(hex(trace_id)?)).to_be_bytes(),
        _ => return None,
    };
    let span_id: [u8; 8] = hex(span_id)?;
    let flags = if sampled { SAMPLED } else { 0 };
    (trace_id != [0; 16] && span_id != [0; 8]).then_some(TraceContext { trace_id, span_id, flags })
}

/// §3.2.2: `version-trace_id-parent_id-flags`, lower-case hexadecimal; version ff and all-zero ids are invalid. §3.2.4:
/// a later version may continue after another dash.
fn parse(value: &[u8]) -> Option<TraceContext> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let [version] = hex(known.get(..2)?)?;
    let later = version > 0 && (rest.is_empty() || rest.starts_with(b"-"));
    if version == 0xff || !(rest.is_empty() || later) {
        return None;
    }
    if [2, 35, 52].into_iter().any(|at| known.get(at) != Some(&b'-')) {
        return None;
    }
    let trace_id: [u8; 16] = hex(known.get(3..35)?)?;
    let span_id: [u8; 8] = hex(known.get(36..52)?)?;
    let [flags] = hex(known.get(53..55)?)?;
    let valid = trace_id != [0; 16] && span_id != [0; 8];
    valid.then_some(TraceContext { trace_id, span_id, flags })
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Field, FieldText};

    fn fields(values: &[&'static str]) -> Fields {
        let field = |value: &&'static str| Field {
            name: FieldText::Known("Traceparent".into()),
            value: FieldText::Known((*value).into()),
        };
        Fields(values.iter().map(field).collect())
    }

    /// The specification's own example (§3.2.3).
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_specification_is_read() {
        let context = of(&fields(&[EXAMPLE]));
        let wanted = TraceContext {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes(),
            span_id: 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes(),
            flags: 1,
        };
        assert_eq!(context, Some(wanted));
    }

    #[test]
    fn later_versions_may_go_on() {
        assert!(
            of(&fields(&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be"])).is_some()
        );
        assert!(of(&fields(&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])).is_some());
    }

    #[test]
    fn what_is_invalid_is_not_repaired() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            " 0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(&fields(&[bad])), None, "{bad:?}");
        }
        assert_eq!(of(&fields(&[EXAMPLE, EXAMPLE])), None, "sent twice");
        assert_eq!(of(&fields(&[])), None);
    }

    fn named(list: &[(&'static str, &'static str)]) -> Fields {
        let known = |text: &'static str| FieldText::Known(text.into());
        Fields(list.iter().map(|(name, value)| Field { name: known(name), value: known(value) }).collect())
    }

    /// The example of §3.3.1.3 and those of §3.3.1.2.
    #[test]
    fn the_state_is_one_list_of_all_fields_under_a_bound() {
        let with = |states: &[&'static str]| {
            let mut list = vec![("traceparent", EXAMPLE)];
            list.extend(states.iter().map(|state| ("tracestate", *state)));
            state(&named(&list))
        };
        assert_eq!(with(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]), ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]);
        assert_eq!(with(&["rojo=1 , ,", "congo=2"]), ["rojo=1,congo=2"]);
        assert!(with(&[]).is_empty() && with(&[" , "]).is_empty());
        let long: &'static str = Box::leak(format!("a=1,b={},c=3", "x".repeat(600)).into_boxed_str());
        assert_eq!(with(&[long]), ["a=1,c=3"]);
        let many: &'static str = Box::leak((0..40).map(|n| format!("k{n}=v,")).collect::<String>().into_boxed_str());
        assert_eq!(with(&[many])[0].split(',').count(), MEMBERS);
        assert!(state(&named(&[("tracestate", "a=1")])).is_empty(), "not without a traceparent");
        assert!(state(&named(&[("traceparent", "00-bad"), ("tracestate", "a=1")])).is_empty());
    }

    const TRACE: u128 = 0x80f1_98ee_5634_3ba8_64fe_8b2a_57d3_eff7;
    const SPAN: u64 = 0xe457_b5a2_e4d8_6bd1;

    fn b3_context(trace_id: u128, flags: u8) -> Option<TraceContext> {
        Some(TraceContext { trace_id: trace_id.to_be_bytes(), span_id: SPAN.to_be_bytes(), flags })
    }

    /// The examples of the B3 specification ("Multiple Headers", "Single Header").
    #[test]
    fn the_examples_of_b3_are_read() {
        let several = [
            ("X-B3-TraceId", "80f198ee56343ba864fe8b2a57d3eff7"),
            ("X-B3-ParentSpanId", "05e3ac9a4f6e3b90"),
            ("X-B3-SpanId", "e457b5a2e4d86bd1"),
            ("X-B3-Sampled", "1"),
        ];
        assert_eq!(of(&named(&several)), b3_context(TRACE, 1));
        let undecided = &several[..3];
        assert_eq!(of(&named(undecided)), b3_context(TRACE, 0));
        assert_eq!(of(&named(&[undecided, &[("x-b3-flags", "1")]].concat())), b3_context(TRACE, 1));
        assert_eq!(of(&named(&[undecided, &[("x-b3-sampled", "0")]].concat())), b3_context(TRACE, 0));
        for (value, flags) in [
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90", 1),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1", 1),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d", 1),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0", 0),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1", 0),
        ] {
            assert_eq!(of(&named(&[("b3", value)])), b3_context(TRACE, flags), "{value}");
        }
    }

    #[test]
    fn short_trace_ids_are_padded_on_the_left() {
        let short = u128::from(TRACE as u64);
        assert_eq!(of(&named(&[("b3", "64fe8b2a57d3eff7-e457b5a2e4d86bd1-1")])), b3_context(short, 1));
        let several = [("x-b3-traceid", "64fe8b2a57d3eff7"), ("x-b3-spanid", "e457b5a2e4d86bd1")];
        assert_eq!(of(&named(&several)), b3_context(short, 0));
    }

    #[test]
    fn one_field_wins_over_several_and_w3c_over_both() {
        let single = ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1");
        let several = [("x-b3-traceid", "64fe8b2a57d3eff7"), ("x-b3-spanid", "e457b5a2e4d86bd1")];
        assert_eq!(of(&named(&[&several[..], &[single]].concat())), b3_context(TRACE, 1));
        assert_eq!(of(&named(&[&several[..], &[single, ("traceparent", EXAMPLE)]].concat())), of(&fields(&[EXAMPLE])));
        assert_eq!(
            of(&named(&[("traceparent", "00-bad"), single])),
            b3_context(TRACE, 1),
            "invalid is as if not there"
        );
    }

    #[test]
    fn what_is_no_b3_is_none() {
        for bad in [
            "0",
            "1",
            "d",
            "",
            "80f198ee56343ba864fe8b2a57d3eff7",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd",
            "80f198ee56343ba864fe8b2a57d3eff-e457b5a2e4d86bd1-1",
            "00000000000000000000000000000000-e457b5a2e4d86bd1-1",
            "80f198ee56343ba864fe8b2a57d3eff7-0000000000000000-1",
            "80F198EE56343BA864FE8B2A57D3EFF7-e457b5a2e4d86bd1-1",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-x",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90-1",
        ] {
            assert_eq!(of(&named(&[("b3", bad)])), None, "{bad:?}");
        }
        assert_eq!(of(&named(&[("x-b3-traceid", "64fe8b2a57d3eff7")])), None);
    }
}
