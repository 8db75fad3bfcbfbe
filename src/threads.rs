//! Threads with large stacks, for hard work: a few, started when there is some and ended when there has been none for a while. So hard work holds
//! up no thread of the runtime, and costs nothing where there is none.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::oneshot;

use crate::backoff::{Backoff, Bounds};
use crate::clock;

/// How many there are at most: hard work is rare, and each piece takes some milliseconds.
const MOST: usize = 2;
/// Bytes of stack. Only what is used of it becomes memory.
pub const STACK: usize = 64 * 1024 * 1024;
/// A thread without work ends after this time, and gives its stack back.
const IDLE: Duration = Duration::from_secs(10);
/// How much they give way to other threads, from 0 to 19: a tenth of a processor where the others want all of it.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
/// Whoever can wait tries so often to have a thread, with these pauses: some ten seconds in all.
const TRIES: u32 = 8;
const PAUSES: Bounds = Bounds::doubling(Duration::from_millis(100), Duration::from_secs(5), 0.0);

/// A piece of work. What it finds out it tells by itself.
pub type Job = Box<dyn FnOnce() + Send>;

/// The machine gives no thread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no thread left for hard jq expressions (ulimit -u, ulimit -v, or a limit of processes or memory): {0}")]
pub struct NoThread(String);

impl NoThread {
    /// For what the system said.
    #[must_use]
    pub fn new(said: impl ToString) -> Self {
        Self(said.to_string())
    }
}

/// Work that could not begin: what it is, and why not.
pub type NotBegun = (Job, NoThread);

/// Where hard work is done. Cheap to clone.
#[derive(Clone)]
pub struct Threads(Arc<dyn Fn(Job) -> Result<(), NotBegun> + Send + Sync>);

impl Threads {
    /// Those of this process, which all share.
    #[must_use]
    pub fn shared() -> Self {
        Self::by(|job| POOL.submit(job))
    }

    /// Those to which `submit` leads.
    #[must_use]
    pub fn by(submit: impl Fn(Job) -> Result<(), NotBegun> + Send + Sync + 'static) -> Self {
        Self(Arc::new(submit))
    }

    /// Begins `work`; what comes out has its result, or an error where it panicked.
    ///
    /// # Errors
    /// [`NoThread`]: the machine gives none.
    pub fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, NoThread> {
        let (job, result) = job(work);
        match (self.0)(job) {
            Ok(()) => Ok(result),
            Err((_, lack)) => Err(lack),
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Threads")
    }
}

/// Does `work` on one of the threads, while the task that asks waits and its thread goes on. `None`: it panicked.
///
/// # Errors
/// [`NoThread`]: the machine gives none, for some ten seconds.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>, NoThread> {
    let (mut job, result) = job(work);
    let mut pauses = Backoff::new(PAUSES);
    for left in (0..TRIES).rev() {
        match POOL.submit(job) {
            Ok(()) => break,
            Err((_, lack)) if left == 0 => return Err(lack),
            Err((again, _)) => job = again,
        }
        clock::sleep(pauses.pause()).await;
    }
    Ok(result.await.ok())
}

/// Does `work` on one of the threads, and waits for it: not for a thread of the worker's runtime.
///
/// # Errors
/// A sentence: the machine gives no thread, or it panicked.
pub fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    if is_one() {
        return Ok(work());
    }
    let (answer, answered) = mpsc::channel();
    // The caller waits.
    let job = Box::new(move || drop(answer.send(work())));
    POOL.submit(job).map_err(|(_, lack)| lack.to_string())?;
    answered.recv().map_err(|_| failed())
}

/// Does `work` on a thread of its own, and waits for it: for what is short, and must not wait until hard work is done.
///
/// # Errors
/// As [`run`].
pub fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = builder().spawn_scoped(scope, work).map_err(|error| NoThread::new(error).to_string())?;
        thread.join().map_err(|_| failed())
    })
}

/// Whether this is one of the threads: what is hard may be done here and now.
pub fn is_one() -> bool {
    IS_ONE.get()
}

thread_local! {
    static IS_ONE: Cell<bool> = const { Cell::new(false) };
}

fn failed() -> String {
    "a thread for jq failed; this is a bug in Sluice, and its log says where".to_owned()
}

fn job<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> (Job, oneshot::Receiver<T>) {
    let (answer, result) = oneshot::channel();
    // Whoever does not wait any more needs no answer.
    (Box::new(move || drop(answer.send(work()))), result)
}

fn builder() -> thread::Builder {
    thread::Builder::new().name("jq".to_owned()).stack_size(STACK)
}

/// Lets all other threads have the processor first: what is hard may take longer, and whoever is easy does not wait for it.
fn give_way() {
    // Elsewhere than on Linux this would be said of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = getpriority_process(None).and_then(|now| setpriority_process(None, now.max(NICE))) {
        tracing::debug!(%error, "hard jq expressions run with the priority of everything else");
    }
}

struct Pool {
    queue: Mutex<Queue>,
    more: Condvar,
}

struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static POOL: Pool =
    Pool { queue: Mutex::new(Queue { jobs: VecDeque::new(), threads: 0, idle: 0 }), more: Condvar::new() };

impl Pool {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&'static self, job: Job) -> Result<(), NotBegun> {
        let mut queue = self.queue();
        // Those that wait for work may have been woken for others.
        if queue.idle <= queue.jobs.len() && queue.threads < MOST {
            match builder().spawn(|| self.work()) {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => return Err((job, NoThread::new(error))),
                // Those that are there do the work.
                Err(_) => {}
            }
        }
        queue.jobs.push_back(job);
        self.more.notify_one();
        Ok(())
    }

    /// Does one job after another, until there has been none for a while.
    fn work(&self) {
        IS_ONE.set(true);
        give_way();
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                // If it panics, no answer comes, which tells the caller; the thread stays.
                drop(catch_unwind(AssertUnwindSafe(job)));
                queue = self.queue();
                continue;
            }
            queue.idle += 1;
            let (woken, waited) = self.more.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_outlive_what_panics_on_them() {
        for _ in 0..=MOST {
            let failed = run(|| -> u32 { panic!("a bug") });
            assert!(failed.is_err_and(|why| why.contains("bug in Sluice")));
        }
        assert_eq!(run(|| 1), Ok(1));
        assert!(alone(|| -> u32 { panic!("a bug") }).is_err_and(|why| why.contains("bug in Sluice")));
    }

    #[test]
    fn there_are_few_of_them_and_what_is_more_waits_its_turn() {
        let names = std::sync::Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| names.lock().unwrap().push(run(|| thread::current().id()).unwrap()));
            }
        });
        let mut ids = names.into_inner().unwrap();
        assert_eq!(ids.len(), 20);
        ids.sort_by_key(|id| format!("{id:?}"));
        ids.dedup();
        assert!((1..=MOST).contains(&ids.len()), "{ids:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn they_give_way_to_the_others_and_nobody_else_does() {
        let priority = || getpriority_process(None).unwrap();
        let before = priority();
        assert_eq!(run(priority).unwrap(), before.max(NICE));
        assert_eq!(priority(), before);
    }

    #[test]
    fn work_on_one_of_them_asks_for_no_other() {
        assert_eq!(run(|| (is_one(), run(is_one))), Ok((true, Ok(true))));
        assert!(!is_one());
    }

    #[tokio::test]
    async fn a_task_waits_for_it_without_its_thread() {
        let (ask, asked) = mpsc::channel();
        let done = beside(move || asked.recv().is_ok());
        // On one thread: were that held up, nobody would answer.
        let (done, ()) = tokio::join!(done, async { ask.send(()).unwrap() });
        assert_eq!(done, Ok(Some(true)));
        assert_eq!(beside(|| -> u32 { panic!("a bug") }).await, Ok(None));
    }
}
