//! Values that hold for a connection according to when it was opened. When settings are replaced at run time, connections opened from then on get the
//! new value, and those already open keep the one they began with. In: values, each with the time from which it holds. Out: the value for a given
//! opening time. The same times give the same values, whoever asks and when.

use super::time::KernelTime;

/// Most values held at once. All but the last are kept for connections that were opened in their era and are still open. Beyond this bound,
/// connections of the oldest era get the value of the next.
pub const ERAS: usize = 64;

/// Values, by the time from which they hold.
#[derive(Debug, Default)]
pub struct Eras<T> {
    /// The current value.
    now: (KernelTime, T),
    /// Earlier values, oldest first.
    before: Vec<(KernelTime, T)>,
}

impl<T> Eras<T> {
    /// One value, for all times.
    pub fn new(value: T) -> Eras<T> {
        Eras { now: (KernelTime(0), value), before: Vec::new() }
    }

    /// From now on, `value` holds for whatever is opened after `since`. Returns true when the oldest value had to be dropped.
    pub fn begin(&mut self, since: KernelTime, value: T) -> bool {
        let before = std::mem::replace(&mut self.now, (since, value));
        // Nothing can have been opened in an era that began at the same time as the next.
        if before.0 < since {
            self.before.push(before);
        }
        let crowded = self.before.len() >= ERAS;
        if crowded {
            self.before.remove(0);
        }
        crowded
    }

    /// The value for something opened at that time.
    pub fn of(&self, opened: KernelTime) -> &T {
        if self.now.0 < opened {
            return &self.now.1;
        }
        let known = self.before.iter().rfind(|(since, _)| *since < opened).or(self.before.first());
        known.map_or(&self.now.1, |(_, value)| value)
    }

    /// The same, mutable.
    pub fn of_mut(&mut self, opened: KernelTime) -> &mut T {
        if self.now.0 < opened || self.before.is_empty() {
            return &mut self.now.1;
        }
        let index = self.before.iter().rposition(|(since, _)| *since < opened).unwrap_or(0);
        match self.before.get_mut(index) {
            Some((_, value)) => value,
            None => &mut self.now.1,
        }
    }

    /// All values; the current one comes last.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.before.iter_mut().chain([&mut self.now]).map(|(_, value)| value)
    }

    /// Number of values held.
    pub fn len(&self) -> usize {
        self.before.len() + 1
    }

    /// Always false: there is always a current value.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Start times of the past eras of which nothing is open any more; `opened` gives the opening times of everything that is open.
    pub fn over(&self, opened: impl Iterator<Item = KernelTime>) -> Vec<KernelTime> {
        let mut used = vec![false; self.before.len()];
        for time in opened.filter(|time| *time <= self.now.0) {
            let index = self.before.iter().rposition(|(since, _)| *since < time).unwrap_or(0);
            used.get_mut(index).into_iter().for_each(|used| *used = true);
        }
        let unused = self.before.iter().zip(used).filter(|(_, used)| !used);
        unused.map(|((since, _), _)| *since).collect()
    }

    /// Drops the value whose era began at `since`, unless it is the current one.
    pub fn end(&mut self, since: KernelTime) {
        self.before.retain(|(began, _)| *began != since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eras() -> Eras<char> {
        let mut eras = Eras::new('a');
        assert!(!eras.begin(KernelTime(10), 'b'));
        assert!(!eras.begin(KernelTime(20), 'c'));
        eras
    }

    #[test]
    fn what_was_opened_before_keeps_what_it_began_with() {
        let mut eras = eras();
        for (opened, value) in [(0, 'a'), (10, 'a'), (11, 'b'), (20, 'b'), (21, 'c'), (u64::MAX, 'c')] {
            assert_eq!(*eras.of(KernelTime(opened)), value, "{opened}");
            assert_eq!(*eras.of_mut(KernelTime(opened)), value, "{opened}");
        }
        assert_eq!(eras.all_mut().map(|value| *value).collect::<String>(), "abc");
    }

    #[test]
    fn an_era_is_over_when_nothing_of_it_is_open() {
        let mut eras = eras();
        let over = |eras: &Eras<char>, open: &[u64]| eras.over(open.iter().map(|time| KernelTime(*time)));
        assert_eq!(over(&eras, &[5, 15, 25]), []);
        assert_eq!(over(&eras, &[5, 25]), [KernelTime(10)]);
        assert_eq!(over(&eras, &[]), [KernelTime(0), KernelTime(10)]);
        eras.end(KernelTime(0));
        eras.end(KernelTime(20));
        assert_eq!((eras.len(), *eras.of(KernelTime(5)), *eras.of(KernelTime(21))), (2, 'b', 'c'));
        eras.end(KernelTime(10));
        assert_eq!((eras.len(), *eras.of(KernelTime(5))), (1, 'c'));
    }

    #[test]
    fn an_era_of_no_time_leaves_nothing() {
        let mut eras = eras();
        assert!(!eras.begin(KernelTime(20), 'd'));
        assert_eq!((eras.len(), *eras.of(KernelTime(20)), *eras.of(KernelTime(21))), (3, 'b', 'd'));
    }

    #[test]
    fn they_are_bounded() {
        let mut eras = Eras::new(0);
        let gone = (1..=200).filter(|n| eras.begin(KernelTime(*n), *n)).count();
        assert_eq!((eras.len(), gone), (ERAS, 200 - (ERAS - 1)));
        assert_eq!(*eras.of(KernelTime(1)), 200 - (ERAS as u64 - 1));
    }
}
