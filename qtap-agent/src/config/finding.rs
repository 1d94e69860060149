//! What there is to say about a settings file: faults that refuse it, notes that don't, each with its place, the line itself
//! and what would be right. In: findings as they are made, in any order. Out: text, in the order of the file.
//! Never shows a secret: of a line it quotes it hides every value that was not read as a public one.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::Range;

use super::fields::At;
use super::inside;
use super::place::{Malformed, Span, lines};
use super::shape;
use super::yaml::Node;

/// Faults that are shown; the rest is counted.
const MAX_SHOWN: usize = 50;

/// Characters of a line that are shown.
const MAX_EXCERPT: usize = 160;

/// One thing to say about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name, as given.
    pub file: String,
    /// Line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is so.
    pub message: String,
    /// What would be right; may be empty.
    pub help: String,
    /// The line, its secrets hidden, and where in it (characters to skip, characters to mark).
    excerpt: Option<(String, usize, usize)>,
}

/// Something worth knowing about a file that is used all the same.
pub type Note = Finding;

/// Why a file is refused: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Finding>);

impl std::error::Error for Faults {}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        }
        match &self.excerpt {
            Some((line, skip, mark)) => {
                write!(f, "\n{:>5} | {line}\n      | {}{}", self.line, " ".repeat(*skip), "^".repeat(*mark))?;
                if self.help.is_empty() { Ok(()) } else { write!(f, " {}", self.help) }
            }
            None if self.help.is_empty() => Ok(()),
            None => write!(f, "\n      = {}", self.help),
        }
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in self.0.iter().take(MAX_SHOWN) {
            writeln!(f, "{fault}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 fault"),
            n if n > MAX_SHOWN => write!(f, "{n} faults, the first {MAX_SHOWN} shown"),
            n => write!(f, "{n} faults"),
        }
    }
}

impl Faults {
    /// A fault of the file as a whole: not there, too large, not text.
    pub(crate) fn whole(file: &str, message: impl Into<String>, help: impl Into<String>) -> Faults {
        Faults::at(file, 0, 0, message, help)
    }

    /// The one fault of a file of which nothing can be shown.
    pub(crate) fn at(
        file: &str,
        line: usize,
        column: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Faults {
        Faults(vec![Finding {
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
            help: help.into(),
            excerpt: None,
        }])
    }

    /// The one fault of a text that is no YAML.
    pub(crate) fn malformed(file: &str, text: &str, at: Malformed) -> Faults {
        let lines = lines(text);
        let line = lines.get(at.span.line.saturating_sub(1));
        // A reader that stumbles over a character counts the bytes before it; and none is behind the line.
        let column = match line {
            Some(line) if at.message.contains("unprintable") => unprintable(line).unwrap_or(at.span.column),
            _ => at.span.column,
        };
        let column = line.map_or(column, |line| column.min(line.chars().count() + 1));
        let span = Span { column, end: at.span.end.max(column + 1), ..at.span };
        Faults(vec![Finding {
            file: file.to_owned(),
            line: span.line,
            column,
            message: at.message,
            help: at.help.to_owned(),
            excerpt: line.map(|line| mark(&unparsed(line), span, Vec::new())),
        }])
    }
}

/// The column of the first character that YAML does not take for printable (YAML 1.2.2, §5.1).
fn unprintable(line: &str) -> Option<usize> {
    let prints = |c: char| matches!(c, '\t' | '\u{20}'..='\u{7e}' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    line.chars().position(|c| !prints(c)).map(|at| at + 1)
}

/// Where findings gather while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    faults: RefCell<Vec<(Span, String, String)>>,
    notes: RefCell<Vec<(Span, String, String)>>,
    public: RefCell<Vec<Span>>,
    /// Faults inside a value: where the value stands, the value, which bytes of it.
    inside: RefCell<Vec<Inside>>,
}

#[derive(Debug)]
struct Inside {
    value: At<String>,
    at: Range<usize>,
    message: String,
    help: String,
}

impl Findings {
    pub(crate) fn fault(&self, at: Span, message: impl Into<String>, help: impl Into<String>) {
        self.faults.borrow_mut().push((at, message.into(), help.into()));
    }

    /// A fault at some bytes of a value, whose place in the file is found when it is told.
    pub(crate) fn fault_inside(
        &self,
        value: &At<String>,
        at: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let inside = Inside { value: value.clone(), at, message: message.into(), help: help.into() };
        self.inside.borrow_mut().push(inside);
    }

    pub(crate) fn note(&self, at: Span, message: impl Into<String>, help: impl Into<String>) {
        self.notes.borrow_mut().push((at, message.into(), help.into()));
    }

    /// Says that a value may be shown; one that goes on in the next line never is, for that may be another's.
    pub(crate) fn show(&self, at: Span) {
        if at.line == at.last_line {
            self.public.borrow_mut().push(at);
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.borrow().is_empty() && self.inside.borrow().is_empty()
    }

    /// Faults and notes as they are told, in the order of the file.
    pub(crate) fn tell(self, file: &str, text: &str, root: Option<&Node>) -> (Vec<Finding>, Vec<Note>) {
        let mut hidden = Vec::new();
        if let Some(root) = root {
            root.scalars(&mut hidden);
        }
        let public = self.public.into_inner();
        hidden.retain(|span| !public.contains(span));
        let lines = lines(text);
        let told = |mut list: Vec<(Span, String, String)>| {
            list.sort();
            list.dedup();
            let tell = |(span, message, help): (Span, String, String)| {
                let line = lines.get(span.line.saturating_sub(1));
                let on_line = hidden.iter().filter_map(|hide| hide.on(span.line)).collect();
                let excerpt = line.map(|line| mark(line, span, on_line));
                Finding { file: file.to_owned(), line: span.line, column: span.column, message, help, excerpt }
            };
            list.into_iter().map(tell).collect()
        };
        let mut faults = self.faults.into_inner();
        for Inside { value, at, message, help } in self.inside.into_inner() {
            faults.push((inside::place(text, value.span, &value.value, at), message, help));
        }
        (told(faults), told(self.notes.into_inner()))
    }
}

/// A line with the `hidden` columns replaced by `…`, and the marks under what `span` covers of it.
fn mark(line: &str, span: Span, mut hidden: Vec<(usize, usize)>) -> (String, usize, usize) {
    hidden.extend(user_info(line));
    hidden.extend(comment(line));
    hidden.extend(anchors(line));
    let (from, to) = span.on(span.line).unwrap_or((span.column, span.column + 1));
    let (mut shown, mut width, mut skip, mut len) = (String::new(), 0, None, 0);
    let mut skip_until = 0;
    for (column, c) in (1..).zip(line.trim_end().chars()).take_while(|(column, _)| *column <= MAX_EXCERPT) {
        if column < skip_until {
            continue;
        }
        if (from..to).contains(&column) {
            skip.get_or_insert(width);
            len += 1;
        }
        width += 1;
        match hidden.iter().find(|(from, to)| (*from..*to).contains(&column)) {
            Some((_, to)) => {
                skip_until = *to;
                shown.push('…');
            }
            // A tab or an escape sequence must not shift or colour what is printed.
            None => shown.push(if c.is_control() { ' ' } else { c }),
        }
    }
    (shown, skip.unwrap_or(width), len.max(1))
}

/// The columns of a comment, which may be a setting that was put aside with its secret.
fn comment(line: &str) -> Option<(usize, usize)> {
    let mut before = ' ';
    let mut quotes = 0;
    for (column, c) in (1..).zip(line.chars()) {
        if c == '#' && before.is_whitespace() && quotes % 2 == 0 {
            return Some((column + 1, usize::MAX));
        }
        quotes += usize::from(matches!(c, '"' | '\''));
        before = c;
    }
    None
}

/// The columns of the names of anchors: a secret that begins with `&` and has no quotes is one.
fn anchors(line: &str) -> Vec<(usize, usize)> {
    let chars: Vec<char> = line.chars().collect();
    let starts = (1..).zip(&chars).filter(|(_, c)| **c == '&').map(|(column, _)| column);
    let end = |from: usize| {
        chars.iter().skip(from).take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}')).count()
    };
    starts.map(|column| (column + 1, column + 1 + end(column))).filter(|(from, to)| from < to).collect()
}

/// The columns of the user and password of the URL in a line.
fn user_info(line: &str) -> Option<(usize, usize)> {
    let start = line.find("://")? + 3;
    let rest = line.get(start..)?;
    let authority = rest.find(['/', '"', '\'', ' ', '?']).unwrap_or(rest.len());
    let user = rest.get(..authority)?.rfind('@')?;
    let from = line.get(..start)?.chars().count() + 1;
    Some((from, from + rest.get(..user)?.chars().count()))
}

/// What may be shown of a line of a file that does not parse: without a tree only the key tells whether the value may.
fn unparsed(line: &str) -> String {
    let start = line.find(|c: char| !c.is_whitespace() && c != '-').unwrap_or(line.len());
    let word: String = line[start..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let end = start + word.len();
    let rest = &line[end..];
    let flow = rest.trim_start_matches([':', ' ']).strip_prefix("{{").unwrap_or(rest).contains(['{', '[']);
    // A colon that ends a key has a blank behind it; else it is part of a text, in which whatever may stand.
    let ends_key = |at: usize| rest[at + 1..].chars().next().is_none_or(char::is_whitespace);
    let keys = rest.match_indices(':').filter(|(at, _)| ends_key(*at)).count();
    let is_key = rest.is_empty() || (rest.trim_start().starts_with(':') && rest.find(':').is_some_and(ends_key));
    // A second key on the line is one that ran into it.
    if shape::is_public(&word) && is_key && !flow && keys < 2 {
        return line.to_owned();
    }
    match line[end..].strip_prefix(':') {
        Some(rest) if rest.trim().is_empty() => line.to_owned(),
        Some(_) => format!("{} …", &line[..=end]),
        None if line[start..].trim().is_empty() => line.to_owned(),
        None => format!("{}…", &line[..start]),
    }
}
