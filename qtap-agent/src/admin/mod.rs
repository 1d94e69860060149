//! The admin server: health, readiness, metrics, status and processes, over HTTP/1, for people, probes and scrapers.
//!
//! In: plain data that the caller supplies for each request; the server keeps nothing and changes nothing in the agent. Out: pages without
//! payload, header values or query strings. It answers `GET` and `HEAD` only and bounds its clients: the number of connections, the size of
//! a request head, and the time a client may take to send it.

#[cfg(test)]
mod dashboard;
pub mod http_metrics;
mod metrics;
mod prometheus;
pub mod telemetry;
pub mod view;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use http_metrics::HttpFamilies;
use prometheus::Page;
use view::{LimitsView, ProcessesView, Snapshot};

/// A function that produces the value each time it is shown.
pub type Supply<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// Connections served at once; more wait in the listener's queue.
const CONNECTIONS: usize = 64;
/// How long a client may take to send a request head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Size of the read buffer of a connection, in bytes, which bounds a request head.
const BUFFER: usize = 16 << 10;

/// The data that the pages show.
#[derive(Clone)]
pub struct State {
    /// The state of the agent.
    pub snapshot: Supply<Snapshot>,
    /// The processes that the agent knows.
    pub processes: Supply<ProcessesView>,
    /// HTTP metrics, when they are collected.
    pub http: Option<HttpFamilies>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("http", &self.http).finish_non_exhaustive()
    }
}

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens on the address.
    #[error(
        "{listen} is taken: another qtap, or another program, listens there; choose another address for health and metrics \
         with --httpd-listen (HTTPD_LISTEN)"
    )]
    Taken {
        /// The address.
        listen: String,
    },
    /// Listening failed for another reason.
    #[error("cannot listen on {listen} for health and metrics (--httpd-listen, HTTPD_LISTEN): {cause}")]
    Listen {
        /// The address.
        listen: String,
        /// The underlying error.
        cause: std::io::Error,
    },
}

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Server {
    /// The address it listens on, with the port that the kernel assigned if port 0 was requested.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the server and waits until all its tasks have ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Listens on `listen` (`host:port`) and serves `state` in the background.
///
/// # Errors
/// When the address is taken or can't be listened on.
pub async fn serve(listen: &str, state: State) -> Result<Server, ServeError> {
    let error = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::AddrInUse => ServeError::Taken { listen: listen.to_owned() },
        _ => ServeError::Listen { listen: listen.to_owned(), cause },
    };
    let listener = TcpListener::bind(listen).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    let page = Page::new(Arc::clone(&state.snapshot), state.http.as_ref());
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, Arc::new((state, page))));
    Ok(Server { address, tasks })
}

async fn accept(listener: TcpListener, shown: Arc<(State, Page)>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shown)));
                }
                // Most likely out of file descriptors; retry after a moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shown: Arc<(State, Page)>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let shown = Arc::clone(&shown);
        async move { Ok::<_, Infallible>(answer_of(&request, shown).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(BUFFER);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a connection to the health and metrics server broke");
    }
}

async fn answer_of(request: &Request<Incoming>, shown: Arc<(State, Page)>) -> Response<Full<Bytes>> {
    if matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() == "/processes" {
        return processes(shown).await;
    }
    answer(request.method(), request.uri().path(), &shown.0, &shown.1)
}

/// Building this page may read many files, so it runs on a blocking thread, and one request at a time.
async fn processes(shown: Arc<(State, Page)>) -> Response<Full<Bytes>> {
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    match tokio::task::spawn_blocking(move || json!((shown.0.processes)())).await {
        Ok(processes) => json_page(&processes),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the processes could not be looked at\n".to_owned()),
    }
}

fn answer(method: &Method, path: &str, state: &State, page: &Page) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => ready(&(state.snapshot)()),
        "/metrics" => match page.render() {
            Ok(metrics) => response(StatusCode::OK, prometheus::CONTENT_TYPE, metrics.into()),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n".to_owned()),
        },
        "/status" => json_page(&status(&(state.snapshot)())),
        _ => text(StatusCode::NOT_FOUND, "there are: /healthz /readyz /metrics /status /processes\n".to_owned()),
    }
}

fn ready(snapshot: &Snapshot) -> Response<Full<Bytes>> {
    let waits_for = snapshot.waits_for();
    if waits_for.is_empty() {
        return text(StatusCode::OK, "ready\n".to_owned());
    }
    text(StatusCode::SERVICE_UNAVAILABLE, waits_for.join("\n") + "\n")
}

fn status(snapshot: &Snapshot) -> serde_json::Value {
    let losses = snapshot.losses.iter().map(|(loss, count, bytes)| {
        let counted = json!({ "count": count, "bytes": bytes });
        (loss.name().to_owned(), counted)
    });
    let counts = |counts: &[(&str, u64)]| {
        let members = counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count)));
        serde_json::Value::Object(members.collect())
    };
    let stores = snapshot.stores.iter().map(|store| {
        let mut store_json = json!(store);
        store_json["records"] = counts(&store.records);
        let dropped = store
            .dropped
            .iter()
            .map(|(loss, count, bytes)| ((*loss).to_owned(), json!({ "count": count, "bytes": bytes })));
        store_json["dropped"] = serde_json::Value::Object(dropped.collect());
        store_json
    });
    json!({
        "version": snapshot.version,
        "ready": snapshot.waits_for().is_empty(),
        "waits_for": snapshot.waits_for(),
        "stores": stores.collect::<Vec<_>>(),
        "config": snapshot.config,
        "process": snapshot.process,
        "privileges": snapshot.privileges,
        "data_dir": snapshot.data_dir,
        "host": snapshot.host,
        "runtimes": snapshot.runtimes,
        "probes": snapshot.probes,
        "events": counts(&snapshot.events),
        "connections": snapshot.connections,
        "feedback": snapshot.feedback,
        "limits": snapshot.limits.as_ref().map(limits),
        "losses": losses.collect::<serde_json::Map<_, _>>(),
        "body_bytes_unwanted": snapshot.body_bytes_unwanted,
        "rules": snapshot.rules.iter().map(|(rule, count)| (rule.clone(), json!(count))).collect::<serde_json::Map<_, _>>(),
        "ring": snapshot.ring,
        "resident_bytes": snapshot.resident_bytes,
        "cpu_seconds": snapshot.cpu_seconds,
    })
}

fn limits(limits: &LimitsView) -> serde_json::Value {
    let mut shown = json!(limits);
    shown["begun"] = limits.begun.iter().map(|(step, count)| ((*step).to_owned(), json!(count))).collect();
    shown
}

fn json_page(value: &serde_json::Value) -> Response<Full<Bytes>> {
    response(StatusCode::OK, "application/json", format!("{value:#}\n").into())
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests: no answer from the server is a failure
mod tests {
    use super::*;
    use crate::model::host::{Finding, Report};
    use crate::model::loss::{Loss, Tally};
    use crate::model::shed::Shed;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use view::{
        ConfigView, ConnectionsView, DataDirView, FeedbackView, OwnView, PrivilegesView, ProbeView, ProcessView,
        ReloadView, ReloadsView, RingView, RuntimeView, StoreView,
    };

    pub(super) fn snapshot() -> Snapshot {
        let mut losses = Tally::default();
        losses.add_many(Loss::RingFull, 2, 300);
        Snapshot {
            version: "0.1.0".to_owned(),
            probes_ready: true,
            probes: vec![ProbeView { name: "ssl_write".to_owned(), attached: true, ..ProbeView::default() }],
            stores: vec![StoreView {
                id: "main".to_owned(),
                kind: "otel",
                started: true,
                records: vec![("exported", 7)],
                queue: "disk",
                oldest_seconds: Some(2.5),
                dropped: vec![("queue_drop_oldest", 4, 400)],
                dead_lettered: 1,
                sends: 9,
                send_seconds: 0.75,
                send_counts: vec![(0.1, 6), (1.0, 3), (f64::INFINITY, 0)],
                state: "misconfigured",
                last_warning: Some("old SDK".to_owned()),
                last_partial_success: Some(view::PartialView {
                    unix_ns: Some(7),
                    rejected_records: 2,
                    message: "too old".to_owned(),
                }),
                cut_attributes: 3,
                last_success_unix_ns: Some(1_500_000_000),
                ..StoreView::default()
            }],
            data_dir: Some(DataDirView { path: "/d".to_owned(), used: true, ..DataDirView::default() }),
            host: Some(Report::of(vec![Finding::degraded("cgroups", "f", "e", "r"), Finding::ok("ring", "8 MiB")])),
            runtimes: vec![RuntimeView { kind: "cri", told: 7, failed: 2, ..RuntimeView::default() }],
            config: Some(ConfigView {
                source: Some("qtap.yaml".to_owned()),
                reloads: ReloadsView { accepted: 2, unchanged: 1, refused: 3 },
                last_reload: Some(ReloadView {
                    outcome: "refused",
                    faults: vec!["f".to_owned()],
                    ..ReloadView::default()
                }),
                last_success_unix_ns: 2_500_000_000,
                ..ConfigView::default()
            }),
            process: OwnView { pid: 77, started_ticks: 5 },
            privileges: Some(PrivilegesView { capabilities: vec!["sys_admin".to_owned()], no_new_privs: true }),
            events: vec![("passed", 12)],
            connections: ConnectionsView {
                opened: 3,
                closed: 1,
                active: 2,
                bytes_sent: 10,
                bytes_received: 20,
                bytes_unwanted: 7,
            },
            limits: Some(LimitsView {
                max_cpu: Some(0.5),
                shedding: Shed::Heads,
                begun: vec![("bodies", 2), ("heads", 1)],
                ..LimitsView::default()
            }),
            feedback: Some(FeedbackView { qtap_connections: 4, store_bytes: 99, ..FeedbackView::default() }),
            losses,
            body_bytes_unwanted: 77,
            rules: vec![("errors".to_owned(), 5)],
            ring: Some(RingView { bytes_used: 64, full: 1 }),
            resident_bytes: 1000,
            cpu_seconds: 0.25,
        }
    }

    fn state(snapshot: Snapshot) -> State {
        let process = ProcessView { pid: 42, executable: "/usr/bin/curl".to_owned(), ..ProcessView::default() };
        State {
            snapshot: Arc::new(move || snapshot.clone()),
            processes: Arc::new(move || ProcessesView { processes: vec![process.clone()], ..ProcessesView::default() }),
            http: Some(http_metrics::HttpMetrics::new(100).families()),
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_page_answers() {
        let server = serve("127.0.0.1:0", state(snapshot())).await.unwrap();
        let at = server.address();
        assert!(ask(at, "GET /healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(ask(at, "GET /readyz?verbose").await.ends_with("\r\n\r\nready\n"));
        assert!(ask(at, "HEAD /status").await.ends_with("\r\n\r\n"));
        assert!(ask(at, "GET /nothing").await.starts_with("HTTP/1.1 404"));
        let refused = ask(at, "POST /status").await;
        assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD"), "{refused}");
        let processes = ask(at, "GET /processes").await;
        assert!(processes.contains(r#""executable": "/usr/bin/curl""#), "{processes}");
        let status = ask(at, "GET /status").await;
        let status: serde_json::Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(status["ready"], true);
        assert_eq!((&status["body_bytes_unwanted"], &status["rules"]["errors"]), (&json!(77), &json!(5)));
        assert_eq!(status["losses"]["ring_full"], json!({"count": 2, "bytes": 300}));
        assert_eq!(status["stores"][0]["records"]["exported"], 7);
        let store = &status["stores"][0];
        assert_eq!((&store["state"], &store["last_warning"]), (&json!("misconfigured"), &json!("old SDK")));
        let partial = json!({"unix_ns": 7, "rejected_records": 2, "message": "too old"});
        assert_eq!((&store["last_partial_success"], &store["cut_attributes"]), (&partial, &json!(3)));
        assert_eq!(status["stores"][0]["dropped"]["queue_drop_oldest"], json!({"count": 4, "bytes": 400}));
        assert_eq!((&status["stores"][0]["queue"], &status["data_dir"]["path"]), (&json!("disk"), &json!("/d")));
        assert_eq!((&status["config"]["reloads"]["refused"], &status["process"]["pid"]), (&json!(3), &json!(77)));
        assert_eq!(status["config"]["last_reload"]["faults"], json!(["f"]));
        assert_eq!(status["privileges"], json!({"capabilities": ["sys_admin"], "no_new_privs": true}));
        assert_eq!(status["feedback"]["qtap_connections"], 4);
        assert_eq!((&status["limits"]["shedding"], &status["limits"]["begun"]["bodies"]), (&json!("heads"), &json!(2)));
        assert_eq!(status["host"]["state"], "degraded");
        assert_eq!((&status["runtimes"][0]["kind"], &status["runtimes"][0]["told"]), (&json!("cri"), &json!(7)));
        let cgroups =
            json!({"requirement": "cgroups", "state": "degraded", "found": "f", "effect": "e", "remedy": "r"});
        assert_eq!(status["host"]["requirements"][0], cgroups);
        server.stop().await;
        assert!(TcpStream::connect(at).await.is_err(), "stopped");
    }

    #[tokio::test]
    async fn metrics_have_the_names_of_the_contract() {
        let server = serve("127.0.0.1:0", state(snapshot())).await.unwrap();
        let page = ask(server.address(), "GET /metrics").await;
        for line in [
            "qtap_connections_opened_total 3\n",
            "qtap_connections_closed_total 1\n",
            "qtap_connections_active 2\n",
            "qtap_body_bytes_unwanted_total 77\n",
            "qtap_rule_passed_total{rule=\"errors\"} 5\n",
            "qtap_connection_bytes_total{direction=\"sent\"} 10\n",
            "qtap_kernel_unwanted_bytes_total 7\n",
            "qtap_feedback_connections_total{made_by=\"qtap\"} 4\n",
            "qtap_feedback_bytes_total{made_by=\"store\"} 99\n",
            "qtap_shedding{step=\"bodies\"} 1\n",
            "qtap_shedding{step=\"heads\"} 1\n",
            "qtap_shedding{step=\"connections\"} 0\n",
            "qtap_shedding_begun_total{step=\"bodies\"} 2\n",
            "qtap_events_total{kind=\"passed\"} 12\n",
            "qtap_loss_total{reason=\"ring_full\"} 2\n",
            "qtap_loss_bytes_total{reason=\"ring_full\"} 300\n",
            "qtap_ring_bytes_used 64\n",
            "qtap_ring_full_total 1\n",
            "qtap_probe_attached{probe=\"ssl_write\"} 1\n",
            "qtap_export_records_total{store=\"main\",outcome=\"exported\"} 7\n",
            "qtap_export_queue_records{store=\"main\"} 0\n",
            "qtap_export_queue_oldest_seconds{store=\"main\"} 2.5\n",
            "qtap_export_dropped_records_total{store=\"main\",reason=\"queue_drop_oldest\"} 4\n",
            "qtap_export_dead_letter_records_total{store=\"main\"} 1\n",
            "qtap_export_batches_total{store=\"main\"} 9\n",
            "# TYPE qtap_export_batch_seconds histogram\n",
            "qtap_export_batch_seconds_sum{store=\"main\"} 0.75\n",
            "qtap_export_batch_seconds_count{store=\"main\"} 9\n",
            "qtap_export_batch_seconds_bucket{le=\"1.0\",store=\"main\"} 9\n",
            "qtap_export_batch_seconds_bucket{le=\"+Inf\",store=\"main\"} 9\n",
            "qtap_loss_total{reason=\"queue_damaged\"} 0\n",
            "qtap_loss_bytes_total{reason=\"unparsed\"} 0\n",
            "qtap_export_last_success_timestamp_seconds{store=\"main\"} 1.5\n",
            "qtap_config_reloads_total{outcome=\"accepted\"} 2\n",
            "qtap_config_reloads_total{outcome=\"refused\"} 3\n",
            "qtap_runtime_questions_total{runtime=\"cri\",outcome=\"told\"} 7\n",
            "qtap_runtime_questions_total{runtime=\"cri\",outcome=\"failed\"} 2\n",
            "qtap_config_last_reload_success_timestamp_seconds 2.5\n",
            "qtap_process_resident_memory_bytes 1000\n",
            "process_cpu_seconds_total 0.25\n",
            "# EOF\n",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }

    #[tokio::test]
    async fn readiness_is_not_always_true() {
        let mut waiting = snapshot();
        waiting.probes_ready = false;
        waiting.stores[0].started = false;
        let server = serve("127.0.0.1:0", state(waiting)).await.unwrap();
        let answer = ask(server.address(), "GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("probes are not attached\nstore main has not started\n"), "{answer}");
        assert!(ask(server.address(), "GET /healthz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_taken_port_is_said_in_plain_words() {
        let server = serve("127.0.0.1:0", state(snapshot())).await.unwrap();
        let listen = server.address().to_string();
        let error = serve(&listen, state(snapshot())).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{listen} is taken")) && error.contains("--httpd-listen"), "{error}");
        let error = serve("127.0.0.1:port", state(snapshot())).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on 127.0.0.1:port"), "{error}");
    }
}
