//! Findings about a settings file: faults, which refuse it, and notes, which don't; each with its place, the line itself and the
//! correction. In: findings as they are made, in any order. Out: text, in file order.
//! Never shows a secret: in a quoted line, every value that was not read as public is hidden.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::Range;

use super::fields::At;
use super::inside;
use super::place::{Malformed, Span, lines};
use super::shape;
use super::yaml::Node;

/// Maximum number of faults shown; the rest is counted.
const MAX_SHOWN: usize = 50;

/// Maximum number of characters of a line shown.
const MAX_EXCERPT: usize = 160;

/// One finding about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name, as given.
    pub file: String,
    /// Line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What the finding is.
    pub message: String,
    /// The correction; may be empty.
    pub help: String,
    /// The line, its secrets hidden, and the marks under it (characters to skip, characters to mark).
    excerpt: Option<(String, usize, usize)>,
}

/// Something worth knowing about a file that is accepted all the same.
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
    /// A fault of the file as a whole: missing, too large, not text.
    pub(crate) fn whole(file: &str, message: impl Into<String>, help: impl Into<String>) -> Faults {
        Faults::at(file, 0, 0, message, help)
    }

    /// The only fault of a file whose text can't be quoted.
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

    /// The only fault of a text that is not valid YAML.
    pub(crate) fn malformed(file: &str, text: &str, at: Malformed) -> Faults {
        let lines = lines(text);
        let line = lines.get(at.span.line.saturating_sub(1));
        // A parser that fails on an unprintable character counts bytes, not characters; and no column may lie beyond the line's end.
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

/// The column of the first character that is not printable by YAML (YAML 1.2.2, §5.1).
fn unprintable(line: &str) -> Option<usize> {
    let prints = |c: char| matches!(c, '\t' | '\u{20}'..='\u{7e}' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    line.chars().position(|c| !prints(c)).map(|at| at + 1)
}

/// Collects findings while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    faults: RefCell<Vec<(Span, String, String)>>,
    notes: RefCell<Vec<(Span, String, String)>>,
    public: RefCell<Vec<Span>>,
    /// Faults inside a value: the value with its place, and which bytes of it.
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

    /// A fault at some bytes of a value; their place in the file is computed when the fault is reported.
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

    /// Marks a value as showable. A value that spans several lines never is: the next line may belong to another value.
    pub(crate) fn show(&self, at: Span) {
        if at.line == at.last_line {
            self.public.borrow_mut().push(at);
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.borrow().is_empty() && self.inside.borrow().is_empty()
    }

    /// Renders faults and notes, in file order.
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

/// A line with the `hidden` columns replaced by `…`, and the position of the marks for the part of it that `span` covers.
fn mark(line: &str, span: Span, mut hidden: Vec<(usize, usize)>) -> (String, usize, usize) {
    hidden.extend(user_info(line));
    hidden.extend(queries(line));
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
            // A tab or an escape sequence must not shift or colour the output.
            None => shown.push(if c.is_control() { ' ' } else { c }),
        }
    }
    (shown, skip.unwrap_or(width), len.max(1))
}

/// The columns of a comment, which may be a commented-out setting with its secret.
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

/// The columns of anchor names: an unquoted secret that begins with `&` reads as an anchor.
fn anchors(line: &str) -> Vec<(usize, usize)> {
    let chars: Vec<char> = line.chars().collect();
    let starts = (1..).zip(&chars).filter(|(_, c)| **c == '&').map(|(column, _)| column);
    let end = |from: usize| {
        chars.iter().skip(from).take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}')).count()
    };
    starts.map(|column| (column + 1, column + 1 + end(column))).filter(|(from, to)| from < to).collect()
}

/// The columns of the user and password of the first URL in a line; a password may hold what ends a host elsewhere.
fn user_info(line: &str) -> Option<(usize, usize)> {
    let start = line.find("://")? + 3;
    let rest = line.get(start..)?;
    let end = rest.find(['"', '\'', ' ']).unwrap_or(rest.len());
    let user = rest.get(..end)?.rfind('@')?;
    let from = line.get(..start)?.chars().count() + 1;
    Some((from, from + rest.get(..user)?.chars().count()))
}

/// The columns of what the queries and fragments of the URLs in a line hold, and of those of an endpoint without a scheme: a key, perhaps.
fn queries(line: &str) -> Vec<(usize, usize)> {
    let ends_url = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | '}' | ']');
    let (mut found, mut url, mut value, mut before) = (Vec::new(), false, None, String::new());
    for (column, c) in (1..).zip(line.chars().chain([' '])) {
        if let Some(from) = value
            && (ends_url(c) || matches!(c, '&' | '#'))
        {
            found.push((from, column));
            value = None;
        }
        match c {
            _ if ends_url(c) => url = false,
            '?' | '&' | '#' if url || is_address(&before) => {
                (url, value) = (true, Some(column + 1));
            }
            '=' if url && value.is_some() => value = Some(column + 1),
            _ => {}
        }
        before.push(c);
    }
    found.retain(|(from, to)| from < to);
    found
}

/// True for the beginning of a line that ends in an address: a URL, or an endpoint without a scheme.
fn is_address(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '{' | '[')).next();
    word.is_some_and(|word| word.contains("://") || (!word.is_empty() && before.contains("endpoint:")))
}

/// What may be shown of a line of a file that does not parse: without a tree, only the key decides whether its value may be shown.
fn unparsed(line: &str) -> String {
    let start = line.find(|c: char| !c.is_whitespace() && c != '-').unwrap_or(line.len());
    let word: String = line[start..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let end = start + word.len();
    let rest = &line[end..];
    let flow = rest.trim_start_matches([':', ' ']).strip_prefix("{{").unwrap_or(rest).contains(['{', '[']);
    // The colon that ends a key is followed by white space; any other is part of a text, which may hold anything.
    let ends_key = |at: usize| rest[at + 1..].chars().next().is_none_or(char::is_whitespace);
    let keys = rest.match_indices(':').filter(|(at, _)| ends_key(*at)).count();
    let is_key = rest.is_empty() || (rest.trim_start().starts_with(':') && rest.find(':').is_some_and(ends_key));
    // A second key on the line means that another setting ran into this one.
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
