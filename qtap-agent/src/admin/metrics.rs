//! The agent's own metrics: a [`Snapshot`] → families of points. The Prometheus page and qtap's own OTLP telemetry share this one list.
//! Names are those of the contract, without the `_total` that the exposition format adds to counters.

use crate::model::loss::Loss;
use crate::model::shed::Shed;

use super::view::{FeedbackView, Snapshot, StoreView};

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only increases.
    Counter,
    /// Can go up and down.
    Gauge,
    /// A distribution of durations.
    Histogram,
}

/// A value at the moment of the snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Int(u64),
    Float(f64),
    /// Sum, count, and the count of each bucket (not cumulative), which holds values up to its bound; the last bound is infinite.
    Spread {
        sum: f64,
        count: u64,
        buckets: Vec<(f64, u64)>,
    },
}

/// One point: its labels and its value.
pub(super) type Point = (Vec<(&'static str, String)>, Value);

/// All points of one metric name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) points: Vec<Point>,
}

/// Every family, always all of them and in the same order, so that a metric name never appears or disappears.
pub(super) fn families(snapshot: &Snapshot) -> Vec<Family> {
    let mut all = connections(snapshot);
    all.extend(feedback(snapshot));
    all.extend(limits(snapshot));
    all.extend(losses(snapshot));
    all.extend(probes(snapshot));
    all.extend(stores(snapshot));
    all.extend(config(snapshot));
    all.push(runtimes(snapshot));
    let resident = vec![plain(Value::Int(snapshot.resident_bytes))];
    all.push(gauge("qtap_process_resident_memory_bytes", "Resident memory of the agent", resident));
    let cpu = vec![plain(Value::Float(snapshot.cpu_seconds))];
    all.push(counter("process_cpu_seconds", "Processor time the agent has used", cpu));
    all
}

fn connections(snapshot: &Snapshot) -> Vec<Family> {
    let seen = &snapshot.connections;
    let one = |value| vec![plain(Value::Int(value))];
    let rules = snapshot.rules.iter().map(|(rule, count)| (vec![("rule", rule.clone())], Value::Int(*count))).collect();
    let bytes = [("sent", seen.bytes_sent), ("received", seen.bytes_received)];
    vec![
        counter("qtap_connections_opened", "Connections opened, or seen for the first time", one(seen.opened)),
        counter("qtap_connections_closed", "Connections closed", one(seen.closed)),
        gauge("qtap_connections_active", "Connections that are open", one(seen.active)),
        counter("qtap_connection_bytes", "Bytes that probed processes moved", labelled("direction", bytes)),
        counter(
            "qtap_kernel_unwanted_bytes",
            "Bytes not copied out of the kernel because no stack wants their connection",
            one(seen.bytes_unwanted),
        ),
        counter(
            "qtap_body_bytes_unwanted",
            "Bytes of bodies that were read and not kept, because no level and no rule wants them",
            one(snapshot.body_bytes_unwanted),
        ),
        counter("qtap_rule_passed", "Exchanges of which a rule was the first to pass", rules),
        counter("qtap_events", "Events from the probes", labelled("kind", snapshot.events.iter().copied())),
    ]
}

fn feedback(snapshot: &Snapshot) -> Vec<Family> {
    let each = |of: fn(&FeedbackView) -> [u64; 2]| {
        let counts = snapshot.feedback.as_ref().map(of).map(|[qtap, stores]| [("qtap", qtap), ("store", stores)]);
        labelled("made_by", counts.into_iter().flatten())
    };
    vec![
        counter(
            "qtap_feedback_connections",
            "Connections left out because they carry what qtap exports",
            each(|seen| [seen.qtap_connections, seen.store_connections]),
        ),
        counter(
            "qtap_feedback_bytes",
            "Bytes of connections left out because they carry what qtap exports",
            each(|seen| [seen.qtap_bytes, seen.store_bytes]),
        ),
    ]
}

fn limits(snapshot: &Snapshot) -> Vec<Family> {
    let limits = snapshot.limits.as_ref();
    let sheds = |step: Shed| limits.map(|limits| (step.name(), u64::from(limits.shedding >= step)));
    let steps = Shed::ALL.into_iter().filter(|step| *step != Shed::Nothing).filter_map(sheds);
    let begun = limits.map(|limits| limits.begun.clone()).unwrap_or_default();
    vec![
        gauge(
            "qtap_shedding",
            "1 while this is given up to keep within --max-cpu and --max-memory",
            labelled("step", steps),
        ),
        counter("qtap_shedding_begun", "How often it was begun to give this up", labelled("step", begun)),
    ]
}

fn losses(snapshot: &Snapshot) -> Vec<Family> {
    // Includes losses that did not occur: a series that starts with its first loss would show no increase from 0 to 1.
    let counts = Loss::ALL.map(|loss| (loss.name(), snapshot.losses.count(loss)));
    let bytes = Loss::ALL.map(|loss| (loss.name(), snapshot.losses.bytes(loss)));
    let ring = |value: Option<u64>| value.map(Value::Int).map(plain).into_iter().collect();
    vec![
        counter("qtap_loss", "How often something did not arrive, by reason", labelled("reason", counts)),
        counter("qtap_loss_bytes", "Bytes that did not arrive, by reason", labelled("reason", bytes)),
        gauge("qtap_ring_bytes_used", "Bytes waiting in the ring", ring(snapshot.ring.map(|ring| ring.bytes_used))),
        counter("qtap_ring_full", "How often the ring had no room", ring(snapshot.ring.map(|ring| ring.full))),
    ]
}

fn probes(snapshot: &Snapshot) -> Vec<Family> {
    let labels = |name: &str| vec![("probe", name.to_owned())];
    let probes = &snapshot.probes;
    let attached = probes.iter().map(|probe| (labels(&probe.name), Value::Int(probe.attached.into()))).collect();
    let calls = probes.iter().filter_map(|probe| Some((labels(&probe.name), Value::Int(probe.calls?)))).collect();
    let seconds = probes.iter().filter_map(|probe| Some((labels(&probe.name), Value::Float(probe.seconds?)))).collect();
    vec![
        gauge("qtap_probe_attached", "1 when the probe is attached", attached),
        counter("qtap_probe_calls", "How often the probe ran", calls),
        counter("qtap_probe_seconds", "Time spent in the probe", seconds),
    ]
}

fn stores(snapshot: &Snapshot) -> Vec<Family> {
    let each = |value: fn(&StoreView) -> Option<Value>| {
        let labels = |store: &StoreView| vec![("store", store.id.clone())];
        snapshot.stores.iter().filter_map(|store| Some((labels(store), value(store)?))).collect::<Vec<_>>()
    };
    let records = snapshot.stores.iter().flat_map(|store| {
        let labels = |outcome: &str| vec![("store", store.id.clone()), ("outcome", outcome.to_owned())];
        store.records.iter().map(move |(outcome, count)| (labels(outcome), Value::Int(*count)))
    });
    let dropped = snapshot.stores.iter().flat_map(|store| {
        let labels = |loss: &str| vec![("store", store.id.clone()), ("reason", loss.to_owned())];
        store.dropped.iter().map(move |(loss, count, _)| (labels(loss), Value::Int(*count)))
    });
    vec![
        counter("qtap_export_dropped_records", "Records dropped, by reason", dropped.collect()),
        counter(
            "qtap_export_dead_letter_records",
            "Refused records kept in the dead-letter file",
            each(|store| Some(Value::Int(store.dead_lettered))),
        ),
        gauge(
            "qtap_export_queue_oldest_seconds",
            "How long the oldest record has waited",
            each(|store| store.oldest_seconds.map(Value::Float)),
        ),
        counter("qtap_export_batches", "Requests made", each(|store| Some(Value::Int(store.sends)))),
        Family {
            name: "qtap_export_batch_seconds",
            help: "Time that requests took",
            kind: Kind::Histogram,
            points: each(|store| {
                let (sum, count) = (store.send_seconds, store.sends);
                Some(Value::Spread { sum, count, buckets: store.send_counts.clone() })
            }),
        },
        counter("qtap_export_records", "Records by what became of them", records.collect()),
        gauge("qtap_export_queue_records", "Records waiting", each(|store| Some(Value::Int(store.queued_records)))),
        gauge("qtap_export_queue_bytes", "Bytes waiting", each(|store| Some(Value::Int(store.queued_bytes)))),
        gauge(
            "qtap_export_last_success_timestamp_seconds",
            "Unix time of the last success",
            each(|store| store.last_success_unix_ns.map(|unix_ns| Value::Float(unix_ns as f64 / 1e9))),
        ),
    ]
}

fn config(snapshot: &Snapshot) -> Vec<Family> {
    let config = snapshot.config.as_ref();
    let outcomes = config.map(|config| {
        let reloads = &config.reloads;
        [("accepted", reloads.accepted), ("unchanged", reloads.unchanged), ("refused", reloads.refused)]
    });
    let success = config.map(|config| plain(Value::Float(config.last_success_unix_ns as f64 / 1e9)));
    vec![
        counter(
            "qtap_config_reloads",
            "Attempts to exchange the config",
            labelled("outcome", outcomes.into_iter().flatten()),
        ),
        gauge(
            "qtap_config_last_reload_success_timestamp_seconds",
            "Unix time when the config was last found to be good",
            success.into_iter().collect(),
        ),
    ]
}

fn runtimes(snapshot: &Snapshot) -> Family {
    let questions = snapshot.runtimes.iter().flat_map(|runtime| {
        let labels = |outcome: &str| vec![("runtime", runtime.kind.to_owned()), ("outcome", outcome.to_owned())];
        [("told", runtime.told), ("not_found", runtime.not_found), ("failed", runtime.failed)]
            .map(|(outcome, count)| (labels(outcome), Value::Int(count)))
    });
    counter("qtap_runtime_questions", "Questions to container runtimes, by what became of them", questions.collect())
}

fn plain(value: Value) -> Point {
    (Vec::new(), value)
}

fn labelled(label: &'static str, values: impl IntoIterator<Item = (&'static str, u64)>) -> Vec<Point> {
    values.into_iter().map(|(name, value)| (vec![(label, name.to_owned())], Value::Int(value))).collect()
}

fn counter(name: &'static str, help: &'static str, points: Vec<Point>) -> Family {
    Family { name, help, kind: Kind::Counter, points }
}

fn gauge(name: &'static str, help: &'static str, points: Vec<Point>) -> Family {
    Family { name, help, kind: Kind::Gauge, points }
}
