//! Macros: named rules or values. In: names and texts, in any order. Out: a table of names and their fully expanded trees, and all
//! faults. A macro that calls itself, directly or not, is refused, and so is one whose expansion is too large.

use std::ops::Range;

use super::ast::{Kind, Node, children, walk};
use super::check::{self, FUNCTIONS};
use super::{MAX_DEPTH, MAX_NODES, RuleFault, parse};
use crate::model::near::nearest;

/// The macros that rules can call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Macros {
    /// Names and expanded trees.
    ready: Vec<(String, Node)>,
}

/// A fault in a macro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroFault {
    /// Index of the macro in the list, from 0.
    pub nth: usize,
    /// True when the fault is in the name, not in the text.
    pub of_name: bool,
    /// The fault. For a fault in a name, the position covers the whole name.
    pub fault: RuleFault,
}

impl Macros {
    /// Parses all macros: name and text of each. A macro with a fault stays callable, so that its fault is reported only once.
    #[must_use]
    pub fn new(list: &[(String, String)]) -> (Macros, Vec<MacroFault>) {
        let mut faults = Vec::new();
        let mut waiting = Vec::new();
        for (nth, (name, text)) in list.iter().enumerate() {
            let taken = list.iter().take(nth).any(|(earlier, _)| earlier == name);
            if let Some(fault) = name_fault(name, taken) {
                faults.push(MacroFault { nth, of_name: true, fault });
                continue;
            }
            let node = parse::read(text).unwrap_or_else(|fault| {
                faults.push(MacroFault { nth, of_name: false, fault });
                Node { at: 0..0, kind: Kind::Broken }
            });
            waiting.push((nth, node));
        }
        let name = |nth: usize| list.get(nth).map_or("", |(name, _)| name.as_str());
        let mut macros = Macros::default();
        loop {
            let open: Vec<&str> = waiting.iter().map(|(nth, _)| name(*nth)).collect();
            let free =
                waiting.iter().position(|(_, node)| !calls(node).iter().any(|(called, _)| open.contains(called)));
            let Some((nth, node)) = free.map(|at| waiting.remove(at)) else { break };
            let ready = macros.expand(&node).and_then(|node| check::part(&node).map(|()| node));
            let node = ready.unwrap_or_else(|fault| {
                faults.push(MacroFault { nth, of_name: false, fault });
                Node { at: 0..0, kind: Kind::Broken }
            });
            macros.ready.push((name(nth).to_owned(), node));
        }
        let open: Vec<(&str, Calls<'_>)> = waiting.iter().map(|(nth, node)| (name(*nth), calls(node))).collect();
        for (nth, _) in &waiting {
            let node = Node { at: 0..0, kind: Kind::Broken };
            macros.ready.push((name(*nth).to_owned(), node));
            if let Some(at) = way_back(name(*nth), &open) {
                let message = format!("the macro `{}()` leads back to itself", name(*nth));
                let fault = RuleFault::new(at, message, "a macro calls only others that don't call it");
                faults.push(MacroFault { nth: *nth, of_name: false, fault });
            }
        }
        (macros, faults)
    }

    /// The same tree with all macro calls expanded.
    ///
    /// # Errors
    /// An unknown name, or a tree that grew too large.
    pub(super) fn expand(&self, node: &Node) -> Result<Node, RuleFault> {
        let mut room = MAX_NODES;
        self.place(node, &mut room, 0)
    }

    fn place(&self, node: &Node, room: &mut usize, depth: usize) -> Result<Node, RuleFault> {
        take(room, 1, depth, node)?;
        let mut all = |nodes: &[Node]| -> Result<Vec<Node>, RuleFault> {
            nodes.iter().map(|node| self.place(node, room, depth + 1)).collect()
        };
        let kind = match &node.kind {
            Kind::Any(parts) => Kind::Any(all(parts)?),
            Kind::All(parts) => Kind::All(all(parts)?),
            Kind::Array(items) => Kind::Array(all(items)?),
            Kind::Not(inner) => Kind::Not(Box::new(self.place(inner, room, depth + 1)?)),
            Kind::Compare(left, op, right) => Kind::Compare(
                Box::new(self.place(left, room, depth + 1)?),
                *op,
                Box::new(self.place(right, room, depth + 1)?),
            ),
            Kind::Call(name, arguments) if is_function(name) => Kind::Call(name.clone(), all(arguments)?),
            Kind::Call(name, arguments) => {
                let body = self.called(name, arguments, node)?;
                let (nodes, levels) = measure(body);
                take(room, nodes, depth + levels, node)?;
                moved(body, &node.at).kind
            }
            Kind::Field(_) | Kind::Literal(_) | Kind::Broken => node.kind.clone(),
        };
        Ok(Node { at: node.at.clone(), kind })
    }

    fn called(&self, name: &str, arguments: &[Node], node: &Node) -> Result<&Node, RuleFault> {
        let Some((_, body)) = self.ready.iter().find(|(known, _)| known == name) else {
            let known = FUNCTIONS.iter().map(|(name, _)| *name).chain(self.ready.iter().map(|(name, _)| name.as_str()));
            let help = match nearest(name, known) {
                Some(near) => format!("did you mean `{near}()`?"),
                None => "macros stand in `rulekit.macros`".to_owned(),
            };
            return Err(RuleFault::new(node.at.clone(), format!("there is no function or macro `{name}()`"), help));
        };
        if arguments.is_empty() {
            return Ok(body);
        }
        Err(RuleFault::new(
            node.at.clone(),
            format!("the macro `{name}()` takes no values"),
            format!("write `{name}()`"),
        ))
    }
}

fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, _)| *known == name)
}

fn name_fault(name: &str, taken: bool) -> Option<RuleFault> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let fault = |message: String, help: &str| Some(RuleFault::new(0..name.len(), message, help));
    if !is_name {
        return fault("this cannot be the name of a macro".to_owned(), "letters, digits and `_`, a letter first");
    }
    if is_function(name) || ["and", "or", "not", "in", "true", "false"].contains(&name.to_ascii_lowercase().as_str()) {
        return fault(format!("`{name}` is a word of the language"), "choose another name");
    }
    if taken { fault(format!("a second macro `{name}`"), "choose another name") } else { None }
}

/// Subtracts from the remaining size of a rule.
fn take(room: &mut usize, nodes: usize, depth: usize, node: &Node) -> Result<(), RuleFault> {
    let at = || node.at.clone();
    *room = room.checked_sub(nodes).ok_or_else(|| {
        RuleFault::new(
            at(),
            "the rule grows too large here",
            format!("a rule has {MAX_NODES} parts at most, macros in place"),
        )
    })?;
    if depth > 2 * MAX_DEPTH {
        let help = format!("a rule goes {MAX_DEPTH} levels deep at most, twice as many with its macros");
        return Err(RuleFault::new(at(), "nested too deep", help));
    }
    Ok(())
}

/// Called names with their positions.
type Calls<'n> = Vec<(&'n str, Range<usize>)>;

/// The calls in a tree that are not functions.
fn calls(node: &Node) -> Calls<'_> {
    let mut found = Vec::new();
    walk(node, &mut |node| {
        if let Kind::Call(name, _) = &node.kind
            && !is_function(name)
        {
            found.push((name.as_str(), node.at.clone()));
        }
    });
    found
}

/// Number of nodes and depth of a tree.
fn measure(node: &Node) -> (usize, usize) {
    children(node).map(measure).fold((1, 1), |(nodes, levels), (more, below)| (nodes + more, levels.max(below + 1)))
}

/// The same tree with all nodes at the position of the call.
fn moved(node: &Node, at: &Range<usize>) -> Node {
    let all = |nodes: &[Node]| nodes.iter().map(|node| moved(node, at)).collect();
    let kind = match &node.kind {
        Kind::Any(nodes) => Kind::Any(all(nodes)),
        Kind::All(nodes) => Kind::All(all(nodes)),
        Kind::Array(nodes) => Kind::Array(all(nodes)),
        Kind::Call(name, nodes) => Kind::Call(name.clone(), all(nodes)),
        Kind::Not(inner) => Kind::Not(Box::new(moved(inner, at))),
        Kind::Compare(left, op, right) => Kind::Compare(Box::new(moved(left, at)), *op, Box::new(moved(right, at))),
        Kind::Field(_) | Kind::Literal(_) | Kind::Broken => node.kind.clone(),
    };
    Node { at: at.clone(), kind }
}

/// The position where a macro calls something that leads back to it; `None` if it only calls others that do.
fn way_back(name: &str, open: &[(&str, Calls<'_>)]) -> Option<Range<usize>> {
    let calls =
        |of: &str| open.iter().find(|(known, _)| *known == of).map(|(_, calls)| calls.as_slice()).unwrap_or_default();
    let leads_back = |from: &str| {
        let mut seen = vec![from];
        let mut at = 0;
        while let Some(next) = seen.get(at).copied() {
            if next == name {
                return true;
            }
            for (called, _) in calls(next) {
                if !seen.contains(called) {
                    seen.push(called);
                }
            }
            at += 1;
        }
        false
    };
    calls(name).iter().find(|(called, _)| leads_back(called)).map(|(_, at)| at.clone())
}
