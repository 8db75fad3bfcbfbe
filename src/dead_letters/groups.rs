//! Letters of one cause together: letters go in one by one; groups with counts come out. Pure, in bounded memory.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::letter::Letter;
use crate::verdict::Reason;

/// Most groups that are told apart.
const MOST_GROUPS: usize = 10_000;
/// Most event types that a group names.
const MOST_TYPES: usize = 5;
/// Hours of which a group knows how many letters died in each.
pub const HOURS: usize = 24;
/// The name of what stands for all groups over [`MOST_GROUPS`].
const OTHERS: &str = "others";

/// Letters of one cause.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Group {
    /// Its name, for filters; "others" where it stands for all groups that were too many to be told apart.
    pub group: String,
    /// Why its letters died.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// The same for a person, without what differs between its letters.
    pub cause: String,
    /// How many letters.
    pub count: u64,
    /// When the first of them died.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_seen: Option<Timestamp>,
    /// When the last of them died.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
    /// Some of their event types.
    pub types: Vec<String>,
    /// The id of one of them.
    pub example: String,
    /// How many died in the last hours in which any did, by the hour since the Unix epoch.
    #[serde(skip)]
    hours: BTreeMap<i64, u32>,
}

/// The groups of the letters seen so far.
#[derive(Debug, Default)]
pub struct Groups {
    groups: HashMap<String, Group>,
    others: Option<Group>,
}

impl Group {
    fn new(letter: &Letter) -> Self {
        Self {
            group: letter.group.clone(),
            reason: letter.reason,
            cause: letter.cause.clone(),
            count: 0,
            first_seen: None,
            last_seen: None,
            types: Vec::new(),
            example: letter.id.clone(),
            hours: BTreeMap::new(),
        }
    }

    fn others(letter: &Letter) -> Self {
        let cause =
            format!("more causes than the {MOST_GROUPS} that are told apart; filter by reason or type to see them");
        Self { group: OTHERS.to_owned(), reason: Reason::Unknown, cause, ..Self::new(letter) }
    }

    /// How many died in each of the last [`HOURS`], the latest last.
    #[must_use]
    pub fn by_hour(&self, now: Timestamp) -> Vec<u32> {
        by_hour(&self.hours, now)
    }

    fn add(&mut self, letter: &Letter) {
        self.count += 1;
        if let Some(at) = letter.dead_lettered_at {
            self.first_seen = Some(self.first_seen.map_or(at, |first| first.min(at)));
            self.last_seen = Some(self.last_seen.map_or(at, |last| last.max(at)));
            count_hour(&mut self.hours, at);
        }
        if self.types.len() < MOST_TYPES && !self.types.contains(&letter.event_type) {
            self.types.push(letter.event_type.clone());
        }
    }
}

/// Counts something that happened then.
pub(crate) fn count_hour(hours: &mut BTreeMap<i64, u32>, at: Timestamp) {
    *hours.entry(at.as_second().div_euclid(3_600)).or_default() += 1;
    if hours.len() > HOURS {
        hours.pop_first();
    }
}

/// What [`count_hour`] counted in each of the last [`HOURS`], the latest last.
pub(crate) fn by_hour(hours: &BTreeMap<i64, u32>, now: Timestamp) -> Vec<u32> {
    let last = now.as_second().div_euclid(3_600);
    let first = last - i64::try_from(HOURS).unwrap_or(0) + 1;
    (first..=last).map(|hour| hours.get(&hour).copied().unwrap_or(0)).collect()
}

impl Groups {
    /// Counts a letter to its group.
    pub fn add(&mut self, letter: &Letter) {
        if let Some(group) = self.groups.get_mut(&letter.group) {
            return group.add(letter);
        }
        let group = if self.groups.len() < MOST_GROUPS {
            self.groups.entry(letter.group.clone()).or_insert_with(|| Group::new(letter))
        } else {
            self.others.get_or_insert_with(|| Group::others(letter))
        };
        group.add(letter);
    }

    /// The groups, those with most letters first; what stands for the others, where there are such, is the last.
    #[must_use]
    pub fn finish(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.group.cmp(&b.group)));
        groups.extend(self.others);
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn letter(group: usize, at: i64, kind: &str) -> Letter {
        let mut letter = Letter::read(&Message::default(), "px");
        letter.group = format!("{group:016x}");
        letter.dead_lettered_at = Timestamp::from_second(at).ok();
        letter.event_type = kind.to_owned();
        letter
    }

    #[test]
    fn groups_are_counted_and_the_largest_comes_first() {
        let mut groups = Groups::default();
        for (group, at, kind) in [(1, 50, "a"), (2, 10, "a"), (2, 30, "b"), (2, 20, "b")] {
            groups.add(&letter(group, at, kind));
        }
        groups.add(&Letter { dead_lettered_at: None, ..letter(1, 0, "c") });
        groups.add(&letter(2, 25, "a"));
        let groups = groups.finish();
        let seen: Vec<_> = groups
            .iter()
            .map(|group| (group.count, group.first_seen.unwrap().as_second(), group.last_seen.unwrap().as_second()))
            .collect();
        assert_eq!(seen, [(4, 10, 30), (2, 50, 50)]);
        assert_eq!((groups[0].types.join(" "), groups[1].types.join(" ")), ("a b".into(), "a c".into()));
    }

    #[test]
    fn a_group_knows_how_many_of_its_letters_died_in_each_of_the_last_hours() {
        let mut groups = Groups::default();
        let hour = |hours: i64| hours * 3_600;
        for at in [hour(1), hour(100), hour(100) + 3_599, hour(103)] {
            groups.add(&letter(1, at, "a"));
        }
        let by_hour = groups.finish()[0].by_hour(Timestamp::from_second(hour(103) + 60).unwrap());
        assert_eq!((by_hour.len(), &by_hour[HOURS - 5..]), (HOURS, &[0, 2, 0, 0, 1][..]));
        assert_eq!(by_hour.iter().sum::<u32>(), 3, "what is older is left out");
    }

    #[test]
    fn a_group_names_five_of_its_types() {
        let mut groups = Groups::default();
        (0..9).for_each(|kind| groups.add(&letter(1, 1, &kind.to_string())));
        assert_eq!(groups.finish()[0].types, ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn groups_over_the_limit_are_counted_together_and_come_last() {
        let mut groups = Groups::default();
        for group in 0..MOST_GROUPS + 7 {
            groups.add(&letter(group, 1, "a"));
            groups.add(&letter(3, 1, "a"));
        }
        let groups = groups.finish();
        assert_eq!(groups.len(), MOST_GROUPS + 1);
        assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), 20_014);
        let others = groups.last().unwrap();
        assert_eq!((others.group.as_str(), others.count), (OTHERS, 7));
        assert!(others.cause.contains("10000"), "{}", others.cause);
    }
}
