//! The attributes of a DNS answer, in the record of its connection. In: the answer. Out: attributes, in a fixed order.

use std::borrow::Cow;

use super::{Attributes, Value};
use crate::model::dns::DnsAnswer;

/// Adds the attributes of `answer`.
pub(super) fn answer<'a>(out: &mut Attributes<'a>, answer: &'a DnsAnswer) {
    out.text_if("dns.question.name", Some(&answer.question));
    match answer.kind_name() {
        Some(name) => out.text_if("dns.question.type", Some(name)),
        // RFC 3597 §5: the form for a type without a known name.
        None => out.put("dns.question.type", Value::Text(Cow::Owned(format!("TYPE{}", answer.kind)))),
    }
    out.text_if("dns.response_code", Some(answer.code_name()));
    let aliases = answer.aliases.iter().map(|name| Cow::Borrowed(name.as_str()));
    let addresses = answer.addresses.iter().map(|(ip, _)| Cow::Owned(ip.to_string()));
    let answers: Vec<_> = aliases.chain(addresses).collect();
    if !answers.is_empty() {
        out.put("dns.answers", Value::Texts(answers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_full() {
        let read = DnsAnswer {
            question: "www.example.com".to_owned(),
            kind: 28,
            addresses: vec![(std::net::Ipv6Addr::LOCALHOST.into(), 5)],
            aliases: vec!["edge.example.com".to_owned()],
            ..DnsAnswer::default()
        };
        let mut out = Attributes(Vec::new());
        answer(&mut out, &read);
        let told: Vec<_> = out.0.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let wanted = [
            r#"dns.question.name=Text("www.example.com")"#,
            r#"dns.question.type=Text("AAAA")"#,
            r#"dns.response_code=Text("NOERROR")"#,
            r#"dns.answers=Texts(["edge.example.com", "::1"])"#,
        ];
        assert_eq!(told, wanted);
        let unknown = DnsAnswer { kind: 99, code: 3, ..DnsAnswer::default() };
        let mut out = Attributes(Vec::new());
        answer(&mut out, &unknown);
        assert!(format!("{:?}", out.0).contains("TYPE99") && format!("{:?}", out.0).contains("NXDOMAIN"));
    }
}
