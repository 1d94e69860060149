//! Rules select exchanges. In: the text of a rule and the macros it may call, once; then the facts of each exchange. Out:
//! true, false, or neither (a deciding field is missing). `docs/rules.md` describes the language.
//!
//! ```text
//! text ─ lex, parse ─▶ Node (ast) ─ macros ─▶ Node ─ check ─▶ Cond ──┐
//!                                                 Facts ─────────────┴─▶ Outcomes
//! ```
//! A rule is compiled once. Evaluation allocates nothing, takes time linear in the data it examines, and never fails: compilation
//! refuses invalid rules, and reports the position in the text and a suggestion.

mod ast;
mod check;
mod cond;
mod facts;
mod field;
mod heads;
mod lex;
mod macros;
mod net;
mod outcome;
mod parse;
#[cfg(test)]
mod tests;
mod words;
mod zone;

use std::ops::Range;
use std::sync::Arc;

use ast::{Kind, Literal, Node};
use cond::Cond;
pub use facts::Facts;
use field::{Field, Named};
use lex::{Lexer, Token};
pub use macros::{MacroFault, Macros};
pub use outcome::Outcomes;

/// Maximum bytes of a rule's text.
pub const MAX_BYTES: usize = 16 << 10;
/// Maximum nesting of a rule as written; each level is a recursive call of the parser.
pub const MAX_DEPTH: usize = 32;
/// Maximum nodes of a rule with macros expanded: nested macros could otherwise grow without limit.
pub const MAX_NODES: usize = 4096;

/// Why a text is not a valid rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleFault {
    /// Position: a byte range of the rule's text.
    pub at: Range<usize>,
    /// The fault.
    pub message: String,
    /// A suggested correction; may be empty.
    pub help: String,
}

impl RuleFault {
    fn new(at: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> RuleFault {
        RuleFault { at, message: message.into(), help: help.into() }
    }
}

/// A compiled rule. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Rule(Arc<Ready>);

#[derive(Debug)]
struct Ready {
    /// The rule's text with macros expanded.
    text: String,
    cond: Cond,
    /// Environment variables of processes that it uses.
    variables: Vec<String>,
}

/// Rules are equal when their texts with macros expanded are equal.
impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.0.text == other.0.text
    }
}

/// Compiles the text of a rule.
///
/// # Errors
/// The first fault in it.
pub fn compile(text: &str, macros: &Macros) -> Result<Rule, RuleFault> {
    let node = macros.expand(&parse::read(text)?)?;
    let cond = check::condition(&node)?;
    let mut variables = Vec::new();
    ast::walk(&node, &mut |node: &Node| {
        if let Kind::Field(Field::Named(Named::ProcessEnv, name)) = &node.kind
            && !variables.iter().any(|known: &String| **known == **name)
        {
            variables.push(name.to_string());
        }
    });
    Ok(Rule(Arc::new(Ready { text: node.to_string(), cond, variables })))
}

impl Rule {
    /// Whether the rule holds; `None`: neither, because a deciding field is missing. A rule matches only if it holds.
    #[must_use]
    pub fn eval(&self, facts: &Facts<'_>) -> Option<bool> {
        let outcomes = self.outcomes(facts);
        if outcomes.is_only(Outcomes::TRUE) {
            Some(true)
        } else if outcomes.is_only(Outcomes::FALSE) {
            Some(false)
        } else {
            None
        }
    }

    /// All outcomes that are possible with what is known so far ([`Facts::so_far`]).
    #[must_use]
    pub fn outcomes(&self, facts: &Facts<'_>) -> Outcomes {
        self.0.cond.outcomes(facts)
    }

    /// Names of the environment variables it uses; these must be captured.
    #[must_use]
    pub fn variables(&self) -> &[String] {
        &self.0.variables
    }

    /// The rule in canonical spelling, with macros expanded.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

/// True for text that is a number or an address when written without quotes.
fn is_literal(text: &str) -> bool {
    let mut lexer = Lexer::new(text);
    let is_one = matches!(lexer.next(), Ok((Token::Literal(literal), _)) if !matches!(literal, Literal::Text(_) | Literal::Pattern(..)));
    is_one && matches!(lexer.next(), Ok((Token::End, _)))
}
