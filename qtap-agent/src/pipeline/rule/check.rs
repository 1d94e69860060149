//! Type-checks and compiles a rule. In: a tree with macros expanded. Out: the compiled condition, or the first comparison that can
//! never hold, with a suggestion of what was meant.

use std::ops::Range;

use memchr::memmem;
use regex::{Regex, RegexBuilder};

use super::ast::{Kind, Literal, Node, Op};
use super::cond::{Cond, Order, Source, Test};
use super::field::Type;
use super::outcome::Outcomes;
use super::words::{known_word, words};
use super::zone::{ZONES, Zone};
use super::{Facts, RuleFault};
use crate::model::conn::Protocol;
use crate::model::exchange::HttpExchange;
use crate::model::near::nearest;

/// Maximum bytes of a compiled regex, and of its run-time cache.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Functions and their signatures.
pub(super) const FUNCTIONS: [(&str, &str); 4] = [
    ("starts_with", "starts_with(FIELD, \"text\")"),
    ("ends_with", "ends_with(FIELD, \"text\")"),
    ("zone", "zone(ADDRESS)"),
    ("in_zone", "in_zone(ADDRESS, \"private\")"),
];

/// Checks that a macro is a condition or a value.
///
/// # Errors
/// It is neither.
pub(super) fn part(node: &Node) -> Result<(), RuleFault> {
    match &node.kind {
        Kind::Array(items) => items.iter().try_for_each(|item| constant(item).map(|_| ())),
        Kind::Literal(Literal::Pattern(..)) => pattern(node).map(|_| ()),
        Kind::Field(_) | Kind::Literal(_) => Ok(()),
        Kind::Call(name, _) if name == "zone" => source(node).map(|_| ()),
        _ => condition(node).map(|_| ()),
    }
}

/// Compiles a tree as a condition.
///
/// # Errors
/// The first fault in it.
pub(super) fn condition(node: &Node) -> Result<Cond, RuleFault> {
    match &node.kind {
        Kind::Any(parts) => Ok(several(parts, Outcomes::TRUE, Outcomes::FALSE)?.map_or_else(|only| only, Cond::Any)),
        Kind::All(parts) => Ok(several(parts, Outcomes::FALSE, Outcomes::TRUE)?.map_or_else(|only| only, Cond::All)),
        Kind::Not(inner) => Ok(match condition(inner)? {
            Cond::Const(outcomes) => Cond::Const(outcomes.not()),
            cond => Cond::Not(Box::new(cond)),
        }),
        Kind::Compare(left, op, right) => compare(left, *op, right),
        Kind::Call(name, arguments) => call(name, arguments, node),
        Kind::Field(field) => match field.takes() {
            Type::Flag => Ok(Cond::Test(Test::Flag(field.clone()))),
            Type::List => Err(RuleFault::new(
                node.at.clone(),
                format!("`{field}` is a list"),
                format!("e.g. `{field} contains \"a\"`"),
            )),
            Type::Number | Type::Text | Type::Free | Type::Ip => Ok(Cond::Test(Test::Present(field.clone()))),
        },
        Kind::Literal(Literal::Flag(flag)) => Ok(Cond::Const(Outcomes::of(Some(*flag)))),
        Kind::Literal(_) | Kind::Array(_) => {
            let message = format!("{} alone is no condition", words(node));
            Err(RuleFault::new(node.at.clone(), message, "compare a field with it, e.g. `http.res.status == 500`"))
        }
        Kind::Broken => Ok(Cond::Const(Outcomes::MISSING)),
    }
}

/// The parts of an `or` or `and`: `ends` decides the whole, `idle` has no effect. Returns the remaining parts, or a single equivalent condition.
fn several(parts: &[Node], ends: Outcomes, idle: Outcomes) -> Result<Result<Box<[Cond]>, Cond>, RuleFault> {
    let mut conds = Vec::with_capacity(parts.len());
    for part in parts {
        conds.push(condition(part)?);
    }
    if conds.iter().any(|cond| matches!(cond, Cond::Const(outcomes) if *outcomes == ends)) {
        return Ok(Err(Cond::Const(ends)));
    }
    conds.retain(|cond| !matches!(cond, Cond::Const(outcomes) if *outcomes == idle));
    // The result does not depend on the order, and a cheap part may decide it.
    conds.sort_by_key(Cond::cost);
    Ok(match conds.len() {
        0 => Err(Cond::Const(idle)),
        1 => Err(conds.pop().unwrap_or(Cond::Const(idle))),
        _ => Ok(conds.into()),
    })
}

/// Evaluates tests that use no field.
fn folded(test: Test) -> Cond {
    if !test.is_constant() {
        return Cond::Test(test);
    }
    let nothing = HttpExchange {
        protocol: Protocol::Unknown,
        ordinal: 0,
        outgoing: false,
        pid: 0,
        request: None,
        response: None,
        incomplete: None,
        part: None,
    };
    Cond::Const(test.outcomes(&Facts::of(&nothing)))
}

fn compare(left: &Node, op: Op, right: &Node) -> Result<Cond, RuleFault> {
    if left.kind == Kind::Broken || right.kind == Kind::Broken {
        return Ok(Cond::Const(Outcomes::MISSING));
    }
    let order = match op {
        Op::Eq => Order::Eq,
        Op::Ne => Order::Ne,
        Op::Lt => Order::Lt,
        Op::Le => Order::Le,
        Op::Gt => Order::Gt,
        Op::Ge => Order::Ge,
        Op::Contains => return contains(left, right),
        Op::Matches => return matches(left, right),
        Op::In => return is_in(left, right),
    };
    let (a, b) = (source(left)?, source(right)?);
    let (ta, tb) = (takes(&a, left)?, takes(&b, right)?);
    comparable(left, ta, right, tb)?;
    let has_no_order = [(left, ta), (right, tb)].into_iter().find(|(_, takes)| !has_order(*takes));
    if let (Some((node, _)), false) = (has_no_order, matches!(order, Order::Eq | Order::Ne)) {
        let in_network = "is it in a network? write `in 10.0.0.0/8`";
        let help = if ta == Takes::Type(Type::Ip) { in_network } else { "write `==` or `!=`" };
        let message = format!("{} is neither more nor less than another", words(node));
        return Err(RuleFault::new(left.at.start..right.at.end, message, help));
    }
    known_word(left, right)?;
    known_word(right, left)?;
    Ok(folded(Test::Order(a, order, b)))
}

/// The type of a source's values; no field is a hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Type(Type),
    Mac,
}

fn has_order(takes: Takes) -> bool {
    matches!(takes, Takes::Type(Type::Number | Type::Text | Type::Free))
}

fn takes(source: &Source, node: &Node) -> Result<Takes, RuleFault> {
    let of = |literal: &Literal| match literal {
        Literal::Int(_) | Literal::Float(_) => Ok(Takes::Type(Type::Number)),
        Literal::Text(_) => Ok(Takes::Type(Type::Text)),
        Literal::Flag(_) => Ok(Takes::Type(Type::Flag)),
        Literal::Ip(_) => Ok(Takes::Type(Type::Ip)),
        Literal::Mac(_) => Ok(Takes::Mac),
        Literal::Net(_) => Err(RuleFault::new(node.at.clone(), "a network is not one address", "write `in` before it")),
        Literal::Pattern(..) => Err(RuleFault::new(node.at.clone(), "a regex is no text", "write `matches` before it")),
    };
    match source {
        Source::Field(field) => Ok(Takes::Type(field.takes())),
        Source::Zone(_) => Ok(Takes::Type(Type::Text)),
        Source::Const(literal) => of(literal),
    }
}

/// Checks that the two can be equal at all.
fn comparable(left: &Node, a: Takes, right: &Node, b: Takes) -> Result<(), RuleFault> {
    let free = Takes::Type(Type::Free);
    let text = Takes::Type(Type::Text);
    let fits = |a: Takes, b: Takes| {
        (a == b && a != Takes::Type(Type::List))
            || (a == free && (b == text || matches!(b, Takes::Mac | Takes::Type(Type::Number | Type::Ip))))
    };
    if fits(a, b) || fits(b, a) {
        return Ok(());
    }
    let at = left.at.start..right.at.end;
    let message = format!("{} never equals {}", words(left), words(right));
    Err(RuleFault::new(at, message, mend(left, a, right, b)))
}

/// Suggests what was probably meant.
fn mend(left: &Node, a: Takes, right: &Node, b: Takes) -> String {
    let list = Takes::Type(Type::List);
    match (&left.kind, &right.kind) {
        (_, Kind::Literal(Literal::Text(text))) if a == list => format!("write `contains \"{text}\"`"),
        _ if a == list || b == list => "a list `contains` a text".to_owned(),
        (Kind::Field(_), Kind::Literal(Literal::Text(text))) | (Kind::Literal(Literal::Text(text)), Kind::Field(_))
            if super::is_literal(text) =>
        {
            format!("write `{text}` without quotes")
        }
        (Kind::Field(_), Kind::Literal(literal)) if a == Takes::Type(Type::Text) => {
            format!("write `\"{literal}\"`, in quotes")
        }
        (Kind::Field(field), _) => format!("`{field}` is {}", field.takes().words()),
        (_, Kind::Field(field)) => format!("`{field}` is {}", field.takes().words()),
        _ => "both sides are of one type".to_owned(),
    }
}

fn contains(left: &Node, right: &Node) -> Result<Cond, RuleFault> {
    if matches!(left.kind, Kind::Array(_) | Kind::Literal(Literal::Net(_))) {
        return is_in(right, left);
    }
    let (a, b) = (text(left, true)?, text(right, false)?);
    let is_list = takes(&a, left)? == Takes::Type(Type::List);
    Ok(folded(match &b {
        Source::Const(Literal::Text(text)) if !is_list => {
            Test::Holds(a, Box::new(memmem::Finder::new(text).into_owned()))
        }
        _ => Test::Contains(a, b),
    }))
}

/// A source of one text or, with `list`, of several.
fn text(node: &Node, list: bool) -> Result<Source, RuleFault> {
    let source = source(node)?;
    match takes(&source, node)? {
        Takes::Type(Type::Text | Type::Free) => Ok(source),
        Takes::Type(Type::List) if list => Ok(source),
        Takes::Type(Type::Number | Type::Flag | Type::Ip | Type::List) | Takes::Mac => {
            let help =
                if list { "this asks for text; numbers are compared with `==` or `in`" } else { "write it in quotes" };
            Err(RuleFault::new(node.at.clone(), format!("{} is no text", words(node)), help))
        }
    }
}

fn matches(left: &Node, right: &Node) -> Result<Cond, RuleFault> {
    let source = text(left, true)?;
    Ok(folded(Test::Matches(source, Box::new(pattern(right)?))))
}

/// Compiles a regex literal.
fn pattern(node: &Node) -> Result<Regex, RuleFault> {
    let (source, flags) = match &node.kind {
        Kind::Literal(Literal::Pattern(source, flags)) => (source.as_str(), flags.as_str()),
        Kind::Literal(Literal::Text(source)) => (source.as_str(), ""),
        _ => return Err(RuleFault::new(node.at.clone(), format!("{} is no regex", words(node)), "write `/regex/`")),
    };
    let mut builder = RegexBuilder::new(source);
    builder.size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).nest_limit(64);
    builder.case_insensitive(flags.contains('i')).multi_line(flags.contains('m'));
    builder.dot_matches_new_line(flags.contains('s')).ignore_whitespace(flags.contains('x'));
    builder.build().map_err(|error| {
        let (message, help) = match error {
            regex::Error::CompiledTooBig(_) => ("this regex is too large".to_owned(), "fewer or smaller repetitions"),
            other => {
                let text = other.to_string();
                let reason =
                    text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("unknown syntax");
                (
                    format!("no regex: {reason}"),
                    "the syntax is that of docs.rs/regex: no look-around, no back-references",
                )
            }
        };
        RuleFault::new(node.at.clone(), message, help)
    })
}

fn is_in(left: &Node, right: &Node) -> Result<Cond, RuleFault> {
    let items: Vec<&Node> = match &right.kind {
        Kind::Array(items) => items.iter().collect(),
        Kind::Literal(Literal::Net(_)) => vec![right],
        Kind::Field(field) if field.takes() == Type::List => return contains(right, left),
        Kind::Broken => return Ok(Cond::Const(Outcomes::MISSING)),
        Kind::Literal(Literal::Text(_)) | Kind::Field(_) => {
            return Err(RuleFault::new(
                right.at.clone(),
                "`in` wants an array or a network",
                "a text in a text is `contains`, the other way round",
            ));
        }
        _ => {
            return Err(RuleFault::new(
                right.at.clone(),
                "`in` wants an array or a network",
                "e.g. `[500, 502]` or `10.0.0.0/8`",
            ));
        }
    };
    let source = source(left)?;
    let of = takes(&source, left)?;
    let mut set = Vec::with_capacity(items.len());
    for item in items {
        let literal = constant(item)?;
        if matches!(literal, Literal::Net(_)) {
            if !matches!(of, Takes::Type(Type::Ip | Type::Free)) {
                return Err(RuleFault::new(
                    item.at.clone(),
                    format!("{} is in no network", words(left)),
                    "an IP address is",
                ));
            }
        } else {
            comparable(left, of, item, takes(&Source::Const(literal.clone()), item)?)?;
            known_word(left, item)?;
        }
        set.push(literal);
    }
    Ok(folded(Test::In(source, set.into())))
}

/// A literal value in an array.
fn constant(node: &Node) -> Result<Literal, RuleFault> {
    match &node.kind {
        Kind::Literal(Literal::Pattern(..)) => {
            Err(RuleFault::new(node.at.clone(), "a regex in an array", "write `matches /a|b/`"))
        }
        Kind::Literal(literal) => Ok(canonical(literal)),
        _ => Err(RuleFault::new(node.at.clone(), "only values stand in an array", "e.g. `[500, 502]`")),
    }
}

/// Converts an IPv4-mapped address to the IPv4 address.
fn canonical(literal: &Literal) -> Literal {
    match literal {
        Literal::Ip(ip) => Literal::Ip(ip.to_canonical()),
        other => other.clone(),
    }
}

/// The source of an operand's value.
fn source(node: &Node) -> Result<Source, RuleFault> {
    match &node.kind {
        Kind::Field(field) => Ok(Source::Field(field.clone())),
        Kind::Literal(literal) => Ok(Source::Const(canonical(literal))),
        Kind::Call(name, arguments) if name == "zone" => zone(arguments, node),
        Kind::Array(_) => Err(RuleFault::new(node.at.clone(), "an array is not one value", "write `in` before it")),
        Kind::Broken => Ok(Source::Const(Literal::Flag(false))),
        Kind::Any(_) | Kind::All(_) | Kind::Not(_) | Kind::Compare(..) | Kind::Call(..) => Err(RuleFault::new(
            node.at.clone(),
            "a condition is no value to compare",
            "join conditions with `and` or `or`",
        )),
    }
}

fn arguments<'n, const N: usize>(name: &str, given: &'n [Node], at: &Range<usize>) -> Result<[&'n Node; N], RuleFault> {
    let all: Vec<&Node> = given.iter().collect();
    all.try_into().map_err(|_| {
        let usage = FUNCTIONS.iter().find(|(known, _)| *known == name).map_or("", |(_, usage)| usage);
        let s = if N == 1 { "" } else { "s" };
        RuleFault::new(
            at.clone(),
            format!("`{name}()` takes {N} value{s}, not {}", given.len()),
            format!("write `{usage}`"),
        )
    })
}

/// `zone(address)`.
fn zone(given: &[Node], node: &Node) -> Result<Source, RuleFault> {
    let [of] = arguments("zone", given, &node.at)?;
    match (&of.kind, address(of)?) {
        (Kind::Literal(Literal::Ip(ip)), _) => Ok(Source::Const(Literal::Text(Zone::of(*ip).name().to_owned()))),
        (_, Source::Field(field)) => Ok(Source::Zone(field)),
        (_, other) => Ok(other),
    }
}

/// A source of addresses.
fn address(node: &Node) -> Result<Source, RuleFault> {
    let source = source(node)?;
    let fits = matches!(takes(&source, node), Ok(Takes::Type(Type::Ip | Type::Free)));
    let literal_text = matches!(source, Source::Const(Literal::Text(_)) | Source::Zone(_));
    if fits && !literal_text {
        return Ok(source);
    }
    Err(RuleFault::new(node.at.clone(), format!("{} is no address", words(node)), "e.g. `src.ip`, `dst.ip`"))
}

fn call(name: &str, given: &[Node], node: &Node) -> Result<Cond, RuleFault> {
    match name {
        "starts_with" | "ends_with" => {
            let [subject, piece] = arguments(name, given, &node.at)?;
            let (subject, piece) = (text(subject, true)?, text(piece, false)?);
            let make = if name == "starts_with" { Test::StartsWith } else { Test::EndsWith };
            Ok(folded(make(subject, piece)))
        }
        "in_zone" => {
            let [of, zones] = arguments(name, given, &node.at)?;
            let source = address(of)?;
            let names: Vec<&Node> = match &zones.kind {
                Kind::Array(items) => items.iter().collect(),
                _ => vec![zones],
            };
            let zones: Result<Vec<Zone>, RuleFault> = names.into_iter().map(zone_name).collect();
            Ok(folded(Test::InZone(source, zones?.into())))
        }
        "zone" => {
            source(node)?;
            Err(RuleFault::new(
                node.at.clone(),
                "`zone()` alone is no condition",
                "write `zone(src.ip) == \"private\"`",
            ))
        }
        // Calls of macros were expanded or refused earlier.
        _ => Err(RuleFault::new(node.at.clone(), format!("there is no function `{name}()`"), "")),
    }
}

fn zone_name(node: &Node) -> Result<Zone, RuleFault> {
    let name = match &node.kind {
        Kind::Literal(Literal::Text(name)) => name.as_str(),
        _ => return Err(RuleFault::new(node.at.clone(), "the name of a zone is a text", "e.g. `\"private\"`")),
    };
    Zone::named(name).ok_or_else(|| {
        let near = nearest(name, ZONES.iter().map(|(name, _)| *name)).map(|near| format!("did you mean `{near}`? "));
        let all = ZONES.map(|(name, _)| name).join(", ");
        RuleFault::new(
            node.at.clone(),
            format!("there is no zone `{name}`"),
            format!("{}zones: {all}", near.unwrap_or_default()),
        )
    })
}
