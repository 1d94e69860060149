//! A rule as it was written: a tree of conditions and operands, each with its place in the text. Out again: the same rule in one
//! spelling, from which the same tree is read (`Display`). It knows no types and no facts.

use std::fmt::{self, Display, Formatter, Write};
use std::net::IpAddr;
use std::ops::Range;

use super::field::Field;
use super::net::{Mac, Net};

/// A part of a rule.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it stands: bytes of the text.
    pub(super) at: Range<usize>,
    pub(super) kind: Kind,
}

/// Two nodes are one when they say the same, wherever they stand.
impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.kind == other.kind
    }
}

/// What a part of a rule is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// `a or b or c`.
    Any(Vec<Node>),
    /// `a and b and c`.
    All(Vec<Node>),
    /// `not a`.
    Not(Box<Node>),
    /// `a == b`.
    Compare(Box<Node>, Op, Box<Node>),
    /// `name(a, b)`: a function, or a macro before it is put in place.
    Call(String, Vec<Node>),
    /// `http.req.method`.
    Field(Field),
    /// `500`, `"text"`, `10.0.0.0/8`, `/regex/`.
    Literal(Literal),
    /// `[a, b]`.
    Array(Vec<Node>),
    /// A macro that has a fault of its own, told there.
    Broken,
}

/// What stands between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Contains,
    Matches,
    In,
}

impl Op {
    /// As it is printed.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Op::Eq => "==",
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::Contains => "contains",
            Op::Matches => "matches",
            Op::In => "in",
        }
    }
}

/// A value that stands in the rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Int(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    Ip(IpAddr),
    Net(Net),
    Mac(Mac),
    /// The source of a regex, `\/` already as `/`, and its flags.
    Pattern(String, String),
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Any(parts) => joined(parts, " or ", f),
            Kind::All(parts) => joined(parts, " and ", f),
            Kind::Not(inner) => {
                f.write_str("not ")?;
                inner.grouped(f)
            }
            Kind::Compare(left, op, right) => {
                left.operand(f)?;
                write!(f, " {} ", op.sign())?;
                right.operand(f)
            }
            Kind::Call(name, arguments) => {
                write!(f, "{name}(")?;
                listed(arguments, f)?;
                f.write_char(')')
            }
            Kind::Field(field) => field.fmt(f),
            Kind::Literal(literal) => literal.fmt(f),
            Kind::Array(items) => {
                f.write_char('[')?;
                listed(items, f)?;
                f.write_char(']')
            }
            Kind::Broken => f.write_str("false"),
        }
    }
}

impl Node {
    /// In parentheses where it would fall apart without.
    fn grouped(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Any(_) | Kind::All(_) => write!(f, "({self})"),
            _ => self.fmt(f),
        }
    }

    /// As an operand of a comparison.
    fn operand(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Any(_) | Kind::All(_) | Kind::Not(_) | Kind::Compare(..) => write!(f, "({self})"),
            _ => self.fmt(f),
        }
    }
}

fn joined(parts: &[Node], between: &str, f: &mut Formatter<'_>) -> fmt::Result {
    for (nth, part) in parts.iter().enumerate() {
        if nth > 0 {
            f.write_str(between)?;
        }
        part.grouped(f)?;
    }
    Ok(())
}

fn listed(items: &[Node], f: &mut Formatter<'_>) -> fmt::Result {
    for (nth, item) in items.iter().enumerate() {
        if nth > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Int(int) => int.fmt(f),
            // Debug keeps the point that tells it from a whole number.
            Literal::Float(float) => write!(f, "{float:?}"),
            Literal::Flag(flag) => flag.fmt(f),
            Literal::Text(text) => quoted(text, f),
            Literal::Ip(ip) => ip.fmt(f),
            Literal::Net(net) => net.fmt(f),
            Literal::Mac(mac) => mac.fmt(f),
            Literal::Pattern(source, flags) => write!(f, "/{}/{flags}", slashed(source)),
        }
    }
}

/// Looks at every node of a tree.
pub(super) fn walk<'n>(node: &'n Node, look: &mut impl FnMut(&'n Node)) {
    look(node);
    children(node).for_each(|child| walk(child, look));
}

/// The nodes right below a node.
pub(super) fn children(node: &Node) -> impl Iterator<Item = &Node> {
    let (list, pair): (&[Node], [Option<&Node>; 2]) = match &node.kind {
        Kind::Any(nodes) | Kind::All(nodes) | Kind::Array(nodes) | Kind::Call(_, nodes) => (nodes, [None, None]),
        Kind::Not(inner) => (&[], [Some(inner), None]),
        Kind::Compare(left, _, right) => (&[], [Some(left), Some(right)]),
        Kind::Field(_) | Kind::Literal(_) | Kind::Broken => (&[], [None, None]),
    };
    list.iter().chain(pair.into_iter().flatten())
}

/// A text in quotes.
pub(super) fn quoted(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// The source of a regex between slashes: a slash that is not escaped would end it.
fn slashed(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut escaped = false;
    for c in source.chars() {
        if c == '/' && !escaped {
            out.push('\\');
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}
