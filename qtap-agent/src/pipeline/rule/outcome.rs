//! The possible outcomes of a condition: true, false, or neither, when a deciding field is missing. While facts are incomplete,
//! several are possible. In: the outcomes of parts. Out: those of the whole (Kleene's strong logic, applied to every combination).

/// A set of outcomes; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcomes(u8);

impl Outcomes {
    /// The condition holds.
    pub const TRUE: Outcomes = Outcomes(1);
    /// The condition does not hold.
    pub const FALSE: Outcomes = Outcomes(2);
    /// Neither: a deciding field is missing.
    pub const MISSING: Outcomes = Outcomes(4);
    /// Not known yet: any of the three is possible.
    pub const ANY: Outcomes = Outcomes(7);

    /// The outcome of one test.
    #[inline]
    pub(super) fn of(held: Option<bool>) -> Outcomes {
        match held {
            Some(true) => Outcomes::TRUE,
            Some(false) => Outcomes::FALSE,
            None => Outcomes::MISSING,
        }
    }

    /// True when `outcome` is possible.
    #[must_use]
    #[inline]
    pub fn may_be(self, outcome: Outcomes) -> bool {
        self.0 & outcome.0 != 0
    }

    /// True when no other outcome is possible.
    #[must_use]
    #[inline]
    pub fn is_only(self, outcome: Outcomes) -> bool {
        self.0 & !outcome.0 == 0
    }

    /// False if either is false, true if both are true, else neither.
    #[inline]
    pub(super) fn and(self, other: Outcomes) -> Outcomes {
        let (t, f, m) = (Outcomes::TRUE.0, Outcomes::FALSE.0, Outcomes::MISSING.0);
        let missing = self.0 & m != 0 && other.0 & (t | m) != 0 || other.0 & m != 0 && self.0 & (t | m) != 0;
        Outcomes(self.0 & other.0 & t | (self.0 | other.0) & f | if missing { m } else { 0 })
    }

    /// True if either is true, false if both are false, else neither.
    #[inline]
    pub(super) fn or(self, other: Outcomes) -> Outcomes {
        self.not().and(other.not()).not()
    }

    /// Negation; a missing outcome stays missing.
    #[inline]
    pub(super) fn not(self) -> Outcomes {
        Outcomes(self.0 & Outcomes::MISSING.0 | (self.0 & 1) << 1 | (self.0 & 2) >> 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINGLE: [Outcomes; 3] = [Outcomes::TRUE, Outcomes::FALSE, Outcomes::MISSING];

    /// Kleene's truth tables.
    #[test]
    fn the_side_that_can_decide_decides() {
        let (t, f, m) = (Outcomes::TRUE, Outcomes::FALSE, Outcomes::MISSING);
        for (a, b, and, or) in [(t, t, t, t), (t, f, f, t), (t, m, m, t), (f, f, f, f), (f, m, f, m), (m, m, m, m)] {
            assert_eq!((a.and(b), b.and(a)), (and, and), "{a:?} {b:?}");
            assert_eq!((a.or(b), b.or(a)), (or, or), "{a:?} {b:?}");
        }
        assert_eq!(SINGLE.map(Outcomes::not), [f, t, m]);
    }

    /// The outcome of sets equals the union over their members.
    #[test]
    fn sets_are_their_members() {
        let members = |set: u8| SINGLE.into_iter().filter(move |one| one.0 & set != 0);
        for a in 1..8 {
            for b in 1..8 {
                let all = |f: fn(Outcomes, Outcomes) -> Outcomes| {
                    members(a).flat_map(|x| members(b).map(move |y| f(x, y).0)).fold(0, |all, one| all | one)
                };
                assert_eq!(Outcomes(a).and(Outcomes(b)).0, all(Outcomes::and), "{a} and {b}");
                assert_eq!(Outcomes(a).or(Outcomes(b)).0, all(Outcomes::or), "{a} or {b}");
            }
        }
    }
}
