//! What goes out next and when: the gate, the events that are ready, whose turn it is, and the order among those of one key.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::attempt::Exchange;
use super::batching;
use super::check::{Held, Odd, Pending};
use super::doubt::Doubts;
use super::lines::{Lines, Spot};
use super::machine::Machine;
use super::ready_queue::{Batch, Pick, Ready};
use super::rule::{Fault, delay};
use super::turns::{BulkFlow, Line, Turns};
use crate::class::Class;
use crate::clock;
use crate::config;
use crate::gate::{Answer, Doubt, Gate, GateState, Hints, Ledger, OrderingKeys, Permit, Policy, hints};
use crate::vendors::Batching;

/// Up to this many events that failed at once may be at fault themselves; with more it is the vendor's trouble.
const FEW: usize = 3;
/// They let others go first for no longer than this.
const LONGEST_BEHIND: Duration = Duration::from_secs(10);

/// What is next, not yet taken from where it waits.
#[derive(Debug)]
pub(super) enum NextRequest {
    Token,
    Lookup(String),
    Job(String),
    Events(Spot),
    Credentials,
}

/// Whose the next place is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    /// Events', if any can go now.
    Events(Ready<Spot>),
    /// A question's about a job of events of that class.
    Question(Class),
}

/// What decides which request goes out, and when.
pub(super) struct Dispatch {
    pub gate: Gate,
    pub ready: Lines,
    /// What an operator wants of bulk events.
    pub bulk_flow: BulkFlow,
    turns: Turns,
    /// A job of bulk events was to be asked about when somebody looked last.
    bulk_asks: bool,
    /// The classes whose last place went to a question about a job.
    asked: BTreeSet<Class>,
    pub ordering_keys: OrderingKeys,
    pub batching: Batching,
    pub doubts: Doubts,
    /// What this machine lacks, if anything.
    pub machine: Machine,
    /// Whether a request waits for proof that the broker is still there.
    pub is_unproven: bool,
    /// Whether the answer before said that the vendor is in trouble, and for which event it was.
    troubled: Option<Option<u64>>,
    /// When a request last went well or was rejected for what was in it.
    went_well: Option<Timestamp>,
    /// When the gate said to ask again.
    next_place: Option<Instant>,
    /// When something beside the gate may let a request through.
    next_turn: Option<Instant>,
}

impl Dispatch {
    /// Goes on from what the driver before this one left.
    pub fn new(
        settings: &config::Destination,
        ledger: &Ledger,
        bulk_flow: BulkFlow,
        now: Instant,
        wall: Timestamp,
    ) -> Self {
        let batching = settings.vendor.batching();
        let policy = Policy {
            concurrency: settings.concurrency,
            park_after_rejections: settings.park_after_rejections,
            carry_much: batching.items > 1,
            day_starts: settings.day_starts.clone(),
            ..Policy::default()
        };
        Self {
            gate: Gate::new(&settings.limits, policy, ledger, now, wall),
            ready: Lines::default(),
            bulk_flow,
            turns: Turns::new(settings.bulk_share),
            bulk_asks: false,
            asked: BTreeSet::new(),
            ordering_keys: OrderingKeys::new(settings.vendor.ordering_key_limit(), now),
            batching,
            doubts: Doubts::default(),
            machine: Machine::default(),
            is_unproven: false,
            troubled: None,
            went_well: None,
            next_place: None,
            next_turn: None,
        }
    }

    /// When to look again.
    pub fn next_at(&self) -> Option<Instant> {
        self.next_place.or(self.next_turn)
    }

    /// When there is a place again, where there was none.
    pub fn next_place(&self) -> Option<Instant> {
        self.next_place
    }

    /// Something may be let through at once.
    pub fn look_now(&mut self) {
        (self.next_place, self.next_turn) = (None, None);
    }

    /// An answer came, which may have changed what the gate lets through.
    pub fn ask_gate_again(&mut self) {
        self.next_place = None;
    }

    /// There is no place before then.
    pub fn no_place_before(&mut self, until: Instant) {
        self.next_place = Some(until);
    }

    /// Nothing is to be sent before the first of those times.
    pub fn look_at(&mut self, times: impl IntoIterator<Item = Option<Instant>>) {
        self.next_turn = times.into_iter().flatten().min();
    }

    /// Looks again by then.
    pub fn look_by(&mut self, until: Instant) {
        self.next_turn = Some(self.next_turn.map_or(until, |turn| turn.min(until)));
    }

    /// Whether there is nothing to do yet. If it parked because there was no other event to ask with, a new event is sent at once.
    pub fn is_resting(&self, now: Instant) -> bool {
        self.next_place.is_some_and(|next| next > now) && self.gate.doubt() != Doubt::Alone
    }

    /// Whose the next place is, where `asks` tells of each class whether a job of its events is to be asked about: the question counts as its
    /// events do, and takes turns with them.
    pub fn next_turn(&mut self, asks: impl Fn(Class) -> bool, now: Instant) -> Turn {
        self.bulk_asks = asks(Class::Bulk);
        let wanted = self.wanted();
        let live = self.next_of(Class::Live, wanted, now);
        if !self.bulk_asks && !self.has_behind() {
            return self.of_class(Class::Live, asks(Class::Live), live);
        }
        let bulk = match self.bulk_flow.due(now) {
            _ if self.bulk_flow.paused.is_some() => Ready::Nothing,
            Some(due) => Ready::At(due),
            None => self.next_of(Class::Bulk, wanted, now),
        };
        if wanted != Pick::First {
            // A question tells as well as an event whether a vendor is still in trouble.
            let class = if asks(Class::Live) { Class::Live } else { Class::Bulk };
            return self.of_class(class, asks(class), self.telling(live, bulk));
        }
        let replayed = self.next_of(Class::Live, Pick::Replayed, now);
        // Where none goes before the replayed ones, the first is one of them.
        let of = |line: Line| match (line, live) {
            (Line::Live, Ready::Now(spot)) if spot.place.is_replayed() => Ready::Nothing,
            (Line::Live, live) => live,
            (Line::Replayed, _) => replayed,
            (Line::Bulk, _) => bulk,
        };
        let asks = |line| match line {
            Line::Live => asks(Class::Live),
            Line::Replayed => false,
            Line::Bulk => asks(Class::Bulk),
        };
        match self.turns.next(|line| asks(line) || matches!(of(line), Ready::Now(_))) {
            Some(Line::Bulk) => self.of_class(Class::Bulk, asks(Line::Bulk), bulk),
            Some(line) => self.of_class(Class::Live, asks(line), of(line)),
            None => Turn::Events(live.or_later(replayed).or_later(bulk)),
        }
    }

    /// Which event to pick.
    fn wanted(&self) -> Pick {
        match self.gate.doubt() {
            Doubt::Few => Pick::Others,
            Doubt::Alone | Doubt::Account => Pick::Probe,
            Doubt::None => match self.gate.state_beneath() {
                GateState::Broken | GateState::Throttled => Pick::Probe,
                GateState::Open | GateState::Paused | GateState::Parked => Pick::First,
            },
        }
    }

    /// A question, if that is wanted and the last place of the class was no question, or no event of it can go.
    fn of_class(&self, class: Class, asks: bool, events: Ready<Spot>) -> Turn {
        let is_events_turn = self.asked.contains(&class) && matches!(events, Ready::Now(_));
        if asks && !is_events_turn { Turn::Question(class) } else { Turn::Events(events) }
    }

    /// A question about a job of that class goes out.
    pub fn asked(&mut self, class: Class, now: Instant) {
        self.asked.insert(class);
        let line = match class {
            Class::Live => Line::Live,
            Class::Bulk => Line::Bulk,
        };
        self.turns.took(line, self.waits_behind(now));
    }

    fn next_of(&mut self, class: Class, wanted: Pick, now: Instant) -> Ready<Spot> {
        let Self { ready, ordering_keys, .. } = self;
        let free = |ordering_key: &str| ordering_keys.free(ordering_key, class, now);
        ready.of_mut(class).next(wanted, now, free).in_class(class)
    }

    /// Whether something waits behind live events, as far as it may go.
    fn has_behind(&self) -> bool {
        !self.ready.of(Class::Bulk).is_empty() || self.ready.of(Class::Live).has_replayed()
    }

    /// Of two that could tell whether a vendor is still in trouble: the live one, unless the other met with less of it.
    fn telling(&self, live: Ready<Spot>, bulk: Ready<Spot>) -> Ready<Spot> {
        let (Ready::Now(first), Ready::Now(second)) = (live, bulk) else { return live.or_later(bulk) };
        let troubles = |spot: Spot| self.ready.event(spot).map(|event| (event.refused, event.troubles));
        if troubles(second) < troubles(first) { bulk } else { live }
    }

    /// Takes the events that travel next. A probe risks one event, not many.
    pub fn take(&mut self, spot: Spot, permit: &Permit, now: Instant, wall: Timestamp) -> Option<Batch> {
        let Spot { class, place } = spot;
        if permit.probe {
            return self.ready.of_mut(class).take_one(place);
        }
        // A class travels together when more of it waits than there are calls to spare, whatever waits of the other.
        let together = batching::together(&self.batching, self.ready.of(class).len(), || self.gate.spare(now, wall));
        self.ready.of_mut(class).take(place, &self.batching, together.then_some(now))
    }

    /// A request for those events goes out.
    pub fn sent(&mut self, batch: &Batch, now: Instant) {
        if let Some(ordering_key) = batch.ordering_key() {
            self.ordering_keys.take(ordering_key, batch.class());
        }
        let line = match batch.class() {
            Class::Bulk => {
                self.bulk_flow.went(now);
                Line::Bulk
            }
            Class::Live if batch.is_replay() => Line::Replayed,
            Class::Live => Line::Live,
        };
        self.asked.remove(&batch.class());
        self.turns.took(line, self.waits_behind(now));
    }

    /// Whether something could go now that is not live.
    fn waits_behind(&self, now: Instant) -> bool {
        let bulk = !self.ready.of(Class::Bulk).is_empty()
            && self.bulk_flow.paused.is_none()
            && self.bulk_flow.due(now).is_none();
        bulk || self.bulk_asks || self.ready.of(Class::Live).has_replayed()
    }

    /// A request for those events came back, answered or not.
    pub fn came_back(&mut self, batch: &Batch) {
        if let Some(ordering_key) = batch.ordering_key() {
            self.ordering_keys.answered(ordering_key, batch.class(), clock::now());
            self.ready.look_at_key(ordering_key);
        }
    }

    /// Gives a permit back that was not used.
    pub fn give_up(&mut self, permit: Permit) {
        self.gate.finished(permit, Answer::Neutral, &Hints::default(), clock::now(), clock::wall());
    }

    /// Tells the gate what became of a request; returns when that was.
    pub fn tell(&mut self, permit: Permit, told: Answer, exchange: &Exchange) -> Timestamp {
        let (now, wall) = (clock::now(), clock::wall());
        let hints: Hints = exchange.reply().map(|reply| hints(&reply.headers, wall)).unwrap_or_default();
        self.gate.finished(permit, told, &hints, now, wall);
        wall
    }

    /// Tells the gate what became of a request, which was for the event of that `key`, where it was for one; whose trouble it is, if it is
    /// trouble.
    pub fn tell_of_trouble(&mut self, permit: Permit, key: Option<u64>, told: Answer, exchange: &Exchange) -> Fault {
        let probe = permit.probe;
        let wall = self.tell(permit, told, exchange);
        if matches!(told, Answer::Success | Answer::Rejected | Answer::Undecided) {
            self.went_well = Some(wall);
        }
        let troubled = std::mem::replace(&mut self.troubled, (told == Answer::Trouble).then_some(key));
        // The same one twice says no more than once.
        let another = troubled.is_some_and(|before| before.is_none() || before != key);
        let vendors = another || probe || self.gate.state_beneath() == GateState::Broken;
        if vendors { Fault::Vendor } else { Fault::Event }
    }

    /// Tells the gate what became of events. One that is always asked to wait while others are taken says nothing of the vendor: one probe
    /// by another event tells whether that is for all.
    pub fn tell_of_events(
        &mut self,
        batch: &Batch,
        permit: Permit,
        told: Answer,
        sentence: &str,
        exchange: &Exchange,
    ) -> Fault {
        let taken = self.gate.last_taken();
        let is_known = matches!(batch.events.as_slice(), [event] if event.odd.is_known(taken));
        if !(is_known && asks_to_wait(told, exchange)) {
            return self.tell_of_trouble(permit, Some(batch.key()), told, exchange);
        }
        let fault = self.tell_of_trouble(permit, Some(batch.key()), Answer::Neutral, exchange);
        let now = clock::now();
        if self.gate.state(now) == GateState::Open {
            let why =
                format!("an event that failed before failed again ({sentence}): another one tells whether all do");
            self.gate.hold_back(&why, now);
        }
        fault
    }

    /// An event failed with its request, alone in it. Whether that is its own trouble by now: others were taken, or, with nothing
    /// else here (`is_lonely`), it failed before.
    pub fn failed_alone(&self, event: &mut Pending, is_lonely: bool) -> bool {
        let lonely = event.odd.failed_again() && is_lonely;
        event.odd.failed(self.gate.last_taken(), self.gate.last_place()) || lonely
    }

    /// Whether a request went well since then.
    pub fn went_well_since(&self, then: Timestamp) -> bool {
        self.went_well.is_some_and(|well| well > then)
    }

    /// The gate opens after a refusal or trouble. Few that failed while others went well may be odd: others go first for a while, so
    /// that they do not close it again at once.
    pub fn rest_few(&mut self, delays: &[Duration]) {
        self.ready.rest_few(FEW, clock::now() + delay(delays, 0).min(LONGEST_BEHIND));
    }

    /// An event is ready, with what is known of it: one that was refused, given back and came again in the same doubt is still one
    /// that was refused.
    pub fn push(&mut self, mut event: Held) {
        event.odd = Odd::new(&event.history, self.gate.last_taken(), self.went_well);
        event.refused = self.gate.doubts(event.key);
        self.ready.push(event);
    }

    /// Whether the batch's ordering key rests now, so that the batch can go first again.
    pub fn rest(&mut self, batch: &Batch) -> bool {
        let class = batch.class();
        batch.ordering_key().is_some_and(|ordering_key| self.ordering_keys.rest(ordering_key, class, clock::now()))
    }
}

/// Whether the answer would have one send nothing for a while.
fn asks_to_wait(told: Answer, exchange: &Exchange) -> bool {
    let wait = || exchange.reply().and_then(|reply| hints(&reply.headers, clock::wall()).retry_after);
    told == Answer::Throttled || (told == Answer::Trouble && wait().is_some_and(|wait| !wait.is_zero()))
}
