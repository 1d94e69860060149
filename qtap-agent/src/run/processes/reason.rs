//! Why the TLS of a process is not seen, in words. In: what was found. Out: text, which `docs/processes.md` lists with the remedies.

use crate::admin::view::EngineView;
use crate::capture::discover::engine::{Engine, Found};
use crate::capture::kernel::standing::LeftOut;
use crate::run::traffic::Traffic;

/// Why functions found by their code report nothing yet.
pub(super) const ON_TRIAL: &str =
    "its functions were found by their code alone, and no connection has confirmed them yet";

/// How much of a process's TLS is probed.
pub(super) fn hooks(tls: &[EngineView]) -> &'static str {
    let attached = tls.iter().filter(|engine| engine.hooks == "attached").count();
    match attached {
        0 if tls.iter().all(|engine| engine.hooks != "partly") => "none",
        all if all == tls.len() => "attached",
        _ => "partly",
    }
}

/// Why a file has no probes.
pub(super) fn of_engine(found: &Found, deleted: bool) -> String {
    match (found.engine, found.version.as_deref()) {
        (Engine::Probed(_), _) if deleted => "its file was deleted before it could be probed".to_owned(),
        (Engine::Probed(_), _) => "no probes: it was not met yet, or the limit of files is reached".to_owned(),
        (Engine::Stripped, Some(version)) => {
            format!("{version}, {}", Engine::Stripped.unseen().unwrap_or_default())
        }
        (engine, _) => engine.unseen().unwrap_or_default().to_owned(),
    }
}

/// Why nothing of a process is captured.
pub(super) fn of_left_out(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Filtered => "left out by a filter of the config (tap.filters)",
        LeftOut::ByItself => "left out by its own environment (QTAP_STRATEGY)",
        LeftOut::Tls => "its TLS is left out by a filter of the config (tap.filters)",
    }
}

/// Why some of a process's traffic is not seen; `None` if nothing is known to be missing.
pub(super) fn of_process(tls: &[EngineView], traffic: &Traffic) -> Option<String> {
    const MEMORY: &str =
        "its TLS library is given memory instead of a socket: what it says is seen, but not on which connection";
    const OTHERS: &str = "connections that its TLS library was not seen to use: begun before qtap and silent since, or another process's";
    const MUTE: &str = "connections on which nothing was said but the TLS handshake: it failed, or nothing was asked";
    let unseen = traffic.unseen_bytes > 0;
    if !unseen && traffic.seen_bytes > 0 {
        // All of it was seen: any other TLS library in its files was not used.
        return None;
    }
    let mut reasons: Vec<String> = Vec::new();
    if unseen && traffic.unbound {
        reasons.push(MEMORY.to_owned());
    }
    let lacking =
        |engine: &EngineView| Some(format!("{} in {}: {}", engine.name, engine.path, engine.reason.as_ref()?));
    reasons.extend(tls.iter().filter_map(lacking));
    if reasons.is_empty() && unseen {
        reasons.push(
            match () {
                () if tls.is_empty() => "no TLS library that qtap knows of was found in its files",
                () if traffic.mute_bytes == traffic.unseen_bytes => MUTE,
                () => OTHERS,
            }
            .to_owned(),
        );
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(hooks: &'static str, reason: Option<&str>) -> EngineView {
        EngineView {
            name: "n".into(),
            path: "/p".into(),
            hooks,
            reason: reason.map(Into::into),
            ..EngineView::default()
        }
    }

    #[test]
    fn hooks_of_several_files_are_summed_up() {
        let of = |all: &[&'static str]| hooks(&all.iter().map(|hooks| engine(hooks, None)).collect::<Vec<_>>());
        assert_eq!((of(&[]), of(&["none", "refused"])), ("none", "none"));
        assert_eq!((of(&["attached"]), of(&["attached", "none"]), of(&["partly"])), ("attached", "partly", "partly"));
    }

    #[test]
    fn each_case_has_its_words() {
        let quiet = Traffic::default();
        let seen = Traffic { seen_bytes: 9, ..Traffic::default() };
        let unseen = Traffic { unseen_bytes: 9, ..Traffic::default() };
        let memory = Traffic { unbound: true, ..unseen.clone() };
        assert_eq!(of_process(&[engine("attached", None)], &quiet), None);
        let not_yet = of_process(&[engine("none", Some("not supported yet"))], &quiet);
        assert_eq!(not_yet.as_deref(), Some("n in /p: not supported yet"));
        assert_eq!(of_process(&[engine("attached", None), engine("none", Some("not supported yet"))], &seen), None);
        assert!(of_process(&[], &unseen).is_some_and(|why| why.starts_with("no TLS library")));
        assert!(of_process(&[engine("attached", None)], &unseen).is_some_and(|why| why.contains("not seen to use")));
        let mute = Traffic { mute_bytes: 9, ..unseen.clone() };
        assert!(of_process(&[engine("attached", None)], &mute).is_some_and(|why| why.contains("handshake: it failed")));
        assert!(of_process(&[engine("attached", None)], &memory).is_some_and(|why| why.contains("memory instead")));
        let boring = Found { engine: Engine::Stripped, version: Some("BoringSSL".to_owned()), build_id: None };
        assert!(of_engine(&boring, false).starts_with("BoringSSL, linked into the file without symbols"));
    }
}
