//! A destination's figures, as pages show them. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::bulk::BulkFigures;
use super::show::{Moment, count, percent, rate, span};
use crate::admin::destinations::DestinationStatus;
use crate::gate::GateState;
use crate::watch::age;

/// How a destination is, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub name: String,
    pub vendor: String,
    pub state: &'static str,
    /// Why, where it is not simply open.
    pub why: Option<String>,
    /// When that may end by itself.
    pub until: Option<Moment>,
    /// What the gate lets through.
    pub rate: String,
    /// What the limits allow in a second, where anything paces it.
    pub quota: Option<f64>,
    pub quota_shown: String,
    /// The share of it that is used, where it was learned to be less.
    pub learned: Option<u64>,
    pub ready: Option<String>,
    /// How long ago the oldest event that waits happened.
    pub oldest: Option<String>,
    pub oldest_at: Option<Timestamp>,
    /// Whether that is longer than it should be.
    pub is_late: bool,
    /// Until the queue is empty.
    pub drain: Option<String>,
    pub day: Option<Day>,
    pub dead: Option<u32>,
    pub dead_shown: String,
    /// In its retry queues.
    pub retry: String,
    /// Put aside until they may be sent.
    pub scheduled: String,
    pub trash: String,
    pub in_flight: String,
    /// How many may be in flight.
    pub concurrency: String,
    /// What holds the pace, in words.
    pub held_by: &'static str,
    /// In the queue, held, in its retry queues and put aside, together.
    pub waiting: Option<String>,
    /// Of these, held for the gate.
    pub held: String,
    /// Of these, hard to map.
    pub being_mapped: Option<String>,
    pub unconfirmed: Option<String>,
    pub is_ready: bool,
    pub delivered: String,
    pub throttled: String,
    pub retried: String,
    pub limits: Vec<String>,
    /// Those of the configuration, where others are in force.
    pub configured: Option<String>,
    pub subscribe: Vec<String>,
    /// Whether this worker drives it.
    pub drives: bool,
    /// The worker that drives it, where that is another one.
    pub driver: Option<String>,
    /// How old its figures are, where they are that one's.
    pub told: Option<String>,
    /// Its bulk events, where it has to do with some.
    pub bulk: Option<BulkFigures>,
}

/// A day's budget.
#[derive(Clone, Debug)]
pub(super) struct Day {
    /// Nothing is left of it.
    pub is_spent: bool,
    pub used: String,
    pub limit: String,
    pub percent: u64,
    /// When it starts again.
    pub starts: String,
    /// When it will be used up, where that is before the vendor's day ends.
    pub runs_out: Option<Moment>,
}

impl Day {
    /// Whether it is worth looking at: much of it is used, or will be before the day ends.
    pub fn matters(&self) -> bool {
        self.percent >= 50 || self.is_spent || self.runs_out.is_some()
    }
}

fn known(depth: Option<u32>) -> String {
    depth.map_or_else(|| "not known".to_owned(), count)
}

impl Figures {
    pub fn of(shown: DestinationStatus, now: Timestamp) -> Self {
        // What waits for a retry is not in the queue, which drains.
        let waits = shown.queue_ready.is_some_and(|ready| ready > 0 || shown.held > shown.bulk.held);
        let drain = shown.drained_in_seconds.filter(|_| waits);
        let stands_still = waits && (shown.state != GateState::Open.name() || shown.quiet_until.is_some());
        let quota = shown.quota;
        let as_float = |count: u64| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
        Self {
            state: shown.state,
            told: shown.as_of.map(|at| span(age(at, now))),
            drives: shown.drives,
            driver: shown.driver.clone(),
            why: (shown.why != GateState::Open.name()).then(|| shown.why.clone()),
            until: Moment::maybe(shown.until, now),
            rate: shown.rate.map_or_else(|| "unpaced".to_owned(), |a_second| format!("{}/s", rate(a_second))),
            quota,
            quota_shown: quota.map_or_else(|| "unpaced".to_owned(), |a_second| format!("{}/s", rate(a_second))),
            learned: (shown.learned < 1.0).then(|| percent(shown.learned, 1.0)),
            ready: shown.queue_ready.map(count),
            oldest_at: shown.oldest_event,
            is_late: false,
            oldest: shown.oldest_event.map(|oldest| span(age(oldest, now))),
            drain: drain.map(span).or_else(|| stands_still.then(|| "not while closed".to_owned())),
            day: shown.day_limit.map(|limit| Day {
                is_spent: shown.day_used >= limit,
                used: count(shown.day_used),
                limit: count(limit),
                starts: shown.day_starts.clone(),
                percent: percent(as_float(shown.day_used), as_float(limit)),
                runs_out: Moment::maybe(shown.day_budget_runs_out, now),
            }),
            dead: shown.dead_letters_ready,
            dead_shown: known(shown.dead_letters_ready),
            retry: known(shown.retrying),
            scheduled: known(shown.scheduled),
            trash: known(shown.trash_ready),
            in_flight: count(shown.in_flight),
            concurrency: count(shown.concurrency),
            held_by: shown.held_by_words,
            waiting: shown.waiting.map(count),
            held: count(shown.held),
            being_mapped: (shown.being_mapped > 0).then(|| count(shown.being_mapped)),
            unconfirmed: (shown.unconfirmed > 0).then(|| count(shown.unconfirmed)),
            is_ready: shown.ready,
            delivered: count(shown.delivered),
            throttled: count(shown.throttled),
            retried: count(shown.retried),
            name: shown.name,
            vendor: shown.vendor,
            configured: (shown.configured_limits != shown.limits && !shown.configured_limits.is_empty())
                .then(|| shown.configured_limits.join(", ")),
            limits: shown.limits,
            subscribe: shown.subscribe,
            bulk: BulkFigures::of(shown.bulk, now),
        }
    }

    /// The same, where an event that has waited for longer is late.
    pub fn late_after(self, longest: Duration, now: Timestamp) -> Self {
        let is_late = self.oldest_at.is_some_and(|oldest| age(oldest, now) > longest.as_secs_f64());
        Self { is_late: is_late && !self.is_paused(), ..self }
    }

    pub fn is_paused(&self) -> bool {
        self.state == GateState::Paused.name()
    }

    /// The share of its limits that an open gate is held to, where its vendor refuses more.
    pub fn slowed(&self) -> Option<u64> {
        self.learned.filter(|_| self.state == GateState::Open.name())
    }

    /// Whether resuming changes something: it is paused, or waits until it tries again.
    pub fn can_resume(&self) -> bool {
        self.state != GateState::Open.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::bulk::BulkStatus;
    use crate::destination::bulk::BulkView;
    use crate::watch::BulkDepths;

    fn shown(state: &'static str, queue_ready: Option<u32>, held: usize) -> DestinationStatus {
        let depths = queue_ready.map(|ready| u64::from(ready) + u64::try_from(held).unwrap());
        DestinationStatus {
            drives: true,
            driver: None,
            as_of: None,
            name: "px".to_owned(),
            vendor: "gainsight-px".to_owned(),
            subscribe: Vec::new(),
            limits: Vec::new(),
            configured_limits: Vec::new(),
            state,
            why: state.to_owned(),
            answered_at: None,
            paused_by: None,
            paused_at: None,
            paused_until: None,
            pause_reason: None,
            since: None,
            until: None,
            quiet_until: None,
            quota: Some(1.0),
            rate: Some(1.0),
            learned: 1.0,
            in_flight: 0,
            concurrency: 32,
            held_by: "nothing_to_send",
            held_by_words: "nothing to send",
            day_used: 0,
            day_limit: None,
            day_starts: "midnight UTC".to_owned(),
            waiting: depths,
            held,
            being_mapped: 0,
            unconfirmed: 0,
            consuming: true,
            ready: true,
            delivered: 0,
            throttled: 0,
            retried: 0,
            copies_waiting: 0,
            queue_ready,
            dead_letters_ready: Some(1_000),
            retrying: Some(7),
            scheduled: Some(0),
            trash_ready: None,
            oldest_event: None,
            day_budget_runs_out: None,
            drained_in_seconds: (state == "open").then_some(51.0),
            bulk: BulkStatus::of(BulkView::default(), BulkDepths::default()),
        }
    }

    #[test]
    fn what_waits_drains_whether_it_lies_in_the_queue_or_is_held() {
        for (state, queue_ready, held, waiting, drain) in [
            ("open", Some(50), 1, Some("51"), Some("51 s")),
            ("open", Some(0), 51, Some("51"), Some("51 s")),
            ("paused", Some(0), 51, Some("51"), Some("not while closed")),
            ("paused", Some(0), 0, Some("0"), None),
            ("open", Some(0), 0, Some("0"), None),
            ("open", None, 51, None, None),
        ] {
            let figures = Figures::of(shown(state, queue_ready, held), Timestamp::UNIX_EPOCH);
            assert_eq!(
                (figures.waiting.as_deref(), figures.drain.as_deref()),
                (waiting, drain),
                "{state} {queue_ready:?}"
            );
        }
    }

    #[test]
    fn a_depth_that_is_not_known_is_not_nothing() {
        let figures = Figures::of(shown("open", None, 0), Timestamp::UNIX_EPOCH);
        assert_eq!(
            (figures.dead_shown.as_str(), figures.retry.as_str(), figures.trash.as_str()),
            ("1,000", "7", "not known")
        );
    }
}
