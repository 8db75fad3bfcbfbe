//! What a destination's settings make of events and answers.

mod address;
mod apart;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::config;
use crate::event::{Data, Event};
use crate::vendors::{EarlierAttempts, Facts, Item, Refusal, Reply, Vendor, secrets_of};
use crate::verdict::Verdict;

fn configured(lines: &str) -> Result<Arc<dyn Vendor>, String> {
    let text = format!(
        "[broker]\nurl = \"amqp://localhost\"\n[destinations.hook]\nvendor = \"http\"\nsubscribe = [\"#\"]\nlimits = [\"1/s\"]\n{lines}\n"
    );
    let config = config::parse("test.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()));
    let mut config = config.map_err(|problems| problems.to_string())?;
    Ok(config.destinations.remove("hook").unwrap().vendor)
}

const URL: &str = "url = \"https://api.example.com/v1/track\"";

fn verdict(lines: &str, status: u16) -> &'static str {
    let reply = Reply { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: Bytes::new() };
    configured(&format!("{URL}\n{lines}")).unwrap().judge(&reply).name()
}

#[test]
fn without_lists_every_status_means_what_the_standard_says() {
    for (status, name) in [
        (200, "delivered"),
        (204, "delivered"),
        (302, "unavailable"),
        (409, "rejected"),
        (429, "throttled"),
        (500, "unavailable"),
    ] {
        assert_eq!(verdict("", status), name, "{status}");
    }
}

#[test]
fn a_listed_status_means_what_the_list_says() {
    let lines = "success = [200, 409]\nretry_statuses = [404]\nreject = [503]";
    for (status, name) in [
        (200, "delivered"),
        (409, "delivered"),
        (404, "unavailable"),
        (503, "rejected"),
        (202, "rejected"),
        (429, "throttled"),
    ] {
        assert_eq!(verdict(lines, status), name, "{status}");
    }
}

#[test]
fn whatever_is_wrong_in_a_list_of_statuses_is_told_at_its_line() {
    let lines = "reject = [\n  \"404\",\n  404.5, true,\n  404,\n  404,\n  700,\n  204,\n]";
    let problems = |lines: &str| configured(&format!("{URL}\n{lines}")).err().unwrap_or_default();
    let shown = problems(lines);
    let first = shown.lines().find(|line| line.contains("not a string")).unwrap();
    let at: usize = first.split(':').nth(1).unwrap().parse().unwrap();
    for (line, said) in [
        (at, "reject: must be a whole number, as 404, not a string"),
        (at + 1, "reject: must be a whole number, not a float"),
        (at + 1, "reject: must be a whole number, not a boolean"),
        (at + 3, "reject: 404 is there twice; remove one"),
        (at + 4, "reject: 700 is out of range; write 100 to 599"),
        (at + 5, "reject: 204 says that the API took the event"),
    ] {
        let found = shown.lines().any(|shown| shown.contains(&format!(":{line}: ")) && shown.contains(said));
        assert!(found, "{line}: {said} is not in:\n{shown}");
    }
    for (lines, said) in [
        ("reject = 404", "must be an array, as in reject = [599], not an integer"),
        ("reject = \"404\"", "must be an array, as in reject = [599], not a string"),
        ("success = [200]\nreject = [\"x\", 200]", "200 is in another list too"),
    ] {
        assert!(problems(lines).contains(said), "{}", problems(lines));
    }
}

#[test]
fn an_address_that_leads_out_of_its_path_is_refused() {
    let problems_of_url = |url: &str| configured(&format!("url = \"{url}\"")).err().unwrap_or_default();
    for path in ["a/../b", "..", "./b", "a/%2e%2E/b", "a/%252e%252e/b", "a/.%2e", "a/..;x/b"] {
        let shown = problems_of_url(&format!("https://h.example/{path}"));
        assert!(shown.contains("url: has \".\" or \"..\" as a segment of its path"), "{path}: {shown}");
    }
    for path in ["a/b.c", "a/...", "a..b", "?to=../x", "#/../x"] {
        assert_eq!(problems_of_url(&format!("https://h.example/{path}")), "", "{path}");
    }
}

#[test]
fn a_status_in_two_lists_is_a_problem() {
    for lines in ["success = [200]\nreject = [200]", "retry_statuses = [409]\nreject = [409]"] {
        let shown = configured(&format!("{URL}\n{lines}")).unwrap_err();
        assert!(shown.contains("a status means one thing"), "{shown}");
    }
}

#[test]
fn a_missing_url_is_the_one_problem() {
    let shown = configured("").unwrap_err();
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.contains("destinations.hook.url: ") && shown.contains("https://api.example.com"), "{shown}");
}

#[test]
fn a_header_that_cannot_be_sent_is_told_without_its_value() {
    for (headers, word) in
        [("{ \"bad name\" = \"tok-123456\" }", "bad name"), ("{ x-key = \"tok-123456\\u0007\" }", "x-key")]
    {
        let shown = configured(&format!("{URL}\nheaders = {headers}")).unwrap_err();
        assert!(shown.contains(word) && !shown.contains("tok-123456"), "{shown}");
    }
}

#[test]
fn there_is_no_credentials_check_that_any_api_would_take() {
    assert!(configured(URL).unwrap().credentials_check().is_none());
}

fn event(id: &str, data: &Value) -> Event {
    Event {
        id: id.to_owned(),
        source: "shop".to_owned(),
        kind: "shop.order".to_owned(),
        time: jiff::Timestamp::UNIX_EPOCH.into(),
        data: Data::read("data", format!(" {data}").into()).unwrap(),
        trace: None,
        expires: None,
        not_before: None,
        id_derived: false,
        original: None,
    }
}

fn prepared(vendor: &dyn Vendor, id: &str, data: &Value) -> Item {
    vendor.prepare(&event(id, data), &Facts::default()).unwrap()
}

fn request(lines: &str, data: &Value) -> Result<Request<Bytes>, String> {
    let vendor = configured(lines).unwrap();
    vendor.request_for(&event("e-1", data), &Facts::default()).map_err(|refusal| refusal.to_string())
}

const BY_JQ: &str = r#"
method = { jq = ".how // \"POST\"" }
url = { jq = "\"https://api.example.com/users/\\(.user | @uri)\"" }
headers = { x-tenant = { jq = ".tenant" }, authorization = "Bearer tok-123456", x-type = { jq = "$event.type" } }
body = { jq = "{id: $event.id, order}" }"#;

#[test]
fn every_part_of_a_request_may_be_made_of_the_event() {
    let data = json!({"how": "PUT", "user": "a/b c", "tenant": 7, "order": {"n": 18446744073709551615_u64, "x": 1.0}});
    let made = request(BY_JQ, &data).unwrap();
    assert_eq!(made.method(), "PUT");
    assert_eq!(made.uri(), "https://api.example.com/users/a%2Fb%20c");
    assert_eq!(made.headers()["x-tenant"], "7");
    assert_eq!(made.headers()["x-type"], "shop.order");
    assert_eq!(made.headers()["content-type"], "application/json");
    assert_eq!(made.headers()["idempotency-key"], "\"e-1\"");
    assert!(made.headers()["authorization"].is_sensitive() && !made.headers()["x-tenant"].is_sensitive());
    assert_eq!(made.body(), r#"{"id":"e-1","order":{"n":18446744073709551615,"x":1.0}}"#);
    let without = request(BY_JQ, &json!({"user": "u", "tenant": null})).unwrap();
    assert_eq!((without.method().as_str(), without.headers().get("x-tenant")), ("POST", None));
}

#[test]
fn what_cannot_become_a_request_is_refused_before_one_is_spent() {
    let with = |key: &str, value: Value| {
        let mut data = json!({"user": "u", "url": "https://example.com"});
        data[key] = value;
        data
    };
    let from = "url = { jq = \".url\" }";
    for (lines, data, says) in [
        (BY_JQ, with("how", json!("GET")), "method is \"GET\"; it must be POST, PUT or PATCH"),
        (BY_JQ, with("tenant", json!("a\nb")), "headers.x-tenant has a character that a header cannot carry"),
        (BY_JQ, with("tenant", json!([1])), "headers.x-tenant cannot be made: it gives an array, not a string"),
        (from, with("url", json!("ftp://example.com")), "must begin with http:// or https://"),
        (from, with("url", json!("/v1/track")), "not a URL"),
        (from, with("url", json!("https://")), "not a URL"),
        (from, with("url", json!("https://a:b@example.com")), "must not contain credentials"),
        (from, with("url", json!(null)), "url is missing: its expression gives nothing"),
        (from, with("url", json!({})), "url cannot be made: it gives an object"),
        ("url = \"https://example.com\"\nbody = { jq = \".no\" }", with("x", json!(1)), "body is missing"),
        (
            "url = \"https://example.com\"\nbody = { jq = \".user.x\" }",
            with("x", json!(1)),
            "body cannot be made: Cannot index",
        ),
    ] {
        let said = request(lines, &data).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_body_of_map_is_the_body() {
    let vendor = configured(URL).unwrap();
    let mapped = Event { original: Some(Bytes::from_static(b"{}")), ..event("e-1", &json!({"body": [1, {"a": 2}]})) };
    assert_eq!(vendor.request_for(&mapped, &Facts::default()).unwrap().body(), "[1,{\"a\":2}]");
    let empty = Event { original: Some(Bytes::from_static(b"{}")), ..event("e-1", &json!({})) };
    assert!(
        matches!(vendor.prepare(&empty, &Facts::default()), Err(Refusal::Invalid(said)) if said.contains("body is missing"))
    );
}

#[test]
fn the_key_of_an_event_is_its_id_and_the_same_at_every_attempt() {
    let key = |id: &str| {
        let vendor = configured(URL).unwrap();
        let item = prepared(vendor.as_ref(), id, &json!({}));
        vendor.request(&[&item]).unwrap().headers()["idempotency-key"].to_str().unwrap().to_owned()
    };
    assert_eq!(key("order-17"), "\"order-17\"");
    assert_eq!(key("say \"a\\b\""), r#""say \"a\\b\"""#);
    assert_eq!(key("zoë").len(), 38);
    assert_eq!(key("zoë"), key("zoë"));
    assert_ne!(key("zoë"), key("zoé"));
    let off = request(&format!("{URL}\nidempotency_key = false"), &json!({})).unwrap();
    assert!(!off.headers().contains_key("idempotency-key"));
    let own = request(&format!("{URL}\nheaders = {{ idempotency-key = {{ jq = \".order\" }} }}"), &json!({"order": 5}))
        .unwrap();
    assert_eq!(own.headers()["idempotency-key"], "5");
}

#[test]
fn several_events_travel_as_an_array_and_one_does_too() {
    let vendor = configured(&format!("{URL}\nbatch_max = 3")).unwrap();
    assert_eq!(vendor.batching().items, 3);
    let items: Vec<Item> = ["a", "b"].iter().map(|id| prepared(vendor.as_ref(), id, &json!({"id": id}))).collect();
    let both = vendor.request(&[&items[0], &items[1]]).unwrap();
    assert_eq!(both.body(), "[ {\"id\":\"a\"}, {\"id\":\"b\"}]");
    assert_eq!(vendor.request(&[&items[0]]).unwrap().body(), "[ {\"id\":\"a\"}]");
    let key = |items: &[&Item]| vendor.request(items).unwrap().headers()["idempotency-key"].clone();
    assert_eq!(key(&[&items[0], &items[1]]), key(&[&items[0], &items[1]]));
    assert_ne!(key(&[&items[0], &items[1]]), key(&[&items[1], &items[0]]));
    assert_eq!(key(&[&items[0]]), "\"a\"");
    assert_eq!(configured(URL).unwrap().batching().items, 1);
}

#[test]
fn only_events_with_equal_method_url_and_headers_travel_together() {
    let vendor = configured(&format!("{BY_JQ}\nbatch_max = 9")).unwrap();
    let group = |user: &str, tenant: i64, order: i64| {
        prepared(vendor.as_ref(), "e", &json!({"user": user, "tenant": tenant, "order": order})).group
    };
    assert_eq!(group("u", 1, 1), group("u", 1, 2));
    assert_ne!(group("u", 1, 1), group("v", 1, 1));
    assert_ne!(group("u", 1, 1), group("u", 2, 1));
}

const OAUTH: &str = "url = \"https://api.example.com/v1/track\"\n[destinations.hook.oauth]\n\
    token_url = \"https://login.example.com/token\"\nclient_id = \"id\"\nclient_secret = \"s3cret-123\"\n";

#[test]
fn client_credentials_go_in_the_header_or_in_the_body() {
    let token = |lines: &str| {
        let vendor = configured(&format!("{OAUTH}{lines}")).unwrap();
        assert!(!format!("{vendor:?}").contains("s3cret-123"));
        vendor.grant().unwrap().request(None).unwrap()
    };
    let basic = token("scope = \"a b\"");
    assert_eq!(basic.uri(), "https://login.example.com/token");
    assert_eq!(basic.headers()["authorization"], "Basic aWQ6czNjcmV0LTEyMw==");
    assert_eq!(basic.body(), "grant_type=client_credentials&scope=a+b");
    let body = token("auth = \"body\"\naudience = \"https://api.example.com\"");
    assert_eq!(
        body.body(),
        "grant_type=client_credentials&client_id=id&client_secret=s3cret-123&audience=https%3A%2F%2Fapi.example.com"
    );
    assert!(secrets_of(&body).contains(&"s3cret-123") && !body.headers().contains_key("authorization"));
}

#[test]
fn a_token_is_read_and_a_refusal_says_what_to_check() {
    let vendor = configured(OAUTH).unwrap();
    let reply = |status: u16, body: &'static str| Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
    };
    let read = |status, body| vendor.grant().unwrap().read(&reply(status, body), jiff::Timestamp::UNIX_EPOCH);
    let token = read(200, r#"{"access_token":"abc","expires_in":60,"refresh_token":"r"}"#).unwrap();
    assert_eq!((token.access.expose_secret(), token.expires.as_second()), ("abc", 60));
    let refused = format!("{:?}", read(401, r#"{"error":"invalid_client"}"#).unwrap_err());
    assert!(refused.contains("login.example.com") && refused.contains("client_secret"), "{refused}");
}

#[test]
fn a_conflict_with_a_request_of_our_own_is_not_the_events_fault() {
    let minute = |minutes: u64| Some(Duration::from_mins(minutes));
    let judged = |lines: &str, status: u16, unanswered: Option<Duration>, statuses: &[u16]| {
        let vendor = configured(&format!("{URL}\n{lines}")).unwrap();
        let request = vendor.request(&[&prepared(vendor.as_ref(), "e-1", &json!({}))]).unwrap();
        let reply =
            Reply { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: Bytes::new() };
        vendor.judge_after(&request, &reply, &EarlierAttempts { unanswered, statuses: statuses.to_vec() })
    };
    let Verdict::Unavailable(said) = judged("", 409, Some(Duration::from_secs(15)), &[]) else { panic!() };
    assert!(said.contains("answered 409") && said.contains("the API still works on it or has it"), "{said}");
    for (lines, status, unanswered, statuses, name) in [
        ("", 409, None, [409].as_slice(), "rejected"),
        ("", 409, Some(Duration::from_secs(59)), &[409], "unavailable"),
        ("", 409, minute(9), &[], "unavailable"),
        ("", 409, minute(9), &[500], "unavailable"),
        ("", 409, minute(1), &[409], "delivered"),
        ("", 422, minute(9), &[409], "rejected"),
        ("", 400, minute(9), &[409], "rejected"),
        ("", 201, minute(9), &[409], "delivered"),
        ("idempotency_key = false", 409, minute(9), &[409], "rejected"),
        ("batch_max = 2", 409, minute(9), &[409], "rejected"),
        ("reject = [409]", 409, minute(9), &[409], "rejected"),
        ("success = [200, 409]", 409, None, &[], "delivered"),
    ] {
        assert_eq!(
            judged(lines, status, unanswered, statuses).name(),
            name,
            "{lines} {status} {unanswered:?} {statuses:?}"
        );
    }
}

#[test]
fn an_id_that_was_derived_from_the_content_makes_no_idempotency_key() {
    let vendor = configured("url = \"http://api.test/\"").unwrap();
    let given = event("e-1", &json!({"a": 1}));
    let derived = Event { id_derived: true, ..given.clone() };
    let has_key =
        |event: &Event| vendor.request_for(event, &Facts::default()).unwrap().headers().contains_key("idempotency-key");
    assert_eq!((has_key(&given), has_key(&derived)), (true, false));
}

#[test]
fn an_oauth_table_is_checked() {
    for (lines, says) in [
        (OAUTH.replace("token_url = \"https://login.example.com/token\"\n", ""), "oauth.token_url: missing"),
        (OAUTH.replace("client_secret = \"s3cret-123\"\n", ""), "oauth.client_secret: missing"),
        (format!("headers = {{ authorization = \"x-123456\" }}\n{OAUTH}"), "oauth sets it too"),
        (format!("{OAUTH}auth = \"none\""), "oauth.auth: \"none\" is not known; write one of \"basic\", \"body\""),
    ] {
        let shown = configured(&lines).unwrap_err();
        assert!(shown.contains(says) && shown.lines().count() == 1 && !shown.contains("s3cret-123"), "{shown}");
    }
}
