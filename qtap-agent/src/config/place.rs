//! The place of every value of a YAML document, as reported by `saphyr-parser`. In: text. Out: a tree of places with the
//! document's shape. Never the type of a value: that comes from the other parser, in `yaml`.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScanError, Span as Extent, Tag};

/// Maximum nesting depth of a file; the deepest of qtap's own keys is at level ten.
const MAX_DEPTH: usize = 64;

/// A place in the text: lines, and columns in characters, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The line that the span ends on.
    pub(crate) last_line: usize,
    /// The column after its end.
    pub(crate) end: usize,
}

impl Span {
    /// A span within one line.
    pub(crate) fn within(line: usize, column: usize, len: usize) -> Span {
        Span { line, column, last_line: line, end: column + len }
    }

    /// The columns of `line` that the span covers, the second exclusive; `None` when it covers none.
    pub(crate) fn on(self, line: usize) -> Option<(usize, usize)> {
        if line < self.line || line > self.last_line {
            return None;
        }
        let from = if line == self.line { self.column } else { 1 };
        let to = if line == self.last_line { self.end } else { usize::MAX };
        (from < to).then_some((from, to))
    }
}

/// Why a text is not a single YAML document, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

impl Malformed {
    pub(crate) fn new(span: Span, message: impl Into<String>, help: &'static str) -> Malformed {
        Malformed { span, message: message.into(), help }
    }
}

/// A node's place, and the places below it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) span: Span,
    pub(crate) form: Form,
}

/// The form of a node.
#[derive(Debug)]
pub(crate) enum Form {
    /// The text as written, without quotes.
    Scalar(String),
    /// A list.
    List(Vec<Rc<Place>>),
    /// Keys and values in file order; a key may appear twice.
    Map(Vec<(Rc<Place>, Rc<Place>)>),
}

/// The places of the single document in `text`; `None` for an empty text.
pub(crate) fn read(text: &str) -> Result<Option<Rc<Place>>, Malformed> {
    let mut builder = Builder::default();
    for item in Parser::new_from_str(text) {
        let (event, extent) =
            item.map_err(|error| tab(text).or_else(|| braces(text, &error)).unwrap_or_else(|| unreadable(&error)))?;
        builder.take(event, span_of(extent))?;
    }
    Ok(builder.root)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Place>>,
    root: Option<Rc<Place>>,
    documents: usize,
}

/// A list or map whose end has not been reached.
struct Open {
    span: Span,
    anchor: usize,
    is_map: bool,
    children: Vec<Rc<Place>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Malformed> {
        match event {
            Event::Scalar(text, _, anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                self.put(Rc::new(Place { span, form: Form::Scalar(text.into_owned()) }), anchor);
            }
            Event::SequenceStart(anchor, tag) => self.enter(span, anchor, tag.as_deref(), false)?,
            Event::MappingStart(anchor, tag) => self.enter(span, anchor, tag.as_deref(), true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let anchor = open.anchor;
                    self.put(Rc::new(open.close()), anchor);
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).map(Rc::clone) {
                Some(place) => self.put(place, 0),
                None => {
                    return Err(Malformed::new(
                        span,
                        "this alias stands inside the value it names",
                        "name a finished value",
                    ));
                }
            },
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Malformed::new(
                        span,
                        "a second YAML document begins here",
                        "keep one document in the file",
                    ));
                }
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(())
    }

    fn enter(&mut self, span: Span, anchor: usize, tag: Option<&Tag>, is_map: bool) -> Result<(), Malformed> {
        refuse_tag(tag, span)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(Malformed::new(span, "nested too deep", "no key of qtap's stands that deep"));
        }
        self.open.push(Open { span, anchor, is_map, children: Vec::new() });
        Ok(())
    }

    fn put(&mut self, place: Rc<Place>, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&place));
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(place),
            None => self.root = Some(place),
        }
    }
}

impl Open {
    fn close(self) -> Place {
        if !self.is_map {
            return Place { span: self.span, form: Form::List(self.children) };
        }
        let mut pairs = Vec::with_capacity(self.children.len() / 2);
        let mut children = self.children.into_iter();
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            pairs.push((key, value));
        }
        Place { span: self.span, form: Form::Map(pairs) }
    }
}

/// Refuses custom tags (`!secret x`), which would otherwise be read and ignored.
fn refuse_tag(tag: Option<&Tag>, span: Span) -> Result<(), Malformed> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Malformed::new(span, "a YAML tag (`!…`) has no meaning here", "write the value without it"))
        }
        _ => Ok(()),
    }
}

fn span_of(extent: Extent) -> Span {
    let (start, end) = (extent.start, extent.end);
    Span { line: start.line(), column: start.col() + 1, last_line: end.line(), end: end.col() + 1 }
}

/// The usual causes of the parser's errors, in terms that help to fix the file.
const CAUSES: &[(&str, &str, &str)] = &[
    (
        "mapping values are not allowed",
        "a `:` cannot stand here",
        "indent this line like its neighbours, look for a missing `:` above, or quote text that holds `: `",
    ),
    ("did not find expected key", "the indentation fits no line above", "indent it like the lines it belongs with"),
    (
        "invalid indentation in quoted scalar",
        "a quote opens here and is not closed",
        "close the quote on the same line",
    ),
    ("unexpected end of stream", "a quote opens here and is not closed", "close the quote on the same line"),
    ("illegal placement of ':'", "a `[` or `{` above is not closed", "close it before this line"),
    (
        "did not find expected ',' or",
        "a `[` or `{` above is not closed",
        "close it before this line, or put a `,` between its items",
    ),
    ("unknown anchor", "this alias names nothing", "write `&NAME` before the value it stands for"),
    ("unexpected character", "no value can begin with this character", "put the value in quotes"),
    ("recursion limit", "nested too deep", "no key of qtap's stands that deep"),
    ("invalid trailing content", "text goes on after a closing quote", "quote the whole value"),
    (
        "simple key expect ':'",
        "a `:` is missing above",
        "write `KEY: VALUE`, or `KEY:` and below it what belongs to it, indented further",
    ),
    ("found unprintable character", "a character that no text has", "delete it"),
    (
        "did not find expected '-' indicator",
        "this does not go on the list above",
        "begin each item with `- `, and indent it like the others",
    ),
    (
        "block sequence entries are not allowed",
        "a list cannot begin here",
        "begin its first item in a line of its own, or write `[…]`",
    ),
    ("misplaced bracket", "a `]` or `}` that nothing opened", "delete it, or open it before"),
    (
        "comments must be separated",
        "a `#` right behind a value",
        "put a space before the comment, or the value in quotes",
    ),
    ("comment intercepting", "a comment stands inside a value of several lines", "move it, or look for a missing `:`"),
    ("did not find expected node content", "a value is missing here", "write it, or delete the `,` or the `:`"),
];

/// Help for most other YAML errors.
const LOOK: &str = "look at this line and the one above: indentation, `:` with a space behind it, brackets, quotes";

fn unreadable(error: &ScanError) -> Malformed {
    let span = Span::within(error.marker().line(), error.marker().col() + 1, 1);
    match CAUSES.iter().find(|(words, _, _)| error.info().contains(words)) {
        Some((_, message, help)) => Malformed::new(span, *message, help),
        None => Malformed::new(span, format!("not YAML: {}", error.info()), LOOK),
    }
}

/// The lines of a text as YAML counts them (YAML 1.2 §5.4): a lone carriage return ends one too.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.find(['\n', '\r']).unwrap_or(rest.len()));
        lines.push(line);
        rest = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\n', '\r'])).unwrap_or_default();
    }
    lines
}

/// Finds a character that ends a line in YAML 1.1 but not in 1.2: parsers would count lines differently, and see different values.
pub(crate) fn doubtful_line_end(text: &str) -> Option<Malformed> {
    let doubtful = |c: char| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
    lines(text).into_iter().enumerate().find_map(|(index, line)| {
        let column = line.chars().position(doubtful)? + 1;
        let message = "an invisible character that ends a line for some readers of YAML and not for others";
        Some(Malformed::new(Span::within(index + 1, column, 1), message, "remove it; in a value write `\"\\u2028\"`"))
    })
}

/// Finds a tab in the indentation, which YAML forbids and parsers report elsewhere; searched only in a text that does not parse.
fn tab(text: &str) -> Option<Malformed> {
    lines(text).into_iter().enumerate().find_map(|(index, line)| {
        let indent = line.chars().take_while(|c| matches!(c, ' ' | '\t'));
        let column = indent.clone().position(|c| c == '\t')? + 1;
        let span = Span::within(index + 1, column, indent.count() + 1 - column);
        (!line.trim().is_empty()).then(|| Malformed::new(span, "a tab in the indentation", "indent with spaces"))
    })
}

/// Finds `key: {{ NAME }}:4317` without quotes, which YAML takes for a map in a map.
fn braces(text: &str, error: &ScanError) -> Option<Malformed> {
    let number = error.marker().line();
    let line = lines(text).get(number.checked_sub(1)?).copied()?;
    let before = line.get(..line.find(": {{")?)?;
    let span = Span::within(number, before.chars().count() + 3, 2);
    Some(Malformed::new(span, "a value that begins with `{{` needs quotes", "write `\"{{ NAME }}…\"`, or `${NAME}…`"))
}
