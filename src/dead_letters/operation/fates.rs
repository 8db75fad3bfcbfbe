//! What operations did with each letter, for whoever looks for one that is gone. Bounded, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::OperationState;
use crate::dead_letters::acts::Act;
use crate::record::replay::{Notice, ReplayOutcome};

/// Letters that an operation remembers: some 30 bytes each.
const REMEMBERED: usize = 10_000;

/// What became of a letter in an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterFate {
    /// The operation's id.
    pub operation: String,
    /// What it did.
    pub act: Act,
    /// Who began it.
    pub by: String,
    /// When it began.
    pub at: Timestamp,
    /// Of a replay: what became of the event, as far as it was heard.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<ReplayOutcome>,
}

/// The letters of one operation that it has acted on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Fates(Arc<Mutex<HashMap<u64, Option<ReplayOutcome>>>>);

impl Fates {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, Option<ReplayOutcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A letter has been acted on. What became of it may have been heard already.
    pub fn acted(&self, id: u64) {
        let mut all = self.all();
        if all.len() < REMEMBERED {
            all.entry(id).or_default();
        }
    }

    /// What a worker tells of a replayed letter.
    pub fn hear(&self, notice: &Notice) {
        let Ok(id) = u64::from_str_radix(&notice.letter, 16) else { return };
        let mut all = self.all();
        if all.len() < REMEMBERED || all.contains_key(&id) {
            all.insert(id, Some(notice.outcome));
        }
    }

    /// What became of a letter, where the operation acted on it.
    pub fn of(&self, id: u64, operation: &OperationState) -> Option<LetterFate> {
        let outcome = *self.all().get(&id)?;
        let OperationState { id, act, by, started, .. } = operation;
        Some(LetterFate { operation: id.clone(), act: *act, by: by.clone(), at: *started, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_letter_is_remembered_whatever_was_heard_first() {
        let notice = |letter: u64, outcome| Notice {
            replay: "op".into(),
            letter: format!("{letter:016x}"),
            outcome,
            reason: None,
            sentence: None,
        };
        let state: OperationState = serde_json::from_value(serde_json::json!({
            "id": "op", "act": "replay", "destination": "px", "filter": "all", "by": "ann", "started": "2026-01-01T00:00:00Z",
            "phase": "done", "there": 3, "selected": 3, "moved": 3, "delivered": 0, "dead_again": 0, "retrying": 0,
            "missing": 0, "refused": 0,
        }))
        .unwrap();
        let fates = Fates::default();
        fates.hear(&notice(1, ReplayOutcome::Delivered));
        fates.acted(1);
        fates.acted(2);
        fates.acted(3);
        fates.hear(&notice(3, ReplayOutcome::Retrying));
        fates.hear(&notice(3, ReplayOutcome::Dead));
        let known = [1, 2, 3, 4].map(|id| fates.of(id, &state).map(|fate| fate.outcome));
        assert_eq!(known, [Some(Some(ReplayOutcome::Delivered)), Some(None), Some(Some(ReplayOutcome::Dead)), None]);
        assert_eq!(fates.of(1, &state).unwrap().by, "ann");
    }
}
