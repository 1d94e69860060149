//! An index of a head's fields by name, so that many rules need not each search the whole head. In: a head, once; then names. Out: the
//! field with that name, or that a search is necessary. The index holds no text and allocates nothing.

use crate::model::message::{Field, Fields};

/// Number of slots: a head has one to two dozen fields.
const SLOTS: usize = 64;
/// No field's name maps to this slot.
const EMPTY: u8 = u8::MAX;
/// Several fields' names map to this slot, or one with an index that does not fit.
const SEVERAL: u8 = EMPTY - 1;

/// The index of one head.
#[derive(Debug, Clone)]
pub(super) struct Heads([u8; SLOTS]);

/// The result of a lookup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stands<'a> {
    /// No field has this name.
    Nowhere,
    /// Exactly this field has the name.
    Here(&'a Field),
    /// Unknown: search the head.
    Somewhere,
}

impl Heads {
    pub(super) fn of(fields: &Fields) -> Heads {
        let mut slots = [EMPTY; SLOTS];
        for (nth, field) in fields.0.iter().enumerate() {
            let Some(name) = field.name.bytes() else { continue };
            if let Some(slot) = slots.get_mut(place(name)) {
                let nth = u8::try_from(nth).unwrap_or(SEVERAL);
                *slot = if *slot == EMPTY { nth.min(SEVERAL) } else { SEVERAL };
            }
        }
        Heads(slots)
    }

    /// Looks up the field `name` (case-insensitive) in the same `fields`.
    #[inline]
    pub(super) fn find<'a>(&self, fields: &'a Fields, name: &str) -> Stands<'a> {
        match self.0.get(place(name.as_bytes())) {
            Some(&EMPTY) => Stands::Nowhere,
            Some(&SEVERAL) | None => Stands::Somewhere,
            Some(nth) => match fields.0.get(usize::from(*nth)) {
                Some(field) if field.is_named(name) => Stands::Here(field),
                Some(_) | None => Stands::Nowhere,
            },
        }
    }
}

/// The slot of a name (case-insensitive): depends on its length and its first and last letters.
#[inline]
fn place(name: &[u8]) -> usize {
    let letter = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(byte.to_ascii_lowercase()));
    (name.len() + 5 * letter(name.first()) + 11 * letter(name.last())) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::FieldText;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};
    use proptest::test_runner::RngSeed;

    fn head(names: &[String]) -> Fields {
        let field = |name: &String| Field {
            name: if name.is_empty() { FieldText::Unknown } else { FieldText::Known(name.clone().into()) },
            value: FieldText::Known(name.to_lowercase().into()),
        };
        Fields(names.iter().map(field).collect())
    }

    #[test]
    fn one_field_is_found_in_any_case_and_two_are_walked_to() {
        let fields = head(&["Host", "x-a", "", "X-A", "Accept"].map(str::to_owned));
        let heads = Heads::of(&fields);
        assert_eq!(heads.find(&fields, "HOST"), Stands::Here(&fields.0[0]));
        assert_eq!(heads.find(&fields, "accept"), Stands::Here(&fields.0[4]));
        assert_eq!(heads.find(&fields, "x-a"), Stands::Somewhere);
        assert_eq!(heads.find(&fields, "cookie"), Stands::Nowhere);
        // Same length and letters as an existing field.
        assert_eq!(heads.find(&fields, "hoot"), Stands::Nowhere);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_finds_what_a_walk_finds(names in proptest::collection::vec("[a-bA-B-]{0,3}", 0..300), name in "[a-bA-B-]{1,3}") {
            let fields = head(&names);
            let walked: Vec<&Field> = fields.0.iter().filter(|field| field.is_named(&name)).collect();
            match Heads::of(&fields).find(&fields, &name) {
                Stands::Nowhere => prop_assert_eq!(walked.len(), 0),
                Stands::Here(field) => prop_assert_eq!(walked, [field]),
                Stands::Somewhere => {}
            }
        }
    }
}
