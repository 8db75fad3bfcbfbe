//! Carries out a judgement: an event is settled, waits again, or is sent once more with fewer others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::Exchange;
use super::check::{Held, Pending};
use super::judge::sentence_of;
use super::ready_queue::Batch;
use super::rule::{self, Circumstances, Fault, Next, REFUSED_ALONE, delay};
use super::{Driver, batching, outcome};
use crate::clock;
use crate::gate::{Doubt, GateState};
use crate::record::history::{Attempt, History};
use crate::verdict::{Reason, Settlement, Verdict};

/// An event that failed together with others waits no longer than this before it is sent again.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// An attempt as it was judged.
#[derive(Debug)]
pub(super) struct Judgement<'a> {
    pub verdict: &'a Verdict,
    /// The verdict's, masked.
    pub sentence: &'a str,
    pub record: &'a Attempt,
    pub fault: Fault,
    /// The destination was parked before the answer came.
    pub parked: bool,
    /// The request was to tell whether the gate reopens.
    pub probe: bool,
    /// When it was judged.
    pub wall: Timestamp,
}

impl Judgement<'_> {
    fn is_unauthorized(&self) -> bool {
        matches!(self.verdict, Verdict::Unauthorized(_))
    }

    fn is_trouble(&self) -> bool {
        matches!(self.verdict, Verdict::Unavailable(_) | Verdict::Throttled(_))
    }
}

impl Driver {
    /// Each event has an answer of its own; `refusal` tells whose trouble it is where one says that its credentials are refused.
    pub(super) fn each_answered(
        &mut self,
        batch: Batch,
        each: Vec<Verdict>,
        refusal: Fault,
        exchange: &Exchange,
        probe: bool,
    ) {
        let unnamed = || Verdict::Rejected("the vendor's answer does not tell what became of this one".to_owned());
        let verdicts = each.into_iter().map(Some).chain(std::iter::repeat(None));
        let calls_left = batch.calls_left;
        // In turn from the end, so that those that wait go first again in their order.
        let events: Vec<_> = batch.events.into_iter().zip(verdicts).collect();
        for (mut pending, verdict) in events.into_iter().rev() {
            let verdict = verdict.unwrap_or_else(unnamed);
            let sentence = sentence_of(&verdict).map(|said| exchange.masked(said)).unwrap_or_default();
            let record = exchange.record(&verdict, &sentence);
            if !matches!(verdict, Verdict::Delivered | Verdict::Accepted) {
                pending.history.add(record.clone());
            }
            let batch = Batch { events: vec![pending], calls_left: calls_left.clone() };
            let fault = match verdict {
                Verdict::Unauthorized(_) => refusal,
                Verdict::Throttled(_) => Fault::Vendor,
                Verdict::Delivered
                | Verdict::Accepted
                | Verdict::Unavailable(_)
                | Verdict::TooLarge(_)
                | Verdict::Rejected(_) => Fault::Event,
            };
            let (verdict, sentence, record) = (&verdict, sentence.as_str(), &record);
            let judgement = Judgement { verdict, sentence, record, fault, parked: false, probe, wall: clock::wall() };
            self.follow(batch, &judgement);
        }
    }

    /// What becomes of events that share a verdict.
    pub(super) fn follow(&mut self, mut batch: Batch, judgement: &Judgement<'_>) {
        let (ordering_key, class) = (batch.ordering_key().map(str::to_owned), batch.class());
        let in_doubt = judgement.is_unauthorized()
            && judgement.fault == Fault::Vendor
            && match self.dispatch.gate.doubt() {
                Doubt::Few | Doubt::Alone => true,
                Doubt::Account => batch.events.iter().any(|event| self.dispatch.gate.doubts(event.key)),
                Doubt::None => false,
            };
        if in_doubt && batch.events.len() > 1 {
            // They stay together, to be halved where others are taken.
            let calls = batching::calls_to_split(batch.events.len());
            batch.calls_left = batch.calls_left.or_else(|| Some(Arc::new(AtomicU32::new(calls))));
        }
        let alone = batch.events.len() == 1;
        let (mut first, mut behind, calls_left) = (Vec::new(), Vec::new(), batch.calls_left);
        for mut pending in batch.events {
            pending.refused = in_doubt;
            pending.failed |= judgement.is_trouble();
            match self.rule(&mut pending, judgement, alone) {
                Next::Wait { first: true } => first.push(pending),
                // Closed for long, few are held: those that always fail must not be all of them. A copy of what was replayed would be
                // taken for another replay.
                Next::Wait { first: false }
                    if ordering_key.is_none()
                        && calls_left.is_none()
                        && !pending.replay
                        && self.prefetch.is_closed()
                        && self.dispatch.gate.state_beneath() == GateState::Broken =>
                {
                    let Pending { delivery, history, .. } = *pending;
                    self.settlements.send_behind(delivery, history);
                }
                Next::Wait { first: false } => {
                    // Not the same again at once.
                    if let Some(ordering_key) = &ordering_key {
                        self.dispatch.ordering_keys.rest(ordering_key, class, clock::now());
                    } else if judgement.is_trouble() {
                        let pause = delay(&self.settings.retry.delays, pending.troubles.saturating_sub(1));
                        pending.rests_until = Some(clock::now() + pause.min(LONGEST_REST));
                    }
                    behind.push(pending);
                }
                Next::Settle(settlement) => self.settle_ruled(pending, settlement, judgement),
            }
        }
        if !first.is_empty() {
            self.dispatch.ready.put_back(Batch { events: first, calls_left: calls_left.clone() });
        }
        if !behind.is_empty() {
            self.dispatch.ready.send_behind(Batch { events: behind, calls_left });
        }
    }

    /// How an event goes on that was sent `alone` or with others.
    fn rule(&mut self, pending: &mut Pending, judgement: &Judgement<'_>, alone: bool) -> Next {
        let Judgement { verdict, sentence, record, mut fault, parked, probe, wall } = *judgement;
        if alone && judgement.is_trouble() {
            // Nothing else is here to tell: it is sent again after its own delays.
            let is_lonely = self.waits() == 0 && self.sender.in_flight() == 0;
            if self.dispatch.failed_alone(pending, is_lonely) {
                fault = Fault::Event;
            }
        }
        if judgement.is_trouble() || judgement.is_unauthorized() {
            pending.troubles = pending.troubles.saturating_add(1);
        }
        let (history, retry) = (&pending.history, &self.settings.retry);
        // Where nothing went well since, it may be an outage, which costs no event.
        let well_since = |since: &Timestamp| self.dispatch.went_well_since(*since);
        let failing_since = history.failing_since.filter(well_since);
        let circumstances = Circumstances { fault, parked, history, failing_since, retry, wall };
        let mut next = rule::next(verdict, sentence, &circumstances);
        // What follows in its ordering key must not overtake it for a trouble of a moment.
        if let (Next::Settle(Settlement::RetryLater(_)), Some(ordering_key)) =
            (&next, pending.item.ordering_key.as_deref())
            && !judgement.is_unauthorized()
            && self.dispatch.ordering_keys.rest(ordering_key, pending.delivery.class, clock::now())
        {
            next = Next::Wait { first: true };
        }
        // What failed is among them already.
        let number = history.made() + u64::from(matches!(verdict, Verdict::Delivered | Verdict::Accepted));
        let tried = outcome::Tried { attempt: record, number, retries: history.retries, probe };
        outcome::attempted(self.report.telling(&self.settings.name), &pending.tag, tried, &next);
        next
    }

    fn settle_ruled(&mut self, mut pending: Held, settlement: Settlement, judgement: &Judgement<'_>) {
        match settlement {
            Settlement::Ack => {
                let wall = judgement.wall;
                self.settlements.delivered(&pending, self.hours.opened(wall), wall);
                if let Some(ordering_key) = &pending.item.ordering_key {
                    self.dispatch.ordering_keys.went_well(ordering_key, pending.delivery.class);
                }
            }
            Settlement::RetryLater(_) => {
                if judgement.is_unauthorized()
                    && let Some(attempt) = pending.history.attempts.last_mut()
                {
                    REFUSED_ALONE.clone_into(&mut attempt.verdict);
                }
                pending.history.spend(judgement.record.at);
            }
            Settlement::DeadLetter(..)
            | Settlement::Drop(_)
            | Settlement::Suppress
            | Settlement::Later(_)
            | Settlement::Release => {}
        }
        self.settlements.settle(*pending, settlement);
    }

    /// Events that were refused together are sent again in two halves, to find the bad ones.
    pub(super) fn split(&mut self, batch: Batch, verdict: &Verdict, sentence: &str) {
        let count = batch.events.len();
        let calls_left = batch.calls_left.clone();
        let calls_left = calls_left.unwrap_or_else(|| Arc::new(AtomicU32::new(batching::calls_to_split(count))));
        let left = calls_left.load(Ordering::Relaxed);
        if left >= 2 {
            calls_left.store(left - 2, Ordering::Relaxed);
            tracing::debug!(
                destination = self.settings.name,
                events = count,
                said = sentence,
                "refused together; halved"
            );
            for pending in &batch.events {
                outcome::refused_together(
                    self.report.telling(&self.settings.name),
                    &pending.tag,
                    &pending.history,
                    count,
                );
            }
            return self.dispatch.ready.split(batch, calls_left);
        }
        let reason = if matches!(verdict, Verdict::TooLarge(_)) { Reason::TooLarge } else { Reason::Rejected };
        let sentence = format!(
            "{sentence}; it was refused together with {} others, and no more calls are spent on finding out which are bad: it may be good",
            count - 1
        );
        for pending in batch.events {
            outcome::undeliverable(self.report.telling(&self.settings.name), &pending.tag, reason, &sentence);
            self.settlements.settle(*pending, Settlement::DeadLetter(reason, sentence.clone()));
        }
    }

    /// An event that failed otherwise than by its own request: when it is tried again, or that it is not any more.
    pub(super) fn retry(&self, history: &History, sentence: &str, wall: Timestamp) -> Settlement {
        let verdict = Verdict::Unavailable(sentence.to_owned());
        let (retry, failing_since) = (&self.settings.retry, history.failing_since);
        let circumstances = Circumstances { fault: Fault::Event, parked: false, history, failing_since, retry, wall };
        match rule::next(&verdict, sentence, &circumstances) {
            Next::Settle(settlement) => settlement,
            Next::Wait { .. } => Settlement::RetryLater(delay(&retry.delays, history.retries)),
        }
    }
}
