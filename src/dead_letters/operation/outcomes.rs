//! What became of the letters that were replayed, as the worker that delivers them tells it. Pure.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::state::Death;
use crate::dead_letters::causes::{Cause, Causes};
use crate::message::Message;
use crate::record::fingerprint::cause;
use crate::record::replay::{Notice, ReplayOutcome};

/// Causes of death that an operation tells apart.
const MOST_TOLD: usize = 10;
/// Causes of death that a sentence names.
const MOST_NAMED: usize = 3;

/// What is known of the replayed letters.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// Those on their way: when they were sent.
    under_way: HashMap<u64, Instant>,
    /// Those that wait for another try.
    retrying: HashSet<u64>,
    pub delivered: u64,
    pub dead_again: u64,
    pub suppressed: u64,
    /// Why.
    deaths: Causes,
    /// When the last outcome came.
    pub last_heard: Option<Instant>,
}

impl Outcomes {
    /// A letter is on its way.
    pub fn sent(&mut self, id: u64, now: Instant) {
        self.under_way.insert(id, now);
    }

    /// A letter was not sent after all.
    pub fn not_sent(&mut self, id: u64) {
        self.under_way.remove(&id);
    }

    /// What a worker tells.
    pub fn hear(&mut self, notice: Notice, now: Instant) {
        let Ok(id) = u64::from_str_radix(&notice.letter, 16) else { return };
        let known = self.under_way.remove(&id).is_some() | self.retrying.remove(&id);
        self.last_heard = Some(now);
        // Told twice, where the broker sent the letter twice.
        if !known {
            return;
        }
        match notice.outcome {
            ReplayOutcome::Delivered => self.delivered += 1,
            ReplayOutcome::Dead => {
                self.dead_again += 1;
                let said = notice.sentence.or(notice.reason).unwrap_or_default();
                self.deaths.add(&said, cause(&said, &Message::default()), &notice.letter);
            }
            ReplayOutcome::Suppressed => self.suppressed += 1,
            ReplayOutcome::Retrying => drop(self.retrying.insert(id)),
        }
    }

    /// What those say that died again, most letters first.
    pub fn deaths(&self) -> Vec<Death> {
        let shown = |cause: Cause| Death { sentence: cause.sentence, count: cause.count };
        self.deaths.sorted().into_iter().take(MOST_TOLD).map(shown).collect()
    }

    /// The same in one line.
    pub fn deaths_said(&self) -> String {
        self.deaths.said(MOST_NAMED)
    }

    /// How many are on their way to the vendor.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// How many wait for another try.
    pub fn retrying(&self) -> usize {
        self.retrying.len()
    }

    /// When the one that is under way for longest was sent.
    pub fn oldest(&self) -> Option<Instant> {
        self.under_way.values().min().copied()
    }

    /// Waits no more for what is under way: its outcomes have been lost.
    pub fn give_up(&mut self) {
        self.under_way.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(letter: u64, outcome: ReplayOutcome) -> Notice {
        Notice {
            replay: "r".into(),
            letter: format!("{letter:016x}"),
            outcome,
            reason: None,
            sentence: Some("no such user".into()),
        }
    }

    #[test]
    fn each_letters_end_is_counted_once() {
        let now = crate::clock::now();
        let mut outcomes = Outcomes::default();
        (1..=4).for_each(|id| outcomes.sent(id, now));
        for (id, outcome) in [
            (1, ReplayOutcome::Delivered),
            (1, ReplayOutcome::Delivered),
            (2, ReplayOutcome::Retrying),
            (9, ReplayOutcome::Dead),
            (3, ReplayOutcome::Dead),
            (4, ReplayOutcome::Suppressed),
        ] {
            outcomes.hear(notice(id, outcome), now);
        }
        assert_eq!((outcomes.delivered, outcomes.dead_again, outcomes.suppressed), (1, 1, 1));
        assert_eq!((outcomes.under_way(), outcomes.retrying()), (0, 1));
        outcomes.hear(notice(2, ReplayOutcome::Delivered), now);
        assert_eq!((outcomes.delivered, outcomes.retrying()), (2, 0));
        assert_eq!(outcomes.deaths_said(), "no such user (1)");
        assert_eq!(outcomes.deaths(), [Death { sentence: "no such user".into(), count: 1 }]);
    }
}
