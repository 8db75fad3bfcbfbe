//! `GET /v1/events/custom`: a filter comes in, the last events that match it go out.
//! Filters on `identifyId`, `eventName` and `date`, joined by `;`, as the vendor documents them.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answers;
use crate::sandbox::api::{self, Answer};
use crate::sandbox::ledger::{CallOutcome, Ledger};

const PAGE_SIZE: usize = 1_000;

/// The answer to a query; only events that the ledger still keeps are found.
pub(super) fn answer(ledger: &Ledger, endpoint: &str, query: &str) -> (CallOutcome, Answer) {
    let mut terms = Vec::new();
    let mut page_size = PAGE_SIZE;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let understood = match &*name {
            "pageSize" => value.parse().is_ok_and(|size| {
                page_size = size;
                (1..=PAGE_SIZE).contains(&size)
            }),
            "filter" => value.split(';').all(|term| Term::read(term).map(|term| terms.push(term)).is_some()),
            _ => true,
        };
        if !understood {
            return (CallOutcome::Invalid, answers::bad_request(&[format!("{name}: cannot be {value:?}")]));
        }
    }
    let events = ledger.events(Some(endpoint), usize::MAX);
    let read = |body: &Bytes| serde_json::from_slice::<Value>(body).ok();
    let found: Vec<Value> =
        events.iter().filter_map(read).filter(|event| terms.iter().all(|term| term.matches(event))).collect();
    let total = found.len();
    let page: Vec<Value> = found.into_iter().take(page_size).collect();
    let body = json!({ "customEvents": page, "totalHits": total, "scrollId": null });
    (CallOutcome::Read, api::json(StatusCode::OK, body.to_string()))
}

/// One comparison, such as `identifyId==u-1`.
struct Term {
    field: String,
    operator: &'static str,
    value: String,
}

impl Term {
    fn read(text: &str) -> Option<Self> {
        let operator = ["==", ">=", "<=", ">", "<"].into_iter().find(|operator| text.contains(operator))?;
        let (field, value) = text.split_once(operator)?;
        let known = match field {
            "identifyId" | "eventName" => operator == "==",
            "date" => value.parse::<i64>().is_ok(),
            _ => false,
        };
        known.then(|| Self { field: field.to_owned(), operator, value: value.to_owned() })
    }

    /// Text is compared without regard to case, as PX's filters do.
    fn matches(&self, event: &Value) -> bool {
        let Some(date) = event[&self.field].as_i64() else {
            return event[&self.field].as_str().is_some_and(|text| text.to_lowercase() == self.value.to_lowercase());
        };
        self.value.parse::<i64>().is_ok_and(|value| match self.operator {
            ">=" => date >= value,
            "<=" => date <= value,
            ">" => date > value,
            "<" => date < value,
            _ => date == value,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sandbox::ledger::{Arrival, Taken};

    #[test]
    fn events_are_read_back_by_user_name_and_date() {
        let mut ledger = Ledger::keeping(10);
        for (user, name, date) in [("u-1", "A", 1), ("U-1", "B", 2), ("u-2", "A", 3)] {
            let body = json!({ "identifyId": user, "eventName": name, "date": date }).to_string();
            ledger.record(&Arrival {
                endpoint: "gainsight-px",
                limits: &[],
                at: Duration::ZERO,
                faulted: false,
                outcome: &CallOutcome::Accepted(vec![Taken::new(body.as_bytes(), body.clone())]),
            });
        }
        let hits = |filter: &str| {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
            answer(&ledger, "gainsight-px", &query).0
        };
        for filter in ["identifyId==u-1", "date>=2;eventName==A", "date<9"] {
            assert_eq!(hits(filter), CallOutcome::Read, "{filter}");
        }
        for filter in ["identifyId>u", "colour==red", "date==x", ""] {
            assert_eq!(hits(filter), CallOutcome::Invalid, "{filter:?}");
        }
        let term = |text: &str| Term::read(text).unwrap();
        assert!(term("identifyId==U-1").matches(&json!({ "identifyId": "u-1" })));
        assert!(!term("date>2").matches(&json!({ "date": 2 })));
    }
}
