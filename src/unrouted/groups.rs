//! Unrouted events of one routing key together. Pure, in bounded memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::UnroutedEvent;
use crate::dead_letters::groups::{by_hour, count_hour};

/// Most routing keys that are told apart.
const MOST_GROUPS: usize = 1_000;

/// Events of one routing key.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UnroutedGroup {
    /// The routing key that they were published with: destinations subscribe to it.
    pub routing_key: String,
    /// How many.
    pub count: u64,
    /// The time of the first that says when it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_seen: Option<Timestamp>,
    /// The time of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
    /// The source of one of them.
    pub source: String,
    /// The id of one of them.
    pub example: String,
    #[serde(skip)]
    hours: BTreeMap<i64, u32>,
}

impl UnroutedGroup {
    /// How many happened in each of the last hours, the latest last.
    #[must_use]
    pub fn by_hour(&self, now: Timestamp) -> Vec<u32> {
        by_hour(&self.hours, now)
    }

    fn add(&mut self, event: &UnroutedEvent) {
        self.count += 1;
        if let Some(at) = event.time {
            self.first_seen = Some(self.first_seen.map_or(at, |first| first.min(at)));
            self.last_seen = Some(self.last_seen.map_or(at, |last| last.max(at)));
            count_hour(&mut self.hours, at);
        }
    }
}

/// The events seen so far.
#[derive(Clone, Debug, Default)]
pub struct UnroutedGroups {
    groups: BTreeMap<String, UnroutedGroup>,
    /// Events whose routing keys are more than are told apart.
    others: u64,
}

impl UnroutedGroups {
    pub(super) fn add(&mut self, event: &UnroutedEvent) {
        if !self.groups.contains_key(&event.routing_key) {
            if self.groups.len() >= MOST_GROUPS {
                self.others += 1;
                return;
            }
            let group = UnroutedGroup {
                routing_key: event.routing_key.clone(),
                count: 0,
                first_seen: None,
                last_seen: None,
                source: event.source.clone(),
                example: event.id.clone(),
                hours: BTreeMap::new(),
            };
            self.groups.insert(event.routing_key.clone(), group);
        }
        if let Some(group) = self.groups.get_mut(&event.routing_key) {
            group.add(event);
        }
    }

    /// How many events there are of routing keys that were too many to be told apart.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.others
    }

    /// The groups, the largest first.
    #[must_use]
    pub fn sorted(&self) -> Vec<UnroutedGroup> {
        let mut groups: Vec<UnroutedGroup> = self.groups.values().cloned().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(routing_key: &str, second: i64) -> UnroutedEvent {
        UnroutedEvent {
            id: second.to_string(),
            source: "/shop".to_owned(),
            r#type: routing_key.to_owned(),
            routing_key: routing_key.to_owned(),
            time: Timestamp::from_second(second).ok(),
            problem: None,
            bytes: 2,
            body: "{}".to_owned(),
        }
    }

    #[test]
    fn events_of_one_routing_key_are_one_group_and_the_largest_comes_first() {
        let mut groups = UnroutedGroups::default();
        for (key, second) in [("a", 30), ("b", 5), ("b", 20), ("b", 10)] {
            groups.add(&event(key, second));
        }
        let shown: Vec<_> = groups
            .sorted()
            .iter()
            .map(|group| (group.routing_key.clone(), group.count, group.first_seen.map(|at| at.as_second())))
            .collect();
        assert_eq!(shown, [("b".to_owned(), 3, Some(5)), ("a".to_owned(), 1, Some(30))]);
    }

    #[test]
    fn routing_keys_that_are_too_many_are_counted_together() {
        let mut groups = UnroutedGroups::default();
        for number in 0..MOST_GROUPS + 3 {
            groups.add(&event(&number.to_string(), 1));
        }
        groups.add(&event("0", 2));
        assert_eq!((groups.sorted().len(), groups.sorted()[0].count, groups.others()), (MOST_GROUPS, 2, 3));
    }
}
