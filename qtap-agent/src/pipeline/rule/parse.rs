//! The parser of rules. In: the text of a rule. Out: its tree, each node with its position; or the first fault. The grammar is in
//! `docs/rules.md`; each function here implements one line of it. Macro names are not resolved, and types are not checked.

use std::ops::Range;

use super::ast::{Kind, Literal, Node};
use super::field::{self, Field, Found};
use super::lex::{Lexer, Token};
use super::{MAX_BYTES, MAX_DEPTH, RuleFault};

/// Parses a rule.
///
/// # Errors
/// The first violation of the grammar.
pub(super) fn read(text: &str) -> Result<Node, RuleFault> {
    tree(text).map_err(|fault| {
        // Extend the position to whole characters.
        let start = (0..=fault.at.start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let end = (fault.at.end..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        RuleFault { at: start..end, ..fault }
    })
}

fn tree(text: &str) -> Result<Node, RuleFault> {
    if text.len() > MAX_BYTES {
        let message = format!("a rule of {} bytes", text.len());
        return Err(RuleFault::new(
            0..1,
            message,
            format!("a rule has at most {MAX_BYTES} bytes: part it, or use macros"),
        ));
    }
    let mut parser = Parser { lexer: Lexer::new(text), token: Token::End, at: 0..0, before: 0, depth: 0 };
    parser.step()?;
    if parser.token == Token::End {
        return Err(RuleFault::new(0..text.len().min(1), "the rule is empty", "e.g. `http.res.status >= 500`"));
    }
    let node = parser.any()?;
    if parser.token == Token::End { Ok(node) } else { Err(parser.leftover(&node)) }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The current token and its position.
    token: Token<'t>,
    at: Range<usize>,
    /// Where the previous token ended.
    before: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn step(&mut self) -> Result<(Token<'t>, Range<usize>), RuleFault> {
        let (token, at) = self.lexer.next()?;
        self.before = self.at.end;
        let token = std::mem::replace(&mut self.token, token);
        Ok((token, std::mem::replace(&mut self.at, at)))
    }

    /// `any = all { ("or" | "||") all }`.
    fn any(&mut self) -> Result<Node, RuleFault> {
        self.several(Token::Or, Parser::all, Kind::Any)
    }

    /// `all = not { ("and" | "&&") not }`.
    fn all(&mut self) -> Result<Node, RuleFault> {
        self.several(Token::And, Parser::not, Kind::All)
    }

    fn several(
        &mut self,
        between: Token<'static>,
        part: fn(&mut Parser<'t>) -> Result<Node, RuleFault>,
        kind: fn(Vec<Node>) -> Kind,
    ) -> Result<Node, RuleFault> {
        let first = part(self)?;
        if self.token != between {
            return Ok(first);
        }
        let start = first.at.start;
        let mut parts = vec![first];
        while self.token == between {
            self.step()?;
            parts.push(part(self)?);
        }
        Ok(Node { at: start..self.before, kind: kind(parts) })
    }

    /// `not = ("not" | "!") not | test`.
    fn not(&mut self) -> Result<Node, RuleFault> {
        if self.token != Token::Not {
            return self.test();
        }
        let (_, at) = self.step()?;
        let inner = self.deeper(Parser::not)?;
        Ok(Node { at: at.start..inner.at.end, kind: Kind::Not(Box::new(inner)) })
    }

    /// `test = operand [ comparison operand ]`.
    fn test(&mut self) -> Result<Node, RuleFault> {
        let left = self.operand()?;
        if let Token::Word(name @ ("starts_with" | "ends_with" | "in_zone")) = self.token {
            return Err(RuleFault::new(
                self.at.clone(),
                format!("`{name}` is a function"),
                format!("write `{name}(A, B)` for `A {name} B`"),
            ));
        }
        let Token::Op(op) = self.token else { return Ok(left) };
        self.step()?;
        let right = self.operand()?;
        if let Token::Op(second) = self.token {
            let message = format!("a second comparison, `{}`, in a row", second.sign());
            return Err(RuleFault::new(self.at.clone(), message, "join two comparisons with `and`"));
        }
        Ok(Node { at: left.at.start..right.at.end, kind: Kind::Compare(Box::new(left), op, Box::new(right)) })
    }

    /// `operand = "(" any ")" | array | literal | field | call`.
    fn operand(&mut self) -> Result<Node, RuleFault> {
        let (token, at) = self.step()?;
        match token {
            Token::Open => {
                let inner = self.deeper(Parser::any)?;
                self.close(Token::Close, ")", &at)?;
                Ok(Node { at: at.start..self.before, kind: inner.kind })
            }
            Token::OpenList => {
                let items = self.deeper(|parser| parser.list(Token::CloseList))?;
                self.close(Token::CloseList, "]", &at)?;
                Ok(Node { at: at.start..self.before, kind: Kind::Array(items) })
            }
            Token::Literal(literal) => Ok(Node { at, kind: Kind::Literal(literal) }),
            Token::Word(word) if self.token == Token::Open => self.call(word, at),
            Token::Word(word) => self.field(word, at),
            Token::End => {
                Err(RuleFault::new(last(&at), "the rule ends where a value is missing", "a field, a value or `(`"))
            }
            Token::And | Token::Or | Token::Not | Token::Op(_) | Token::Close | Token::CloseList | Token::Comma => {
                let help = "a field, a value, a function or `(` stands here";
                Err(RuleFault::new(at, "a value is missing here", help))
            }
        }
    }

    /// `call = NAME "(" [ operand { "," operand } ] ")"`.
    fn call(&mut self, name: &str, at: Range<usize>) -> Result<Node, RuleFault> {
        let (_, open) = self.step()?;
        let arguments = self.deeper(|parser| parser.list(Token::Close))?;
        self.close(Token::Close, ")", &open)?;
        Ok(Node { at: at.start..self.before, kind: Kind::Call(name.to_owned(), arguments) })
    }

    fn list(&mut self, end: Token<'static>) -> Result<Vec<Node>, RuleFault> {
        let mut items = Vec::new();
        while self.token != end && self.token != Token::End {
            items.push(self.operand()?);
            if self.token != Token::Comma {
                break;
            }
            self.step()?;
        }
        Ok(items)
    }

    fn close(&mut self, token: Token<'static>, sign: &str, opened: &Range<usize>) -> Result<(), RuleFault> {
        if self.token == token {
            return self.step().map(|_| ());
        }
        if self.token == Token::End {
            return Err(RuleFault::new(opened.clone(), "this is not closed", format!("close it with `{sign}`")));
        }
        let help =
            if sign == "]" { "items of an array are parted by `,`" } else { "conditions are joined by `and` or `or`" };
        Err(RuleFault::new(self.at.clone(), format!("`{sign}` is missing before this"), help))
    }

    /// `field = PATH | PREFIX "." NAME | PREFIX "[" TEXT "]"`.
    fn field(&mut self, word: &str, at: Range<usize>) -> Result<Node, RuleFault> {
        let bracket = self.token == Token::OpenList && self.at.start == at.end;
        match (field::find(word), bracket) {
            (Found::Field(field), _) => Ok(Node { at, kind: Kind::Field(field) }),
            (Found::Nameless(named, _), true) => {
                let (_, open) = self.step()?;
                let (token, place) = self.step()?;
                let Token::Literal(Literal::Text(name)) = token else {
                    return Err(RuleFault::new(
                        place,
                        "a name in quotes is missing here",
                        format!("e.g. `{word}[\"name\"]`"),
                    ));
                };
                self.close(Token::CloseList, "]", &open)?;
                Ok(Node { at: at.start..self.before, kind: Kind::Field(Field::named(named, &name)) })
            }
            (Found::Nameless(_, prefix), false) => {
                Err(RuleFault::new(at, format!("`{prefix}` wants a name after it"), format!("e.g. `{prefix}.name`")))
            }
            (Found::Unknown(near), _) => {
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if word.contains('.') => "the fields stand in docs/rules.md".to_owned(),
                    None => format!("a text stands in quotes: `\"{word}\"`; a macro is called: `{word}()`"),
                };
                Err(RuleFault::new(at, format!("there is no field `{word}`"), help))
            }
        }
    }

    /// The fault for what follows a complete rule.
    fn leftover(&self, node: &Node) -> RuleFault {
        match (&self.token, &node.kind) {
            (Token::Close | Token::CloseList, _) => {
                RuleFault::new(self.at.clone(), "nothing is open that this closes", "remove it")
            }
            (_, Kind::Field(_) | Kind::Literal(_)) => {
                RuleFault::new(self.at.clone(), "an operator is missing before this", "e.g. `==`, `contains`, `and`")
            }
            _ => {
                RuleFault::new(self.at.clone(), "the rule goes on after its end", "join conditions with `and` or `or`")
            }
        }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Parser<'t>) -> Result<T, RuleFault>) -> Result<T, RuleFault> {
        if self.depth == MAX_DEPTH {
            let help = format!("a rule goes {MAX_DEPTH} levels deep at most");
            return Err(RuleFault::new(self.at.clone(), "nested too deep", help));
        }
        self.depth += 1;
        let node = inner(self);
        self.depth -= 1;
        node
    }
}

/// The position before the end, so that the message has something to point at.
fn last(at: &Range<usize>) -> Range<usize> {
    at.start.saturating_sub(1)..at.end
}
