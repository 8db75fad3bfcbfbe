//! Counts events that our own check refuses in a row. After `park_after_rejections` by one rule the destination parks. Later events then wait
//! to be checked again, since a person may fix the rule.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::Driver;
use super::demand::LONGEST_HOLD;
use super::settler::Tag;
use crate::broker::port::Delivery;
use crate::class::Class;
use crate::clock;
use crate::record::history::History;
use crate::verdict::Reason;

/// The most rules and types that are counted apart: producers choose types, so they could be many.
const MOST_RULES: usize = 100;

/// What was refused in a row, and what waits to be checked again.
#[derive(Debug, Default)]
pub(super) struct Invalids {
    /// How many in a row, by the rule that they were made by, or by their type where there is none.
    in_a_row: BTreeMap<String, u32>,
    waiting: VecDeque<(Instant, Delivery)>,
}

impl Invalids {
    /// An event was good.
    pub fn went_well(&mut self) {
        self.in_a_row.clear();
    }

    /// One more of that rule was refused; how many that makes in a row, and of what.
    fn add(&mut self, rule: String) -> (u32, String) {
        let known = self.in_a_row.contains_key(&rule) || self.in_a_row.len() < MOST_RULES;
        let rule = if known { rule } else { format!("others than the first {MOST_RULES} rules and types") };
        let count = self.in_a_row.entry(rule.clone()).or_default();
        *count = count.saturating_add(1);
        (*count, rule)
    }

    /// One that waits to be checked again.
    fn wait(&mut self, delivery: Delivery, now: Instant) {
        self.waiting.push_back((now, delivery));
    }

    /// How many wait.
    pub fn held(&self) -> usize {
        self.waiting.len()
    }

    /// Takes out all but so many, those that came last.
    pub fn beyond(&mut self, keeps: usize) -> Vec<Delivery> {
        self.waiting.drain(keeps.min(self.waiting.len())..).map(|(_, delivery)| delivery).collect()
    }

    /// The one of a class that came first.
    pub fn first(&self, class: Class) -> Option<&Delivery> {
        self.waiting.iter().map(|(_, delivery)| delivery).find(|delivery| delivery.class == class)
    }

    /// Takes out the one that came first.
    pub fn pop(&mut self) -> Option<Delivery> {
        self.waiting.pop_front().map(|(_, delivery)| delivery)
    }

    /// Takes out those that have waited too long.
    pub fn sweep(&mut self, now: Instant) -> Vec<Delivery> {
        let old = |since: Instant| now.saturating_duration_since(since) > LONGEST_HOLD;
        let mut taken = Vec::new();
        while self.waiting.front().is_some_and(|(since, _)| old(*since)) {
            taken.extend(self.pop());
        }
        taken
    }
}

impl Driver {
    /// Our own check refused an event: a dead letter, or, parked for many such, one that waits.
    pub(super) fn refuse(&mut self, delivery: Delivery, history: History, tag: Tag, reason: Reason, sentence: String) {
        if reason != Reason::Invalid {
            return self.dead_letter(delivery, history, tag, reason, sentence);
        }
        if self.dispatch.gate.is_parked_for_invalid() {
            return self.intake.invalids.wait(delivery, clock::now());
        }
        let rule = match self.settings.map.rule_for(&tag.kind) {
            Some(rule) => format!("the rule of map for {:?} (line {})", rule.pattern, rule.line),
            None => format!("the type {:?}", tag.kind),
        };
        let (count, rule) = self.intake.invalids.add(rule);
        let limit = self.settings.park_after_rejections;
        let why = format!(
            "{count} events in a row are invalid by {rule}, at last: {sentence}; fix the rule and reload, or fix the producer and resume: the waiting events are then checked again"
        );
        self.dead_letter(delivery, history, tag, reason, sentence);
        if limit > 0 && count >= limit {
            self.dispatch.gate.park_for_invalid(&why, clock::now());
            self.intake.invalids.went_well();
        }
    }

    /// Checks what waited again, unless it is still parked for that.
    pub(super) fn check_invalid_again(&mut self) {
        if self.intake.invalids.held() > 0 && !self.dispatch.gate.is_parked_for_invalid() {
            let waiting = self.intake.invalids.beyond(0);
            waiting.into_iter().for_each(|delivery| self.check(delivery));
        }
    }
}
