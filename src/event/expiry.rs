//! When an event's time is over, and what says so. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::Event;
use crate::message::header::{REPLAY, SET_ASIDE_EXPIRATION};
use crate::message::{Field, Message};

/// After that an event is not to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    at: Timestamp,
    says: &'static str,
}

impl Expiry {
    /// The earlier of what the event says (`expirytime`) and what its destination allows (`max_event_age`); none where neither does.
    #[must_use]
    pub fn of(event: &Event, max_age: Option<Duration>) -> Option<Self> {
        let own = event.expires.map(|at| Self { at: at.timestamp(), says: "its expirytime" });
        let aged = |age: Duration| Self {
            at: event.time.timestamp().checked_add(age).unwrap_or(Timestamp::MAX),
            says: "max_event_age of the destination",
        };
        own.into_iter().chain(max_age.map(aged)).min_by_key(|expiry| expiry.at)
    }

    /// AMQP's `expiration`, which the broker heeds in the queue alone: counted from when a worker first took the event. Copies have it in a header,
    /// since the broker would act on it. A letter that somebody replays is past it.
    #[must_use]
    pub fn of_amqp(message: &Message, received: Timestamp) -> Option<Self> {
        let headers = &message.properties.headers;
        let set_aside = || headers.get(SET_ASIDE_EXPIRATION).and_then(Field::as_str);
        let milliseconds = message.properties.expiration.as_deref().or_else(set_aside)?;
        let milliseconds = milliseconds.parse().ok().filter(|_| !headers.contains_key(REPLAY))?;
        let at = received.checked_add(Duration::from_millis(milliseconds)).unwrap_or(Timestamp::MAX);
        Some(Self { at, says: "AMQP's expiration" })
    }

    /// The sooner of two.
    #[must_use]
    pub fn sooner(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|expiry| expiry.at)
    }

    /// Why it is never sent, where its time is over when it may be.
    #[must_use]
    pub fn before(&self, due: Timestamp) -> Option<String> {
        let written = |at: Timestamp| at.strftime("%F %T UTC").to_string();
        let over = self.at <= due;
        over.then(|| {
            format!(
                "not sent: {} ends at {}, and it may not be sent before {}",
                self.says,
                written(self.at),
                written(due)
            )
        })
    }

    /// Why it is not sent any more, where its time is over.
    #[must_use]
    pub fn too_old(&self, wall: Timestamp) -> Option<String> {
        (self.at <= wall).then(|| format!("not sent: {} ended at {}", self.says, self.at.strftime("%F %T UTC")))
    }
}
