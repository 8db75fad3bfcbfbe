//! Reads from a message's headers who put it on a destination's queue. Pure.

use crate::message::Message;
use crate::message::header::{REPLAY, RETRIES, ROUTING_KEY};

/// Who put a message on the destination's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer: no worker has had it before.
    Producer,
    /// Somebody who replayed a dead letter.
    Replay,
    /// A worker: it comes back from a retry queue, or was given back as a copy.
    Worker,
}

/// Who put `message` on the destination's queue, as far as its headers tell.
#[must_use]
pub fn of(message: &Message) -> Origin {
    let headers = &message.properties.headers;
    if headers.contains_key(REPLAY) && !headers.contains_key(RETRIES) {
        Origin::Replay
    } else if headers.contains_key(ROUTING_KEY) {
        Origin::Worker
    } else {
        Origin::Producer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Field;

    fn with(headers: &[&str]) -> Message {
        let mut message = Message::default();
        for name in headers {
            message.properties.headers.insert((*name).to_owned(), Field::text("x"));
        }
        message
    }

    #[test]
    fn a_producers_event_is_told_from_one_that_comes_back_and_one_that_was_replayed() {
        assert_eq!(of(&with(&["x-shop"])), Origin::Producer);
        assert_eq!(of(&with(&[ROUTING_KEY])), Origin::Worker);
        assert_eq!(of(&with(&[ROUTING_KEY, REPLAY])), Origin::Replay);
        assert_eq!(of(&with(&[ROUTING_KEY, REPLAY, RETRIES])), Origin::Worker);
    }
}
