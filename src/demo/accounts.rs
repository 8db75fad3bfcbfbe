//! The demo's books: every event that was published and everywhere it was seen come in, what does not balance goes
//! out as sentences. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Ids named in a problem before the rest is only counted.
const NAMED: usize = 3;

/// Where an event can end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// The vendor of this destination took it.
    Delivered(String),
    /// It is a dead letter, for this reason.
    Dead(String),
    /// No destination subscribes to it.
    Unrouted,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(destination) => write!(f, "delivered to {destination}"),
            Self::Dead(reason) => write!(f, "a dead letter ({reason})"),
            Self::Unrouted => write!(f, "unrouted"),
        }
    }
}

/// What was published and what was seen, by event id.
#[derive(Debug, Default)]
pub struct Accounts {
    expected: BTreeMap<String, Ending>,
    seen: BTreeMap<String, Vec<Ending>>,
}

/// The books, closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Events published.
    pub published: u64,
    /// Events, by where they ended.
    pub endings: BTreeMap<Ending, u64>,
    /// Events that a vendor took more than once.
    pub twice: u64,
    /// What is off, a sentence each; none when every event ended in exactly one place, the right one.
    pub problems: Vec<String>,
}

impl Accounts {
    /// An event was published and should end so.
    pub fn publish(&mut self, id: impl Into<String>, expected: Ending) {
        self.expected.insert(id.into(), expected);
    }

    /// How many events should end so.
    #[must_use]
    pub fn expected(&self, ending: &Ending) -> u64 {
        count(self.expected.values().filter(|expected| *expected == ending).count())
    }

    /// An event was found there.
    pub fn see(&mut self, id: impl Into<String>, ending: Ending) {
        self.seen.entry(id.into()).or_default().push(ending);
    }

    /// Closes the books.
    #[must_use]
    pub fn balance(&self) -> Balance {
        let mut balance = Balance { published: count(self.expected.len()), ..Balance::default() };
        let mut off: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (id, expected) in &self.expected {
            let seen = self.seen.get(id).map_or(&[][..], Vec::as_slice);
            let places: BTreeSet<&Ending> = seen.iter().collect();
            let problem = match places.first() {
                None => Some(format!("ended nowhere; expected: {expected}")),
                Some(_) if places.len() > 1 => Some("ended in more than one place".to_owned()),
                Some(Ending::Dead(_) | Ending::Unrouted) if seen.len() > 1 => {
                    Some("lie there more than once".to_owned())
                }
                Some(ending) if *ending != expected => Some(format!("ended as {ending}; expected: {expected}")),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                off.entry(problem).or_default().push(id);
            }
            if let Some(ending) = places.first() {
                *balance.endings.entry((*ending).clone()).or_default() += 1;
                balance.twice += u64::from(matches!(ending, Ending::Delivered(_)) && seen.len() > 1);
            }
        }
        let strangers = self.seen.keys().filter(|id| !self.expected.contains_key(*id)).map(String::as_str);
        for stranger in strangers {
            off.entry("were found that were never published".to_owned()).or_default().push(stranger);
        }
        balance.problems = off.iter().map(|(problem, ids)| sentence(problem, ids)).collect();
        balance
    }
}

impl Balance {
    /// Events that ended so.
    #[must_use]
    pub fn ended(&self, ending: &Ending) -> u64 {
        self.endings.get(ending).copied().unwrap_or(0)
    }
}

fn sentence(problem: &str, ids: &[&str]) -> String {
    let mut named = ids.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if ids.len() > NAMED {
        named.push_str(", …");
    }
    format!("{} {problem} ({named})", ids.len())
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered() -> Ending {
        Ending::Delivered("px".into())
    }

    fn dead(reason: &str) -> Ending {
        Ending::Dead(reason.into())
    }

    /// Three events that should be delivered, dead and unrouted, seen as `seen` says.
    fn balance(seen: &[(&str, Ending)]) -> Balance {
        let mut accounts = Accounts::default();
        accounts.publish("a", delivered());
        accounts.publish("b", dead("rejected"));
        accounts.publish("c", Ending::Unrouted);
        for (id, ending) in seen {
            accounts.see(*id, ending.clone());
        }
        accounts.balance()
    }

    fn problems(seen: &[(&str, Ending)]) -> Vec<String> {
        let right = [("a", delivered()), ("b", dead("rejected")), ("c", Ending::Unrouted)];
        let others = right.into_iter().filter(|(id, _)| seen.iter().all(|(other, _)| other != id));
        let all: Vec<_> = others.chain(seen.iter().cloned()).collect();
        balance(&all).problems
    }

    #[test]
    fn every_event_in_its_place_balances() {
        let balance = balance(&[("a", delivered()), ("b", dead("rejected")), ("c", Ending::Unrouted)]);
        assert_eq!((balance.published, balance.twice, balance.problems.len()), (3, 0, 0));
        assert_eq!(balance.ended(&dead("rejected")), 1);
        assert_eq!(balance.ended(&dead("invalid")), 0);
    }

    #[test]
    fn a_lost_event_is_named() {
        assert_eq!(
            balance(&[("a", delivered()), ("c", Ending::Unrouted)]).problems,
            ["1 ended nowhere; expected: a dead letter (rejected) (b)"]
        );
    }

    #[test]
    fn an_event_in_two_places_or_in_the_wrong_one_is_off() {
        assert_eq!(problems(&[("b", delivered()), ("b", dead("rejected"))]), ["1 ended in more than one place (b)"]);
        assert_eq!(problems(&[("b", dead("rejected")), ("b", dead("rejected"))]), ["1 lie there more than once (b)"]);
        assert_eq!(problems(&[("a", Ending::Unrouted)]), ["1 ended as unrouted; expected: delivered to px (a)"]);
        assert_eq!(problems(&[("z", delivered())]), ["1 were found that were never published (z)"]);
    }

    #[test]
    fn a_second_delivery_is_counted_and_no_loss() {
        let balance =
            balance(&[("a", delivered()), ("a", delivered()), ("b", dead("rejected")), ("c", Ending::Unrouted)]);
        assert_eq!((balance.twice, balance.ended(&delivered()), balance.problems.len()), (1, 1, 0));
    }

    #[test]
    fn many_of_one_kind_are_one_sentence() {
        let mut accounts = Accounts::default();
        (1..=5).for_each(|n| accounts.publish(format!("e{n}"), delivered()));
        assert_eq!(accounts.balance().problems, ["5 ended nowhere; expected: delivered to px (e1, e2, e3, …)"]);
    }
}
