//! The ends of a connection: their addresses and names, and the filter by direction.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use qtap_common::globals::{
    DIRECTION_ALL, DIRECTION_EGRESS, DIRECTION_EGRESS_EXTERNAL, DIRECTION_EGRESS_INTERNAL, DIRECTION_INGRESS, NO_OFFSET,
};
use qtap_common::net::Address;
use qtap_common::record::{Opened, UNIX_NAME, role};
use qtap_common::state::{Conn, class, conn_flag};

use crate::globals::layout;
use crate::kernel::{AF_INET, AF_INET6, AF_UNIX, at, at_or_zero};
use crate::{emit, globals, scratch};

/// Fills in both ends and writes the record.
#[inline(never)]
pub fn tell_ends(record: &mut scratch::OpenedRecord, sock: u64, family: u16) {
    if family == AF_UNIX {
        unix_names(record, sock);
        record.head.header.len = (size_of::<Opened>() + 2 * UNIX_NAME) as u32;
        emit::record_or_count(record);
        return;
    }
    record.head.local_port = at_or_zero(sock, layout!(sk_num));
    record.head.peer_port = at_or_zero(sock, layout!(sk_dport));
    if family == AF_INET {
        let local: [u8; 4] = at_or_zero(sock, layout!(sk_rcv_saddr));
        let peer: [u8; 4] = at_or_zero(sock, layout!(sk_daddr));
        record.head.local[..4].copy_from_slice(&local);
        record.head.peer[..4].copy_from_slice(&peer);
    } else {
        record.head.local = at_or_zero(sock, layout!(sk_v6_rcv_saddr));
        record.head.peer = at_or_zero(sock, layout!(sk_v6_daddr));
    }
    emit::record_or_count(&record.head);
}

/// `sun_path` of both ends: of the socket itself or, for an accepted one, of the listener whose address it shares.
#[inline(always)]
fn unix_names(record: &mut scratch::OpenedRecord, sock: u64) {
    for name in [&mut record.local, &mut record.peer] {
        let _ = unsafe { bpf_probe_read_kernel(name.as_mut_ptr().cast(), UNIX_NAME as u32, NO_NAME.as_ptr().cast()) };
    }
    if layout!(unix_addr) == NO_OFFSET {
        return;
    }
    unix_name(&mut record.local, sock);
    if let Some(peer) = at::<u64>(sock, layout!(unix_peer)) {
        if peer != 0 {
            unix_name(&mut record.peer, peer);
        }
    }
}

/// Zeros, to blank a name with one copy.
static NO_NAME: [u8; UNIX_NAME] = [0; UNIX_NAME];

#[inline(always)]
fn unix_name(name: &mut [u8; UNIX_NAME], sock: u64) {
    let Some(address) = at::<u64>(sock, layout!(unix_addr)) else { return };
    if address == 0 {
        return;
    }
    // `len` counts the two bytes of `sun_family`; what lies beyond it in the allocation is not part of the name.
    let len: u32 = at_or_zero(address, layout!(unix_addr_len));
    if len <= 2 || len > UNIX_NAME as u32 + 2 {
        return;
    }
    let path = address + u64::from(layout!(unix_addr_name)) + 2;
    // A failed read leaves zeros: no name.
    let _ = unsafe { bpf_probe_read_kernel(name.as_mut_ptr().cast(), len - 2, path as *const _) };
}

/// True when the filter by direction excludes this connection.
#[inline(always)]
pub fn filtered_out(wished: u32, sock: u64, family: u16, as_role: u8) -> bool {
    let client = as_role == role::CLIENT;
    match wished {
        DIRECTION_INGRESS => client,
        DIRECTION_EGRESS => !client,
        // One check of the address for both: it is expensive to verify.
        DIRECTION_EGRESS_INTERNAL | DIRECTION_EGRESS_EXTERNAL => {
            !client || is_private(sock, family) == (wished == DIRECTION_EGRESS_EXTERNAL)
        }
        _ => false,
    }
}

/// The remote address; none for a UNIX socket, which has none.
#[inline(always)]
fn address(sock: u64, family: u16) -> Option<Address> {
    match family {
        AF_INET => Some(Address::v4(at_or_zero(sock, layout!(sk_daddr)))),
        AF_INET6 => Some(Address::v6(at_or_zero(sock, layout!(sk_v6_daddr)))),
        _ => None,
    }
}

#[inline(never)]
pub fn is_loopback(sock: u64, family: u16) -> bool {
    match address(sock, family) {
        Some(address) => address.is_loopback(),
        None => false,
    }
}

/// True when the remote address is not publicly routed; also for UNIX sockets.
#[inline(never)]
fn is_private(sock: u64, family: u16) -> bool {
    match address(sock, family) {
        Some(address) => address.is_private(),
        None => family == AF_UNIX,
    }
}

/// Learns the role from the first bytes: a request or a ClientHello comes from the client.
#[inline(always)]
pub fn learn_role(conn: &mut Conn, sock: u64, direction: usize) {
    let wished = globals::wishes().direction;
    if wished == DIRECTION_ALL {
        return;
    }
    let dir = &conn.dirs[direction & 1];
    let first = &dir.first;
    let answers = match dir.class {
        class::TLS => first[0] == 0x16 && first[5] == 2,
        _ => first[0] == 0 || (first[0] == b'H' && first[1] == b'T' && first[4] == b'/'),
    };
    if dir.class == class::TLS && first[0] != 0x16 {
        return;
    }
    let sender_is_client = !answers;
    conn.role = if sender_is_client == (direction == 0) { role::CLIENT } else { role::SERVER };
    if filtered_out(wished, sock, conn.family, conn.role) {
        conn.flags |= conn_flag::UNWANTED;
    }
}
