use std::sync::Arc;

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use crate::config;
use crate::vendors::{Reply, Vendor};

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
