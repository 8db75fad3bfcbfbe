//! The rules for the body of "add events to a profile": body and event types come in, each item or what is wrong with
//! it goes out. Pure. Source: the vendor's guide on custom events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::catalogue::{self, ApsisEventType, ApsisVersion};
use super::path::Target;
use crate::sandbox::ledger::Taken;

/// What an item is checked by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// The event types that are known.
    pub types: &'a [ApsisEventType],
    /// Whether a version that is not the current one is refused.
    pub refuse_deprecated: bool,
    /// Whether each field of the version must be there.
    pub require_all_fields: bool,
    /// The field of the data that tells events apart; none: the whole item does.
    pub id_field: Option<&'a str>,
}

/// An item that keeps the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Good {
    /// The event for the ledger.
    pub event: Taken,
    /// Whether its version is not the current one.
    pub deprecated: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    event_time: String,
    version_id: Value,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// An event as it is kept. `data` is what came, to the byte.
#[derive(Serialize)]
struct Kept<'a> {
    keyspace: &'a str,
    profile: &'a str,
    section: &'a str,
    discriminator: &'a str,
    version_id: &'a Value,
    event_time: &'a str,
    data: &'a RawValue,
}

/// Reads a body that is meant for `target`: the items in their order, each good or a sentence.
///
/// # Errors
/// A sentence where the body as a whole is wrong.
pub(super) fn read(body: &[u8], target: &Target, rules: Rules<'_>) -> Result<Vec<Result<Good, String>>, String> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| format!("the body: {error}"))?;
    if body.items.is_empty() {
        return Err("items: must not be empty".to_owned());
    }
    let item = |(position, text): (usize, &&RawValue)| {
        check(text, target, rules).map_err(|wrong| format!("items[{position}].{wrong}"))
    };
    Ok(body.items.iter().enumerate().map(item).collect())
}

fn check(text: &RawValue, target: &Target, rules: Rules<'_>) -> Result<Good, String> {
    let item: Item<'_> = serde_json::from_str(text.get()).map_err(|error| error.to_string())?;
    if !is_rfc_3339(&item.event_time) {
        return Err(format!("event_time: {:?} is not a date and time with an offset", item.event_time));
    }
    let id = match &item.version_id {
        Value::String(id) => id.clone(),
        Value::Number(id) if id.is_u64() => id.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err("version_id: must be an integer or a string".to_owned());
        }
    };
    let (kind, version) = catalogue::find(rules.types, &id).ok_or_else(|| format!("version_id: {id} is not known"))?;
    let deprecated = version.deprecated_at.is_some();
    if deprecated && rules.refuse_deprecated {
        return Err(format!("version_id: {id} is deprecated"));
    }
    let data: BTreeMap<String, Value> =
        serde_json::from_str(item.data.get()).map_err(|error| format!("data: {error}"))?;
    check_data(&data, version, rules.require_all_fields)?;

    let Target { keyspace, profile, section } = target;
    let Item { event_time, version_id, data: raw } = &item;
    let discriminator = kind.discriminator.as_str();
    let kept = Kept { keyspace, profile, section, discriminator, version_id, event_time, data: raw };
    let kept = serde_json::to_string(&kept).map_err(|error| error.to_string())?;
    let id = rules.id_field.and_then(|field| data.get(field)).map_or(kept.clone(), Value::to_string);
    Ok(Good { event: Taken::new(id.as_bytes(), kept), deprecated })
}

fn check_data(data: &BTreeMap<String, Value>, version: &ApsisVersion, require_all: bool) -> Result<(), String> {
    for (name, value) in data {
        let kind = version.fields.get(name).ok_or_else(|| format!("data.{name}: is not a field of this event"))?;
        if !kind.fits(value) {
            return Err(format!("data.{name}: {}", kind.rule()));
        }
    }
    match version.fields.keys().find(|name| require_all && !data.contains_key(*name)) {
        Some(missing) => Err(format!("data.{missing}: is missing")),
        None => Ok(()),
    }
}

/// Whether a text is an RFC 3339 date and time: `jiff` reads more than that, so the shape is looked at too.
fn is_rfc_3339(text: &str) -> bool {
    const SHAPE: &str = "0000-00-00T00:00:00";
    let Some((date_time, rest)) = text.split_at_checked(SHAPE.len()) else { return false };
    let shaped = |text: &str, shape: &str| {
        let fits = |(c, of): (u8, u8)| if of == b'0' { c.is_ascii_digit() } else { c == of };
        text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
    };
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if offset.len() == fraction.len() {
                return false;
            }
            offset
        }
        None => rest,
    };
    let has_offset = offset == "Z" || shaped(offset, "+00:00") || shaped(offset, "-00:00");
    shaped(date_time, SHAPE) && has_offset && text.parse::<Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item() -> Value {
        json!({
            "event_time": "2020-10-14T09:43:34.471Z", "version_id": 2_565_266,
            "data": {
                "myNumberField": 27183, "myNumberWithDecimalField": 213.21, "myTextField": "some transaction",
                "myTrueFalseField": false, "source": "some web shop"
            }
        })
    }

    fn with(path: &str, value: Value) -> Value {
        let mut item = item();
        *item.pointer_mut(path).unwrap() = value;
        item
    }

    fn read_all(body: &str, id_field: Option<&str>) -> Result<Vec<Result<Good, String>>, String> {
        let target = Target { keyspace: "k".into(), profile: "p".into(), section: "s".into() };
        let types = [ApsisEventType::documented()];
        let rules = Rules { types: &types, refuse_deprecated: false, require_all_fields: true, id_field };
        read(body.as_bytes(), &target, rules)
    }

    fn wrong(item: &Value) -> String {
        let body = json!({ "items": [item] }).to_string();
        read_all(&body, None).unwrap().remove(0).err().unwrap_or_default()
    }

    #[test]
    fn the_documented_item_is_good_with_its_version_as_a_number_or_a_text() {
        assert_eq!(wrong(&item()), "");
        assert_eq!(wrong(&with("/version_id", json!("2565266"))), "");
        assert_eq!(wrong(&with("/data/myNumberWithDecimalField", json!(3))), "");
        assert_eq!(wrong(&with("/event_time", json!("2020-10-14T09:43:34+02:00"))), "");
    }

    #[test]
    fn each_wrong_item_names_its_field() {
        for (path, value, hint) in [
            ("/data/myNumberField", json!(1.0), "items[0].data.myNumberField: must be an integer"),
            ("/data/myNumberField", json!("1"), "items[0].data.myNumberField"),
            ("/data/myNumberWithDecimalField", json!("1"), "items[0].data.myNumberWithDecimalField"),
            ("/data/myTextField", json!(null), "items[0].data.myTextField: must be a string"),
            ("/data/myTrueFalseField", json!("false"), "items[0].data.myTrueFalseField"),
            ("/data", json!([]), "items[0].data"),
            ("/data", json!({}), "items[0].data.myNumberField: is missing"),
            ("/version_id", json!(1), "items[0].version_id"),
            ("/version_id", json!(2_565_266.5), "items[0].version_id"),
            ("/version_id", json!(2_565_265), "items[0].data.source: is not a field"),
            ("/event_time", json!(1_602_668_614), "items[0].invalid type"),
            ("/event_time", json!("2020-10-14"), "items[0].event_time"),
            ("/event_time", json!("2020-10-14 09:43:34Z"), "items[0].event_time"),
            ("/event_time", json!("2020-10-14T09:43:34"), "items[0].event_time"),
            ("/event_time", json!("2020-10-14T09:43:34.Z"), "items[0].event_time"),
            ("/event_time", json!("2020-10-14T09:43:34+02"), "items[0].event_time"),
            ("/event_time", json!("2020-13-14T09:43:34Z"), "items[0].event_time"),
        ] {
            let wrong = wrong(&with(path, value.clone()));
            assert!(wrong.starts_with(hint), "{path} = {value}: {wrong:?}");
        }
        let mut more = item();
        more["colour"] = json!("red");
        assert!(wrong(&more).contains("colour"));
    }

    #[test]
    fn a_body_without_items_is_wrong_as_a_whole() {
        for body in ["", "[]", "{}", r#"{"items":[]}"#, r#"{"items":{}}"#, r#"{"items":[{}],"x":1}"#] {
            assert!(read_all(body, None).is_err(), "{body}");
        }
    }

    #[test]
    fn events_are_told_apart_by_the_chosen_field_and_else_by_all_they_hold() {
        let other = with("/data/myNumberField", json!(1));
        let body = json!({ "items": [item(), other] }).to_string();
        let ids = |field| -> Vec<_> {
            read_all(&body, field).unwrap().into_iter().map(|good| good.unwrap().event.id).collect()
        };
        let by_source = ids(Some("source"));
        assert_eq!(by_source[0], by_source[1]);
        let by_all = ids(None);
        assert_ne!(by_all[0], by_all[1]);
    }

    #[test]
    fn the_data_is_kept_to_the_byte() {
        let data = r#"{"source":"s",  "myNumberField":1,"myNumberWithDecimalField":1.50,"myTextField":"\u00e5","myTrueFalseField":true}"#;
        let body =
            format!(r#"{{"items":[{{"event_time":"2020-10-14T09:43:34Z","version_id":2565266,"data":{data}}}]}}"#);
        let kept = read_all(&body, None).unwrap().remove(0).unwrap().event.body;
        let kept = std::str::from_utf8(&kept).unwrap();
        assert!(kept.contains(data), "{kept}");
    }
}
