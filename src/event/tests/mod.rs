use proptest::prelude::*;

use super::*;
use crate::message::{Field, Headers, Properties};

mod forms;

const RECEIVED: Timestamp = Timestamp::constant(1_700_000_000, 0);

fn context() -> Context<'static> {
    Context { routing_key: "product.report.exported", received: RECEIVED, max_bytes: 1 << 20 }
}

fn message(content_type: &str, body: impl Into<Bytes>) -> Message {
    let properties = Properties { content_type: Some(content_type.into()), ..Properties::default() };
    Message { body: body.into(), properties }
}

fn sentence(message: &Message) -> String {
    decode(message, context()).unwrap_err().to_string()
}

#[test]
fn a_structured_event_is_read() {
    let body = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"cart.paid","time":"2026-01-02T03:04:05.678+01:00",
        "traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data": {"a": 1.10}}"#;
    let event = decode(&message("application/cloudevents+json; charset=utf-8", body), context()).unwrap();
    assert_eq!((event.id.as_str(), event.source.as_str(), event.kind.as_str()), ("1", "/shop", "cart.paid"));
    assert_eq!(event.time.to_string(), "2026-01-02T02:04:05.678Z");
    assert_eq!(*event.data.raw(), r#"{"a": 1.10}"#);
    let trace = event.trace.unwrap();
    assert_eq!(trace.parent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!((trace.id(), &trace.state), ("4bf92f3577b34da6a3ce929d0e0e4736", &None));
}

#[test]
fn a_binary_event_is_read_with_either_prefix() {
    for prefix in ["cloudEvents:", "cloudEvents_"] {
        let mut message = message("application/json", r#"{"a":1}"#);
        for (name, value) in
            [("specversion", "1.0"), ("id", "7"), ("source", "s"), ("type", "t"), ("time", "2026-01-02T00:00:00Z")]
        {
            message.properties.headers.insert(format!("{prefix}{name}"), Field::text(value));
        }
        let event = decode(&message, context()).unwrap();
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("7", "t"));
        assert_eq!(event.time.to_string(), "2026-01-02T00:00:00Z");
    }
}

#[test]
fn a_plain_event_takes_its_attributes_from_the_properties() {
    let mut message = message("application/json", r#"{"a":1}"#);
    message.properties.message_id = Some("m-1".into());
    message.properties.app_id = Some("crm".into());
    message.properties.kind = Some("deal.won".into());
    message.properties.timestamp = Some(1_600_000_000);
    let event = decode(&message, context()).unwrap();
    assert_eq!((event.id.as_str(), event.source.as_str(), event.kind.as_str()), ("m-1", "crm", "deal.won"));
    assert_eq!(event.time.as_millisecond(), 1_600_000_000_000);
}

#[test]
fn a_plain_event_without_id_type_or_time_gets_stable_ones() {
    let first = decode(&message("application/json", r#"{"a":1}"#), context()).unwrap();
    let again = decode(&message("application/json", r#"{"a":1}"#), context()).unwrap();
    let other = decode(&message("application/json", r#"{"a":2}"#), context()).unwrap();
    assert_eq!(first.id, again.id);
    assert_ne!(first.id, other.id);
    assert_eq!(first.kind, "product.report.exported");
    assert_eq!(first.time.timestamp(), RECEIVED);
}

#[test]
fn junk_is_malformed_with_a_sentence_that_says_what_and_where() {
    let nested = "[".repeat(100_000);
    let nested_objects = r#"{"a":"#.repeat(100_000);
    for (body, expected) in [
        (&b""[..], "the body is empty"),
        (br#"{"a":"#, "the body is not JSON: it ends too early (EOF while parsing a value at line 1 column 5)"),
        (b"[1,2]", "the body is an array, not a JSON object"),
        (b"{\"a\":\"\xff\"}", "the body is not UTF-8: invalid byte at offset 6"),
        (nested.as_bytes(), "the body is nested too deeply: over 127 levels at line 1 column 128"),
        (nested_objects.as_bytes(), "the body is nested too deeply: over 127 levels at line 1 column 636"),
    ] {
        assert_eq!(sentence(&message("application/json", body.to_vec())), expected);
    }
}

fn identity(message: &Message) -> Identity {
    decode(message, Context { max_bytes: 1000, ..context() }).unwrap_err().identity
}

fn named(id: Option<&str>, source: &str, kind: &str, time: Timestamp) -> Identity {
    Identity { id: id.map(str::to_owned), source: source.to_owned(), kind: kind.to_owned(), time: time.into() }
}

#[test]
fn what_is_no_event_is_named_by_its_envelope_else_its_headers_else_its_properties_else_the_routing_key() {
    let sent = Timestamp::constant(1_600_000_000, 0);
    let nothing = named(None, "", "product.report.exported", RECEIVED);
    let mut bare = message("application/cloudevents+json", "{");
    assert_eq!(identity(&bare), nothing);
    bare.properties.message_id = Some("m-1".into());
    bare.properties.app_id = Some("crm".into());
    bare.properties.kind = Some("deal.won".into());
    bare.properties.timestamp = Some(1_600_000_000);
    let by_properties = named(Some("m-1"), "crm", "deal.won", sent);
    assert_eq!(identity(&bare), by_properties);
    let mut headed = bare.clone();
    for (name, value) in [("id", "h-1"), ("source", "/h"), ("type", "h.done"), ("time", "2020-09-13T12:26:41Z")] {
        headed.properties.headers.insert(format!("cloudEvents:{name}"), Field::text(value));
    }
    let by_headers = named(Some("h-1"), "/h", "h.done", Timestamp::constant(1_600_000_001, 0));
    assert_eq!(identity(&headed), by_headers);
    let enveloped = |body: String| Message { body: body.into(), ..headed.clone() };
    let whole =
        r#"{"specversion":"1.0","id":"e-1","source":"/e","type":"e.done","time":"2020-09-13T12:26:42Z","data":"#;
    let by_envelope = named(Some("e-1"), "/e", "e.done", Timestamp::constant(1_600_000_002, 0));
    assert_eq!(identity(&enveloped(format!("{whole}7}}"))), by_envelope);
    let nested = format!("{whole}{}{}}}", "[".repeat(300), "]".repeat(300));
    assert_eq!(identity(&enveloped(nested)), by_envelope);
    let too_large = format!(r#"{whole}"{}"}}"#, "x".repeat(1000));
    for unread in [too_large, format!("{whole}7"), "[]".to_owned(), String::new()] {
        assert_eq!(identity(&enveloped(unread.clone())), by_headers, "{unread}");
    }
}

#[test]
fn what_no_good_event_may_have_names_nothing() {
    let long = "x".repeat(MAX_ATTRIBUTE_BYTES + 1);
    for wrong in [r#""""#, r#"" ""#, "7", "null", "{}", &format!("{long:?}")] {
        let body = format!(r#"{{"specversion":"1.0","id":{wrong},"source":{wrong},"type":{wrong},"time":{wrong}}}"#);
        let nothing = named(None, "", "product.report.exported", RECEIVED);
        let malformed = decode(&message("application/cloudevents+json", body), context()).unwrap_err();
        assert_eq!(malformed.identity, nothing, "{wrong}");
    }
    let mut numbered = message("application/json", "[]");
    numbered.properties.message_id = Some("m-1".into());
    numbered.properties.headers.insert("cloudEvents:id".into(), Field::Table(Headers::new()));
    assert_eq!(identity(&numbered).id.as_deref(), Some("m-1"));
}

#[test]
fn an_envelope_names_the_attribute_that_is_wrong() {
    for (body, expected) in [
        (r#"{"id":"1"}"#, "the attribute \"specversion\" is missing; use \"1.0\""),
        (r#"{"specversion":"0.3"}"#, "specversion \"0.3\" is not supported; use \"1.0\""),
        (r#"{"specversion":"1.0","source":"s","type":"t"}"#, "the attribute \"id\" is missing"),
        (r#"{"specversion":"1.0","id":7,"source":"s","type":"t"}"#, "the CloudEvents attribute \"id\" is not a string"),
        (r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "the attribute \"id\" is empty"),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"yesterday"}"#,
            "the attribute \"time\" is \"yesterday\", not an RFC 3339 date and time",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":[]}"#,
            "\"data\" is an array, not a JSON object",
        ),
        ("[]", "the CloudEvents envelope is not a JSON object"),
    ] {
        assert_eq!(sentence(&message("application/cloudevents+json", body)), expected);
    }
}

#[test]
fn deep_nesting_inside_an_envelope_is_malformed_too() {
    let body = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{{"a":{}1{}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(sentence(&message("application/cloudevents+json", body)).starts_with("\"data\" is nested too deeply"));
}

#[test]
fn an_envelope_without_data_has_an_empty_object() {
    let event = decode(
        &message("application/cloudevents+json", r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#),
        context(),
    )
    .unwrap();
    assert_eq!((event.data.fields().len(), &event.data.raw()[..]), (0, &b"{}"[..]));
}

#[test]
fn an_oversized_or_encoded_or_foreign_body_is_malformed() {
    let small = Context { max_bytes: 4, ..context() };
    let error = decode(&message("application/json", r#"{"a":1}"#), small).unwrap_err();
    assert_eq!(error.to_string(), "the body has 7 bytes; at most 4 are allowed");
    assert!(sentence(&message("text/plain", "hello")).starts_with("content_type \"text/plain\" is not an event"));
    let mut gzip = message("application/json", "{}");
    gzip.properties.content_encoding = Some("gzip".into());
    assert!(sentence(&gzip).starts_with("content_encoding \"gzip\" is not supported"));
}

#[test]
fn a_malformed_traceparent_is_dropped() {
    let mut message = message("application/json", "{}");
    message.properties.headers.insert("traceparent".into(), Field::text("00-zz-zz-01"));
    message.properties.headers.insert("tracestate".into(), Field::text("a=1"));
    assert_eq!(decode(&message, context()).unwrap().trace, None);
}

#[test]
fn a_tracestate_goes_with_its_traceparent_and_is_dropped_alone_when_it_cannot_be_carried() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let state = |header: Option<&str>, extension: &str| {
        let envelope = serde_json::json!({
            "specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {},
            "traceparent": PARENT, "tracestate": extension,
        });
        let mut message = message("application/cloudevents+json", envelope.to_string());
        for (name, value) in header.map(|state| [("traceparent", PARENT), ("tracestate", state)]).into_iter().flatten()
        {
            message.properties.headers.insert(name.into(), Field::text(value));
        }
        let trace = decode(&message, context()).unwrap().trace.unwrap();
        assert_eq!(trace.parent, PARENT);
        trace.state
    };
    assert_eq!(state(None, "congo=t61rcWkgMzE,rojo=00f0").as_deref(), Some("congo=t61rcWkgMzE,rojo=00f0"));
    assert_eq!(state(Some("mine=1"), "other=2").as_deref(), Some("mine=1"), "both from the same place");
    let longest = format!("a={}", "x".repeat(510));
    assert_eq!(state(None, &longest).as_deref(), Some(longest.as_str()));
    for wrong in ["", "none", "a=1\r\nx: y", "a=ü", &format!("{longest}x")] {
        assert_eq!(state(None, wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn decoding_never_panics(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        content_type in proptest::option::of("[a-z/+;= -]{0,40}|application/json|application/cloudevents\\+json"),
        names in proptest::collection::vec("cloudEvents[:_](id|type|source|time|specversion)|[a-zA-Z\\PC]{0,12}", 0..4),
        number in any::<u64>(),
    ) {
        let headers = names.into_iter().map(|name| (name, Field::Timestamp(number))).collect();
        let properties = Properties { content_type, headers, timestamp: Some(number), ..Properties::default() };
        drop(decode(&Message { body: body.into(), properties }, context()));
    }

    #[test]
    fn any_json_under_a_known_content_type_decodes_or_explains(json in "\\PC{0,80}", structured in any::<bool>()) {
        let content_type = if structured { "application/cloudevents+json" } else { "application/json" };
        if let Err(error) = decode(&message(content_type, json), context()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn a_text_in_json_is_told_as_it_stands_there() {
    for (text, stands) in [("plain", "plain"), ("a\"b\\c", r#"a\"b\\c"#), ("\"", r#"\""#), ("å\n", r"å\n")] {
        assert_eq!(escaped(text), stands);
    }
}
