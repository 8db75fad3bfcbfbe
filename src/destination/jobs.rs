//! Jobs that the vendor has accepted and not yet done: their events stay unsettled until the vendor tells what became of them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::intake::{Held, Pending};
use crate::record::history::Watched;
use crate::vendors::Job;

/// The first pause before a job is asked about, where nothing is known of how long they take.
const FIRST: Duration = Duration::from_secs(1);
/// Each pause is longer than the one before by this factor, up to the longest.
const GROWTH: f64 = 1.6;
const LONGEST: Duration = Duration::from_secs(60);
/// A vendor that does not know a job so soon after accepting it may only be slow.
const BELIEVED_AFTER: Duration = Duration::from_secs(60);
/// And one such answer among others may be a proxy's.
const BELIEVED_AT: u32 = 3;
/// Ended jobs that are remembered, for events that come back later than others of their job.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// The jobs of one destination.
#[derive(Debug)]
pub(super) struct Jobs {
    watched: HashMap<String, Watch>,
    ended: LruCache<String, Job>,
    /// How long jobs take here.
    usual: Option<Duration>,
}

#[derive(Debug)]
struct Watch {
    events: Vec<Held>,
    began: Instant,
    next: Instant,
    pause: Duration,
    out: bool,
    /// How often in a row the vendor said that it does not know it.
    denials: u32,
    /// Whether this worker saw it from its beginning.
    whole: bool,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { watched: HashMap::new(), ended: LruCache::new(REMEMBERED), usual: None }
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
            pause: FIRST,
            out: false,
            denials: 0,
            whole: accepted,
        });
        watch.events.extend(events);
        None
    }

    /// The job to ask about now.
    pub fn due(&self, now: Instant) -> Option<&str> {
        let due = self.watched.iter().filter(|(_, watch)| !watch.out && watch.next <= now);
        due.min_by_key(|(_, watch)| watch.next).map(|(id, _)| id.as_str())
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
            watch.next = now + watch.pause;
            watch.pause = watch.pause.mul_f64(GROWTH).min(LONGEST);
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
        watch.events
    }

    /// How many events wait.
    pub fn held(&self) -> usize {
        self.watched.values().map(|watch| watch.events.len()).sum()
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
        taken
    }

    /// Takes out all of them.
    pub fn drain(&mut self) -> Vec<Held> {
        self.watched.drain().flat_map(|(_, watch)| watch.events).collect()
    }
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
