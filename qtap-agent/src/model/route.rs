//! Which stack an exchange goes through. This is decided twice: early, where bytes are read, so that nothing is kept in vain; and again where records
//! are made. Both use the same table with the same facts, and so get the same answer.
//!
//! Names are tried in this order, and the first one that matches an endpoint decides: the authority of the request (`Host`, `:authority`), the
//! server name of the TLS handshake, the name that DNS gave for the address. For a given name, an exact endpoint wins over a `*.` wildcard, and a
//! longer wildcard over a shorter one. If no name matches an endpoint, the label of the pod (or container) decides; without a label, or with one that
//! names no stack, the default does.

use std::borrow::Cow;
use std::collections::HashMap;

use super::conn::ConnFacts;
use super::message::host_of;
use super::process::Process;

/// The label by which a pod or container selects its stack.
pub const STACK_LABEL: &str = "tap.qtap.dev/stack";

/// The label value for no stack: nothing is captured.
pub const NO_STACK: &str = "none";

/// Longest host name in bytes (RFC 1035 §2.3.4, with a final dot); anything longer is not a name.
const NAME_BYTES: usize = 254;

/// A stack, as an index into the list of stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub usize);

/// The most that a stack makes of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appetite {
    /// Records of exchanges.
    pub exchanges: bool,
    /// Records of their bodies too.
    pub bodies: bool,
}

/// The facts that the choice of a stack depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts<'a> {
    /// Authority of the request.
    pub authority: Option<&'a str>,
    /// Server name of the TLS handshake.
    pub server_name: Option<&'a str>,
    /// Name that DNS gave for the peer's address.
    pub domain: Option<&'a str>,
    /// The value of the pod's or container's label.
    pub label: Option<&'a str>,
    /// True while the label may still arrive.
    pub label_awaited: bool,
}

impl<'a> Facts<'a> {
    /// The facts of a connection and its process, and of the request if there is one.
    #[must_use]
    pub fn of(conn: &'a ConnFacts, process: Option<&'a Process>, authority: Option<&'a str>) -> Facts<'a> {
        Facts {
            authority,
            server_name: conn.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
            domain: conn.domain.as_deref(),
            label: process.and_then(label_of),
            label_awaited: process.is_some_and(Process::is_awaited),
        }
    }
}

/// The label of the process's pod, else that of its container.
#[must_use]
pub fn label_of(process: &Process) -> Option<&str> {
    let pod = process.pod.as_ref().and_then(|pod| pod.labels.get(STACK_LABEL));
    let container = || process.container.as_ref().and_then(|container| container.labels.get(STACK_LABEL));
    pod.or_else(container).map(String::as_str)
}

/// The routing table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes {
    default: Option<StackId>,
    /// By complete name.
    exact: HashMap<String, Option<StackId>>,
    /// By what follows `*.`.
    below: HashMap<String, Option<StackId>>,
    /// By the stack's own name, for lookup by label.
    named: HashMap<String, StackId>,
}

impl Routes {
    /// Routes everything through `default`; none: no stack.
    #[must_use]
    pub fn new(default: Option<StackId>) -> Routes {
        Routes { default, ..Routes::default() }
    }

    /// Routes the endpoint `domain`, a name or `*.` and a name, through `stack`. Of two identical endpoints the first wins.
    pub fn endpoint(&mut self, domain: &str, stack: Option<StackId>) {
        let domain = domain.to_ascii_lowercase();
        match domain.strip_prefix("*.") {
            Some(below) => self.below.entry(below.to_owned()).or_insert(stack),
            None => self.exact.entry(domain).or_insert(stack),
        };
    }

    /// Makes a stack selectable by label.
    pub fn stack(&mut self, name: &str, stack: StackId) {
        self.named.entry(name.to_owned()).or_insert(stack);
    }

    /// The stack for these facts; none: they leave no record.
    #[must_use]
    pub fn stack_of(&self, facts: &Facts<'_>) -> Option<StackId> {
        if let Some(stack) = self.by_names(facts) {
            return stack;
        }
        match facts.label {
            Some(NO_STACK) => None,
            Some(label) => self.named.get(label).copied().or(self.default),
            None => self.default,
        }
    }

    /// True when a label that may still arrive would decide.
    #[must_use]
    pub fn is_open(&self, facts: &Facts<'_>) -> bool {
        facts.label_awaited && self.by_names(facts).is_none()
    }

    fn by_names(&self, facts: &Facts<'_>) -> Option<Option<StackId>> {
        let names = [facts.authority, facts.server_name, facts.domain];
        names.into_iter().flatten().find_map(|name| self.by_name(name))
    }

    /// The stack of the endpoint that matches a name or an authority; the outer option is none when no endpoint matches.
    #[must_use]
    pub fn by_name(&self, authority: &str) -> Option<Option<StackId>> {
        if self.has_no_endpoints() {
            return None;
        }
        let name = name_of(authority)?;
        if let Some(stack) = self.exact.get(&*name) {
            return Some(*stack);
        }
        let dots = name.match_indices('.').map(|(at, _)| at + 1);
        dots.filter_map(|at| name.get(at..)).find_map(|below| self.below.get(below).copied())
    }

    fn has_no_endpoints(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }
}

/// A host normalised for lookup: lower case, without port and final dot.
fn name_of(authority: &str) -> Option<Cow<'_, str>> {
    let host = host_of(authority);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || host.len() >= NAME_BYTES {
        return None;
    }
    Some(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// The table, and what its stacks want of an exchange: what must be known where bytes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// The table.
    pub routes: Routes,
    /// What each stack wants.
    pub appetites: Vec<Appetite>,
}

impl Default for Wants {
    /// One stack that wants everything.
    fn default() -> Wants {
        Wants { routes: Routes::new(Some(StackId(0))), appetites: vec![Appetite { exchanges: true, bodies: true }] }
    }
}

impl Wants {
    /// What the stack wants; nothing when there is no stack.
    #[must_use]
    pub fn appetite(&self, stack: Option<StackId>) -> Appetite {
        stack.and_then(|stack| self.appetites.get(stack.0)).copied().unwrap_or_default()
    }

    /// What the stack for these facts wants. While a label that decides may still arrive: what any stack wants.
    #[must_use]
    pub fn appetite_of(&self, facts: &Facts<'_>) -> Appetite {
        if self.routes.is_open(facts) { self.at_most() } else { self.appetite(self.routes.stack_of(facts)) }
    }

    /// The union of what all stacks want; applies while the stack is not known yet.
    #[must_use]
    pub fn at_most(&self) -> Appetite {
        self.appetites.iter().fold(Appetite::default(), |most, one| Appetite {
            exchanges: most.exchanges | one.exchanges,
            bodies: most.bodies | one.bodies,
        })
    }

    /// True when some traffic leaves no exchange records: that of an endpoint, or that which matches none.
    #[must_use]
    pub fn leaves_some_alone(&self) -> bool {
        let Routes { default, exact, below, .. } = &self.routes;
        let mut stacks = exact.values().chain(below.values()).chain([default]);
        stacks.any(|stack| !self.appetite(*stack).exchanges)
    }

    /// True when all stacks want the same, so that nothing needs to be decided early.
    #[must_use]
    pub fn is_uniform(&self) -> bool {
        self.appetite(self.routes.default) == self.at_most()
            && self.appetites.iter().all(|one| *one == self.at_most())
            && !self.routes.exact.values().chain(self.routes.below.values()).any(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Option<StackId> = Some(StackId(0));
    const ONE: Option<StackId> = Some(StackId(1));
    const TWO: Option<StackId> = Some(StackId(2));

    fn routes() -> Routes {
        let mut routes = Routes::new(DEFAULT);
        routes.endpoint("api.example.com", ONE);
        routes.endpoint("*.Example.com", TWO);
        routes.endpoint("*.quiet.example.com", None);
        routes.endpoint("loud.quiet.example.com", ONE);
        routes.endpoint("10.0.0.1", TWO);
        for (at, name) in ["default_stack", "one", "two"].into_iter().enumerate() {
            routes.stack(name, StackId(at));
        }
        routes
    }

    fn by_authority(authority: &str) -> Option<StackId> {
        routes().stack_of(&Facts { authority: Some(authority), ..Facts::default() })
    }

    #[test]
    fn the_most_specific_endpoint_wins() {
        for (authority, stack) in [
            ("api.example.com", ONE),
            ("API.Example.com:8443", ONE),
            ("api.example.com.", ONE),
            ("www.example.com", TWO),
            ("a.b.example.com", TWO),
            ("example.com", DEFAULT),
            ("badexample.com", DEFAULT),
            ("x.quiet.example.com", None),
            ("quiet.example.com", TWO),
            ("loud.quiet.example.com", ONE),
            ("api.example.com.evil.org", DEFAULT),
            ("10.0.0.1:80", TWO),
            ("", DEFAULT),
            ("...", DEFAULT),
        ] {
            assert_eq!(by_authority(authority), stack, "{authority}");
        }
        assert_eq!(by_authority(&format!("{}.example.com", "a".repeat(300))), DEFAULT, "no name is as long");
    }

    #[test]
    fn the_authority_is_asked_before_the_server_name_and_that_before_dns() {
        let facts = Facts {
            authority: Some("other.org"),
            server_name: Some("api.example.com"),
            domain: Some("x.quiet.example.com"),
            label: Some("two"),
            label_awaited: false,
        };
        let of = |facts| routes().stack_of(&facts);
        assert_eq!(of(Facts { authority: Some("www.example.com"), ..facts }), TWO);
        assert_eq!(of(facts), ONE, "no endpoint has the authority");
        assert_eq!(of(Facts { server_name: None, ..facts }), None);
        assert_eq!(of(Facts { server_name: None, domain: None, ..facts }), TWO, "the label");
        assert_eq!(of(Facts { label: Some("none"), ..Facts::default() }), None);
        assert_eq!(of(Facts { label: Some("no such stack"), ..Facts::default() }), DEFAULT);
        assert_eq!(of(Facts::default()), DEFAULT);
    }

    #[test]
    fn the_label_of_the_pod_wins_over_that_of_the_container() {
        use crate::model::process::{Container, Pod};
        let labels = |value: &str| [(STACK_LABEL.to_owned(), value.to_owned())].into_iter().collect();
        let container = std::sync::Arc::new(Container { labels: labels("c"), ..Container::default() });
        let pod = std::sync::Arc::new(Pod { labels: labels("p"), ..Pod::default() });
        let mut process = Process::default();
        assert_eq!(label_of(&process), None);
        process.container = Some(container);
        assert_eq!(label_of(&process), Some("c"));
        process.pod = Some(pod);
        assert_eq!(label_of(&process), Some("p"));
    }

    #[test]
    fn a_label_that_may_still_come_leaves_it_open() {
        let appetites = vec![Appetite::default(), Appetite { exchanges: true, bodies: true }];
        let wants = Wants { routes: routes(), appetites };
        let facts = Facts { authority: Some("other.org"), label_awaited: true, ..Facts::default() };
        assert!(wants.routes.is_open(&facts));
        assert_eq!(wants.appetite_of(&facts), wants.at_most());
        assert_eq!(wants.appetite_of(&Facts { label_awaited: false, ..facts }), Appetite::default());
        let named = Facts { authority: Some("x.quiet.example.com"), ..facts };
        assert!(!wants.routes.is_open(&named), "an endpoint has the last word");
        assert_eq!(wants.appetite_of(&named), Appetite::default());
    }

    #[test]
    fn what_nobody_wants_is_known() {
        let appetite = |exchanges, bodies| Appetite { exchanges, bodies };
        let mut wants = Wants { routes: Routes::new(DEFAULT), appetites: vec![appetite(true, false); 2] };
        assert!(wants.is_uniform());
        assert_eq!((wants.appetite(ONE), wants.appetite(None)), (appetite(true, false), appetite(false, false)));
        wants.appetites[1].bodies = true;
        assert_eq!((wants.at_most(), wants.is_uniform()), (appetite(true, true), false));
        wants.appetites[0].bodies = true;
        assert!(wants.is_uniform());
        wants.routes.endpoint("x", None);
        assert!(!wants.is_uniform());
        assert!(Wants { routes: Routes::new(None), appetites: Vec::new() }.is_uniform());
    }
}
