//! W3C Trace Context (Recommendation, 23 November 2021): the `traceparent` field of a request → trace id, span id, flags.
//! Strict: what the specification calls invalid gives none; nothing is repaired.

use crate::model::message::Fields;
use crate::model::record::TraceContext;

/// Length of a version 00 value: `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;

/// The trace context of a request. A field that is there twice is invalid (§3.2: it is a single field).
pub(super) fn of(fields: &Fields) -> Option<TraceContext> {
    let mut named = fields.0.iter().filter(|field| field.is_named("traceparent"));
    match (named.next(), named.next()) {
        (Some(field), None) => parse(field.value.bytes()?),
        (None | Some(_), _) => None,
    }
}

/// §3.2.2: `version-trace_id-parent_id-flags`, lower-case hexadecimal; version ff and all-zero ids are invalid. §3.2.4:
/// a later version may go on after another dash.
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
}
