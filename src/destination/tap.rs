//! Outcomes for whoever watches a destination right now. Nothing is kept while nobody does. Bounded. Pure; the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::recent::RecentOutcome;

/// Outcomes that are kept between two looks.
const MOST: usize = 1_000;
/// When nobody has looked for so long, nobody watches any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// The outcomes since the last look.
#[derive(Clone, Debug, Default)]
pub struct Tapped {
    /// How many outcomes there were so far, whether or not somebody watched.
    count: u64,
    kept: VecDeque<RecentOutcome>,
    looked: Option<Instant>,
}

/// What a look shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes {
    /// Where the next look goes on.
    pub until: u64,
    /// How many were too many to be kept.
    pub missed: u64,
    /// The others, the oldest first.
    pub outcomes: Vec<RecentOutcome>,
}

/// What a worker sends to whoever watches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TapReply {
    /// The worker.
    pub worker: String,
    /// Whether it drives the destination.
    pub drives: bool,
    /// How many outcomes before these were too many to be sent.
    pub missed: u64,
    /// The outcomes, the oldest first.
    pub outcomes: Vec<RecentOutcome>,
}

impl Tapped {
    /// One more. Costs a count where nobody watches.
    pub fn add(&mut self, outcome: &RecentOutcome) {
        self.count += 1;
        if self.looked.is_none() {
            return;
        }
        if self.kept.len() >= MOST {
            self.kept.pop_front();
        }
        self.kept.push_back(outcome.clone());
    }

    /// Those since an earlier look, or from now on.
    pub fn look(&mut self, since: Option<u64>, now: Instant) -> Outcomes {
        self.looked = Some(now);
        let new = self.count.saturating_sub(since.unwrap_or(self.count));
        let shown = usize::try_from(new).unwrap_or(usize::MAX).min(self.kept.len());
        let outcomes: Vec<_> = self.kept.iter().skip(self.kept.len() - shown).cloned().collect();
        let missed = new - u64::try_from(shown).unwrap_or(new);
        Outcomes { until: self.count, missed, outcomes }
    }

    /// Keeps nothing any more where nobody watches.
    pub fn tidy(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) >= FORGOTTEN_AFTER) {
            (self.kept, self.looked) = (VecDeque::new(), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(number: usize) -> RecentOutcome {
        RecentOutcome { id: number.to_string(), ..RecentOutcome::default() }
    }

    #[test]
    fn whoever_watches_sees_each_outcome_once_and_two_do_not_disturb_each_other() {
        let (mut tapped, now) = (Tapped::default(), crate::clock::now());
        tapped.add(&outcome(0));
        let first = tapped.look(None, now);
        assert_eq!(first, Outcomes { until: 1, missed: 0, outcomes: Vec::new() }, "what was before is not shown");
        tapped.add(&outcome(1));
        let other = tapped.look(None, now);
        tapped.add(&outcome(2));
        let ids = |outcomes: &Outcomes| outcomes.outcomes.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        let second = tapped.look(Some(first.until), now);
        assert_eq!((ids(&second), second.missed), (vec!["1".to_owned(), "2".to_owned()], 0));
        assert_eq!(ids(&tapped.look(Some(other.until), now)), ["2"]);
        assert_eq!(tapped.look(Some(second.until), now).outcomes, []);
    }

    #[test]
    fn too_many_at_once_are_counted_and_the_latest_are_shown() {
        let (mut tapped, now) = (Tapped::default(), crate::clock::now());
        let since = tapped.look(None, now).until;
        (0..MOST + 240).for_each(|number| tapped.add(&outcome(number)));
        let seen = tapped.look(Some(since), now);
        assert_eq!((seen.missed, seen.outcomes.len(), seen.outcomes[0].id.as_str()), (240, MOST, "240"));
    }

    #[test]
    fn nothing_is_kept_while_nobody_watches() {
        let (mut tapped, now) = (Tapped::default(), crate::clock::now());
        (0..10).for_each(|number| tapped.add(&outcome(number)));
        assert_eq!(tapped.kept.capacity(), 0);
        tapped.look(None, now);
        tapped.add(&outcome(10));
        tapped.tidy(now + FORGOTTEN_AFTER / 2);
        assert_eq!(tapped.kept.len(), 1);
        tapped.tidy(now + FORGOTTEN_AFTER);
        tapped.add(&outcome(11));
        assert_eq!(tapped.kept.capacity(), 0);
        let late = tapped.look(Some(10), now + FORGOTTEN_AFTER);
        assert_eq!((late.missed, late.outcomes.len()), (2, 0), "and it is said how many there were");
    }
}
