//! A copy of a message that is safe to publish, and the message as its producer published it, had back from a copy. Pure.

use crate::message::{Field, Message, header, is_the_brokers};

/// Headers that the broker would act on when a copy is published; they wait under another name.
/// `CC` and `BCC` would route the copy to more queues.
const SET_ASIDE: [(&str, &str); 2] = [("CC", header::SET_ASIDE_CC), ("BCC", header::SET_ASIDE_BCC)];
/// The delivery mode of every copy; the producer's is set aside where it was another.
const PERSISTENT: u8 = 2;
/// Set aside where the producer's message had none.
const NO_MODE: i64 = -1;

/// Makes a message safe to publish: without what the broker put there, and with what it would act on set aside, which [`original`]
/// puts back. An expiration would end the copy, `CC` would send it elsewhere too, a user's id other than the connection's is refused, and
/// a priority would let one letter or one retry overtake others for ever (RabbitMQ 4.3 heeds it in every quorum queue).
pub fn set_aside(message: &mut Message) {
    let properties = &mut message.properties;
    let headers = &mut properties.headers;
    // A copy's expiration is the delay that it waited for.
    let is_copy = headers.contains_key(header::ROUTING_KEY);
    headers.retain(|name, _| !is_the_brokers(name) && name != header::PUBLISH);
    for (name, aside) in SET_ASIDE {
        if let Some(field) = headers.remove(name) {
            headers.insert(aside.to_owned(), field);
        }
    }
    if let Some(expiration) = properties.expiration.take().filter(|_| !is_copy) {
        headers.insert(header::SET_ASIDE_EXPIRATION.to_owned(), Field::text(expiration));
    }
    if let Some(user_id) = properties.user_id.take() {
        headers.insert(header::SET_ASIDE_USER_ID.to_owned(), Field::text(user_id));
    }
    if let Some(priority) = properties.priority.take() {
        headers.insert(header::SET_ASIDE_PRIORITY.to_owned(), Field::I64(i64::from(priority)));
    }
    if let Some(mode) = other_mode(properties.delivery_mode.replace(PERSISTENT)) {
        // The mode of a copy is Sluice's own: what a first copy says stands.
        headers.entry(header::SET_ASIDE_DELIVERY_MODE.to_owned()).or_insert(Field::I64(mode));
    }
}

/// The message as its producer published it, out of what Sluice or the broker made of it: without the headers of either, and with
/// what was set aside put back.
#[must_use]
pub fn original(message: &Message) -> Message {
    let mut original = message.clone();
    let properties = &mut original.properties;
    let headers = &mut properties.headers;
    let text = |name: &str| headers.get(name).and_then(Field::as_str).map(str::to_owned);
    let (expiration, user_id) = (text(header::SET_ASIDE_EXPIRATION), text(header::SET_ASIDE_USER_ID));
    // What never was a copy, as what the broker itself moved to the dead letters, has its properties still.
    if headers.contains_key(header::ROUTING_KEY) {
        (properties.expiration, properties.user_id) = (expiration, user_id);
    } else {
        properties.expiration = expiration.or(properties.expiration.take());
        properties.user_id = user_id.or(properties.user_id.take());
    }
    if let Some(priority) = headers.get(header::SET_ASIDE_PRIORITY).and_then(Field::as_i64) {
        properties.priority = u8::try_from(priority).ok();
    }
    if let Some(mode) = headers.get(header::SET_ASIDE_DELIVERY_MODE).and_then(Field::as_i64) {
        properties.delivery_mode = u8::try_from(mode).ok();
    }
    for (name, aside) in SET_ASIDE {
        if let Some(field) = headers.remove(aside) {
            headers.insert(name.to_owned(), field);
        }
    }
    headers.retain(|name, _| !name.starts_with(header::PREFIX) && !is_the_brokers(name));
    original
}

/// A delivery mode as it is set aside, where it has to be.
fn other_mode(mode: Option<u8>) -> Option<i64> {
    (mode != Some(PERSISTENT)).then(|| mode.map_or(NO_MODE, i64::from))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::message::header::SET_ASIDE_DELIVERY_MODE;
    use crate::message::{Headers, Properties};
    use crate::record::history::{Attempt, History};

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn attempt(ms: u64) -> Attempt {
        Attempt { at: NOW, status: Some(500), ms, verdict: "unavailable".into(), excerpt: String::new() }
    }

    #[test]
    fn what_the_broker_would_act_on_is_set_aside() {
        let mut headers = Headers::new();
        for name in ["x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "CC", "own"] {
            headers.insert(name.to_owned(), Field::text("v"));
        }
        let properties = Properties {
            headers,
            expiration: Some("60000".into()),
            user_id: Some("u".into()),
            priority: Some(9),
            ..Properties::default()
        };
        let copy = History::new("a", NOW).write(&Message { body: "b".into(), properties });
        let names: Vec<&str> = copy.properties.headers.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "own",
                "x-sluice-header-cc",
                "x-sluice-property-delivery-mode",
                "x-sluice-property-expiration",
                "x-sluice-property-priority",
                "x-sluice-property-user-id",
                "x-sluice-received",
                "x-sluice-routing-key"
            ]
        );
        let Properties { expiration, user_id, priority, .. } = copy.properties;
        assert_eq!((expiration, user_id, priority), (None, None, None));
    }

    #[test]
    fn a_delivery_mode_is_set_aside_once_and_put_back() {
        for (mode, aside) in [(None, Some(-1)), (Some(1), Some(1)), (Some(2), None)] {
            let message = Message {
                properties: Properties { delivery_mode: mode, ..Properties::default() },
                ..Message::default()
            };
            let copy = History::new("a", NOW).write(&message);
            let again = History::new("a", NOW).write(&copy);
            for copy in [copy, again] {
                assert_eq!(copy.properties.headers.get(SET_ASIDE_DELIVERY_MODE).and_then(Field::as_i64), aside);
                assert_eq!(copy.properties.delivery_mode, Some(2));
                assert_eq!(original(&copy), message);
            }
        }
    }

    #[test]
    fn what_the_broker_moved_to_the_dead_letters_itself_keeps_its_properties() {
        let properties = Properties {
            expiration: Some("60000".into()),
            user_id: Some("u".into()),
            delivery_mode: Some(1),
            ..Properties::default()
        };
        let message = Message { body: "b".into(), properties };
        let mut letter = message.clone();
        letter.properties.headers.insert("x-death".into(), Field::Array(Vec::new()));
        letter.properties.headers.insert("x-delivery-count".into(), Field::I64(21));
        assert_eq!(original(&letter), message);
    }

    fn fields() -> impl Strategy<Value = Field> {
        prop_oneof![
            any::<bool>().prop_map(Field::Bool),
            any::<i64>().prop_map(Field::I64),
            ".{0,9}".prop_map(Field::text),
            prop::collection::vec("[a-z]{0,3}".prop_map(Field::text), 0..3).prop_map(Field::Array),
            Just(Field::Void),
        ]
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        prop::option::of(".{0,9}")
    }

    prop_compose! {
        fn messages()(
            body in prop::collection::vec(any::<u8>(), 0..9),
            headers in prop::collection::btree_map("CC|BCC|cc|x-retries|x-deaths|[a-z]{1,5}", fields(), 0..6),
            (content_type, content_encoding, correlation_id, reply_to) in (text(), text(), text(), text()),
            (expiration, message_id, kind, user_id, app_id) in (text(), text(), text(), text(), text()),
            (delivery_mode, priority, timestamp) in any::<(Option<u8>, Option<u8>, Option<u64>)>(),
        ) -> Message {
            let properties = Properties {
                content_type, content_encoding, headers, delivery_mode, priority, correlation_id, reply_to, expiration,
                message_id, timestamp, kind, user_id, app_id,
            };
            Message { body: body.into(), properties }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_producer_published_can_be_had_back_from_a_copy(message in messages(), tries in 0u32..3) {
            let mut history = History::new("a.b", NOW);
            let mut copy = history.write(&message);
            for _ in 0..tries {
                history.add(attempt(1));
                history.spend(NOW);
                copy = history.write(&copy);
                copy.properties.expiration = Some("5000".to_owned());
                copy.properties.headers.insert("x-first-death-queue".to_owned(), Field::text("q"));
            }
            prop_assert_eq!(original(&copy), message);
        }
    }
}
