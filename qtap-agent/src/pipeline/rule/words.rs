//! How messages describe parts of a rule; and fields with a fixed set of values. In: nodes. Out: text, or the fault that a
//! value is not in a field's set.

use super::RuleFault;
use super::ast::{Kind, Literal, Node};
use super::field::{Field, Plain};
use super::zone::ZONES;
use crate::model::near::nearest;

/// A node as messages describe it.
pub(super) fn words(node: &Node) -> String {
    match &node.kind {
        Kind::Field(field) => format!("`{field}`, {},", field.takes().words()),
        Kind::Literal(literal) => match literal {
            Literal::Int(_) | Literal::Float(_) => format!("the number `{literal}`"),
            Literal::Text(_) => format!("the text `{literal}`"),
            Literal::Flag(_) => format!("`{literal}`"),
            Literal::Ip(_) | Literal::Mac(_) => format!("the address `{literal}`"),
            Literal::Net(_) => format!("the network `{literal}`"),
            Literal::Pattern(..) => format!("the regex `{literal}`"),
        },
        Kind::Array(_) => "an array".to_owned(),
        Kind::Call(name, _) => format!("`{name}()`"),
        Kind::Any(_) | Kind::All(_) | Kind::Not(_) | Kind::Compare(..) | Kind::Broken => "a condition".to_owned(),
    }
}

/// The fixed set of values of a field, if it has one.
fn vocabulary(node: &Node) -> Option<Vec<&'static str>> {
    match &node.kind {
        Kind::Field(Field::Plain(Plain::Direction)) => Some(vec!["ingress", "egress-internal", "egress-external"]),
        Kind::Field(Field::Plain(Plain::Protocol)) => Some(vec!["http1", "http2", "grpc"]),
        Kind::Field(Field::Plain(Plain::Type)) => Some(vec!["artifact_record"]),
        Kind::Call(name, _) if name == "zone" => Some(ZONES.map(|(name, _)| name).to_vec()),
        _ => None,
    }
}

/// Refuses a text that can never be the value of a field with a fixed set of values.
pub(super) fn known_word(field: &Node, value: &Node) -> Result<(), RuleFault> {
    let (Some(words), Kind::Literal(Literal::Text(text))) = (vocabulary(field), &value.kind) else { return Ok(()) };
    if words.contains(&text.as_str()) {
        return Ok(());
    }
    if matches!(field.kind, Kind::Field(Field::Plain(Plain::Direction))) && text == "egress" {
        let help =
            "either way out: `starts_with(direction, \"egress\")`; one of them: egress-internal, egress-external";
        return Err(RuleFault::new(value.at.clone(), format!("`{field}` is never `{text}`"), help));
    }
    let near = nearest(text, words.iter().copied()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let help = format!("{near}it is one of {}", words.join(", "));
    Err(RuleFault::new(value.at.clone(), format!("`{field}` is never `{text}`"), help))
}
