//! Spelling suggestions: which of the known words a misspelt one was meant to be. In: the word as typed, and the known words. Out: the nearest one,
//! if any is close enough.

/// The word of `words` that `typed` most likely meant, if any is close: up to a third of the letters may be wrong, and at least one; case, `-` and `_` don't count.
#[must_use]
pub fn nearest<'w>(typed: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let plain = |word: &str| -> Vec<char> {
        word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).take(64).collect()
    };
    let typed = plain(typed);
    words
        .map(|word| (distance(&typed, &plain(word)), word))
        .filter(|(distance, word)| *distance <= (word.chars().count().max(typed.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The edit distance: letters inserted, removed, replaced or swapped with a neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j + 1] + 1).min(row[j] + 1).min(above[j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word() {
        let words = ["endpoint", "protocol", "encoding", "headers", "id"];
        for (typed, word) in [
            ("endpiont", "endpoint"),
            ("endPoint", "endpoint"),
            ("header", "headers"),
            ("end-point", "endpoint"),
            ("di", "id"),
        ] {
            assert_eq!(nearest(typed, words.into_iter()), Some(word), "{typed}");
        }
        assert_eq!(nearest("colour", words.into_iter()), None);
    }
}
