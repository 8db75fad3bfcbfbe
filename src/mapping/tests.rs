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
        data: data.as_object().unwrap().clone().into(),
        trace: None,
        expires: None,
        not_before: None,
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
        "path(last(recurse(.a?)))",
        "[paths(recurse(.a?))]",
        "getpath([range(1e6) | \"a\"])",
        "reduce range(1e6) as $i (path(..); . + [1])",
        "[splits(\"\"; \"g\")?] | until(false; . + .)",
        "\"a\" * 130000 | [splits(\"\")] | map(explode) | combinations",
        "@base64 \"\\(\"x\" * 1000000000)\"",
        "[limit(1e12; repeat(\"a\" * 1000))] | join(\",\")",
        "[range(100000)] | transpose?, sort_by(range(1e9))",
        "[] | .[1e9] = 1",
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
        (".user | to_entries | map(.key) | sort", json!(["id", "mail", "name"])),
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
        ("[nan, 1] | @csv", json!(",1")),
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
        (".a.b", "Cannot index number with string \"b\""),
        (".a[]", "Cannot iterate over number (1)"),
        (".a, .a", "more than one value"),
        ("error(\"no plan\")", "no plan"),
        ("{} | error", "it fails with {}"),
        ("\"x\" | fromjson", "cannot parse as JSON"),
        ("test(.pattern // \"(\")", "string"),
        ("\"\" | test(\"(\" + \"\")", "not a regular expression"),
        ("\"\" | test(\"a\" + \"\"; \"z\")", "z is not a valid modifier string"),
        ("1 % 0", "the divisor is zero"),
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
        assert!(
            ["not known", "left out on purpose", "cannot be loaded"].iter().any(|words| said.contains(words)),
            "{text}: {said}"
        );
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

#[test]
fn a_regular_expression_that_cannot_be_compiled_is_found_at_load() {
    for text in
        ["test(\"(\")", "gsub(\"a{\"; \"\") | .[\"x\"] | sub(\"[\"; \"\")", "test(\"a\"; \"z\")", "[splits(\"(?<n\")]"]
    {
        let said = Expression::compile(text).unwrap_err();
        assert!(
            said.contains("column") && (said.contains("not a regular expression") || said.contains("modifier")),
            "{said}"
        );
    }
    for text in ["test(\"(?<=a)b\")", "test(\"(.)\\\\1\")", "test(\"a$\"; null)", "test(.pattern)"] {
        assert!(Expression::compile(text).is_ok(), "{text}");
    }
}

#[test]
fn a_number_that_is_not_finite_is_told_and_not_sent() {
    for text in [
        "infinite",
        "-infinite",
        "nan",
        "[nan]",
        "{a: infinite}",
        "1e308 * 10",
        "[.a, nan] | add",
        "-1 | sqrt",
        "0 | log",
    ] {
        let said = evaluated(text, &json!({"a": 1})).unwrap_err();
        assert!(said.contains("not finite"), "{text}: {said}");
    }
    for text in ["5 / 0", "0 / 0", "5 % 0", ".a / 0"] {
        let said = evaluated(text, &json!({"a": 1})).unwrap_err();
        assert!(said.contains("the divisor is zero"), "{text}: {said}");
    }
}

/// Data as a producer writes it, with its order and its digits.
fn written(text: &str, data: &'static str) -> String {
    let event = Event { data: Data::read("data", data.into()).unwrap(), ..event(&json!({})) };
    Expression::compile(text).unwrap().json(&Input::of(&event)).unwrap().unwrap()
}

#[test]
fn digits_stay_as_they_came_until_something_is_calculated() {
    const DATA: &str = r#"{"big": 123456789012345678901234567890, "ten": 1.10, "e": 1e5, "long": 0.12345678901234567890123, "huge": 1e1000, "half": [18446744073709551616.50]}"#;
    for (text, expected) in [
        (".big", "123456789012345678901234567890"),
        ("[.ten, .e, .long]", "[1.10,1e5,0.12345678901234567890123]"),
        (".huge", "1e1000"),
        ("{a: .half, b: {c: .ten}}", r#"{"a":[18446744073709551616.50],"b":{"c":1.10}}"#),
        (".half |= map(.) | .half[0]", "18446744073709551616.50"),
        (".big | tostring", r#""123456789012345678901234567890""#),
        ("\"\\(.ten)\" | tonumber", "1.10"),
        (".ten + 0", "1.1"),
        (".big + 0", "123456789012345680000000000000"),
        ("9007199254740993", "9007199254740993"),
        ("9007199254740993 + 0", "9007199254740992"),
        ("0.1 + 0.2, 3.0 * 2 | select(. > 1)", "6"),
    ] {
        assert_eq!(written(text, DATA), expected, "{text}");
    }
}

#[test]
fn an_objects_keys_keep_their_order() {
    const DATA: &str = r#"{"z": 1, "a": {"y": 2, "b": 3}, "m": [{"q": 1, "c": 2}]}"#;
    for (text, expected) in [
        (".", r#"{"z":1,"a":{"y":2,"b":3},"m":[{"q":1,"c":2}]}"#),
        ("[.a[]], (.a | [keys_unsorted, keys]) | select(length == 2 and .[0] != 2)", r#"[["y","b"],["b","y"]]"#),
        (".a | to_entries | map(.key)", r#"["y","b"]"#),
        ("tojson", r#""{\"z\":1,\"a\":{\"y\":2,\"b\":3},\"m\":[{\"q\":1,\"c\":2}]}""#),
        ("{b: 1, a: 2} + {c: 3, b: 4}", r#"{"b":4,"a":2,"c":3}"#),
        ("del(.z) | .z = 9", r#"{"a":{"y":2,"b":3},"m":[{"q":1,"c":2}],"z":9}"#),
        ("with_entries(.value |= type)", r#"{"z":"number","a":"object","m":"array"}"#),
        ("$event.data.a", r#"{"y":2,"b":3}"#),
        ("$event | keys_unsorted", r#"["id","source","type","time","data"]"#),
    ] {
        assert_eq!(written(text, DATA), expected, "{text}");
    }
    let event = Event { data: Data::read("data", DATA.into()).unwrap(), ..event(&json!({})) };
    let mapped = mapping(&[("#", &[("body", "{z, a, big: 18446744073709551617}")])]).apply(&event).unwrap().unwrap();
    assert_eq!(
        *mapped.data.raw(),
        Bytes::from_static(br#"{"body":{"z":1,"a":{"y":2,"b":3},"big":18446744073709551617}}"#)
    );
    // What the vendor makes beside the body sees the producer's own data.
    let own = Expression::compile("tojson").unwrap().json(&Input::of(&mapped)).unwrap().unwrap();
    assert_eq!(own, r#""{\"z\":1,\"a\":{\"y\":2,\"b\":3},\"m\":[{\"q\":1,\"c\":2}]}""#);
}

#[test]
fn what_was_told_to_differ_is_as_in_jq() {
    let data = json!({"a": "A", "c": "C", "n": null});
    for (text, expected) in [
        ("[.a, null, .c] | join(\" \")", json!("A  C")),
        ("5.9 % 3", json!(2)),
        ("[\"a\", \"b\", \"c\", \"d\"] | del(.[0, 1])", json!(["c", "d"])),
        ("[0, 1, 2] | del(.[0, 2])", json!([1])),
        ("try ([[1]] | @csv) catch \"no\"", json!("no")),
        (
            "[{name: \"a\", value: 1}, {Name: \"b\", Value: 2}, {k: \"c\", v: 3}] | from_entries",
            json!({"a": 1, "b": 2, "c": 3}),
        ),
        (".n | ltrimstr(\"x\") // \"null\"", json!("null")),
        ("\"cWl4YmF6Cg\" | @base64d", json!("qixbaz\n")),
        (".n | setpath([\"a\", 1]; 2)", json!({"a": [null, 2]})),
        ("[1] | .[3] = 9", json!([1, null, null, 9])),
        ("\"AXB\" | test([\"x\", \"i\"])", json!(true)),
        ("[\"012\", \".5\"] | map(tonumber)", json!([12, 0.5])),
        ("\"2015-03-05T23:51:47Z\" | strptime(\"%Y-%m-%dT%H:%M:%SZ\") | todate", json!("2015-03-05T23:51:47Z")),
        ("2 | IN(1, 2)", json!(true)),
        ("[[1, 2]] | INDEX(.[0])", json!({"1": [1, 2]})),
        ("[1, 3] | [bsearch(3), bsearch(2)]", json!([1, -2])),
        ("[[1], {a: 2}] | [.[] as {a: $x} ?// [$x] | $x]", json!([1, 2])),
        ("\"a\\nb\" | [test(\"a.b\"; \"s\"), test(\"a.b\"; \"p\")]", json!([false, true])),
        ("[range(10)] | .[1.2:3.5]", json!([1, 2, 3])),
        ("try (\"%zz\" | @urid) catch \"no\"", json!("no")),
        ("\"true\" | toboolean", json!(true)),
        ("\"aba\" | trimstr(\"a\")", json!("b")),
        ("[(1, 2) + (10, 20)]", json!([11, 12, 21, 22])),
        ("reduce range(3) as $i (0; empty) // \"null\"", json!("null")),
    ] {
        assert_eq!(given(text, &data), expected, "{text}");
    }
}

#[test]
fn many_hard_evaluations_at_once_need_no_new_threads() {
    let hard = std::sync::Arc::new(Expression::compile("[range(20000)] | add").unwrap());
    let at_work: Vec<_> = (0..8)
        .map(|_| {
            let hard = std::sync::Arc::clone(&hard);
            std::thread::spawn(move || hard.evaluate(&Input::of(&event(&json!({})))))
        })
        .collect();
    for thread in at_work {
        assert_eq!(thread.join().unwrap(), Ok(Some(json!(199_990_000))));
    }
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
        (Value::Object(mapped.data.fields().clone()), mapped.original),
        (json!({"a": 2}), Some(Bytes::from_static(b"{\"x\":1}")))
    );
    assert_eq!((mapped.data.raw().clone(), mapped.id.as_str()), (Bytes::from_static(b"{\"a\":2}"), "e-1"));
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
    assert_eq!(
        said,
        "\"eventName\" cannot be made by the rule of map for \"shop.*\": Cannot index number with string \"y\""
    );
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
        let written: Value = serde_json::from_slice(mapped.data.raw()).unwrap();
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
