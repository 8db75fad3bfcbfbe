use super::*;
use crate::class::Class;
use crate::dead_letters::acts;
use crate::dead_letters::letter::{Details, identity, keep_death, routing_key};
use crate::record::copy::original;

#[test]
fn a_letter_says_what_sluice_wrote_of_it() {
    let letter = read(&sample());
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_second);
    assert_eq!((letter.reason, letter.sentence.as_str()), (Reason::Rejected, "PX answered 400: no user u-17"));
    assert_eq!((letter.event_id.as_deref(), letter.event_type.as_str()), (Some("e-1"), "order.paid"));
    assert_eq!(letter.dead_lettered_at, Some(DIED));
    assert_eq!(seconds(letter.first_attempt), Some(1_700_000_010));
    assert_eq!(seconds(letter.last_attempt), Some(1_700_000_090));
    assert!(letter.worker.unwrap().starts_with("sluice/"));
    assert_eq!((letter.group.len(), letter.id.len(), letter.replays), (16, 16, 0));
    let json = serde_json::to_value(read(&sample())).unwrap();
    assert_eq!((&json["type"], &json["reason"]), (&json!("order.paid"), &json!("rejected")));
    assert_eq!((json.get("edited_from"), &json["dead_lettered_at"]), (None, &json!("2023-11-14T22:15:00Z")));
}

#[test]
fn a_letter_stays_the_same_one_at_every_look_and_in_the_trash() {
    let once = identity(&sample());
    let mut again = sample();
    for (name, value) in [("x-delivery-count", 3), ("x-acquired-count", 4)] {
        again.properties.headers.insert(name.to_owned(), Field::I64(value));
    }
    again.properties.headers.insert("x-death".to_owned(), Field::Array(vec![entry("rejected", "q", 5, "k")]));
    for (name, value) in
        [("edited-to", "00ff"), ("discarded-at", "2026-01-01T00:00:00Z"), ("discarded-by", "a"), ("cause", "x")]
    {
        again = with(again, &format!("x-sluice-{name}"), value);
    }
    again.properties.expiration = Some("5000".into());
    assert_eq!(identity(&again), once);
    // Ids stand in headers and in the audit log: no build may give others.
    assert_eq!(read(&again).id, "5dd52b9770c87d96");
}

#[test]
fn a_letter_of_somebody_elses_moves_safely_and_comes_back_the_same() {
    let mut letter = event(&json!({"a": 1}));
    letter.properties.headers = Headers::from([
        ("CC".to_owned(), Field::Array(vec![Field::text("x")])),
        ("BCC".to_owned(), Field::text("no array")),
        ("own".to_owned(), Field::U8(7)),
    ]);
    letter.properties.expiration = Some("60000".into());
    letter.properties.user_id = Some("shop".into());
    let moved = [
        acts::discarded(&letter, "a@b", DIED),
        acts::restored(&acts::discarded(&letter, "a@b", DIED)),
        acts::replayed(&letter, "00ff", "op", "outcomes", DIED),
    ];
    for moved in moved {
        let properties = &moved.properties;
        assert_eq!((&properties.expiration, &properties.user_id, properties.delivery_mode), (&None, &None, Some(2)));
        assert!(!["CC", "BCC"].iter().any(|name| properties.headers.contains_key(*name)), "{properties:?}");
        assert_eq!(original(&moved), letter);
    }
    let restored = acts::restored(&acts::discarded(&letter, "a@b", DIED));
    assert_eq!(identity(&restored), identity(&letter));
}

#[test]
fn letters_of_somebody_elses_that_differ_in_anything_are_different_ones() {
    let letter = event(&json!({"a": 1}));
    let mut all = vec![letter.clone(); 4];
    all[1].properties.kind = Some("other".into());
    all[2].properties.headers.insert("own".to_owned(), Field::U8(7));
    all[3].properties.headers.insert("own".to_owned(), Field::I64(7));
    let mut ids: Vec<u64> = all.iter().map(identity).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn an_event_that_died_again_is_another_letter() {
    let letter = sample();
    let mut other_body = letter.clone();
    other_body.body = "{}".into();
    let mut other_id = letter.clone();
    other_id.properties.message_id = Some("e-2".into());
    let mut all = vec![
        identity(&written(
            &event(&json!({"user": "u-17", "amount": 5})),
            "PX answered 400: no user u-17",
            DIED + jiff::SignedDuration::from_nanos(1),
        )),
        identity(&other_body),
        identity(&other_id),
        identity(&moved("delivery_limit")),
        identity(&with(moved("delivery_limit"), "cloudEvents:id", "e-9")),
    ];
    for name in ["event-id", "received", "routing-key", "replays", "replayed-by", "edited-from", "dead-lettered-at"] {
        all.push(identity(&with(letter.clone(), &format!("x-sluice-{name}"), "2020-01-01T00:00:00Z")));
    }
    all.push(identity(&letter));
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn a_letter_by_the_delivery_limit_is_told_from_what_the_broker_wrote() {
    let letter = read(&moved("delivery_limit"));
    assert_eq!(letter.reason, Reason::DeliveryLimit);
    assert!(letter.sentence.contains("\"sluice.px\"") && letter.sentence.contains("crash"), "{}", letter.sentence);
    assert_eq!((letter.event_id.as_deref(), letter.event_type.as_str()), (Some("e-1"), "order.paid"));
    assert_eq!((letter.dead_lettered_at, letter.destination.as_str()), (Some(DIED), "px"));
    assert_eq!(routing_key(&moved("delivery_limit")).as_deref(), Some("order.paid"));
    // One that was retried, and replayed, before.
    let mut retried = history().write(&moved("delivery_limit"));
    retried.properties.headers.extend(moved("delivery_limit").properties.headers);
    let retried = read(&with(retried, "x-sluice-replay", "op-7"));
    assert_eq!(retried.last_attempt.map(Timestamp::as_second), Some(1_700_000_090));
    assert_eq!(retried.replayed_by.as_deref(), Some("op-7"));
}

#[test]
fn what_the_broker_wrote_is_kept_when_a_letter_moves() {
    for reason in ["delivery_limit", "maxlen"] {
        let before = moved(reason);
        let mut after = before.clone();
        keep_death(&mut after);
        after.properties.headers.remove("x-death");
        assert_eq!(read(&after), read(&before));
        assert_eq!(routing_key(&after), routing_key(&before));
    }
    for mut untouched in [sample(), event(&json!({}))] {
        let before = untouched.clone();
        keep_death(&mut untouched);
        assert_eq!(untouched, before);
    }
}

#[test]
fn a_letter_says_its_class_and_keeps_it_over_a_replay_and_an_edit() {
    let class = |letter: &Message| read(letter).class;
    assert_eq!(class(&sample()), Some(Class::Live));
    assert_eq!(class(&moved("delivery_limit")), Some(Class::Live));
    assert_eq!(class(&Message::default()), None);
    let mut by_broker = event(&json!({"user": "u-17"}));
    by_broker.properties.headers = deaths(vec![entry("delivery_limit", "sluice.px.bulk", 1_700_000_100, "order.paid")]);
    for bulk in [with(sample(), "x-sluice-class", "bulk"), by_broker] {
        assert_eq!(class(&bulk), Some(Class::Bulk));
        assert_eq!(class(&acts::restored(&acts::discarded(&bulk, "a@b", DIED))), Some(Class::Bulk));
        // As the replayed event comes, and dies again.
        let again = written(&acts::replayed(&bulk, "00ff", "op", "outcomes", DIED), "no", DIED);
        assert_eq!(class(&again), Some(Class::Bulk));
        assert_eq!(serde_json::to_value(read(&again)).unwrap()["class"], json!("bulk"));
    }
}

#[test]
fn what_somebody_put_there_is_read_as_well_as_it_can_be() {
    let nothing = read(&Message::default());
    assert_eq!((nothing.reason, nothing.event_id, nothing.event_type.as_str()), (Reason::Unknown, None, "unknown"));
    assert!(nothing.sentence.contains("something other than Sluice"));
    // Its derived id would depend on a routing key that is not known.
    let plain = read(&Message { body: "{}".into(), properties: Properties::default() });
    assert_eq!((plain.event_id, plain.event_type.as_str()), (None, "unknown"));
    let envelope = json!({"specversion": "1.0", "id": "i", "source": "s", "type": "t", "data": {}}).to_string();
    let properties = Properties { content_type: Some("application/cloudevents+json".into()), ..Properties::default() };
    let envelope = read(&Message { body: envelope.into(), properties });
    assert_eq!((envelope.event_id.as_deref(), envelope.event_type.as_str()), (Some("i"), "t"));
    let mut junk = moved("maxlen");
    junk.body = "not json".into();
    let junk = read(&junk);
    assert_eq!((junk.event_id.as_deref(), junk.event_type.as_str()), (Some("e-1"), "order.paid"));
    assert!(junk.sentence.contains("(maxlen)"), "{}", junk.sentence);
    let later = read(&with(sample(), "x-sluice-reason", "moonstruck"));
    assert_eq!((later.reason, later.sentence.as_str()), (Reason::Unknown, "PX answered 400: no user u-17"));
    let forged = read(&with(sample(), "x-sluice-fingerprint", "<b>"));
    assert_eq!(forged.group.len(), 16);
}

#[test]
fn the_original_is_what_the_producer_published() {
    let mut produced = event(&json!({"a": 1}));
    produced.properties.headers = Headers::from([
        ("CC".to_owned(), Field::Array(vec![Field::text("x")])),
        ("BCC".to_owned(), Field::Array(vec![Field::text("y")])),
        ("own".to_owned(), Field::U8(7)),
    ]);
    produced.properties.expiration = Some("60000".into());
    produced.properties.user_id = Some("shop".into());
    produced.properties.delivery_mode = Some(2);
    let letter = written(&produced, "no", DIED);
    assert_eq!(original(&letter), produced);
    let mut mode = letter;
    for (kept, delivery_mode) in [(1, Some(1)), (-1, None)] {
        mode.properties.headers.insert("x-sluice-property-delivery-mode".to_owned(), Field::I64(kept));
        assert_eq!(original(&mode).properties.delivery_mode, delivery_mode);
    }
}

#[test]
fn details_show_the_attempts_and_the_producers_own() {
    let mut produced = event(&json!({"a": 1}));
    produced.properties.headers.insert("own".to_owned(), Field::U8(7));
    let json = serde_json::to_value(Details::read(&written(&produced, "no", DIED), "px")).unwrap();
    assert_eq!(json["attempts"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["properties"], json!({"message_id": "e-1", "type": "order.paid"}));
    assert_eq!(json["headers"], json!({"own": {"type": "u8", "value": 7}}));
    assert_eq!((&json["sentence"], &json["body"]), (&json!("no"), &json!("{\"a\":1}")));
    assert_eq!((&json["routing_key"], json.get("body_base64")), (&json!("order.paid"), None));
    // A secret is not shown, and stays in the message and in its export.
    produced.properties.headers.insert("x-api-key".to_owned(), Field::text("sk-12345"));
    let letter = written(&produced, "no", DIED);
    assert_eq!(Details::read(&letter, "px").headers["x-api-key"], "***");
    assert_eq!(original(&letter), produced);
    assert!(crate::dead_letters::export::line(&letter, "px").contains("sk-12345"));
    produced.body = bytes::Bytes::from_static(&[0xff]);
    assert_eq!(Details::read(&produced, "px").body_base64.as_deref(), Some("/w=="));
}
