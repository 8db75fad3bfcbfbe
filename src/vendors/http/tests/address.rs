//! What an event's words may do to an address: nothing but be themselves.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{configured, event};
use crate::vendors::{Facts, Vendor};

/// The address that an expression makes of an event.
pub(super) fn address(expression: &str, data: &Value) -> Result<String, String> {
    made(configured(&format!("url = {{ jq = '''{expression}''' }}")).unwrap().as_ref(), data)
}

fn made(vendor: &dyn Vendor, data: &Value) -> Result<String, String> {
    let request = vendor.request_for(&event("e-1", data), &Facts::default());
    request.map(|request| request.uri().to_string()).map_err(|refusal| refusal.to_string())
}

const ENCODED: &str = r#""https://api.example.com/v1/users/\(.id|@uri)/events""#;
const RAW: &str = r#""https://api.example.com/v1/users/\(.id)/events""#;
const SUM: &str = r#""https://api.example.com/v1/users/" + .id + "/events""#;
const FORMAT: &str = r#"@uri "https://api.example.com/v1/users/\(.id)/events""#;
const JOINED: &str = r#"["https://api.example.com/v1/users", .id, "events"] | join("/")"#;
const NAMED: &str = r#""https://api.example.com/v1" as $base | $base + "/users/\(.id)/events""#;
const DEFINED: &str = r#"def base: "https://api.example.com/v1"; base + "/users/\(.id)/events""#;
const ALL: [&str; 7] = [ENCODED, RAW, SUM, FORMAT, JOINED, NAMED, DEFINED];

#[test]
fn an_id_cannot_be_a_directory_in_any_spelling() {
    let plain = [
        ".",
        "..",
        "%2e",
        "%2E%2e",
        ".%2e",
        "%2e.",
        "%252e%252e",
        "..%2Fadmin",
        "%2e%2e%5cadmin",
        "..;x=1",
        ".. ",
        " ..",
        "..?",
        ".?x",
        "..#x",
        "..%3f",
        ".%2e%3F",
        "%2e%2e%23x",
        ".%09.",
        ".%0A.",
    ];
    let split = ["a/../b", "../admin", "..\\admin", ".\t.", ".\n.", "..\n", "\r..", "a/b/../..", "./x"];
    for id in plain.iter().chain(&split) {
        for expression in ALL {
            let said = address(expression, &json!({"id": id}));
            let said = said.unwrap_err();
            assert!(said.starts_with("url: "), "{expression} {id:?}: {said}");
        }
    }
}

#[test]
fn an_id_stays_one_segment_or_is_refused() {
    for (id, of_raw, of_encoded) in [
        ("42", Ok("42"), "42"),
        ("a b", Ok("a%20b"), "a%20b"),
        ("zoë", Ok("zo%C3%AB"), "zo%C3%AB"),
        ("a%2Fb", Ok("a%2Fb"), "a%252Fb"),
        ("anna@example.com", Ok("anna@example.com"), "anna%40example.com"),
        ("...", Ok("..."), "..."),
        (".well-known", Ok(".well-known"), ".well-known"),
        ("a..b", Ok("a..b"), "a..b"),
        ("{}|^`\"<>", Ok("%7B%7D%7C%5E%60%22%3C%3E"), "%7B%7D%7C%5E%60%22%3C%3E"),
        ("7 ", Ok("7%20"), "7%20"),
        ("a/b", Err("ends a segment of the path"), "a%2Fb"),
        ("a\\b", Err("ends a segment of the path"), "a%5Cb"),
        ("a?b", Err("ends a segment of the path"), "a%3Fb"),
        ("a#b", Err("ends a segment of the path"), "a%23b"),
        ("a\tb", Err("control character"), "a%09b"),
        ("a\nb", Err("control character"), "a%0Ab"),
        ("100%", Err("a % that encodes nothing"), "100%25"),
        ("%4", Err("a % that encodes nothing"), "%254"),
        ("%zz", Err("a % that encodes nothing"), "%25zz"),
    ] {
        let whole = |segment: &str| format!("https://api.example.com/v1/users/{segment}/events");
        for expression in [ENCODED, FORMAT] {
            assert_eq!(address(expression, &json!({"id": id})), Ok(whole(of_encoded)), "{id:?}");
        }
        for expression in [RAW, SUM, JOINED, NAMED, DEFINED] {
            match (address(expression, &json!({"id": id})), of_raw) {
                (Ok(made), Ok(expected)) => assert_eq!(made, whole(expected), "{expression} {id:?}"),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{expression} {id:?}: {said}"),
                (made, _) => panic!("{expression} {id:?}: {made:?}"),
            }
        }
    }
}

#[test]
fn an_id_that_is_missing_or_empty_is_no_segment() {
    for expression in ALL {
        for (id, says) in
            [(json!(null), "is missing or null"), (json!(""), "is empty"), (json!({"a": 1}), "an object, not a string")]
        {
            if id.is_object() && [ENCODED, FORMAT].contains(&expression) {
                continue;
            }
            let said = address(expression, &json!({"id": id})).unwrap_err();
            assert!(said.contains(says), "{expression} {id}: {said}");
        }
    }
    let numbers = [json!(7), json!(true)];
    for (id, segment) in numbers.iter().zip(["7", "true"]) {
        for expression in [ENCODED, RAW, FORMAT, JOINED] {
            assert_eq!(
                address(expression, &json!({"id": id})).unwrap(),
                format!("https://api.example.com/v1/users/{segment}/events")
            );
        }
    }
    assert_eq!(
        address(r#""https://api.example.com/a-\(.id)""#, &json!({"id": ""})).unwrap(),
        "https://api.example.com/a-"
    );
}

#[test]
fn a_word_beside_a_hosts_name_does_not_make_it_another() {
    for (expression, word, expected) in [
        (r#""https://example.com\(.x)""#, "pany", Err("would choose another host")),
        (r#""https://example.com" + .x"#, "pany", Err("would choose another host")),
        (r#""https://example.com\(.x):8443/a""#, "pany", Err("would choose another host")),
        (r#""https://example.\(.x)/a""#, "com", Err("would choose another host")),
        (r#""https://\(.x)example.com/a""#, "evil", Err("would choose another host")),
        (r#""https://\(.x)-example.com/a""#, "evil", Err("would choose another host")),
        (r#""https://\(.x)-eu.example.com/a""#, "shop", Ok("https://shop-eu.example.com/a")),
        (r#""https://eu-\(.x).example.com/a""#, "1", Ok("https://eu-1.example.com/a")),
        (r#""https://\(.x).localhost/a""#, "shop", Ok("https://shop.localhost/a")),
        (r#""https://\(.x)-\(.x).example.com/a""#, "b", Ok("https://b-b.example.com/a")),
        (r#""http://10.0.0.\(.x)/a""#, "5", Ok("http://10.0.0.5/a")),
    ] {
        match (address(expression, &json!({"x": word})), expected) {
            (Ok(made), Ok(expected)) => assert_eq!(made, expected, "{expression} {word:?}"),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{expression} {word:?}: {said}"),
            (made, _) => panic!("{expression} {word:?}: {made:?}"),
        }
    }
}

#[test]
fn a_word_in_a_host_a_port_a_query_or_a_fragment_stays_there() {
    for (expression, word, expected) in [
        (r#""https://\(.x).example.com/a""#, "eu-1", Ok("https://eu-1.example.com/a")),
        (r#""https://\(.x).example.com/a""#, "a.b", Err("cannot be part of a host's name")),
        (r#""https://\(.x).example.com/a""#, "evil.com/", Err("cannot be part of a host's name")),
        (r#""https://\(.x).example.com/a""#, "evil.com#", Err("cannot be part of a host's name")),
        (r#""https://\(.x).example.com/a""#, "u@evil.com:80\\", Err("cannot be part of a host's name")),
        (r#""https://\(.x).example.com/a""#, "", Err("cannot be part of a host's name")),
        (r#""https://\(.x).example.com/a""#, "ａ．ｂ", Err("cannot be part of a host's name")),
        (r#""https://example.com\(.x)/a""#, ".evil.com", Err("would choose another host")),
        (r#""https://example.com\(.x)/a""#, "@evil.com", Err("would choose another host")),
        (r#""https://example.com\(.x)/a""#, ":81", Err("would choose another host")),
        (r#""https://\(.x)/a""#, "shop.example.com", Ok("https://shop.example.com/a")),
        (r#""https://\(.x)/a""#, "shop.example.com/b", Err("is no host")),
        (r#""https://\(.x)/a""#, "u:p@shop.example.com", Err("is no host")),
        (r#""https://\(.x)/a""#, "shop..example.com", Err("is no host")),
        (r#""https://\(.x)@example.com/a""#, "user", Err("would choose another host")),
        (r#""https://\(.x)@example.com/a""#, "", Err("would choose another host")),
        (r#""https://u:\(.x)@example.com/a""#, "1", Err("must not contain credentials")),
        (r#""https://example.com:\(.x)/a""#, "8443", Ok("https://example.com:8443/a")),
        (r#""https://example.com:\(.x)/a""#, "8443/b", Err("is no port")),
        (r#""https://example.com:\(.x)/a""#, "80@evil.com", Err("is no port")),
        (r#""https://example.com:\(.x)/a""#, "", Err("is no port")),
        (r#""https://example.com:\(.x)/a""#, "99999", Err("not a URL")),
        (r#""\(.x)://example.com/a""#, "http", Ok("http://example.com/a")),
        (r#""\(.x)://example.com/a""#, "ftp", Err("must begin with http:// or https://")),
        (r#""\(.x)://example.com/a""#, "https://evil.com/?", Err("must be http or https")),
        (r#""https://example.com/a?q=\(.x)&r=1""#, "x y/z?=", Ok("https://example.com/a?q=x%20y/z?=&r=1")),
        (r#""https://example.com/a?q=\(.x)&r=1""#, "x&admin=1", Err("ends a parameter")),
        (r#""https://example.com/a?q=\(.x)&r=1""#, "x#", Err("ends a parameter")),
        (r#""https://example.com/a?q=\(.x)&r=1""#, "x\ny", Err("control character")),
        (
            r#""https://example.com/a?q=\(.x|@uri)&r=1""#,
            "x&admin=1#",
            Ok("https://example.com/a?q=x%26admin%3D1%23&r=1"),
        ),
        (r#""https://example.com/a?q=\(.x)&r=1""#, "..", Ok("https://example.com/a?q=..&r=1")),
        (r#""https://example.com/a?\(.x)=1""#, "a=2&b", Err("ends a parameter's name")),
        (r#""https://example.com/a?\(.x)=1""#, "a", Ok("https://example.com/a?a=1")),
        (r#""https://example.com/a#\(.x)""#, "/../b", Ok("https://example.com/a")),
        (r#""https://example.com\(.x)""#, "/a", Err("would choose another host")),
        (r#""https://example.com/a\(.x)""#, "b", Ok("https://example.com/ab")),
        (r#""https://example.com/.\(.x)""#, ".", Err("means a directory")),
        (r#""https://example.com/%2\(.x)/a""#, "e", Err("means a directory")),
        (r#""https://example.com/\(.x)\(.x)/a""#, ".", Err("means a directory")),
    ] {
        match (address(expression, &json!({"x": word})), expected) {
            (Ok(made), Ok(expected)) => assert_eq!(made, expected, "{expression} {word:?}"),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{expression} {word:?}: {said}"),
            (made, _) => panic!("{expression} {word:?}: {made:?}"),
        }
    }
}

#[test]
fn a_word_does_not_make_another_host_or_port_than_it_says() {
    for (expression, word, expected) in [
        (r#""https://example.com:\(.x)/a""#, "080", Err("leads to example.com:80;")),
        (r#""https://example.com:\(.x)/a""#, "0", Err("port 0")),
        (r#""https://example.com:\(.x)/a""#, "443", Ok("https://example.com/a")),
        (r#""http://10.0.0.\(.x)/v1""#, "5", Ok("http://10.0.0.5/v1")),
        (r#""http://10.0.0.\(.x)/v1""#, "010", Err("leads to 10.0.0.8:80;")),
        (r#""http://10.0.0.\(.x)/v1""#, "0x10", Err("leads to 10.0.0.16:80;")),
        (r#""http://\(.x)/v1""#, "2130706433", Err("leads to 127.0.0.1:80;")),
        (r#""http://\(.x)/v1""#, "0x7f.1", Err("leads to 127.0.0.1:80;")),
        (r#""http://\(.x)/v1""#, "80", Err("leads to 0.0.0.80:80;")),
        (r#""http://\(.x)/v1""#, "10.0.0.7", Ok("http://10.0.0.7/v1")),
        (r#""http://\(.x)/v1""#, "Shop.Example.COM", Ok("http://shop.example.com/v1")),
        (r#""https://münchen.example/\(.x)""#, "7", Ok("https://xn--mnchen-3ya.example/7")),
        (r#""http://[::1]:8080/\(.x)""#, "7", Ok("http://[::1]:8080/7")),
    ] {
        match (address(expression, &json!({"x": word})), expected) {
            (Ok(made), Ok(expected)) => assert_eq!(made, expected, "{expression} {word:?}"),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{expression} {word:?}: {said}"),
            (made, _) => panic!("{expression} {word:?}: {made:?}"),
        }
    }
}

#[test]
fn what_the_destination_chooses_may_be_of_any_shape() {
    for (expression, expected) in [
        (r#""https://\(if .eu then "eu.api" else "us.api" end).example.com/a""#, "https://eu.api.example.com/a"),
        (
            r#"if .eu then "https://eu.example.com/a" else "https://us.example.com/b" end + "/\(.id)""#,
            "https://eu.example.com/a/7",
        ),
        (
            r#"{eu: "https://eu.example.com/v1", us: "https://us.example.com"}[.region] + "/users/\(.id)""#,
            "https://eu.example.com/v1/users/7",
        ),
        (r#""https://example.com/" + {eu: "a/b", us: "c"}[.region] + "/\(.id)""#, "https://example.com/a/b/7"),
        (r#""https://example.com/\(.none // "all/of/them")""#, "https://example.com/all/of/them"),
        (r#""https://example.com/\(.id + 1)""#, "https://example.com/8"),
        (
            r#"(.id | tostring) as $id | "https://example.com/\($id)/\($event.type)""#,
            "https://example.com/7/shop.order",
        ),
        (r#".user | "https://example.com/\(.name | ascii_downcase | @uri)""#, "https://example.com/zo%C3%AB"),
        (r#""https://example.com/\(.date[0:4])""#, "https://example.com/2026"),
        (r#""https://example.com/\(.page | ltrimstr("/") | gsub("/"; "-"))""#, "https://example.com/a-b"),
    ] {
        let data =
            json!({"eu": true, "region": "eu", "id": 7, "user": {"name": "ZoË"}, "date": "2026-11-29", "page": "/a/b"});
        // jq's own `ascii_downcase` leaves what is not ASCII alone.
        let expected = expected.replace("%C3%AB", "%C3%8B");
        assert_eq!(address(expression, &data).as_deref(), Ok(expected.as_str()), "{expression}");
    }
}

#[test]
fn an_address_that_is_the_events_own_is_taken_as_it_is_written_or_not_at_all() {
    let whole = |address_of: &str| address(".url", &json!({"url": address_of}));
    for good in
        ["https://example.com/a/b?c=d&e=f", "http://example.com:8080/", "http://[::1]/", "https://example.com/a%2Fb"]
    {
        assert_eq!(whole(good).as_deref(), Ok(good));
    }
    for bad in [
        "https://example.com/a/../b",
        "https://example.com/a/%2e%2E",
        "https://example.com\\b",
        "https:///example.com/a",
        "https:/example.com",
        "https:example.com",
        "https://exa\tmple.com/",
        "https://example.com/a\n",
        " https://example.com/",
        "https://@example.com/",
        "https://u:p@example.com/",
        "//example.com/a",
        "javascript://example.com/",
        "https://",
        "https://example。com/",
        "https://ex%61mple.com/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://[0:0::1]/",
        "http://example.com:080/",
        "http://example.com:/",
        "http://example.com:0/",
    ] {
        assert!(whole(bad).unwrap_err().starts_with("url: "), "{bad:?}");
    }
    let below = |base: &str, id: &str| address(r#".base + "/users/\(.id)""#, &json!({"base": base, "id": id}));
    assert_eq!(below("https://example.com/v1", "7").as_deref(), Ok("https://example.com/v1/users/7"));
    assert!(below("https://example.com/v1", "7/8").unwrap_err().contains("ends a segment"));
    assert!(below("https://example.com/v1", "..").unwrap_err().contains("directory"));
}

#[test]
fn nothing_or_several_addresses_are_none() {
    for (expression, says) in [
        (".none", "url is missing"),
        ("empty", "url is missing"),
        (r#""https://example.com/\(empty)""#, "url is missing"),
        (r#""https://example.com/\(1, 2)""#, "more than one value"),
        (r#""https://a.example.com", "https://b.example.com""#, "more than one value"),
        (r#"{eu: "https://eu.example.com"}[.region]"#, "url is missing"),
    ] {
        let said = address(expression, &json!({"region": "mars"})).unwrap_err();
        assert!(said.contains(says), "{expression}: {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_word_leads_elsewhere(word in r"([a-z.%/\\?#@:&=;2eEfF\t\n é]|\PC){0,12}") {
        let expression = r#""https://api.example.com/v1/users/\(.x)/events?q=\(.x)&r=1""#;
        if let Ok(made) = address(expression, &json!({"x": word})) {
            let url = url::Url::parse(&made).unwrap();
            prop_assert_eq!(url.as_str(), &made);
            prop_assert_eq!(url.host_str(), Some("api.example.com"));
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            prop_assert_eq!((segments.len(), segments[0], segments[1], segments[3]), (4, "v1", "users", "events"));
            let parameters: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
            prop_assert_eq!(parameters, ["q", "r"]);
        }
    }
}
