//! Events that are hard to map. Their expressions run on threads of their own ([`crate::threads`]), one event of each class at a time, so that no
//! other event, destination or page waits for them. Where the machine gives no thread, they wait until it does.
//!
//! An event's ordering key is known once it is mapped. So where the vendor has such keys, what comes later waits behind the one that is
//! being mapped; elsewhere it goes on.

use std::collections::VecDeque;
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
    live: Line,
    bulk: Line,
    /// Whether the machine gives threads.
    pub machine: Machine,
}

/// The deliveries of one class, in the order of their arrival.
#[derive(Default)]
struct Line {
    out: Option<Out>,
    waiting: VecDeque<Waiting>,
}

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
    /// One of that class came back; nothing where the work on it panicked.
    Back(Class, Option<Box<Read>>),
    /// There may be a thread now.
    TryAgain,
}

impl Mapping {
    /// On those threads. `keeps_order`: nothing may overtake what is being mapped.
    pub fn new(threads: Threads, keeps_order: bool) -> Self {
        Self { threads, keeps_order, live: Line::default(), bulk: Line::default(), machine: Machine::default() }
    }

    fn line(&mut self, class: Class) -> &mut Line {
        match class {
            Class::Live => &mut self.live,
            Class::Bulk => &mut self.bulk,
        }
    }

    /// Whether something is being mapped, or waits for that.
    pub fn is_busy(&self) -> bool {
        !(self.live.is_empty() && self.bulk.is_empty())
    }

    /// Whether a delivery of that class has to wait behind another.
    fn holds_back(&self, class: Class) -> bool {
        self.keeps_order && self.held_of(class) > 0
    }

    /// How many deliveries of that class are held.
    pub fn held_of(&self, class: Class) -> usize {
        match class {
            Class::Live => self.live.len(),
            Class::Bulk => self.bulk.len(),
        }
    }

    /// How many deliveries are held.
    pub fn held(&self) -> usize {
        self.live.len() + self.bulk.len()
    }

    /// Takes out all of a class but so many, those that came last.
    pub fn beyond(&mut self, class: Class, keeps: usize) -> Vec<Delivery> {
        let line = self.line(class);
        // What its thread finds out then is nobody's.
        let out = if keeps == 0 { line.out.take() } else { None };
        let kept = keeps.saturating_sub(usize::from(line.out.is_some())).min(line.waiting.len());
        let others = line.waiting.drain(kept..).map(|one| one.delivery);
        out.map(|out| out.delivery).into_iter().chain(others).collect()
    }

    /// Takes out the one that came first.
    pub fn pop(&mut self) -> Option<Delivery> {
        let line = if self.live.is_empty() { &mut self.bulk } else { &mut self.live };
        let out = line.out.take().map(|out| out.delivery);
        out.or_else(|| line.waiting.pop_front().map(|one| one.delivery))
    }

    /// Takes out those that have waited too long, and those whose channel has gone.
    pub fn sweep(&mut self, now: Instant) -> Vec<Delivery> {
        let is_old = |taken: Instant| now.saturating_duration_since(taken) > LONGEST_HOLD;
        let goes = |delivery: &Delivery, taken: Instant| is_old(taken) || !delivery.ticket.is_live();
        let mut gone = Vec::new();
        for line in [&mut self.live, &mut self.bulk] {
            gone.extend(line.out.take_if(|out| goes(&out.delivery, out.taken)).map(|out| out.delivery));
            for one in std::mem::take(&mut line.waiting) {
                if goes(&one.delivery, one.taken) { gone.push(one.delivery) } else { line.waiting.push_back(one) }
            }
        }
        gone
    }

    /// Returns when one came back, or a thread may be had that could not be before; never while there is neither.
    pub async fn progress(&mut self) -> Mapped {
        let lacks = self.live.lacks_thread() || self.bulk.lacks_thread();
        let again = lacks.then(|| self.machine.rests_until(true, clock::now()).unwrap_or_else(clock::now));
        let Self { live, bulk, .. } = self;
        tokio::select! {
            biased;
            read = live.back() => Mapped::Back(Class::Live, read),
            read = bulk.back() => Mapped::Back(Class::Bulk, read),
            () = wait_until(again) => Mapped::TryAgain,
        }
    }
}

impl Line {
    fn is_empty(&self) -> bool {
        self.out.is_none() && self.waiting.is_empty()
    }

    fn len(&self) -> usize {
        usize::from(self.out.is_some()) + self.waiting.len()
    }

    fn lacks_thread(&self) -> bool {
        self.out.is_none() && !self.waiting.is_empty()
    }

    /// Joins in the order of arrival: what waited for something else may have come before.
    fn join(&mut self, one: Waiting) {
        let tag = one.delivery.ticket.tag();
        let place = self.waiting.iter().rposition(|other| other.delivery.ticket.tag() < tag).map_or(0, |last| last + 1);
        self.waiting.insert(place, one);
    }

    async fn back(&mut self) -> Option<Box<Read>> {
        match &mut self.out {
            Some(out) => (&mut out.read).await.ok().map(Box::new),
            None => std::future::pending().await,
        }
    }
}

impl Driver {
    /// Decodes and checks a delivery, once what came before it is mapped, where that matters.
    pub(super) fn check(&mut self, delivery: Delivery) {
        let (class, taken) = (delivery.class, clock::now());
        if self.mapping.holds_back(class) {
            return self.mapping.line(class).join(Waiting { delivery, taken, is_hard: false });
        }
        self.check_now(delivery, taken);
        if self.mapping.held_of(class) > 0 {
            self.map_next(class);
        }
    }

    /// It cannot be mapped here without holding others up.
    pub(super) fn map_aside(&mut self, delivery: Delivery, taken: Instant) {
        self.mapping.line(delivery.class).join(Waiting { delivery, taken, is_hard: true });
    }

    /// Something has come of what is mapped aside.
    pub(super) fn mapped(&mut self, mapped: Mapped) {
        match mapped {
            Mapped::Back(class, read) => {
                self.mapping.machine.went_well();
                if let Some(Out { delivery, taken, .. }) = self.mapping.line(class).out.take() {
                    let read = read.map_or_else(|| check::failed(&delivery, clock::wall()), |read| *read);
                    self.checked(read.of(delivery, taken), taken);
                }
                self.map_next(class);
            }
            Mapped::TryAgain => Class::ALL.into_iter().for_each(|class| self.map_next(class)),
        }
    }

    /// Goes on with what waits, until one of it is being mapped.
    fn map_next(&mut self, class: Class) {
        while self.mapping.line(class).out.is_none() {
            let Some(one) = self.mapping.line(class).waiting.pop_front() else { return };
            if !one.delivery.ticket.is_live() {
                one.delivery.ticket.leave();
            } else if !one.is_hard {
                self.check_now(one.delivery, one.taken);
            } else if !self.map(class, one) {
                return;
            }
        }
    }

    /// Begins to map one; false where there is no thread for it now.
    fn map(&mut self, class: Class, one: Waiting) -> bool {
        let now = clock::now();
        let rests = self.mapping.machine.rests_until(true, now).is_some();
        let started = (!rests).then(|| self.reading(&one.delivery)).map(|reading| self.mapping.threads.start(reading));
        let Waiting { delivery, taken, .. } = one;
        match started {
            Some(Ok(read)) => {
                self.mapping.line(class).out = Some(Out { delivery, taken, read });
                return true;
            }
            Some(Err(lack)) => {
                let why = lack.to_string();
                if self.mapping.machine.failed(&why, now) {
                    tracing::error!(destination = self.settings.name, why, "events cannot be mapped now; they wait");
                }
            }
            None => {}
        }
        self.mapping.line(class).waiting.push_front(Waiting { delivery, taken, is_hard: true });
        false
    }

    /// Reads a delivery anywhere, as far as that goes on without this destination.
    fn reading(&mut self, delivery: &Delivery) -> impl FnOnce() -> Read + Send + use<> {
        let (message, routing_key) = (delivery.message.clone(), delivery.routing_key.clone());
        let (settings, suppressing) = (self.settings.clone(), self.suppressing.clone());
        let (facts, reading, wall) = (self.side.lookups.consult().clone(), self.intake.reading(), clock::wall());
        move || check::read((&message, &routing_key), &settings, suppressing.as_ref(), &facts, reading, wall)
    }
}
