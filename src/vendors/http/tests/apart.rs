//! Which addresses can be taken apart into what the destination wrote and an event's words, and which are refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::address::address;
use super::configured;

/// An address of the destination's own, and the event's words in it, put together in ways that can be taken apart.
const TAKEN_APART: [&str; 21] = [
    r#"def u: "https://api.example.com/v1/\(.id)/e"; u"#,
    r#"def u(x): "https://api.example.com/v1/\(x)/e"; u(.id)"#,
    r#"def u($x): "https://api.example.com/v1/\($x)/e"; u(.id)"#,
    r#"def v: .id; def u(x): "https://api.example.com" + "/v1/" + x + "/e"; {id: v} | u(v)"#,
    r#"def b: "https://api.example.com/v1"; def u: b + "/" + .id; u + "/e""#,
    r#"def u: if .id then "https://api.example.com/v1/\(.id)/e" else u end; u"#,
    r#"first("https://api.example.com/v1/\(.id)/e")"#,
    r#""https://api.example.com/v1/\(.id)/e"?"#,
    r#"try "https://api.example.com/v1/\(.id)/e" catch "https://other.example.com/\(.)""#,
    r#""https://api.example.com/v1/\(.id)/e" // "https://other.example.com/""#,
    r#".none // ("https://api.example.com/v1/\(.id)/e" // "https://other.example.com/")"#,
    r#""https://api.example.com/v1/\(.id)/e" | @text"#,
    r#"("https://api.example.com/v1/\(.id)/e") | tostring | ."#,
    r#""HTTPS://api.example.com/V1/\(.id)/e" | ascii_downcase"#,
    r#"["https://api.example.com/v1/", .id, "/e"] | add"#,
    r#"["https://api.example.com", (["v1", .id, "e"] | join("/"))] | join("/")"#,
    r#"["https://api.example.com", (["v1", .id, "e"] | map(.) | join("/"))] | join("/")"#,
    r#"["https://api.example.com", ([("v1", .id, "e") | .] | join("/"))] | join("/")"#,
    r#""https://api.example.com/v1/" + (def id: .id; id) + "/e""#,
    r#".id as $id | "https://api.example.com" as $b | {eu: "v1"}["eu"] as $v | [$b, $v, $id, "e"] | join("/")"#,
    r#""https://" + first("api.example.com", "b.example.com") + "/v1/\(.id | tostring)/e""#,
];

#[test]
fn words_are_told_from_the_address_in_every_form_that_can_be_taken_apart() {
    for expression in TAKEN_APART {
        let made = address(expression, &json!({"id": "a-7"}));
        assert_eq!(made.as_deref(), Ok("https://api.example.com/v1/a-7/e"), "{expression}");
        for id in ["x?admin=1", "x#", "a/b", "..", "../..", "x\\y", ""] {
            let said = address(expression, &json!({"id": id})).unwrap_err();
            assert!(said.starts_with("url: "), "{expression} {id:?}: {said}");
        }
    }
    let several = r#""https://api.example.com/\(.id)", "https://b.example.com/\(.id)""#;
    assert!(address(several, &json!({"id": 7})).unwrap_err().contains("more than one value"));
    let host = r#""https://\(.id).example.com/A" | ascii_downcase"#;
    assert_eq!(address(host, &json!({"id": "EU"})).as_deref(), Ok("https://eu.example.com/a"));
    assert!(address(host, &json!({"id": "evil.com/"})).unwrap_err().contains("part of a host's name"));
}

#[test]
fn an_address_whose_words_cannot_be_told_is_refused_when_the_file_is_read() {
    for expression in [
        r#""https://api.example.com/v1/\(.id)" | ltrimstr("x")"#,
        r#""https://api.example.com/v1/\(.id)" | .[:60]"#,
        r#""https://api.example.com/v1/\(.id)"[0:60]"#,
        r#""https://api.example.com/v1/ID" | sub("ID"; $event.id)"#,
        r#""https://api.example.com/v1/ID" | split("ID") | join($event.id)"#,
        r#"["https://api.example.com/v1/\(.id)"][0]"#,
        r#"["https://api.example.com/v1/\(.id)"] | first"#,
        r#"[["https://api.example.com/v1/", .id][]] | add"#,
        r#"{u: "https://api.example.com/v1/\(.id)"}.u"#,
        r#"{u: "https://api.example.com/v1/\(.id)"} | .u"#,
        r#"{u: "https://api.example.com/v1/\(.id)"} | "\(.u)""#,
        r#"{u: "https://api.example.com/v1/\(.id)"} | if .u then .u else "b" end"#,
        r#"def f: .u; {u: "https://api.example.com/v1/\(.id)"} | f"#,
        r#"def u: {u: "https://api.example.com/v1/\(.id)"}; u.u"#,
        r#"def u(x): x; u("https://api.example.com/v1/\(.id)")"#,
        r#"def u($x): $x | .[0:60]; u("https://api.example.com/v1/\(.id)")"#,
        r#""https://api.example.com/v1/\(.id)" as $u | $u"#,
        r#"["https://api.example.com/v1/\(.id)"] as [$u] | $u + "/e""#,
        r#"reduce ("https://api.example.com/v1/", .id) as $x (""; . + $x)"#,
        r#"reduce .id as $x ("https://api.example.com/v1/"; . + $x)"#,
        r#"last(foreach .id as $x ("https://api.example.com/v1/"; . + $x; .))"#,
        r#"label $l | "https://api.example.com/v1/\(.id)", break $l"#,
        r#"limit(1; "https://api.example.com/v1/\(.id)")"#,
        r#"try error("https://api.example.com/v1/\(.id)") catch ."#,
        r#"def f: error("https://api.example.com/v1/\(.id)"); try f catch ."#,
        r#"try (if .a then .u + "/x" else error("https://api.example.com/v1/\(.id)") end) catch ."#,
        r#"def f(x): try x catch .; f(error("https://api.example.com/v1/\(.id)"))"#,
        r#".u = "https://api.example.com/v1/\(.id)" | .u"#,
        r#"["https:", "", "api.example.com", .id] | join($event.type)"#,
        r#".id + ("https://api.example.com/v1/\(.id)" | ltrimstr("x"))"#,
    ] {
        let said = configured(&format!("url = {{ jq = '''{expression}''' }}")).map(drop).unwrap_err();
        assert!(said.contains("cannot be told from the address"), "{expression}: {said}");
    }
}

#[test]
fn an_address_of_the_event_may_be_looked_at_and_changed() {
    let of_event = json!({"u": "https://hooks.example.com/7", "none": null});
    for expression in [
        ".u",
        r#".u | select(startswith("https://hooks.example.com/"))"#,
        r#"if .u | startswith("http://") then null else .u end"#,
        r#".u | if test("^https://hooks") then . else error("\(.) must begin with https://hooks") end"#,
        r#".none // .u // "https://api.example.com/""#,
        r#""https://api.example.com" as $base | .u // "\($base)/x""#,
        r#".u | ascii_downcase | rtrimstr("//") | sub("//$"; "")"#,
    ] {
        assert_eq!(address(expression, &of_event).as_deref(), Ok("https://hooks.example.com/7"), "{expression}");
    }
}

#[test]
fn a_table_gives_way_to_what_stands_behind_it() {
    let expression = r#"({eu: "https://eu.example.com"}[.region] // "https://us.example.com") + "/v1/\(.id)""#;
    for (region, host) in [("eu", "eu"), ("mars", "us")] {
        let made = address(expression, &json!({"region": region, "id": "7"}));
        assert_eq!(made, Ok(format!("https://{host}.example.com/v1/7")));
        assert!(address(expression, &json!({"region": region, "id": "7/8"})).unwrap_err().contains("ends a segment"));
    }
    let or_null = r#"if .id then "https://api.example.com/\(.id)" else null end // "https://api.example.com/all""#;
    assert_eq!(address(or_null, &json!({})).as_deref(), Ok("https://api.example.com/all"));
    assert_eq!(address(or_null, &json!({"id": 7})).as_deref(), Ok("https://api.example.com/7"));
}

#[test]
fn any_number_of_parameters_and_segments_can_be_joined() {
    let query = r#""https://example.com/a?" + (.q | to_entries | map("\(.key|@uri)=\(.value|@uri)") | join("&"))"#;
    let listed = r#""https://example.com/a?" + ([.q | to_entries[] | "\(.key|@uri)=\(.value|@uri)"] | join("&"))"#;
    let raw = r#""https://example.com/a?" + (.q | to_entries | map("\(.key)=\(.value)") | join("&"))"#;
    for (expression, q, expected) in [
        (query, json!({"a": "1", "b&c": "x=y&z#"}), Ok("https://example.com/a?a=1&b%26c=x%3Dy%26z%23")),
        (listed, json!({"a": "1", "b&c": "x=y&z#"}), Ok("https://example.com/a?a=1&b%26c=x%3Dy%26z%23")),
        (query, json!({"a": 1}), Ok("https://example.com/a?a=1")),
        (query, json!({}), Ok("https://example.com/a?")),
        (query, json!({"a": null}), Err("is missing or null")),
        (raw, json!({"a": "1", "b": "2"}), Ok("https://example.com/a?a=1&b=2")),
        (raw, json!({"a": "1&admin=1"}), Err("ends a parameter")),
        (raw, json!({"a&b": "1"}), Err("ends a parameter's name")),
    ] {
        match (address(expression, &json!({"q": q})), expected) {
            (Ok(made), Ok(expected)) => assert_eq!(made, expected, "{expression} {q}"),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{expression} {q}: {said}"),
            (made, _) => panic!("{expression} {q}: {made:?}"),
        }
    }
    let path = r#""https://example.com/" + (.path | map(@uri) | join("/")) + "/e""#;
    let of = |path_of: Value| address(path, &json!({"path": path_of}));
    assert_eq!(of(json!(["a", "b/c", 7])).as_deref(), Ok("https://example.com/a/b%2Fc/7/e"));
    assert!(of(json!([])).unwrap_err().contains("is empty"));
    assert!(of(json!(["a", ".."])).unwrap_err().contains("directory"));
    assert!(of(json!(["a", null])).unwrap_err().contains("missing or null"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_id_leads_elsewhere_however_the_address_is_put_together(
        id in r"([a-z.%/\\?#@:&=;2eEfF\t\n é]|\PC){0,8}",
        at in 0..TAKEN_APART.len(),
    ) {
        let expression = TAKEN_APART[at];
        if let Ok(made) = address(expression, &json!({"id": id})) {
            let url = url::Url::parse(&made).unwrap();
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            prop_assert_eq!((url.host_str(), url.query()), (Some("api.example.com"), None));
            prop_assert_eq!((segments.len(), segments[0], segments[2]), (3, "v1", "e"));
        }
    }
}
