use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, StatusCode};
use base64::Engine as _;
use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::config;
use crate::event::{Data, Event};
use crate::vendors::{Facts, Item, Refusal, Reply, Vendor};
use crate::verdict::Verdict;

const CREDENTIALS: &str = "client_id = \"id-0123456789\"\nclient_secret = \"secret-0123456789\"";
const NAMES: &str = "keyspace = \"email\"\nsection = \"shop\"";

fn configured(lines: &str) -> Result<Arc<dyn Vendor>, String> {
    let text = format!(
        "[broker]\nurl = \"amqp://localhost\"\n[destinations.apsis]\nvendor = \"apsis-one\"\nsubscribe = [\"#\"]\n{lines}\n"
    );
    let config = config::parse("test.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()));
    let mut config = config.map_err(|problems| problems.to_string())?;
    Ok(config.destinations.remove("apsis").unwrap().vendor)
}

fn vendor() -> Arc<dyn Vendor> {
    configured(&format!("{CREDENTIALS}\n{NAMES}")).unwrap()
}

fn event(data: Value) -> Event {
    Event {
        id: "e".to_owned(),
        source: String::new(),
        kind: "k".to_owned(),
        time: Timestamp::constant(1_700_000_000, 0).into(),
        data: data.as_object().unwrap().clone().into(),
        trace: None,
        expires: None,
        not_before: None,
        id_derived: false,
        original: None,
    }
}

/// The event's data with another value of one field.
fn changed(event: &Event, field: &str, value: Value) -> Data {
    let mut fields = event.data.fields().clone();
    fields.insert(field.to_owned(), value);
    fields.into()
}

fn reply(status: u16, body: &Value) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, headers: HeaderMap::new(), body: Bytes::from(body.to_string()) }
}

fn bought(profile: &str) -> Event {
    event(json!({"profile": profile, "event": "bought", "data": {"what": "tea", "price": 1.5}}))
}

/// The event type `bought` with these versions.
fn facts(versions: &Value) -> Facts {
    let mut facts = Facts::default();
    let answer = reply(200, &json!([{"discriminator": "bought", "versions": versions}]));
    facts.put("shop", vendor().learn("shop", &answer).unwrap());
    facts
}

fn known() -> Facts {
    facts(&json!([{"id": "7", "type": {"what": "string", "price": "double", "tags": "list"}, "deprecated_at": null}]))
}

fn version_of(item: &Item) -> Value {
    serde_json::from_slice::<Value>(&item.content).unwrap()["version_id"].clone()
}

#[test]
fn each_region_and_base_url_leads_to_the_documented_path() {
    for (lines, base) in [
        ("", "https://api.apsis.one"),
        ("region = \"eu\"", "https://api.apsis.one"),
        ("region = \"apac\"", "https://api-apac.apsis.one"),
        ("base_url = \"http://localhost:9500\"", "http://localhost:9500"),
        ("base_url = \"http://localhost:9500/\"", "http://localhost:9500"),
        ("base_url = \"https://proxy.example.com/apsis/v1/\"", "https://proxy.example.com/apsis/v1"),
    ] {
        let vendor = configured(&format!("{CREDENTIALS}\n{NAMES}\n{lines}")).unwrap();
        let request = vendor.request_for(&bought("x"), &known()).unwrap();
        assert_eq!(
            request.uri().to_string(),
            format!("{base}/audience/keyspaces/email/profiles/x/sections/shop/events")
        );
        let lookup = vendor.lookup("my shop").unwrap();
        assert_eq!(lookup.uri().to_string(), format!("{base}/audience/sections/my%20shop/events"));
        assert_eq!(lookup.method(), "GET");
        let token = vendor.grant().unwrap().request(None).unwrap();
        assert_eq!(token.uri().to_string(), format!("{base}/oauth/token"));
    }
}

#[test]
fn settings_that_cannot_work_are_told_at_load() {
    for (lines, words) in [
        ("region = \"us\"", ["region", "\"apac\""]),
        ("base_url = \"http://localhost/?x=1\"", ["base_url", "?"]),
        ("section = \"..\"", ["section", "address"]),
        ("keyspace = \"\"", ["keyspace", "empty"]),
        ("profile_limit = \"fast\"", ["profile_limit", "fast"]),
        ("batch_max = 0", ["batch_max", "1 to"]),
    ] {
        let shown = configured(&format!("{CREDENTIALS}\n{lines}")).unwrap_err();
        assert!(words.iter().all(|word| shown.contains(word)), "{shown}");
    }
    let shown = configured("").unwrap_err();
    assert!(shown.contains("client_id: missing") && shown.contains("client_secret: missing"), "{shown}");
}

#[test]
fn a_name_that_neither_the_event_nor_the_destination_has_is_told_with_where_to_set_it() {
    let vendor = configured(CREDENTIALS).unwrap();
    let said = vendor.prepare(&bought("x"), &known()).unwrap_err().to_string();
    assert_eq!(said, "the required field \"keyspace\" is missing; set keyspace on the destination or in the event");
}

#[test]
fn good_credentials_are_told_by_a_look_at_the_event_types_or_else_the_keyspaces() {
    let path = |vendor: Arc<dyn Vendor>| vendor.credentials_check().unwrap().uri().path().to_owned();
    assert_eq!(path(vendor()), "/audience/sections/shop/events");
    assert_eq!(path(configured(CREDENTIALS).unwrap()), "/audience/keyspaces");
}

#[test]
fn what_is_not_known_or_no_longer_fresh_is_asked_for_before_an_event_is_refused() {
    let vendor = vendor();
    let needs = Refusal::Needs("shop".to_owned());
    assert_eq!(vendor.prepare(&bought("x"), &Facts::default()).unwrap_err(), needs);
    let mut facts = known();
    let renamed = event(json!({"profile": "x", "event": "returned", "data": {}}));
    let new_field = event(json!({"profile": "x", "event": "bought", "data": {"colour": "red"}}));
    let wrong_type = event(json!({"profile": "x", "event": "bought", "data": {"what": 5}}));
    for event in [&renamed, &new_field, &wrong_type] {
        assert!(matches!(vendor.prepare(event, &facts), Err(Refusal::Invalid(_))));
    }
    facts.settle("shop");
    assert_eq!(vendor.prepare(&renamed, &facts).unwrap_err(), needs);
    assert_eq!(vendor.prepare(&new_field, &facts).unwrap_err(), needs);
    assert!(matches!(vendor.prepare(&wrong_type, &facts), Err(Refusal::Invalid(_))));
    assert!(vendor.prepare(&bought("x"), &facts).is_ok());
}

#[test]
fn the_current_version_is_the_one_that_is_not_deprecated_and_began_last() {
    let version = |id: Value, deprecated: Option<&str>, from: Option<&str>| json!({"id": id, "deprecated_at": deprecated, "valid_from": from});
    for (versions, current) in [
        (json!([version(json!("1"), None, None)]), json!(1)),
        (json!([version(json!(1), None, None)]), json!(1)),
        (json!([version(json!("01"), None, None)]), json!("01")),
        (json!([version(json!("v-1"), None, None)]), json!("v-1")),
        (
            json!([
                version(json!("1"), Some("2021-01-01T00:00:00Z"), Some("2023-01-01T00:00:00Z")),
                version(json!("2"), None, Some("2021-01-01T00:00:00Z")),
                version(json!("3"), None, Some("2022-01-01T00:00:00+01:00")),
                version(json!("4"), None, Some("2020-01-01T00:00:00.000Z")),
            ]),
            json!(3),
        ),
    ] {
        let item = vendor().prepare(&bought("x"), &facts(&versions)).unwrap();
        assert_eq!(version_of(&item), current);
    }
}

#[test]
fn a_version_that_has_not_begun_by_the_vendors_clock_is_not_the_current_one() {
    let versions = json!([
        {"id": "1", "deprecated_at": null, "valid_from": "2021-01-01T00:00:00Z"},
        {"id": "2", "deprecated_at": null, "valid_from": "2023-01-01T00:00:00Z"},
    ]);
    let mut answer = reply(200, &json!({"items": [{"discriminator": "bought", "versions": versions}]}));
    for (date, current) in [("Sat, 01 Jan 2022 00:00:00 GMT", 1), ("Mon, 01 Jan 2024 00:00:00 GMT", 2), ("soon", 2)] {
        answer.headers.insert("date", HeaderValue::from_static(date));
        let mut facts = Facts::default();
        facts.put("shop", vendor().learn("shop", &answer).unwrap());
        assert_eq!(version_of(&vendor().prepare(&bought("x"), &facts).unwrap()), json!(current), "{date}");
    }
}

#[test]
fn a_list_of_event_types_that_cannot_be_read_is_told_with_its_section() {
    for answer in [json!("x"), json!({"events": []}), json!([{"name": "x"}]), json!({"items": null})] {
        let said = vendor().learn("shop", &reply(200, &answer)).unwrap_err();
        assert!(said.contains("\"shop\""), "{said}");
    }
}

#[test]
fn a_type_that_the_guide_does_not_name_is_not_checked_and_missing_fields_are_left_to_the_vendor() {
    let data = json!({"tags": ["a", {"b": 1}]});
    let event = event(json!({"profile": "x", "event": "bought", "data": data}));
    let item = vendor().prepare(&event, &known()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&item.content).unwrap()["data"], data);
}

#[test]
fn without_looking_anything_up_the_version_is_a_placeholder() {
    let item = vendor().prepare(&bought("x"), &Facts::blind()).unwrap();
    assert_eq!(version_of(&item), json!("<current version>"));
}

#[test]
fn events_of_one_profile_and_section_may_travel_together_and_a_profile_is_a_ordering_key_in_every_keyspace() {
    let (vendor, mut facts) = (vendor(), known());
    facts.put("other", facts.get("shop").unwrap().value.clone());
    let with = |profile: &str, field: &str, name: &str| {
        let mut event = bought(profile);
        event.data = changed(&event, field, json!(name));
        vendor.prepare(&event, &facts).unwrap()
    };
    let first = with("a", "keyspace", "email");
    assert_eq!(with("a", "section", "shop").group, first.group);
    for other in [with("a", "keyspace", "crm"), with("a", "section", "other"), with("b", "keyspace", "email")] {
        assert_ne!(other.group, first.group);
    }
    assert_eq!(with("a", "keyspace", "crm").ordering_key, first.ordering_key);
    assert_ne!(with("b", "keyspace", "email").ordering_key, first.ordering_key);
    assert_eq!(vendor.ordering_key_limit().unwrap().to_string(), "10/s");
}

#[test]
fn the_fullest_request_is_under_100_kb() {
    let (vendor, facts) = (vendor(), known());
    let item = |length: usize| {
        let data = json!({"what": "x".repeat(length)});
        vendor.prepare(&event(json!({"profile": "x", "event": "bought", "data": data})), &facts)
    };
    let around = item(0).unwrap().content.len();
    let batching = vendor.batching();
    // A single one.
    let largest = item(batching.bytes - around - 1).unwrap();
    assert_eq!(vendor.request(&[&largest]).unwrap().body().len(), 99_999);
    assert!(matches!(item(batching.bytes - around), Err(Refusal::Invalid(_))));
    // Several, each counted with one byte more.
    let half = item(batching.bytes / 2 - around - 1).unwrap();
    assert_eq!(vendor.request(&[&half, &half]).unwrap().body().len(), 99_999);
}

/// Why such keys are refused: the address would be another one.
#[test]
fn an_http_client_takes_dot_segments_out_however_they_are_encoded() {
    for dots in ["..", "%2E%2E", "%2e.", ".%2e"] {
        let url = url::Url::parse(&format!("https://api.apsis.one/profiles/{dots}/sections")).unwrap();
        assert_eq!(url.path(), "/sections");
    }
}

fn each(body: &str, count: usize) -> Vec<Verdict> {
    let (vendor, item) = (vendor(), Item::default());
    let answer =
        Reply { status: StatusCode::MULTI_STATUS, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) };
    vendor.judge_each(&answer, &vec![&item; count]).unwrap()
}

#[test]
fn an_event_time_is_rfc_3339_no_more_and_no_less() {
    let sent = |time: &str| {
        let mut event = bought("p");
        event.data = changed(&event, "event_time", json!(time));
        let item = vendor().prepare(&event, &known());
        item.map(|item| serde_json::from_slice::<Value>(&item.content).unwrap()["event_time"].clone())
    };
    for (given, expected) in [
        ("2026-01-02T03:04:05.1234567891Z", "2026-01-02T03:04:05.123456789Z"),
        ("2026-01-02T03:04:05.50+01:00", "2026-01-02T02:04:05.50Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
    ] {
        assert_eq!(sent(given).unwrap(), expected);
    }
    for wrong in [
        "2026-01-02T03:04:05+24:00",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05Z[UTC]",
        "2026-01-02T03:04:05,5Z",
        "2026-03-01T23:59:60Z",
    ] {
        assert!(sent(wrong).unwrap_err().to_string().contains("not an RFC 3339 date and time"), "{wrong}");
    }
    assert!(sent("9999-12-31T23:59:59Z").unwrap_err().to_string().contains("in the year 9999"));
}

#[test]
fn a_207_is_read_item_by_item() {
    let listed = json!([
        {"status": 204}, {"status": 400, "title": "Bad", "detail": "no price"}, {"status": 403}, {"status": 429},
        {"status": 503, "title": "Later"},
    ]);
    let said = |status: &str| format!("APSIS One took the request, and for this event answered {status}");
    let verdicts = vec![
        Verdict::Delivered,
        Verdict::Rejected(said("400: Bad: no price")),
        Verdict::Rejected(said("403")),
        Verdict::Throttled(said("429")),
        Verdict::Unavailable(said("503: Later")),
    ];
    assert_eq!(each(&listed.to_string(), 5), verdicts);
    for key in ["items", "results"] {
        assert_eq!(each(&json!({ key: listed }).to_string(), 5), verdicts);
    }
    let by_index = json!([{"index": 1, "status": 204}, {"index": 0, "status": 429}]);
    assert_eq!(each(&by_index.to_string(), 2), [Verdict::Throttled(said("429")), Verdict::Delivered]);
}

#[test]
fn what_a_207_does_not_say_is_left_to_a_person() {
    for (body, count) in [
        ("", 2),
        ("{}", 1),
        ("[{\"status\": 204}]", 2),
        ("[{\"status\": \"fine\"}]", 1),
        ("[{\"index\": 7, \"status\": 204}]", 1),
        ("[{\"index\": 0, \"status\": 204}, {\"status\": 204}]", 2),
    ] {
        for verdict in each(body, count) {
            let Verdict::Rejected(said) = verdict else { panic!("{body}: {verdict:?}") };
            assert!(said.starts_with("APSIS One answered 207") && said.ends_with("is unknown"), "{said}");
        }
    }
    let verdicts = each("[{\"index\": 1, \"status\": 204}]", 2);
    assert!(matches!(verdicts.as_slice(), [Verdict::Rejected(_), Verdict::Delivered]), "{verdicts:?}");
}

#[test]
fn no_other_answer_tells_its_items_apart() {
    assert_eq!(vendor().judge_each(&reply(200, &json!([{"status": 400}])), &[&Item::default()]), None);
}

/// When the token ends, in seconds from the answer.
fn life(token: &str, expires_in: &Value) -> i64 {
    let answer = reply(200, &json!({"access_token": token, "expires_in": expires_in, "token_type": "Bearer"}));
    let vendor = vendor();
    let token = vendor.grant().unwrap().read(&answer, Timestamp::UNIX_EPOCH).unwrap();
    token.expires.as_second()
}

#[test]
fn a_token_ends_when_its_own_claim_says_and_else_after_expires_in_or_an_hour() {
    let jwt = |claims: &str| format!("e30.{}.c2ln", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims));
    assert_eq!(life(&jwt(r#"{"exp":7200}"#), &json!(86_400)), 7_200);
    assert_eq!(life(&jwt(r#"{"exp":-5}"#), &json!(86_400)), 86_400);
    assert_eq!(life(&jwt("{}"), &json!(86_400)), 86_400);
    assert_eq!(life("opaque", &json!(86_400)), 86_400);
    assert_eq!(life("opaque", &Value::Null), 3_600);
}

#[test]
fn a_refused_grant_parks_with_what_to_check_and_a_throttled_one_waits() {
    let read = |status| {
        let answer = reply(status, &json!({"title": "Unauthorized", "status": status, "detail": "Unknown client"}));
        vendor().grant().unwrap().read(&answer, Timestamp::UNIX_EPOCH).unwrap_err()
    };
    for status in [400, 401, 403, 404] {
        let Verdict::Unauthorized(said) = read(status) else { panic!("{status}") };
        assert!(
            said.contains("APSIS One") && said.contains("Unknown client") && said.contains("client_secret"),
            "{said}"
        );
    }
    for (status, name) in [(408, "unavailable"), (429, "throttled"), (500, "unavailable"), (503, "unavailable")] {
        assert_eq!(read(status).name(), name);
    }
}

#[test]
fn tokens_are_asked_for_ten_times_a_minute_at_most() {
    let calls = vendor().grant().unwrap().calls();
    assert_eq!((calls.count, calls.window), (10, Duration::from_mins(1)));
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{1,30}", "[./%?#+@ \\\\a]{1,10}", any::<String>()]
}

#[test]
fn what_explain_shows_is_what_is_sent_whatever_the_types_are() {
    let facts = facts(&json!([{
        "id": "7", "deprecated_at": null,
        "type": {"a": "integer", "b": "double", "c": "double", "d": "integer", "e": "double", "f": "double", "g": "integer"},
    }]));
    let data = r#"{"profile":"x","event":"bought","version_id":7,
        "data":{"a":5.0,"b":5.0,"c":1.10,"d":5e0,"e":1e2,"f":18446744073709551617,"g":18446744073709551615,"h":null}}"#;
    let event = event(serde_json::from_str(data).unwrap());
    let sent = vendor().prepare(&event, &facts).unwrap().content;
    let shown = vendor().prepare(&event, &Facts::blind()).unwrap().content;
    assert_eq!(sent, shown);
    let wanted = r#""data":{"a":5,"b":5,"c":1.10,"d":5,"e":100,"f":18446744073709551617,"g":18446744073709551615}"#;
    assert!(String::from_utf8_lossy(&sent).contains(wanted), "{sent:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_profile_key_is_one_segment_and_comes_back_when_it_is_decoded(key in any_name()) {
        let Ok(request) = vendor().request_for(&bought(&key), &known()) else {
            prop_assert!(key.trim().is_empty() || crate::section::web_address::is_directory(&key));
            return Ok(());
        };
        // As the HTTP client reads the address.
        let url = url::Url::parse(&request.uri().to_string()).unwrap();
        let segments: Vec<&str> = url.path_segments().unwrap().collect();
        prop_assert_eq!(segments.len(), 8);
        let decoded = percent_encoding::percent_decode_str(segments[4]).decode_utf8().unwrap();
        prop_assert_eq!(decoded.as_ref(), key.as_str());
        prop_assert_eq!(request.uri().path(), url.path());
        prop_assert!(url.query().is_none() && url.fragment().is_none());
    }

    #[test]
    fn every_item_of_a_207_has_a_verdict(body in "[\\[\\]{}:,\"a-z0-9 ]{0,40}", statuses in prop::collection::vec(0u64..1000, 0..5), count in 1usize..6) {
        let listed: Vec<Value> = statuses.iter().map(|status| json!({ "status": status })).collect();
        prop_assert_eq!(each(&body, count).len(), count);
        prop_assert_eq!(each(&Value::from(listed).to_string(), count).len(), count);
    }

    #[test]
    fn an_event_that_passes_is_posted_with_the_types_of_its_version(price in any::<f64>(), amount in any::<i64>()) {
        let facts = facts(&json!([{"id": "7", "type": {"amount": "integer", "price": "double"}, "deprecated_at": null}]));
        let data: Map<String, Value> = [("amount".to_owned(), json!(amount)), ("price".to_owned(), json!(price))].into_iter().collect();
        let item = vendor().prepare(&event(json!({"profile": "x", "event": "bought", "data": data})), &facts).unwrap();
        let posted: Value = serde_json::from_slice(&item.content).unwrap();
        prop_assert_eq!(&posted["data"]["amount"], &json!(amount));
        prop_assert!(posted["data"]["price"].is_number() || !price.is_finite());
    }
}
