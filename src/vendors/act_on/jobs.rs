//! Act-On's jobs: what an accepted upload was given, and what the answer to a question about it says.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::replies::{error_code, message, sentence, text};
use crate::vendors::{Job, Reply, answer};

/// "Invalid or expired Job Id"
const NO_SUCH_JOB: &str = "10017";
/// What RFC 3986 leaves as it is in a path.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The job that an accepted upload was given.
pub(super) fn job(reply: &Reply) -> Option<String> {
    text(&serde_json::from_slice(&reply.body).ok()?, "jobId")
}

/// The path that asks for a job's state.
pub(super) fn path(job: &str) -> String {
    format!("/api/1/customevents/{}/status", utf8_percent_encode(job, UNRESERVED))
}

/// Whether a success is a job's state, and not the answer to an upload.
pub(super) fn is_state(body: &Value) -> bool {
    body.get("jobId").is_none()
        && (details(body).is_some() || text(body, "status").is_some_and(|text| is_running(&text)))
}

/// What a job's state says. A code other than "no such job" is taken for the job's own failure.
pub(super) fn judge(job: &str, reply: &Reply) -> Job {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let job = answer::cut(job);
    let said = || format!("job {job}: {}", sentence(reply, &message(&reply.body)));
    match error_code(&body) {
        Some(code) if code != NO_SUCH_JOB => return Job::Failed(said()),
        Some(_) => return Job::Unknown(said()),
        None if !reply.status.is_success() => return Job::Unknown(said()),
        None => {}
    }
    let status = text(&body, "status").unwrap_or_default();
    let details = details(&body).unwrap_or_default();
    let state = text(&details, "status").unwrap_or_default();
    if is_running(&status) || is_running(&state) {
        return Job::Running;
    }
    let (applied, rejected) = (count(&details, "appendCount"), count(&details, "rejectedCount").unwrap_or_default());
    let counts = format!("{} rows applied, {rejected} rejected", applied.unwrap_or_default());
    let is_done = matches!(status.as_str(), "" | "success") && matches!(state.as_str(), "ok" | "success");
    match applied {
        Some(applied) if is_done => Job::Done { applied, rejected, sentence: format!("job {job}: {counts}") },
        None if is_done => Job::Unknown(format!("job {job} is done, and Act-On does not say how many rows it applied")),
        None | Some(0) => Job::Failed(format!("job {job} failed: {}", message(&reply.body))),
        // Sending everything again would repeat what was applied: the rest is for a person.
        Some(applied) => {
            let sentence = format!("job {job} failed on its way: {counts}");
            Job::Done { applied, rejected: rejected.max(1), sentence }
        }
    }
}

/// The job's details: `details`, else `jobDetails`, which is JSON within a string.
fn details(body: &Value) -> Option<Value> {
    let as_string = || serde_json::from_str(body.get("jobDetails")?.as_str()?).ok();
    let objects = [body.get("details"), body.get("jobDetails")].into_iter().flatten();
    objects.into_iter().find(|value| value.is_object()).cloned().or_else(as_string)
}

/// "The job is running", "The job is pending".
fn is_running(status: &str) -> bool {
    let status = status.to_ascii_lowercase();
    status.ends_with("running") || status.ends_with("pending")
}

fn count(details: &Value, name: &str) -> Option<u64> {
    text(details, name)?.trim().parse().ok()
}
