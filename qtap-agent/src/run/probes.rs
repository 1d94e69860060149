//! The probes, for status and metrics. In: how capture stands. Out: a view of each, names bounded in number, and whether what stands is enough.

use std::collections::BTreeMap;

use crate::admin::view::ProbeView;
use crate::capture::kernel::Live;
use crate::capture::kernel::standing::{Ran, Standing};

/// Libraries whose functions have names of their own; a host has a few, and many containers may each bring one.
const LIBRARIES: usize = 64;
/// What later ones are called.
const OTHER: &str = "other";

/// True when nothing that capture needs is missing, and every probe.
pub(super) fn view(standing: &Standing) -> (bool, Vec<ProbeView>) {
    let libraries = standing.libraries();
    // Tracepoints are attached, or there would be no live source. A library's function may be refused; when all are, no TLS is seen.
    let ready = libraries.is_empty() || libraries.values().any(|library| !library.hooked.is_empty());
    let mut functions: BTreeMap<(&str, &str), Option<&str>> = BTreeMap::new();
    let mut names: Vec<&str> = Vec::new();
    for library in libraries.values() {
        let known = names.contains(&library.name.as_str());
        let name = if known || names.len() < LIBRARIES { library.name.as_str() } else { OTHER };
        if !known && name != OTHER {
            names.push(name);
        }
        for (symbol, _) in &library.hooked {
            functions.entry((name, symbol)).or_default();
        }
        // Of several libraries of one name what is wrong with one is told.
        for (symbol, why) in &library.refused {
            functions.insert((name, symbol), Some(why));
        }
    }
    let ran = standing.ran();
    let mut probes: Vec<ProbeView> = Live::tracepoints().map(|name| attached(name.to_owned(), None)).collect();
    probes.extend(functions.iter().map(|((library, symbol), why)| attached(format!("{library}:{symbol}"), *why)));
    for Ran { program, calls, time } in ran {
        let known = probes.iter().position(|probe| probe.name == program);
        let at = known.unwrap_or_else(|| {
            probes.push(attached(program.to_owned(), None));
            probes.len() - 1
        });
        if let Some(probe) = probes.get_mut(at) {
            (probe.calls, probe.seconds) = (Some(calls), Some(time.as_secs_f64()));
        }
    }
    (ready, probes)
}

fn attached(name: String, why_not: Option<&str>) -> ProbeView {
    ProbeView { name, attached: why_not.is_none(), error: why_not.map(ToOwned::to_owned), ..ProbeView::default() }
}
