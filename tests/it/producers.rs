//! What producers are told is true: `docs/producers.md` and the schema of an event, against the decoder itself.

use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice::event::{Context, decode};
use sluice::message::{Field, Message, Properties};

const MAX_BYTES: usize = 262_144;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn message(content_type: &str, body: impl Into<Bytes>) -> Message {
    let properties = Properties { content_type: Some(content_type.to_owned()), ..Properties::default() };
    Message { body: body.into(), properties }
}

fn plain(body: impl Into<Bytes>) -> Message {
    message("application/json", body)
}

fn structured(event: &Value) -> Message {
    message("application/cloudevents+json", event.to_string())
}

/// What Sluice says of a message that is not an event.
fn said(message: &Message) -> Result<(), String> {
    let context = Context { routing_key: "product.x", received: Timestamp::UNIX_EPOCH, max_bytes: MAX_BYTES };
    decode(message, context).map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_page_shows_each_example_as_it_is() {
    let page = read("docs/producers.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let mut shown = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let language = match name.rsplit_once('.').unwrap().1 {
            "rs" => "rust",
            "py" => "python",
            "mjs" => "js",
            "sh" => "sh",
            other => panic!("{name}: what language is {other}?"),
        };
        let text = without_our_lints(&read(&format!("docs/examples/{name}")));
        assert!(
            page.contains(&format!("```{language}\n{text}```\n")),
            "docs/producers.md does not show {name} as it is"
        );
        assert!(page.contains(&format!("(examples/{name})")), "docs/producers.md does not lead to {name}");
        shown += 1;
    }
    assert_eq!(page.matches("\n```").count() % 2, 0);
    assert!(shown >= 6);
}

/// What only this repository's own lints need.
fn without_our_lints(text: &str) -> String {
    match (text.find("#![expect("), text.find(")]\n\n")) {
        (Some(start), Some(end)) => format!("{}{}", &text[..start], &text[end + 4..]),
        _ => text.to_owned(),
    }
}

#[test]
fn the_page_names_the_versions_that_the_tests_run() {
    let page = read("docs/producers.md");
    let installer = read("deploy/install-dependencies.sh");
    let pika = installer.lines().find_map(|line| line.strip_prefix("readonly PIKA_VERSION=")).unwrap();
    assert!(page.contains(&format!("`pip install pika=={pika}`")), "{pika}");
    let packages: Value = serde_json::from_str(&read("tests/node/package.json")).unwrap();
    let amqplib = packages["dependencies"]["amqplib"].as_str().unwrap();
    assert!(page.contains(&format!("`npm install amqplib@{amqplib}`")), "{amqplib}");
}

/// Mistakes that the page tells of: the message, and what Sluice says of it.
fn mistakes() -> Vec<(Message, &'static str)> {
    let good = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "product.x" });
    let with = |name: &str, value: Value| {
        let mut event = good.clone();
        event[name] = value;
        structured(&event)
    };
    let without = |name: &str| {
        let mut event = good.clone();
        event.as_object_mut().unwrap().remove(name);
        structured(&event)
    };
    let header = |name: &str, value: Field| {
        let mut message = plain("{}");
        message.properties.headers.insert(name.to_owned(), value);
        message
    };
    let mut packed = plain("{}");
    packed.properties.content_encoding = Some("gzip".to_owned());
    vec![
        (plain(""), "the body is empty"),
        (plain("{\"a\":1,}"), "the body is not JSON: trailing comma at line 1 column 8"),
        (plain("[{}, {}]"), "the body is an array, not a JSON object"),
        (plain(&b"{\"a\":\"\xe9\"}"[..]), "the body is not UTF-8: invalid byte at offset 6"),
        (plain(vec![b' '; 300_000]), "the body has 300000 bytes; at most 262144 are allowed"),
        (plain("{\"a\":".repeat(200)), "the body is nested too deeply: over 127 levels at line 1 column 636"),
        (
            message("text/plain", "{}"),
            "content_type \"text/plain\" is not an event; use application/json or application/cloudevents+json",
        ),
        (packed, "content_encoding \"gzip\" is not supported; publish the body as plain JSON"),
        (
            message("application/cloudevents-batch+json", "[]"),
            "a CloudEvents batch is not supported; publish one event a message",
        ),
        (without("specversion"), "the attribute \"specversion\" is missing; use \"1.0\""),
        (without("id"), "the attribute \"id\" is missing"),
        (header("cloudEvents:id", Field::text("1")), "the attribute \"source\" is missing"),
        (with("id", json!(7)), "the CloudEvents attribute \"id\" is not a string"),
        (header("cloudEvents:id", Field::I64(7)), "the header cloudEvents:id is not a string"),
        (
            header("blob", Field::text("x".repeat(125_000))),
            "the headers have 125010 bytes; at most 100000 are allowed, since every copy carries them",
        ),
        (plain(&b"\xff\xfe{\0}\0"[..]), "the body is UTF-16; publish it as UTF-8"),
        (plain("{\"a\": NaN}"), "the body is not JSON: NaN at line 1 column 7 is not a JSON value"),
        (
            plain("{\"a\": 1"),
            "the body is not JSON: it ends too early (EOF while parsing an object at line 1 column 7)",
        ),
        (
            plain("{}\n{}"),
            "the body is more than one JSON value: the second begins at line 2 column 1; publish one event a message",
        ),
        (
            with("time", json!("2026-01-02 noon")),
            "the attribute \"time\" is \"2026-01-02 noon\", not an RFC 3339 date and time",
        ),
        (with("data", json!("{\"a\": 1}")), "\"data\" is a string, not a JSON object"),
        (with("data_base64", json!("e30=")), "data_base64 is not supported; put a JSON object in \"data\""),
    ]
}

#[test]
fn the_page_quotes_what_sluice_says_of_each_mistake() {
    let page = read("docs/producers.md");
    for (message, sentence) in mistakes() {
        assert_eq!(said(&message), Err(sentence.to_owned()));
        assert!(page.contains(&format!("| `{sentence}`")), "docs/producers.md lacks: {sentence}");
    }
}

/// `docs/event.schema.json`, formats checked.
fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&read("docs/event.schema.json")).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        assert!(validator.is_valid(example), "{example}");
    }
    validator
}

#[test]
fn the_schema_refuses_every_envelope_that_sluice_refuses_but_for_what_a_schema_cannot_say() {
    let schema = schema();
    for (message, sentence) in mistakes() {
        let is_structured = message.properties.content_type.as_deref() == Some("application/cloudevents+json");
        let envelope = serde_json::from_slice::<Value>(&message.body);
        if is_structured && let Ok(envelope) = envelope {
            assert!(!schema.is_valid(&envelope), "{sentence}");
        }
    }
    let mut long = json!({ "specversion": "1.0", "id": "é".repeat(2048), "source": "/s", "type": "t" });
    assert!(schema.is_valid(&long) && said(&structured(&long)).is_err(), "a schema counts characters, not bytes");
    long["id"] = json!("é".repeat(1024));
    assert!(schema.is_valid(&long) && said(&structured(&long)).is_ok());
}

/// Times at every edge of RFC 3339: its own examples, what other standards allow, and what nobody does.
const TIMES: &str = "1985-04-12T23:20:50.52Z 1996-12-19T16:39:57-08:00 1990-12-31T23:59:60Z 1990-12-31T15:59:60-08:00 1937-01-01T12:00:27.87+00:20
    2026-01-02T03:04:05Z 2026-01-02t03:04:05z 2026-01-02T03:04:05.123456789012Z 2026-01-02T03:04:05.123456789012345678901234567890+01:00
    9999-12-31T23:59:59Z 9999-12-31T23:59:59.999999999999Z 9999-12-31T23:59:59-23:59 0000-01-01T00:00:00Z 0000-01-01T00:00:00+23:59
    0001-01-01T00:00:00Z 2024-02-29T00:00:00Z 2023-02-29T00:00:00Z 2000-02-29T00:00:00Z 1900-02-29T00:00:00Z 2026-02-30T00:00:00Z 2026-04-31T00:00:00Z
    2026-01-02T03:04:05-00:00 2026-01-02T03:04:05+23:59 2026-01-02T03:04:05-23:59 2026-01-02T03:04:05+24:00 2026-01-02T03:04:05-24:00
    2026-01-02T03:04:05+01:60 2026-01-02T03:04:05+01 2026-01-02T03:04:05+0100 2026-01-02T03:04:05+1:00 2026-01-02T03:04:05+01:00:00 2026-01-02T03:04:05
    2026-01-02T03Z 2026-01-02T03:04Z 2026-01-02T03:04:05.Z 2026-01-02T03:04:05,5Z 2026-01-02T3:04:05Z 20260102T030405Z 2026-W01-5T03:04:05Z 2026-002T03:04:05Z
    2026-01-02T24:00:00Z 2026-01-02T23:60:00Z 2026-01-02T23:59:61Z 2026-01-02T03:04:60Z 2026-01-02T23:59:60Z 2026-06-30T23:59:60Z 2026-07-01T01:59:60.5+02:00
    2026-07-01T23:59:60+00:00 2026-06-30T23:59:60+00:00 2026-06-30T23:59:60-00:00 2026-06-30T00:59:60+01:00 2026-01-01T00:59:60+01:00 2026-12-31T22:59:60Z
    2026-12-31T23:58:60Z 2026-12-31T00:00:60-23:59 9999-12-31T23:59:60-08:00 9999-12-31T15:59:60-08:00 2026-03-31T23:59:60Z
    2026-01-02T03:04:05Z[Europe/Paris] 2026-01-02T03:04:05+01:00[Europe/Paris] 2026-01-02T03:04:05[UTC] +2026-01-02T03:04:05Z -2026-01-02T03:04:05Z
    +002026-01-02T03:04:05Z 10000-01-01T00:00:00Z 26-01-02T03:04:05Z 2026-00-02T03:04:05Z 2026-13-02T03:04:05Z 2026-01-00T03:04:05Z 2026-01-32T03:04:05Z
    2026-01-02_03:04:05Z 2026-01-02T03:04:05ZZ 2026-01-02TT03:04:05Z 2026-01-02T03:04:05+z 2026-01-02T03:04:05\u{2212}01:00 \u{662}026-01-02T03:04:05Z
    2026-01-02T03:04:05\u{ff3a} now 0 1767323045 1767323045000 P1D 2026-01-02 03:04:05Z T03:04:05Z";

#[test]
fn the_schema_and_sluice_take_the_same_times() {
    let (schema, mut taken) = (schema(), [0, 0]);
    let spaced = [
        "2026-01-02 03:04:05Z",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z ",
        "2026-01-02T03:04:05 Z",
        "2026-01-02T03:04:05Z\n",
        "",
    ];
    for time in TIMES.split_whitespace().chain(spaced) {
        let event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": time });
        let said = said(&structured(&event));
        assert_eq!(schema.is_valid(&event), said.is_ok(), "{time:?}: {said:?}");
        let mut binary = plain("{}");
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t"), ("time", time)] {
            binary.properties.headers.insert(format!("cloudEvents:{name}"), Field::text(value));
        }
        assert_eq!(self::said(&binary), said, "{time:?}");
        taken[usize::from(said.is_ok())] += 1;
    }
    assert!(taken.iter().all(|times| *times > 20), "{taken:?}");
}

/// What an attribute may come with; none: it is left out.
fn values() -> Vec<Option<Value>> {
    let texts = ["", " ", "\t\n", "x", "1.0", "0.3", "/shop", "a b", "é", "2026-01-02T03:04:05Z"];
    let times =
        ["2026-01-02T03:04:05.678+01:00", "1969-12-31T23:59:59-11:30", "2026-02-30T00:00:00Z", "noon", "2026-01-02"];
    let others = [json!(null), json!(true), json!(1), json!(1.5), json!([]), json!({}), json!({ "a": [1] })];
    let long = [2048, 2049].map(|length| Value::from("x".repeat(length)));
    let texts = texts.into_iter().chain(times).map(Value::from);
    texts.chain(others).chain(long).map(Some).chain([None]).collect()
}

#[test]
fn the_schema_and_sluice_agree_on_every_envelope_with_one_or_two_attributes_changed() {
    let good = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t",
        "time": "2026-01-02T03:04:05Z", "data": { "a": 1 } });
    let names =
        ["specversion", "id", "source", "type", "time", "data", "data_base64", "traceparent", "tracestate", "more"];
    let changes: Vec<(&str, Option<Value>)> =
        names.iter().flat_map(|name| values().into_iter().map(|value| (*name, value))).collect();
    let (schema, mut agreed) = (schema(), [0, 0]);
    for (n, first) in changes.iter().enumerate() {
        for second in &changes[n..] {
            let mut event = good.as_object().unwrap().clone();
            for (name, value) in [first, second] {
                match value {
                    Some(value) => drop(event.insert((*name).to_owned(), value.clone())),
                    None => drop(event.remove(*name)),
                }
            }
            let event = Value::Object(event);
            let said = said(&structured(&event));
            assert_eq!(schema.is_valid(&event), said.is_ok(), "{event}: {said:?}");
            agreed[usize::from(said.is_ok())] += 1;
        }
    }
    assert!(agreed.iter().all(|cases| *cases > 1_000), "{agreed:?}");
}
