use std::sync::Arc;

use ::http::Request;
use bytes::Bytes;

use crate::config;
use crate::event::{Data, Event};
use crate::vendors::{Facts, Vendor};

const KEY: &str = "api_key = \"px-key-0123456789\"";

fn configured(lines: &str) -> Result<Arc<dyn Vendor>, String> {
    let text = format!(
        "[broker]\nurl = \"amqp://localhost\"\n[destinations.px]\nvendor = \"gainsight-px\"\nsubscribe = [\"#\"]\n{lines}\n"
    );
    let config = config::parse("test.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()));
    let mut config = config.map_err(|problems| problems.to_string())?;
    Ok(config.destinations.remove("px").unwrap().vendor)
}

fn request(lines: &str, data: &str) -> Result<Request<Bytes>, String> {
    let event = Event {
        id: "e".to_owned(),
        source: String::new(),
        kind: "k".to_owned(),
        time: jiff::Timestamp::constant(1_700_000_000, 0).into(),
        data: Data::read("data", data.to_owned().into()).unwrap(),
        trace: None,
        expires: None,
        not_before: None,
        id_derived: false,
        original: None,
    };
    configured(&format!("{KEY}\n{lines}"))
        .unwrap()
        .request_for(&event, &Facts::default())
        .map_err(|error| error.to_string())
}

const EVENT: &str = r#"{"identifyId":"u","eventName":"n","propertyKey":"AP-1"}"#;

#[test]
fn each_region_and_base_url_leads_to_the_documented_path() {
    for (lines, url) in [
        ("", "https://api.aptrinsic.com/v1/events/custom"),
        ("region = \"us\"", "https://api.aptrinsic.com/v1/events/custom"),
        ("region = \"eu\"", "https://api-eu.aptrinsic.com/v1/events/custom"),
        ("region = \"us2\"", "https://api-us2.aptrinsic.com/v1/events/custom"),
        ("base_url = \"http://localhost:9500\"", "http://localhost:9500/v1/events/custom"),
        ("base_url = \"http://localhost:9500/\"", "http://localhost:9500/v1/events/custom"),
        ("base_url = \"http://localhost:9500/v1\"", "http://localhost:9500/v1/events/custom"),
        ("base_url = \"http://localhost:9500/v1/\"", "http://localhost:9500/v1/events/custom"),
        ("base_url = \"https://proxy.example.com/px/v1\"", "https://proxy.example.com/px/v1/events/custom"),
    ] {
        assert_eq!(request(lines, EVENT).unwrap().uri(), url, "{lines}");
    }
}

#[test]
fn an_unknown_region_or_user_type_is_told_with_the_known_ones() {
    let shown = configured(&format!("{KEY}\nregion = \"apac\"")).unwrap_err();
    assert!(shown.contains("region") && shown.contains("\"us\", \"eu\", \"us2\""), "{shown}");
    let shown = configured(&format!("{KEY}\nuser_type = \"ADMIN\"")).unwrap_err();
    assert!(shown.contains("user_type") && shown.contains("\"EMPTY_USER_TYPE\""), "{shown}");
}

#[test]
fn a_missing_or_unusable_key_is_told_without_showing_it() {
    let shown = configured("").unwrap_err();
    assert!(shown.contains("api_key: missing"), "{shown}");
    let shown = configured("api_key = \"px-key\\u0007\"").unwrap_err();
    assert!(shown.contains("api_key") && !shown.contains("px-key"), "{shown}");
}

#[test]
fn user_type_is_user_where_neither_the_event_nor_the_destination_says() {
    let body = request("", EVENT).unwrap().into_body();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["userType"], "USER");
}

#[test]
fn without_a_property_key_anywhere_the_sentence_says_where_to_set_one() {
    let said = request("", r#"{"identifyId":"u","eventName":"n"}"#).unwrap_err();
    assert_eq!(
        said,
        "the required field \"propertyKey\" is missing or empty; set property_key on the destination or propertyKey in the data"
    );
}

#[test]
fn an_events_own_values_win_over_the_destinations() {
    let lines = "property_key = \"AP-2\"\nuser_type = \"LEAD\"";
    let data =
        r#"{"identifyId":"u","eventName":"n","propertyKey":"AP-1","userType":"VISITOR","eventId":"own","date":7}"#;
    let body: serde_json::Value = serde_json::from_slice(request(lines, data).unwrap().body()).unwrap();
    assert_eq!(body, serde_json::from_str::<serde_json::Value>(data).unwrap());
}

#[test]
fn the_credentials_check_creates_nothing() {
    let check = configured(KEY).unwrap().credentials_check().unwrap();
    assert_eq!((check.uri().path(), check.body().as_ref()), ("/v1/events/custom", b"{}".as_slice()));
    assert!(check.headers()["x-aptrinsic-api-key"].is_sensitive());
}

#[test]
fn of_a_field_that_is_written_twice_the_last_counts_and_all_else_stays_as_it_was_written() {
    let data = r#"{"identifyId":"first","identifyId":"u","eventName":"n","propertyKey":"AP-1","url":"\u0061","attributes":{"n":1.0,"n":2.50,"\u0070lan":"a\/b"}}"#;
    let request = request("", data).unwrap();
    let body = std::str::from_utf8(request.body()).unwrap();
    assert!(body.contains(r#""identifyId":"u""#) && body.contains(r#""url":"\u0061""#), "{body}");
    assert!(body.contains(r#""attributes":{"n":2.50,"plan":"a\/b"}"#), "{body}");
}

#[test]
fn attributes_that_are_no_object_are_told_with_what_they_are() {
    for (attributes, what) in [("3", "a number"), ("\"x\"", "a string"), ("[]", "an array"), ("true", "a boolean")] {
        let data = format!(r#"{{"identifyId":"u","eventName":"n","propertyKey":"AP-1","attributes":{attributes}}}"#);
        let said = request("", &data).unwrap_err();
        assert_eq!(said, format!("\"attributes\" is {what}, it must be an object"));
    }
    assert!(request("", r#"{"identifyId":"u","eventName":"n","propertyKey":"AP-1","attributes":null}"#).is_ok());
}
