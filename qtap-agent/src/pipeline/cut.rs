//! Truncates text at a character boundary.

/// The longest prefix of `text` that has at most `most` bytes and ends at a character boundary.
pub(super) fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn no_character_is_cut_in_two() {
        assert_eq!(["é", "aé", "aé", "", "abc"].map(|text| cut(text, 2)), ["é", "a", "a", "", "ab"]);
        assert_eq!((cut("é", 1), cut("é", 0), cut("abc", 3)), ("", "", "abc"));
    }
}
