//! qtap's own connections, seen from their other ends. Capturing what a store on this host receives from qtap, or what it sends on because of
//! that, would make yet another record for the store.
//!
//! In: TCP states, and who connects. Out: whether a connection is excluded for that, and how much was. Never excluded: what a process
//! accepts from others.
//!
//! The client's end is established before the server's can be accepted, so it is always noted here in time. It is identified by its address and
//! by TCP's initial sequence numbers: addresses may be rewritten on the way (masquerading, a redirected port of loopback), sequence numbers are not.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use qtap_common::feedback::{End, MADE_BY_QTAP, MADE_BY_STORE, is_passed_on};
use qtap_common::globals::option;
use qtap_common::net::Address;
use qtap_common::record::role;
use qtap_common::state::{conn_flag, scope};

use crate::globals::{layout, wanted};
use crate::kernel::{AF_INET, AF_UNIX, at, at_or_zero, tcp};
use crate::maps::{FEEDBACK, FOUND_ENDS, MADE, SCOPE, STORES};
use crate::scratch;

/// A constant to the verifier, which drops all of this if the guard is off.
#[inline(always)]
fn guards() -> bool {
    wanted!(options) & option::GUARD_OWN != 0
}

#[inline(always)]
fn guards_stores() -> bool {
    wanted!(options) & option::GUARD_STORES != 0
}

/// The state of a TCP socket changes: to `SYN_SENT` in the context of the process that connects, to `ESTABLISHED` in anyone's.
#[inline(always)]
pub fn state_changes(sock: u64, old: i32, new: i32) {
    if !guards() {
        return;
    }
    if new == tcp::SYN_SENT {
        let made_by = maker();
        if made_by != 0 {
            let _ = MADE.insert(sock, made_by, 0);
        }
        return;
    }
    if old != tcp::SYN_SENT {
        return;
    }
    let made_by = MADE.get_ptr(sock).map_or(0, |made_by| unsafe { *made_by });
    if new == tcp::ESTABLISHED
        && let Some(end) = end(sock, true)
    {
        if made_by != 0 {
            let _ = FOUND_ENDS.insert(end, made_by, 0);
            let _ = FOUND_ENDS.insert(numbers(sock, true), made_by, 0);
        } else {
            // Another process has the port now.
            let _ = FOUND_ENDS.remove(end);
        }
    }
    if made_by != 0 {
        let _ = MADE.remove(sock);
    }
}

/// Who makes the connections of the current process: qtap or a store (`MADE_BY_…`); 0: neither.
#[inline(always)]
fn maker() -> u8 {
    let tgid = current();
    if let Some(verdict) = unsafe { SCOPE.get(tgid) }
        && *verdict & (scope::OWN | scope::IN) == scope::OWN
    {
        return MADE_BY_QTAP;
    }
    if is_store(tgid) { MADE_BY_STORE } else { 0 }
}

#[inline(always)]
fn current() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// True of a process that receives what qtap exports.
#[inline(always)]
pub fn is_store(tgid: u32) -> bool {
    guards_stores() && STORES.get_ptr(tgid).is_some()
}

/// The process ended, or executes another program.
#[inline(always)]
pub fn forget(tgid: u32) {
    if guards_stores() {
        let _ = STORES.remove(tgid);
    }
}

/// The client's end of a connection, from the client's socket (`own`) or from the server's.
#[inline(always)]
fn end(sock: u64, own: bool) -> Option<End> {
    let family: u16 = at(sock, layout!(sk_family))?;
    let address = match (family, own) {
        (AF_INET, true) => Address::v4(at_or_zero(sock, layout!(sk_rcv_saddr))),
        (AF_INET, false) => Address::v4(at_or_zero(sock, layout!(sk_daddr))),
        (_, true) => Address::v6(at_or_zero(sock, layout!(sk_v6_rcv_saddr))),
        (_, false) => Address::v6(at_or_zero(sock, layout!(sk_v6_daddr))),
    };
    let (local, peer) = ports(sock);
    Some(if own { End::new(address, local, peer) } else { End::new(address, peer, local) })
}

/// The connection by its sequence numbers, from the client's socket (`own`) or the server's. The current sequence number of a direction, less
/// the bytes counted, is where it began; the client's count of what it sent includes its SYN, the server's does not.
#[inline(always)]
fn numbers(sock: u64, own: bool) -> End {
    let acked: u64 = at_or_zero(sock, layout!(tcp_bytes_acked));
    let unacked: u32 = at_or_zero(sock, layout!(tcp_snd_una));
    let received: u64 = at_or_zero(sock, layout!(tcp_bytes_received));
    let next: u32 = at_or_zero(sock, layout!(tcp_rcv_nxt));
    let (sent, received) = (unacked.wrapping_sub(acked as u32), next.wrapping_sub(received as u32));
    if own { End::by_numbers(sent.wrapping_add(1), received) } else { End::by_numbers(received, sent) }
}

/// The socket's own port, and its peer's.
#[inline(always)]
fn ports(sock: u64) -> (u16, u16) {
    let local: u16 = at_or_zero(sock, layout!(sk_num));
    let peer: u16 = at_or_zero(sock, layout!(sk_dport));
    (local, u16::from_be(peer))
}

/// Checks a connection when it is first seen, and once a second while it is used: a process may have become a store since. Returns the flags of
/// an excluded connection, which is counted here; 0: it is not excluded.
#[inline(never)]
pub fn look(area: u32, sock: u64, family: u64, as_role: u64) -> u8 {
    if !guards() || family == u64::from(AF_UNIX) {
        return 0;
    }
    // Not on the stack, which is used up.
    let Some(work) = scratch::get(area) else { return 0 };
    let place = unsafe { &raw mut (*work).end };
    let mut flags = 0;
    if as_role != u64::from(role::CLIENT) {
        flags = other_end(sock, place);
    }
    if flags == 0 && is_store(current()) && is_made_here(sock, as_role as u8) {
        flags = conn_flag::OF_STORE;
        // The connection may have been made before the process became a store: then nobody noted its end.
        if let Some(end) = end(sock, true) {
            note_made(place, end);
        }
        note_made(place, numbers(sock, true));
    }
    if flags != 0 {
        count(flags, 0, 1);
    }
    flags
}

/// Flags of the accepted end of a connection that qtap or a store made; 0: neither did. The accepting process may become a store.
#[inline(always)]
fn other_end(sock: u64, place: *mut End) -> u8 {
    let Some(end) = end(sock, false) else { return 0 };
    let mut made_by = maker_of(place, end);
    if made_by == 0 {
        made_by = maker_of(place, numbers(sock, false));
    }
    if made_by == 0 {
        return 0;
    }
    let local: u16 = at_or_zero(sock, layout!(sk_num));
    if guards_stores() && (made_by == MADE_BY_QTAP || is_passed_on(local)) {
        let _ = STORES.insert(current(), 1u8, 0);
    }
    if made_by == MADE_BY_QTAP { conn_flag::OF_QTAP } else { conn_flag::OF_STORE }
}

/// Notes that a store made the connection of an end.
#[inline(always)]
fn note_made(place: *mut End, end: End) {
    unsafe { place.write(end) };
    let _ = FOUND_ENDS.insert(unsafe { &*place }, MADE_BY_STORE, 0);
}

/// Who made the connection of an end; 0: neither qtap nor a store.
#[inline(always)]
fn maker_of(place: *mut End, end: End) -> u8 {
    unsafe { place.write(end) };
    FOUND_ENDS.get_ptr(unsafe { &*place }).map_or(0, |made_by| unsafe { *made_by })
}

/// True when the process at this end made the connection. If it was open before the probes, only the ports show that: clients
/// get high ones.
#[inline(always)]
fn is_made_here(sock: u64, as_role: u8) -> bool {
    match as_role {
        role::CLIENT => true,
        role::SERVER => false,
        _ => {
            let (local, peer) = ports(sock);
            local > peer
        }
    }
}

/// Counts what was excluded.
#[inline(always)]
pub fn count(flags: u8, bytes: u64, connections: u64) {
    let index = if flags & conn_flag::OF_QTAP != 0 { 0 } else { 1 };
    if let Some(sum) = FEEDBACK.get_ptr_mut(index) {
        unsafe {
            (*sum).count += connections;
            (*sum).bytes += bytes;
        }
    }
}

/// Counts bytes of a connection, if this is why it is excluded.
#[inline(always)]
pub fn count_bytes(flags: u8, bytes: u64) {
    if guards() && flags & conn_flag::FEEDBACK != 0 {
        count(flags, bytes, 0);
    }
}
