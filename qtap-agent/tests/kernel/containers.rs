//! Container and pod of a process: control groups named as container runtimes name them, and runtimes that answer in time, late or
//! never.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, output_of, wait_until};
use super::nginx::Nginx;
use super::python::{interpreter, script};
use super::qtap::{Agent, exec, exec_script, get, run, text};
use super::records::{Record, Records, parse};
use super::scope::config;

const ID: &str = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988";
const UID: &str = "4a1f8a34-d7a5-4f4e-9f5b-1c2d3e4f5a6b";

/// A control group of the test, with its path as `/proc/PID/cgroup` shows it. Removed when the test ends.
struct Group {
    /// The directories that were created, outermost first.
    made: Vec<PathBuf>,
}

impl Group {
    /// In the hierarchy of version 2, wherever it is mounted.
    fn unified(path: &str) -> Group {
        Group::below(&mount(|kind, _| kind == "cgroup2").expect("a version 2 hierarchy"), path)
    }

    fn below(mount: &Path, path: &str) -> Group {
        // One test may have several side by side.
        static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut group = Group { made: Vec::new() };
        let mut at = mount.join(format!("qtap-test-{}-{number}", std::process::id()));
        for part in std::iter::once("").chain(path.split('/').filter(|part| !part.is_empty())) {
            at = if part.is_empty() { at } else { at.join(part) };
            std::fs::create_dir(&at).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
            group.made.push(at.clone());
        }
        group
    }

    /// Shell command that moves the shell that runs it into this group.
    fn enter(&self) -> String {
        format!("echo 0 > '{}/cgroup.procs'", self.made.last().unwrap().display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in self.made.iter().rev() {
            // An ended process leaves its group a moment later.
            for _ in 0..100 {
                if std::fs::remove_dir(dir).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

/// Where a hierarchy is mounted, by its kind and options.
fn mount(is_it: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind, options) = (words.next()?, words.next()?, words.next()?);
        is_it(kind, options).then(|| PathBuf::from(at))
    })
}

/// A runtime listening on a socket. None where there is no Python for it.
fn runtime(lab: &Lab, arguments: &[&str]) -> Option<(Guarded, String)> {
    let socket = lab.path(&format!("{}.sock", arguments[0])).display().to_string();
    let mut command = Command::new(interpreter()?);
    command.arg(script("runtimes.py")).arg(arguments[0]).arg(&socket).args(&arguments[1..]);
    let mut server = Guarded(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Some((server, format!("unix://{socket}")))
}

/// A shell that was outside the group when qtap started is moved in, out and in again, as a runtime moves the first process of a container.
#[test]
fn a_control_group_is_whoever_is_in_it_at_the_time() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let (group, elsewhere) = (Group::unified("watched/inner"), Group::unified("elsewhere"));
    let agent = Agent::start(&lab, ["--cgroup", &group.made[1].display().to_string()]);
    let ask = |query: &str| {
        let (tls, plain) = (nginx.https(&format!("/a.txt?tls-{query}")), nginx.http(&format!("/a.txt?plain-{query}")));
        format!("curl -sk '{tls}' && curl -s '{plain}'")
    };
    let became = nginx.https("/a.txt?became");
    let steps = [
        ask("before"),
        group.enter(),
        ask("in"),
        elsewhere.enter(),
        ask("out"),
        group.enter(),
        ask("again"),
        format!("exec curl -sk '{became}'"),
    ];
    let said = output_of(Command::new("sh").args(["-ec", &steps.join("\n")]));
    assert_eq!(said, "a\n".repeat(9));
    let wanted = ["became", "plain-again", "plain-in", "tls-again", "tls-in"];
    agent.wait_for("\"artifact_record\"", wanted.len());
    let records = agent.stop().records;
    records.assert_whole();
    let mut queries: Vec<&str> = records.exchanges().iter().map(|one| one.text("url.query")).collect();
    queries.sort_unstable();
    assert_eq!(queries, wanted, "{}", records.told());
    assert!(records.exchanges().iter().all(|one| one.text("process.executable.name") == "curl"), "{}", records.told());
}

/// All records of one connection of curl: each names the container.
fn of_curl(records: &Records) -> Vec<&Record> {
    let all: Vec<_> = records.all.iter().filter(|one| one.text("process.executable.name") == "curl").collect();
    assert!(!all.is_empty(), "{}", records.told());
    all
}

#[test]
fn a_control_group_tells_the_container_and_the_pod() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let escaped = UID.replace('-', "_");
    let kubelet = format!("kubepods.slice/kubepods-burstable-pod{escaped}.slice/cri-containerd-{ID}.scope");
    let mut groups = vec![(Group::unified(&kubelet), Some(UID))];
    // A host with version 1, or a hybrid: the group is in one of several hierarchies.
    if let Some(pids) = mount(|kind, options| kind == "cgroup" && options.split(',').any(|one| one == "pids")) {
        groups.push((Group::below(&pids, &format!("docker/{ID}")), None));
    }
    for (group, pod) in &groups {
        let ask = format!("{}; curl -sk '{}' '{}'", group.enter(), nginx.https("/a.txt?in"), nginx.http("/a.txt?in"));
        let records = exec_script(&lab, &[], &format!("curl -s '{}'; ( {ask} )", nginx.http("/a.txt?out"))).records;
        records.assert_whole();
        assert_eq!(records.exchanges().len(), 3, "{}", records.told());
        let outside = records.exchanges().into_iter().find(|one| one.text("url.query") == "out").unwrap();
        assert!(!outside.has("container.id") && !outside.has("k8s.pod.uid"), "{outside:?}");
        let inside = of_curl(&records).into_iter().filter(|one| one.connection() != outside.connection());
        let (mut kinds, mut count) = (std::collections::BTreeSet::new(), 0);
        for record in inside {
            assert_eq!(record.text("container.id"), ID, "{record:?}");
            assert_eq!(record.has("k8s.pod.uid").then(|| record.text("k8s.pod.uid")), *pod, "{record:?}");
            assert!(!record.has("container.name") && !record.has("k8s.pod.name"), "nobody was asked: {record:?}");
            kinds.insert(record.kind().to_owned());
            count += 1;
        }
        assert!(kinds.contains("artifact_record") && kinds.contains("connection") && count >= 4, "{kinds:?}");
    }
}

/// Tags, rules and stacks selected by the labels that Docker reports.
#[test]
fn docker_tells_name_image_and_labels() {
    let Some(lab) = Lab::open() else { return };
    let Some((_docker, socket)) = runtime(&lab, &["docker", ID]) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let group = Group::unified(&format!("system.slice/docker-{ID}.scope"));
    let plugins =
        |level: &str, rule: &str| format!("    plugins: [{{type: http_capture, config: {{level: {level}{rule}}}}}]\n");
    let file = format!(
        "version: 2
services:
  event_stores: [{{type: stdout}}]
  object_stores: [{{type: stdout}}]
stacks:
  default_stack:
{}  bodies:
{}tap:
  http: {{stack: default_stack}}
tags:
  - {{key: service, source: container.label, location: com.docker.compose.service}}
",
        plugins("summary", ""),
        plugins(
            "none",
            ", rules: [{name: ours, expr: 'src.container.labels.tier == \"front\" and src.container.name == \"shop-web-1\" and src.container.image contains \"shop/web:v7\"', level: full}]"
        ),
    );
    let file = lab.write("labels.yaml", file.as_bytes()).display().to_string();
    let script = format!("curl -s '{0}?out'; ( {1}; curl -s '{0}?in' )", nginx.http("/a.txt"), group.enter());
    let arguments = ["--config", &file, "--docker-socket-endpoint", &socket];
    let records = exec_script(&lab, &arguments, &script).records;
    records.assert_whole();
    let exchanges = records.exchanges();
    let mut queries: Vec<_> = exchanges.iter().map(|one| one.text("url.query")).collect();
    queries.sort_unstable();
    assert_eq!(queries, ["in", "out"], "the stack of the label has a rule that it passes: {}", records.told());
    assert_eq!(records.objects().len(), 2, "of it alone: {}", records.told());
    let exchanges: Vec<_> = exchanges.into_iter().filter(|one| one.text("url.query") == "in").collect();
    let body = records.artifact_of(exchanges[0], "response").to_string();
    assert!(body.contains("a\\n") || body.contains("YQo="), "{body}");
    let inside: Vec<_> = records.all.iter().filter(|one| one.has("container.id")).collect();
    assert!(inside.len() >= 3, "{}", records.told());
    for record in inside {
        assert_eq!(record.text("container.id"), ID);
        assert_eq!(record.text("container.name"), "shop-web-1");
        assert_eq!(record.text("container.image.name"), "registry.example.com:5000/shop/web");
        assert!(format!("{record:?}").contains("service:shop"), "{record:?}");
        assert!(format!("{record:?}").contains("v7"), "container.image.tags: {record:?}");
    }
}

/// The runtime knows the container only some time after it started. A replay of the recording gives the same records.
#[test]
fn cri_tells_of_the_pod_late_and_a_replay_does_too() {
    let Some(lab) = Lab::open() else { return };
    let Some((_cri, socket)) = runtime(&lab, &["cri", ID, "1.2"]) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let group = Group::unified(&format!("kubepods/burstable/pod{UID}/{ID}"));
    let tap = "tags:
  - {key: app, source: k8s.label, location: app}
  - {key: owner, source: k8s.annotation, location: owner}
";
    let rule = "level: none\n          rules: [{name: blue, expr: 'src.pod.labels.team == \"blue\" and src.pod.namespace == \"shop\" and src.pod.annotations.owner == \"ann\"', level: full}]";
    let file = lab.write("pod.yaml", config(rule, tap).as_bytes()).display().to_string();
    let recording = lab.path("r.qtap").display().to_string();
    let url = nginx.https("/a.txt");
    // The process sends its first request before the runtime knows the container, and lives on for a while.
    let line = format!("{}; curl -sk '{url}?early'; sleep 3; curl -sk '{url}?later'", group.enter());
    let arguments = ["--config", &file, "--cri-runtime-socket-endpoint", &socket, "--recording", &recording];
    let captured = exec(&lab, arguments, ["sh", "-c", &line]);
    let (records, said) = (captured.records, captured.stderr);
    let live = text(&lab.path("records.jsonl"));
    records.assert_whole();
    let mut queries: Vec<_> = records.exchanges().into_iter().map(|one| one.text("url.query")).collect();
    queries.sort_unstable();
    assert_eq!(queries, ["early", "later"], "{}\n{said}", records.told());
    for record in of_curl(&records) {
        assert_eq!(record.text("container.id"), ID);
        assert_eq!((record.text("container.name"), record.text("k8s.container.name")), ("app", "app"), "{record:?}");
        assert_eq!(record.text("container.image.name"), "docker.io/library/python");
        assert_eq!((record.text("k8s.pod.name"), record.text("k8s.namespace.name")), ("web-0", "shop"), "{record:?}");
        assert_eq!(record.text("k8s.pod.uid"), "11111111-2222-3333-4444-555555555555", "as the runtime tells it");
        let told = format!("{record:?}");
        assert!(told.contains("app:web") && told.contains("owner:ann"), "{told}");
    }
    let again = lab.path("again.jsonl");
    let replayed = run(&lab, ["replay", "--config", &file, "-o", &again.display().to_string(), &recording]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let facts = |lines: &str| -> Vec<[String; 5]> {
        let names = ["log.record.uid", "container.id", "container.name", "k8s.pod.name", "url.full"];
        let mut all: Vec<_> = parse(lines).all.iter().map(|one| names.map(|name| one.text(name).to_owned())).collect();
        all.sort();
        all
    };
    assert_eq!(facts(&text(&again)), facts(&live));
}

/// A runtime that hangs, and one that does not know the container: records are exported on time without its data, and counted.
#[test]
fn records_go_without_what_nobody_tells() {
    let Some(lab) = Lab::open() else { return };
    let Some((_hung, socket)) = runtime(&lab, &["hung"]) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let group = Group::unified(&format!("docker/{ID}"));
    let asks =
        format!("{}; while :; do curl -s -o /dev/null '{}'; sleep 0.2; done", group.enter(), nginx.http("/a.txt"));
    let asking = Guarded(Command::new("sh").args(["-c", &asks]).stdout(Stdio::null()).spawn().unwrap());
    let file = lab.write("plain.yaml", config("level: summary", "").as_bytes()).display().to_string();
    let pid = asking.pid().to_string();
    let arguments = [
        "--config",
        &file,
        "--pid",
        &pid,
        "--docker-socket-endpoint",
        &socket,
        "--cri-runtime-socket-endpoint",
        &socket,
    ];
    let agent = Agent::start(&lab, arguments);
    agent.wait_for("\"artifact_record\"", 5);
    let counted = || get(agent.port, "/metrics").unwrap_or_default();
    let waited = |metrics: &str| {
        let line = metrics.lines().find(|line| line.starts_with("qtap_loss_total{reason=\"container_unknown\"}"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    wait_until("what waited is counted", || waited(&counted()) >= 1.0);
    let captured = agent.stop();
    assert!(captured.stderr.contains("the container runtime can't be asked"), "{}", captured.stderr);
    let records = captured.records;
    for record in of_curl(&records) {
        assert_eq!(record.text("container.id"), ID, "its control group tells that much: {record:?}");
        assert!(!record.has("container.name"), "{record:?}");
    }
}

/// A process in its own pid namespace, root and user: records have the host's pid, the path as the process sees it, and its container.
#[test]
fn a_process_in_namespaces_of_its_own_is_called_what_it_is() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let group = Group::unified(&format!("machine.slice/libpod-{ID}.scope"));
    let jail = lab.path("jail");
    std::fs::create_dir(&jail).unwrap();
    std::fs::set_permissions(lab.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let curl = output_of(Command::new("sh").args(["-c", "readlink -f $(command -v curl)"]));
    let url = nginx.https("/a.txt");
    // The jail's content is visible only in that mount namespace. Inside, the pid is 1 or a little more.
    let inner = format!(
        "mount -t tmpfs none '{0}'; cp '{1}' '{0}/speaker'; chmod 755 '{0}' '{0}/speaker'; \
         exec setpriv --reuid 65534 --regid 65534 --clear-groups '{0}/speaker' -sk '{url}'",
        jail.display(),
        curl.trim(),
    );
    let inner = lab.write("inner.sh", inner.as_bytes());
    let script = format!(
        "{}; unshare --pid --fork --mount --mount-proc sh '{}'; ls '{}'",
        group.enter(),
        inner.display(),
        jail.display(),
    );
    let captured = exec_script(&lab, &[], &script);
    assert_eq!(captured.stdout, "a\n", "the jail is empty from here");
    let records = captured.records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 1, "{}", records.told());
    let pids: std::collections::BTreeSet<i64> = records.all.iter().map(|one| one.number("process.pid")).collect();
    assert!(pids.len() == 1 && pids.iter().all(|pid| *pid > 100), "the host's number: {pids:?}");
    for record in &records.all {
        let path = format!("{}/speaker", jail.display());
        assert_eq!(record.text("process.executable.path"), path, "{record:?}");
        assert_eq!(record.text("process.user.name"), "nobody", "{record:?}");
        assert_eq!(record.number("process.user.id"), 65_534);
        assert_eq!(record.text("container.id"), ID, "{record:?}");
        assert!(record.text("process.command").starts_with(&format!("{path} -sk ")), "{record:?}");
    }
}
