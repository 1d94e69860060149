//! Unix nanoseconds → RFC 3339 in UTC, with nanoseconds: `2026-01-02T03:04:05.000000006Z`.

/// A time as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) struct Rfc3339([u8; 30]);

impl Rfc3339 {
    pub(in crate::pipeline) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The time as text. Every `u64` is before the year 2555, so the year has four digits.
pub(in crate::pipeline) fn rfc3339(unix_ns: u64) -> Rfc3339 {
    let (seconds, nanos) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    for (end, number) in [(4, year), (7, month), (10, day), (13, hour), (16, minute), (19, second), (29, nanos)] {
        digits(&mut text[..end], number);
    }
    Rfc3339(text)
}

/// Writes `number` over the zeros at the end of `text`.
fn digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The Gregorian date of a day number since 1970-01-01, computed in eras of 400 years (146 097 days) that begin on
/// March 1, so that the leap day is the last day of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    /// The right-hand sides are those of GNU `date -u --date=@SECONDS`.
    #[test]
    fn dates_are_right_around_leap_days() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000_000).as_str(), wanted);
        }
        assert_eq!(rfc3339(1_767_323_045_000_000_006).as_str(), "2026-01-02T03:04:05.000000006Z");
        assert_eq!(rfc3339(u64::MAX).as_str(), "2554-07-21T23:34:33.709551615Z");
    }
}
