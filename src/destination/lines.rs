//! The events that wait for the gate, each class in a queue of its own: neither changes the order, the batches or the halves of the other.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use super::check::{Held, Pending};
use super::ready_queue::{Batch, QueuePlace, Ready, ReadyQueue};
use crate::class::Class;

/// Where the next request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub class: Class,
    pub place: QueuePlace,
}

/// Both queues.
#[derive(Debug, Default)]
pub(super) struct Lines {
    live: ReadyQueue,
    bulk: ReadyQueue,
}

impl Lines {
    /// The queue of that class.
    pub fn of(&self, class: Class) -> &ReadyQueue {
        match class {
            Class::Live => &self.live,
            Class::Bulk => &self.bulk,
        }
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, class: Class) -> &mut ReadyQueue {
        match class {
            Class::Live => &mut self.live,
            Class::Bulk => &mut self.bulk,
        }
    }

    fn both(&mut self) -> [&mut ReadyQueue; 2] {
        [&mut self.live, &mut self.bulk]
    }

    /// How many deliveries wait.
    pub fn len(&self) -> usize {
        self.live.len() + self.bulk.len()
    }

    /// Joins the queue of its class.
    pub fn push(&mut self, event: Held) {
        self.of_mut(event.delivery.class).push(event);
    }

    /// Goes first again, in its order.
    pub fn put_back(&mut self, batch: Batch) {
        self.of_mut(batch.class()).put_back(batch);
    }

    /// Goes behind the others, and with it what follows in its ordering key.
    pub fn send_behind(&mut self, batch: Batch) {
        self.of_mut(batch.class()).send_behind(batch);
    }

    /// Two halves of a batch that was refused as a whole go first.
    pub fn split(&mut self, batch: Batch, calls_left: Arc<AtomicU32>) {
        self.of_mut(batch.class()).split(batch, calls_left);
    }

    /// The event that stands there.
    pub fn event(&self, spot: Spot) -> Option<&Held> {
        self.of(spot.class).event(spot.place)
    }

    /// An ordering key may be free sooner than was told of it, for either class.
    pub fn look_at_key(&mut self, ordering_key: &str) {
        self.both().into_iter().for_each(|queue| queue.look_at_key(ordering_key));
    }

    /// Takes the one that is given back first.
    pub fn pop(&mut self) -> Option<Held> {
        self.live.pop().or_else(|| self.bulk.pop())
    }

    /// Takes out all that `chosen` tells, in their order.
    pub fn take_out(&mut self, mut chosen: impl FnMut(&Pending) -> bool) -> Vec<Held> {
        let mut taken = self.live.take_out(&mut chosen);
        taken.extend(self.bulk.take_out(&mut chosen));
        taken
    }

    /// Takes out all of which that is true, and what follows them in their ordering keys.
    pub fn remove_if(&mut self, gone: impl Fn(&Pending) -> bool) -> Vec<Held> {
        let mut removed = self.live.remove_if(&gone);
        removed.extend(self.bulk.remove_if(&gone));
        removed
    }

    /// Takes out what was refused, as it travelled.
    pub fn take_refused(&mut self) -> Vec<Batch> {
        self.both().into_iter().flat_map(ReadyQueue::take_refused).collect()
    }

    /// Where no more than `few` events failed when the gate closed, or since, they let others go first until then.
    pub fn rest_few(&mut self, few: usize, until: Instant) {
        let failed = self.live.failed() + self.bulk.failed();
        let rests = (failed <= few && failed < self.len()).then_some(until);
        self.both().into_iter().for_each(|queue| queue.rest_failed(rests));
    }
}

impl Ready<QueuePlace> {
    /// The same in the queue of that class.
    pub fn in_class(self, class: Class) -> Ready<Spot> {
        match self {
            Self::Now(place) => Ready::Now(Spot { class, place }),
            Self::At(at) => Ready::At(at),
            Self::Nothing => Ready::Nothing,
        }
    }
}

impl Ready<Spot> {
    /// When there is something, or will be, of two that have nothing now.
    pub fn or_later(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(one), Self::At(other)) => Self::At(one.min(other)),
            (Self::Now(spot), _) | (_, Self::Now(spot)) => Self::Now(spot),
            (Self::At(at), Self::Nothing) | (Self::Nothing, Self::At(at)) => Self::At(at),
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }
}
