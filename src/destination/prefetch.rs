//! How many deliveries the consumer asks for, as the gate and what is held change.

use std::time::Instant;

use jiff::Timestamp;

use super::Driver;
use super::check;
use super::demand::{self, BatchRoom, CopiesWaiting, Demand, GateOutlook};
use crate::broker::port::Prefetch;
use crate::class::Class;
use crate::clock;
use crate::gate::{Gate, GateState};
use crate::message::header::REPLAY;
use crate::vendors::Batching;
use crate::verdict::Settlement;

/// What decides how many deliveries are held.
pub(super) struct PrefetchControl {
    demand: Demand,
    room: BatchRoom,
    /// Whether a request carries several events.
    several: bool,
    /// Nothing is held before then: the next place is far away.
    resting_until: Option<Instant>,
    /// The oldest of what was given back to the queue, as long as nothing is taken from it again.
    left_behind: Option<Timestamp>,
    /// How many deliveries are held at most while none has to be put aside.
    usual: u16,
    /// What the prefetch was last worked out for.
    worked_out_for: Option<(Demand, Option<f64>, usize, u16, bool, u16)>,
}

/// What is held now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// Deliveries that wait, and requests on their way.
    pub waiting: usize,
    /// Deliveries that wait for the end of a job.
    pub unconfirmed: usize,
    /// Events that wait and whose credentials were refused, where probes are needed.
    pub refused: usize,
}

impl PrefetchControl {
    pub fn new(batching: Batching) -> Self {
        Self {
            demand: Demand::Open,
            room: BatchRoom::new(batching.items),
            several: batching.items > 1,
            resting_until: None,
            left_behind: None,
            usual: 0,
            worked_out_for: None,
        }
    }

    /// A delivery came with so many bytes.
    pub fn took(&mut self, bytes: usize) {
        if self.demand == Demand::Open {
            self.left_behind = None;
        }
        if self.several {
            self.room.note(bytes);
        }
    }

    /// Looks at the gate, where there is no place before the last of `next_places`.
    pub fn look(&mut self, gate: &Gate, may_hold: bool, next_places: [Option<Instant>; 2], now: Instant) {
        let far = next_places
            .into_iter()
            .chain([gate.opens_at(now)])
            .flatten()
            .filter_map(|at| demand::resume_at(at, now))
            .max();
        self.resting_until = far.or(self.resting_until.filter(|until| *until > now));
        let outlook = GateOutlook {
            open: gate.state(now) == GateState::Open,
            paused: gate.is_paused() || !may_hold,
            closed_for_long: gate.closed_for_long(now),
            resting_until: self.resting_until,
        };
        self.demand = self.demand.next(outlook, now);
    }

    /// An operator changed the gate: it may let something through at once.
    pub fn look_now(&mut self) {
        self.resting_until = None;
    }

    /// Whether only probes are needed.
    pub fn is_closed(&self) -> bool {
        self.demand == Demand::Closed
    }

    /// How many waiting deliveries may be kept; None where that is no matter.
    pub fn keeps(&self) -> Option<usize> {
        (self.demand != Demand::Open).then(|| self.demand.keeps())
    }

    /// Takes note of the oldest event that is given back.
    pub fn leaves(&mut self, oldest: Option<Timestamp>) {
        self.left_behind = oldest;
    }

    /// The oldest of what was given back.
    pub fn left_behind(&self) -> Option<Timestamp> {
        self.left_behind
    }

    /// What to consume, where that may be another, at `most_pace` requests a second if that bounds it: `room` for batches is only made while it consumes.
    pub fn wanted(
        &mut self,
        gate: &Gate,
        most_pace: Option<f64>,
        holding: Holding,
        copies: &mut CopiesWaiting,
        consumes: bool,
    ) -> Option<Prefetch> {
        let pace = [gate.pace_about(), most_pace].into_iter().flatten().min_by(f64::total_cmp);
        let (demand, concurrency) = (self.demand, gate.concurrency_soon());
        let room = if consumes && self.several {
            self.room.adapt(holding.waiting + holding.unconfirmed, self.usual)
        } else {
            0
        };
        // What was refused tells nothing: there has to be a place for what may.
        let enough = demand.is_enough(holding.waiting.saturating_sub(holding.refused));
        let aside = copies.adapt(self.usual).saturating_add(u16::try_from(holding.refused).unwrap_or(u16::MAX));
        let worked_out_for = Some((demand, pace, concurrency, room, enough, aside));
        if self.worked_out_for == worked_out_for {
            return None;
        }
        self.worked_out_for = worked_out_for;
        let mut wanted = if enough { Prefetch::None } else { demand.prefetch(pace, concurrency, &self.room) };
        if let Prefetch::Of(usual) = &mut wanted {
            self.usual = *usual;
            *usual = usual.saturating_add(aside);
        }
        Some(wanted)
    }

    /// Whether so many copies wait that nothing more is taken.
    pub fn is_full(&self, copies: &CopiesWaiting) -> bool {
        copies.is_full(self.usual)
    }
}

impl Driver {
    /// Holds as many deliveries as the gate can use, and gives the others back.
    pub(super) fn adjust_prefetch(&mut self) {
        let now = clock::now();
        // Events that may not be sent before the window opens wait in their queue for it.
        let opens = self.hours.quiet_by_clock(now).map(|quiet| quiet.at);
        let may_hold = self.keeping.lease.drives() && self.knows_suppressed();
        self.prefetch.look(&self.dispatch.gate, may_hold, [self.dispatch.next_place(), opens], now);
        // While the consumer is there, the broker would send at once what is given back. And what is out may come back, and then it is
        // before the rest of its ordering key.
        if let Some(keeps) = self.prefetch.keeps()
            && !*self.inbox.live.consuming.borrow()
            && !self.dispatch.ordering_keys.is_busy()
        {
            // What was refused has places beside the others: given back, it would come again at once.
            let refused = if self.prefetch.is_closed() { self.dispatch.ready.of(Class::Live).refused() } else { 0 };
            let keeps = keeps.saturating_add(refused);
            if self.waits_live() > keeps {
                let oldest = self.oldest();
                self.prefetch.leaves(oldest);
                self.release_beyond(Class::Live, keeps);
            }
        }
        let holding = Holding {
            waiting: self.waits_live() + self.sender.in_flight().saturating_sub(self.bulk.in_flight),
            unconfirmed: self.side.jobs.held_of(Class::Live),
            refused: if self.prefetch.is_closed() { self.dispatch.ready.of(Class::Live).refused() } else { 0 },
        };
        let consumes = !self.inbox.live.is_idle();
        let Self { prefetch, dispatch, settlements, inbox, .. } = self;
        if let Some(wanted) = prefetch.wanted(&dispatch.gate, None, holding, &mut settlements.copies, consumes) {
            inbox.live.want(wanted);
        }
        self.adjust_bulk();
    }

    /// Gives back all of a class but so many that wait, in the order in which they came: so they come again. Those that are ready are kept first,
    /// then those that wait for a lookup, and of each kind those that came first, so that none is overtaken in its ordering key.
    pub(super) fn release_beyond(&mut self, class: Class, keeps: usize) {
        let ready = self.dispatch.ready.of_mut(class);
        let mut left = keeps.saturating_sub(ready.len());
        let mut released = if left == 0 { ready.beyond(keeps) } else { Vec::new() };
        let mut given = Vec::new();
        // What waits for these of both classes counts as live. What is mapped waits for a lookup after that.
        if class == Class::Live {
            let (lookups, invalids) = (&mut self.side.lookups, &mut self.intake.invalids);
            given.extend(lookups.beyond(left));
            left = left.saturating_sub(lookups.held());
            given.extend(invalids.beyond(left));
            left = left.saturating_sub(invalids.held());
        }
        given.extend(self.mapping.beyond(class, left));
        released.sort_by_key(|event| event.delivery.ticket.tag());
        given.sort_by_key(|delivery| delivery.ticket.tag());
        let mut released = released.into_iter().peekable();
        for delivery in given {
            while let Some(event) = released.next_if(|event| event.delivery.ticket.tag() < delivery.ticket.tag()) {
                self.settlements.settle(*event, Settlement::Release);
            }
            self.settlements.give_back(delivery);
        }
        released.for_each(|event| self.settlements.settle(*event, Settlement::Release));
    }

    /// How many deliveries wait for the gate or to be checked.
    pub(super) fn waits(&self) -> usize {
        self.dispatch.ready.len() + self.side.lookups.held() + self.intake.invalids.held() + self.mapping.held()
    }

    /// The same without bulk events that wait for the gate or to be mapped.
    fn waits_live(&self) -> usize {
        self.waits() - self.dispatch.ready.of(Class::Bulk).len() - self.mapping.held_of(Class::Bulk)
    }

    /// The time of the oldest live event that waits here, or in the queue as far as is known: when it might have been sent first. In quiet
    /// hours none is late.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest_of(Class::Live, self.prefetch.left_behind())
    }

    /// The oldest of a class: of those that are ready, the first of those that are not, and what is in the queue.
    pub(super) fn oldest_of(&self, class: Class, left_behind: Option<Timestamp>) -> Option<Timestamp> {
        let unread = [self.mapping.first(class), self.side.lookups.first(class), self.intake.invalids.first(class)];
        // The time of a replayed letter says nothing of lateness.
        let unread =
            unread.into_iter().flatten().filter(|delivery| !delivery.message.properties.headers.contains_key(REPLAY));
        let unread = unread.map(|delivery| {
            let (history, tag) = self.intake.identify(delivery);
            check::might_be_sent(&tag, &history)
        });
        let oldest = self.dispatch.ready.of(class).oldest().into_iter().chain(left_behind).chain(unread).min()?;
        self.hours.ages_since(oldest, clock::wall())
    }
}
