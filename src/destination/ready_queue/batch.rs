//! Events that travel together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::class::Class;
use crate::destination::check::Held;

/// Events that travel in one request.
#[derive(Debug)]
pub(in crate::destination) struct Batch {
    /// At least one.
    pub events: Vec<Held>,
    /// Of a batch that was refused as a whole and split: how many calls may still be spent on the whole of it.
    pub calls_left: Option<Arc<AtomicU32>>,
}

impl Batch {
    /// The ordering key that it travels in.
    pub fn ordering_key(&self) -> Option<&str> {
        self.events.first().and_then(|event| event.item.ordering_key.as_deref())
    }

    /// The class of its events: only those of one travel together.
    pub fn class(&self) -> Class {
        self.events.first().map(|event| event.delivery.class).unwrap_or_default()
    }

    /// Whether a letter that was replayed goes first in it.
    pub fn is_replay(&self) -> bool {
        self.events.first().is_some_and(|event| event.replay)
    }

    /// Tells it from others, as its first event does.
    pub fn key(&self) -> u64 {
        self.events.first().map_or(0, |event| event.key)
    }

    /// Whether there are calls left for its halves.
    pub fn may_be_split(&self) -> bool {
        self.calls_left.as_ref().is_none_or(|left| left.load(Ordering::Relaxed) >= 2)
    }
}
