use super::*;
use crate::dead_letters::filter::{Filter, FilterError, Matcher};

const NOW: Timestamp = Timestamp::constant(1_700_003_700, 0);

fn filter(json: Value) -> Filter {
    serde_json::from_value(json).unwrap()
}

fn matcher(json: Value) -> Matcher {
    filter(json).compile(NOW).unwrap()
}

fn means(matcher: &Matcher, message: &Message) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(matcher.means(&read(message), message)).unwrap()
}

fn matches(json: Value, message: &Message) -> bool {
    means(&matcher(json), message)
}

#[test]
fn every_kind_has_to_hold_and_of_each_kind_one_value() {
    let letter = sample();
    let read = read(&letter);
    for (json, expected) in [
        (json!({}), true),
        (json!({"reason": ["rejected"]}), true),
        (json!({"reason": ["invalid", "rejected"]}), true),
        (json!({"reason": ["invalid"]}), false),
        (json!({"group": [read.group, "0000000000000000"]}), true),
        (json!({"group": [read.group.to_uppercase()]}), true),
        (json!({"group": ["0000000000000000"]}), false),
        (json!({"letter": [read.id]}), true),
        (json!({"letter": ["0000000000000000"]}), false),
        (json!({"id": ["e-1"]}), true),
        (json!({"id": ["e-2"]}), false),
        (json!({"type": ["order.*"]}), true),
        (json!({"type": ["invoice.#", "#.paid"]}), true),
        (json!({"type": ["order"]}), false),
        (json!({"reason": ["rejected"], "type": ["order"]}), false),
        (json!({"reason": ["rejected"], "id": ["e-1"], "older_than": "59m"}), true),
    ] {
        assert_eq!(matches(json.clone(), &letter), expected, "{json}");
    }
}

/// The letter died exactly an hour ago.
#[test]
fn ages_and_times_divide_the_letters_without_a_gap() {
    for (json, expected) in [
        (json!({"older_than": "1h"}), false),
        (json!({"newer_than": "1h"}), true),
        (json!({"older_than": "59m"}), true),
        (json!({"newer_than": "59m 59s"}), false),
        (json!({"newer_than": "1d"}), true),
        (json!({"older_than": "2023-11-14T22:15:01Z"}), true),
        (json!({"older_than": "2023-11-14T23:15:00+01:00"}), false),
        (json!({"newer_than": "2023-11-14T22:15:00Z"}), true),
        (json!({"newer_than": "2h", "older_than": "30m"}), true),
    ] {
        assert_eq!(matches(json.clone(), &sample()), expected, "{json}");
        assert_eq!(matches(json.clone(), &moved("delivery_limit")), expected, "{json}");
    }
    let timeless = event(&json!({}));
    assert!(!matches(json!({"older_than": "1s"}), &timeless) && !matches(json!({"newer_than": "1000d"}), &timeless));
}

#[test]
fn a_jq_expression_sees_the_event_and_what_it_cannot_do_is_counted() {
    let letter = sample();
    for (jq, expected) in [
        (".user == \"u-17\"", true),
        (".amount", true),
        (".amount > 5", false),
        (".nothing", false),
        ("empty", false),
        ("$event.type | startswith(\"order.\")", true),
        ("$event.id == \"e-1\" and $event.data.amount == 5", true),
        ("0", true),
    ] {
        let matcher = matcher(json!({"jq": jq}));
        assert_eq!(means(&matcher, &letter), expected, "{jq}");
        assert_eq!(matcher.trouble(), None, "{jq}");
    }
    let failing = matcher(json!({"jq": "if .user then error(\"no \\(.user), ann@example.com\") else true end"}));
    assert!(!means(&failing, &letter));
    assert_eq!(
        failing.trouble().as_deref(),
        Some("the jq expression failed on 1 letter, which were left out: no u-17, ***@***")
    );
    assert!(!means(&failing, &letter));
    assert!(failing.trouble().unwrap().contains("failed on 2 letters"));
    let mut junk = letter;
    junk.body = "junk".into();
    let everything = matcher(json!({"jq": "true"}));
    assert!(!means(&everything, &junk) && everything.trouble().is_none());
}

#[test]
fn an_expression_that_runs_away_ends_the_pass_after_three_letters_and_the_next_pass_begins_anew() {
    let letter = sample();
    let runaway = matcher(json!({"jq": "def f: f; f", "type": ["order.#"]}));
    for read in 1..=3 {
        assert_eq!(runaway.check(read, 50), Ok(()), "{read}");
        assert!(!means(&runaway, &letter));
    }
    let said = runaway.check(3, 50).unwrap_err().to_string();
    for part in ["def f: f; f", "3 of 50 letters", "stopped on three letters", "changed nothing", "another filter"] {
        assert!(said.contains(part), "{said}");
    }
    runaway.anew();
    assert_eq!((runaway.check(0, 50), runaway.trouble()), (Ok(()), None));
    // What the other filters leave out costs nothing.
    let narrowed = matcher(json!({"jq": "def f: f; f", "type": ["invoice.#"]}));
    (0..50).for_each(|_| assert!(!means(&narrowed, &letter)));
    assert_eq!(narrowed.check(50, 50), Ok(()));
}

#[test]
fn a_wrong_value_is_named_with_what_to_write() {
    for (json, field, parts) in [
        (json!({"reason": ["reject"]}), "reason", ["\"reject\"", "malformed, invalid, rejected"]),
        (json!({"group": ["ab12"]}), "group", ["\"ab12\"", "16 hex digits"]),
        (json!({"letter": ["zzzzzzzzzzzzzzzz"]}), "letter", ["\"zzzzzzzzzzzzzzzz\"", "16 hex digits"]),
        (json!({"type": ["a", ""]}), "type", ["\"\"", "order.*"]),
        (json!({"id": [""]}), "id", ["\"\"", "id of an event"]),
        (json!({"older_than": "soon"}), "older_than", ["\"soon\"", "90m, 2h, 3d"]),
        (json!({"older_than": "2h ago"}), "older_than", ["\"2h ago\"", "90m, 2h, 3d"]),
        (json!({"newer_than": "9999999d"}), "newer_than", ["\"9999999d\"", "2026-01-31T12:00:00Z"]),
        (json!({"newer_than": "1mo"}), "newer_than", ["\"1mo\"", "3d"]),
        (json!({"newer_than": "1h", "older_than": "2h"}), "older_than", ["newer_than", "exclude"]),
        (json!({"jq": ".a |"}), "jq", ["\".a |\"", "column"]),
    ] {
        let FilterError { field: named, said } = filter(json.clone()).compile(NOW).unwrap_err();
        assert_eq!(named, field, "{json}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{json}: {said}");
    }
    // A filter that was misspelt must not become one for every letter.
    assert!(serde_json::from_value::<Filter>(json!({"reasons": ["invalid"]})).is_err());
}

#[test]
fn a_filter_is_shown_in_one_line_without_addresses() {
    let shown = filter(json!({
        "reason": ["rejected", "invalid"], "type": ["order.#"], "id": ["ann@example.com", "a b"],
        "older_than": "2h", "jq": ".a == \"x\"",
    }));
    let line = "reason=rejected,invalid type=order.# id=***@***,\"a b\" older_than=2h jq=\".a == \\\"x\\\"\"";
    assert_eq!(shown.to_string(), line);
    assert!(!shown.is_empty());
    let all = Filter::default();
    assert_eq!((all.to_string().as_str(), all.is_empty()), ("all", true));
    assert_eq!(serde_json::to_value(all).unwrap(), json!({}));
}

#[tokio::test]
async fn an_expression_that_is_hard_on_a_letter_holds_up_nobody_but_whoever_looks() {
    let (letter, done) = (sample(), std::cell::RefCell::new(Vec::new()));
    let (hard, shown) = (matcher(json!({"jq": "last(range(100000)) == 99999"})), read(&letter));
    // Both on one thread: were that held up, the first would be done first.
    let look = async {
        assert_eq!(hard.means(&shown, &letter).await, Ok(true));
        done.borrow_mut().push("look");
    };
    tokio::join!(look, async { done.borrow_mut().push("other") });
    assert_eq!(*done.borrow(), ["other", "look"]);
}
