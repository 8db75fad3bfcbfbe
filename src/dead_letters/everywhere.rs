//! The causes of the dead letters of many destinations: one pass over each that has some, a few at a time.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::filter::{Filter, FilterError};
use super::groups::{Group, Groups};
use super::look::{LookError, LookStep, LookSummary, no_progress};
use super::{DeadLetters, Pile};
use crate::broker::{Broker, BrokerError};
use crate::clock;

/// Destinations that are looked at at once: each look has a connection of its own.
const AT_ONCE: usize = 4;
/// Most groups that are told.
const MOST: usize = 1000;

/// A group, and whose letters they are.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = GroupOfDestination)]
pub struct GroupOf {
    /// Whose letters.
    pub destination: String,
    /// The group.
    #[serde(flatten)]
    pub group: Group,
}

/// The groups of several destinations.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = GroupsEverywhere)]
pub struct GroupsOfAll {
    /// How many letters there are, at all of them.
    pub there: u64,
    /// How many of them the filter means.
    pub matched: u64,
    /// The largest first; at most 1,000.
    pub groups: Vec<GroupOf>,
    /// Smaller groups that are left out.
    pub omitted: u64,
    /// Where a destination could not be looked at, or its filter failed, with its name.
    pub trouble: Vec<String>,
}

/// Why no groups are told.
#[derive(Debug, thiserror::Error)]
pub enum EverywhereError {
    /// The filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The broker cannot be asked what there is.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// The causes of the letters of `destinations`.
///
/// # Errors
/// [`EverywhereError`]; a single destination that cannot be looked at is no error, but told.
pub async fn groups(
    broker: &Broker,
    destinations: &[String],
    pile: Pile,
    filter: &Filter,
    patience: Duration,
) -> Result<GroupsOfAll, EverywhereError> {
    filter.compile(clock::wall())?;
    let all: Vec<DeadLetters> = destinations
        .iter()
        .map(|name| DeadLetters { broker: broker.clone(), destination: name.clone(), history: None })
        .collect();
    let queues: Vec<String> = all.iter().map(|letters| letters.queue(pile)).collect();
    let depths = broker.depths(&queues).await?;
    let looks = all.into_iter().zip(depths).map(async |(letters, depth)| {
        // What somebody reads at the moment is not ready.
        let is_empty = match depth {
            None => true,
            Some(0) => !broker.is_read(&letters.queue(pile)).await.unwrap_or(true),
            Some(_) => false,
        };
        if is_empty {
            return (letters.destination, Ok((LookSummary::default(), Vec::new())));
        }
        let found = of_one(&letters, pile, filter, patience).await;
        (letters.destination, found)
    });
    let mut of_all = GroupsOfAll::default();
    let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
    while let Some((name, found)) = looks.next().await {
        of_all.add(&name, found);
    }
    Ok(of_all.finish())
}

async fn of_one(
    letters: &DeadLetters,
    pile: Pile,
    filter: &Filter,
    patience: Duration,
) -> Result<(LookSummary, Vec<Group>), String> {
    let matcher = filter.compile(clock::wall()).map_err(|error| error.to_string())?;
    let mut groups = Groups::default();
    let seen = letters.look(pile, &matcher, patience, &no_progress, |shown| {
        match shown {
            LookStep::Anew => groups = Groups::default(),
            LookStep::Letter(letter, _) => groups.add(letter),
        }
        std::ops::ControlFlow::Continue(())
    });
    let seen = seen.await.map_err(|error: LookError| error.to_string())?;
    Ok((seen, groups.finish()))
}

impl GroupsOfAll {
    fn add(&mut self, name: &str, found: Result<(LookSummary, Vec<Group>), String>) {
        let (seen, groups) = match found {
            Ok(found) => found,
            Err(said) => return self.trouble.push(format!("{name}: {said}")),
        };
        self.there += u64::from(seen.there);
        self.matched += seen.matched;
        self.trouble.extend(seen.trouble.map(|trouble| format!("{name}: {trouble}")));
        self.groups.extend(groups.into_iter().map(|group| GroupOf { destination: name.to_owned(), group }));
        if self.groups.len() > 2 * MOST {
            self.cut();
        }
    }

    /// Keeps the largest.
    fn cut(&mut self) {
        self.groups.sort_unstable_by(|a, b| {
            let by_count = b.group.count.cmp(&a.group.count);
            by_count.then_with(|| (&a.destination, &a.group.group).cmp(&(&b.destination, &b.group.group)))
        });
        self.omitted += u64::try_from(self.groups.len().saturating_sub(MOST)).unwrap_or(u64::MAX);
        self.groups.truncate(MOST);
    }

    fn finish(mut self) -> Self {
        self.cut();
        self.trouble.sort_unstable();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::letter::Letter;
    use crate::message::Message;

    fn groups(from: u64, count: u64) -> Vec<Group> {
        let mut groups = Groups::default();
        for number in from..from + count {
            groups.add(&Letter { group: format!("{number:016x}"), ..Letter::read(&Message::default(), "px") });
        }
        groups.finish()
    }

    #[test]
    fn the_largest_groups_of_all_destinations_come_first_and_the_others_are_counted() {
        let mut all = GroupsOfAll::default();
        let seen = || LookSummary { there: 900, matched: 800, ..LookSummary::default() };
        let mut large = groups(0, 1);
        large[0].count = 7;
        all.add("b", Ok((seen(), groups(0, 800))));
        all.add("a", Ok((seen(), groups(0, 800))));
        all.add("c", Ok((seen(), large)));
        all.add("d", Err("somebody reads".into()));
        let all = all.finish();
        assert_eq!((all.there, all.matched, all.groups.len(), all.omitted), (2700, 2400, MOST, 601));
        let first: Vec<&str> = all.groups.iter().take(2).map(|group| group.destination.as_str()).collect();
        assert_eq!((first, all.trouble), (vec!["c", "a"], vec!["d: somebody reads".to_owned()]));
    }
}
