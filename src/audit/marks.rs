//! What operators said of issues: acknowledged, ignored for a while, or open again, with a note. Each word is an entry of the audit. The last
//! one on an issue holds, in every worker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::broker::{Broker, ReadError};

/// Issues whose marks are kept; the oldest go first.
const MOST_MARKS: usize = 10_000;

/// How an issue is for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IssueState {
    /// Nobody has said anything of it, or it came again.
    #[default]
    Open,
    /// Somebody looks after it.
    Acknowledged,
    /// Nobody wants to see it for a while.
    Ignored,
}

impl IssueState {
    /// Its name in answers and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Ignored => "ignored",
        }
    }
}

/// What was said of an issue last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Mark {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The issue's id.
    pub issue: String,
    /// How it is since.
    pub state: IssueState,
    /// From when it is so: a note alone does not change that. What happens later is a recurrence.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when it is ignored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// For whoever looks next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// How many events it was about then, where that is known: more of them are a recurrence where nothing tells when they came.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub count: Option<u64>,
}

/// The marks that are known here. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    marks: BTreeMap<String, Mark>,
    /// Whether the audit was read, and every entry since was heard.
    is_complete: bool,
}

impl Marks {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a mark. An earlier one changes nothing, whenever it is heard.
    pub fn heard(&self, mark: &Mark) {
        let mut known = self.known();
        if known.marks.get(&mark.issue).is_some_and(|before| before >= mark) {
            return;
        }
        known.marks.insert(mark.issue.clone(), mark.clone());
        if known.marks.len() > MOST_MARKS {
            let oldest = known.marks.values().min().map(|mark| mark.issue.clone());
            oldest.map(|issue| known.marks.remove(&issue));
        }
    }

    /// What was said of an issue last.
    #[must_use]
    pub fn of(&self, issue: &str) -> Option<Mark> {
        self.known().marks.get(issue).cloned()
    }

    /// Whether anything was said of an issue whose id begins so.
    #[must_use]
    pub fn any_of(&self, beginning: &str) -> bool {
        let known = self.known();
        known.marks.range(beginning.to_owned()..).next().is_some_and(|(issue, _)| issue.starts_with(beginning))
    }

    /// Entries may have been missed, as while the broker was away: the audit has to be read again.
    pub fn may_be_incomplete(&self) {
        self.known().is_complete = false;
    }

    /// Reads the audit, unless all of it is known.
    ///
    /// # Errors
    /// [`ReadError`] when it cannot be read: what was heard so far is known.
    pub async fn complete(&self, broker: &Broker, patience: Duration) -> Result<(), ReadError> {
        if self.known().is_complete {
            return Ok(());
        }
        let read = super::each(broker, patience, |entry| {
            if let Some(mark) = &entry.mark {
                self.heard(mark);
            }
        });
        let read = read.await;
        // Where somebody deleted the audit there is nothing in it.
        let read = match read {
            Err(ReadError::Missing(_)) => Ok(()),
            read => read,
        };
        // What was heard meanwhile was kept too.
        self.known().is_complete = read.is_ok();
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(issue: &str, second: i64, state: IssueState) -> Mark {
        let at = Timestamp::from_second(second).unwrap();
        Mark {
            at,
            by: "ann".to_owned(),
            issue: issue.to_owned(),
            state,
            since: at,
            until: None,
            note: None,
            count: None,
        }
    }

    #[test]
    fn the_last_word_on_an_issue_holds_in_whatever_order_it_is_heard() {
        let marks = Marks::default();
        marks.heard(&mark("px.parked", 20, IssueState::Acknowledged));
        marks.heard(&mark("px.parked", 10, IssueState::Ignored));
        marks.heard(&mark("crm.parked", 5, IssueState::Ignored));
        assert_eq!(marks.of("px.parked").map(|mark| mark.state), Some(IssueState::Acknowledged));
        marks.heard(&mark("px.parked", 30, IssueState::Open));
        assert_eq!(marks.of("px.parked").map(|mark| mark.state), Some(IssueState::Open));
        assert_eq!(marks.of("crm.parked").map(|mark| mark.state), Some(IssueState::Ignored));
        assert_eq!(marks.of("crm.broken"), None);
    }

    #[test]
    fn what_was_said_of_a_destination_is_found_by_the_beginning_of_its_issues() {
        let marks = Marks::default();
        marks.heard(&mark("px.dead_letters.a", 20, IssueState::Acknowledged));
        assert!(
            marks.any_of("px.dead_letters.") && !marks.any_of("px2.dead_letters.") && !marks.any_of("p.dead_letters.")
        );
    }

    #[test]
    fn the_oldest_marks_are_forgotten_first() {
        let marks = Marks::default();
        for number in 0..=MOST_MARKS {
            let second = i64::try_from(number).unwrap();
            marks.heard(&mark(&format!("d{number}.parked"), second, IssueState::Acknowledged));
        }
        assert_eq!((marks.of("d0.parked"), marks.known().marks.len()), (None, MOST_MARKS));
        assert!(marks.of("d1.parked").is_some());
    }
}
