//! Compiled JSON paths: which of them lead to a value. In: paths, once; then names and indexes, from the document inwards. Out:
//! whether the value there is redacted, and which steps may continue below it. A set of steps is a 128-bit number, so
//! following any number of paths costs no more than following one.

use super::super::settings::BodyValues;
use super::super::settings::json_path::{JsonPath, MOST_TOGETHER, PathChild, PathStep};
use super::names::Names;

/// Steps that may come next: bit n represents step n.
pub(super) type States = u128;
const _: () = assert!(MOST_TOGETHER == States::BITS as usize);

/// What is known of a value before it is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Next {
    /// The value is redacted.
    pub(super) secret: bool,
    /// Steps that may continue in it.
    pub(super) states: States,
}

/// The paths of one `redact` step.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    steps: Vec<Step>,
    /// What is known of a document.
    pub(super) start: Next,
    /// Paths of the form `..name`: looked up by name, not followed.
    anywhere: Names,
}

#[derive(Debug, Clone)]
struct Step {
    step: PathStep,
    last: bool,
}

impl Paths {
    pub(super) fn new(values: &BodyValues<JsonPath>) -> Paths {
        let (mut steps, mut start, mut anywhere) = (Vec::new(), Next::default(), Vec::new());
        for path in &values.named {
            if let [PathStep { deep: true, child: PathChild::Name(name) }] = path.steps.as_slice() {
                anywhere.push(name.clone().into_bytes());
                continue;
            }
            // With too many paths, redact everything rather than too little; the config check refuses such a file anyway.
            if path.steps.is_empty() || steps.len() + path.steps.len() > MOST_TOGETHER {
                start.secret = true;
                continue;
            }
            start.states |= 1 << steps.len();
            let last = path.steps.len() - 1;
            steps.extend(path.steps.iter().enumerate().map(|(n, step)| Step { step: step.clone(), last: n == last }));
        }
        Paths { steps, start, anywhere: Names::new(anywhere, false, values.credentials) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && !self.start.secret && self.anywhere.is_empty()
    }

    /// The member `name` of an object in which `states` may continue.
    #[inline]
    pub(super) fn member(&self, states: States, name: &[u8]) -> Next {
        if self.anywhere.has(name) {
            return Next { secret: true, states: 0 };
        }
        self.follow(states, |child| match child {
            PathChild::Name(wanted) => wanted.as_bytes() == name,
            PathChild::Any => true,
            PathChild::Index(_) => false,
        })
    }

    /// The element at `index` of an array in which `states` may continue.
    #[inline]
    pub(super) fn element(&self, states: States, index: u64) -> Next {
        self.follow(states, |child| match child {
            PathChild::Index(wanted) => *wanted == index,
            PathChild::Any => true,
            PathChild::Name(_) => false,
        })
    }

    #[inline]
    fn follow(&self, states: States, goes_to: impl Fn(&PathChild) -> bool) -> Next {
        let (mut next, mut left) = (Next::default(), states);
        while left != 0 {
            let n = left.trailing_zeros();
            left &= left - 1;
            let Some(Step { step, last }) = self.steps.get(n as usize) else { break };
            if step.deep {
                next.states |= 1 << n;
            }
            if goes_to(&step.child) {
                if *last {
                    return Next { secret: true, states: 0 };
                }
                next.states |= 1 << (n + 1);
            }
        }
        next
    }
}
