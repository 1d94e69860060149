//! Which records there are, and what they contain.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use super::*;

#[test]
fn the_level_says_which_records_there_are() {
    for (level, wanted) in [(Level::None, 0), (Level::Summary, 1), (Level::Details, 3), (Level::Full, 3)] {
        assert_eq!(json(level, http()).len(), wanted, "{level:?}");
        let closed = Observation::Connection(Box::new(report(ConnState::Closed, 0)));
        assert_eq!(apply(settings(level, Format::Json, Artifacts::Split), closed).len(), 1, "{level:?}");
    }
    let transaction = apply(settings(Level::Full, Format::Json, Artifacts::Transaction), seen(http()));
    assert_eq!(transaction.len(), 2);
    assert_eq!(object(&transaction[1]).artifact_type, "http_transaction");
    let none = Settings { http_stack: None, ..settings(Level::Full, Format::Json, Artifacts::Split) };
    assert_eq!(apply(none, seen(http())).len(), 0, "no stack, no payload");
    let nowhere = Settings { locators: Vec::new(), ..settings(Level::Full, Format::Json, Artifacts::Split) };
    let records = apply(nowhere, seen(http()));
    assert_eq!(records.len(), 1, "an object that nobody stores is not made");
    assert_eq!(artifact(&records[0]).request_artifact, None);
}

#[test]
fn the_artifact_record_is_filled() {
    let records = json(Level::Full, http());
    let (record, about) = (&records[0], artifact(&records[0]));
    assert_eq!(record.time_unix_ns, BOOT + 100_000_000);
    assert_eq!(record.observed_unix_ns, BOOT + 131_000_000);
    assert_eq!(record.severity, Severity::Info);
    assert_eq!(record.line, "POST https://shop.example:8443/pay?id=7 → 200 in 30.0 ms");
    assert_eq!(record.request_id.as_deref(), Some("11111111-1111-1111-1111-111111111111-0000000003"));
    assert_eq!(record.trace.unwrap().flags, 1);
    assert_eq!(about.method.as_deref(), Some("POST"));
    assert_eq!(about.url_full.as_deref(), Some("https://shop.example:8443/pay?id=7"));
    assert_eq!(about.url_scheme.as_deref(), Some("https"));
    assert_eq!(about.url_path.as_deref(), Some("/pay"));
    assert_eq!(about.url_query.as_deref(), Some("id=7"));
    assert_eq!(about.status, Some(200));
    assert_eq!(about.user_agent.as_deref(), Some("curl/8"));
    assert_eq!((about.request_body_size, about.response_body_size), (Some(15), Some(5)));
    assert_eq!(about.request_content_type, ["application/json"]);
    assert_eq!(about.response_content_type, ["text/plain"]);
    let timing = Timing {
        duration_ms: Some(30.0),
        time_to_first_byte_ms: Some(2.0),
        request_transfer_ms: Some(10.0),
        response_transfer_ms: Some(18.0),
    };
    assert_eq!(about.timing, timing);
    assert_eq!((&about.error_type, about.incomplete, &about.rpc, about.parts), (&None, None, &None, None));
    let (request, response) = (object(&records[1]), object(&records[2]));
    for (link, object) in [(&about.request_artifact, request), (&about.response_artifact, response)] {
        let link = link.as_ref().unwrap();
        assert_eq!(link.digest, object.digest);
        assert_eq!(link.url.strip_prefix("stdout://"), object.digest.strip_prefix("sha256:"));
    }
    assert_eq!(records[1].uid.len(), 32);
    assert!(records[0].uid != records[1].uid && records[1].uid != records[2].uid);
    assert!(records.iter().all(|r| r.origin.connection_id == "11111111-1111-1111-1111-111111111111"));
}

#[test]
fn the_origin_is_filled() {
    let records = json(Level::Summary, http());
    let origin = &records[0].origin;
    assert_eq!(origin.direction, Some("egress-external"));
    assert_eq!((origin.transport, origin.network_type), (Some("tcp"), Some("ipv4")));
    assert_eq!(
        (origin.protocol_name, origin.protocol_version, origin.protocol),
        (Some("http"), Some("1.1"), Some("http1"))
    );
    let (near, far) = (Address::Inet([10, 0, 0, 2].into(), 50000), Address::Inet([93, 184, 216, 34].into(), 8443));
    assert_eq!((origin.client.as_ref(), origin.server.as_ref()), (Some(&near), Some(&far)));
    assert_eq!((origin.local.as_ref(), origin.peer.as_ref()), (Some(&near), Some(&far)));
    assert_eq!(origin.process.as_ref().unwrap().executable_name(), "curl");
    assert_eq!(origin.tags, ["team:a"]);
}

#[test]
fn the_exchange_tells_the_role_that_the_connection_does_not_know() {
    let mut observation = seen(HttpExchange { outgoing: false, ..http() });
    if let Observation::Exchange(seen) = &mut observation {
        seen.conn = Arc::new(ConnFacts { role: Role::Unknown, ..conn() });
    }
    let records = apply(settings(Level::Summary, Format::Json, Artifacts::Split), observation);
    assert_eq!(records[0].origin.direction, Some("ingress"));
    assert_eq!(records[0].origin.server, Some(Address::Inet([10, 0, 0, 2].into(), 50000)));
}

#[test]
fn the_connection_record_is_filled() {
    let apply_one =
        |seen| apply(settings(Level::None, Format::Json, Artifacts::Split), Observation::Connection(Box::new(seen)));
    let records = apply_one(report(ConnState::Closed, 2));
    let (record, about) = (&records[0], connection(&records[0]));
    assert_eq!(
        record.line,
        "connection closed: curl → shop.example (http1 over TLS), 1000 B sent, 2000 B received, 1 request, 500.0 ms, 70 B lost"
    );
    assert_eq!((record.time_unix_ns, record.request_id.as_ref()), (BOOT + 590_000_000, None));
    assert_eq!((about.state, about.part, about.finalized), ("closed", 2, true));
    assert_eq!((about.bytes_sent, about.bytes_received), (1000, 2000));
    assert_eq!((about.captured_bytes, about.lost_bytes), (300, 70));
    assert_eq!(about.losses, [("body_limit", 70)]);
    assert_eq!((about.duration_ms, about.requests), (500.0, 1));
    assert_eq!(about.endpoint_id.as_deref(), Some("shop.example"));
    assert_eq!(about.binding, Some("nested"));
    assert_eq!((record.origin.protocol, record.origin.protocol_version), (Some("http1"), Some("1.1")));
    let http2 = Arc::new(ConnFacts { protocol: Protocol::Http2, ..conn() });
    let upgraded = apply_one(ConnectionSeen { conn: http2, ..report(ConnState::Closed, 2) });
    assert_eq!(upgraded[0].origin.protocol_version, Some("2"), "whatever its first exchange was of");
    let open = apply_one(report(ConnState::Open, 0));
    assert_eq!((connection(&open[0]).state, connection(&open[0]).finalized), ("open", false));
    let unnamed = apply_one(ConnectionSeen {
        authority: None,
        conn: Arc::new(ConnFacts { tls: None, protocol: Protocol::Unknown, ..conn() }),
        ..report(ConnState::Active, 1)
    });
    assert_eq!(connection(&unnamed[0]).endpoint_id.as_deref(), Some("93.184.216.34"));
    assert_eq!(unnamed[0].origin.protocol, Some("tcp"));
}

#[test]
fn severity_and_error_type_follow_the_outcome() {
    let outcome = |status, outgoing, incomplete| {
        let http = HttpExchange { response: Some(Response { status, ..response() }), outgoing, incomplete, ..http() };
        let records = json(Level::Summary, http);
        (records[0].severity, artifact(&records[0]).error_type.clone())
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(outcome(Some(399), true, None), (Severity::Info, None));
    assert_eq!(outcome(Some(404), true, None), (Severity::Warn, text("404")));
    assert_eq!(outcome(Some(404), false, None), (Severity::Warn, None));
    assert_eq!(outcome(Some(503), false, None), (Severity::Error, text("503")));
    assert_eq!(outcome(None, true, Some(Incomplete::NoResponse)), (Severity::Error, text("no_response")));
    assert_eq!(outcome(Some(200), true, Some(Incomplete::Reset)), (Severity::Error, text("reset")));
    // What qtap did not observe is not an error of the exchange.
    for unseen in [Incomplete::BytesLost, Incomplete::JoinedLate, Incomplete::FieldsUnknown, Incomplete::StillOpen] {
        assert_eq!(outcome(Some(200), true, Some(unseen)), (Severity::Info, None), "{unseen:?}");
    }
    assert_eq!(outcome(Some(503), true, Some(Incomplete::BytesLost)), (Severity::Error, text("503")));
}

#[test]
fn grpc_is_named_as_the_conventions_have_it() {
    let mut http = HttpExchange { protocol: Protocol::Grpc, ..http() };
    if let (Some(request), Some(response)) = (&mut http.request, &mut http.response) {
        request.target = Some("/helloworld.Greeter/SayHello".to_owned());
        (request.version, response.version) = (Version::Http2, Version::Http2);
        response.trailers = fields(&[("grpc-status", "5"), ("grpc-message", "no %22me%22")]);
    }
    let records = json(Level::Summary, http);
    let about = artifact(&records[0]);
    let rpc = Rpc {
        method: Some("helloworld.Greeter/SayHello".to_owned()),
        status: Some("NOT_FOUND".to_owned()),
        message: Some("no \"me\"".to_owned()),
    };
    assert_eq!(about.rpc, Some(rpc));
    assert_eq!(records[0].severity, Severity::Warn);
    assert_eq!((records[0].origin.protocol, records[0].origin.protocol_version), (Some("grpc"), Some("2")));
}

#[test]
fn half_an_exchange_makes_half_the_objects() {
    let http = HttpExchange { response: None, incomplete: Some(Incomplete::NoResponse), ..http() };
    let records = json(Level::Full, http);
    assert_eq!(records.len(), 2);
    let about = artifact(&records[0]);
    assert_eq!((about.status, about.timing.duration_ms, about.incomplete), (None, None, Some("no_response")));
    assert!(about.request_artifact.is_some() && about.response_artifact.is_none());
    assert_eq!(records[0].line, "POST https://shop.example:8443/pay?id=7 → no status (no_response)");
}

#[test]
fn the_same_observations_give_the_same_records() {
    let run = || format!("{:?}", json(Level::Full, http()));
    assert_eq!(run(), run());
}
