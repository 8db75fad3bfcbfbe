//! From a delivery to an event that is ready: decode, map and check, before anything is spent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use http::HeaderValue;
use jiff::Timestamp;

use super::doubt;
use super::settler::Tag;
use super::suppressing::Suppressing;
use crate::broker::port::Delivery;
use crate::clock;
use crate::config::Destination;
use crate::event::{self, Event, Expiry, Identity, too_far};
use crate::mapping;
use crate::message::Message;
use crate::message::header::REPLAY;
use crate::person::Digest;
use crate::record::history::{Attempt, History, Watched};
use crate::redact;
use crate::vendors::{Facts, Item, Refusal};
use crate::verdict::Reason;

/// The names in a history of attempts that met with trouble.
const TROUBLE: [&str; 2] = ["throttled", "unavailable"];

/// A delivery that has passed every cheap check and waits for a place at the gate.
#[derive(Debug)]
pub(super) struct Pending {
    pub delivery: Delivery,
    pub history: History,
    pub tag: Tag,
    pub item: Item,
    /// The event's W3C trace context, which goes on to the vendor.
    pub trace: Option<TraceHeaders>,
    /// When it was taken from the queue.
    pub taken: Instant,
    /// Whether it was replayed: others go before it, and someone waits to hear what becomes of it.
    pub replay: bool,
    /// Whether it waits for a new access token, the one before having been refused for it.
    pub token_refused: bool,
    /// How many attempts for it failed, as far as is known here: the trouble may be its own.
    pub troubles: u32,
    /// Tells it from others, the same however often it is delivered.
    pub key: u64,
    /// The credentials were refused for it, and it is not known yet whether they are for others.
    pub refused: bool,
    /// It failed when the gate closed, or since.
    pub failed: bool,
    /// How often it failed while others were taken, for reasons that looked like the vendor's, and how many had been taken by then.
    pub odd: Odd,
    /// After that it is not to be sent.
    pub expires: Option<Expiry>,
    /// Whom it is about, where that is heeded.
    pub people: Option<Box<[Digest]>>,
    /// It failed a moment ago: it is not sent before then, unless to find out whether the vendor is still in trouble.
    pub rests_until: Option<Instant>,
}

/// An event that meets with trouble again and again while others are taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Odd {
    times: u32,
    /// What is taken beyond that place was sent later.
    place: u64,
    /// It was found to be its own trouble before, and it waited for its retry.
    known: bool,
}

impl Odd {
    /// After this many failures the trouble is the event's own.
    const OWN: u32 = 2;

    /// One that was taken from the queue when the request in the place `taken` was the last that was, and another `went_well` then. From
    /// a retry queue it comes since it failed while others were taken.
    pub fn new(history: &History, taken: u64, went_well: Option<Timestamp>) -> Self {
        let again = |attempt: &&Attempt| TROUBLE.contains(&attempt.verdict.as_str());
        let failed = history.attempts.last().filter(again).filter(|_| history.retries > 0);
        // Others were taken since: any place that was taken tells so.
        let since = failed.is_some_and(|attempt| went_well.is_some_and(|well| well > attempt.answered()));
        let known = failed.is_some();
        Self { times: u32::from(known), place: if since { 0 } else { taken }, known }
    }

    /// It failed when the place `last` was the last that was given, and `taken` the last whose request was taken. Whether that is
    /// its own trouble by now.
    pub fn failed(&mut self, taken: u64, last: u64) -> bool {
        if self.times == 0 || taken > self.place {
            *self = Self { times: self.times + 1, place: last, known: self.known };
        }
        self.times >= Self::OWN
    }

    /// It was found to be its own trouble before, and others were taken since: what it meets with says nothing of the vendor.
    pub fn is_known(&self, taken: u64) -> bool {
        self.known && taken > self.place
    }

    /// It failed for the second time, or it waited for its retry, and there is nothing else to tell whose trouble it is.
    pub fn failed_again(&self) -> bool {
        self.times > 0
    }
}

impl Pending {
    /// Its own time, or when it might be sent first.
    pub fn since(&self) -> Timestamp {
        might_be_sent(&self.tag, &self.history)
    }

    /// Why it is not to be sent any more, where its time is over.
    pub fn is_too_old(&self) -> Option<String> {
        // Most events have no end, and then no clock is read.
        self.expires.as_ref()?.too_old(clock::wall())
    }
}

/// When an event might be sent first: its own time, unless it was to wait.
pub(super) fn might_be_sent(tag: &Tag, history: &History) -> Timestamp {
    let time = tag.time.timestamp();
    history.due.map_or(time, |due| due.max(time))
}

/// A W3C trace context as headers.
#[derive(Debug)]
pub(super) struct TraceHeaders {
    pub parent: HeaderValue,
    pub state: Option<HeaderValue>,
}

impl TraceHeaders {
    fn of(event: &Event) -> Option<Self> {
        let event::Trace { parent, state } = event.trace.as_ref()?;
        let state = state.as_deref().and_then(|state| HeaderValue::from_str(state).ok());
        Some(Self { parent: HeaderValue::from_str(parent).ok()?, state })
    }
}

/// Boxed, since lines are shuffled.
pub(super) type Held = Box<Pending>;

/// What of a message is read, and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The largest body accepted.
    pub max_bytes: usize,
    /// Whether the event's subject is wanted.
    pub keeps_subject: bool,
}

impl Reading {
    fn of(self, history: &History) -> event::Context<'_> {
        let (routing_key, received) = (history.routing_key.as_str(), history.received);
        event::Context { routing_key, received, max_bytes: self.max_bytes }
    }
}

/// What a delivery turned out to be.
#[derive(Debug)]
pub(super) enum Checked {
    /// Ready to be sent.
    Ready(Held),
    /// It was sent before; the vendor's job decides what becomes of it.
    Sent(Watched, Held),
    /// It may not be sent before `due`.
    Later { delivery: Box<Delivery>, history: Box<History>, tag: Tag, due: Timestamp },
    /// The vendor has to be asked something before it can be checked.
    Needs(String, Box<Delivery>),
    /// It is hard to map: that would hold up this thread.
    Hard(Box<Delivery>),
    /// It is about somebody who must not be written to.
    Suppressed { delivery: Box<Delivery>, history: Box<History>, tag: Tag },
    /// Not deliverable; a sentence says why.
    Dead { delivery: Box<Delivery>, history: Box<History>, tag: Tag, reason: Reason, sentence: String },
}

/// Why there is nothing to send.
#[derive(Debug)]
enum Stop {
    Dead(Reason, String),
    Later(Timestamp),
    Needs(String),
    Suppressed,
}

/// What is known of an event by the time that its reading ends, well or not.
#[derive(Default)]
struct Known {
    event: Option<Event>,
    /// Where there is no event in the message: which it was meant to be.
    identity: Option<Identity>,
    expires: Option<Expiry>,
    people: Option<Box<[Digest]>>,
}

/// What a message was read to be, with all that is known of it.
#[derive(Debug)]
pub(super) struct Read {
    history: History,
    tag: Tag,
    expires: Option<Expiry>,
    people: Option<Box<[Digest]>>,
    done: Result<(Item, Option<TraceHeaders>), Stop>,
}

/// Reads a delivery: its history, the event in it, and what the vendor makes of that event, unless that is hard.
pub(super) fn check(
    delivery: Delivery,
    settings: &Destination,
    suppressing: Option<&Suppressing>,
    facts: &Facts,
    reading: Reading,
    (taken, wall): (Instant, Timestamp),
) -> Checked {
    let message = (&delivery.message, delivery.routing_key.as_str());
    match mapping::easily(|| read(message, settings, suppressing, facts, reading, wall)) {
        Ok(read) => read.of(delivery, taken),
        Err(mapping::Hard) => Checked::Hard(Box::new(delivery)),
    }
}

/// The same of a message, without regard to how hard it is.
pub(super) fn read(
    (message, routing_key): (&Message, &str),
    settings: &Destination,
    suppressing: Option<&Suppressing>,
    facts: &Facts,
    reading: Reading,
    wall: Timestamp,
) -> Read {
    let history = History::read(message, routing_key, wall);
    let mut known = Known::default();
    // A panic here is our bug, but one event must not take the worker down with everyone else's.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let context = reading.of(&history);
        prepare(message, &history, (settings, suppressing), facts, context, wall, &mut known)
    }));
    let Known { event, identity, expires, people } = known;
    let mut done = read.unwrap_or_else(|_| Err(Stop::failed()));
    if let Err(Stop::Dead(_, sentence)) = &mut done {
        *sentence = redact::masked(sentence, &settings.map.secrets());
    }
    let tag = event.map(Tag::of).or_else(|| identity.map(Tag::from));
    let tag = whole(tag, message, &history, reading);
    Read { history, tag, expires, people, done }
}

/// Of a delivery whose reading failed by our own fault.
pub(super) fn failed(delivery: &Delivery, wall: Timestamp) -> Read {
    let history = History::read(&delivery.message, &delivery.routing_key, wall);
    let tag = Tag::unchecked(&delivery.message, &history);
    Read { history, tag, expires: None, people: None, done: Err(Stop::failed()) }
}

impl Stop {
    fn failed() -> Self {
        Self::Dead(Reason::Invalid, "Sluice failed on this event; this is a bug in Sluice".into())
    }
}

impl Read {
    /// What a delivery turned out to be, which was taken from the queue then.
    pub fn of(self, delivery: Delivery, taken: Instant) -> Checked {
        let Self { history, tag, expires, people, done } = self;
        match done {
            Ok((item, trace)) => {
                let job = history.job.clone();
                let replay = delivery.message.properties.headers.contains_key(REPLAY);
                let (token_refused, troubles) = (false, u32::try_from(history.attempts.len()).unwrap_or(u32::MAX));
                let key = key(&tag, &delivery);
                let (refused, failed, rests_until, odd) = (false, false, None, Odd::default());
                let pending = Box::new(Pending {
                    delivery,
                    history,
                    tag,
                    item,
                    trace,
                    taken,
                    replay,
                    token_refused,
                    troubles,
                    key,
                    refused,
                    failed,
                    odd,
                    expires,
                    people,
                    rests_until,
                });
                match job {
                    Some(job) => Checked::Sent(job, pending),
                    None => Checked::Ready(pending),
                }
            }
            Err(Stop::Later(due)) => {
                Checked::Later { delivery: Box::new(delivery), history: Box::new(history), tag, due }
            }
            Err(Stop::Needs(name)) => Checked::Needs(name, Box::new(delivery)),
            Err(Stop::Suppressed) => {
                Checked::Suppressed { delivery: Box::new(delivery), history: Box::new(history), tag }
            }
            Err(Stop::Dead(reason, sentence)) => {
                Checked::Dead { delivery: Box::new(delivery), history: Box::new(history), tag, reason, sentence }
            }
        }
    }
}

/// Decodes, maps and checks an event, as far as that is due.
fn prepare(
    message: &Message,
    history: &History,
    (settings, suppressing): (&Destination, Option<&Suppressing>),
    facts: &Facts,
    context: event::Context<'_>,
    wall: Timestamp,
    known: &mut Known,
) -> Result<(Item, Option<TraceHeaders>), Stop> {
    let event = event::decode(message, context).map_err(|malformed| {
        let sentence = malformed.to_string();
        known.identity = Some(malformed.identity);
        Stop::Dead(Reason::Malformed, sentence)
    })?;
    let event = &*known.event.insert(event);
    if history.job.is_some() {
        return Ok((Item::default(), None));
    }
    // First of all: what is wrong with such an event, or that it is late, is no reason to keep it as a letter.
    let mapped = suppressing.map(|_| settings.map.apply(event));
    known.people = whom(suppressing, event, mapped.as_ref())?;
    let expires = Expiry::of(event, settings.max_event_age);
    known.expires = in_time(Expiry::sooner(expires, Expiry::of_amqp(message, history.received)), wall)?;
    let due = due(event, known.expires.as_ref(), settings, wall)?;
    if let Some(due) = due.filter(|due| history.due == Some(*due)) {
        // It was checked when it was put aside first.
        return Err(Stop::Later(due));
    }
    match (item(event, mapped, settings, facts), due) {
        // Nothing is asked for it before it is due.
        (Ok(_) | Err(Stop::Needs(_)), Some(due)) => Err(Stop::Later(due)),
        (item, _) => Ok((item?, TraceHeaders::of(event))),
    }
}

/// An event with the vendor's fields, or why those cannot be made.
type Mapped = Result<Option<Event>, event::Invalid>;

/// What travels of it: it may be mapped already.
fn item(event: &Event, mapped: Option<Mapped>, settings: &Destination, facts: &Facts) -> Result<Item, Stop> {
    let mapped = mapped.unwrap_or_else(|| settings.map.apply(event)).map_err(|invalid| invalid_event(&invalid))?;
    match settings.vendor.prepare(mapped.as_ref().unwrap_or(event), facts) {
        Ok(item) => Ok(item),
        Err(Refusal::Needs(name)) => Err(Stop::Needs(name)),
        Err(Refusal::Invalid(sentence)) => Err(Stop::Dead(Reason::Invalid, sentence)),
    }
}

/// Whom it is about, where that is heeded. Nobody who must not be written to.
fn whom(
    suppressing: Option<&Suppressing>,
    event: &Event,
    mapped: Option<&Mapped>,
) -> Result<Option<Box<[Digest]>>, Stop> {
    let Some(suppressing) = suppressing else { return Ok(None) };
    let mapped = mapped.and_then(|mapped| mapped.as_ref().ok()?.as_ref());
    let people = suppressing.person.of(event, mapped).map_err(|invalid| invalid_event(&invalid))?;
    let people = suppressing.list.digests(&people);
    match &people {
        Some(people) if suppressing.list.has_one_of(people) => Err(Stop::Suppressed),
        Some(_) | None => Ok(people),
    }
}

fn invalid_event(invalid: &event::Invalid) -> Stop {
    Stop::Dead(Reason::Invalid, invalid.to_string())
}

/// Which event it is, with what else is recorded of it.
fn whole(tag: Option<Tag>, message: &Message, history: &History, reading: Reading) -> Tag {
    let tag = tag.unwrap_or_else(|| Tag::unchecked(message, history));
    let subject = if reading.keeps_subject { event::subject(message) } else { None };
    Tag { received: Some(history.received), subject, ..tag }
}

/// When its time is over, if ever. It must not be over yet.
fn in_time(expires: Option<Expiry>, wall: Timestamp) -> Result<Option<Expiry>, Stop> {
    match expires.as_ref().and_then(|expiry| expiry.too_old(wall)) {
        Some(sentence) => Err(Stop::Dead(Reason::TooOld, sentence)),
        None => Ok(expires),
    }
}

/// When it may be sent, where that is not yet. There has to be a time at which it may.
fn due(
    event: &Event,
    expires: Option<&Expiry>,
    settings: &Destination,
    wall: Timestamp,
) -> Result<Option<Timestamp>, Stop> {
    let Some(due) = event.not_before.map(|at| at.timestamp()).filter(|due| *due > wall) else { return Ok(None) };
    if let Some(sentence) = too_far(event, wall) {
        return Err(Stop::Dead(Reason::Malformed, sentence));
    }
    match expires.and_then(|expiry| expiry.before(settings.next_open(due))) {
        Some(sentence) => Err(Stop::Dead(Reason::TooOld, sentence)),
        None => Ok(Some(due)),
    }
}

fn key(tag: &Tag, delivery: &Delivery) -> u64 {
    doubt::key((&tag.id, &tag.source, &tag.kind, &delivery.message.body))
}
