use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::Event;

fn event(data: &Value) -> Event {
    Event {
        id: "e-1".to_owned(),
        source: "shop".to_owned(),
        kind: "shop.order".to_owned(),
        time: jiff::Timestamp::UNIX_EPOCH.into(),
        data: data.as_object().unwrap().clone(),
        raw: Bytes::from(data.to_string()),
        trace: None,
        id_derived: false,
        original: None,
    }
}

fn evaluated(text: &str, data: &Value) -> Result<Option<Value>, String> {
    let event = event(data);
    Expression::compile(text).unwrap_or_else(|said| panic!("{text}: {said}")).evaluate(&Input::of(&event))
}

fn given(text: &str, data: &Value) -> Value {
    evaluated(text, data).unwrap_or_else(|said| panic!("{text}: {said}")).unwrap_or(Value::Null)
}

#[test]
fn an_address_in_an_error_is_masked_before_it_is_cut() {
    let said = evaluated("error(.said)", &json!({ "said": format!("{}anna@mail.example.com", "no ".repeat(50)) }));
    let said = said.unwrap_err();
    assert!(!said.contains("anna"), "{said}");
}

/// Whether steps, depth or size stops it may depend on the build.
#[test]
fn a_runaway_is_stopped_and_told() {
    for text in [
        "def f: f; f",
        "def f: 1 + f; f",
        "def f: [f]; f",
        "def f: f | f; f",
        "def f: .a |= f; f",
        "def f: try f catch f; f",
        "def f(g): f(g + 1); f(1)",
        "def f(g): if g > 1e9 then g else f(g + 1) end; f(1)",
        "def f(x): f(x | x); f(.)",
        "def f: def g: f; g | g; f",
        "\"\\(def f: f; f)\"",
        "[repeat(1)]",
        "[recurse(.)]",
        "first(repeat(empty))",
        "until(false; .)",
        "$event | until(false; .)",
        "{} | until(false; .a += 1)",
        "last(range(1e15))",
        "range(1e15) | empty",
        "limit(1e15; range(1e15)) | empty",
        "[range(1e9)]",
        "[limit(1e9; repeat(0))]",
        "reduce range(1e15) as $i (0; . + 1)",
        "foreach range(1e15) as $i (0; . + $i; empty)",
        "reduce range(1e9) as $i ({}; .[$i | tostring] = $i)",
        "reduce range(1e6) as $x (.; .) |= 1",
        "reduce range(1e6) as $i (1; [.])",
        "reduce range(1e6) as $i (null; {next: .})",
        "last(recurse([.]))",
        "setpath([range(1e6) | \"a\"]; 1)",
        "\"x\" * 1000000000",
        "\"x\" * 1e18",
        "reduce range(100) as $i (\"x\"; . + .)",
        "reduce range(100) as $i ([0]; . + .)",
        "reduce range(100) as $i (\"\\\\\"; @json)",
        "reduce range(60) as $i (1; [., .]) | tostring",
        "reduce range(60) as $i (1; [., .]) | [..] | length",
        "[range(50000)] | combinations(3)",
        "[range(300)] | [combinations(3)] | length",
        "[range(2000)] | contains([range(2000)])",
        "\"a\" * 100000 | [match(\"a*?\"; \"g\")] | length",
        "\"a\" * 100000 | gsub(\"a\"; \"aaaa\")",
    ] {
        let said = evaluated(text, &json!({"a": {"b": [1, 2]}})).unwrap_err();
        assert!(said.contains("it was stopped"), "{text}: {said}");
    }
}

#[test]
fn a_regular_expression_takes_no_more_than_one_pass() {
    for (text, expected) in [
        ("\"a\" * 200000 | test(\"(a+)+$\")", true),
        ("\"a\" * 200000 + \"b\" | test(\"(a+)+$\")", false),
        ("\"a\" * 100000 | test(\"(a*)*b\")", false),
    ] {
        assert_eq!(given(text, &json!({})), json!(expected), "{text}");
    }
}

fn order() -> Value {
    let items = json!([{"sku": "a", "n": 2, "cents": 1250}, {"sku": "b", "n": 1, "cents": 99}]);
    let user = json!({"id": 17, "name": "Zoë \"Z\" O'Neil", "mail": "z+1@example.com"});
    json!({"user": user, "plan": null, "items": items, "when": "2024-02-29"})
}

#[test]
fn fields_and_lists_are_reached_and_rebuilt_as_in_jq() {
    let data = order();
    for (text, expected) in [
        (".user.id", json!(17)),
        (".user.id | tostring", json!("17")),
        (".missing.deep", json!(null)),
        (".plan // \"free\"", json!("free")),
        ("empty", json!(null)),
        ("{plan: (.plan // \"free\"), id: .user.id}", json!({"plan": "free", "id": 17})),
        (".user | {id, name}", json!({"id": 17, "name": "Zoë \"Z\" O'Neil"})),
        ("[.items[] | .n * .cents] | add / 100", json!(25.99)),
        ("[.items[] | .n] | add", json!(3)),
        ("[.items[].sku] | join(\",\")", json!("a,b")),
        (".items | map(select(.n > 1).sku)", json!(["a"])),
        (".items | map({(.sku): .n}) | add", json!({"a": 2, "b": 1})),
        (".items | group_by(.n) | length", json!(2)),
        (".items | sort_by(.cents) | .[0].sku", json!("b")),
        (".items | length", json!(2)),
        (".items[-1:] | .[0].sku", json!("b")),
        (".items | del(.[0].cents) | .[0]", json!({"sku": "a", "n": 2})),
        (".user | with_entries(select(.key != \"id\")) | keys", json!(["mail", "name"])),
        (".user | to_entries | map(.key)", json!(["id", "mail", "name"])),
    ] {
        assert_eq!(given(text, &data), expected, "{text}");
    }
}

#[test]
fn texts_times_and_the_whole_event_are_used_as_in_jq() {
    let data = order();
    for (text, expected) in [
        (".user.mail | ascii_upcase | split(\"@\") | .[1]", json!("EXAMPLE.COM")),
        (".user.mail | @uri", json!("z%2B1%40example.com")),
        (".user.name | @base64 | @base64d", json!("Zoë \"Z\" O'Neil")),
        (".user.name | @html", json!("Zoë &quot;Z&quot; O&apos;Neil")),
        (".user.name | length, utf8bytelength | select(. > 14)", json!(15)),
        (".user.mail | capture(\"^(?<box>[^@]+)@(?<host>.+)$\")", json!({"box": "z+1", "host": "example.com"})),
        (".user.name | sub(\"\\\\s.*\"; \"\")", json!("Zoë")),
        (".user.name | gsub(\"[^a-z]\"; \"\"; \"i\")", json!("ZoZONeil")),
        ("\"aXbX\" | [match(\"X\"; \"g\").offset]", json!([1, 3])),
        ("\"a, b\" | [splits(\", *\")]", json!(["a", "b"])),
        ("if .user.id > 10 then \"big\" else \"small\" end", json!("big")),
        (".when | strptime(\"%Y-%m-%d\") | mktime", json!(1_709_164_800)),
        (".when + \"T00:00:00Z\" | fromdate | strftime(\"%d/%m/%Y\")", json!("29/02/2024")),
        ("$event.id", json!("e-1")),
        (
            "$event | {type, source, time}",
            json!({"type": "shop.order", "source": "shop", "time": "1970-01-01T00:00:00Z"}),
        ),
        ("$event.data.user.id", json!(17)),
        ("$event | keys", json!(["data", "id", "source", "time", "type"])),
        ("\"{\\\"a\\\": [1, 2.5]}\" | fromjson | .a[1]", json!(2.5)),
        (".user | tojson", json!("{\"id\":17,\"mail\":\"z+1@example.com\",\"name\":\"Zoë \\\"Z\\\" O'Neil\"}")),
        ("\"id-\\(.user.id)\"", json!("id-17")),
        ("[1, \"a b\", null] | @csv", json!("1,\"a b\",")),
        ("[.items[] | has(\"sku\")] | all", json!(true)),
        ("\"17\" | tonumber", json!(17)),
        ("7 / 2, 6 / 2 | select(. < 3.2)", json!(3)),
        ("[.. | numbers] | max", json!(1250)),
        ("walk(if type == \"string\" then ascii_downcase else . end) | .when", json!("2024-02-29")),
        ("[limit(2; .items[].n, 9)]", json!([2, 1])),
        (".items | any(.n == 2)", json!(true)),
        ("[.items[] | .sku as $s | {$s, n}] | .[0]", json!({"s": "a", "n": 2})),
        (".a.b |= 3 | .a", json!({"b": 3})),
        ("\"abc\" | .[1:]", json!("bc")),
        ("[3, 1, 2] | sort | reverse | index(1)", json!(2)),
        ("try error(\"no\") catch .", json!("no")),
    ] {
        assert_eq!(given(text, &data), expected, "{text}");
    }
}

#[test]
fn a_time_beyond_the_calendar_is_told_and_not_wrapped_around() {
    for time in [i64::MAX, i64::MIN, 9_300_000_000_000] {
        for text in [".t | gmtime", ".t | todate", ".t | strftime(\"%Y\")"] {
            let said = evaluated(text, &json!({"t": time})).unwrap_err();
            assert!(!said.contains("interpreter failed"), "{text} of {time}: {said}");
        }
    }
}

#[test]
fn what_an_expression_cannot_do_is_told() {
    for (text, says) in [
        (".a.b", "cannot index"),
        (".a[]", "cannot use 1 as iterable"),
        (".a, .a", "more than one value"),
        ("error(\"no plan\")", "no plan"),
        ("{} | error", "it fails with {}"),
        ("\"x\" | fromjson", "cannot parse as JSON"),
        ("test(\"(\")", "string"),
        ("\"\" | test(\"(\")", "not a regular expression"),
        ("\"\" | test(\"a\"; \"z\")", "not a flag"),
        ("1 % 0", "cannot calculate 1 % 0"),
    ] {
        let said = evaluated(text, &json!({"a": 1})).unwrap_err();
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn nothing_outside_the_event_can_be_reached() {
    for text in [
        "env",
        "$ENV",
        "now",
        "input",
        "inputs",
        "debug",
        "stderr",
        "halt",
        "halt_error",
        "input_filename",
        "localtime",
        "strflocaltime(\"%Z\")",
        "$__prog_args",
        "get_search_list",
        "import \"a\" as a; 1",
        "include \"a\"; 1",
    ] {
        let said = Expression::compile(text).unwrap_err();
        assert!(said.contains("not known") || said.contains("cannot be loaded"), "{text}: {said}");
    }
    assert!(evaluated("\"1 Europe/Oslo\" | strptime(\"%d %Q\")", &json!({})).is_err());
}

#[test]
fn an_expression_that_is_too_long_or_nested_is_refused_and_not_feared() {
    assert!(Expression::compile(&"(".repeat(16_000)).is_err());
    assert!(Expression::compile(&"[".repeat(20_000)).unwrap_err().contains("at most 16384"));
    assert!(Expression::compile("").is_err());
    assert!(Expression::compile(&format!("{}1{}", "[".repeat(200), "]".repeat(200))).is_ok());
}

fn mapping(rules: &[(&str, &[(&str, &str)])]) -> Mapping {
    let rules = rules.iter().map(|(pattern, fields)| Rule {
        pattern: (*pattern).to_owned(),
        line: 1,
        fields: fields
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Field::Jq(Expression::compile(text).unwrap())))
            .collect(),
    });
    Mapping::new(rules.collect())
}

#[test]
fn the_first_rule_that_matches_makes_the_fields() {
    let mapping =
        mapping(&[("shop.*.paid", &[("a", "1")]), ("shop.#", &[("a", "2"), ("gone", "null")]), ("#", &[("a", "3")])]);
    let mapped = mapping.apply(&event(&json!({"x": 1}))).unwrap().unwrap();
    assert_eq!(
        (Value::Object(mapped.data), mapped.original.map(Value::Object)),
        (json!({"a": 2}), Some(json!({"x": 1})))
    );
    assert_eq!((mapped.raw, mapped.id.as_str()), (Bytes::from_static(b"{\"a\":2}"), "e-1"));
}

#[test]
fn without_a_rule_the_event_is_taken_as_it_is() {
    assert_eq!(mapping(&[("other.#", &[("a", "1")])]).apply(&event(&json!({}))), Ok(None));
    assert_eq!(Mapping::default().apply(&event(&json!({}))), Ok(None));
}

#[test]
fn a_field_that_cannot_be_made_is_named_with_its_rule() {
    let said =
        mapping(&[("shop.*", &[("eventName", ".x.y")])]).apply(&event(&json!({"x": 1}))).unwrap_err().to_string();
    assert_eq!(said, "\"eventName\" cannot be made by the rule of map for \"shop.*\": cannot index 1 with \"y\"");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-d]|\\PC{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mapping_keeps_every_value_exactly(value in any_json()) {
        let data = json!({"v": value.clone(), "n": {"m": [value.clone()]}});
        let kept = Some(value.clone()).filter(|value| !value.is_null());
        for text in [".v", ".n.m[0]", "[.v] | .[0]", "{a: .v} | .a", "$event.data.v", ".n | .m |= map(.) | .m[]", "walk(.) | .v"] {
            prop_assert_eq!(&evaluated(text, &data).unwrap(), &kept, "{}", text);
        }
        let mapped = mapping(&[("#", &[("v", ".v")])]).apply(&event(&data)).unwrap().unwrap();
        let written: Value = serde_json::from_slice(&mapped.raw).unwrap();
        prop_assert_eq!(written.get("v"), kept.as_ref());
    }

    #[test]
    fn no_data_makes_an_expression_panic(value in any_json(), at in any::<prop::sample::Index>()) {
        const TEXTS: &[&str] = &[
            ".v.a", ".v[0]", ".v[]?", ".v[1:2]", ".v | keys", ".v | length", ".v + .v", ".v - .v", ".v * .v", ".v / .v", ".v % .v",
            "-.v", ".v * 3", "[.v, .v] | sort | unique | min", ".v | tojson | fromjson", ".v | tostring", ".v | to_entries", ".v | flatten",
            ".v | @csv", ".v | @uri", ".v | @base64d", ".v | explode | implode", ".v | test(\"a.b\")", ".v | gsub(\"\"; \"-\")",
            ".v | todate", ".v | fromdate", ".v | strftime(\"%Y\")", ".v | strptime(\"%Y\")", ".v | mktime", ".v | gmtime", ".v | floor", ".v | sqrt",
            ".v | .. |= .", ".v | paths", ".v | del(.[0])", ".v | .[0] = 1", ".v | .a = 1", ".v | .[1:] = [1]", ".v | indices(1)", ".v | contains(1)",
            ".v | has(0)", ".v | has(\"a\")", ".v | group_by(.)", ".v | add", ".v | any", ".v | transpose", ".v | tonumber", ".v | ltrimstr(\"a\")",
            ".v | splits(\"a\")", ".v | ascii_downcase", ".v | @sh", ".v | @tsv", ".v | .[.v]", ".v == .v", ".v < .v", "[.v | limit(3; .[]?)]", ".v | ldexp(.; .)",
        ];
        let text = at.get(TEXTS);
        if let Err(said) = evaluated(text, &json!({"v": value})) {
            prop_assert!(!said.contains("interpreter failed"), "{}: {}", text, said);
        }
    }
}
