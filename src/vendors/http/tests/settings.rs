//! What a destination may not write into its headers and lists of statuses.

use super::{URL, configured};

#[test]
fn a_header_that_is_not_the_destinations_to_set_is_refused_at_its_line() {
    for (name, why) in [
        ("content-length", "frames the body"),
        ("Content-Length", "frames the body"),
        ("transfer-encoding", "frames the body"),
        ("Trailer", "frames the body"),
        ("connection", "belongs to one connection"),
        ("keep-alive", "belongs to one connection"),
        ("upgrade", "belongs to one connection"),
        ("TE", "belongs to one connection"),
        ("http2-settings", "belongs to one connection"),
        ("expect", "sent at once"),
        ("proxy-authorization", "for a proxy"),
        ("proxy-connection", "for a proxy"),
        ("Host", "`url` says the host"),
        ("content-encoding", "not compressed"),
        ("accept-encoding", "which answers it can read"),
        ("\":path\"", "is not a header name"),
    ] {
        for value in ["\"tok-123456\"", "{ jq = \".x\" }"] {
            let shown = configured(&format!("{URL}\n[destinations.hook.headers]\nx-good = \"a\"\n{name} = {value}"))
                .unwrap_err();
            let key = name.trim_matches('"');
            assert!(shown.starts_with(&format!("test.toml:10: destinations.hook.headers.{key}: ")), "{shown}");
            assert!(shown.contains(why) && !shown.contains("tok-123456") && shown.lines().count() == 1, "{shown}");
        }
    }
}

#[test]
fn host_may_be_written_out_where_http_2_is_never_spoken() {
    let with = |host: &str| configured(&format!("{URL}\nhttp1_only = true\nheaders = {{ host = {host} }}"));
    let vendor = with("\"api.internal\"").unwrap();
    let item = super::prepared(vendor.as_ref(), "e", &serde_json::json!({}));
    assert_eq!(vendor.request(&[&item]).unwrap().headers()["host"], "api.internal");
    let shown = with("{ jq = \".host\" }").unwrap_err();
    assert!(shown.contains("an event must not choose it"), "{shown}");
}

#[test]
fn two_headers_that_differ_by_case_alone_are_one() {
    let shown =
        configured(&format!("{URL}\n[destinations.hook.headers]\nX-A = \"1\"\nx-b = \"2\"\nx-a = \"3\"")).unwrap_err();
    let said = ["headers.x-a: is the same header as \"X-A\"", "headers.X-A: is the same header as \"x-a\""];
    assert!(said.iter().any(|said| shown.contains(said)) && shown.lines().count() == 1, "{shown}");
}

#[test]
fn a_status_whose_meaning_is_fixed_is_refused() {
    for (list, status, why) in [
        ("retry_statuses", 429, "throttling"),
        ("reject", 429, "throttling"),
        ("success", 429, "throttling"),
        ("retry_statuses", 401, "credentials are refused"),
        ("reject", 401, "credentials are refused"),
        ("reject", 407, "the proxy refuses"),
        ("retry_statuses", 413, "too large"),
        ("retry_statuses", 200, "would double it"),
        ("retry_statuses", 202, "would double it"),
        ("reject", 204, "list in `success`"),
        ("success", 100, "never the last answer"),
    ] {
        let shown = configured(&format!("{URL}\n{list} = [404, {status}]")).unwrap_err();
        assert!(shown.starts_with(&format!("test.toml:8: destinations.hook.{list}: {status} ")), "{shown}");
        assert!(shown.contains(why) && shown.lines().count() == 1, "{shown}");
    }
    let shown = configured(&format!("{URL}\nreject = [404, 410, 404]")).unwrap_err();
    assert!(shown.contains("404 is there twice"), "{shown}");
    configured(&format!("{URL}\nsuccess = [201, 302, 409]\nretry_statuses = [404, 423]\nreject = [403, 503]")).unwrap();
}
