//! The operations of this process, by id: those at work, and the last that ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{LetterFate, Operation, OperationState};
use crate::broker::Broker;
use crate::control::{self, Command, Signal};

/// How long other processes have to tell of their operations.
pub const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// Ended ones that are remembered.
const REMEMBERED: usize = 100;

/// The operations of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    operations: Arc<Mutex<BTreeMap<String, Operation>>>,
}

impl Registry {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Operation>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an operation, and forgets those that ended longest ago. Returns how it is.
    pub fn add(&self, operation: Operation) -> OperationState {
        let state = operation.state();
        let mut all = self.all();
        all.insert(state.id.clone(), operation);
        let mut over: Vec<_> = all
            .iter()
            .map(|(id, operation)| (operation.state().ended, id.clone()))
            .filter(|(ended, _)| ended.is_some())
            .collect();
        over.sort();
        for (_, id) in over.iter().take(over.len().saturating_sub(REMEMBERED)) {
            all.remove(id);
        }
        state
    }

    /// How each is, the latest first.
    #[must_use]
    pub fn states(&self) -> Vec<OperationState> {
        let mut states: Vec<OperationState> = self.all().values().map(Operation::state).collect();
        states.sort_by_key(|state| std::cmp::Reverse(state.started));
        states
    }

    /// Those on a destination or on all, of every process, the latest first.
    pub async fn everywhere(&self, broker: &Broker, destination: Option<&str>) -> Vec<OperationState> {
        let command = Command::Operations { destination: destination.map(str::to_owned) };
        // With the broker away there are those of this process.
        let others: Vec<Vec<OperationState>> = control::ask(broker, &command, TOLD_WITHIN).await.unwrap_or_default();
        let own = self.states().into_iter().filter(|state| destination.is_none_or(|name| state.destination == name));
        let all: BTreeMap<String, OperationState> =
            others.into_iter().flatten().chain(own).map(|state| (state.id.clone(), state)).collect();
        let mut operations: Vec<OperationState> = all.into_values().collect();
        operations.sort_by_key(|state| std::cmp::Reverse(state.started));
        operations
    }

    /// What became of a letter in the operations of this process, the latest first.
    #[must_use]
    pub fn fates(&self, destination: &str, letter: &str) -> Vec<LetterFate> {
        let Ok(letter) = u64::from_str_radix(letter, 16) else { return Vec::new() };
        let all = self.all();
        let of_it = all.values().filter(|operation| operation.state().destination == destination);
        let mut fates: Vec<LetterFate> = of_it.filter_map(|operation| operation.fate(letter)).collect();
        fates.sort_by_key(|fate| std::cmp::Reverse(fate.at));
        fates
    }

    /// The same of every process.
    pub async fn fates_everywhere(&self, broker: &Broker, destination: &str, letter: &str) -> Vec<LetterFate> {
        let command = Command::Fates { destination: destination.to_owned(), letter: letter.to_owned() };
        let others: Vec<Vec<LetterFate>> = control::ask(broker, &command, TOLD_WITHIN).await.unwrap_or_default();
        let own = self.fates(destination, letter);
        let all: BTreeMap<String, LetterFate> =
            others.into_iter().flatten().chain(own).map(|fate| (fate.operation.clone(), fate)).collect();
        let mut fates: Vec<LetterFate> = all.into_values().collect();
        fates.sort_by_key(|fate| std::cmp::Reverse(fate.at));
        fates
    }

    /// How one is.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<OperationState> {
        self.all().get(id).map(Operation::state)
    }

    /// What a person wants of one. None where it is not here; false where it is over.
    #[must_use]
    pub fn signal(&self, id: &str, signal: Signal) -> Option<bool> {
        self.all().get(id).map(|operation| operation.signal(signal))
    }

    /// How many are at work on a destination.
    #[must_use]
    pub fn at_work(&self, destination: &str) -> usize {
        let states = self.all().values().map(Operation::state).collect::<Vec<_>>();
        states.iter().filter(|state| state.destination == destination && !state.phase.is_over()).count()
    }

    /// Ends all that are at work, and waits until they have ended.
    pub async fn cancel_all(&self) {
        let mut operations = std::mem::take(&mut *self.all());
        for operation in operations.values() {
            operation.signal(Signal::Cancel);
        }
        for operation in operations.values_mut() {
            operation.over().await;
        }
    }
}
