//! Events as clients write them, and near misses: what is read, and what is said.

use super::*;

const ATTRIBUTES: [(&str, &str); 4] = [("specversion", "1.0"), ("id", "7"), ("source", "/s"), ("type", "t.done")];

fn headed(content_type: Option<&str>, body: &str, headers: impl IntoIterator<Item = (String, Field)>) -> Message {
    let properties = Properties {
        content_type: content_type.map(str::to_owned),
        headers: headers.into_iter().collect(),
        message_id: Some("not this".into()),
        ..Properties::default()
    };
    Message { body: body.to_owned().into(), properties }
}

fn prefixed(prefix: &str) -> Vec<(String, Field)> {
    ATTRIBUTES.iter().map(|(name, value)| (format!("{prefix}{name}"), Field::text(*value))).collect()
}

fn read(message: &Message) -> Event {
    decode(message, context()).unwrap_or_else(|said| panic!("{said}: {message:?}"))
}

#[test]
fn of_names_that_differ_in_case_alone_the_one_with_the_fewest_capitals_counts() {
    for (names, wins) in [
        (["ce-id", "CE-ID"], 0),
        (["CE-id", "ce-id"], 1),
        (["CE-ID", "Ce-Id"], 1),
        (["cloudEvents:id", "CLOUDEVENTS:ID"], 0),
        (["cloudevents_id", "cloudEvents_id"], 0),
    ] {
        let mut headers = prefixed("ce-");
        headers.retain(|(name, _)| name != "ce-id");
        headers.extend(names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), Field::text(at.to_string()))));
        assert_eq!(read(&headed(None, "{}", headers)).id.as_str(), wins.to_string(), "{names:?}");
    }
}

#[test]
fn a_binary_event_is_read_with_every_prefix_in_every_case() {
    for prefix in ["cloudEvents:", "cloudEvents_", "ce-", "ce_", "CE-", "Ce-", "CLOUDEVENTS:", ""] {
        let event = read(&headed(Some("application/json"), r#"{"a":1}"#, prefixed(prefix)));
        assert_eq!((event.id.as_str(), event.source.as_str(), event.kind.as_str()), ("7", "/s", "t.done"), "{prefix}");
        assert_eq!((&event.data.raw()[..], event.id_derived), (&br#"{"a":1}"#[..], false));
    }
    let upper = prefixed("ce-").into_iter().map(|(name, field)| (name.to_ascii_uppercase(), field));
    assert_eq!(read(&headed(None, "{}", upper)).id, "7");
    let bytes = prefixed("ce_")
        .into_iter()
        .map(|(name, field)| (name, Field::Binary(Bytes::from(field.as_str().unwrap().to_owned()))));
    assert_eq!(read(&headed(None, "{}", bytes)).id, "7", "Kafka's headers are bytes, and so they come from Python");
}

#[test]
fn a_header_that_only_looks_like_an_attribute_makes_no_event() {
    for other in ["ce-foo", "ce_time", "centre", "id", "ce-", "cloudeventsid"] {
        let event = read(&headed(None, "{}", [(other.to_owned(), Field::text("x"))]));
        assert_eq!(event.id, "not this", "{other}");
    }
    let three = prefixed("").into_iter().filter(|(name, _)| name != "specversion");
    assert_eq!(read(&headed(None, "{}", three)).id, "not this");
}

#[test]
fn the_first_prefix_wins_attribute_by_attribute() {
    let of = |prefixes: &[&str]| {
        let named = |prefix: &&str| {
            [("id", *prefix), ("source", *prefix), ("type", "t")]
                .map(|(name, value)| (format!("{prefix}{name}"), Field::text(value)))
        };
        read(&headed(None, "{}", prefixes.iter().flat_map(named))).id
    };
    let order = ["cloudEvents:", "cloudEvents_", "ce-", "ce_"];
    for (at, first) in order.iter().enumerate() {
        assert_eq!(of(&order[at..]), *first);
    }
    let mut mixed = headed(None, "{}", prefixed("ce-"));
    let headers = &mut mixed.properties.headers;
    headers.insert("cloudEvents:source".into(), Field::text("/first"));
    headers.insert("cloudEvents:id".into(), Field::Void);
    headers.insert("CE-ID".into(), Field::text("shouted"));
    let event = read(&mixed);
    assert_eq!((event.id.as_str(), event.source.as_str()), ("7", "/first"), "null is none, and small letters win");
}

#[test]
fn a_time_in_a_header_may_be_a_text_a_timestamp_or_a_number() {
    let time = |field: Field| {
        let mut message = headed(None, "{}", prefixed("cloudEvents_"));
        message.properties.headers.insert("cloudEvents_time".into(), field);
        decode(&message, context()).map(|event| event.time.to_string()).map_err(|said| said.to_string())
    };
    for (field, expected) in [
        (Field::text("2026-01-02T03:04:05.678+01:00"), "2026-01-02T02:04:05.678Z"),
        (Field::Timestamp(1_600_000_000), "2020-09-13T12:26:40Z"),
        (Field::Timestamp(1_600_000_000_123), "2020-09-13T12:26:40.123Z"),
        (Field::I64(1_600_000_000_123), "2020-09-13T12:26:40.123Z"),
        (Field::I32(1_600_000_000), "2020-09-13T12:26:40Z"),
        (Field::F64(1_600_000_000_123.0), "2020-09-13T12:26:40.123Z"),
        (Field::I64(-1_000), "1969-12-31T23:59:59Z"),
        (Field::I64(253_402_300_799_000), "9999-12-31T23:59:59Z"),
        (Field::Void, "2023-11-14T22:13:20Z"),
    ] {
        assert_eq!(time(field.clone()).as_deref(), Ok(expected), "{field:?}");
    }
    for field in [Field::Bool(true), Field::F64(1.5), Field::F64(f64::NAN), Field::Array(Vec::new())] {
        assert_eq!(time(field), Err("the header cloudEvents_time is neither a text nor a time".to_owned()));
    }
    for field in [Field::I64(i64::MAX), Field::Timestamp(u64::MAX), Field::F64(1e300)] {
        assert!(time(field.clone()).is_err(), "{field:?}");
    }
}

#[test]
fn a_binary_event_without_data_is_an_event() {
    for (content_type, body) in
        [(None, ""), (Some("application/json"), ""), (None, " \n"), (None, "null"), (Some("text/plain"), "")]
    {
        let event = read(&headed(content_type, body, prefixed("ce-")));
        assert_eq!(
            (event.id.as_str(), event.data.fields().len(), &event.data.raw()[..]),
            ("7", 0, &b"{}"[..]),
            "{body:?}"
        );
    }
    assert_eq!(sentence(&headed(Some("application/cloudevents+json"), "", prefixed("ce-"))), "the body is empty");
    assert_eq!(sentence(&headed(None, "null", [])), "the body is null, not a JSON object");
}

#[test]
fn the_content_type_may_stand_in_a_header_and_none_is_json() {
    let envelope = r#"{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;
    for (name, field) in [
        ("content-type", Field::text("application/cloudevents+json; charset=utf-8")),
        ("Content-Type", Field::Binary("application/cloudevents+json".into())),
        ("content_type", Field::text("Application/CloudEvents+JSON;charset=UTF-8")),
    ] {
        for property in [None, Some(""), Some(" ")] {
            assert_eq!(read(&headed(property, envelope, [(name.to_owned(), field.clone())])).id, "e");
        }
    }
    for fine in [
        "",
        " ",
        "; charset=utf-8",
        "application/json; charset=utf-8",
        "text/json",
        "APPLICATION/JSON",
        "application/vnd.x+json",
    ] {
        assert_eq!(read(&headed(Some(fine), r#"{"a":1}"#, [])).id, "not this", "{fine:?}");
    }
    for envelope_type in ["application/cloudevents+json; charset=UTF-8", "application/cloudevents"] {
        assert_eq!(read(&headed(Some(envelope_type), envelope, [])).id, "e", "{envelope_type}");
    }
    let plain = [("content-type".to_owned(), Field::text("text/plain"))];
    assert_eq!(read(&headed(Some("application/json"), "{}", plain.clone())).id, "not this", "the property wins");
    assert!(sentence(&headed(None, "{}", plain)).starts_with("content_type \"text/plain\" is not an event"));
    let batch = headed(Some("application/cloudevents-batch+json; charset=UTF-8"), "[]", []);
    assert_eq!(sentence(&batch), "a CloudEvents batch is not supported; publish one event a message");
    let mut xml = prefixed("ce-");
    xml.push(("ce-datacontenttype".to_owned(), Field::text("application/xml")));
    assert!(sentence(&headed(None, "<a/>", xml)).starts_with("content_type \"application/xml\" is not an event"));
    for encoding in ["", "identity", "UTF-8", "us-ascii", "binary"] {
        let mut message = headed(None, "{}", []);
        message.properties.content_encoding = Some(encoding.to_owned());
        read(&message);
    }
}

#[test]
fn an_envelope_is_read_under_the_content_type_of_its_data_too() {
    let envelope =
        r#"{"specversion":"1.0","id":"e","source":"/s","type":"t","time":"2026-01-02T03:04:05Z","data":{"a": 1}}"#;
    for content_type in [None, Some("application/json"), Some("text/json")] {
        let event = read(&headed(content_type, envelope, []));
        assert_eq!((event.id.as_str(), event.source.as_str(), &event.data.raw()[..]), ("e", "/s", &br#"{"a": 1}"#[..]));
    }
    for data in [
        r#"{"specversion":"1.0","id":"e","source":"/s"}"#,
        r#"{"id":"e","source":"/s","type":"t"}"#,
        r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#,
    ] {
        assert_eq!(
            (read(&headed(None, data, [])).id.as_str(), &read(&headed(None, data, [])).data.raw()[..]),
            ("not this", data.as_bytes())
        );
    }
}

#[test]
fn null_in_an_envelope_is_left_out() {
    let body = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":null,"data": null ,"data_base64":null}"#;
    let event = read(&message("application/cloudevents+json", body));
    assert_eq!((event.data.fields().len(), &event.data.raw()[..], event.time.timestamp()), (0, &b"{}"[..], RECEIVED));
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    for (content_type, body) in [
        ("application/json", "\u{feff}{\"a\":1}"),
        (
            "application/cloudevents+json",
            "\u{feff}{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":{\"a\":1}}",
        ),
    ] {
        assert_eq!(&read(&message(content_type, body)).data.raw()[..], br#"{"a":1}"#);
    }
    assert_eq!(sentence(&message("application/json", "\u{feff}")), "the body is empty");
}

#[test]
fn half_an_emoji_is_replaced_and_nothing_else_is() {
    for (written, kept) in [
        (r#"{"a":"x\ud83d"}"#, r#"{"a":"x\ufffd"}"#),
        (r#"{"a":"\uD83D","b":"\ude00y\ud83d\ude00"}"#, r#"{"a":"\ufffd","b":"\ufffdy\ud83d\ude00"}"#),
        (r#"{"a":"\ud83d\ud83d\ude00\ud83dé"}"#, r#"{"a":"\ufffd\ud83d\ude00\ufffdé"}"#),
        (r#"{"\ud83d":"\\ud83d \"\\\\ud83d\u00e9"}"#, r#"{"\ufffd":"\\ud83d \"\\\\ud83d\u00e9"}"#),
    ] {
        let event = read(&message("application/json", written));
        assert_eq!(std::str::from_utf8(event.data.raw()), Ok(kept));
        let envelope = format!(r#"{{"specversion":"1.0","id":"1","source":"\udead","type":"t","data":{written}}}"#);
        let event = read(&message("application/cloudevents+json", envelope));
        assert_eq!((event.source.as_str(), std::str::from_utf8(event.data.raw())), ("\u{fffd}", Ok(kept)));
    }
    let event = read(&message("application/json", r#"{"a":"\ud83d"}"#));
    assert_eq!(event.data.fields()["a"], "\u{fffd}");
    for broken in
        [r#"{"a":"\u"}"#, r#"{"a":"\ud83"}"#, r#"{"a":"\u+123"}"#, "{\"a\":\"\\ud83d", r#"{"a":"\uéé"}"#, "\\", "\\u"]
    {
        assert!(decode(&message("application/json", broken), context()).is_err(), "{broken}");
    }
}

#[test]
fn what_is_not_json_is_told_for_what_it_is() {
    let utf16 = |text: &str, bom: bool| {
        let units = bom.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    let utf16_be: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (body, expected) in [
        (utf16("{\"a\":\"é\"}", true), "the body is UTF-16; publish it as UTF-8"),
        (utf16("{}", false), "the body is UTF-16; publish it as UTF-8"),
        (utf16_be, "the body is UTF-16; publish it as UTF-8"),
        (b"{\0\0\0}\0\0\0".to_vec(), "the body is UTF-32; publish it as UTF-8"),
        (b"\x1f\x8b\x08\0".to_vec(), "the body is compressed with gzip; publish it as plain JSON"),
        (b"\x78\x9c\xab\x56".to_vec(), "the body is compressed with zlib; publish it as plain JSON"),
        (b"\x28\xb5\x2f\xfd\x04".to_vec(), "the body is compressed with zstd; publish it as plain JSON"),
        (b"<a/>".to_vec(), "the body is XML or HTML; publish it as JSON"),
        (b"eyJhIjoxfQ==".to_vec(), "the body is base64; publish it as plain JSON"),
        (b"{\"a\":\"\xf0\x9f\x98".to_vec(), "the body is not UTF-8: it ends inside the character at offset 6"),
        (b"{\"a\":NaN}".to_vec(), "the body is not JSON: NaN at line 1 column 6 is not a JSON value"),
        (b"{\"a\":\n -Infinity}".to_vec(), "the body is not JSON: Infinity at line 2 column 3 is not a JSON value"),
        (b"{'a':1}".to_vec(), "the body is not JSON: ' at line 1 column 2 is not a JSON value"),
        (b"{\"a\": None}".to_vec(), "the body is not JSON: None at line 1 column 7 is not a JSON value"),
        (
            b"{\"a\":\"x".to_vec(),
            "the body is not JSON: it ends too early (EOF while parsing a string at line 1 column 7)",
        ),
        (
            b"{}\n{}".to_vec(),
            "the body is more than one JSON value: the second begins at line 2 column 1; publish one event a message",
        ),
        (
            b"{\"a\":1}}".to_vec(),
            "the body is not JSON: '}' at line 1 column 8 is after its end; publish one JSON value a message",
        ),
        (
            b"{\"a\": tru}".to_vec(),
            "the body is not JSON: the word at line 1 column 10 is none of true, false and null",
        ),
        (b"\"{}\"".to_vec(), "the body is a string, not a JSON object"),
    ] {
        assert_eq!(sentence(&message("application/json", body)), expected);
    }
    let cut = message("application/cloudevents+json", r#"{"specversion":"1.0","id"#);
    assert_eq!(
        sentence(&cut),
        "the body is not JSON: it ends too early (EOF while parsing a string at line 1 column 24)"
    );
}

#[test]
fn numbers_keep_their_digits() {
    let digits = r#"{"a":9223372036854775808123,"b":1.10,"c":0.1234567890123456789012345,"d":1E400,"e":-0.0}"#;
    let event = read(&message("application/json", digits));
    assert_eq!(event.data.fields()["a"].to_string(), "9223372036854775808123");
    assert_eq!(
        (event.data.fields()["b"].to_string(), event.data.fields()["c"].to_string()),
        ("1.10".into(), "0.1234567890123456789012345".into())
    );
}

#[test]
fn a_traceparent_is_found_in_any_case() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for name in ["traceparent", "TraceParent", "TRACEPARENT", "Traceparent"] {
        for field in [Field::text(PARENT), Field::Binary(PARENT.into())] {
            let mut message = headed(None, "{}", [(name.to_owned(), field)]);
            message.properties.headers.insert("TraceState".to_owned(), Field::text("a=1"));
            let trace = read(&message).trace.unwrap();
            assert_eq!((trace.parent.as_str(), trace.state.as_deref()), (PARENT, Some("a=1")));
        }
    }
}

#[test]
fn headers_that_leave_no_room_are_malformed_and_a_copy_of_them_is_not() {
    let mut message = headed(None, "{}", prefixed("ce-"));
    message.properties.headers.insert("blob".to_owned(), Field::text("x".repeat(99_000)));
    message.properties.headers.insert("x-death".to_owned(), Field::text("x".repeat(9_000)));
    assert_eq!(read(&message).id, "7", "the broker's own do not count");
    message.properties.headers.insert("blob".to_owned(), Field::text("x".repeat(125_000)));
    let malformed = decode(&message, context()).unwrap_err();
    assert_eq!(
        malformed.to_string(),
        "the headers have 125081 bytes; at most 100000 are allowed, since every copy carries them"
    );
    assert_eq!(malformed.identity.id.as_deref(), Some("7"));
    message.properties.headers.insert(ROUTING_KEY.to_owned(), Field::text("t"));
    assert_eq!(read(&message).id, "7");
}

#[test]
fn when_an_event_is_to_be_sent_is_read_in_each_form_and_makes_no_plain_event_binary() {
    const AT: &str = "2026-01-02T03:04:05Z";
    let structured = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","deliverafter":"{AT}","expirytime":"{AT}"}}"#
    );
    let mut events = vec![decode(&message("application/cloudevents+json", structured), context()).unwrap()];
    for prefix in ["", "ce-", "ce_", "cloudEvents:", "cloudEvents_"] {
        let mut plain = message("application/json", r#"{"a":1}"#);
        plain.properties.message_id = Some("1".into());
        plain.properties.headers.insert(format!("{prefix}deliverafter"), Field::text(AT));
        plain.properties.headers.insert(format!("{prefix}expirytime"), Field::Timestamp(1_767_323_045));
        events.push(decode(&plain, context()).unwrap());
        let mut wrong = plain.clone();
        wrong.properties.headers.insert(format!("{prefix}deliverafter"), Field::text("tomorrow"));
        assert!(sentence(&wrong).contains("\"deliverafter\" is \"tomorrow\""), "{}", sentence(&wrong));
    }
    for event in events {
        let shown = |time: Option<Time>| time.map(|time| time.to_string());
        assert_eq!((event.id.as_str(), shown(event.not_before)), ("1", Some(AT.to_owned())));
        assert_eq!(shown(event.expires), Some(AT.to_owned()));
    }
}
