//! Steps of events at a destination, for the history. Where none is kept nothing is done.

use std::borrow::Cow;

use jiff::Timestamp;

use super::attempt::Exchange;
use super::outcome::Tried;
use super::rule::Next;
use super::settler::Tag;
use crate::clock;
use crate::history::{Recorder, Step, StepKind};
use crate::record::history::Attempt;
use crate::redact;
use crate::verdict::{Reason, Settlement};

/// Longest text that is kept of what somebody said.
const LONGEST: usize = 300;

/// A step of that event.
fn step<'a>(kind: StepKind, at: Timestamp, destination: &'a str, tag: &'a Tag) -> Step<'a> {
    Step {
        destination: Cow::Borrowed(destination),
        // Whoever asks for an event names it so: it is kept as it is.
        id: Cow::Borrowed(tag.id.as_deref().unwrap_or_default()),
        source: redact::without_addresses(&tag.source),
        event_type: redact::without_addresses(&tag.kind),
        subject: tag.subject.as_deref().map(Cow::Borrowed),
        received: tag.received,
        ..Step::new(kind, at)
    }
}

fn cut(text: &str) -> Cow<'_, str> {
    let end = text.floor_char_boundary(LONGEST);
    redact::without_addresses(text.get(..end).unwrap_or(text))
}

/// An attempt, and what became of the event.
pub(super) fn attempted(recorder: Option<&Recorder>, destination: &str, tag: &Tag, tried: &Tried<'_>, next: &Next) {
    let Some(recorder) = recorder else { return };
    let Tried { attempt, number, .. } = *tried;
    let of = |kind| Step {
        attempt: number,
        status: attempt.status,
        ms: Some(attempt.ms),
        ..step(kind, attempt.at, destination, tag)
    };
    recorder.tell(&match next {
        Next::Settle(Settlement::Ack) => of(StepKind::Delivered),
        Next::Settle(Settlement::RetryLater(delay)) => {
            Step { pause: Some(delay.as_secs()), said: cut(&attempt.excerpt), ..of(StepKind::Retried) }
        }
        Next::Settle(Settlement::DeadLetter(reason, sentence)) => {
            Step { said: cut(sentence), ..of(StepKind::Died) }.because(*reason)
        }
        Next::Settle(Settlement::Release | Settlement::Drop(_) | Settlement::Suppress | Settlement::Later(_))
        | Next::Wait { .. } => Step { said: cut(&attempt.excerpt), ..of(StepKind::Waited) },
    });
}

/// An attempt after which the event waits.
pub(super) fn waited(
    recorder: Option<&Recorder>,
    destination: &str,
    tag: &Tag,
    (attempt, number): (&Attempt, u64),
    said: &str,
) {
    let Some(recorder) = recorder else { return };
    let waited = step(StepKind::Waited, attempt.at, destination, tag);
    recorder.tell(&Step { attempt: number, status: attempt.status, ms: Some(attempt.ms), said: cut(said), ..waited });
}

/// A request that the vendor took as a job.
pub(super) fn accepted(
    recorder: Option<&Recorder>,
    destination: &str,
    tag: &Tag,
    number: u64,
    (job, exchange): (&str, &Exchange),
) {
    let Some(recorder) = recorder else { return };
    recorder.tell(&Step {
        attempt: number,
        status: exchange.status().map(|status| status.as_u16()),
        ms: Some(exchange.ms()),
        said: Cow::Owned(format!("job {job}")),
        ..step(StepKind::Accepted, exchange.at, destination, tag)
    });
}

/// The end of a job.
pub(super) fn job(recorder: Option<&Recorder>, destination: &str, tag: &Tag, job: &str, settlement: &Settlement) {
    let Some(recorder) = recorder else { return };
    let of = |kind| step(kind, clock::wall(), destination, tag);
    match settlement {
        Settlement::Ack => {
            recorder.tell(&Step { said: Cow::Owned(format!("job {job} applied it")), ..of(StepKind::Delivered) })
        }
        Settlement::RetryLater(delay) => recorder.tell(&Step {
            pause: Some(delay.as_secs()),
            said: Cow::Owned(format!("job {job} failed")),
            ..of(StepKind::Retried)
        }),
        Settlement::DeadLetter(reason, sentence) => died(Some(recorder), destination, tag, *reason, sentence),
        Settlement::Release | Settlement::Drop(_) | Settlement::Suppress | Settlement::Later(_) => {}
    }
}

/// It became a dead letter, and no attempt of its own led to that.
pub(super) fn died(recorder: Option<&Recorder>, destination: &str, tag: &Tag, reason: Reason, sentence: &str) {
    let Some(recorder) = recorder else { return };
    let died = step(StepKind::Died, clock::wall(), destination, tag);
    recorder.tell(&Step { said: cut(sentence), ..died }.because(reason));
}

/// What was looked up in vain for it.
pub(super) fn put_off(recorder: Option<&Recorder>, destination: &str, tag: &Tag, said: &str, settlement: &Settlement) {
    let Some(recorder) = recorder else { return };
    match settlement {
        Settlement::RetryLater(delay) => recorder.tell(&Step {
            pause: Some(delay.as_secs()),
            said: cut(said),
            ..step(StepKind::Retried, clock::wall(), destination, tag)
        }),
        Settlement::DeadLetter(reason, sentence) => died(Some(recorder), destination, tag, *reason, sentence),
        Settlement::Ack | Settlement::Release | Settlement::Drop(_) | Settlement::Suppress | Settlement::Later(_) => {}
    }
}

/// Something without an attempt.
pub(super) fn said(recorder: Option<&Recorder>, destination: &str, tag: &Tag, kind: StepKind, said: &str) {
    let Some(recorder) = recorder else { return };
    recorder.tell(&Step { said: cut(said), ..step(kind, clock::wall(), destination, tag) });
}

/// It may not be sent before `due`.
pub(super) fn scheduled(recorder: Option<&Recorder>, destination: &str, tag: &Tag, due: Timestamp, said: &str) {
    let Some(recorder) = recorder else { return };
    let scheduled = step(StepKind::Scheduled, clock::wall(), destination, tag);
    let pause = u64::try_from(due.duration_since(scheduled.at).as_secs().saturating_add(1)).ok();
    recorder.tell(&Step { pause, said: cut(said), ..scheduled });
}
