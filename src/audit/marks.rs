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
    /// Of a group of dead letters: how many letters its destination had, and how many of them nobody looks after.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub letters: Option<Attended>,
}

/// How many of a destination's dead letters somebody looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Attended {
    /// All that there were.
    pub there: u64,
    /// Those of causes that are open.
    pub open: u64,
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

    /// How many of a destination's `ready` dead letters nobody looks after. `last_dead`: when one died last, as far as is known.
    #[must_use]
    pub fn unattended(&self, destination: &str, ready: u64, last_dead: Option<Timestamp>, wall: Timestamp) -> u64 {
        let (known, prefix) = (self.known(), format!("{destination}.dead_letters."));
        let of_letters = known.marks.range(prefix.clone()..).take_while(|(issue, _)| issue.starts_with(&prefix));
        let last = of_letters.map(|(_, mark)| mark).filter(|mark| mark.letters.is_some()).max();
        let Some((mark, letters)) = last.and_then(|mark| Some((mark, mark.letters?))) else { return ready };
        let others_came = last_dead.is_some_and(|at| at > mark.at) || ready > letters.there;
        let is_over = mark.until.is_some_and(|until| until <= wall);
        if others_came || is_over { ready } else { ready.min(letters.open) }
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
        // What is heard from now on counts too.
        self.known().is_complete = true;
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
        if read.is_err() {
            self.may_be_incomplete();
        }
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
            letters: None,
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
    fn letters_that_somebody_looks_after_are_not_unattended_until_others_come() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (marks, now) = (Marks::default(), at(100));
        assert_eq!(marks.unattended("px", 7, None, now), 7);
        let said = |second, there, open| Mark {
            letters: Some(Attended { there, open }),
            ..mark("px.dead_letters.a", second, IssueState::Acknowledged)
        };
        marks.heard(&said(10, 7, 3));
        assert_eq!(marks.unattended("px", 7, Some(at(9)), now), 3, "those of the other causes");
        marks.heard(&Mark { issue: "px.dead_letters.b".to_owned(), ..said(20, 7, 0) });
        assert_eq!(marks.unattended("px", 7, Some(at(9)), now), 0);
        assert_eq!(marks.unattended("px", 5, Some(at(9)), now), 0, "some were replayed");
        assert_eq!(marks.unattended("px", 5, Some(at(21)), now), 5, "another died");
        assert_eq!(marks.unattended("px", 8, None, now), 8, "the broker moved one there");
        assert_eq!(marks.unattended("px2", 7, None, now), 7);
        marks.heard(&Mark { until: Some(at(50)), issue: "px.dead_letters.c".to_owned(), ..said(30, 7, 0) });
        assert_eq!(marks.unattended("px", 7, None, at(49)), 0);
        assert_eq!(marks.unattended("px", 7, None, at(50)), 7, "it was ignored until then");
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
