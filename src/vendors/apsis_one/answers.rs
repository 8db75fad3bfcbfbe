//! Answers to verdicts: by status, with the words of the problem body; of a 207 item by item.

use ::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::vendors::{Reply, answer};
use crate::verdict::Verdict;

/// The vendor's name in sentences.
const NAME: &str = "APSIS One";

/// `{"title": …, "status": …, "detail": …}`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

/// What an answer means for all of a request.
pub(super) fn whole(reply: &Reply) -> Verdict {
    answer::by_status(reply.status, || sentence(reply))
}

/// "APSIS One answered 400: TITLE: DETAIL".
fn sentence(reply: &Reply) -> String {
    answer::of_reply(NAME, reply, &message(&reply.body))
}

fn message(body: &[u8]) -> String {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => said(problem).unwrap_or_else(|| answer::excerpt(body)),
        Err(_) => answer::excerpt(body),
    }
}

fn said(problem: Problem) -> Option<String> {
    let said: Vec<String> =
        [problem.title, problem.detail].into_iter().flatten().filter(|text| !text.trim().is_empty()).collect();
    (!said.is_empty()).then(|| answer::cut(&said.join(": ")))
}

/// What a 207 means for each of `count` items. Its shape is not documented: a list, or one in `items` or `results`, is read,
/// of objects with `status`, in the items' order or with `index` from 0. What cannot be read is left to a person, since
/// sending it again might double it.
pub(super) fn each(reply: &Reply, count: usize) -> Option<Vec<Verdict>> {
    if reply.status != StatusCode::MULTI_STATUS {
        return None;
    }
    let parts = parts(&reply.body, count).unwrap_or_else(|| vec![None; count]);
    Some(parts.into_iter().map(|part| part.unwrap_or_else(|| unknown(reply))).collect())
}

fn unknown(reply: &Reply) -> Verdict {
    Verdict::Rejected(format!("{}; whether it took this event is unknown", sentence(reply)))
}

fn parts(body: &[u8], count: usize) -> Option<Vec<Option<Verdict>>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let list = ["items", "results"].iter().find_map(|key| answer.get(key)).unwrap_or(&answer).as_array()?;
    let mut parts = vec![None; count];
    if list.iter().all(|part| part.get("index").is_none()) {
        return (list.len() == count).then(|| list.iter().map(part).collect());
    }
    for found in list {
        let index = usize::try_from(found.get("index")?.as_u64()?).ok()?;
        *parts.get_mut(index)? = part(found);
    }
    Some(parts)
}

fn part(found: &Value) -> Option<Verdict> {
    let status = StatusCode::from_u16(u16::try_from(found.get("status")?.as_u64()?).ok()?).ok()?;
    let text = Problem::deserialize(found).ok().and_then(said).unwrap_or_default();
    let sentence = || answer::sentence(&format!("{NAME} took the request, and for this event"), status, &text);
    // The token was good enough for the request: what is forbidden is this event.
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Some(Verdict::Rejected(sentence()));
    }
    Some(answer::by_status(status, sentence))
}
