//! The law of conservation: bytes carried = bytes captured + bytes lost for a named reason. Any difference is itself a
//! loss, [`Loss::Unaccounted`].
//!
//! - On a socket the kernel's own count of the direction is what was carried; if it keeps none, the probes' count.
//! - Inside TLS the probes' count of what the library's calls returned is what was carried, and the socket's ciphertext
//!   must fit it: at least as much as the plaintext, and at most the plaintext, the overhead of its records and a
//!   handshake. If it does not fit, a hook was missed.

use crate::model::event::Count;
use crate::model::loss::Loss;

/// Handshake, both certificate chains, tickets and alerts, and what was received but never read by the application.
const HANDSHAKE_BYTES: u64 = (16 + 64 + 128) << 10;

/// Maximum overhead of a record: header 5, explicit IV 16, MAC 48, padding 16, and some for the inner type.
const RECORD_OVERHEAD_BYTES: u64 = 90;

/// Smallest fragment into which an engine splits a large write (RFC 6066 §4).
const SMALLEST_FRAGMENT_BYTES: u64 = 512;

/// Plaintext that an engine may hold decrypted (or a socket's last read undecrypted) when capture begins.
const JOINED_LATE_BYTES: u64 = 256 << 10;

/// Bytes carried by a direction.
#[must_use]
pub(super) fn carried(count: &Count) -> u64 {
    count.kernel.unwrap_or(count.carried)
}

/// Bytes lost in the kernel beyond the `named` ones: the ring buffer had no room to report them.
#[must_use]
pub(super) fn lost_in_silence(count: &Count, named: u64) -> u64 {
    count.lost.saturating_sub(named)
}

/// Bytes only counted, beyond the `named` ones: unwanted bytes are not always reported call by call.
#[must_use]
pub(super) fn unwanted_in_silence(count: &Count, named: u64) -> u64 {
    count.unwanted.saturating_add(count.encrypted).saturating_sub(named)
}

/// Why the bytes of a hole are missing, as far as the kernel's counts show it; otherwise `otherwise`.
#[must_use]
pub(super) fn hole_reason(count: &Count, named: u64, otherwise: Loss) -> Loss {
    if lost_in_silence(count, named) > 0 { Loss::RingFull } else { otherwise }
}

/// Bytes by which the sums of a direction differ.
#[must_use]
pub(super) fn unaccounted(carried: u64, accounted: u64) -> u64 {
    carried.abs_diff(accounted)
}

/// Totals of one direction of a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sealed {
    /// Bytes on the socket.
    pub(super) ciphertext: u64,
    /// Bytes returned by the library's calls.
    pub(super) plaintext: u64,
    /// The same for sessions that may run inside another one: their ciphertext is then that one's plaintext.
    pub(super) inside: u64,
    /// Calls that carried them: each is one record or part of one.
    pub(super) calls: u64,
    /// The part of the plaintext that may never have been sent: that of calls whose end was not seen.
    pub(super) uncertain: u64,
    /// True if capture began mid-stream.
    pub(super) joined_late: bool,
}

/// Bytes by which ciphertext and plaintext do not fit one another; 0 if they do.
#[must_use]
pub(super) fn misfit(sealed: Sealed) -> u64 {
    let Sealed { ciphertext, plaintext, inside, calls, uncertain, joined_late } = sealed;
    let slack = if joined_late { JOINED_LATE_BYTES } else { 0 };
    if plaintext > ciphertext.saturating_add(slack).saturating_add(uncertain) {
        return plaintext - ciphertext;
    }
    let plaintext = plaintext.saturating_add(inside);
    let records = calls.saturating_add(plaintext / SMALLEST_FRAGMENT_BYTES);
    let overhead = records.saturating_mul(RECORD_OVERHEAD_BYTES);
    let most = plaintext.saturating_add(overhead).saturating_add(HANDSHAKE_BYTES + slack);
    if ciphertext > most { ciphertext.saturating_sub(plaintext) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_preferred() {
        assert_eq!(carried(&Count { carried: 10, kernel: Some(12), ..Count::default() }), 12);
        assert_eq!(carried(&Count { carried: 10, kernel: None, ..Count::default() }), 10);
    }

    #[test]
    fn shortfall_and_surplus_are_both_unaccounted() {
        assert_eq!(unaccounted(10, 10), 0);
        assert_eq!(unaccounted(10, 7), 3);
        assert_eq!(unaccounted(7, 10), 3);
    }

    #[test]
    fn a_hole_is_the_rings_when_the_kernel_lost_more_than_it_named() {
        let count = Count { lost: 10, ..Count::default() };
        assert_eq!(hole_reason(&count, 4, Loss::ReorderWindow), Loss::RingFull);
        assert_eq!(hole_reason(&count, 10, Loss::ReorderWindow), Loss::ReorderWindow);
        assert_eq!(lost_in_silence(&count, 11), 0);
        let count = Count { unwanted: 7, encrypted: 3, ..Count::default() };
        assert_eq!((unwanted_in_silence(&count, 4), unwanted_in_silence(&count, 11)), (6, 0));
    }

    fn sealed(ciphertext: u64, plaintext: u64, calls: u64) -> Sealed {
        Sealed { ciphertext, plaintext, inside: 0, calls, uncertain: 0, joined_late: false }
    }

    #[test]
    fn ciphertext_fits_its_plaintext() {
        assert_eq!(misfit(sealed(0, 0, 0)), 0);
        assert_eq!(misfit(sealed(5_000, 700, 1)), 0, "handshake and one request");
        assert_eq!(misfit(sealed(64 * (16_384 + 22) + 4_000, 1 << 20, 64)), 0, "1 MiB in full records");
        assert_eq!(misfit(sealed(100_000 * 32 + 4_000, 100_000 * 10, 100_000)), 0, "100 000 writes of 10 bytes");
        assert_eq!(misfit(sealed((1 << 20) / 512 * (512 + 37), 1 << 20, 1)), 0, "one write in the smallest fragments");
    }

    #[test]
    fn a_hook_that_was_missed_shows() {
        assert_eq!(misfit(sealed(1 << 20, 0, 0)), 1 << 20, "1 MiB of ciphertext and nothing inside");
        assert_eq!(misfit(sealed(100, 5_000, 2)), 4_900, "more inside than outside: joined to the wrong socket");
        assert_eq!(misfit(Sealed { uncertain: 4_900, ..sealed(100, 5_000, 2) }), 0, "a call that never ended");
        assert_eq!(misfit(Sealed { uncertain: 4_899, ..sealed(100, 5_000, 2) }), 4_900, "more than it can have been");
        assert_eq!(misfit(Sealed { joined_late: true, ..sealed(100, 5_000, 2) }), 0, "decrypted before");
    }

    #[test]
    fn what_is_inside_another_session_is_carried_once() {
        let both = |inside| Sealed { inside, ..sealed(1_010_000, 1_005_000, 64) };
        assert_eq!((misfit(both(1_000_000)), misfit(both(0))), (0, 0));
        // It is not known whether one of the two is inside the other: the ciphertext may be that of both.
        assert_eq!(misfit(Sealed { inside: 1 << 20, ..sealed(1 << 20, 5_000, 64) }), 0);
        assert_eq!(misfit(Sealed { inside: 1 << 20, ..sealed(2 << 20, 5_000, 64) }), (1 << 20) - 5_000);
    }
}
