//! Just enough of Rust's lexical structure (Reference, "Tokens") to separate code from comments and literals. In: source text. Out:
//! words, signs and string literals with their line numbers. Grammar is not parsed.

/// A token of the source; comments and white space are not tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'s> {
    /// Identifier, keyword or number.
    Word(&'s str),
    /// The contents of a string literal, as written.
    Text(&'s str),
    /// Any other character.
    Sign(char),
}

/// Splits source into tokens, each with its line, counted from 1.
pub(crate) fn tokens(source: &str) -> Vec<(usize, Token<'_>)> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let (token, length) = next(rest, first);
        if let Some(token) = token {
            found.push((line, token));
        }
        let (taken, left) = rest.split_at(length.min(rest.len()));
        line += taken.matches('\n').count();
        rest = left;
    }
    found
}

/// The token at the start of `rest`, if there is one, and how many bytes to skip.
fn next(rest: &str, first: char) -> (Option<Token<'_>>, usize) {
    if rest.starts_with("//") {
        return (None, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (None, block_comment(rest));
    }
    if let Some((text, length)) = string(rest) {
        return (Some(Token::Text(text)), length);
    }
    if first == '\'' {
        return (None, character_or_lifetime(rest));
    }
    if is_word(first) {
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        return (Some(Token::Word(&rest[..length])), length);
    }
    ((!first.is_whitespace()).then_some(Token::Sign(first)), first.len_utf8())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    loop {
        let here = &rest[at..];
        if here.is_empty() {
            return at;
        } else if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
}

/// A string literal of any kind: its contents, and the length of the whole literal.
fn string(rest: &str) -> Option<(&str, usize)> {
    let opens = |prefix: &&&str| rest.strip_prefix(**prefix).is_some_and(|rest| rest.starts_with(['"', '#']));
    let prefix = ["br", "cr", "b", "c", "r", ""].iter().find(opens)?.len();
    let hashes = rest[prefix..].chars().take_while(|c| *c == '#').count();
    let open = prefix + hashes;
    if !rest[open..].starts_with('"') || (hashes > 0 && !rest[..prefix].ends_with('r')) {
        return None;
    }
    let inside = &rest[open + 1..];
    let end = if rest[..prefix].ends_with('r') {
        inside.find(&format!("\"{}", "#".repeat(hashes))).unwrap_or(inside.len())
    } else {
        end_of_escaped(inside, '"')
    };
    Some((&inside[..end], open + 1 + end + 1 + hashes))
}

/// Position of the closing quote, with escapes skipped.
fn end_of_escaped(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    inside.len()
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn character_or_lifetime(rest: &str) -> usize {
    let inside = &rest[1..];
    let mut chars = inside.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + end_of_escaped(inside, '\'') + 1,
        (Some(c), Some('\'')) => 1 + c.len_utf8() + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Token, tokens};

    fn words(source: &str) -> Vec<&str> {
        let pick = |(_, token)| match token {
            Token::Word(word) => Some(word),
            Token::Text(_) | Token::Sign(_) => None,
        };
        tokens(source).into_iter().filter_map(pick).collect()
    }

    #[test]
    fn comments_and_literals_hold_no_words() {
        assert_eq!(words("a // b\n/* c /* d */ e */ f \"g\" r#\"h\"i\"# b'j' 'k' '\\'' m"), ["a", "f", "b", "m"]);
        assert_eq!(words("fn x<'a>(y: &'a str) {}"), ["fn", "x", "a", "y", "a", "str"]);
    }

    #[test]
    fn strings_are_told_with_their_lines() {
        let source = "x\n  \"a\\\"b\"\nbr#\"c\nd\"# \"e\"";
        let texts: Vec<_> = tokens(source).into_iter().filter(|(_, t)| matches!(t, Token::Text(_))).collect();
        assert_eq!(texts, [(2, Token::Text("a\\\"b")), (3, Token::Text("c\nd")), (4, Token::Text("e"))]);
    }
}
