//! Events for the destination that gets a backlog: a few, then thousands at once, with titles that are hard to carry in a
//! CSV. Their producer knows nothing of the vendor: the destination maps them. Pure.

use serde_json::{Value, json};

use super::{BACKLOGGED, Planned};

/// Events that come one by one, while calls are plentiful.
pub const FIRST: usize = 20;
/// Events that then come at once.
pub const BACKLOG: usize = 5_000;

const ATTENDED: &str = "webinar.attended";
const REGISTERED: &str = "webinar.registered";

/// Those that come one by one.
pub fn first() -> impl Iterator<Item = Planned> {
    (1..=FIRST).map(event)
}

/// Those that come at once.
pub fn backlog() -> impl Iterator<Item = Planned> {
    (FIRST + 1..=FIRST + BACKLOG).map(event)
}

/// Whether what arrived, as the sandbox keeps it, is the event that was published, each character of it.
#[must_use]
pub fn is_unchanged(arrived: &Value) -> bool {
    let number = arrived["note"].as_str().and_then(|id| id.strip_prefix("seat-")?.parse().ok());
    number.is_some_and(|n: usize| {
        let action = if kind(n) == ATTENDED { "CUSTOM_ATTENDED" } else { "CUSTOM_REGISTERED" };
        arrived["email"] == json!(email(n))
            && arrived["title"] == json!(title(n))
            && arrived["customeventaction"] == json!(action)
    })
}

fn event(n: usize) -> Planned {
    let data = json!({ "person": { "email": email(n) }, "webinar": title(n) });
    Planned::good(format!("seat-{n:05}"), kind(n), BACKLOGGED, data)
}

fn kind(n: usize) -> &'static str {
    if n.is_multiple_of(3) { ATTENDED } else { REGISTERED }
}

fn email(n: usize) -> String {
    format!("guest{n}@example.com")
}

fn title(n: usize) -> &'static str {
    match n % 5 {
        0 => "Growth, \"live\"",
        1 => "Tips\tand\ntricks",
        2 => "Datenschutz für alle 🚀",
        3 => "=SUM(A1); it's 5'9\"",
        _ => "شرح \u{200f}المنتج\u{200f} ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_lost_a_character_is_told_from_one_that_did_not() {
        let arrived = |title: &str| {
            json!({
                "note": "seat-00001", "email": "guest1@example.com", "title": title,
                "customeventaction": "CUSTOM_REGISTERED",
            })
        };
        assert!(is_unchanged(&arrived("Tips\tand\ntricks")));
        assert!(!is_unchanged(&arrived("Tips and\ntricks")));
        assert!(!is_unchanged(&json!({ "note": "no id of ours" })));
    }
}
