//! Rules and macros, compiled. In: their texts. Out: what the pipeline evaluates; a fault in a rule is reported at its exact place in
//! the file. The rule language belongs to the pipeline: nothing here knows its syntax.

use super::Around;
use crate::config::fields::At;
use crate::config::file::File;
use crate::config::file::rules::CaptureRule as Typed;
use crate::config::finding::Findings;
use crate::config::place::Span;
use crate::config::wording::brief;
use crate::pipeline::settings::{CaptureRule, Macros, Rule, compile};

/// Maximum number of macros in a file: rules are evaluated for each exchange, and a macro is found by a linear search.
const MAX_MACROS: usize = 256;
/// Maximum number of rules in one list: each may be evaluated for each exchange.
const MAX_RULES: usize = 1000;

/// The macros that rules may call by name.
pub(crate) fn macros(file: &File, out: &Findings) -> Macros {
    bounded(&file.macros, MAX_MACROS, "macros", |item| item.expr.span, out);
    let typed = file.macros.get(..MAX_MACROS).unwrap_or(&file.macros);
    let named: Vec<_> = typed.iter().filter_map(|item| Some((item.name.as_ref()?, &item.expr))).collect();
    let list: Vec<_> = named.iter().map(|(name, expr)| (name.value.clone(), expr.value.clone())).collect();
    let (macros, faults) = Macros::new(&list);
    for fault in faults {
        if let Some((name, expr)) = named.get(fault.nth) {
            let at = if fault.of_name { name } else { expr };
            out.fault_inside(at, fault.fault.at, fault.fault.message, fault.fault.help);
        }
    }
    macros
}

/// The rules of `http_capture`, or of `access_logs`, in order.
pub(crate) fn with_levels(typed: &[Typed], around: &Around<'_>) -> Vec<CaptureRule> {
    bounded(typed, MAX_RULES, "rules", |item| item.rule.expr.span, around.out);
    let mut rules: Vec<CaptureRule> = Vec::new();
    for item in typed.iter().take(MAX_RULES) {
        let rule = rule(&item.rule.expr, around);
        let Some(name) = &item.rule.name else { continue };
        if rules.iter().any(|known| known.name == name.value) {
            let message = format!("a second rule `{}`", brief(&name.value));
            around.out.fault(name.span, message, "they are told apart by their names");
        }
        if let (Some(rule), Some(level)) = (rule, &item.level) {
            rules.push(CaptureRule { name: name.value.clone(), rule, level: level.value });
        }
    }
    rules
}

/// Compiles a rule; reports a fault and returns `None` when it is not valid.
pub(crate) fn rule(expr: &At<String>, around: &Around<'_>) -> Option<Rule> {
    match compile(&expr.value, around.macros) {
        Ok(rule) => Some(rule),
        Err(fault) => {
            around.out.fault_inside(expr, fault.at, fault.message, fault.help);
            None
        }
    }
}

/// Reports a fault when a list is longer than allowed.
fn bounded<T>(list: &[T], most: usize, what: &str, span: impl Fn(&T) -> Span, out: &Findings) {
    if let Some(first) = list.get(most) {
        out.fault(span(first), format!("{} {what}", list.len()), format!("at most {most}"));
    }
}
