//! Jobs that the vendor has accepted and not yet done: their events stay unsettled until the vendor tells what became of them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::attempt::Exchange;
use super::check::{Held, Pending};
use super::growing_cache::growing_cache;
use super::rule::{age, delay};
use super::{Driver, doubt, outcome};
use crate::backoff::{Backoff, Bounds};
use crate::class::Class;
use crate::clock;
use crate::gate::{Answer, GateState, Permit};
use crate::record::history::Watched;
use crate::vendors::{EarlierAttempts, Job};
use crate::verdict::{Reason, Settlement};

/// The first pause before a job is asked about, where nothing is known of how long they take.
const FIRST: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(60);
const PAUSES: Bounds = Bounds { first: FIRST, max: LONGEST, times: 1.6, jitter: 0.0 };
/// A vendor that does not know a job so soon after accepting it may only be slow.
const BELIEVED_AFTER: Duration = Duration::from_secs(60);
/// A vendor has to say so this often in a row, since one such answer may be a proxy's.
const BELIEVED_AT: u32 = 3;
/// Ended jobs that are remembered, for events that come back later than others of their job.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// The jobs of one destination.
#[derive(Debug)]
pub(super) struct Jobs {
    watched: HashMap<String, Watch>,
    /// How many events of `watched` are live, and how many bulk.
    live: usize,
    bulk: usize,
    ended: LruCache<String, Job>,
    /// How long jobs take here.
    usual: Option<Duration>,
}

#[derive(Debug)]
struct Watch {
    events: Vec<Held>,
    began: Instant,
    next: Instant,
    backoff: Backoff,
    out: bool,
    /// How often in a row the vendor said that it does not know it.
    denials: u32,
    /// Whether this worker saw it from its beginning.
    whole: bool,
}

impl Watch {
    /// Events of one class travel together.
    fn class(&self) -> Class {
        self.events.first().map_or(Class::Live, |event| event.delivery.class)
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self { watched: HashMap::new(), live: 0, bulk: 0, ended: growing_cache(REMEMBERED), usual: None }
    }
}

impl Jobs {
    /// Watches `job` for `events`, which it was just accepted with, or which come back to ask about it. When its end is known already,
    /// that is returned with them.
    pub fn watch(
        &mut self,
        job: &Watched,
        events: Vec<Held>,
        accepted: bool,
        now: Instant,
    ) -> Option<(Job, Vec<Held>)> {
        if let Some(end) = self.ended.get(&job.id) {
            return Some((end.clone(), events));
        }
        // Asking a little early once costs less than asking late each time.
        let first = self.usual.map_or(FIRST, |usual| usual.mul_f64(0.9)).clamp(FIRST, LONGEST);
        let next = if accepted { now + first } else { now };
        let watch = self.watched.entry(job.id.clone()).or_insert_with(|| Watch {
            events: Vec::new(),
            began: now,
            next,
            backoff: Backoff::new(PAUSES),
            out: false,
            denials: 0,
            whole: accepted,
        });
        for event in events {
            match event.delivery.class {
                Class::Live => self.live += 1,
                Class::Bulk => self.bulk += 1,
            }
            watch.events.push(event);
        }
        None
    }

    /// These wait no more.
    fn left(&mut self, events: Vec<Held>) -> Vec<Held> {
        for event in &events {
            match event.delivery.class {
                Class::Live => self.live -= 1,
                Class::Bulk => self.bulk -= 1,
            }
        }
        events
    }

    /// The job to ask about now.
    pub fn due(&self, now: Instant) -> Option<&str> {
        self.due_of(Class::Live, now).or_else(|| self.due_of(Class::Bulk, now))
    }

    /// The job of events of that class to ask about now.
    pub fn due_of(&self, class: Class, now: Instant) -> Option<&str> {
        let due = self.watched.iter().filter(|(_, watch)| watch.class() == class && !watch.out && watch.next <= now);
        due.min_by_key(|(_, watch)| watch.next).map(|(id, _)| id.as_str())
    }

    /// The class of the events of that job.
    pub fn class_of(&self, job: &str) -> Class {
        self.watched.get(job).map_or(Class::Live, Watch::class)
    }

    /// When one is due.
    pub fn next(&self) -> Option<Instant> {
        self.watched.values().filter(|watch| !watch.out).map(|watch| watch.next).min()
    }

    /// The question is on its way.
    pub fn sent(&mut self, job: &str) {
        if let Some(watch) = self.watched.get_mut(job) {
            watch.out = true;
        }
    }

    /// It is not done, or no answer came: it is asked about again, after a longer pause.
    pub fn goes_on(&mut self, job: &str, now: Instant) {
        if let Some(watch) = self.watched.get_mut(job) {
            watch.out = false;
            watch.next = now + watch.backoff.pause();
        }
    }

    /// The vendor does not know it: whether that is to be believed, some time after it accepted it and said so several times in a row.
    pub fn is_unknown(&mut self, job: &str, now: Instant) -> bool {
        let Some(watch) = self.watched.get_mut(job) else { return true };
        watch.denials += 1;
        watch.denials >= BELIEVED_AT && now.saturating_duration_since(watch.began) >= BELIEVED_AFTER
    }

    /// The vendor knows it.
    pub fn is_known(&mut self, job: &str) {
        if let Some(watch) = self.watched.get_mut(job) {
            watch.denials = 0;
        }
    }

    /// It is done: its events.
    pub fn ended(&mut self, job: &str, end: Job, now: Instant) -> Vec<Held> {
        self.ended.put(job.to_owned(), end);
        let Some(watch) = self.watched.remove(job) else { return Vec::new() };
        if watch.whole {
            let took = now.saturating_duration_since(watch.began);
            self.usual = Some(self.usual.map_or(took, |usual| (usual * 3 + took) / 4));
        }
        self.left(watch.events)
    }

    /// How many events wait.
    pub fn held(&self) -> usize {
        self.live + self.bulk
    }

    /// How many of that class do. Asked at each wake, while thousands may wait.
    pub fn held_of(&self, class: Class) -> usize {
        match class {
            Class::Live => self.live,
            Class::Bulk => self.bulk,
        }
    }

    /// Takes out the events that are held too long, or whose channel has gone.
    pub fn overdue(&mut self, overdue: impl Fn(&Pending) -> bool) -> Vec<Held> {
        let mut taken = Vec::new();
        for watch in self.watched.values_mut().filter(|watch| watch.events.iter().any(|event| overdue(event))) {
            let (over, kept) = watch.events.drain(..).partition(|event| overdue(event));
            watch.events = kept;
            taken.extend::<Vec<_>>(over);
        }
        self.watched.retain(|_, watch| watch.out || !watch.events.is_empty());
        self.left(taken)
    }

    /// Takes out all of them.
    pub fn drain(&mut self) -> Vec<Held> {
        let drained = self.watched.drain().flat_map(|(_, watch)| watch.events).collect();
        self.left(drained)
    }
}

impl Driver {
    /// The events' end is decided by a job: they stay unsettled until it is known.
    pub(super) fn watch(&mut self, job: &Watched, events: Vec<Held>, accepted: bool) {
        if let Some((end, events)) = self.side.jobs.watch(job, events, accepted, clock::now()) {
            self.settle_job(&end, events);
        }
    }

    /// A question about a job came back.
    pub(super) fn job_answered(&mut self, id: &str, mut permit: Permit, exchange: &Exchange) {
        let now = clock::now();
        let (_, sentence, told) = self.verdict(exchange, false, &EarlierAttempts::default());
        self.note_side_request(("job", id), exchange, &sentence, permit.probe);
        let decided = matches!(told, Answer::Success | Answer::Rejected);
        let job = match (decided, exchange.reply()) {
            (true, Some(reply)) => self.settings.vendor.judge_job(id, reply),
            _ => Job::Running,
        };
        let told = match &job {
            Job::Done { applied: 1.., .. } => Answer::Success,
            Job::Running | Job::Done { .. } | Job::Failed(_) | Job::Unknown(_) if decided => Answer::Undecided,
            Job::Running | Job::Done { .. } | Job::Failed(_) | Job::Unknown(_) => told,
        };
        let parked = self.dispatch.gate.state_beneath() == GateState::Parked;
        permit.is_about(doubt::key(id));
        self.dispatch.tell(permit, told, exchange);
        match job {
            Job::Running => {
                self.side.jobs.is_known(id);
                self.side.jobs.goes_on(id, now);
            }
            Job::Unknown(_) if !self.side.jobs.is_unknown(id, now) => self.side.jobs.goes_on(id, now),
            Job::Done { applied: 0, rejected, ref sentence } if parked && rejected > 0 => {
                // As with events that are refused one by one: a parked destination loses no more.
                self.job_ended(id, Job::Failed(sentence.clone()));
            }
            end @ (Job::Done { .. } | Job::Failed(_) | Job::Unknown(_)) => self.job_ended(id, end),
        }
    }

    pub(super) fn job_ended(&mut self, id: &str, end: Job) {
        let now = clock::now();
        if let Job::Done { applied: 0, rejected, sentence } = &end {
            self.dispatch.gate.rejected(*rejected, sentence, now, clock::wall());
        }
        let events = self.side.jobs.ended(id, end.clone(), now);
        self.settle_job(&end, events);
    }

    /// What a job's end means for its events.
    fn settle_job(&mut self, end: &Job, events: Vec<Held>) {
        let wall = clock::wall();
        for mut pending in events {
            let Some(job) = pending.history.job.take() else { continue };
            let settlement = match end {
                Job::Done { applied, rejected: 0, .. } if *applied >= job.rows => Settlement::Ack,
                Job::Done { applied: 0, sentence, .. } => Settlement::DeadLetter(Reason::Rejected, sentence.clone()),
                Job::Done { sentence, .. } => {
                    Settlement::DeadLetter(Reason::PartlyRejected, in_part(sentence, job.rows))
                }
                Job::Failed(sentence) => match self.retry(&pending.history, sentence, wall) {
                    Settlement::RetryLater(delay) => {
                        pending.history.spend(wall);
                        Settlement::RetryLater(delay)
                    }
                    settlement @ (Settlement::Ack
                    | Settlement::DeadLetter(..)
                    | Settlement::Drop(_)
                    | Settlement::Suppress
                    | Settlement::Later(_)
                    | Settlement::Release) => settlement,
                },
                Job::Unknown(sentence) => Settlement::DeadLetter(Reason::Unconfirmed, unknown(sentence)),
                // Not an end.
                Job::Running => Settlement::Release,
            };
            outcome::job(self.report.telling(&self.settings.name), &pending.tag, &job.id, &settlement);
            if settlement == Settlement::Ack {
                self.settlements.delivered(&pending, self.hours.opened(wall), wall);
            }
            self.settlements.settle(*pending, settlement);
        }
    }

    /// Events whose job has to be asked about later wait at the broker, with the job's number. They are not sent again.
    pub(super) fn ask_later(&mut self, events: Vec<Held>) {
        let (wall, retry) = (clock::wall(), self.settings.retry.clone());
        for pending in events {
            let Some(job) = pending.history.job.clone() else { continue };
            let settlement = if wall.duration_since(job.since) >= age(retry.max_age) {
                let sentence = format!("job {} did not end within {:#}", job.id, age(retry.max_age));
                Settlement::DeadLetter(Reason::Unconfirmed, unknown(&sentence))
            } else {
                Settlement::RetryLater(delay(&retry.delays, 0))
            };
            if matches!(settlement, Settlement::DeadLetter(..)) {
                outcome::job(self.report.telling(&self.settings.name), &pending.tag, &job.id, &settlement);
            }
            self.settlements.settle(*pending, settlement);
        }
    }
}

fn in_part(sentence: &str, rows: u64) -> String {
    format!(
        "{sentence}; the vendor does not say which of the {rows} rows it rejected, so this one may have been applied: look before you replay it"
    )
}

fn unknown(sentence: &str) -> String {
    format!("{sentence}; the vendor had accepted it, so it may have been applied: look before you replay it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> Watched {
        Watched { id: id.to_owned(), rows: 1, since: jiff::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_job_is_asked_about_after_pauses_that_grow() {
        let (mut jobs, now) = (Jobs::default(), crate::clock::now());
        assert!(jobs.watch(&job("1"), Vec::new(), true, now).is_none());
        assert_eq!((jobs.due(now), jobs.next()), (None, Some(now + FIRST)));
        let mut at = now + FIRST;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(jobs.due(at), Some("1"));
            jobs.sent("1");
            assert_eq!((jobs.due(at), jobs.next()), (None, None));
            jobs.goes_on("1", at);
            let next = jobs.next().unwrap();
            pauses.push(next - at);
            at = next;
        }
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1] || pair[1] == LONGEST));
        assert_eq!(pauses.last(), Some(&LONGEST));
    }

    #[test]
    fn the_first_question_comes_when_jobs_here_are_usually_done() {
        let (mut jobs, now) = (Jobs::default(), crate::clock::now());
        jobs.watch(&job("1"), Vec::new(), true, now);
        jobs.ended("1", Job::Running, now + Duration::from_secs(20));
        jobs.watch(&job("2"), Vec::new(), true, now);
        assert_eq!(jobs.next(), Some(now + Duration::from_secs(18)));
    }

    #[test]
    fn events_that_come_back_to_a_job_that_has_ended_learn_its_end() {
        let (mut jobs, now) = (Jobs::default(), crate::clock::now());
        jobs.watch(&job("1"), Vec::new(), true, now);
        let end = Job::Done { applied: 1, rejected: 0, sentence: String::new() };
        jobs.ended("1", end.clone(), now);
        assert_eq!(jobs.watch(&job("1"), Vec::new(), false, now).map(|(end, _)| end), Some(end));
        assert!(jobs.watch(&job("2"), Vec::new(), false, now).is_none());
        assert_eq!(jobs.due(now), Some("2"));
    }
}
