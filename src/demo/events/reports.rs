//! Events for the troubled destination, in its vendor's own shape, with wrong ones among them, and a few that nobody
//! wants. Pure.

use serde_json::{Value, json};

use super::{Content, Planned, TROUBLED};
use crate::demo::accounts::Ending;

/// The name of the events that the vendor refuses.
pub const REFUSED_NAME: &str = "Legacy export";

const TYPE: &str = "product.report.exported";
/// Events for the destination.
const EVENTS: usize = 1_600;
/// Of those, wrong ones.
const MALFORMED: usize = 12;
const INVALID: usize = 16;
const REJECTED: usize = 12;
/// Events that nobody subscribes to.
const UNWANTED: usize = 10;

/// Makes the n-th wrong one of a kind: the reason of its dead letter, and what it holds.
type Make = fn(usize) -> (&'static str, Content);

/// All of them, the wrong ones evenly among the good ones: many in a row would park the destination, as they should.
pub fn all() -> impl Iterator<Item = Planned> {
    (0..EVENTS).map(event).chain((EVENTS..EVENTS + UNWANTED).map(unwanted))
}

fn event(n: usize) -> Planned {
    let wrong: [(usize, usize, Make); 3] =
        [(17, MALFORMED, malformed), (41, INVALID, invalid), (73, REJECTED, rejected)];
    for (first, many, make) in wrong {
        let apart = EVENTS / many;
        if let Some(past) = n.checked_sub(first).filter(|past| past % apart == 0) {
            let (reason, content) = make(past / apart);
            return Planned::wrong(id(n), TYPE, reason, content);
        }
    }
    Planned::good(id(n), TYPE, TROUBLED, report())
}

fn unwanted(n: usize) -> Planned {
    let content = Content::Data(json!({ "sky": "clear" }));
    Planned { id: id(n), kind: "weather.changed", expected: Ending::Unrouted, content }
}

fn id(n: usize) -> String {
    format!("event-{:04}", n + 1)
}

fn report() -> Value {
    json!({ "identifyId": "u-17", "eventName": "Report exported", "attributes": { "plan": "gold", "seats": 12 } })
}

fn with(field: &str, value: Value) -> Content {
    let mut report = report();
    report[field] = value;
    Content::Data(report)
}

fn malformed(n: usize) -> (&'static str, Content) {
    let (json, envelope) = ("application/json", "application/cloudevents+json");
    let content = match n % 6 {
        0 => Content::Raw(envelope, br#"{"specversion":"1.0","id":"event","data":{"eventNa"#),
        1 => Content::Raw(json, b"{\"eventName\":\"\xff\xfe\"}"),
        2 => Content::Raw(json, br#"["not","an","object"]"#),
        3 => Content::Raw(json, b""),
        4 => Content::Raw(envelope, br#"{"specversion":"1.0","type":"product.report.exported","data":{}}"#),
        _ => Content::Raw("text/csv", b"report,exported"),
    };
    ("malformed", content)
}

/// What breaks a rule of the vendor that can be checked before a request is spent.
fn invalid(n: usize) -> (&'static str, Content) {
    let content = match n % 4 {
        0 => with("identifyId", Value::Null),
        1 => with("date", json!("yesterday")),
        2 => with("colour", json!("blue")),
        _ => with("attributes", (0..51).map(|n| (format!("a{n}"), json!(n))).collect()),
    };
    ("invalid", content)
}

fn rejected(_: usize) -> (&'static str, Content) {
    ("rejected", with("eventName", json!(REFUSED_NAME)))
}
