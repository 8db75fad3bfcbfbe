use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::record::fingerprint::{cause, fingerprint};
use crate::redact;

const NAMES: [&str; 12] = [
    "Anna",
    "Bo Ek",
    "Émile Zola",
    "O'Brien",
    "per",
    "Bad",
    "User",
    "Müller & Söhne",
    "van der Berg",
    "May",
    "Li",
    "cafe-babe",
];

/// A person's event, and what a vendor may say of it: `{word}` is the event's own, the same for one `number`.
fn person(number: usize) -> (Value, impl Fn(&str) -> String) {
    let mut luck = fastrand::Rng::with_seed(u64::try_from(number).unwrap());
    let hex = |luck: &mut fastrand::Rng, digits: usize| {
        (0..digits).map(|_| char::from_digit(luck.u32(..16), 16).unwrap()).collect::<String>()
    };
    let email = format!("{}.{number}@mail{}.example.com", luck.choice(["ann", "b-c+d", "ö"]).unwrap(), luck.u8(..));
    let uuid = uuid::Uuid::from_u128(luck.u128(..)).to_string();
    let at = Timestamp::from_second(luck.i64(1_600_000_000..1_700_000_000)).unwrap();
    let name = NAMES[number % NAMES.len()].to_owned();
    let word: String = (0..luck.usize(3..15)).map(|_| luck.lowercase()).collect();
    let words = [
        ("{email}", email.clone()),
        ("{uuid}", uuid.clone()),
        ("{hex}", hex(&mut luck, 8)),
        ("{number}", luck.u32(..).to_string()),
        ("{small}", luck.u8(2..).to_string()),
        ("{time}", at.to_string()),
        ("{date}", at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        ("{iso}", at.strftime("%F").to_string()),
        ("{day}", at.strftime("%B %-d, %Y").to_string()),
        ("{name}", name.clone()),
        ("{word}", word.clone()),
        ("{ids}", (0..luck.usize(1..5)).map(|_| format!("\"u-{}\"", luck.u16(..))).collect::<Vec<_>>().join(", ")),
    ];
    let data = json!({
        "identifyId": uuid, "userType": "USER", "email": email, "contact": {"name": name, "tags": ["x", word]}, "line2": "",
        "note": format!("{word} ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore"),
    });
    let say = move |template: &str| {
        let said = words.iter().fold(template.to_owned(), |said, (word, value)| said.replace(word, value));
        redact::masked(&said, &[])
    };
    (data, say)
}

const SENTENCES: [(&str, &str); 31] = [
    ("Gainsight PX answered 400: user {uuid} is unknown", "Gainsight PX answered 400: user # is unknown"),
    ("Gainsight PX answered 400: no user {email}", "Gainsight PX answered 400: no user #"),
    ("Gainsight PX answered 422: no user {email}", "Gainsight PX answered 422: no user #"),
    ("PX answered 400: user \"{word}\" has {number} events", "PX answered 400: user \"#\" has # events"),
    ("PX answered 400: user {word}, seen {date}", "PX answered 400: user #, seen #"),
    ("PX answered 400: Validation error; userType must be one of LEAD, USER, VISITOR", ""),
    ("PX answered 400: Validation error; eventName is required", ""),
    ("PX answered 400: \"userType\" is missing", ""),
    ("PX answered 400: \"eventName\" is missing", ""),
    ("PX answered 400: the field \"address1\" is missing", ""),
    ("PX answered 400: the field \"address2\" is missing", ""),
    ("PX answered 400: line2 must not be blank", ""),
    ("PX answered 404", ""),
    ("PX answered 409", ""),
    ("APSIS One answered 400: Bad Request: Profile '{hex}' does not exist", ""),
    (
        "APSIS One answered 400: Bad Request: events of {day} are too old",
        "APSIS One answered 400: Bad Request: events of # are too old",
    ),
    ("APSIS One took the request, and for this event answered 400: Bad: no price, request {uuid}", ""),
    (
        "Act-On answered 400: Invalid or expired Job Id, errorCode 10017 (x-request-id {word}, x-global-transaction-id {hex})",
        "Act-On answered 400: Invalid or expired Job Id, errorCode # (x-request-id #, x-global-transaction-id #)",
    ),
    ("job {number}: {small} rows applied, {small} rejected", "job #: # rows applied, # rejected"),
    ("hook answered 400: users {ids} are unknown", "hook answered 400: users \"#\" are unknown"),
    (
        "hook answered 400: {\"error\":\"no_such_contact\",\"id\":\"{word}\",\"at\":\"{time}\",\"trace\":\"{hex}\"}",
        "hook answered 400: {\"error\":\"no_such_contact\",\"id\":\"#\",\"at\":\"#\",\"trace\":\"#\"}",
    ),
    ("hook answered 400: see https://x.example.com/{word}?id={number} for why", "hook answered 400: see # for why"),
    ("\"identifyId\" is \"{uuid}\", it must be an integer", "\"identifyId\" is \"#\", it must be an integer"),
    ("not delivered within 24h; at last: PX answered 503: try node {hex}", ""),
    ("\"note\" is \"{word} ipsum dolor sit amet, cons…", "\"note\" is \"#…"),
    ("\"email\" is no e-mail address: it has no @", "\"email\" is no e-mail address: it has no @"),
    ("the body is not JSON: expected value at line {small} column {number}", ""),
    ("the body is not UTF-8: invalid byte at offset {small}", "the body is not UTF-8: invalid byte at offset #"),
    (
        "PX answered 400: the date {time} is not RFC 3339, use ISO 8601 or RFC 3339",
        "PX answered 400: the date # is not RFC 3339, use ISO 8601 or RFC 3339",
    ),
    (
        "PX answered 400: not ISO {iso}, see ISO 8601-1 and RFC 3339",
        "PX answered 400: not ISO #, see ISO 8601-1 and RFC 3339",
    ),
    ("hook answered 400: sha-256 of {hex} is not in base64", "hook answered 400: sha-256 of # is not in base64"),
];

#[test]
fn two_thousand_letters_of_one_cause_are_one_group_and_different_causes_stay_apart() {
    let mut groups = BTreeSet::new();
    for (template, expected) in SENTENCES {
        // As many as a vendor refuses of one batch where every kind of word varies; fewer where little does.
        let letters = if template.matches('{').count() > 2 { 2000 } else { 150 };
        let causes: BTreeSet<String> = (0..letters)
            .map(|number| {
                let (data, say) = person(number);
                cause(&say(template), &event(&data))
            })
            .collect();
        assert_eq!(causes.len(), 1, "{template}: {:#?}", causes.iter().take(8).collect::<Vec<_>>());
        let cause = causes.into_iter().next().unwrap();
        assert!(expected.is_empty() || cause == expected, "{template}: {cause}");
        assert!(groups.insert(fingerprint(Reason::Rejected, &cause)), "{template} shares a group: {cause}");
    }
    assert_ne!(fingerprint(Reason::Invalid, "x"), fingerprint(Reason::Rejected, "x"));
}

/// Names stand in the sentence as they stand in the event.
#[test]
fn names_without_a_digit_do_not_split_a_group() {
    for template in
        ["PX answered 400: \"{name}\" has no account", "PX answered 400: contact \"{name}\" ({email}) is blocked"]
    {
        let causes: BTreeSet<String> = (0..NAMES.len())
            .filter(|number| !["Bad", "User"].contains(&NAMES[*number]))
            .map(|number| {
                let (data, say) = person(number);
                cause(&say(template), &event(&data))
            })
            .collect();
        assert_eq!(causes.len(), 1, "{causes:#?}");
    }
}

#[test]
fn where_a_text_was_cut_makes_no_group() {
    let said = "PX answered 400: the contact {word} could not be taken since its account is being merged with another one and \
        nothing can be written to it until that is done, please try again at another time and tell {email} what was seen";
    let causes: BTreeSet<String> = (0..200)
        .map(|number| {
            let (data, say) = person(number);
            let text: String = say(said).chars().take(200).collect();
            cause(&format!("{text}… (x-request-id r-{number})"), &event(&data))
        })
        .collect();
    assert_eq!(causes.len(), 1, "{causes:#?}");
    let mapped = "body cannot be made: it gives more than one value; write [ … ] for an array of them, or first(…)";
    assert_eq!(cause(mapped, &Message::default()), mapped);
}

#[test]
fn a_value_of_the_event_is_hidden_unless_it_names_one_of_its_fields() {
    let data = json!({"kind": "userType", "userType": "ADMIN", "c": "SE", "text": "say \"hi\"\n now", "plan": "error"});
    for (sentence, expected) in [
        ("PX answered 400: userType ADMIN is not allowed", "PX answered 400: userType # is not allowed"),
        ("PX answered 400: ADMINS, XADMIN, ADMIN_1x", "PX answered 400: ADMINS, XADMIN, #"),
        ("PX answered 400: country \"SE\" or SE", "PX answered 400: country \"#\" or SE"),
        ("PX answered 400: error in say \"hi\" now", "PX answered 400: error in #"),
        ("\"text\" is \"say \\\"hi\\\"\\n now\", too long", "\"text\" is \"#\", too long"),
        ("ADMIN answered 400: ADMIN", "ADMIN answered 400: #"),
        ("PX answered 400: one of the ADMIN rows is bad", "PX answered 400: one of the # rows is bad"),
    ] {
        assert_eq!(cause(sentence, &event(&data)), expected);
    }
}

#[test]
fn a_letter_shows_the_cause_that_was_written_and_computes_one_that_was_not() {
    let letter = sample();
    assert_eq!(read(&letter).cause, "PX answered 400: no user #");
    let mut older = letter.clone();
    older.properties.headers.remove("x-sluice-cause");
    older.properties.headers.remove("x-sluice-fingerprint");
    assert_eq!(read(&older), read(&letter));
}

proptest! {
    #[test]
    fn a_cause_is_bounded_and_has_no_address(
        text in "\\PC{0,400}|([a-z…@\"' .]{1,9}(@example\\.com)?){0,60}", value in "\\PC{0,30}",
    ) {
        let said = redact::masked(&format!("PX answered 400: {text} {value}"), &[]);
        let cause = cause(&said, &event(&json!({"value": value, "list": [text]})));
        prop_assert!(cause.len() <= 300 && !cause.contains('\u{1}'), "{}", cause);
        prop_assert!(!cause.contains("@example.com"), "{}", cause);
    }
}
