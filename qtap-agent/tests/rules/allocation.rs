//! Evaluating a rule allocates no memory: the allocations of this thread are counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use qtap_agent::pipeline::rule::{Macros, Rule, compile};

use crate::facts::named;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator; the thread-local counter beside it does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's guarantees are those that the system allocator requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the memory came from the system allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Every kind of test that a rule can have.
const RULES: [&str; 14] = [
    "http.res.status >= 500 or http.duration_ms > 1000",
    "http.req.method in [\"PUT\", \"POST\"] and not tls.enabled",
    "http.req.headers.x-id == 9 or http.req.headers.none == \"x\"",
    "http.req.headers.x-forwarded-for in [192.168.0.0/16, 10.9.9.9]",
    "http.req.headers.x-mac == 00:00:00:00:00:00",
    "http.req.path contains \"nothing\" or starts_with(http.req.path, \"/z\")",
    "http.req.path matches /^\\/z+\\/[0-9a-f]{8}$/",
    "http.res.headers.content-type matches /xml|html/i",
    "tags contains \"team:none\" or ends_with(tags, \"stage\")",
    "in_zone(dst.ip, [\"private\", \"loopback\"]) or zone(src.ip) == \"public\"",
    "src.ip in 192.168.0.0/16 or dst.domain == \"other\" or dst.port == 1",
    "src.process.env.TEAM == \"red\" or src.pod.labels.app == \"none\"",
    "http.req.url contains \"nothing\"",
    "protocol == \"grpc\" or direction == \"ingress\" or src.process.user.id == 0",
];

#[test]
fn to_ask_allocates_nothing() {
    let rules: Vec<Rule> = RULES.iter().map(|text| compile(text, &Macros::default()).unwrap()).collect();
    let (get, post) = (named("get"), named("post"));
    let facts = [get.facts(), post.facts()];
    let ask =
        || facts.iter().flat_map(|facts| rules.iter().map(|rule| rule.eval(facts))).filter(Option::is_some).count();
    // The cache of a regex, and the URL, are allocated on the first evaluation.
    let first = ask();
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        assert_eq!(ask(), first);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1, "the counter counts");
}
