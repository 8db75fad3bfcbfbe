//! Whether letters would pass now, and many of them changed by one expression.

use std::sync::Arc;

use super::*;
use crate::config::{self, Destination};
use crate::dead_letters::acts;
use crate::dead_letters::edit::Edit;
use crate::dead_letters::recheck::{Recheck, RecheckBound};
use crate::dead_letters::rewrite::{Left, Rewrite, Rewriting, TooSlow};
use crate::message::header;

const NOW: Timestamp = Timestamp::constant(1_700_000_500, 0);
const PX: &str = "vendor = \"gainsight-px\"\napi_key = \"key-1\"\nproperty_key = \"AP-XXXXXXXXXX-2\"\n";

fn destination(lines: &str) -> Destination {
    let text = format!(
        "[broker]\nurl = \"amqp://localhost\"\n[destinations.d]\nsubscribe = [\"#\"]\nlimits = [\"10/s\"]\n{PX}{lines}"
    );
    let config = config::parse("test.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()));
    let mut config = config.unwrap_or_else(|problems| panic!("{problems}"));
    config.destinations.remove("d").unwrap()
}

fn dead(reason: Reason, sentence: &str, data: &Value) -> Message {
    let death = Death { destination: "d", reason, sentence, event_id: Some("e-1"), event_type: "order.paid", at: DIED };
    death.write(&event(data), &history())
}

fn rechecked(lines: &str, letters: &[Message], bound: RecheckBound) -> crate::dead_letters::recheck::Rechecked {
    let mut recheck = Recheck::new(destination(lines), 1 << 20, bound);
    for letter in letters {
        let shown = Letter::read(letter, "d");
        // As a look does it, once more where it is hard.
        if let Err(job) = recheck.add(&shown, letter) {
            job();
            assert!(recheck.add(&shown, letter).is_ok());
        }
    }
    recheck.finish()
}

#[test]
fn letters_are_checked_by_what_the_configuration_is_now() {
    let bad = |number: u32| json!({"identifyId": "u", "name": format!("n-{number}")});
    let mut letters: Vec<Message> =
        (0..3).map(|number| dead(Reason::Invalid, "it was invalid", &bad(number))).collect();
    letters.push(dead(
        Reason::Rejected,
        "Gainsight PX answered 400: no",
        &json!({"identifyId": "u", "eventName": "n"}),
    ));
    letters.push(dead(Reason::Expired, "it took too long", &json!({"identifyId": "u", "eventName": "n"})));
    let before = rechecked("", &letters, RecheckBound::QUICK);
    assert_eq!((before.meant, before.checked, before.invalid, before.would_be_sent), (5, 5, 3, 2));
    assert!(before.sentence.starts_with("3 of 5 would still be invalid: "), "{}", before.sentence);
    let again =
        "; 1 would be sent; 1 would be sent again; the vendor refused it with: Gainsight PX answered 400: no (1)";
    assert!(before.sentence.ends_with(again), "{}", before.sentence);
    // The mapping is mended.
    let map = "[[destinations.d.map]]\ntype = \"order.*\"\nidentifyId = { jq = \".identifyId\" }\neventName = { jq = \".name // .eventName\" }\n";
    let after = rechecked(map, &letters, RecheckBound::QUICK);
    assert_eq!((after.invalid, after.would_be_sent, after.refused_before, after.all_pass()), (0, 5, 1, true));
    let some = rechecked("", &letters, RecheckBound { letters: 2, ..RecheckBound::QUICK });
    assert!(some.sentence.starts_with("the first 2 of 5 letters were checked: 2 of 2 would"), "{}", some.sentence);
    let none = rechecked("", &letters[..0], RecheckBound::QUICK);
    assert_eq!(none.sentence, "0 would be sent");
}

/// As a look does it, once more where it is hard.
fn add(rewriting: &mut Rewriting, letter: &Message) -> Result<bool, TooSlow> {
    let shown = Letter::read(letter, "d");
    rewriting.add(&shown, letter).unwrap_or_else(|job| {
        job();
        rewriting.add(&shown, letter).unwrap_or_else(|_| panic!("it is hard twice"))
    })
}

fn rewritten(jq: &str, force: bool, letters: &[Message]) -> (Rewriting, Vec<bool>) {
    let rewrite = Rewrite::compile(jq, destination(""), 1 << 20, force).unwrap();
    let mut rewriting = Rewriting::new(Arc::new(rewrite));
    let changed = letters.iter().map(|letter| add(&mut rewriting, letter).unwrap()).collect();
    (rewriting, changed)
}

#[test]
fn an_expression_changes_what_it_can_and_the_rest_is_left_and_counted() {
    let good = json!({"identifyId": "U", "eventName": "N"});
    let letters = [
        dead(Reason::Rejected, "no", &good),
        dead(Reason::Rejected, "no", &json!({"identifyId": "u", "eventName": "n"})),
        dead(Reason::Rejected, "no", &json!({"identifyId": 7, "eventName": "n"})),
        dead(Reason::Invalid, "no", &json!({"identifyId": "U", "eventName": 5})),
    ];
    let (rewriting, changed) = rewritten(".identifyId |= ascii_downcase", false, &letters);
    assert_eq!(changed, [true, false, false, false]);
    let told = rewriting.finish();
    assert_eq!((told.changed, told.unchanged, told.failed, told.invalid), (1, 1, 1, 1));
    assert!(told.sentence.starts_with("1 letter would be changed; 3 are left as they are: "), "{}", told.sentence);
    let diff = &told.samples[0].diff;
    assert!(diff.contains("-  \"identifyId\": \"U\"") && diff.contains("+  \"identifyId\": \"u\""), "{diff}");
    let (rewriting, changed) = rewritten(".identifyId |= ascii_downcase", true, &letters);
    assert_eq!((changed, rewriting.finish().changed), (vec![true, false, false, true], 2));
}

#[test]
fn an_expression_changes_no_letter_twice_unless_that_died_again() {
    let letter = dead(Reason::Rejected, "no", &json!({"identifyId": "u", "eventName": "n"}));
    let rewrite = Rewrite::compile(".eventName += \"!\"", destination(""), 1 << 20, false).unwrap();
    let (edit, _) = rewrite.edit(&letter, NOW, &mut 0).unwrap();
    assert_eq!(rewrite.edit(edit.edited(), NOW, &mut 0).unwrap_err(), Left::Already);
    assert!(rewritten(".eventName += \"?\"", false, &[edit.edited().clone()]).1[0], "another one does");
    let replayed = acts::replayed(edit.edited(), &edit.to.id, "op", "outcomes", NOW);
    assert!(rewrite.edit(&replayed, NOW, &mut 0).is_ok());
    let by_hand = Edit::unshown(edit.edited(), "{}".into(), "d");
    assert!(!by_hand.edited().properties.headers.contains_key(header::EDITED_BY));
}

#[test]
fn a_new_body_has_its_digits_and_its_order_and_what_gives_no_body_is_told() {
    let mut letter = dead(Reason::Rejected, "no", &json!({}));
    letter.body = r#"{"z": 1.10, "a": 12345678901234567890123, "id": "u"}"#.into();
    let body = |jq: &str| {
        let rewrite = Rewrite::compile(jq, destination(""), 1 << 20, false).unwrap();
        rewrite.body(&letter, NOW).map(|body| String::from_utf8(body.into()).unwrap()).map_err(|left| left.to_string())
    };
    assert_eq!(body(".id = $event.id").unwrap(), r#"{"z":1.10,"a":12345678901234567890123,"id":"e-1"}"#);
    for (jq, said) in [
        (".", "the expression changes nothing in it"),
        ("null", "the expression fails on it: it gives nothing, or null"),
        ("error(\"so\")", "the expression fails on it: so"),
        (".a, .z", "the expression fails on it: it gives more than one value"),
    ] {
        assert!(body(jq).unwrap_err().starts_with(said), "{jq}");
    }
    letter.body = "no json".into();
    let rewrite = Rewrite::compile(".a = 1", destination(""), 1 << 20, false).unwrap();
    assert!(rewrite.body(&letter, NOW).unwrap_err().to_string().ends_with("the body is not JSON"));
    assert!(Rewrite::compile(".[", destination(""), 1 << 20, false).unwrap_err().contains("no jq expression"));
}

#[test]
fn an_expression_that_runs_away_ends_the_pass() {
    let letters: Vec<Message> = (0..3).map(|number| dead(Reason::Rejected, "no", &json!({"n": number}))).collect();
    let rewrite = Rewrite::compile("def f: f; f", destination(""), 1 << 20, false).unwrap();
    let mut rewriting = Rewriting::new(Arc::new(rewrite));
    let added: Vec<bool> = letters.iter().map(|letter| add(&mut rewriting, letter).is_ok()).collect();
    assert_eq!(added, [true, true, false]);
}
