//! The causes of dead letters and the routing keys of unrouted events: read from their queues when somebody looks, and kept while nothing
//! changes there. A look waits a few seconds; what takes longer is there at the next one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::broker::Broker;
use crate::clock;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::groups::{Group, Groups};
use crate::dead_letters::look::{LookStep, no_progress};
use crate::dead_letters::{DeadLetters, Pile};
use crate::unrouted::{Unrouted, UnroutedGroup};

/// Queues that are read at the same time.
const AT_ONCE: usize = 4;
/// How long a read waits for somebody else's.
const PATIENCE: Duration = Duration::from_secs(15);
/// What nothing seems to change is read again after so long: an edit leaves the number of letters as it is.
const KEPT: Duration = Duration::from_mins(1);
/// Where nobody looks, what changes is read again after so long.
const UNASKED: Duration = Duration::from_secs(20);
/// How long a look waits for what has not been read yet.
const READ_WITHIN: Duration = Duration::from_secs(4);
/// What changes is read again after so long.
const CHANGING: Duration = Duration::from_secs(2);
/// Of all time at most this part is spent on reading a queue.
const DUTY: u32 = 20;
/// Groups of a destination that are told; the largest.
const MOST_GROUPS: usize = 200;

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A person.
    Asked,
    /// Nobody: a webhook may have to be told.
    Unasked,
}

/// A destination with dead letters.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub destination: String,
    /// How many there are.
    pub count: u32,
    /// How many ever died, as far as is known.
    pub died: u64,
}

/// What is known of the causes.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub groups: BTreeMap<String, Arc<Vec<Group>>>,
    pub unrouted: Arc<Vec<UnroutedGroup>>,
    /// What is not known, a sentence each.
    pub trouble: Vec<String>,
}

/// What was read of a queue, or is being read.
#[derive(Debug)]
struct Copy<T> {
    content: Option<Arc<Vec<T>>>,
    /// The counts that it was read for.
    stamp: (u32, u64),
    read: Option<Instant>,
    took: Duration,
    trouble: Option<String>,
    is_reading: bool,
}

impl<T> Default for Copy<T> {
    fn default() -> Self {
        Self { content: None, stamp: (0, 0), read: None, took: Duration::ZERO, trouble: None, is_reading: false }
    }
}

impl<T> Copy<T> {
    fn is_fresh(&self, stamp: (u32, u64), now: Instant, look: Look) -> bool {
        let Some(read) = self.read else { return false };
        let is_same = self.stamp == stamp && self.trouble.is_none();
        let kept = match (look, is_same) {
            (Look::Unasked, true) => return true,
            (Look::Unasked, false) => UNASKED,
            (Look::Asked, true) => KEPT,
            (Look::Asked, false) => CHANGING,
        };
        now.saturating_duration_since(read) < kept.max(self.took * DUTY)
    }

    /// Takes note that it is read from now on, unless it is fresh or being read.
    fn begins(&mut self, stamp: (u32, u64), now: Instant, look: Look) -> bool {
        let begins = !self.is_reading && !self.is_fresh(stamp, now, look);
        self.is_reading |= begins;
        begins
    }

    fn ended(&mut self, read: Result<Vec<T>, String>, stamp: (u32, u64), began: Instant) {
        let now = clock::now();
        (self.stamp, self.read, self.is_reading) = (stamp, Some(now), false);
        self.took = now.saturating_duration_since(began);
        match read {
            Ok(content) => (self.content, self.trouble) = (Some(Arc::new(content)), None),
            Err(trouble) => self.trouble = Some(trouble),
        }
    }
}

#[derive(Debug, Default)]
struct Copies {
    letters: BTreeMap<String, Copy<Group>>,
    unrouted: Copy<UnroutedGroup>,
}

/// Reads queues, and keeps what was read.
#[derive(Debug)]
pub(super) struct Causes {
    broker: Broker,
    max_event_bytes: usize,
    copies: Mutex<Copies>,
    slots: Semaphore,
}

impl Causes {
    pub fn new(broker: Broker, max_event_bytes: usize) -> Arc<Self> {
        Arc::new(Self { broker, max_event_bytes, copies: Mutex::default(), slots: Semaphore::new(AT_ONCE) })
    }

    /// The causes of the dead letters of those destinations, and of unrouted events if there are any; waits some seconds for what has to be
    /// read.
    pub async fn known(self: &Arc<Self>, wanted: Vec<Wanted>, unrouted: Option<u32>, look: Look) -> Known {
        if self.broker.status().borrow().connected() {
            let mut reads = Vec::new();
            let now = clock::now();
            for wanted in &wanted {
                let stamp = (wanted.count, wanted.died);
                if self.copies().letters.entry(wanted.destination.clone()).or_default().begins(stamp, now, look) {
                    reads.push(tokio::spawn(Arc::clone(self).read_letters(wanted.clone())));
                }
            }
            if let Some(count) = unrouted.filter(|count| *count > 0)
                && self.copies().unrouted.begins((count, 0), now, look)
            {
                reads.push(tokio::spawn(Arc::clone(self).read_unrouted(count)));
            }
            drop(tokio::time::timeout(READ_WITHIN, join_all(reads)).await);
        }
        let mut copies = self.copies();
        // Whoever asks unasked means some of them.
        if look == Look::Asked {
            let is_wanted = |name: &String| wanted.iter().any(|wanted| wanted.destination == *name);
            copies.letters.retain(|name, copy| copy.is_reading || is_wanted(name));
        }
        let mut known = Known::default();
        for Wanted { destination, count, .. } in wanted {
            let copy = copies.letters.entry(destination.clone()).or_default();
            match (&copy.content, &copy.trouble) {
                (_, Some(trouble)) => known.trouble.push(format!("dead letters of {destination}: {trouble}")),
                (None, None) => {
                    let sentence = format!("the {count} dead letters of {destination} are being read: look again soon");
                    known.trouble.push(sentence);
                }
                (Some(_), None) => {}
            }
            if let Some(content) = &copy.content {
                known.groups.insert(destination, Arc::clone(content));
            }
        }
        let unrouted_trouble = copies.unrouted.trouble.iter().filter(|_| unrouted.is_some_and(|count| count > 0));
        known.trouble.extend(unrouted_trouble.map(|trouble| format!("unrouted events: {trouble}")));
        known.unrouted = copies.unrouted.content.clone().unwrap_or_default();
        known
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_letters(self: Arc<Self>, wanted: Wanted) {
        let _slot = self.slots.acquire().await;
        let (began, mut groups) = (clock::now(), Groups::default());
        let letters =
            DeadLetters { broker: self.broker.clone(), destination: wanted.destination.clone(), history: None };
        // One that asks for nothing can always be compiled.
        let Ok(all) = Filter::default().compile(clock::wall()) else { return };
        let seen = letters.look(Pile::Dead, &all, PATIENCE, &no_progress, |step| {
            match step {
                LookStep::Anew => groups = Groups::default(),
                LookStep::Letter(letter, _) => groups.add(letter),
            }
            ControlFlow::Continue(())
        });
        let read = seen.await.map_err(|error| error.to_string());
        let read = read.map(|_| groups.finish().into_iter().take(MOST_GROUPS).collect());
        let mut copies = self.copies();
        let copy = copies.letters.entry(wanted.destination).or_default();
        copy.ended(read, (wanted.count, wanted.died), began);
    }

    async fn read_unrouted(self: Arc<Self>, count: u32) {
        let _slot = self.slots.acquire().await;
        let began = clock::now();
        let unrouted = Unrouted { broker: self.broker.clone(), max_event_bytes: self.max_event_bytes, history: None };
        let read = unrouted.groups(PATIENCE).await.map_err(|error| error.to_string());
        self.copies().unrouted.ended(read.map(|groups| groups.sorted()), (count, 0), began);
    }
}
