//! Compression of requests, with a fallback to what the server supports: from zstd to gzip to none, when the first request fails
//! in a way that compression may explain. In: bytes. Out: compressed bytes.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::export::settings::Compression;

/// zstd's fastest regular level: it compresses logs nearly as well as level 3, with less CPU time.
const ZSTD_LEVEL: i32 = 1;

/// The compression in use, and whether the server has accepted a request with it.
#[derive(Debug)]
pub struct Ladder {
    configured: Compression,
    rung: AtomicU8,
    proven: AtomicBool,
}

fn number(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Gzip => 1,
        Compression::Zstd => 2,
    }
}

impl Ladder {
    /// Starts with the configured compression.
    #[must_use]
    pub fn new(configured: Compression) -> Ladder {
        Ladder { configured, rung: AtomicU8::new(number(configured)), proven: AtomicBool::new(false) }
    }

    /// The compression for the next request.
    #[must_use]
    pub fn current(&self) -> Compression {
        match self.rung.load(Ordering::Relaxed) {
            0 => Compression::None,
            1 => Compression::Gzip,
            _ => Compression::Zstd,
        }
    }

    /// Notes that the server accepted a request with this compression.
    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Call this for a new connection: it may lead to another server, for which nothing is proven.
    pub fn renew(&self) {
        self.proven.store(false, Ordering::Relaxed);
    }

    /// Call this when a request compressed with `used` failed in a way that compression may explain. True when it is worth sending again with
    /// less compression. After a failure without compression, the configured one is restored: compression was not the cause.
    #[must_use]
    pub fn step_down(&self, used: Compression) -> bool {
        if self.proven.load(Ordering::Relaxed) {
            return false;
        }
        let used = number(used);
        if used == 0 {
            self.rung.store(number(self.configured), Ordering::Relaxed);
            return false;
        }
        // If another worker has already stepped down, use its rung.
        let _ = self.rung.compare_exchange(used, used - 1, Ordering::Relaxed, Ordering::Relaxed);
        self.rung.load(Ordering::Relaxed) < used
    }
}

/// Compresses a request body; the second value is the Content-Encoding.
///
/// # Errors
/// When the compressor fails, which it does only if memory is short.
pub fn compress(body: Vec<u8>, with: Compression) -> std::io::Result<(Vec<u8>, Option<&'static str>)> {
    match with {
        Compression::None => Ok((body, None)),
        Compression::Gzip => {
            let room = Vec::with_capacity(body.len() / 4);
            let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::fast());
            encoder.write_all(&body)?;
            Ok((encoder.finish()?, Some("gzip")))
        }
        Compression::Zstd => Ok((zstd::bulk::compress(&body, ZSTD_LEVEL)?, Some("zstd"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn zstd_steps_down_to_none_then_starts_over() {
        let ladder = Ladder::new(Compression::Zstd);
        assert!(ladder.step_down(Compression::Zstd));
        assert_eq!(ladder.current(), Compression::Gzip);
        assert!(ladder.step_down(Compression::Gzip));
        assert_eq!(ladder.current(), Compression::None);
        assert!(!ladder.step_down(Compression::None));
        assert_eq!(ladder.current(), Compression::Zstd);
    }

    #[test]
    fn what_was_proven_stays_until_a_new_connection() {
        let ladder = Ladder::new(Compression::Gzip);
        ladder.prove();
        assert!(!ladder.step_down(Compression::Gzip));
        ladder.renew();
        assert!(ladder.step_down(Compression::Gzip));
    }

    #[test]
    fn what_is_compressed_reads_back() {
        let body = b"abc".repeat(1000);
        let (gzip, name) = compress(body.clone(), Compression::Gzip).unwrap();
        assert_eq!(name, Some("gzip"));
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(gzip.as_slice()).read_to_end(&mut back).unwrap();
        assert_eq!(back, body);
        let (packed, name) = compress(body.clone(), Compression::Zstd).unwrap();
        assert_eq!(name, Some("zstd"));
        assert_eq!(zstd::bulk::decompress(&packed, 4000).unwrap(), body);
    }
}
