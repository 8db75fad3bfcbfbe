//! Threads with large stacks, for what needs more than a caller has: reading expressions, and evaluating hard ones. They are
//! started when the first expression is compiled, at load, so that no event ever needs a thread that the machine does not give.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many there are: hard evaluations are rare, and each takes some milliseconds.
const THREADS: usize = 2;
/// Bytes of stack. Only what is used of it becomes memory.
pub(super) const STACK: usize = 64 * 1024 * 1024;

type Job = Box<dyn FnOnce() + Send>;

static POOL: Mutex<Option<Sender<Job>>> = Mutex::new(None);

/// Does `work` on one of the threads, and waits for it.
///
/// # Errors
/// A sentence: the machine gives no thread. Once one is there, it stays.
pub(super) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (answer, answered) = mpsc::channel();
    let job: Job = Box::new(move || {
        // The caller waits.
        let _gone = answer.send(work());
    });
    let jobs = started()?;
    jobs.send(job).map_err(|_| lost())?;
    answered.recv().map_err(|_| lost())
}

fn lost() -> String {
    "a thread for jq failed; this is a bug in Sluice, and its log says where".to_owned()
}

fn started() -> Result<Sender<Job>, String> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(jobs) = pool.as_ref() {
        return Ok(jobs.clone());
    }
    let (jobs, waiting) = mpsc::channel::<Job>();
    let waiting = Arc::new(Mutex::new(waiting));
    for nth in 0..THREADS {
        let waiting = Arc::clone(&waiting);
        let thread = thread::Builder::new().name("jq".to_owned()).stack_size(STACK).spawn(move || work(&waiting));
        match thread {
            Ok(_) => {}
            // One does the work of both.
            Err(_) if nth > 0 => break,
            Err(error) => return Err(format!("the machine gives no thread for jq: {error}")),
        }
    }
    *pool = Some(jobs.clone());
    Ok(jobs)
}

/// Does one job after another, for as long as the process runs.
fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            // If it panics, no answer comes, which tells the caller; the thread stays.
            Ok(job) => drop(panic::catch_unwind(AssertUnwindSafe(job))),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_outlive_what_panics_on_them() {
        for _ in 0..=THREADS {
            let failed = run(|| -> u32 { panic!("a bug") });
            assert!(failed.is_err_and(|why| why.contains("bug in Sluice")));
        }
        assert_eq!(run(|| 1), Ok(1));
    }
}
