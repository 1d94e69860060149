//! Data written before its session was known: reported as that session's, in its place; or not.

use super::*;
use crate::model::event::SessionJoined;

impl Bench {
    fn open_part(&mut self, id: u64) {
        let (session, time) = (SessionId(id), self.time());
        let library = Some("rustls".to_owned());
        self.event(Event::SessionOpened(SessionOpened {
            session,
            time,
            pid: PID,
            library,
            joined_late: false,
            is_part: true,
            on_trial: None,
        }));
    }

    fn join_part(&mut self, id: u64, whose: Option<u64>, offset: u64) {
        let (part, session, time) = (SessionId(id), whose.map(SessionId), self.time());
        self.event(Event::SessionJoined(SessionJoined { part, session, offset, time }));
    }
}

#[test]
fn a_part_is_its_sessions() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_part(8);
    bench.pass(session(8), Sent, REQUEST);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.join_part(8, Some(9), 0);
    bench.offsets.insert((session(9), Sent), REQUEST.len() as u64);
    bench.pass(session(9), Received, RESPONSE);
    bench.exchange(session(9));
    bench.close_session(9);
    bench.close(1);
    let (exchanges, reports) = (bench.exchanges(), bench.reports());
    assert_eq!((exchanges.len(), reports.len()), (2, 1));
    assert!(exchanges.iter().all(|seen| seen.conn.uid == reports[0].conn.uid && http(seen).request.is_some()));
    assert!(reports[0].losses.is_empty(), "{:?}", reports[0].losses);
}

#[test]
fn one_that_comes_later_begins_where_it_was_written() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    // Another key: what is written under it follows the first request.
    bench.open_part(8);
    bench.pass(session(8), Sent, REQUEST);
    bench.join_part(8, Some(9), REQUEST.len() as u64);
    bench.offsets.insert((session(9), Sent), 2 * REQUEST.len() as u64);
    bench.pass(session(9), Received, RESPONSE);
    bench.close_session(9);
    bench.close(1);
    assert_eq!(bench.exchanges().len(), 2);
    assert!(bench.reports()[0].losses.is_empty(), "{:?}", bench.reports()[0].losses);
}

#[test]
fn what_nobody_asked_for_is_not_told() {
    let mut bench = Bench::new();
    bench.open_part(8);
    bench.pass(session(8), Sent, REQUEST);
    bench.join_part(8, None, 0);
    bench.tick(5_000);
    bench.tap.finish(KernelTime(6_000 * MS), &mut bench.out);
    assert_eq!((bench.exchanges().len(), bench.reports().len()), (0, 0));
}

#[test]
fn what_is_nobodys_for_long_is_not_told() {
    let ends: [fn(&mut Bench); 4] = [
        |bench| bench.tick(3_000),
        |bench| bench.close_session(8),
        |bench| bench.event(Event::ProcessGone { pid: PID, time: bench.time() }),
        |bench| (0..17).for_each(|_| bench.pass(session(8), Sent, vec![b'x'; 1 << 20])),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let mut bench = Bench::new();
        bench.open(1);
        bench.handshake(1, 500);
        bench.open_part(8);
        bench.pass(session(8), Sent, REQUEST);
        end(&mut bench);
        // Whatever still arrives of it, even if it is joined after all.
        if number != 1 && number != 2 {
            bench.pass(session(8), Sent, REQUEST);
        }
        bench.open_session(9);
        bench.bind(9, 1);
        bench.join_part(8, Some(9), 0);
        bench.tap.finish(KernelTime(9_000 * MS), &mut bench.out);
        assert!(bench.exchanges().is_empty(), "{number}: {:?}", bench.exchanges());
        let uids: BTreeSet<_> = bench.reports().iter().map(|report| report.conn.uid).collect();
        assert_eq!(uids.len(), 1, "{number}: the connection's own");
    }
}
