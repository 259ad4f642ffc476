//! When a team of threads is left for a while, because most of its time is waiting.

use std::time::{Duration, Instant};

/// Whether the team is worth its waiting.
#[derive(Debug, Default)]
pub(crate) struct Retreat {
    /// Since the last decision: how long the team worked, and how long each member waited for others meanwhile, on average
    /// over all but one.
    worked: Duration,
    waited: Duration,
    /// The caller works alone until then.
    until: Option<Instant>,
    /// How long the last retreat was: while nothing gets better, each is twice as long as the one before.
    lasted: Duration,
}

impl Retreat {
    /// Work of the team between two decisions.
    const WINDOW: Duration = Duration::from_millis(20);
    /// Short, because a team that has just been woken may wait a few milliseconds until each member has its core.
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(5);

    /// Whether the caller works alone now.
    pub fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Takes note of a piece of work of the team, and decides at the end of a window.
    pub fn observe(&mut self, now: Instant, worked: Duration, waited: Duration) {
        self.worked += worked;
        self.waited += waited;
        if self.worked < Self::WINDOW {
            return;
        }
        if self.waited > self.worked.mul_f64(0.6) {
            self.lasted = (2 * self.lasted).clamp(Self::SHORTEST, Self::LONGEST);
            self.until = Some(now + self.lasted);
        } else {
            self.lasted = Duration::ZERO;
        }
        (self.worked, self.waited) = (Duration::ZERO, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_that_mostly_waits_is_left_for_a_while_and_tried_again() {
        let millis = Duration::from_millis;
        let start = Instant::now();
        let mut retreat = Retreat::default();
        // A window of good work, then one of waiting.
        retreat.observe(start, millis(20), millis(5));
        assert!(!retreat.lasts(start));
        retreat.observe(start, millis(10), millis(9));
        assert!(!retreat.lasts(start), "too short to tell");
        retreat.observe(start, millis(10), millis(9));
        assert!(retreat.lasts(start + millis(9)) && !retreat.lasts(start + millis(10)));
        // Nothing is better: twice as long each time, up to a limit.
        for expected in [20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000] {
            retreat.observe(start, millis(500), millis(490));
            assert!(retreat.lasts(start + millis(expected - 1)), "{expected}");
            assert!(!retreat.lasts(start + millis(expected)), "{expected}");
        }
        // Once it is, the next retreat is short again.
        let later = start + millis(6000);
        retreat.observe(later, millis(20), millis(1));
        retreat.observe(later, millis(20), millis(19));
        assert!(retreat.lasts(later + millis(9)) && !retreat.lasts(later + millis(10)));
    }
}
