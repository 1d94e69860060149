//! Filters: checks that groups exist, paths are possible, and expressions compile.

use super::Around;
use crate::capture::settings::{Aspect, Custom, Filters, Group, Match, Pattern};
use crate::config::fields::At;
use crate::config::file::filters::{ASPECTS, Custom as TypedCustom, Filters as Typed, Strategy};
use crate::config::value;
use crate::config::wording::{brief, listed};

/// The filters of the file.
pub(crate) fn settle(typed: &Typed, around: &Around<'_>) -> Filters {
    let group = |word: &At<String>| one_of("a group of programs", word, &Group::NAMES, around);
    Filters {
        groups: typed.groups.iter().filter_map(group).collect(),
        custom: typed.custom.iter().filter_map(|custom| settle_custom(custom, around)).collect(),
    }
}

fn settle_custom(typed: &TypedCustom, around: &Around<'_>) -> Option<Custom> {
    let aspect = |word: &At<String>| one_of("a part of what processes do", word, &ASPECTS, around);
    let only: Vec<Aspect> = typed.only.iter().filter_map(aspect).collect();
    let (text, strategy) = (typed.exe.value.clone(), typed.strategy.as_ref().map_or(Strategy::Exact, |at| at.value));
    let fault = |message: String, help: &str| {
        around.out.fault(typed.exe.span, message, help);
        None
    };
    if text.is_empty() {
        return fault("`exe` is empty: every process would be left out".to_owned(), "write a path, or a part of one");
    }
    let from_root = matches!(strategy, Strategy::Exact | Strategy::Prefix);
    if from_root && !text.starts_with('/') {
        let message = format!("no executable has the path `{}`: paths begin with `/`", brief(&text));
        return fault(message, "write all of it, or `strategy: suffix`");
    }
    let exe = match strategy {
        Strategy::Exact => Match::Exact(text),
        Strategy::Prefix => Match::Prefix(text),
        Strategy::Suffix => Match::Suffix(text),
        Strategy::Contains => Match::Contains(text),
        Strategy::Regex => match Pattern::new(&text) {
            Ok(pattern) => Match::Regex(pattern),
            Err(why) => {
                return fault(format!("`{}` is no regular expression", brief(&text)), &why);
            }
        },
    };
    // A faulty word in `only` is reported. The filter is then dropped: with fewer words it must not come to mean everything.
    (only.len() == typed.only.len()).then_some(Custom { exe, only })
}

/// The meaning of a word from a fixed list; reports a fault for any other.
fn one_of<T: Copy>(what: &str, word: &At<String>, meanings: &[(&str, T)], around: &Around<'_>) -> Option<T> {
    if let Some((_, meaning)) = meanings.iter().find(|(name, _)| *name == word.value) {
        return Some(*meaning);
    }
    let names: Vec<&str> = meanings.iter().map(|(name, _)| *name).collect();
    let one_of = format!("one of {}", listed(&names));
    let near = value::nearest(&word.value, names.iter().copied());
    let help = near.map_or(one_of.clone(), |near| format!("did you mean `{near}`? {one_of}"));
    around.out.fault(word.span, format!("`{}` is not {what}", brief(&word.value)), help);
    None
}
