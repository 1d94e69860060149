//! A rule as written: a tree of conditions and operands, each with its position in the text. Printing it (`Display`) gives the rule in a
//! canonical spelling that parses to the same tree. This module knows no types and no facts.

use std::fmt::{self, Display, Formatter, Write};
use std::net::IpAddr;
use std::ops::Range;

use super::field::Field;
use super::net::{Mac, Net};

/// A node of a rule's tree.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Position: a byte range of the text.
    pub(super) at: Range<usize>,
    pub(super) kind: Kind,
}

/// Nodes are equal when their contents are equal, whatever their positions.
impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.kind == other.kind
    }
}

/// The kind of a node.
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
    /// `name(a, b)`: a function, or a macro that is not expanded yet.
    Call(String, Vec<Node>),
    /// `http.req.method`.
    Field(Field),
    /// `500`, `"text"`, `10.0.0.0/8`, `/regex/`.
    Literal(Literal),
    /// `[a, b]`.
    Array(Vec<Node>),
    /// A call of a faulty macro, whose fault was already reported.
    Broken,
}

/// An operator between two operands.
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
    /// The operator as printed.
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

/// A literal value in a rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Int(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    Ip(IpAddr),
    Net(Net),
    Mac(Mac),
    /// The source of a regex, with `\/` already replaced by `/`, and its flags.
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
    /// Prints the node in parentheses if its precedence requires them.
    fn grouped(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Any(_) | Kind::All(_) => write!(f, "({self})"),
            _ => self.fmt(f),
        }
    }

    /// Prints the node as an operand of a comparison.
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
            // `Debug` keeps the decimal point that distinguishes it from an integer.
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

/// Visits every node of a tree.
pub(super) fn walk<'n>(node: &'n Node, look: &mut impl FnMut(&'n Node)) {
    look(node);
    children(node).for_each(|child| walk(child, look));
}

/// The direct children of a node.
pub(super) fn children(node: &Node) -> impl Iterator<Item = &Node> {
    let (list, pair): (&[Node], [Option<&Node>; 2]) = match &node.kind {
        Kind::Any(nodes) | Kind::All(nodes) | Kind::Array(nodes) | Kind::Call(_, nodes) => (nodes, [None, None]),
        Kind::Not(inner) => (&[], [Some(inner), None]),
        Kind::Compare(left, _, right) => (&[], [Some(left), Some(right)]),
        Kind::Field(_) | Kind::Literal(_) | Kind::Broken => (&[], [None, None]),
    };
    list.iter().chain(pair.into_iter().flatten())
}

/// Prints a text in quotes.
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

/// The source of a regex for use between slashes: unescaped slashes are escaped, because they would end it.
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
