//! Events that are hard to map. Their expressions run on threads of their own ([`crate::threads`]), one event of a destination at a time, so that
//! no other event, destination or page waits for them. Where the machine gives no thread, they wait until it does.
//!
//! An event's ordering key is known once it is mapped. So where the vendor has such keys, what comes later waits behind the one that is
//! being mapped; elsewhere it goes on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Driver;
use super::check::{self, Read};
use super::demand::LONGEST_HOLD;
use super::machine::Machine;
use super::pipeline::wait_until;
use crate::broker::port::Delivery;
use crate::class::Class;
use crate::clock;
use crate::threads::Threads;

/// What is being mapped, and what waits for that.
pub(super) struct Mapping {
    threads: Threads,
    keeps_order: bool,
    out: Option<Out>,
    live: Line,
    bulk: Line,
    /// Whether the machine gives threads.
    pub machine: Machine,
}

/// The deliveries of one class that wait, in the order of their arrival.
type Line = VecDeque<Waiting>;

/// One that is being mapped.
struct Out {
    delivery: Delivery,
    taken: Instant,
    read: oneshot::Receiver<Read>,
}

struct Waiting {
    delivery: Delivery,
    taken: Instant,
    /// Whether it is known to be hard; else it waits for its turn to be checked.
    is_hard: bool,
}

/// What has come of it.
pub(super) enum Mapped {
    /// It came back; nothing where the work on it panicked.
    Back(Option<Box<Read>>),
    /// There may be a thread now.
    TryAgain,
}

impl Mapping {
    /// On those threads. `keeps_order`: nothing may overtake what is being mapped.
    pub fn new(threads: Threads, keeps_order: bool) -> Self {
        let (live, bulk) = (Line::new(), Line::new());
        Self { threads, keeps_order, out: None, live, bulk, machine: Machine::default() }
    }

    fn line(&self, class: Class) -> &Line {
        match class {
            Class::Live => &self.live,
            Class::Bulk => &self.bulk,
        }
    }

    fn line_mut(&mut self, class: Class) -> &mut Line {
        match class {
            Class::Live => &mut self.live,
            Class::Bulk => &mut self.bulk,
        }
    }

    /// Whether something is being mapped, or waits for that.
    pub fn is_busy(&self) -> bool {
        self.held() > 0
    }

    fn is_out(&self, class: Class) -> bool {
        self.out.as_ref().is_some_and(|out| out.delivery.class == class)
    }

    /// Whether a delivery of that class has to wait behind another.
    fn holds_back(&self, class: Class) -> bool {
        self.keeps_order && self.held_of(class) > 0
    }

    /// How many deliveries of that class are held.
    pub fn held_of(&self, class: Class) -> usize {
        usize::from(self.is_out(class)) + self.line(class).len()
    }

    /// How many deliveries are held.
    pub fn held(&self) -> usize {
        Class::ALL.into_iter().map(|class| self.held_of(class)).sum()
    }

    /// The one of a class that came first.
    pub fn first(&self, class: Class) -> Option<&Delivery> {
        let out = self.out.as_ref().map(|out| &out.delivery).filter(|out| out.class == class);
        out.or_else(|| self.line(class).front().map(|one| &one.delivery))
    }

    /// Joins in the order of arrival: what waited for something else may have come before.
    fn join(&mut self, one: Waiting) {
        let (tag, line) = (one.delivery.ticket.tag(), self.line_mut(one.delivery.class));
        let place = line.iter().rposition(|other| other.delivery.ticket.tag() < tag).map_or(0, |last| last + 1);
        line.insert(place, one);
    }

    /// Takes out all of a class but so many, those that came last.
    pub fn beyond(&mut self, class: Class, keeps: usize) -> Vec<Delivery> {
        let is_out = self.is_out(class);
        // What its thread finds out then is nobody's.
        let out = if keeps == 0 { self.out.take_if(|_| is_out) } else { None };
        let line = self.line_mut(class);
        let kept = keeps.saturating_sub(usize::from(is_out)).min(line.len());
        let others = line.drain(kept..).map(|one| one.delivery);
        out.map(|out| out.delivery).into_iter().chain(others).collect()
    }

    /// Takes out the one that came first.
    pub fn pop(&mut self) -> Option<Delivery> {
        let out = self.out.take().map(|out| out.delivery);
        out.or_else(|| self.live.pop_front().or_else(|| self.bulk.pop_front()).map(|one| one.delivery))
    }

    /// Takes out those that have waited too long, and those whose channel has gone. Where nothing may be overtaken all of a class go with such a
    /// one, or where something before them `went`.
    pub fn sweep(&mut self, now: Instant, went: bool) -> Vec<Delivery> {
        let is_old = |taken: Instant| now.saturating_duration_since(taken) > LONGEST_HOLD;
        let goes = |delivery: &Delivery, taken: Instant| is_old(taken) || !delivery.ticket.is_live();
        let mut gone = Vec::new();
        for class in Class::ALL {
            let out = self.out.as_ref().filter(|out| out.delivery.class == class);
            let is_one = out.is_some_and(|out| goes(&out.delivery, out.taken))
                || self.line(class).iter().any(|one| goes(&one.delivery, one.taken));
            if self.keeps_order && (is_one || went) {
                gone.extend(self.beyond(class, 0));
            } else if is_one {
                let out = self.out.take_if(|out| out.delivery.class == class && goes(&out.delivery, out.taken));
                let all = std::mem::take(self.line_mut(class)).into_iter();
                let (old, kept) = all.partition::<Line, _>(|one| goes(&one.delivery, one.taken));
                *self.line_mut(class) = kept;
                gone.extend(out.map(|out| out.delivery).into_iter().chain(old.into_iter().map(|one| one.delivery)));
            }
        }
        gone
    }

    /// Returns when one came back, or a thread may be had that could not be before; never while there is neither.
    pub async fn progress(&mut self) -> Mapped {
        if let Some(out) = &mut self.out {
            return Mapped::Back((&mut out.read).await.ok().map(Box::new));
        }
        let again = self.is_busy().then(|| self.machine.rests_until(true, clock::now()).unwrap_or_else(clock::now));
        wait_until(again).await;
        Mapped::TryAgain
    }
}

impl Driver {
    /// Decodes and checks a delivery, once what came before it is mapped, where that matters.
    pub(super) fn check(&mut self, delivery: Delivery) {
        let (class, taken) = (delivery.class, clock::now());
        if self.mapping.holds_back(class) {
            return self.mapping.join(Waiting { delivery, taken, is_hard: false });
        }
        self.check_now(delivery, taken);
        if self.mapping.held_of(class) > 0 {
            self.map_next(class);
        }
    }

    /// It cannot be mapped here without holding others up.
    pub(super) fn map_aside(&mut self, delivery: Delivery, taken: Instant) {
        self.mapping.join(Waiting { delivery, taken, is_hard: true });
    }

    /// Something has come of what is mapped aside.
    pub(super) fn mapped(&mut self, mapped: Mapped) {
        match mapped {
            Mapped::Back(read) => {
                self.mapping.machine.went_well();
                let Some(Out { delivery, taken, .. }) = self.mapping.out.take() else { return };
                let class = delivery.class;
                let read = read.map_or_else(|| check::failed(&delivery, clock::wall()), |read| *read);
                self.checked(read.of(delivery, taken), taken);
                // The classes take turns.
                self.map_next(class.other());
                self.map_next(class);
            }
            Mapped::TryAgain => Class::ALL.into_iter().for_each(|class| self.map_next(class)),
        }
    }

    /// Goes on with what waits, until one of it has to wait for a thread.
    fn map_next(&mut self, class: Class) {
        while !(self.mapping.keeps_order && self.mapping.is_out(class)) {
            let Some(one) = self.mapping.line_mut(class).pop_front() else { return };
            if !one.delivery.ticket.is_live() {
                one.delivery.ticket.leave();
            } else if !one.is_hard {
                self.check_now(one.delivery, one.taken);
            } else if let Some(one) = self.map(one) {
                return self.mapping.line_mut(class).push_front(one);
            }
        }
    }

    /// Begins to map one; it comes back where another is being mapped, or where there is no thread for it now.
    fn map(&mut self, one: Waiting) -> Option<Waiting> {
        let now = clock::now();
        if self.mapping.out.is_some() || self.mapping.machine.rests_until(true, now).is_some() {
            return Some(one);
        }
        let reading = self.reading(&one.delivery);
        match self.mapping.threads.start(reading) {
            Ok(read) => {
                let Waiting { delivery, taken, .. } = one;
                self.mapping.out = Some(Out { delivery, taken, read });
                None
            }
            Err(lack) => {
                let why = lack.to_string();
                if self.mapping.machine.failed(&why, now) {
                    tracing::error!(destination = self.settings.name, why, "events cannot be mapped now; they wait");
                }
                Some(one)
            }
        }
    }

    /// Reads a delivery anywhere, as far as that goes on without this destination.
    fn reading(&mut self, delivery: &Delivery) -> impl FnOnce() -> Read + Send + use<> {
        let (message, routing_key) = (delivery.message.clone(), delivery.routing_key.clone());
        let (settings, suppressing) = (Arc::clone(&self.settings), self.suppressing.clone());
        let (facts, reading, wall) = (Arc::clone(self.side.lookups.consult()), self.intake.reading(), clock::wall());
        move || check::read((&message, &routing_key), &settings, suppressing.as_ref(), &facts, reading, wall)
    }
}
