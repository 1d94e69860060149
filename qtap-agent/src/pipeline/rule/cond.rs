//! A compiled rule: fields resolved, values typed, regexes compiled, constants folded. In: facts. Out: the possible outcomes.
//! Evaluation does not allocate, and its recursion is no deeper than the rule's nesting.

use memchr::memmem;
use regex::Regex;

use super::ast::Literal;
use super::facts::{Facts, Scalar, Value};
use super::field::Field;
use super::net::Mac;
use super::outcome::Outcomes;
use super::zone::Zone;

/// A condition.
#[derive(Debug)]
pub(super) enum Cond {
    /// Known without any facts.
    Const(Outcomes),
    Any(Box<[Cond]>),
    All(Box<[Cond]>),
    Not(Box<Cond>),
    Test(Test),
}

/// A test of the facts.
#[derive(Debug)]
pub(super) enum Test {
    /// The field is `true`.
    Flag(Field),
    /// The field exists.
    Present(Field),
    /// The comparison holds.
    Order(Source, Order, Source),
    /// The value is one of these, or in one of these networks.
    In(Source, Box<[Literal]>),
    /// The text contains the other text, or the list has it as an element.
    Contains(Source, Source),
    /// The text contains this one.
    Holds(Source, Box<memmem::Finder<'static>>),
    StartsWith(Source, Source),
    EndsWith(Source, Source),
    Matches(Source, Box<Regex>),
    InZone(Source, Box<[Zone]>),
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) enum Source {
    Field(Field),
    /// The zone of the address in this field.
    Zone(Field),
    Const(Literal),
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Cond {
    /// Approximate cost of evaluating it, in nanoseconds.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Cond::Const(_) => 0,
            Cond::Not(inner) => inner.cost(),
            Cond::Test(test) => test.cost(),
            Cond::Any(parts) | Cond::All(parts) => parts.iter().fold(0, |sum, part| sum.saturating_add(part.cost())),
        }
    }

    /// The possible outcomes for these facts.
    #[inline]
    pub(super) fn outcomes(&self, facts: &Facts<'_>) -> Outcomes {
        match self {
            Cond::Test(test) => test.outcomes(facts),
            Cond::All(parts) => all(parts, facts),
            Cond::Any(parts) => any_of(parts, facts),
            Cond::Not(inner) => not(inner, facts),
            Cond::Const(outcomes) => *outcomes,
        }
    }
}

// One function per kind: a common one would need the stack frame of the largest kind at every level.

#[inline(never)]
fn all(parts: &[Cond], facts: &Facts<'_>) -> Outcomes {
    let mut all = Outcomes::TRUE;
    for part in parts {
        all = all.and(part.outcomes(facts));
        if all == Outcomes::FALSE {
            break;
        }
    }
    all
}

#[inline(never)]
fn any_of(parts: &[Cond], facts: &Facts<'_>) -> Outcomes {
    let mut any = Outcomes::FALSE;
    for part in parts {
        any = any.or(part.outcomes(facts));
        if any == Outcomes::TRUE {
            break;
        }
    }
    any
}

#[inline(never)]
fn not(inner: &Cond, facts: &Facts<'_>) -> Outcomes {
    inner.outcomes(facts).not()
}

impl Test {
    /// Approximate cost of evaluating it, in nanoseconds; of several tests the cheapest run first.
    fn cost(&self) -> u32 {
        match self {
            Test::Flag(field) | Test::Present(field) => field.cost(),
            Test::Order(left, _, right) | Test::StartsWith(left, right) | Test::EndsWith(left, right) => {
                left.cost() + right.cost() + 2
            }
            Test::In(source, set) => source.cost() + 2 * u32::try_from(set.len()).unwrap_or(u32::MAX / 4),
            Test::InZone(source, _) => source.cost() + 4,
            Test::Contains(left, right) => left.cost() + right.cost() + 20,
            Test::Holds(source, _) => source.cost() + 15,
            Test::Matches(source, _) => source.cost() + 50,
        }
    }

    /// True when it uses no field.
    pub(super) fn is_constant(&self) -> bool {
        let constant = |source: &Source| matches!(source, Source::Const(_));
        match self {
            Test::Flag(_) | Test::Present(_) => false,
            Test::Order(left, _, right) => constant(left) && constant(right),
            Test::Contains(left, right) | Test::StartsWith(left, right) | Test::EndsWith(left, right) => {
                constant(left) && constant(right)
            }
            Test::In(source, _) | Test::Holds(source, _) | Test::Matches(source, _) | Test::InZone(source, _) => {
                constant(source)
            }
        }
    }

    #[inline]
    pub(super) fn outcomes(&self, facts: &Facts<'_>) -> Outcomes {
        match self {
            Test::Flag(field) => flag(field, facts),
            Test::Present(field) => any(&facts.value(field), |_| Some(true)),
            Test::Order(left, order, right) => compared(left, *order, right, facts),
            Test::In(source, set) => is_one(source, set, facts),
            Test::Contains(left, right) => contains(left, right, facts),
            Test::Holds(source, finder) => has(source, facts, |text| finder.find(text.as_bytes()).is_some()),
            Test::StartsWith(left, right) => both(left, right, facts, texts(|a, b| a.starts_with(b))),
            Test::EndsWith(left, right) => both(left, right, facts, texts(|a, b| a.ends_with(b))),
            Test::Matches(source, regex) => has(source, facts, |text| regex.is_match(text)),
            Test::InZone(source, zones) => in_zone(source, zones, facts),
        }
    }
}

#[inline(never)]
fn flag(field: &Field, facts: &Facts<'_>) -> Outcomes {
    any(&facts.value(field), |value| match value {
        Scalar::Flag(flag) => Some(*flag),
        _ => None,
    })
}

#[inline(never)]
fn compared(left: &Source, order: Order, right: &Source, facts: &Facts<'_>) -> Outcomes {
    match order {
        Order::Ne => both(left, right, facts, |a, b| holds(Order::Eq, a, b)).not(),
        order => both(left, right, facts, |a, b| holds(order, a, b)),
    }
}

#[inline(never)]
fn is_one(source: &Source, set: &[Literal], facts: &Facts<'_>) -> Outcomes {
    any(&source.value(facts), |value| is_in(value, set))
}

#[inline(never)]
fn contains(left: &Source, right: &Source, facts: &Facts<'_>) -> Outcomes {
    match left.value(facts) {
        list @ Value::Texts(_) => with(&list, &right.value(facts), |a, b| holds(Order::Eq, a, b)),
        text => with(&text, &right.value(facts), texts(|a, b| memmem::find(a.as_bytes(), b.as_bytes()).is_some())),
    }
}

#[inline(never)]
fn has(source: &Source, facts: &Facts<'_>, test: impl Fn(&str) -> bool) -> Outcomes {
    any(&source.value(facts), |value| match value {
        Scalar::Text(text) => Some(test(text)),
        _ => None,
    })
}

#[inline(never)]
fn in_zone(source: &Source, zones: &[Zone], facts: &Facts<'_>) -> Outcomes {
    any(&source.value(facts), |value| zone_of(value).map(|zone| zones.contains(&zone)))
}

impl Source {
    fn cost(&self) -> u32 {
        match self {
            Source::Field(field) => field.cost(),
            Source::Zone(field) => field.cost() + 4,
            Source::Const(_) => 0,
        }
    }

    fn value<'v>(&'v self, facts: &'v Facts<'_>) -> Value<'v> {
        match self {
            Source::Field(field) => facts.value(field),
            Source::Const(literal) => literal.scalar().map_or(Value::Missing, Value::One),
            Source::Zone(field) => match facts.value(field) {
                Value::NotYet => Value::NotYet,
                value => {
                    let mut zone = None;
                    each(&value, |value| {
                        zone = zone.or_else(|| zone_of(value));
                    });
                    zone.map_or(Value::Missing, |zone| Value::One(Scalar::Text(zone.name())))
                }
            },
        }
    }
}

impl Literal {
    /// The literal as a value; a regex is not a value.
    #[inline]
    fn scalar(&self) -> Option<Scalar<'_>> {
        match self {
            Literal::Int(int) => Some(Scalar::Int(*int)),
            Literal::Float(float) => Some(Scalar::Float(*float)),
            Literal::Flag(flag) => Some(Scalar::Flag(*flag)),
            Literal::Text(text) => Some(Scalar::Text(text)),
            Literal::Ip(ip) => Some(Scalar::Ip(*ip)),
            Literal::Net(net) => Some(Scalar::Net(*net)),
            Literal::Mac(mac) => Some(Scalar::Mac(*mac)),
            Literal::Pattern(..) => None,
        }
    }
}

/// Calls `take` for each value.
fn each(value: &Value<'_>, mut take: impl FnMut(&Scalar<'_>)) {
    match value {
        Value::Missing | Value::NotYet => {}
        Value::One(one) => take(one),
        Value::Texts(texts) => texts.iter().for_each(|text| take(&Scalar::Text(text))),
        Value::Header(fields, name) => fields.all(name).for_each(|text| take(&Scalar::Text(text))),
    }
}

/// As [`with`]; optimized for a constant second value, which is usual.
#[inline(never)]
fn both(
    left: &Source,
    right: &Source,
    facts: &Facts<'_>,
    test: impl Fn(&Scalar<'_>, &Scalar<'_>) -> Option<bool>,
) -> Outcomes {
    match (left, right) {
        (Source::Field(field), Source::Const(literal)) => match (facts.value(field), literal.scalar()) {
            (value, Some(constant)) => any(&value, |value| test(value, &constant)),
            (value, None) => any(&value, |_| None),
        },
        _ => with(&left.value(facts), &right.value(facts), test),
    }
}

/// True when the test holds for one of the values; false when it holds for none but could be evaluated for some.
#[inline]
fn any(value: &Value<'_>, test: impl Fn(&Scalar<'_>) -> Option<bool>) -> Outcomes {
    match value {
        Value::NotYet => Outcomes::ANY,
        Value::One(one) => Outcomes::of(test(one)),
        Value::Missing => Outcomes::MISSING,
        Value::Texts(_) | Value::Header(..) => {
            let mut held = None;
            each(value, |one| match (held, test(one)) {
                (Some(true), _) | (_, None) => {}
                (_, Some(now)) => held = Some(now),
            });
            // An empty list exists but contains nothing.
            let empty = matches!(value, Value::Texts([])).then_some(false);
            Outcomes::of(held.or(empty))
        }
    }
}

fn with(left: &Value<'_>, right: &Value<'_>, test: impl Fn(&Scalar<'_>, &Scalar<'_>) -> Option<bool>) -> Outcomes {
    match (left, right) {
        (Value::Missing, _) | (_, Value::Missing) => Outcomes::MISSING,
        (Value::NotYet, _) | (_, Value::NotYet) => Outcomes::ANY,
        (left, Value::One(b)) => any(left, |a| test(a, b)),
        (left, right) => any(right, |b| {
            let mut held = None;
            each(left, |a| match (held, test(a, b)) {
                (Some(true), _) | (_, None) => {}
                (_, Some(now)) => held = Some(now),
            });
            held
        }),
    }
}

fn texts(test: impl Fn(&str, &str) -> bool) -> impl Fn(&Scalar<'_>, &Scalar<'_>) -> Option<bool> {
    move |a, b| match (a, b) {
        (Scalar::Text(a), Scalar::Text(b)) => Some(test(a, b)),
        _ => None,
    }
}

fn is_in(value: &Scalar<'_>, set: &[Literal]) -> Option<bool> {
    let mut held = None;
    for item in set {
        let now = match (item, value) {
            (Literal::Text(item), Scalar::Text(text)) => Some(item == text),
            (Literal::Net(net), Scalar::Ip(ip)) => Some(net.contains(ip)),
            (Literal::Net(net), value) => address(value).map(|ip| net.contains(&ip)),
            (item, value) => item.scalar().and_then(|item| holds(Order::Eq, value, &item)),
        };
        match now {
            Some(true) => return now,
            Some(false) => held = now,
            None => {}
        }
    }
    // An empty array contains nothing.
    held.or(set.is_empty().then_some(false))
}

/// Whether two values compare this way; `None` when they are not comparable, e.g. a text that is not a number with a number.
#[inline]
fn holds(order: Order, left: &Scalar<'_>, right: &Scalar<'_>) -> Option<bool> {
    let ordering = match (left, right) {
        // Different texts usually differ in length.
        (Scalar::Text(a), Scalar::Text(b)) if order == Order::Eq => return Some(a == b),
        (Scalar::Text(a), Scalar::Text(b)) => a.cmp(b),
        (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
        (Scalar::Flag(a), Scalar::Flag(b)) => a.cmp(b),
        (Scalar::Ip(_), _) | (_, Scalar::Ip(_)) => address(left)?.cmp(&address(right)?),
        (Scalar::Mac(mac), other) | (other, Scalar::Mac(mac)) => {
            let other = match other {
                Scalar::Mac(other) => Some(*other),
                Scalar::Text(text) => Mac::read(text.trim()),
                _ => None,
            };
            return Some((order == Order::Eq) == (*mac == other?));
        }
        _ => number(left)?.partial_cmp(&number(right)?)?,
    };
    Some(match order {
        Order::Eq => ordering.is_eq(),
        Order::Ne => ordering.is_ne(),
        Order::Lt => ordering.is_lt(),
        Order::Le => ordering.is_le(),
        Order::Gt => ordering.is_gt(),
        Order::Ge => ordering.is_ge(),
    })
}

fn number(value: &Scalar<'_>) -> Option<f64> {
    match value {
        Scalar::Int(int) => Some(*int as f64),
        Scalar::Float(float) => Some(*float),
        // Excludes `inf` and `nan`, which parse too.
        Scalar::Text(text) => {
            let text = text.trim();
            let starts = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.'));
            text.parse().ok().filter(|float: &f64| starts && float.is_finite())
        }
        Scalar::Flag(_) | Scalar::Ip(_) | Scalar::Net(_) | Scalar::Mac(_) => None,
    }
}

fn address(value: &Scalar<'_>) -> Option<std::net::IpAddr> {
    match value {
        Scalar::Ip(ip) => Some(*ip),
        Scalar::Text(text) => text.trim().parse().ok().map(|ip: std::net::IpAddr| ip.to_canonical()),
        Scalar::Int(_) | Scalar::Float(_) | Scalar::Flag(_) | Scalar::Net(_) | Scalar::Mac(_) => None,
    }
}

fn zone_of(value: &Scalar<'_>) -> Option<Zone> {
    address(value).map(Zone::of)
}
