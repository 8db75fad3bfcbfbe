//! What the broker wrote of a message that it moved by itself: `x-death` in; queue, reason, time and routing key out. Pure.
//!
//! Order and presence of its parts vary between brokers, so nothing of it is relied upon.

use jiff::Timestamp;

use crate::message::{Field, Headers};

/// The broker's reason for a message that was taken and never settled too often.
const DELIVERY_LIMIT: &str = "delivery_limit";

/// How the broker came to move a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XDeath<'a> {
    /// The queue that it came from.
    pub queue: Option<&'a str>,
    /// The broker's name for why.
    pub reason: Option<&'a str>,
    /// When, in whole seconds.
    pub at: Option<Timestamp>,
    /// The routing key that it was published with, at first.
    pub routing_key: Option<&'a str>,
}

impl<'a> XDeath<'a> {
    /// The death by the delivery limit, else the last one; none where the broker wrote nothing of one.
    #[must_use]
    pub fn read(headers: &'a Headers) -> Option<Self> {
        let entries: Vec<&Headers> = match headers.get("x-death") {
            Some(Field::Array(entries)) => entries.iter().filter_map(table).collect(),
            Some(entry) => table(entry).into_iter().collect(),
            None => Vec::new(),
        };
        let of_limit = entries.iter().find(|entry| text(entry, "reason") == Some(DELIVERY_LIMIT));
        let entry = of_limit.or(entries.first());
        let summary = |part: &str| {
            ["x-last-death-", "x-first-death-"].iter().find_map(|start| text(headers, &format!("{start}{part}")))
        };
        let death = Self {
            queue: entry.and_then(|entry| text(entry, "queue")).or_else(|| summary("queue")),
            reason: entry.and_then(|entry| text(entry, "reason")).or_else(|| summary("reason")),
            at: entry.and_then(|entry| entry.get("time")?.as_i64()).and_then(|time| Timestamp::from_second(time).ok()),
            // The last entry is the oldest: it names the producer's own.
            routing_key: entries.iter().rev().find_map(|entry| first_key(entry)),
        };
        (death != Self::default()).then_some(death)
    }

    /// Whether its own time to live (`expiration`) was over: the queue of a destination has none.
    #[must_use]
    pub fn is_by_expiration(&self) -> bool {
        self.reason == Some("expired")
    }

    /// Whether the delivery limit was the reason.
    #[must_use]
    pub fn is_by_delivery_limit(&self) -> bool {
        self.reason == Some(DELIVERY_LIMIT)
    }
}

fn table(field: &Field) -> Option<&Headers> {
    if let Field::Table(table) = field { Some(table) } else { None }
}

fn text<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn first_key(entry: &Headers) -> Option<&str> {
    let Some(Field::Array(keys)) = entry.get("routing-keys") else { return None };
    keys.iter().find_map(Field::as_str).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::tests::{deaths, entry};

    #[test]
    fn the_delivery_limit_counts_among_other_deaths_and_the_producers_key_is_the_oldest() {
        let headers = deaths(vec![
            entry("expired", "sluice.px.retry.5s", 1_700_000_009, "sluice.px.retry.5s"),
            entry("delivery_limit", "sluice.px", 1_700_000_005, "sluice.px"),
            entry("expired", "own", 1_700_000_000, "order.paid"),
        ]);
        let death = XDeath::read(&headers).unwrap();
        assert!(death.is_by_delivery_limit());
        assert_eq!((death.queue, death.routing_key), (Some("sluice.px"), Some("order.paid")));
        assert_eq!(death.at, Timestamp::from_second(1_700_000_005).ok());
    }

    #[test]
    fn what_is_broken_or_missing_is_left_out() {
        assert_eq!(XDeath::read(&Headers::new()), None);
        for broken in [Field::Void, Field::text("x"), Field::Array(vec![Field::I64(1), Field::Table(Headers::new())])] {
            assert_eq!(XDeath::read(&Headers::from([("x-death".to_owned(), broken)])), None);
        }
        let part = Headers::from([
            ("time".to_owned(), Field::I64(i64::MAX)),
            ("reason".to_owned(), Field::Binary("x".into())),
            ("queue".to_owned(), Field::text("q")),
            ("routing-keys".to_owned(), Field::text("no array")),
        ]);
        let headers = deaths(vec![Field::Table(part)]);
        assert_eq!(XDeath::read(&headers), Some(XDeath { queue: Some("q"), ..XDeath::default() }));
        let summary = Headers::from([("x-first-death-reason".to_owned(), Field::text("delivery_limit"))]);
        assert!(XDeath::read(&summary).unwrap().is_by_delivery_limit());
    }
}
