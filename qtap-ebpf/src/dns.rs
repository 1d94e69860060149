//! Answers of name servers: datagrams that come from port 53, copied whole up to a bound. No table holds them: each is reported on its own.

use aya_ebpf::helpers::generated::bpf_probe_read_user as read_user;
use core::ffi::c_void;
use qtap_common::globals::{DIRECTION_INGRESS, option};
use qtap_common::record::{DNS_BYTES, DNS_PORT, Datagram, kind, why};
use qtap_common::state::{Dir, class, scope};

use crate::carry::{Transfer, user, user_or_zero};
use crate::globals::{self, layout, wanted};
use crate::kernel::{AF_INET, AF_INET6, at};
use crate::{emit, scratch};

const SOCK_DGRAM: u16 = 2;
const IPPROTO_UDP: u16 = 17;
/// The shortest message is a header.
const HEADER_BYTES: u64 = 12;

/// True when answers of name servers are read.
#[inline(always)]
pub fn is_wanted() -> bool {
    wanted!(options) & option::DNS != 0
}

/// Classifies what a stream socket receives from the port of name servers as answers.
#[inline(always)]
pub fn name_server(dir: &mut Dir, sock: u64, family: u16) {
    let inet = family == AF_INET || family == AF_INET6;
    if inet && at::<u16>(sock, layout!(sk_dport)) == Some(DNS_PORT.to_be()) {
        dir.class = class::DNS;
    }
}

/// What the work area describes was not moved by a stream: if it is an answer, reports it. Returns what it is: if nobody used the result, the
/// compiler would leave it undefined, and the verifier would refuse that.
#[inline(never)]
pub fn datagram(area: u32) -> u8 {
    let Some(work) = scratch::get(area) else { return class::OTHER };
    let work = unsafe { &mut *work };
    let Transfer { sock, mut source, mut bytes, direction, reason, verdict, name } = work.moved;
    if source.is_messages() {
        bytes = source.enter_message();
    }
    let left_out = verdict & u64::from(scope::NO_DNS | scope::NO_DATA) != 0;
    if direction != 1
        || reason != 0
        || left_out
        || bytes < HEADER_BYTES
        || globals::wishes().direction == DIRECTION_INGRESS
    {
        return class::OTHER;
    }
    let (kind, protocol) = (at::<u16>(sock.address, layout!(sk_type)), at::<u16>(sock.address, layout!(sk_protocol)));
    if kind != Some(SOCK_DGRAM) || protocol != Some(IPPROTO_UDP) {
        return class::OTHER;
    }
    let head = unsafe { &mut work.record.datagram.head };
    if !ends(head, sock.address, name) || head.peer_port != DNS_PORT.to_be() {
        return class::OTHER;
    }
    let [base, buffer] = match source.len {
        0 => user_or_zero::<[u64; 2]>(source.iov),
        len => [source.base, len],
    };
    let mut some = if bytes < buffer { bytes } else { buffer };
    if some > DNS_BYTES as u64 {
        some = DNS_BYTES as u64;
    }
    tell(area, bytes, base, some)
}

/// Fills in both ends. Of an unconnected socket the peer is the sender that the call returned.
#[inline(always)]
fn ends(head: &mut Datagram, sock: u64, name: u64) -> bool {
    let Some(family) = at::<u16>(sock, layout!(sk_family)) else { return false };
    head.family = family;
    head.local_port = at(sock, layout!(sk_num)).unwrap_or(0);
    head.peer_port = at(sock, layout!(sk_dport)).unwrap_or(0);
    head.pad = 0;
    let connected = head.peer_port != 0;
    if !connected {
        let Some([_, port]) = user::<[u16; 2]>(name) else { return false };
        head.peer_port = port;
    }
    match family {
        AF_INET => {
            let local: [u8; 4] = at(sock, layout!(sk_rcv_saddr)).unwrap_or([0; 4]);
            let peer: Option<[u8; 4]> = if connected { at(sock, layout!(sk_daddr)) } else { user(name + 4) };
            head.local[..4].copy_from_slice(&local);
            head.peer[..4].copy_from_slice(&peer.unwrap_or([0; 4]));
        }
        AF_INET6 => {
            head.local = at(sock, layout!(sk_v6_rcv_saddr)).unwrap_or([0; 16]);
            let peer: Option<[u8; 16]> = if connected { at(sock, layout!(sk_v6_daddr)) } else { user(name + 8) };
            head.peer = peer.unwrap_or([0; 16]);
        }
        _ => return false,
    }
    true
}

#[inline(always)]
fn tell(area: u32, bytes: u64, base: u64, some: u64) -> u8 {
    let Some(work) = scratch::get(area) else { return class::OTHER };
    let record = unsafe { &mut (*work).record.datagram };
    if some > DNS_BYTES as u64 {
        return class::OTHER;
    }
    let payload = record.payload.as_mut_ptr();
    if unsafe { read_user(payload.cast(), some as u32, base as *const c_void) } != 0 {
        emit::count_loss(why::FAULT, bytes);
        return class::OTHER;
    }
    let len = size_of::<Datagram>() as u64 + some;
    let mut header = emit::header(kind::DATAGRAM, len as usize, 0);
    header.id = emit::identity(header.time);
    record.head.header = header;
    record.head.bytes = bytes;
    if !unsafe { emit::bytes((&raw const *record).cast(), len) } {
        emit::count_loss(why::RING_FULL, bytes);
    }
    class::DNS
}
