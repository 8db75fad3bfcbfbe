use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::dead_letters::export::{line, read_line};

fn field() -> impl Strategy<Value = Field> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Field::Bool),
        any::<i8>().prop_map(Field::I8),
        any::<u8>().prop_map(Field::U8),
        any::<i16>().prop_map(Field::I16),
        any::<u16>().prop_map(Field::U16),
        any::<i32>().prop_map(Field::I32),
        any::<u32>().prop_map(Field::U32),
        any::<i64>().prop_map(Field::I64),
        prop::num::f32::ANY.prop_filter("is no number", |value| !value.is_nan()).prop_map(Field::F32),
        prop::num::f64::ANY.prop_filter("is no number", |value| !value.is_nan()).prop_map(Field::F64),
        any::<(u8, u32)>().prop_map(|(scale, value)| Field::Decimal(scale, value)),
        any::<String>().prop_map(Field::text),
        bytes().prop_map(Field::Text),
        any::<String>().prop_map(Field::ShortText),
        any::<u64>().prop_map(Field::Timestamp),
        bytes().prop_map(Field::Binary),
        Just(Field::Void),
    ];
    leaf.prop_recursive(3, 12, 4, |field| {
        prop_oneof![
            prop::collection::vec(field.clone(), 0..4).prop_map(Field::Array),
            prop::collection::btree_map(any::<String>(), field, 0..4).prop_map(Field::Table),
        ]
    })
}

prop_compose! {
    fn message()(
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..40), any::<String>().prop_map(String::into_bytes)],
        headers in prop::collection::btree_map("[ -~]{0,8}|x-sluice-[a-z]{1,9}|cloudEvents:id|CC", field(), 0..6),
        texts in prop::array::uniform9(any::<Option<String>>()),
        delivery_mode: Option<u8>, priority: Option<u8>, timestamp: Option<u64>,
    ) -> Message {
        let [content_type, content_encoding, correlation_id, reply_to, expiration, message_id, kind, user_id, app_id] = texts;
        Message {
            body: body.into(),
            properties: Properties {
                content_type, content_encoding, headers, delivery_mode, priority, correlation_id, reply_to, expiration,
                message_id, timestamp, kind, user_id, app_id,
            },
        }
    }
}

proptest! {
    #[test]
    fn every_message_survives_the_way_through_a_file_byte_for_byte(message in message()) {
        let line = line(&message, "px");
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(read_line(line.as_bytes()).unwrap().unwrap().letter, message);
    }

    #[test]
    fn what_was_made_of_an_event_gives_back_the_event(mut produced in message()) {
        produced.properties.headers.retain(|name, _| !name.starts_with("x-sluice-"));
        produced.properties.delivery_mode = Some(2);
        let exported = read_line(line(&written(&produced, "no", DIED), "px").as_bytes()).unwrap().unwrap();
        prop_assert_eq!(exported.original, produced);
        prop_assert_eq!(exported.routing_key.as_deref(), Some("order.paid"));
    }

    #[test]
    fn no_line_whatever_stands_in_it_stops_the_reading(text in "\\PC*", at in 0..400_usize) {
        drop(read_line(text.as_bytes()));
        drop(read_line(format!("{{\"sluice_dead_letter\":1,\"message\":{text}}}").as_bytes()));
        let line = line(&sample(), "px");
        prop_assert!(read_line(&line.as_bytes()[..at.max(25)]).unwrap().is_err());
    }
}

#[test]
fn not_a_number_keeps_its_bits() {
    let mut message = Message::default();
    let bits = f64::NAN.to_bits() | 5;
    message.properties.headers.insert("nan".to_owned(), Field::F64(f64::from_bits(bits)));
    let exported = read_line(line(&message, "px").as_bytes()).unwrap().unwrap();
    let Field::F64(value) = exported.letter.properties.headers["nan"] else { panic!() };
    assert_eq!(value.to_bits(), bits);
}

#[test]
fn a_line_has_the_letters_reading_for_people() {
    let line: Value = serde_json::from_str(&line(&sample(), "px")).unwrap();
    assert_eq!(line["sluice_dead_letter"], 1);
    assert_eq!((&line["letter"]["reason"], &line["letter"]["type"]), (&json!("rejected"), &json!("order.paid")));
    assert_eq!(line["message"]["headers"]["x-sluice-reason"], "rejected");
    assert_eq!(line["message"]["body"], "{\"amount\":5,\"user\":\"u-17\"}");
}

#[test]
fn an_event_is_no_line_of_an_export() {
    let envelope =
        json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"x": "sluice_dead_letter"}});
    let within = json!({"data": {"sluice_dead_letter": 1}});
    for event in [envelope.to_string(), within.to_string(), "\"sluice_dead_letter\"".into(), "{".into(), String::new()]
    {
        assert_eq!(read_line(event.as_bytes()), None, "{event}");
    }
}

#[test]
fn a_line_that_was_sorted_by_another_program_is_read_all_the_same() {
    let sorted: Value = serde_json::from_str(&line(&sample(), "px")).unwrap();
    let sorted = format!("  {sorted}\r");
    assert!(sorted.starts_with("  {\"letter\""));
    assert_eq!(read_line(sorted.as_bytes()).unwrap().unwrap().letter, sample());
}

#[test]
fn a_line_that_cannot_be_read_says_why() {
    let letter = "\"sluice_dead_letter\":1,\"letter\":{\"destination\":\"px\"}";
    let with = |message: &str| format!("{{{letter},\"message\":{message}}}");
    for (line, part) in [
        ("{\"sluice_dead_letter\":2}".to_owned(), "is 2; this version of Sluice reads 1"),
        ("{\"sluice_dead_letter\":1}".to_owned(), "does not say whose it was"),
        (format!("{{{letter}}}"), "has no \"message\""),
        ("{\"sluice_dead_letter\":1,".to_owned(), "not JSON"),
        (with("{\"properties\":{},\"headers\":{}}"), "one of \"body\" and \"body_base64\""),
        (with("{\"properties\":{},\"headers\":{},\"body_base64\":\"?\"}"), "\"body_base64\" is not base64"),
        (with("{\"properties\":{\"prio\":1},\"headers\":{},\"body\":\"\"}"), "properties: unknown field `prio`"),
        (with("{\"properties\":{},\"headers\":{\"h\":1.5},\"body\":\"\"}"), "the header \"h\" is 1.5"),
    ] {
        let said = read_line(line.as_bytes()).unwrap().unwrap_err();
        assert!(said.contains(part), "{line}: {said}");
    }
}
