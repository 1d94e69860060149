//! Successive configs under load, from events written by hand to receivers in this process: nothing is lost or
//! duplicated, connections keep their stack, stores that did not change are not touched.

mod bench;
mod calls;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use self::bench::{Bench, Receiver, config, settings};
use super::needs_restart;
use crate::export::status::StoreStatus;

/// Longer than a switch to another config takes, whatever else the machine does.
const LONG: Duration = Duration::from_secs(120);

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// The uids, each of which must occur once.
fn once(told: &[String]) -> BTreeSet<String> {
    let names: BTreeSet<String> = told.iter().cloned().collect();
    assert_eq!(names.len(), told.len(), "told twice");
    names
}

fn lossless(stores: &[StoreStatus]) {
    for store in stores {
        assert!(store.losses.is_empty() && store.buffered_records == 0, "{store:?}");
    }
}

#[test]
fn under_load_nothing_is_lost_and_nothing_is_told_twice() {
    let (kept, changed, passing) = (Receiver::start(), Receiver::start(), Receiver::start());
    let stores = |round: usize| {
        let mut stores = vec![kept.store("kept", ""), changed.store("changed", &format!("workers: {}", 1 + round % 3))];
        if round % 2 == 1 {
            stores.push(passing.store("passing", ""));
        }
        stores
    };
    // Every fourth config has another stack.
    let level = |round: usize| ["summary", "none", "details", "full"].get(round / 4).copied().unwrap_or("none");
    let mut bench = Bench::start(&config(&stores(0), level(0)));
    let load = bench.load();
    for round in 1..=16 {
        std::thread::sleep(Duration::from_millis(40));
        let changed = bench.turn_to(&config(&stores(round), level(round))).unwrap().unwrap();
        assert_eq!(changed.changed, ids(&["changed"]), "{round}");
        let (added, gone) = if round % 2 == 1 { (ids(&["passing"]), vec![]) } else { (vec![], ids(&["passing"])) };
        assert_eq!((changed.added, changed.gone), (added, gone), "{round}");
        assert_eq!(changed.pipeline, round % 4 == 0, "{round}");
    }
    let seen = load.end();
    lossless(&bench.end());
    let connections = once(&kept.told("qtap.connection"));
    assert!(connections.len() >= seen.connections, "each is told when it closes, some before");
    assert_eq!(once(&changed.told("qtap.connection")), connections);
    let exchanges = once(&kept.told("qtap.artifact_record"));
    assert!(seen.captured < seen.exchanges, "{seen:?}");
    assert_eq!(exchanges.len(), seen.captured, "{seen:?}");
    assert_eq!(once(&changed.told("qtap.artifact_record")), exchanges);
    let passed = once(&passing.told("qtap.artifact_record"));
    assert!(!passed.is_empty() && passed.len() < exchanges.len() && passed.is_subset(&exchanges));
    // Objects go to the first store of the list, which stays.
    assert!(!once(&kept.told("qtap.object")).is_empty());
    assert!(kept.connections() <= 4, "{} connections: a store that did not change was touched", kept.connections());
}

#[test]
fn what_a_changed_store_could_not_deliver_its_successor_does() {
    let (down, up) = (Receiver::start(), Receiver::start());
    down.refuse(true);
    let mut bench = Bench::start(&config(&[down.store("s", "")], "summary"));
    let load = bench.load();
    std::thread::sleep(Duration::from_millis(100));
    bench.turn_to(&config(&[up.store("s", "")], "summary")).unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let seen = load.end();
    lossless(&bench.end());
    assert_eq!(once(&up.told("qtap.artifact_record")).len(), seen.exchanges);
    assert!(down.told("qtap.artifact_record").is_empty());
}

#[test]
fn counts_of_rules_go_on() {
    let receiver = Receiver::start();
    let text = |level: &str| {
        let rules = "summary, rules: [{name: all, expr: http.res.status == 200, level: LEVEL}]".replace("LEVEL", level);
        config(&[receiver.store("a", "")], &rules)
    };
    let mut bench = Bench::start(&text("summary"));
    let (load, passed) = (bench.load(), bench.passed());
    let mut before = 0;
    for level in ["details", "summary", "details"] {
        std::thread::sleep(Duration::from_millis(60));
        bench.turn_to(&text(level)).unwrap().unwrap();
        let sums = passed.sums();
        assert!(matches!(sums.as_slice(), [(name, count)] if name == "all" && *count > before), "{sums:?}");
        before = sums[0].1;
    }
    let seen = load.end();
    lossless(&bench.end());
    assert!(before <= seen.exchanges as u64, "{before} of {}", seen.exchanges);
    assert_eq!(passed.sums(), [], "the pipelines are no more, and with them the rules");
    assert_eq!(once(&receiver.told("qtap.artifact_record")).len(), seen.exchanges);
}

#[test]
fn a_request_under_way_is_waited_for() {
    let slow = Receiver::start();
    slow.delay(300);
    let mut bench = Bench::start(&config(&[slow.store("s", "workers: 2")], "summary"));
    let load = bench.load();
    std::thread::sleep(Duration::from_millis(100));
    bench.turn_to(&config(&[slow.store("s", "workers: 3")], "summary")).unwrap().unwrap();
    slow.delay(0);
    let seen = load.end();
    lossless(&bench.end());
    assert_eq!(once(&slow.told("qtap.artifact_record")).len(), seen.exchanges);
}

#[test]
fn a_queue_that_blocks_holds_nobody_up_who_goes_over_to_another_config() {
    let (down, up) = (Receiver::start(), Receiver::start());
    down.refuse(true);
    let queue = "queue: {max_bytes: 1mb, when_full: block}";
    let mut bench = Bench::start(&config(&[down.quick("s", queue)], "details"));
    let load = bench.flood();
    let configs = [
        // Another stack; the store stays.
        config(
            &[down.quick("s", queue)],
            "summary, rules: [{name: all, expr: http.res.status == 200, level: details}]",
        ),
        // The store changes, and can't deliver either.
        config(&[down.quick("s", &format!("{queue}, workers: 3"))], "details"),
        // The store changes, and delivers what those before it could not.
        config(&[up.quick("s", queue)], "details"),
    ];
    for (round, text) in configs.iter().enumerate() {
        // What the queue in memory holds, and more than the queue on disk may hold.
        load.wait_until_it_is_held_up(40 << 20, || bench.running().stores.statuses()[0].buffered_bytes);
        let start = Instant::now();
        // If the switch waited for the store, the store would accept eventually, so that the test ends.
        let ended = down.refuse_until(LONG);
        assert!(bench.turn_to(text).unwrap().is_some(), "{round}");
        drop(ended);
        assert!(start.elapsed() < LONG, "round {round} waits for a store that can't deliver");
    }
    let seen = load.end();
    lossless(&bench.end());
    let exchanges = once(&up.told("qtap.artifact_record"));
    assert_eq!((exchanges.len(), seen.captured), (seen.exchanges, seen.exchanges));
    assert_eq!(once(&up.told("qtap.object")).len(), 2 * seen.exchanges);
    assert!(once(&up.told("qtap.connection")).len() >= seen.connections);
    assert!(down.told("qtap.artifact_record").is_empty());
}

#[test]
fn qtap_may_end_while_one_store_takes_over_from_another() {
    let slow = Receiver::start();
    slow.delay(500);
    let mut bench = Bench::start(&config(&[slow.store("s", "workers: 2")], "summary"));
    let load = bench.load();
    std::thread::sleep(Duration::from_millis(100));
    // The store that leaves waits for its requests meanwhile, and what is captured waits for the next one.
    let stop = bench.running().stop.clone();
    let asking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        stop.ask();
    });
    bench.turn_to(&config(&[slow.store("s", "workers: 3")], "summary")).unwrap().unwrap();
    asking.join().unwrap();
    slow.delay(0);
    let seen = load.end();
    lossless(&bench.end());
    assert_eq!(once(&slow.told("qtap.artifact_record")).len(), seen.exchanges);
}

#[test]
fn a_store_that_is_gone_delivers_what_it_has_and_may_come_back() {
    let (first, second) = (Receiver::start(), Receiver::start());
    first.delay(50);
    let both = [first.store("a", ""), second.store("b", "")];
    let mut bench = Bench::start(&config(&both, "summary"));
    let load = bench.load();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(60));
        bench.turn_to(&config(&both[1..], "summary")).unwrap().unwrap();
        // At once, while the previous one still sends from the same queue.
        bench.turn_to(&config(&both, "summary")).unwrap().unwrap();
    }
    let seen = load.end();
    lossless(&bench.end());
    assert_eq!(once(&second.told("qtap.artifact_record")).len(), seen.exchanges);
    let some = once(&first.told("qtap.artifact_record"));
    assert!(!some.is_empty() && some.len() <= seen.exchanges);
}

/// One encoding, another, and the first again, at once: the queue of the first is still being sent from.
#[test]
fn a_form_that_comes_back_at_once_finds_its_queue_free() {
    let receiver = Receiver::start();
    receiver.delay(50);
    let forms = [receiver.store("a", ""), receiver.quick("a", "")].map(|store| config(&[store], "summary"));
    let mut bench = Bench::start(&forms[0]);
    let load = bench.load();
    for turn in 1..6 {
        std::thread::sleep(Duration::from_millis(100));
        bench.turn_to(&forms[turn % 2]).unwrap().unwrap();
    }
    let seen = load.end();
    lossless(&bench.end());
    assert_eq!(once(&receiver.told("qtap.artifact_record")).len(), seen.exchanges);
}

/// A store that sends to a terminal from now on has no queue, and what waits in the one it had is told.
#[test]
fn the_queue_of_a_store_that_needs_none_any_more_is_told() {
    let receiver = Receiver::start();
    receiver.refuse(true);
    let mut bench = Bench::start(&config(&[receiver.store("a", "")], "summary"));
    let load = bench.load();
    std::thread::sleep(Duration::from_millis(100));
    bench.turn_to(&config(&["{type: otel, id: a, protocol: stdout}".to_owned()], "summary")).unwrap().unwrap();
    assert_eq!(bench.running().told.lock().unwrap().left_over, ids(&["a+json"]));
    load.end();
    bench.end();
}

#[test]
fn what_cannot_be_started_changes_nothing() {
    let receiver = Receiver::start();
    let good = config(&[receiver.store("a", "")], "summary");
    let mut bench = Bench::start(&good);
    let load = bench.load();
    let file = bench.data_dir().join("not-a-certificate.pem");
    std::fs::write(&file, "no").unwrap();
    let broken =
        format!("{{type: otel, id: b, endpoint: 'https://127.0.0.1:1', tls: {{ca_file: {}}}}}", file.display());
    for stores in [vec![receiver.store("a", ""), broken.clone()], vec![broken.replace("id: b", "id: a")]] {
        let error = bench.turn_to(&config(&stores, "summary")).unwrap_err();
        assert!(format!("{error:#}").contains("not-a-certificate.pem"), "{error:#}");
        assert_eq!(bench.running().settings, settings(&good));
        assert_eq!(bench.running().stores.slots().len(), 1);
    }
    assert_eq!(bench.turn_to(&good).unwrap(), None);
    let seen = load.end();
    lossless(&bench.end());
    assert_eq!(once(&receiver.told("qtap.artifact_record")).len(), seen.exchanges);
}

#[test]
fn left_over_queues_are_told_and_the_data_directory_is_taken_when_it_is_needed() {
    let receiver = Receiver::start();
    let mut bench = Bench::start("version: 2\nservices: {event_stores: [{type: stdout}]}\n");
    assert!(!bench.running().told.lock().unwrap().used && !bench.data_dir().exists());
    let load = bench.load();
    bench.turn_to(&config(&[receiver.store("a", "")], "summary")).unwrap().unwrap();
    assert!(bench.running().told.lock().unwrap().used && bench.data_dir().exists());
    let changed = bench.turn_to(&config(&[receiver.store("b", "")], "summary")).unwrap().unwrap();
    assert_eq!((changed.added, changed.gone), (ids(&["b"]), ids(&["a"])));
    assert_eq!(bench.running().told.lock().unwrap().left_over, ids(&["a+json"]));
    load.end();
    lossless(&bench.end());
}

#[test]
fn what_is_read_once_needs_a_restart() {
    let of = |plugin: &str| settings(&format!("version: 2\nstacks: {{s: {{plugins: [{{type: {plugin}}}]}}}}\n"));
    let started = of("http_metrics");
    assert_eq!(needs_restart(&started, &started), [] as [&str; 0]);
    let dns = settings("version: 2\nstacks: {s: {plugins: [{type: http_metrics}]}}\ntap: {audit_include_dns: true}\n");
    assert_eq!(needs_restart(&started, &dns), ["tap.audit_include_dns"]);
    assert_eq!(needs_restart(&dns, &started), [] as [&str; 0]);
    assert_eq!(needs_restart(&started, &of("http_metrics, config: {max_hosts: 7}")), ["http_metrics.max_hosts"]);
}
