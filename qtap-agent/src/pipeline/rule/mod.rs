//! Rules: which exchanges are meant. In: the text of a rule and the macros it may call, once; then the facts of each exchange. Out:
//! true, false, or neither (a field that decides is missing). The language is told in `docs/rules.md`.
//!
//! ```text
//! text ─ lex, parse ─▶ Node (ast) ─ macros ─▶ Node ─ check ─▶ Cond ──┐
//!                                                 Facts ─────────────┴─▶ Outcomes
//! ```
//! A rule is compiled once. Evaluated it allocates nothing, takes time linear in what it looks at, and never fails: what makes no
//! sense was refused when it was compiled, with the place in the text and what would be right.

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

/// Bytes of a rule's text.
pub const MAX_BYTES: usize = 16 << 10;
/// Levels of a rule as it is written; each is a call on the stack of who reads it.
pub const MAX_DEPTH: usize = 32;
/// Parts of a rule, macros in place: macros that call macros grow without measure else.
pub const MAX_NODES: usize = 4096;

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleFault {
    /// Where: bytes of the rule's text.
    pub at: Range<usize>,
    /// What is so.
    pub message: String,
    /// What would be right; may be empty.
    pub help: String,
}

impl RuleFault {
    fn new(at: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> RuleFault {
        RuleFault { at, message: message.into(), help: help.into() }
    }
}

/// A rule, ready to be asked. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Rule(Arc<Ready>);

#[derive(Debug)]
struct Ready {
    /// As it reads with its macros in place.
    text: String,
    cond: Cond,
    /// Variables of processes that it asks for.
    variables: Vec<String>,
}

/// Two rules are one when they read the same, macros in place.
impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.0.text == other.0.text
    }
}

/// Makes a rule of a text.
///
/// # Errors
/// The first thing in it that is wrong.
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
    /// Does it hold? None: neither, a field that decides is missing. A rule passes only when it holds.
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

    /// All that it can come to, by what is known ([`Facts::so_far`]).
    #[must_use]
    pub fn outcomes(&self, facts: &Facts<'_>) -> Outcomes {
        self.0.cond.outcomes(facts)
    }

    /// Names of the variables of processes that it asks for: they have to be captured.
    #[must_use]
    pub fn variables(&self) -> &[String] {
        &self.0.variables
    }

    /// The rule in one spelling, its macros in place.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

/// True for what is a number or an address when it stands without quotes.
fn is_literal(text: &str) -> bool {
    let mut lexer = Lexer::new(text);
    let is_one = matches!(lexer.next(), Ok((Token::Literal(literal), _)) if !matches!(literal, Literal::Text(_) | Literal::Pattern(..)));
    is_one && matches!(lexer.next(), Ok((Token::End, _)))
}
