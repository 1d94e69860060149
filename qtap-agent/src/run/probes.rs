//! The probes, for status and metrics. In: the state of capture. Out: a view of each probe, with bounded names, and whether enough are attached.

use std::collections::BTreeMap;

use crate::admin::view::ProbeView;
use crate::capture::kernel::Live;
use crate::capture::kernel::standing::{Ran, Standing};

/// Maximum number of libraries with their own names; a host has a few, but many containers may each bring one.
const LIBRARIES: usize = 64;
/// The name for the others.
const OTHER: &str = "other";

/// Every probe, and true if nothing that capture needs is missing.
pub(super) fn view(standing: &Standing) -> (bool, Vec<ProbeView>) {
    let libraries = standing.libraries();
    // Tracepoints are attached, or there would be no live source. Single library functions may be refused; if all are, no TLS is seen.
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
        // If several libraries share a name, a failure of any of them is shown.
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
