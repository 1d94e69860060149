//! Locates a piece of a value in the file. In: the file, the value's place, the value as YAML reads it, and which bytes of it.
//! Out: lines and columns. The value is followed through the text as written: quotes, escapes, line folds and the indentation
//! of blocks are in the text but not in the value.

use std::ops::Range;

use super::place::Span;

/// How a scalar is written (YAML 1.2 §7.3, §8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Block,
}

/// A position in the text of the file.
#[derive(Debug, Clone)]
struct Cursor<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
    column: usize,
}

impl<'t> Cursor<'t> {
    /// Starts at a line and column, counted from 1.
    fn new(text: &'t str, line: usize, column: usize) -> Cursor<'t> {
        let mut cursor = Cursor { rest: text.chars().peekable(), line: 1, column: 1 };
        while (cursor.line, cursor.column) < (line, column) && cursor.step().is_some() {}
        cursor
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn step(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        // A lone carriage return ends a line; before a line feed it is part of the line end (YAML 1.2 §5.4).
        if c == '\n' || (c == '\r' && self.peek() != Some('\n')) {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn skip(&mut self, fits: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&fits) {
            self.step();
        }
    }

    /// Moves past the next character of the value, `c`. False: the text has something else there.
    fn follow(&mut self, c: char, style: Style) -> bool {
        if style == Style::Double && self.peek() == Some('\\') {
            return self.escape();
        }
        if c.is_whitespace() {
            // A fold is one character of the value but several of the text, or none of the value where lines are joined.
            match self.peek() {
                Some('\n' | '\r') => self.skip(char::is_whitespace),
                Some(next) if next.is_whitespace() => {
                    self.step();
                }
                Some(_) | None => {}
            }
            return true;
        }
        if style == Style::Single && c == '\'' {
            self.step();
        }
        self.step() == Some(c)
    }

    /// Moves past an escape (YAML 1.2 §5.7).
    fn escape(&mut self) -> bool {
        self.step();
        let digits = match self.step() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some(_) => 0,
            None => return false,
        };
        (0..digits).all(|_| self.step().is_some())
    }

    /// Before a character that is not white space: skips line ends, indentation, and escaped line ends.
    fn settle(&mut self, style: Style) {
        loop {
            self.skip(char::is_whitespace);
            let mut ahead = self.rest.clone();
            let joins =
                style == Style::Double && ahead.next() == Some('\\') && matches!(ahead.next(), Some('\n' | '\r'));
            if !joins {
                return;
            }
            self.step();
        }
    }
}

/// The place of the bytes `at` of `value`, which starts at `span` in `text`. Falls short where the text can't be followed that far.
pub(crate) fn place(text: &str, span: Span, value: &str, at: Range<usize>) -> Span {
    let mut cursor = Cursor::new(text, span.line, span.column);
    let style = match cursor.peek() {
        Some('"') => Style::Double,
        Some('\'') => Style::Single,
        Some('|' | '>') => Style::Block,
        _ => Style::Plain,
    };
    match style {
        Style::Double | Style::Single => {
            cursor.step();
        }
        // The header of a block: the rest of its line is not part of the value.
        Style::Block => cursor.skip(|c| !matches!(c, '\n' | '\r')),
        Style::Plain => {}
    }
    let (mut start, mut end) = (None, None);
    for (offset, c) in value.char_indices() {
        if !c.is_whitespace() {
            cursor.settle(style);
        }
        if offset >= at.start {
            start.get_or_insert((cursor.line, cursor.column));
        }
        if offset >= at.end && at.end > at.start {
            break;
        }
        if !cursor.follow(c, style) {
            break;
        }
        end = Some((cursor.line, cursor.column));
    }
    let (line, column) = start.unwrap_or((cursor.line, cursor.column));
    match end.filter(|end| *end > (line, column)) {
        Some((last_line, end)) => Span { line, column, last_line, end },
        None => Span::within(line, column, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::{Kind, read};

    /// The text that the marks for `find` cover, in a file whose key `a` holds `scalar`.
    fn covered(scalar: &str, find: &str) -> (usize, String) {
        let text = format!("# é\na: {scalar}\nz: 1\n");
        let root = match read(&text) {
            Ok(Some(root)) => root,
            other => panic!("{text}: {other:?}"),
        };
        let Kind::Map(pairs) = root.kind else { panic!("{text}") };
        let node = &pairs[0].1;
        let Kind::Scalar(value, _) = &node.kind else { panic!("{text}") };
        let start = value.find(find).unwrap_or_else(|| panic!("{value:?} has no {find:?}"));
        let span = place(&text, node.span, value, start..start + find.len());
        let line = text.lines().nth(span.line - 1).unwrap_or_default();
        let to = if span.last_line == span.line { span.end - span.column } else { usize::MAX };
        (span.line, line.chars().skip(span.column - 1).take(to).collect())
    }

    #[test]
    fn a_piece_of_a_value_is_found_however_it_is_written() {
        for (scalar, find, line, marks) in [
            ("x == wrong and y", "wrong", 2, "wrong"),
            ("x == wrong", "wrong", 2, "wrong"),
            ("é == wrong", "wrong", 2, "wrong"),
            ("x and\n   y == wrong\n   and z", "wrong", 3, "wrong"),
            ("x and\n   y == wrong\n   and z", "z", 4, "z"),
            ("'it''s == wrong'", "wrong", 2, "wrong"),
            ("'it''s\n   == wrong'", "wrong", 3, "wrong"),
            ("\"\\\"a\\u0062\\x41\\\\ == wrong\"", "wrong", 2, "wrong"),
            ("\"a\\n\\tb ==\n   wrong\"", "wrong", 3, "wrong"),
            ("\"a == \\\n   wrong\"", "wrong", 3, "wrong"),
            ("|\n   a ==\n     wrong\n   and b\n", "wrong", 4, "wrong"),
            ("|\n   a ==\n     wrong\n   and b\n", "b", 5, "b"),
            (">-\n   a ==\n   wrong\n\n   and b\n", "wrong", 4, "wrong"),
            (">-\n   a ==\n   wrong\n\n   and b\n", "b", 6, "b"),
            ("|2 # c\n   a == wrong\n", "wrong", 3, "wrong"),
            ("a == \"x\" or wrong", "wrong", 2, "wrong"),
        ] {
            assert_eq!(covered(scalar, find), (line, marks.to_owned()), "{scalar}");
        }
    }
}
