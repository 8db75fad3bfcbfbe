//! Would letters pass now? Each is decoded, mapped and checked as its destination does that today; nothing is sent and nothing moves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::aside::Aside;
use super::causes::{Cause, Causes};
use super::letter::{self, Letter};
use crate::config::Destination;
use crate::event::{self, Context, Event};
use crate::message::{Field, Message, header};
use crate::record::copy::original;
use crate::record::fingerprint::cause;
use crate::threads::Job;
use crate::vendors::{Facts, Refusal};
use crate::verdict::Reason;
use crate::{clock, explain};

/// A panic is our bug.
const FAILED: &str = "Sluice failed on this event; this is a bug in Sluice";
/// Causes that a sentence names.
const NAMED: usize = 3;

/// How much is checked at most: the other letters are counted only.
#[derive(Clone, Copy, Debug)]
pub struct RecheckBound {
    /// Letters.
    pub letters: u64,
    /// Time that the checks alone take.
    pub time: Duration,
}

impl RecheckBound {
    /// For a person who waits for a page, or to be asked.
    pub const QUICK: Self = Self { letters: 1000, time: Duration::from_secs(1) };
    /// For whoever asks just that. A pass over letters must end within minutes.
    pub const THOROUGH: Self = Self { letters: u64::MAX, time: Duration::from_mins(4) };
}

/// What is known of some letters, checked one by one.
#[derive(Debug)]
pub struct Recheck {
    destination: Arc<Destination>,
    max_bytes: usize,
    bound: RecheckBound,
    spent: Duration,
    meant: u64,
    checked: u64,
    invalid: Causes,
    refused_before: Causes,
    unsure: Causes,
    aside: Aside<Found>,
}

/// What is known of one letter.
#[derive(Debug)]
struct Found {
    problem: Option<String>,
    needs_an_answer: bool,
    took: Duration,
}

/// Whether letters would pass the mapping and the checks that are in force now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DeadLetterCheck)]
pub struct Rechecked {
    /// How many letters are meant.
    pub meant: u64,
    /// How many of them were checked, the first.
    pub checked: u64,
    /// Of these: how many would be dead letters again before any request, as invalid or malformed.
    pub invalid: u64,
    /// Of these: how many would be sent, as far as that can be told without asking the vendor anything.
    pub would_be_sent: u64,
    /// Of those that would be sent: how many the vendor refused before. Whether it takes them now nobody can tell without sending.
    pub refused_before: u64,
    /// Of those that would be sent: how many died as invalid, and are checked by what the vendor has to be asked first, as APSIS One for an
    /// event type. That is not asked here.
    pub unsure: u64,
    /// Why they would be invalid, most letters first; at most 50.
    pub invalid_causes: Vec<Cause>,
    /// What the vendor refused them with before, most letters first; at most 50.
    pub refused_before_causes: Vec<Cause>,
    /// Why those died of which nothing sure can be told, most letters first; at most 50.
    pub unsure_causes: Vec<Cause>,
    /// The same in one line.
    pub sentence: String,
}

/// Why a letter's event would be a dead letter again before any request; what needs an answer of the vendor's is not checked.
#[must_use]
pub fn problem(letter: &Message, destination: &Destination, max_bytes: usize, now: Timestamp) -> Option<String> {
    // As in the worker: a panic is our bug, and one letter must not take the others with it.
    let checked = catch_unwind(AssertUnwindSafe(|| match decoded(letter, max_bytes, now) {
        Ok(event) => explain::problem(destination, &event),
        Err(sentence) => Some(sentence),
    }));
    checked.unwrap_or_else(|_| Some(FAILED.to_owned()))
}

impl Found {
    fn of(letter: &Message, reason: Reason, destination: &Destination, max_bytes: usize) -> Self {
        let (began, wall) = (clock::now(), clock::wall());
        let problem = problem(letter, destination, max_bytes, wall);
        let needs_an_answer =
            problem.is_none() && reason == Reason::Invalid && needs_an_answer(letter, destination, max_bytes, wall);
        Self { problem, needs_an_answer, took: clock::now().saturating_duration_since(began) }
    }

    fn failed() -> Self {
        Self { problem: Some(FAILED.to_owned()), needs_an_answer: false, took: Duration::ZERO }
    }
}

/// Whether the vendor has to be asked something before the event can be checked in full.
fn needs_an_answer(letter: &Message, destination: &Destination, max_bytes: usize, now: Timestamp) -> bool {
    let Ok(event) = decoded(letter, max_bytes, now) else { return false };
    let Ok(mapped) = destination.map.apply(&event) else { return false };
    let prepared = destination.vendor.prepare(mapped.as_ref().unwrap_or(&event), &Facts::default());
    matches!(prepared, Err(Refusal::Needs(_)))
}

/// The event in a letter, read as a worker reads it.
pub(super) fn decoded(letter: &Message, max_bytes: usize, now: Timestamp) -> Result<Event, String> {
    let routing_key = letter::routing_key(letter).unwrap_or_default();
    let received = letter.properties.headers.get(header::RECEIVED).and_then(Field::as_str);
    let received = received.and_then(|at| at.parse().ok()).unwrap_or(now);
    let context = Context { routing_key: &routing_key, received, max_bytes };
    event::decode(&original(letter), context).map_err(|malformed| malformed.to_string())
}

impl Recheck {
    /// Of no letters yet, by what `destination` is now.
    #[must_use]
    pub fn new(destination: Destination, max_bytes: usize, bound: RecheckBound) -> Self {
        let none = Causes::default;
        let (invalid, refused_before, unsure) = (none(), none(), none());
        let (spent, meant, checked) = (Duration::ZERO, 0, 0);
        let (destination, aside) = (Arc::new(destination), Aside::default());
        Self { destination, max_bytes, bound, spent, meant, checked, invalid, refused_before, unsure, aside }
    }

    /// A pass begins, maybe once more: what was seen before counts no more.
    pub fn anew(&mut self) {
        (self.spent, self.meant, self.checked) = (Duration::ZERO, 0, 0);
        (self.invalid, self.refused_before, self.unsure) = (Causes::default(), Causes::default(), Causes::default());
    }

    /// The next letter, and the message that it is.
    ///
    /// # Errors
    /// What is to be done before it is added once more: the check is hard.
    pub fn add(&mut self, letter: &Letter, message: &Message) -> Result<(), Job> {
        if self.checked >= self.bound.letters || self.spent >= self.bound.time {
            self.meant += 1;
            return Ok(());
        }
        let (destination, max_bytes, reason) = (&self.destination, self.max_bytes, letter.reason);
        let elsewhere = || {
            let (destination, message) = (Arc::clone(destination), message.clone());
            move || Found::of(&message, reason, &destination, max_bytes)
        };
        let found = self.aside.find(|| Found::of(message, reason, destination, max_bytes), elsewhere)?;
        let Found { problem, needs_an_answer, took } = found.unwrap_or_else(Found::failed);
        self.meant += 1;
        self.checked += 1;
        self.spent += took;
        if let Some(sentence) = problem {
            let cause = cause(&sentence, message);
            self.invalid.add(&sentence, cause, &letter.id);
        } else if was_refused(letter.reason) {
            self.refused_before.add(&letter.sentence, letter.cause.clone(), &letter.id);
        } else if needs_an_answer {
            self.unsure.add(&letter.sentence, letter.cause.clone(), &letter.id);
        }
        Ok(())
    }

    /// What came out.
    #[must_use]
    pub fn finish(&self) -> Rechecked {
        let invalid = self.invalid.letters();
        Rechecked {
            meant: self.meant,
            checked: self.checked,
            invalid,
            would_be_sent: self.checked - invalid,
            refused_before: self.refused_before.letters(),
            unsure: self.unsure.letters(),
            unsure_causes: self.unsure.sorted(),
            invalid_causes: self.invalid.sorted(),
            refused_before_causes: self.refused_before.sorted(),
            sentence: self.said(),
        }
    }

    fn said(&self) -> String {
        let (checked, invalid, again) = (self.checked, self.invalid.letters(), self.refused_before.letters());
        let unsure = self.unsure.letters();
        let sent = checked - invalid - again - unsure;
        let mut parts = Vec::new();
        if invalid > 0 {
            parts.push(format!("{invalid} of {checked} would still be invalid: {}", self.invalid.said(NAMED)));
        }
        if sent > 0 || checked == 0 {
            let all = if sent == checked && checked > 1 { "all " } else { "" };
            parts.push(format!("{all}{sent} would be sent"));
        }
        if again > 0 {
            let (them, said) = (if again == 1 { "it" } else { "them" }, self.refused_before.said(NAMED));
            parts.push(format!("{again} would be sent again; the vendor refused {them} with: {said}"));
        }
        if unsure > 0 {
            let said = self.unsure.said(NAMED);
            parts.push(format!(
                "{unsure} may pass: the vendor has to be asked first, which a check does not do; they died with: {said}"
            ));
        }
        let some = if checked < self.meant {
            format!("the first {checked} of {} letters were checked: ", self.meant)
        } else {
            String::new()
        };
        format!("{some}{}", parts.join("; "))
    }
}

/// Whether the vendor itself said no to it: no check can tell whether it would again.
fn was_refused(reason: Reason) -> bool {
    match reason {
        Reason::Rejected | Reason::TooLarge | Reason::PartlyRejected => true,
        Reason::Malformed
        | Reason::Invalid
        | Reason::Unconfirmed
        | Reason::Expired
        | Reason::TooOld
        | Reason::DeliveryLimit
        | Reason::Unknown => false,
    }
}

impl Rechecked {
    /// Whether all that were checked would be sent.
    #[must_use]
    pub fn all_pass(&self) -> bool {
        self.invalid == 0
    }
}
