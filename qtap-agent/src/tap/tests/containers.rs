//! Late facts about containers: records wait for them, in order and within bounds, and go without if they do not arrive.

use super::*;
use crate::model::event::ContainerSeen;
use crate::model::process::{Container, Pod};
use crate::model::route::{Appetite, Routes, STACK_LABEL, StackId, Wants};
use crate::tap::held::{GRACE, OBSERVATIONS};

const ID: &str = "c0ffee";
const GRACE_MS: u64 = GRACE.as_millis() as u64;

fn container(awaited: bool, name: Option<&str>) -> Arc<Container> {
    Arc::new(Container { id: ID.into(), name: name.map(str::to_owned), awaited, ..Container::default() })
}

fn process(awaited: bool) -> Process {
    let container = Some(container(awaited, None));
    Process { pid: PID, executable_path: "/usr/bin/curl".into(), container, ..Process::default() }
}

/// The process runs in a container about which more is expected.
fn awaiting() -> Bench {
    let mut bench = Bench::new();
    bench.event(Event::ProcessSeen(Arc::new(process(true))));
    bench
}

impl Bench {
    fn tell(&mut self, told: bool) {
        let pod = told.then(|| Arc::new(Pod { name: "web-0".into(), namespace: "shop".into(), ..Pod::default() }));
        let container = container(false, told.then_some("web"));
        self.event(Event::ContainerSeen(ContainerSeen { container, pod, told, time: self.time() }));
    }

    /// Name of the container and of the pod on each record, and whether it is an exchange.
    fn told(&self) -> Vec<(bool, Option<&str>, Option<&str>)> {
        let mut all = Vec::new();
        for observation in &self.out {
            let (exchange, process) = match observation {
                Observation::Exchange(seen) => (true, &seen.process),
                Observation::Connection(seen) => (false, &seen.process),
            };
            let process = process.as_deref().unwrap();
            let container = process.container.as_deref().and_then(|container| container.name.as_deref());
            all.push((exchange, container, process.pod.as_deref().map(|pod| pod.name.as_str())));
        }
        all
    }

    fn unknown(&self) -> u64 {
        self.tap.losses().count(Loss::ContainerUnknown)
    }
}

#[test]
fn records_wait_and_have_what_was_told() {
    let mut bench = awaiting();
    bench.open(1);
    bench.exchange(socket(1));
    bench.close(1);
    bench.tick(300);
    assert!(bench.out.is_empty(), "nothing goes before it is known");
    bench.tell(true);
    assert_eq!(bench.told(), [(true, Some("web"), Some("web-0")), (false, Some("web"), Some("web-0"))]);
    assert_eq!(bench.unknown(), 0);
    bench.open(2);
    bench.exchange(socket(2));
    assert_eq!(bench.told().len(), 3, "from now on nothing waits");
    assert_eq!(bench.told()[2], (true, Some("web"), Some("web-0")));
}

/// All records of one process share one copy of its facts.
#[test]
fn records_of_one_process_share_what_was_told() {
    let mut bench = awaiting();
    bench.open(1);
    for _ in 0..3 {
        bench.exchange(socket(1));
    }
    bench.tell(true);
    let shared: Vec<_> = bench.exchanges().iter().map(|seen| seen.process.clone().unwrap()).collect();
    assert_eq!(shared.len(), 3);
    assert!(shared.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
}

#[test]
fn after_the_grace_they_go_without_and_are_counted() {
    let mut bench = awaiting();
    bench.open(1);
    bench.exchange(socket(1));
    bench.close(1);
    bench.tick(100);
    bench.tick(100 + GRACE_MS - 1);
    assert!(bench.out.is_empty());
    bench.tick(100 + GRACE_MS);
    assert_eq!(bench.told(), [(true, None, None), (false, None, None)]);
    assert_eq!(bench.unknown(), 2);
    bench.open(2);
    bench.exchange(socket(2));
    assert_eq!((bench.told().len(), bench.unknown()), (3, 2), "who waited once does not wait again");
    bench.tell(true);
    bench.exchange(socket(2));
    assert_eq!(bench.told()[3], (true, Some("web"), Some("web-0")), "what comes after all is taken");
}

/// A source that lags delivers seconds of events at once: no time to ask anyone has passed in between.
#[test]
fn the_grace_is_not_that_of_what_happened_long_ago() {
    let mut bench = awaiting();
    for number in 0..20 {
        bench.now = number * 1000;
        bench.open(number);
        bench.exchange(socket(number));
        bench.close(number);
    }
    assert!(bench.out.is_empty());
    bench.tick(20_000);
    bench.tick(20_100);
    assert!(bench.out.is_empty(), "it was asked for only now");
    bench.tell(true);
    assert_eq!((bench.told().len(), bench.unknown()), (40, 0));
}

/// Each container waits on its own, also when it waits a second time.
#[test]
fn containers_do_not_wait_for_one_another() {
    let mut bench = awaiting();
    bench.open(1);
    bench.exchange(socket(1));
    bench.tick(100);
    bench.tell(false);
    assert_eq!((bench.told().len(), bench.unknown()), (1, 1));
    bench.tick(3000);
    bench.event(Event::ProcessSeen(Arc::new(process(true))));
    bench.exchange(socket(1));
    bench.tick(100 + GRACE_MS);
    assert_eq!(bench.exchanges().len(), 1, "it waits since later");
    bench.tick(100 + 2 * GRACE_MS);
    assert_eq!(bench.exchanges().len(), 2);
    assert_eq!(bench.tap.held.opened().count(), 0);
}

#[test]
fn what_no_runtime_knows_goes_at_once() {
    let mut bench = awaiting();
    bench.open(1);
    bench.exchange(socket(1));
    bench.tell(false);
    assert_eq!((bench.told(), bench.unknown()), (vec![(true, None, None)], 1));
}

#[test]
fn who_is_not_awaited_does_not_wait() {
    let mut bench = awaiting();
    let other = Process { pid: PID + 1, container: None, ..process(true) };
    bench.event(Event::ProcessSeen(Arc::new(other)));
    bench.open(1);
    bench.exchange(socket(1));
    let settled = Process { pid: PID, ..process(false) };
    bench.event(Event::ProcessSeen(Arc::new(settled)));
    bench.open(2);
    bench.exchange(socket(2));
    assert_eq!(bench.told().len(), 1, "the second, while the first waits");
}

#[test]
fn at_the_end_all_goes() {
    let mut bench = awaiting();
    bench.open(1);
    bench.exchange(socket(1));
    let now = bench.time();
    bench.tap.finish(now, &mut bench.out);
    assert_eq!(bench.told(), [(true, None, None), (false, None, None)], "in their order");
    assert_eq!(bench.unknown(), 2);
}

#[test]
fn no_more_wait_than_the_bound_allows() {
    let mut bench = awaiting();
    bench.open(1);
    for _ in 0..=OBSERVATIONS {
        bench.exchange(socket(1));
    }
    assert_eq!(bench.told().len(), OBSERVATIONS + 1, "beyond it those that waited longest go");
    assert_eq!(bench.unknown(), OBSERVATIONS as u64 + 1);
}

#[test]
fn large_bodies_do_not_wait_beyond_the_bound() {
    let mut bench = awaiting();
    let body = "x".repeat(1 << 20);
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for number in 0..40 {
        bench.open(number);
        bench.pass(socket(number), Sent, REQUEST);
        bench.pass(socket(number), Received, &response);
    }
    assert!(bench.unknown() > 0 && !bench.out.is_empty());
    assert!(bench.told().len() < 41);
}

/// A stack selected by the label may want what the others do not: until the label is known, bodies are kept.
#[test]
fn a_label_that_comes_late_decides_all_the_same() {
    let mut routes = Routes::new(Some(StackId(0)));
    routes.stack("full", StackId(1));
    let appetite = |yes| Appetite { exchanges: yes, bodies: yes };
    let wants = Arc::new(Wants { routes, appetites: vec![appetite(false), appetite(true)] });
    let mut bench = Bench::new();
    bench.tap =
        Tap::new(Settings { http: http::Settings { wants, ..http::Settings::default() }, ..Settings::default() });
    bench.event(Event::ProcessSeen(Arc::new(process(true))));
    bench.open(1);
    for _ in 0..8 {
        bench.exchange(socket(1));
    }
    assert_eq!(bench.tap.take_unwanted(), [], "nobody says that it may be left alone");
    let labels = [(STACK_LABEL.to_owned(), "full".to_owned())].into_iter().collect();
    let container = Arc::new(Container { id: ID.into(), labels, ..Container::default() });
    bench.event(Event::ContainerSeen(ContainerSeen { container, pod: None, told: true, time: bench.time() }));
    let kept: Vec<_> = bench.exchanges().iter().map(|seen| http(seen).response.as_ref().unwrap().body.kept()).collect();
    assert_eq!(kept, [5; 8]);
}

/// Settings stay in force while observations wait of a connection that was opened under them.
#[test]
fn settings_do_not_end_before_what_waits() {
    let mut bench = awaiting();
    bench.open(1);
    bench.exchange(socket(1));
    bench.close(1);
    bench.now = 10;
    bench.tap.begin(Settings::default(), bench.time());
    bench.tick(20);
    assert_eq!(bench.tap.ended_settings(), []);
    bench.tell(true);
    assert_eq!(bench.tap.ended_settings(), [KernelTime(0)]);
}
