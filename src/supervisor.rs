//! The parts that work for as long as the process does: each has a name and is watched. One that fails is started again after growing pauses.
//! One that fails again and again ends the process in order, with a sentence; or it is started again for ever, where others can work without it.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Bounds};
use crate::clock;
use crate::redact;

/// Between a failure and the next start.
const PAUSES: Bounds = Bounds::doubling(Duration::from_secs(1), Duration::from_secs(5), 0.25);
/// After this many failures in a row another start would not help.
const MOST_FAILURES: u32 = 5;
/// A part that has worked for this long is well again: its next failure counts as the first in a row.
const WELL_AFTER: Duration = Duration::from_mins(1);

/// What works for as long as the process does. A function that makes such a future anew is one, too.
pub trait Part: Send + 'static {
    /// Works until it is asked to stop, or nobody needs it any more. After a failure it is called again, and finds in `self` what the
    /// run before it left there.
    ///
    /// # Errors
    /// Why it ended although nobody asked it to. A panic counts as well.
    fn run(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

impl<Start, Running> Part for Start
where
    Start: FnMut() -> Running + Send + 'static,
    Running: Future<Output = Result<(), String>> + Send,
{
    fn run(&mut self) -> impl Future<Output = Result<(), String>> + Send {
        self()
    }
}

/// A part that failed again and again, for which the process ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the part \"{part}\" failed {MOST_FAILURES} times in a row, so the worker has stopped; start it again. The last time {why}; the log has \
     each failure"
)]
pub struct GivenUp {
    /// Its name.
    pub part: String,
    /// Why it failed the last time.
    pub why: String,
}

/// Watches parts. Cheap to clone; all clones know the same.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Parts that do not work now, by name.
    down: BTreeMap<String, Down>,
    given_up: Option<GivenUp>,
}

#[derive(Clone, Copy, Debug)]
enum Down {
    Restarting,
    GivenUp,
}

impl Supervisor {
    /// Runs a part to its end, and starts it again when it fails, until `stop`. Where that does not help the process is to end, see
    /// [`Supervisor::given_up`].
    pub fn keep<P: Part>(
        &self,
        name: &str,
        stop: &CancellationToken,
        part: P,
    ) -> impl Future<Output = ()> + Send + use<P> {
        self.clone().watch(name.to_owned(), stop.clone(), part, Some(MOST_FAILURES))
    }

    /// The same for a part that others can work without: it is started again for ever.
    pub fn keep_trying<P: Part>(
        &self,
        name: &str,
        stop: &CancellationToken,
        part: P,
    ) -> impl Future<Output = ()> + Send + use<P> {
        self.clone().watch(name.to_owned(), stop.clone(), part, None)
    }

    /// The parts that do not work now, a sentence each.
    #[must_use]
    pub fn lacking(&self) -> Vec<String> {
        let sentence = |(part, down): (&String, &Down)| match down {
            Down::Restarting => format!("{part}: failed and is started again; the log says why"),
            Down::GivenUp => format!("{part}: failed again and again, so the worker stops; the log says why"),
        };
        self.state.borrow().down.iter().map(sentence).collect()
    }

    /// Returns once a part was given up.
    pub async fn given_up(&self) -> GivenUp {
        let mut state = self.state.subscribe();
        loop {
            if let Some(given_up) = state.borrow_and_update().given_up.clone() {
                return given_up;
            }
            // Its sender is here.
            drop(state.changed().await);
        }
    }

    async fn watch(self, part: String, stop: CancellationToken, mut running: impl Part, most: Option<u32>) {
        let (mut pauses, mut failures) = (Backoff::new(PAUSES), 0_u32);
        loop {
            let began = clock::now();
            let Some(why) = failure(&mut running).await else { return };
            if stop.is_cancelled() {
                tracing::error!(part, why, "a part failed while it was stopping");
                return;
            }
            if clock::now().saturating_duration_since(began) >= WELL_AFTER {
                (pauses, failures) = (Backoff::new(PAUSES), 0);
            }
            failures = failures.saturating_add(1);
            if most.is_some_and(|most| failures >= most) {
                tracing::error!(part, why, failures, "a part failed again and again: the worker ends");
                self.mark(&part, Some(Down::GivenUp));
                self.state.send_modify(|state| {
                    state.given_up.get_or_insert(GivenUp { part, why });
                });
                return;
            }
            let pause = pauses.pause();
            tracing::error!(part, why, failures, ?pause, "a part failed; it is started again after the pause");
            self.mark(&part, Some(Down::Restarting));
            let paused = stop.run_until_cancelled(clock::sleep(pause)).await;
            self.mark(&part, None);
            if paused.is_none() {
                return;
            }
        }
    }

    fn mark(&self, part: &str, down: Option<Down>) {
        self.state.send_modify(|state| {
            match down {
                Some(down) => state.down.insert(part.to_owned(), down),
                None => state.down.remove(part),
            };
        });
    }
}

/// Why a run of it failed; none where it ended as it should.
async fn failure(part: &mut impl Part) -> Option<String> {
    // What a failed run leaves behind is for the next one to look at.
    match AssertUnwindSafe(async { part.run().await }).catch_unwind().await {
        Ok(ended) => ended.err(),
        Err(panic) => Some(format!("it panicked: {}", said(&*panic))),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    redact::masked(words.unwrap_or("it does not say why"), &[])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const NONE: [&str; 0] = [];

    /// A part that panics at its first `failures` starts and then works; and how often it was started.
    fn failing(failures: u32) -> (impl Part, Arc<AtomicU32>) {
        let started = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&started);
        let part = move || {
            let nth = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(nth >= failures, "start {nth}");
                std::future::pending::<Result<(), String>>().await
            }
        };
        (part, started)
    }

    fn panic(words: &str) -> Result<(), String> {
        panic!("{words}");
    }

    async fn wait(seconds: u64) {
        clock::sleep(Duration::from_secs(seconds)).await;
    }

    fn is_given_up(supervisor: &Supervisor) -> bool {
        supervisor.given_up().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_is_named_until_it_is_started_again() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        let (part, started) = failing(1);
        tokio::spawn(supervisor.keep("publisher", &stop, part));
        tokio::task::yield_now().await;
        assert_eq!(supervisor.lacking(), ["publisher: failed and is started again; the log says why"]);
        wait(2).await;
        assert_eq!(supervisor.lacking(), NONE);
        assert_eq!(started.load(Ordering::Relaxed), 2);
        assert!(!is_given_up(&supervisor));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_again_and_again_ends_the_process_and_the_sentence_has_its_name() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        let (part, started) = failing(u32::MAX);
        let ((), given_up) = tokio::join!(supervisor.keep("publisher", &stop, part), supervisor.given_up());
        assert_eq!(started.load(Ordering::Relaxed), MOST_FAILURES);
        let sentence = given_up.to_string();
        assert!(sentence.starts_with("the part \"publisher\" failed 5 times in a row"), "{sentence}");
        assert!(sentence.contains("it panicked: start 4"), "{sentence}");
        assert_eq!(supervisor.lacking(), ["publisher: failed again and again, so the worker stops; the log says why"]);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_between_starts_grow() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        let (part, _) = failing(u32::MAX);
        let began = clock::now();
        supervisor.keep("publisher", &stop, part).await;
        // 1, 2, 4 and 5 s, each give or take a quarter.
        let took = clock::now().saturating_duration_since(began).as_secs_f64();
        assert!((8.0..14.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_worked_for_long_between_its_failures_is_not_given_up() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        let part = || async {
            clock::sleep(WELL_AFTER).await;
            panic("once a minute")
        };
        tokio::spawn(supervisor.keep("queue watch", &stop, part));
        wait(3_600).await;
        assert!(!is_given_up(&supervisor));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_with_a_reason_has_failed_as_well() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        supervisor.keep("admin server", &stop, || async { Err("its socket is gone".to_owned()) }).await;
        let given_up = supervisor.given_up().await;
        assert_eq!((&*given_up.part, &*given_up.why), ("admin server", "its socket is gone"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_when_it_was_asked_to_is_no_failure() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        let stopped = stop.clone();
        let part = move || {
            let stop = stopped.clone();
            async move {
                stop.cancelled().await;
                Ok(())
            }
        };
        let kept = tokio::spawn(supervisor.keep("publisher", &stop, part));
        wait(1).await;
        assert!(!kept.is_finished());
        stop.cancel();
        assert!(kept.await.is_ok());
        assert_eq!(supervisor.lacking(), NONE);
        assert!(!is_given_up(&supervisor));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_wait_for_a_pause_and_starts_nothing_again() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        let (part, started) = failing(u32::MAX);
        let kept = tokio::spawn(supervisor.keep("publisher", &stop, part));
        tokio::task::yield_now().await;
        let asked = clock::now();
        stop.cancel();
        assert!(kept.await.is_ok());
        assert_eq!((clock::now(), started.load(Ordering::Relaxed)), (asked, 1));
        assert_eq!(supervisor.lacking(), NONE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_can_work_without_is_tried_for_ever() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        let (part, started) = failing(100);
        tokio::spawn(supervisor.keep_trying("receipts", &stop, part));
        wait(3 * 3_600).await;
        assert_eq!(started.load(Ordering::Relaxed), 101);
        assert_eq!(supervisor.lacking(), NONE);
        assert!(!is_given_up(&supervisor));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_in_the_words_of_a_panic_are_masked() {
        let (supervisor, stop) = (Supervisor::default(), CancellationToken::new());
        supervisor.keep("receipts", &stop, || async { panic("no room for ann@example.com") }).await;
        let why = supervisor.given_up().await.why;
        assert!(why.starts_with("it panicked: no room for") && !why.contains("ann@example.com"), "{why}");
    }
}
