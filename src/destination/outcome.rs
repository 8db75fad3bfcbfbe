//! The log of a destination: one line a finished delivery, one a change of its gate; and the last of them, kept for whoever looks. The
//! history has a step of each.

use std::borrow::Cow;

use jiff::Timestamp;

use super::Driver;
use super::attempt::Exchange;
use super::recent::{self, Recent};
use super::rule::Next;
use super::settler::Tag;
use super::steps;
use crate::clock;
use crate::gate::{GateState, Status};
use crate::history::about::operation_said;
use crate::history::{Recorder, StepKind};
use crate::record::history::{Attempt, History};
use crate::redact;
use crate::verdict::{Reason, Settlement};

/// Where outcomes at a destination are told, beside the log.
pub(super) struct Telling<'a> {
    pub recent: &'a mut Recent,
    /// Nothing where no history is kept.
    pub history: Option<&'a Recorder>,
    pub destination: &'a str,
}

/// An attempt for an event.
#[derive(Clone, Copy)]
pub(super) struct Tried<'a> {
    pub attempt: &'a Attempt,
    /// Which it is, from 1.
    pub number: u64,
    pub retries: u32,
    /// It was to tell whether the gate reopens.
    pub probe: bool,
}

/// An attempt and what became of the event.
pub(super) fn attempted(telling: Telling<'_>, tag: &Tag, tried: Tried<'_>, next: &Next) {
    let Telling { recent, history, destination } = telling;
    steps::attempted(history, destination, tag, &tried, next);
    let Tried { attempt, retries, probe, .. } = tried;
    let ((id, kind), trace_id) = (shown(tag), tag.trace_id.as_deref());
    let (status, verdict, ms) = (attempt.status, attempt.verdict.as_str(), attempt.ms);
    match next {
        Next::Settle(Settlement::Ack) => {
            tracing::info!(
                destination,
                event.id = &*id,
                event.r#type = &*kind,
                trace_id,
                outcome = "delivered",
                status,
                ms,
                retries,
                "delivered"
            );
            recent.ended(id.into_owned(), &kind, "", after(attempt, "delivered"));
        }
        Next::Settle(Settlement::RetryLater(delay)) => {
            tracing::info!(
                destination,
                event.id = &*id,
                event.r#type = &*kind,
                trace_id,
                outcome = "retry",
                verdict,
                status,
                ms,
                retries,
                delay_seconds = delay.as_secs(),
                said = attempt.excerpt,
                "will be retried"
            );
            recent.ended(id.into_owned(), &kind, &attempt.excerpt, after(attempt, "retry"));
        }
        Next::Settle(Settlement::DeadLetter(reason, sentence)) => {
            tracing::warn!(
                destination,
                event.id = &*id,
                event.r#type = &*kind,
                trace_id,
                outcome = "dead_lettered",
                reason = reason.name(),
                status,
                ms,
                retries,
                said = sentence,
                "became a dead letter"
            );
            recent.ended(id.into_owned(), &kind, sentence, after(attempt, "dead_lettered"));
        }
        Next::Settle(Settlement::Release | Settlement::Drop(_) | Settlement::Suppress | Settlement::Later(_))
        | Next::Wait { .. } => {
            waits(recent, destination, tag, attempt, probe);
        }
    }
}

/// The event waits for the gate after that attempt: a probe that failed, or one of those that closed it.
fn waits(recent: &mut Recent, destination: &str, tag: &Tag, attempt: &Attempt, probe: bool) {
    let ((id, kind), trace_id) = (shown(tag), tag.trace_id.as_deref());
    let (status, verdict, ms) = (attempt.status, attempt.verdict.as_str(), attempt.ms);
    let said = attempt.excerpt.as_str();
    if probe {
        tracing::info!(
            destination,
            event.id = &*id,
            event.r#type = &*kind,
            trace_id,
            outcome = "probe",
            verdict,
            status,
            ms,
            said,
            "the probe failed: the event waits"
        );
    } else {
        tracing::debug!(destination, event.id = &*id, verdict, status, ms, said, "waits for the gate");
    }
    // Hundreds that are refused together are told of once: what died before must still be seen.
    if probe || !recent.ended_so_last("waits", status, said) {
        recent.ended(id.into_owned(), &kind, said, after(attempt, if probe { "probe" } else { "waits" }));
    }
}

impl Driver {
    /// A request without events: kept where it was a probe or failed. `about` says what was asked, and of what.
    pub(super) fn note_side_request(
        &mut self,
        about: (&'static str, &str),
        exchange: &Exchange,
        said: &str,
        probe: bool,
    ) {
        let (request, name) = (about.0, redact::without_addresses(about.1));
        let destination = self.settings.name.as_str();
        let (status, ms) = (exchange.status().map(|status| status.as_u16()), exchange.ms());
        let outcome = match (probe, said) {
            (false, "") => return,
            (true, _) => "probe",
            (false, _) => "failed",
        };
        if probe && !said.is_empty() {
            tracing::info!(destination, request, name = &*name, outcome, status, ms, said, "the probe failed");
        }
        let outcome = recent::RecentOutcome {
            at: exchange.at,
            outcome: outcome.into(),
            status,
            ms: Some(ms),
            ..recent::RecentOutcome::default()
        };
        self.report.recent.ended(name.into_owned(), request, said, outcome);
    }
}

/// A message that became a dead letter before any request.
pub(super) fn undeliverable(telling: Telling<'_>, tag: &Tag, reason: Reason, sentence: &str) {
    let Telling { recent, history, destination } = telling;
    steps::died(history, destination, tag, reason, sentence);
    let (id, kind) = shown(tag);
    tracing::warn!(
        destination,
        event.id = &*id,
        event.r#type = &*kind,
        trace_id = tag.trace_id.as_deref(),
        outcome = "dead_lettered",
        reason = reason.name(),
        said = sentence,
        "became a dead letter"
    );
    recent.ended(id.into_owned(), &kind, sentence, without_request("dead_lettered"));
}

/// An event whose time was over before it was sent, and that the destination drops.
pub(super) fn dropped(telling: Telling<'_>, tag: &Tag, sentence: &str) {
    let Telling { recent, history, destination } = telling;
    steps::said(history, destination, tag, StepKind::Dropped, sentence);
    let (id, kind) = shown(tag);
    tracing::info!(
        destination,
        event.id = &*id,
        event.r#type = &*kind,
        trace_id = tag.trace_id.as_deref(),
        outcome = "dropped",
        reason = Reason::TooOld.name(),
        said = sentence,
        "dropped"
    );
    recent.ended(id.into_owned(), &kind, sentence, without_request("dropped"));
}

/// An event about somebody who must not be written to.
pub(super) fn suppressed(telling: Telling<'_>, tag: &Tag) {
    let Telling { recent, history, destination } = telling;
    steps::said(history, destination, tag, StepKind::Suppressed, "");
    let (id, kind) = shown(tag);
    tracing::info!(
        destination,
        event.id = &*id,
        event.r#type = &*kind,
        trace_id = tag.trace_id.as_deref(),
        outcome = "suppressed",
        "not sent: its person must not be written to"
    );
    let said = "its person must not be written to";
    recent.ended(id.into_owned(), &kind, said, without_request("suppressed"));
}

/// An event that may not be sent yet and was put aside until then.
pub(super) fn scheduled(telling: Telling<'_>, tag: &Tag, due: Timestamp) {
    let Telling { recent, history, destination } = telling;
    let said = due.strftime("not before %F %T UTC").to_string();
    steps::scheduled(history, destination, tag, due, &said);
    let (id, kind) = shown(tag);
    tracing::info!(
        destination,
        event.id = &*id,
        event.r#type = &*kind,
        trace_id = tag.trace_id.as_deref(),
        outcome = "scheduled",
        due = %due,
        "waits until it may be sent"
    );
    recent.ended(id.into_owned(), &kind, &said, without_request("scheduled"));
}

/// The end of a job, for one of its events.
pub(super) fn job(telling: Telling<'_>, tag: &Tag, job: &str, settlement: &Settlement) {
    let Telling { recent, history, destination } = telling;
    steps::job(history, destination, tag, job, settlement);
    let ((id, kind), trace_id) = (shown(tag), tag.trace_id.as_deref());
    match settlement {
        Settlement::Ack => {
            tracing::info!(
                destination,
                event.id = &*id,
                event.r#type = &*kind,
                trace_id,
                outcome = "delivered",
                job,
                "applied"
            );
            recent.ended(id.into_owned(), &kind, "", without_request("delivered"));
        }
        Settlement::RetryLater(delay) => {
            let delay_seconds = delay.as_secs();
            tracing::info!(
                destination,
                event.id = &*id,
                event.r#type = &*kind,
                trace_id,
                outcome = "retry",
                job,
                delay_seconds,
                "the job failed"
            );
            recent.ended(id.into_owned(), &kind, "the job failed", without_request("retry"));
        }
        Settlement::DeadLetter(reason, said) => {
            let reason = reason.name();
            tracing::warn!(
                destination,
                event.id = &*id,
                event.r#type = &*kind,
                trace_id,
                outcome = "dead_lettered",
                reason,
                job,
                said,
                "became a dead letter"
            );
            recent.ended(id.into_owned(), &kind, said, without_request("dead_lettered"));
        }
        Settlement::Release | Settlement::Drop(_) | Settlement::Suppress | Settlement::Later(_) => {}
    }
}

/// A message that the broker sent again although its event was delivered a moment ago.
pub(super) fn known(telling: Telling<'_>, tag: &Tag) {
    let Telling { recent, history, destination } = telling;
    steps::said(history, destination, tag, StepKind::AlreadyDelivered, "");
    let (id, kind) = shown(tag);
    tracing::info!(
        destination,
        event.id = &*id,
        event.r#type = &*kind,
        trace_id = tag.trace_id.as_deref(),
        outcome = "already_delivered",
        "sent again by the broker; acked"
    );
    recent.ended(id.into_owned(), &kind, "", without_request("already_delivered"));
}

/// Events that were refused together, and are sent again in two halves.
pub(super) fn refused_together(telling: Telling<'_>, tag: &Tag, history: &History, count: usize) {
    let Some(attempt) = history.attempts.last().filter(|_| telling.history.is_some()) else { return };
    let said = format!("refused together with {} others, and sent again in halves: {}", count - 1, attempt.excerpt);
    steps::waited(telling.history, telling.destination, tag, (attempt, history.made()), &said);
}

/// The vendor took an event, and says later whether it applied it.
pub(super) fn accepted(
    recorder: Option<&Recorder>,
    destination: &str,
    tag: &Tag,
    history: &History,
    (job, exchange): (&str, &Exchange),
) {
    steps::accepted(recorder, destination, tag, history.made() + 1, (job, exchange));
}

/// A lookup failed, for an event that waited for it: it is tried again, or died.
pub(super) fn put_off(telling: Telling<'_>, tag: &Tag, said: &str, settlement: &Settlement) {
    steps::put_off(telling.history, telling.destination, tag, said, settlement);
}

/// A person put its dead letter back on its way.
pub(super) fn replayed(recorder: Option<&Recorder>, destination: &str, tag: &Tag, operation: &str) {
    steps::said(recorder, destination, tag, StepKind::Replayed, &operation_said(operation));
}

/// An end after an attempt.
fn after(attempt: &Attempt, outcome: &'static str) -> recent::RecentOutcome {
    recent::RecentOutcome {
        at: attempt.at,
        outcome: outcome.into(),
        status: attempt.status,
        ms: Some(attempt.ms),
        ..recent::RecentOutcome::default()
    }
}

/// An end that no request of its own led to.
fn without_request(outcome: &'static str) -> recent::RecentOutcome {
    recent::RecentOutcome { at: clock::wall(), outcome: outcome.into(), ..recent::RecentOutcome::default() }
}

/// A change of the gate's state, said once.
pub(super) fn gate_changed(destination: &str, before: GateState, status: &Status) {
    let (from, to, why) = (before.name(), status.state.name(), status.why.as_str());
    match status.state {
        GateState::Open => tracing::info!(destination, from, to, "the gate is open again"),
        GateState::Parked => tracing::error!(
            destination,
            from,
            to,
            why,
            "the destination is parked: a person is needed; its events wait"
        ),
        GateState::Throttled | GateState::Paused | GateState::Broken => {
            tracing::warn!(destination, from, to, why, "the gate is closed")
        }
    }
}

/// Id and type. Producers may put addresses into either.
fn shown(tag: &Tag) -> (Cow<'_, str>, Cow<'_, str>) {
    let id = tag.id.as_deref().unwrap_or_default();
    (redact::without_addresses(id), redact::without_addresses(&tag.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(recent: &mut Recent) -> Telling<'_> {
        Telling { recent, history: None, destination: "px" }
    }

    #[test]
    fn an_address_is_masked_wherever_an_event_has_it() {
        let (mut recent, at) = (Recent::default(), clock::wall());
        let kind = "signup.ann@example.com".to_owned();
        let tag = Tag {
            id: Some("ann@example.com".to_owned()),
            source: String::new(),
            kind,
            time: at.into(),
            trace_id: None,
            received: None,
            subject: None,
        };
        let attempt = Attempt { at, status: Some(201), ms: 5, verdict: "delivered".to_owned(), excerpt: String::new() };
        for settlement in [
            Settlement::Ack,
            Settlement::RetryLater(std::time::Duration::from_secs(5)),
            Settlement::DeadLetter(Reason::Rejected, "no".to_owned()),
        ] {
            job(telling(&mut recent), &tag, "j-1", &settlement);
            let tried = Tried { attempt: &attempt, number: 1, retries: 0, probe: false };
            attempted(telling(&mut recent), &tag, tried, &Next::Settle(settlement));
        }
        undeliverable(telling(&mut recent), &tag, Reason::Malformed, "no");
        known(telling(&mut recent), &tag);
        suppressed(telling(&mut recent), &tag);
        assert_eq!(recent.outcomes().count(), 9);
        for outcome in recent.outcomes() {
            assert_eq!((outcome.id.as_str(), outcome.kind.as_str()), ("***@***", "***@***"), "{outcome:?}");
        }
    }
}
