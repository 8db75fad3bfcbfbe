//! Who drives, as a state machine: time and notes in, acts out. It knows no broker.
//!
//! The broker hands the notes of a lease queue to one consumer at a time, in their order. A driver proves that it still is that consumer
//! by a round trip: it gives its note back, or publishes the next one, which the queue's majority has to take, and gets it again. From the
//! start of that round trip it may send for as long as the lease is. Who gets the note of another waits that long from its receipt, so
//! the two never send at once, whatever their calendars say.
//!
//! A note that only proves is given back and not published: a broker that takes no messages for now (resource alarm) still carries that
//! out. Until the first note of a new driver is there, the one before it proves as well.

mod reset;
mod times;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::act::Act;
use super::in_hand::{Id, InHand};
use super::note::{Driven, FORMAT, Note, NoteError, Owner, Says, millis};
use super::place::{Place, Published};

/// A ledger that can wait is written this often at most.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Steady clocks of two machines may differ by one part in so many.
const CLOCK_RATES: u32 = 20;
/// With something to send a proof is renewed after one part in so many of the lease.
const RENEW: u32 = 4;
/// A note that lies here unsettled is renewed this often, well within the broker's consumer time-out (30 minutes; some set 5).
const KEEP: Duration = Duration::from_secs(240);
/// Between first notes for an empty queue.
const FIRST_NOTES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// Who hears of a driver elsewhere writes no first note for so long.
const HEARD: Duration = Duration::from_secs(15);
/// What cannot be read here may be read by another worker: it is passed on after this.
const PASS_ON: Duration = Duration::from_secs(1);

/// One worker's part in the lease of one destination.
#[derive(Debug)]
pub struct Machine {
    me: Owner,
    lease: Duration,
    place: Place,
    /// Since the consumer is there: when it came, and when it got its first note.
    opened: Instant,
    first_note: Option<Instant>,
    /// Of the last note that this worker wrote as a driver. Versions only grow.
    term: u64,
    version: u64,
    follows: Option<Driven>,
    /// Whether the last driver, as far as known, is this worker.
    is_mine: bool,
    /// The note that counts.
    best: Option<Note>,
    /// Who claimed it since.
    heard: Option<Driven>,
    ledger: Value,
    /// The ledger has what no note has yet, and what cannot wait.
    is_unwritten: bool,
    is_urgent: bool,
    /// A driver runs.
    drives: bool,
    wanted: bool,
    /// The start of the last round trip that came back, and its version.
    proof: Option<Instant>,
    recorded: u64,
    /// Published notes that have not come yet.
    on_the_way: VecDeque<Published>,
    /// The note that was given back, and when.
    returning: Option<(Id, Instant)>,
    published: Instant,
    in_hand: InHand,
    why_stuck: Option<NoteError>,
    next_first_note: Instant,
    first_notes: Duration,
    /// What a destination begins with that is known to be new.
    first_ledger: Value,
    acts: Vec<Act>,
}

impl Machine {
    /// The part of `me`, which has not opened the queue yet.
    #[must_use]
    pub fn new(me: Owner, lease: Duration, now: Instant) -> Self {
        Self {
            me,
            lease,
            place: Place::Away,
            opened: now,
            first_note: None,
            term: 0,
            version: 0,
            follows: None,
            is_mine: false,
            best: None,
            heard: None,
            ledger: Value::Null,
            is_unwritten: false,
            is_urgent: false,
            drives: false,
            wanted: false,
            proof: None,
            recorded: 0,
            on_the_way: VecDeque::new(),
            returning: None,
            published: now,
            in_hand: InHand::default(),
            why_stuck: None,
            next_first_note: now,
            first_notes: FIRST_NOTES.0,
            first_ledger: Value::Null,
            acts: Vec::new(),
        }
    }

    /// What is to be done now, in this order.
    pub fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// Until when requests may be sent.
    #[must_use]
    pub fn may_send_until(&self) -> Option<Instant> {
        match self.place {
            Place::LettingGo(_) | Place::Stuck(_) => None,
            Place::Away | Place::Standby | Place::Waiting(_) | Place::Holding => {
                self.proof.filter(|_| self.drives).map(|proof| proof + self.lease)
            }
        }
    }

    /// Everything up to that version has been recorded by the broker.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Why nobody can drive, where this worker has what it cannot read.
    #[must_use]
    pub fn why_stuck(&self) -> Option<&NoteError> {
        self.why_stuck.as_ref()
    }

    /// Nobody has ever driven it: it begins with that ledger.
    pub fn is_new(&mut self, ledger: Value) {
        self.first_ledger = ledger;
    }

    /// A consumer is registered at the queue.
    pub fn opened(&mut self, now: Instant) {
        self.place = Place::Standby;
        self.opened = now;
        self.first_note = None;
        if !self.is_mine {
            self.best = None;
        }
        // The last driver knows most: it writes first.
        self.next_first_note = now
            + match (self.is_mine, self.first_ledger.is_null()) {
                (true, _) => self.lease / 8,
                (false, false) => self.lease / 4,
                (false, true) => self.lease / 2,
            };
        self.first_notes = FIRST_NOTES.0;
    }

    /// The consumer is gone, and with it what was not acked. A driver that gets none again in time has lost the lease.
    pub fn closed(&mut self, now: Instant) {
        self.place = Place::Away;
        self.opened = now;
        self.on_the_way.clear();
        self.returning = None;
        self.in_hand.clear();
        self.why_stuck = None;
    }

    /// Somebody else says that it drives.
    pub fn heard_driver(&mut self, now: Instant) {
        if self.place == Place::Standby && !self.drives {
            self.is_mine = false;
            self.next_first_note = self.next_first_note.max(now + HEARD);
        }
    }

    /// Whether there is something to send.
    pub fn want(&mut self, wanted: bool, now: Instant) {
        self.wanted = wanted;
        self.tick(now);
    }

    /// Takes a new ledger, which goes to the broker at once where `urgent`, else within a moment; returns the version that has it.
    pub fn record(&mut self, ledger: Value, urgent: bool, now: Instant) -> u64 {
        if !self.is_unwritten && self.ledger == ledger {
            return self.version;
        }
        self.is_unwritten = true;
        self.is_urgent |= urgent;
        self.ledger = ledger;
        let before = self.version;
        self.tick(now);
        self.version.max(before + 1)
    }

    /// The broker has a note.
    pub fn confirmed(&mut self, version: u64, now: Instant) {
        if let Some(published) = self.on_the_way.iter_mut().find(|published| published.version == version) {
            published.confirmed = Some(now);
        }
    }

    /// A note could not be published.
    pub fn failed(&mut self, version: u64, now: Instant) {
        let before = self.on_the_way.len();
        self.on_the_way.retain(|published| published.version != version);
        if self.on_the_way.len() == before {
            return;
        }
        (self.is_unwritten, self.is_urgent) = (true, true);
        self.tick(now);
    }

    /// A note came; `again` where the broker says that it was out before.
    pub fn received(&mut self, tag: u64, note: Note, again: bool, now: Instant) {
        self.first_note.get_or_insert(now);
        self.first_ledger = Value::Null;
        self.in_hand.push(tag, Some(note.id()));
        if note.says == Says::Reset && !matches!(self.place, Place::LettingGo(_)) {
            return self.begin_anew(note, now);
        }
        if matches!(self.place, Place::Stuck(_)) {
            return;
        }
        if self.waits_after_reset() {
            return self.outdate(tag, &note, now);
        }
        let own = note.owner.id == self.me.id && note.term == self.term;
        let is_returned = again && self.returning.is_some_and(|(id, _)| id == note.id());
        let is_later = self.best.as_ref().is_none_or(|best| note.is_later_than(best));
        match self.place {
            Place::Holding | Place::LettingGo(_) if own => self.came_back(note, is_returned, now),
            Place::Holding if is_returned => self.prove_by_return(),
            Place::Holding | Place::LettingGo(_) if !is_later => self.ack(tag),
            Place::LettingGo(_) => self.leave(now),
            Place::Holding => {
                // Somebody drove meanwhile, and may send until it has heard of that.
                self.first_note = Some(now);
                self.consider(note, now);
            }
            Place::Away | Place::Standby | Place::Waiting(_) | Place::Stuck(_) => self.consider(note, now),
        }
        self.tick(now);
    }

    /// Something came that is no note of this version's.
    pub fn unreadable(&mut self, tag: u64, error: NoteError, now: Instant) {
        self.in_hand.push(tag, None);
        self.refuse(error, now);
    }

    /// The note in hand cannot be used by this worker.
    pub fn refuse(&mut self, error: NoteError, now: Instant) {
        self.stop();
        self.why_stuck = Some(error);
        self.place = Place::Stuck(now);
    }

    /// Lets go, once the driver has stopped and left that ledger, if one ran: the next one may drive at once. [`Act::Leave`] follows.
    pub fn let_go(&mut self, ledger: Option<Value>, now: Instant) {
        self.drives = false;
        match self.place {
            Place::Holding => {
                if let Some(ledger) = ledger {
                    self.ledger = ledger;
                }
                self.place = Place::LettingGo(now);
                self.publish(Says::Released, now);
            }
            Place::Away | Place::Standby | Place::Waiting(_) | Place::LettingGo(_) | Place::Stuck(_) => self.leave(now),
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        match self.place {
            Place::Away if now >= self.opened + self.lease * 2 => self.stop(),
            Place::Away => {}
            Place::Standby => self.stand_by(now),
            Place::Waiting(until) if until <= now => self.claim(now),
            Place::Waiting(_) => {}
            Place::Holding => self.hold(now),
            Place::LettingGo(since) if now.saturating_duration_since(since) >= self.lease => self.leave(now),
            Place::LettingGo(_) => {}
            Place::Stuck(since) if now.saturating_duration_since(since) >= PASS_ON => self.leave(now),
            Place::Stuck(_) => {}
        }
    }

    /// The tag of the note that counts, where it is here.
    fn best_in_hand(&self) -> Option<u64> {
        self.in_hand.tag_of(self.best.as_ref()?.id())
    }

    /// Waits for a note. One who drove and gets none in time has lost the lease.
    fn stand_by(&mut self, now: Instant) {
        if now >= self.opened + self.lease * 2 {
            self.stop();
        }
        if now < self.next_first_note {
            return;
        }
        self.next_first_note = now + self.first_notes;
        self.first_notes = (self.first_notes * 2).min(FIRST_NOTES.1);
        if self.is_mine {
            self.publish(Says::Held, now);
        } else {
            self.acts.push(Act::Publish(Note::found(self.me.clone(), self.lease, self.first_ledger.clone())));
        }
    }

    /// Keeps the later of two notes, and waits for as long as its owner may send.
    fn consider(&mut self, note: Note, now: Instant) {
        if self.best.as_ref().is_some_and(|best| note.only_claims(best)) {
            return self.heed_claim(&note, now);
        }
        let resumes = self.is_mine && note.owner.id == self.me.id && note.term == self.term;
        // Any own note of the last term will do for a consumer that has none yet: this worker knows the rest itself.
        let is_first = resumes && self.place == Place::Standby;
        if is_first || self.best.as_ref().is_none_or(|best| note.is_later_than(best)) {
            self.heard = self.heard.filter(|heard| heard.term > note.term);
            self.best = Some(note.clone());
            // While a proof holds nobody else has sent. Later the queue may have been deleted, and others may have driven.
            let is_proven = self.proof.is_some_and(|proof| now < proof + self.lease);
            self.place = Place::Waiting(match note.says {
                Says::Released => now,
                Says::Held | Says::Found if resumes && is_proven => now,
                Says::Held | Says::Found | Says::Reset => self.first_note.unwrap_or(now) + self.outlasting(&note),
            });
            if !(resumes && self.drives) {
                self.take_up(note, resumes);
            }
        }
        self.ack_outdated();
    }

    /// What outlasts a proof of the note's owner, whose lease may be longer than this worker's.
    fn outlasting(&self, note: &Note) -> Duration {
        let lease = note.lease().max(self.lease);
        lease + lease / CLOCK_RATES
    }

    /// A claim of somebody who found what is here: its owner may have sent, but knows nothing new.
    fn heed_claim(&mut self, claim: &Note, now: Instant) {
        self.heard = self.heard.filter(|heard| heard.term > claim.term).or(Some(claim.driven()));
        let since = if self.place == Place::Holding { now } else { self.first_note.unwrap_or(now) };
        let until = since + self.outlasting(claim);
        self.place = Place::Waiting(if let Place::Waiting(waits) = self.place { waits.max(until) } else { until });
        self.start();
        self.ack_outdated();
    }

    /// A driver starts with what the note says.
    fn take_up(&mut self, note: Note, resumes: bool) {
        // What this worker last knew as the driver is newer than what comes back to it.
        if !resumes {
            self.is_mine = false;
            self.ledger = note.ledger;
        }
        (self.is_unwritten, self.is_urgent) = (false, false);
        self.drives = false;
        self.start();
    }

    /// Has a driver start where none runs.
    fn start(&mut self) {
        self.proof = None;
        if !std::mem::replace(&mut self.drives, true) {
            self.acts.push(Act::Drive(self.ledger.clone()));
        }
    }

    /// Nobody else may send: the next term is this worker's.
    fn claim(&mut self, now: Instant) {
        let best = self.heard.take().or(self.best.as_ref().map(Note::driven));
        let resumes = self.is_mine && best == Some(Driven { term: self.term, owner: self.me.id });
        self.place = Place::Holding;
        self.on_the_way.clear();
        self.returning = None;
        if !resumes {
            self.term = best.map_or(0, |best| best.term).max(self.term) + 1;
            self.follows = best;
            self.is_mine = false;
        }
        self.publish(Says::Held, now);
    }

    fn hold(&mut self, now: Instant) {
        if self.lost_at().is_some_and(|at| at <= now) {
            // The broker gives the notes to somebody else.
            return self.leave(now);
        }
        let is_due = self.is_urgent || now.saturating_duration_since(self.published) >= WRITE_EVERY;
        if self.is_unwritten && is_due && self.on_the_way.is_empty() {
            return self.publish(Says::Held, now);
        }
        if let (Some(tag), Some(best)) = (self.best_in_hand(), &self.best)
            && self.renews_at().is_some_and(|at| at <= now)
        {
            self.in_hand.remove(tag);
            self.returning = Some((best.id(), now));
            self.acts.push(Act::Return(tag));
        }
    }

    /// What was given back is here again.
    fn prove_by_return(&mut self) {
        if let Some((_, at)) = self.returning.take() {
            self.proof = self.proof.max(Some(at));
        }
        self.ack_outdated();
    }

    fn came_back(&mut self, note: Note, is_returned: bool, now: Instant) {
        let is_last = note.says == Says::Released;
        if is_returned {
            self.prove_by_return();
        }
        while let Some(published) = self.on_the_way.pop_front_if(|published| published.version <= note.version) {
            if published.version == note.version {
                self.proof = self.proof.max(Some(published.at));
            }
        }
        self.recorded = self.recorded.max(note.version);
        self.is_mine = true;
        if self.best.as_ref().is_none_or(|best| best.id() == note.id() || note.is_later_than(best)) {
            self.best = Some(Note { proven: true, ..note });
        }
        self.ack_outdated();
        if is_last && matches!(self.place, Place::LettingGo(_)) {
            self.is_mine = false;
            self.leave(now);
        }
        self.tick(now);
    }

    fn publish(&mut self, says: Says, now: Instant) {
        self.version += 1;
        (self.is_unwritten, self.is_urgent) = (false, false);
        self.published = now;
        self.on_the_way.push_back(Published { version: self.version, at: now, confirmed: None });
        self.acts.push(Act::Publish(Note {
            format: FORMAT,
            term: self.term,
            version: self.version,
            owner: self.me.clone(),
            follows: self.follows,
            proven: self.is_mine,
            says,
            lease_ms: millis(self.lease),
            ledger: self.ledger.clone(),
        }));
    }

    fn stop(&mut self) {
        if std::mem::take(&mut self.drives) {
            self.acts.push(Act::Stop);
        }
        self.proof = None;
    }

    fn leave(&mut self, now: Instant) {
        self.acts.push(Act::Leave);
        self.closed(now);
    }

    fn ack(&mut self, tag: u64) {
        self.in_hand.remove(tag);
        self.acts.push(Act::Ack(tag));
    }

    /// Acks all but the note that counts, where that is here.
    fn ack_outdated(&mut self) {
        let Some(best) = self.best_in_hand() else { return };
        self.acts.extend(self.in_hand.take_but(best).into_iter().map(Act::Ack));
    }
}
