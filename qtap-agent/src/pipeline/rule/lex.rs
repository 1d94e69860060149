//! The lexer of rules. In: the text of a rule. Out: tokens, each with its position; a fault for anything that is not a token. It knows no
//! grammar: that is the job of `parse`.

use std::net::IpAddr;
use std::ops::Range;

use super::RuleFault;
use super::ast::{Literal, Op};
use super::field;
use super::net::{Mac, Net};

/// A token of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'t> {
    And,
    Or,
    Not,
    Op(Op),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    /// A field, a function or a macro.
    Word(&'t str),
    Literal(Literal),
    End,
}

/// Words that are operators or values; case-insensitive.
const KEYWORDS: [(&str, Token<'static>); 14] = [
    ("and", Token::And),
    ("or", Token::Or),
    ("not", Token::Not),
    ("eq", Token::Op(Op::Eq)),
    ("ne", Token::Op(Op::Ne)),
    ("lt", Token::Op(Op::Lt)),
    ("le", Token::Op(Op::Le)),
    ("gt", Token::Op(Op::Gt)),
    ("ge", Token::Op(Op::Ge)),
    ("contains", Token::Op(Op::Contains)),
    ("matches", Token::Op(Op::Matches)),
    ("in", Token::Op(Op::In)),
    ("true", Token::Literal(Literal::Flag(true))),
    ("false", Token::Literal(Literal::Flag(false))),
];

/// Operator signs; longer ones come before their prefixes.
const SIGNS: [(&str, Token<'static>); 15] = [
    ("&&", Token::And),
    ("||", Token::Or),
    ("==", Token::Op(Op::Eq)),
    ("!=", Token::Op(Op::Ne)),
    ("<=", Token::Op(Op::Le)),
    (">=", Token::Op(Op::Ge)),
    ("=~", Token::Op(Op::Matches)),
    ("<", Token::Op(Op::Lt)),
    (">", Token::Op(Op::Gt)),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    ("[", Token::OpenList),
    ("]", Token::CloseList),
    (",", Token::Comma),
];

/// Signs of other languages, and what to write instead.
const FOREIGN: [(&str, &str); 8] = [
    ("!~", "write `not a matches b`"),
    ("=", "two values are compared with `==`"),
    ("&", "write `and` or `&&`"),
    ("|", "write `or` or `||`"),
    ("~", "write `matches` or `=~`"),
    ("{", "an array stands in `[ ]`"),
    ("#", "a comment begins with `--`, or stands in `/* */`"),
    ("`", "a text stands in `\"` or `'`"),
];

/// Flags of a regex.
const FLAGS: &str = "imsx";

/// True for characters allowed in the name of a field, function or macro.
pub(super) fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Splits a text into tokens.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, at: 0 }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next token and its position.
    ///
    /// # Errors
    /// The text there is not a token.
    pub(super) fn next(&mut self) -> Result<(Token<'t>, Range<usize>), RuleFault> {
        self.skip()?;
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok((Token::End, start..start)) };
        let token = match first {
            '"' | '\'' => Token::Literal(Literal::Text(self.quoted(first)?)),
            '/' => Token::Literal(self.pattern()?),
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | ':') => self.word()?,
            '-' if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.word()?,
            _ => self.sign()?,
        };
        Ok((token, start..self.at))
    }

    /// Skips white space and comments.
    fn skip(&mut self) -> Result<(), RuleFault> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                let fault = || {
                    RuleFault::new(self.at..self.at + 2, "a comment opens here and is not closed", "close it with `*/`")
                };
                self.at += trimmed.find("*/").ok_or_else(fault)? + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn sign(&mut self) -> Result<Token<'t>, RuleFault> {
        let rest = self.rest();
        let foreign = FOREIGN.iter().find(|(sign, _)| rest.starts_with(sign));
        let known = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
        if let (Some((sign, token)), None) = (known, foreign.filter(|(sign, _)| *sign == "!~")) {
            // `==` begins with `=`, which is not a token by itself.
            self.at += sign.len();
            return Ok(token.clone());
        }
        let shown: String = foreign.map_or_else(|| rest.chars().take(1).collect(), |(sign, _)| (*sign).to_owned());
        let help = foreign.map_or("texts stand in quotes", |(_, help)| help);
        Err(RuleFault::new(self.at..self.at + shown.len(), format!("`{}` has no meaning here", visible(&shown)), help))
    }

    /// A field, a name, a keyword, a number or an address.
    fn word(&mut self) -> Result<Token<'t>, RuleFault> {
        let (start, rest) = (self.at, self.rest());
        let mut len = run(rest);
        let mut word = rest.get(..len).unwrap_or_default();
        if field::takes_slashes(word) {
            while let Some(more) = rest.get(len..).and_then(|after| after.strip_prefix('/')).map(run).filter(|n| *n > 0)
            {
                len += 1 + more;
            }
            word = rest.get(..len).unwrap_or_default();
        }
        self.at += len;
        if let Some(mac) = Mac::read(word) {
            return Ok(Token::Literal(Literal::Mac(mac)));
        }
        if word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !word.contains(':') {
            let keyword = KEYWORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
            return Ok(keyword.map_or(Token::Word(word), |(_, token)| token.clone()));
        }
        if let Ok(ip) = word.parse::<IpAddr>() {
            return self.address(ip, start).map(Token::Literal);
        }
        number(word).map(Token::Literal).ok_or_else(|| {
            RuleFault::new(start..self.at, format!("`{word}` is no number and no address"), "a text stands in quotes")
        })
    }

    /// An address, or a network if a prefix length follows.
    fn address(&mut self, ip: IpAddr, start: usize) -> Result<Literal, RuleFault> {
        let digits = |rest: &str| rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some(after) = self.rest().strip_prefix('/').filter(|after| digits(after) > 0) else {
            return Ok(Literal::Ip(ip));
        };
        let bits = after.get(..digits(after)).unwrap_or_default();
        self.at += 1 + bits.len();
        let at = start..self.at;
        let bits = bits.parse::<u8>().ok();
        let Some((bits, around)) = bits.and_then(|bits| Some((bits, Net::around(ip, bits)?))) else {
            let most = if ip.is_ipv4() { 32 } else { 128 };
            return Err(RuleFault::new(at, "a network has not so many bits", format!("at most /{most}")));
        };
        Net::new(ip, bits).map(Literal::Net).ok_or_else(|| {
            let message = format!("`{ip}/{bits}` has bits set after the first {bits}");
            RuleFault::new(at, message, format!("the network is `{around}`, the address alone `{ip}`"))
        })
    }

    /// A quoted text.
    fn quoted(&mut self, quote: char) -> Result<String, RuleFault> {
        let start = self.at;
        let mut out = String::new();
        self.at += 1;
        let mut chars = self.rest().chars();
        while let Some(c) = chars.next() {
            let here = self.at;
            self.at = self.text.len() - chars.as_str().len();
            match c {
                '\\' => {
                    out.push(self.escape(here)?);
                    chars = self.rest().chars();
                }
                c if c == quote => return Ok(out),
                c => out.push(c),
            }
        }
        let help = format!("close it with `{quote}`");
        Err(RuleFault::new(start..start + 1, "a text opens here and is not closed", help))
    }

    /// The character after a backslash; `from`: the position of the escape.
    fn escape(&mut self, from: usize) -> Result<char, RuleFault> {
        let rest = self.rest();
        let c = rest.chars().next().unwrap_or('\\');
        self.at += c.len_utf8();
        let plain = match c {
            '\\' | '"' | '\'' | '/' => Some(c),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => {
                let hex = rest.strip_prefix("u{").and_then(|hex| hex.get(..hex.find('}')?)).unwrap_or_default();
                self.at += if hex.is_empty() { 0 } else { hex.len() + 2 };
                u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)
            }
            _ => None,
        };
        plain.ok_or_else(|| {
            let help = "`\\\\`, `\\\"`, `\\'`, `\\n`, `\\r`, `\\t` and `\\u{HEX}` are escapes; a regex stands in `/ /`";
            RuleFault::new(from..self.at.min(self.text.len()), "this is no escape", help)
        })
    }

    /// `/regex/flags`.
    fn pattern(&mut self) -> Result<Literal, RuleFault> {
        let start = self.at;
        self.at += 1;
        let body = self.rest();
        let mut escaped = false;
        let end = body.find(|c: char| {
            let ends = c == '/' && !escaped || c == '\n';
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end.filter(|end| body.get(*end..).is_some_and(|after| after.starts_with('/'))) else {
            return Err(RuleFault::new(
                start..start + 1,
                "a regex opens here and is not closed",
                "close it with `/`; a slash in it is `\\/`",
            ));
        };
        let source = unslashed(body.get(..end).unwrap_or_default());
        self.at += end + 1;
        let rest = self.rest();
        let flags = rest.get(..run(rest)).unwrap_or_default();
        let at = self.at..self.at + flags.len();
        self.at += flags.len();
        let twice = |flag: char| flags.matches(flag).count() > 1;
        if flags.chars().any(|flag| !FLAGS.contains(flag) || twice(flag)) {
            return Err(RuleFault::new(
                at,
                "these are no flags of a regex",
                "`i`: in either case, `m`, `s`, `x`; each once",
            ));
        }
        Ok(Literal::Pattern(source, flags.to_owned()))
    }
}

/// The length of the word at the beginning of a text.
fn run(text: &str) -> usize {
    let fits = |c: char| is_word_char(c) || c == ':';
    let len = text.find(|c: char| !fits(c)).unwrap_or(text.len());
    // A comment needs no space before it.
    text.get(..len).and_then(|word| word.find("--")).unwrap_or(len)
}

/// Replaces `\/` with a slash; everything else stays as the regex has it.
fn unslashed(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('/')) => {}
            ('\\', Some(next)) => {
                out.push(c);
                out.push(next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

fn number(word: &str) -> Option<Literal> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-'));
    if !is_number {
        return None;
    }
    let float = || word.parse::<f64>().ok().filter(|float| float.is_finite()).map(Literal::Float);
    if digits.bytes().all(|b| b.is_ascii_digit()) { word.parse().ok().map(Literal::Int) } else { float() }
}

/// A character as messages show it.
fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
