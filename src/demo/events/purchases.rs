//! Events of a few profiles, whose keys are hard to carry in an address, each in an order that has to be kept; a few have a
//! value of a wrong type. Their producer knows nothing of the vendor: the destination maps them. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Content, ORDERED, Planned};
use crate::sandbox::{ApsisEventType, ApsisVersion, FieldType};

/// The discriminator of the event type that the vendor knows.
pub const EVENT_TYPE: &str = "com.apsis1.events.transaction.custom-purchase-l9ce3syo6t";
/// The field that a wrong event has a text in instead of a number.
pub const WRONG_FIELD: &str = "pieces";
/// The profiles. (`.` and `..` alone are refused: no HTTP client sends such a segment.)
pub const PROFILES: [&str; 8] = [
    "anna+news@example.com",
    "a/b?c=d&e#f",
    "100% wool",
    "../up",
    "%2e%2e%2f",
    "båt.är.blå@example.se",
    "日本語のお客様",
    "shopper 🛒",
];
const TYPE: &str = "shop.purchase";
/// Good events of each profile.
const EACH: usize = 100;
/// After so many of them comes a wrong one.
const WRONG_AFTER: usize = 50;

/// The events of a profile, by its place among [`PROFILES`], in their order.
pub fn of_profile(profile: usize) -> impl Iterator<Item = Planned> {
    (1..=EACH).flat_map(move |n| {
        let good = Planned::good(id(profile, n), TYPE, ORDERED, purchase(profile, json!(n % 7 + 1)));
        let wrong = (n == WRONG_AFTER).then(|| {
            let content = Content::Data(purchase(profile, json!("three")));
            Planned::wrong(format!("basket-{profile}-odd"), TYPE, "invalid", content)
        });
        std::iter::once(good).chain(wrong)
    })
}

/// Whether what arrived, as the sandbox keeps it, is for the profile that it was published for.
#[must_use]
pub fn is_unchanged(arrived: &Value) -> bool {
    let profile = arrived["data"]["order"].as_str().and_then(|id| id.split('-').nth(1)?.parse::<usize>().ok());
    profile.and_then(|profile| PROFILES.get(profile)).is_some_and(|profile| arrived["profile"] == json!(profile))
}

/// How many of these ids, in the order in which they arrived, came after a later one of the same profile.
pub fn out_of_order<'a>(ids: impl Iterator<Item = &'a str>) -> u64 {
    let mut latest = BTreeMap::<&str, &str>::new();
    let mut late = 0;
    for id in ids {
        let (profile, _) = id.rsplit_once('-').unwrap_or((id, ""));
        let latest = latest.entry(profile).or_default();
        late += u64::from(id < *latest);
        *latest = (*latest).max(id);
    }
    late
}

/// The vendor's event type: an old version, and the current one.
#[must_use]
pub fn event_type() -> ApsisEventType {
    let fields = [("order", FieldType::String), ("amount", FieldType::Double), (WRONG_FIELD, FieldType::Integer)];
    let fields: BTreeMap<String, FieldType> = fields.map(|(name, kind)| (name.to_owned(), kind)).into();
    let mut fewer = fields.clone();
    fewer.remove(WRONG_FIELD);
    let since = "2024-03-01T00:00:00.000Z".to_owned();
    let old = ApsisVersion {
        id: "3100".to_owned(),
        fields: fewer,
        deprecated_at: Some(since.clone()),
        valid_from: "2023-01-01T00:00:00.000Z".to_owned(),
    };
    let current = ApsisVersion { id: "3101".to_owned(), fields, deprecated_at: None, valid_from: since };
    ApsisEventType {
        name: "Purchase".to_owned(),
        discriminator: EVENT_TYPE.to_owned(),
        description: String::new(),
        versions: vec![old, current],
    }
}

fn id(profile: usize, n: usize) -> String {
    format!("basket-{profile}-{n:03}")
}

fn purchase(profile: usize, pieces: Value) -> Value {
    json!({ "customer": PROFILES.get(profile), "amount": 19.5, "pieces": pieces })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_was_overtaken_is_counted() {
        let late = |ids: &[&str]| out_of_order(ids.iter().copied());
        assert_eq!(late(&["basket-0-001", "basket-1-001", "basket-0-002", "basket-1-002"]), 0);
        assert_eq!(late(&["basket-0-001", "basket-0-003", "basket-0-002", "basket-0-004"]), 1);
    }
}
