//! Several stacks: those besides the default one, and which endpoints use them. In: checked names from the configuration file. Out: the
//! table that tap and pipeline use.

use super::{Settings, Stack, Step};
use crate::model::route::{Appetite, Routes, StackId, Wants};

/// Exchanges that do not go through the default stack.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routing {
    /// Other stacks, selected by endpoints or by a pod's label.
    pub stacks: Vec<Stack>,
    /// Endpoints with a stack of their own.
    pub endpoints: Vec<Endpoint>,
}

/// Peers with one name, or with any name below a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `api.example.com` or `*.example.com`, lower case.
    pub domain: String,
    /// Name of a stack; `None`: the endpoint's exchanges leave no record.
    pub stack: Option<String>,
}

impl Settings {
    /// All stacks. The index in this list is the [`StackId`].
    pub fn stacks(&self) -> impl Iterator<Item = &Stack> {
        self.http_stack.iter().chain(&self.routing.stacks)
    }

    /// Which exchanges go through which stack.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let mut routes = Routes::new(self.http_stack.as_ref().map(|_| StackId(0)));
        for (at, stack) in self.stacks().enumerate() {
            routes.stack(&stack.name, StackId(at));
        }
        for endpoint in &self.routing.endpoints {
            let named = |name: &String| self.stacks().position(|stack| stack.name == *name).map(StackId);
            routes.endpoint(&endpoint.domain, endpoint.stack.as_ref().and_then(named));
        }
        routes
    }

    /// The same, together with what each stack needs.
    #[must_use]
    pub fn wants(&self) -> Wants {
        Wants { routes: self.routes(), appetites: self.stacks().map(Stack::appetite).collect() }
    }

    /// True when some stack needs bodies; otherwise they are only measured.
    #[must_use]
    pub fn keeps_bodies(&self) -> bool {
        self.wants().at_most().bodies
    }

    /// True when the default stack or that of an endpoint produces records; otherwise no payload is copied, whatever pod labels say.
    #[must_use]
    pub fn wants_http(&self) -> bool {
        let named = |stack: &Stack| {
            let is_it = |endpoint: &Endpoint| endpoint.stack.as_ref() == Some(&stack.name);
            self.http_stack.as_ref() == Some(stack) || self.routing.endpoints.iter().any(is_it)
        };
        self.stacks().filter(|stack| named(stack)).any(|stack| stack.appetite().exchanges)
    }
}

impl Stack {
    /// What the stack needs at most.
    #[must_use]
    pub fn appetite(&self) -> Appetite {
        Appetite {
            exchanges: self.steps.iter().any(Step::needs_exchanges),
            bodies: self.steps.iter().any(Step::needs_bodies),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HttpCapture, Level};
    use super::*;

    fn stack(name: &str, level: Level) -> Stack {
        let steps = vec![Step::HttpCapture(HttpCapture { level, ..HttpCapture::default() })];
        Stack { name: name.to_owned(), steps }
    }

    fn settings(http_stack: Option<Stack>, stacks: Vec<Stack>, endpoints: &[(&str, Option<&str>)]) -> Settings {
        let endpoint = |(domain, stack): &(&str, Option<&str>)| Endpoint {
            domain: (*domain).to_owned(),
            stack: stack.map(str::to_owned),
        };
        let routing = Routing { stacks, endpoints: endpoints.iter().map(endpoint).collect() };
        Settings { http_stack, routing, locators: Vec::new(), tags: Vec::new(), fact_tags: Vec::new() }
    }

    #[test]
    fn endpoints_find_their_stacks() {
        let all = settings(
            Some(stack("a", Level::Summary)),
            vec![stack("b", Level::Full), stack("c", Level::None)],
            &[("x", Some("b")), ("*.y", None), ("z", Some("a"))],
        );
        let routes = all.routes();
        assert_eq!(routes.by_name("x"), Some(Some(StackId(1))));
        assert_eq!(routes.by_name("v.y"), Some(None));
        assert_eq!(routes.by_name("z"), Some(Some(StackId(0))));
        assert!(all.keeps_bodies() && all.wants_http());
        let appetites = all.wants().appetites;
        assert_eq!(
            appetites.iter().map(|one| (one.exchanges, one.bodies)).collect::<Vec<_>>(),
            [(true, false), (true, true), (false, false)]
        );
    }

    #[test]
    fn without_a_stack_for_all_the_first_of_the_others_is_not_it() {
        let some = settings(None, vec![stack("b", Level::Full)], &[("x", Some("b"))]);
        assert_eq!((some.routes().by_name("x"), some.wants_http()), (Some(Some(StackId(0))), true));
        assert_eq!(some.routes().stack_of(&crate::model::route::Facts::default()), None);
        let unnamed = settings(None, vec![stack("b", Level::Full)], &[]);
        assert!(!unnamed.wants_http(), "only a label can name it");
    }
}
