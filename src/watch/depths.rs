//! What lies in each destination's queues, read from the broker every few seconds, and what follows from it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLockWriteGuard};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use prometheus::IntGaugeVec;

use super::Watch;
use super::counts::{BulkDepths, Depths, moved};
use super::deleted::Queues;
use super::forecast::{BacklogSample, Trend};
use crate::broker::DelayQueue;
use crate::class::Class;
use crate::clock;
use crate::dead_letters::{Pile, operation};
use crate::destination::bulk::BulkView;
use crate::destination::{DestinationCall, View};
use crate::metrics;

/// Retry queues and trash change slowly and are many: they are read this often.
const SLOW_EVERY: Duration = Duration::from_secs(30);
/// So many queues that may be missing are asked for in one look: each that is costs a channel, and a line in the broker's log.
const MOST_UNKNOWN: usize = 64;
/// A destination tells what it holds within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What was read, and when.
#[derive(Debug, Default)]
pub(super) struct KnownDepths {
    depths: BTreeMap<String, Depths>,
    courses: BTreeMap<String, Trend>,
    /// Of those whose bulk queue has held something.
    bulk_courses: BTreeMap<String, Trend>,
    slow_read: Option<Instant>,
    /// In the queue of unrouted events; none where that is not known.
    unrouted: Option<u32>,
    pub(super) queues: Queues,
    /// When queues that are not known to be there were last asked for, by destination.
    asked: BTreeMap<String, Asked>,
}

/// What was known when it was asked for queues that are not known to be there. They are asked for again when it is other.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// Whether this worker drives the destination: then it knows which it makes.
    drives: bool,
    /// How many events were put into such queues.
    moved: u64,
    /// Whether the first of each kind is there.
    firsts: Vec<bool>,
}

/// Ready messages by queue.
type Ready = BTreeMap<String, u32>;

impl Watch {
    /// Reads every depth from the broker, for the metrics, the API and the console.
    pub(super) async fn refresh_depths(&self) {
        let (now, wall) = (clock::now(), clock::wall());
        let slow = self.is_slow_turn(now);
        let views = self.roster.views(|_| true).await;
        let ready = self.read(&views, slow).await;
        self.restore(&views).await;
        let unrouted = ready.get(&self.broker.names().unrouted()).copied();
        if let Some(count) = unrouted {
            self.metrics.unrouted_ready.set(i64::from(count));
        }
        let mut depths = BTreeMap::new();
        for view in &views {
            self.tell_bulk(&view.name, &ready).await;
            depths.insert(view.name.clone(), self.depths_now(view, &ready, slow).await);
        }
        let mut known = self.known_depths();
        // Where a queue appears, at the start or with the broker, the slow ones have appeared too.
        let appeared = |(name, read): (&String, &Depths)| {
            read.ready.is_some() && known.depths.get(name).is_none_or(|before| before.ready.is_none())
        };
        if depths.iter().any(appeared) {
            known.slow_read = None;
        }
        known.courses.retain(|name, _| depths.contains_key(name));
        known.bulk_courses.retain(|name, _| depths.contains_key(name));
        known.asked.retain(|name, _| depths.contains_key(name));
        for view in &views {
            let Some(read) = depths.get_mut(&view.name) else { continue };
            let course = known.courses.entry(view.name.clone()).or_default();
            look_ahead(course, read, view, now, wall);
            if read.bulk.ready.is_some_and(|ready| ready > 0) || known.bulk_courses.contains_key(&view.name) {
                look_ahead_bulk(known.bulk_courses.entry(view.name.clone()).or_default(), read, view, now, wall);
            }
            let has_bulk = known.bulk_courses.contains_key(&view.name) || view.bulk.paused.is_some();
            self.show(view, read, wall);
            if has_bulk {
                self.show_bulk(view, read, wall);
            }
        }
        (known.depths, known.unrouted) = (depths, unrouted);
    }

    /// Shows how many events of each destination wait now. One that does not answer keeps its last figure, and holds up no other.
    pub async fn show_waiting(&self) {
        let asked = self.roster.all().into_iter().map(|(_, handle)| async move {
            let Ok(view) = handle.view().await else { return };
            match self.depths_of(&view.name).waiting(view.held_here) {
                Some(count) => {
                    let waiting = self.metrics.waiting.with_label_values(&[&view.name]);
                    waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
                }
                None => drop(self.metrics.waiting.remove_label_values(&[&view.name])),
            }
        });
        drop(tokio::time::timeout(ANSWER_WITHIN, join_all(asked)).await);
    }

    /// What was last read of a destination.
    #[must_use]
    pub fn depths_of(&self, name: &str) -> Depths {
        self.depths.read().unwrap_or_else(PoisonError::into_inner).depths.get(name).copied().unwrap_or_default()
    }

    /// How many events nobody subscribes to, as it was last read; none where that is not known.
    #[must_use]
    pub fn unrouted(&self) -> Option<u32> {
        self.depths.read().unwrap_or_else(PoisonError::into_inner).unrouted
    }

    pub(super) fn known_depths(&self) -> RwLockWriteGuard<'_, KnownDepths> {
        self.depths.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_slow_turn(&self, now: Instant) -> bool {
        let mut known = self.known_depths();
        let due = known.slow_read.is_none_or(|last| now.saturating_duration_since(last) >= SLOW_EVERY);
        if due {
            known.slow_read = Some(now);
        }
        due
    }

    async fn read(&self, views: &[View], slow: bool) -> Ready {
        let names = self.broker.names();
        let (mut queues, mut unknown) = (vec![names.unrouted()], 0);
        self.known_depths().queues.note_made(self.broker.delay_queues());
        // One that does not consume yet may have no queue yet, and each question about a queue that is missing costs a channel.
        let are_there = |view: &&View| view.ready || self.depths_of(&view.name).ready.is_some();
        for view in views.iter().filter(are_there) {
            queues.extend([names.queue(&view.name), names.bulk(&view.name), names.dead(&view.name)]);
            if slow {
                queues.push(names.trash(&view.name));
            }
            let wanted = slow || self.depths_of(&view.name).delayed_may_change(view);
            queues.extend(self.delay_queues_to_ask(view, wanted, slow, &mut unknown));
        }
        // The broker's absence is logged and shown elsewhere; an old depth would mislead, and waiting for it keep the old one.
        if !self.broker.status().borrow().connected() {
            return Ready::new();
        }
        let Ok(counts) = self.broker.depths(&queues).await else { return Ready::new() };
        let read: Vec<(String, Option<u32>)> = queues.into_iter().zip(counts).collect();
        self.known_depths().queues.note(&read);
        read.into_iter().filter_map(|(queue, count)| Some((queue, count?))).collect()
    }

    /// Tells the driver whether its bulk queue holds something: until then it needs no consumer.
    async fn tell_bulk(&self, name: &str, ready: &Ready) {
        let (count, handle) = (ready.get(&self.broker.names().bulk(name)), self.roster.get(name));
        if let (Some(count), Some(handle)) = (count, handle) {
            // One that stops just now takes nothing more.
            let _gone = handle.call(DestinationCall::BulkWaits(*count > 0)).await;
        }
    }

    /// Where events of a destination wait for a time. Those of a kind are there only where its first one is, and are made at first use.
    pub(super) fn delay_queues(&self, name: &str) -> Vec<DelayQueue> {
        let mut queues = self.later_queues(name);
        queues.extend(Class::ALL.into_iter().flat_map(|class| self.retry_queues(name, class)));
        queues
    }

    fn retry_queues(&self, name: &str, class: Class) -> Vec<DelayQueue> {
        let delays = self.destination(name).map(|destination| destination.retry.delays).unwrap_or_default();
        DelayQueue::retries(&self.broker.names().queue_of(name, class), &delays)
    }

    fn later_queues(&self, name: &str) -> Vec<DelayQueue> {
        let names = self.broker.names();
        Class::ALL.into_iter().flat_map(|class| DelayQueue::laters(&names.queue_of(name, class))).collect()
    }

    /// Those of them that are known to be there, where these are `wanted`; and those that may be there by now, which are counted.
    fn delay_queues_to_ask(&self, view: &View, wanted: bool, slow: bool, unknown: &mut usize) -> Vec<String> {
        let queues = self.delay_queues(&view.name);
        let mut known = self.known_depths();
        let is_seen = |queue: &str| known.queues.has_seen(queue);
        let firsts: BTreeMap<&str, bool> =
            queues.iter().map(|queue| (queue.first.0.as_str(), is_seen(&queue.first.0))).collect();
        let now = Asked { drives: view.drives, moved: moved(view), firsts: firsts.values().copied().collect() };
        let looks = known.asked.get(&view.name).is_none_or(|before| {
            (before.drives, &before.firsts) != (now.drives, &now.firsts)
                || (slow && !now.drives && before.moved != now.moved)
        }) && *unknown < MOST_UNKNOWN;
        let may_be_there = |queue: &DelayQueue| queue.name == queue.first.0 || is_seen(&queue.first.0);
        let mut asked = Vec::new();
        for queue in &queues {
            if is_seen(&queue.name) {
                asked.extend(wanted.then(|| queue.name.clone()));
            } else if looks && may_be_there(queue) {
                *unknown += 1;
                asked.push(queue.name.clone());
            }
        }
        if looks {
            known.asked.insert(view.name.clone(), now);
        }
        asked
    }

    async fn depths_now(&self, view: &View, ready: &Ready, slow: bool) -> Depths {
        let (names, name) = (self.broker.names(), view.name.as_str());
        let before = self.depths_of(name);
        let of = |queue: &str| ready.get(queue).copied();
        let dead = of(&names.dead(name));
        let count = |held: usize| u64::try_from(held).unwrap_or(u64::MAX);
        let (held_here, bulk) = (count(view.held_here), of(&names.bulk(name)));
        let mut read = Depths {
            ready: of(&names.queue(name)),
            dead_told: dead,
            held: held_here,
            moved: moved(view),
            dead: believed(dead, &before),
            bulk: BulkDepths { ready: bulk, held: count(view.bulk.held_here), ..BulkDepths::default() },
            ..Depths::default()
        };
        if slow {
            read.trash = of(&names.trash(name));
        } else if read.ready.is_some() {
            read.trash = before.trash;
        }
        if slow || before.delayed_may_change(view) {
            // One that is not there has nothing in it.
            let sum = |queues: Vec<DelayQueue>| {
                let counts = queues.into_iter().filter_map(|queue| of(&queue.name));
                read.ready.map(|_| counts.fold(0_u32, u32::saturating_add))
            };
            let retries = |class| sum(self.retry_queues(name, class));
            let scheduled = sum(self.later_queues(name));
            (read.retry, read.bulk.retry, read.scheduled) = (retries(Class::Live), retries(Class::Bulk), scheduled);
        } else if read.ready.is_some() {
            (read.retry, read.bulk.retry, read.scheduled) = (before.retry, before.bulk.retry, before.scheduled);
        }
        // Whoever reads them, to look or to act, holds them for a while: they are not gone.
        if read.dead.is_some()
            && read.dead < before.dead
            && self.broker.is_read(&names.dead(name)).await.unwrap_or(false)
        {
            let operations = self.operations_on(name).await;
            read.dead = read.dead.max(held(&operations).or(before.dead));
        }
        read
    }

    /// The operations on a destination's letters, in whichever process.
    async fn operations_on(&self, name: &str) -> Vec<operation::OperationState> {
        if self.destination(name).is_none() {
            return Vec::new();
        }
        self.operations.everywhere(&self.broker, Some(name)).await
    }

    fn show(&self, view: &View, read: &Depths, wall: Timestamp) {
        let metrics = &self.metrics;
        let set = |gauges: &IntGaugeVec, count: Option<u32>| match count {
            Some(count) => gauges.with_label_values(&[&view.name]).set(i64::from(count)),
            None => drop(gauges.remove_label_values(&[&view.name])),
        };
        set(&metrics.queue_ready, read.ready);
        set(&metrics.retrying, read.retry);
        set(&metrics.scheduled, read.scheduled);
        set(&metrics.dead_letters_ready, read.dead);
        set(&metrics.trash_ready, read.trash);
        let set = |gauges: &prometheus::GaugeVec, value: f64| gauges.with_label_values(&[&view.name]).set(value);
        set(&metrics.oldest_event_seconds, read.oldest.map_or(0.0, |oldest| age(oldest, wall)));
        set(&metrics.day_budget_runs_out_timestamp_seconds, read.budget_runs_out.map_or(0.0, metrics::seconds));
        set(&metrics.day_ends_timestamp_seconds, metrics::seconds(view.day_ends));
        match read.drained_in {
            Some(seconds) => set(&metrics.drain_seconds, seconds),
            None => drop(metrics.drain_seconds.remove_label_values(&[&view.name])),
        }
    }
}

impl Watch {
    fn show_bulk(&self, view: &View, read: &Depths, wall: Timestamp) {
        let (metrics, bulk) = (&self.metrics, &read.bulk);
        for (gauges, count) in [(&metrics.bulk_ready, bulk.ready), (&metrics.bulk_retrying, bulk.retry)] {
            match count {
                Some(count) => gauges.with_label_values(&[&view.name]).set(i64::from(count)),
                None => drop(gauges.remove_label_values(&[&view.name])),
            }
        }
        metrics.bulk_paused.with_label_values(&[&view.name]).set(i64::from(view.bulk.paused.is_some()));
        let oldest = bulk.oldest.map_or(0.0, |oldest| age(oldest, wall));
        metrics.bulk_oldest_event_seconds.with_label_values(&[&view.name]).set(oldest);
        match bulk.drained_in {
            Some(seconds) => metrics.bulk_drain_seconds.with_label_values(&[&view.name]).set(seconds),
            None => drop(metrics.bulk_drain_seconds.remove_label_values(&[&view.name])),
        }
    }
}

/// Whoever looks at letters holds them for a moment, and a broker may tell of that moment until its next count, seconds later. They are not
/// gone: that they are fewer is believed when it is told twice.
fn believed(dead: Option<u32>, before: &Depths) -> Option<u32> {
    let is_doubtful = dead.is_some() && dead < before.dead && before.dead_told >= before.dead;
    if is_doubtful { before.dead } else { dead }
}

/// How many letters lie there while an operation acts on some of them; those that died meanwhile aside. None where none does.
fn held(operations: &[operation::OperationState]) -> Option<u32> {
    let acting = operations.iter().filter(|state| !state.phase.is_over() && Pile::of(state.act) == Pile::Dead);
    let lie_there = |state: &operation::OperationState| {
        let left = (u64::from(state.there) + state.dead_again).saturating_sub(state.moved + state.missing);
        u32::try_from(left).unwrap_or(u32::MAX)
    };
    acting.filter(|state| state.there > 0).map(lie_there).min()
}

/// Adds to `read` what follows from the destination's last minutes.
fn look_ahead(course: &mut Trend, read: &mut Depths, view: &View, now: Instant, wall: Timestamp) {
    if let Some(ready) = read.ready {
        let waiting = u64::from(ready).saturating_add(read.held.saturating_sub(read.bulk.held));
        let View { day_used, bulk: BulkView { left, requests, carried, .. }, .. } = view.clone();
        let (left, requests) = (view.left.saturating_sub(left), view.requests.saturating_sub(requests));
        let carried = view.carried - carried_by(carried);
        course.note(BacklogSample { at: now, waiting, left, requests, carried, day_used });
        read.drained_in = course.drained_in(view.rate, view.together);
    }
    read.budget_runs_out = course.runs_out(view.day_limit, view.day_ends, wall);
    // What waits for the window to open is not late, and nobody has to wonder when it is gone.
    if view.quiet_until.is_some() {
        course.rests();
        (read.drained_in, read.oldest) = (read.drained_in.filter(|left| *left == 0.0), None);
        return;
    }
    let unread = view.held_here == view.bulk.held_here || view.unread > 0;
    read.oldest = if read.ready.is_some() { course.oldest(view.oldest, unread, wall) } else { view.oldest };
}

/// The same for bulk events.
fn look_ahead_bulk(course: &mut Trend, read: &mut Depths, view: &View, now: Instant, wall: Timestamp) {
    let bulk = &view.bulk;
    if view.quiet_until.is_some() {
        course.rests();
        (read.bulk.drained_in, read.bulk.oldest) = (None, None);
        return;
    }
    if let Some(ready) = read.bulk.ready {
        let waiting = u64::from(ready).saturating_add(read.bulk.held);
        let (left, requests, carried) = (bulk.left, bulk.requests, carried_by(bulk.carried));
        course.note(BacklogSample { at: now, waiting, left, requests, carried, day_used: view.day_used });
        let rate = [view.rate, bulk.rate].into_iter().flatten().min_by(f64::total_cmp);
        read.bulk.drained_in = if bulk.paused.is_some() && waiting > 0 {
            Some(f64::INFINITY)
        } else {
            course.drained_in(rate, view.together)
        };
    }
    let oldest = bulk.oldest;
    read.bulk.oldest =
        if read.bulk.ready.is_some() { course.oldest(oldest, bulk.held_here == 0, wall) } else { oldest };
}

fn carried_by(events: u64) -> f64 {
    u32::try_from(events).map_or(f64::from(u32::MAX), f64::from)
}

/// Seconds since then; 0 for what is to come.
pub(crate) fn age(then: Timestamp, wall: Timestamp) -> f64 {
    wall.duration_since(then).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_what_is_queued_held_and_retrying_together() {
        let depths = |ready, retry, held| Depths { ready, retry, held, ..Depths::default() };
        assert_eq!(depths(Some(15), Some(7), 10).waiting(10), Some(32));
        assert_eq!(depths(Some(50), Some(0), 1).waiting(1), Some(51));
        assert_eq!(depths(Some(0), None, 51).waiting(51), Some(51), "retry queues that are not there hold nothing");
        assert_eq!(
            depths(Some(25), Some(0), 0).waiting(25),
            Some(25),
            "what was taken out of the queue since waits once"
        );
        assert_eq!(
            depths(Some(0), Some(0), 0).waiting(48),
            Some(48),
            "what is held waits, whenever the queue was read"
        );
        assert_eq!(depths(None, Some(7), 3).waiting(3), None);
    }

    #[test]
    fn letters_that_somebody_looks_at_are_not_gone() {
        let shown = |told: &[Option<u32>]| {
            let mut before = Depths::default();
            let mut shown = Vec::new();
            for told in told {
                before = Depths { dead: believed(*told, &before), dead_told: *told, ..before };
                shown.push(before.dead);
            }
            shown
        };
        for (told, expected) in [
            ([Some(4), Some(0), Some(4)], [Some(4), Some(4), Some(4)]),
            ([Some(4), Some(0), Some(0)], [Some(4), Some(4), Some(0)]),
            ([Some(4), Some(3), Some(2)], [Some(4), Some(4), Some(2)]),
            ([Some(4), Some(6), Some(5)], [Some(4), Some(6), Some(6)]),
            // What cannot be read is not known.
            ([Some(4), None, Some(0)], [Some(4), None, Some(0)]),
        ] {
            assert_eq!(shown(&told), expected);
        }
    }
}
