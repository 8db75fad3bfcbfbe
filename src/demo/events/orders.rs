//! Events that come evenly all the while, for the destination beside the others. Pure.

use serde_json::json;

use super::{BYSTANDER, Planned};

const EVENTS: usize = 390;

/// All of them.
pub fn all() -> impl Iterator<Item = Planned> {
    let order = |n| {
        let data = json!({ "order": { "total": 49.9, "currency": "EUR" }, "basket": ["tea", "cups"] });
        Planned::good(format!("order-{n:04}"), "order.paid", BYSTANDER, data)
    };
    (1..=EVENTS).map(order)
}
