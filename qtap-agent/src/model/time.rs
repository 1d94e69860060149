//! Kernel timestamps, and the one fact that converts them to wall-clock time.

use std::time::Duration;

/// Nanoseconds since boot, including suspend (`CLOCK_BOOTTIME`): the clock by which the probes stamp every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct KernelTime(pub u64);

impl KernelTime {
    /// The time since `earlier`; zero when `earlier` is later (timestamps of two CPUs may be slightly out of order).
    #[must_use]
    pub fn since(self, earlier: KernelTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time since `earlier` in milliseconds, zero when `earlier` is later. A single division keeps the printed number short.
    #[must_use]
    pub fn millis_since(self, earlier: KernelTime) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e6
    }

    /// This time plus `duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> KernelTime {
        KernelTime(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Converts [`KernelTime`] to Unix time. Read once when capture starts and stored in the recording, so that a replay
/// gives the same wall-clock times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct WallClock {
    /// Unix time in nanoseconds at boot (`CLOCK_REALTIME` minus `CLOCK_BOOTTIME`).
    pub boot_unix_ns: u64,
}

impl WallClock {
    /// Unix time in nanoseconds of `time`.
    #[must_use]
    pub fn unix_ns(self, time: KernelTime) -> u64 {
        self.boot_unix_ns.saturating_add(time.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_written_as_short_as_they_are() {
        assert_eq!(KernelTime(244_455).millis_since(KernelTime(0)).to_string(), "0.244455");
        assert_eq!(KernelTime(1).millis_since(KernelTime(2)).to_string(), "0");
    }
}
