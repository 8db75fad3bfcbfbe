//! The jobs that uploads become: an upload comes in, an id goes out, and by that id how far the job is.
//! Pure: the time is an argument. What the documentation leaves open (how a failed job looks) is made up here.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::answers;
use crate::sandbox::api::{self, Answer};
use crate::sandbox::ledger::EventId;

/// The first id, as in the documentation.
const FIRST_ID: u64 = 15_937_380;
/// Jobs remembered; older ones are expired.
const JOBS: u64 = 100_000;

/// The jobs of an account.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: HashMap<u64, Job>,
    count: u64,
}

#[derive(Debug)]
struct Job {
    destination: String,
    since: Duration,
    appended: u64,
    rejected: u64,
    fails: bool,
}

impl Jobs {
    /// Begins a job at `now`, which appends and rejects so many rows, or fails.
    pub fn begin(&mut self, destination: &str, now: Duration, appended: u64, rejected: u64, fails: bool) -> String {
        let id = FIRST_ID + self.count;
        self.count += 1;
        self.jobs.remove(&id.saturating_sub(JOBS));
        let job = Job { destination: destination.to_owned(), since: now, appended, rejected, fails };
        self.jobs.insert(id, job);
        id.to_string()
    }

    /// The answer to `GET …/{id}/status`, where a job takes `time`: pending for the first half, running for the second.
    pub fn status(&self, id: &str, now: Duration, time: Duration) -> Option<Answer> {
        let job = id.parse().ok().and_then(|id| self.jobs.get(&id))?;
        let elapsed = now.saturating_sub(job.since);
        let body = if elapsed >= time {
            job.result()
        } else if elapsed >= time / 2 {
            json!({ "status": "The job is running" })
        } else {
            json!({ "status": "The job is pending" })
        };
        Some(api::json(StatusCode::OK, body.to_string()))
    }

    /// The answer for an id that no job has.
    pub fn unknown() -> Answer {
        answers::unknown_job()
    }

    /// How many jobs were begun.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Job {
    fn result(&self) -> Value {
        let (status, details) = if self.fails { ("failed", "error") } else { ("success", "ok") };
        let rows = self.appended + self.rejected;
        let (appended, rejected) = if self.fails { (0, rows) } else { (self.appended, self.rejected) };
        let details = json!({
            "status": details,
            "customEventsId": EventId::of(self.destination.as_bytes()).short(),
            "appendCount": appended,
            "rejectedCount": rejected,
        });
        json!({ "status": status, "jobDetails": details.to_string(), "details": details })
    }
}
