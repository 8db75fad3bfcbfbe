//! The event types of a section: the vendor's list in, kept as facts; an event's data checked against its version's types.
//! Never asks anything itself.

use ::http::header;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::fields::Fields;
use crate::event::name_of;
use crate::vendors::{Facts, Refusal, Reply, answer, number};

/// Stands for the version where nothing may be looked up.
const UNKNOWN_VERSION: &str = "<current version>";

/// One event type, as the vendor lists it.
#[derive(Deserialize)]
struct EventType {
    discriminator: String,
    #[serde(default)]
    versions: Vec<Listed>,
}

/// One version of an event type.
#[derive(Deserialize)]
struct Listed {
    id: Value,
    /// The type of each field.
    #[serde(rename = "type", default)]
    types: Value,
    deprecated_at: Option<Value>,
    valid_from: Option<Timestamp>,
}

/// Reads the list, `{"items": […]}` or a bare one: `{discriminator: {"current": id or null, "versions": {id: types}}}`.
pub(super) fn learn(section: &str, reply: &Reply) -> Result<Value, String> {
    let unreadable =
        |why: &str| format!("APSIS One's list of the event types of section {section:?} is unreadable: {why}");
    let answer: Value = serde_json::from_slice(&reply.body).map_err(|error| unreadable(&error.to_string()))?;
    let list = answer.get("items").unwrap_or(&answer).as_array();
    let list = list.ok_or_else(|| unreadable("it is neither a list nor an object with \"items\""))?;
    let mut known = Map::new();
    for entry in list {
        let entry = EventType::deserialize(entry).map_err(|error| unreadable(&error.to_string()))?;
        let current = current(&entry.versions, vendors_time(reply)).map(id);
        let versions: Map<String, Value> =
            entry.versions.into_iter().map(|version| (id(&version), version.types)).collect();
        known.insert(entry.discriminator, json!({ "current": current, "versions": versions }));
    }
    Ok(Value::Object(known))
}

/// The version that is not deprecated; of several the one that began last, by the vendor's clock.
fn current(versions: &[Listed], now: Option<Timestamp>) -> Option<&Listed> {
    let valid = || versions.iter().filter(|version| version.deprecated_at.is_none());
    let begun = valid().filter(|version| now.is_none_or(|now| version.valid_from.is_none_or(|from| from <= now)));
    begun.max_by_key(|version| version.valid_from).or_else(|| valid().max_by_key(|version| version.valid_from))
}

fn vendors_time(reply: &Reply) -> Option<Timestamp> {
    let date = reply.headers.get(header::DATE)?.to_str().ok()?;
    Timestamp::try_from(httpdate::parse_http_date(date).ok()?).ok()
}

fn id(version: &Listed) -> String {
    version.id.as_str().map_or_else(|| version.id.to_string(), str::to_owned)
}

/// The version to post, and the data as it is sent, checked against its types. What was learned earlier and does not know the event, or a field of it, is asked for again first.
pub(super) fn checked(fields: &Fields<'_>, facts: &Facts) -> Result<(Value, Map<String, Value>), Refusal> {
    let given = fields.version_id.as_deref();
    if facts.is_blind() {
        return Ok((given.cloned().unwrap_or_else(|| Value::from(UNKNOWN_VERSION)), as_sent(fields.data)));
    }
    let needs = || Refusal::Needs(fields.section.to_owned());
    let fact = facts.get(fields.section).ok_or_else(needs)?;
    let unless_stale = |said: String| if fact.fresh { Refusal::Invalid(said) } else { needs() };
    let unknown = || unless_stale(format!("the event types of section {:?} are not known", fields.section));
    let known = fact.value.as_object().ok_or_else(unknown)?;
    let (event, version) = match given {
        Some(version) => match given_version(known, fields, version)? {
            Some(found) => found,
            None => return Ok((version.clone(), as_sent(fields.data))),
        },
        None => current_version(known, fields).map_err(unless_stale)?,
    };
    let data = as_sent(fields.data);
    if let Some(types) = known[event]["versions"][version].as_object() {
        check_types(&data, types, &format!("version {version} of {event:?}"), unless_stale)?;
    }
    Ok((given.cloned().unwrap_or_else(|| as_number(version)), data))
}

/// The guide posts a number where the list has a string of digits.
fn as_number(version: &str) -> Value {
    version
        .parse::<u64>()
        .ok()
        .filter(|number| number.to_string() == version)
        .map_or_else(|| version.into(), Value::from)
}

fn current_version<'a>(known: &'a Map<String, Value>, fields: &Fields<'_>) -> Result<(&'a str, &'a str), String> {
    let event = fields.event.unwrap_or_default();
    let Some((event, entry)) = known.get_key_value(event) else {
        let section = fields.section;
        return Err(format!("\"event\" is {event:?}, which section {section:?} does not have{}", near(event, known)));
    };
    match entry["current"].as_str() {
        Some(version) => Ok((event, version)),
        None => Err(format!("every version of {event:?} is deprecated: {}", listed(entry["versions"].as_object()))),
    }
}

/// The version that the event itself names, with its event type; none where the list does not have it.
fn given_version<'a>(
    known: &'a Map<String, Value>,
    fields: &Fields<'_>,
    version: &Value,
) -> Result<Option<(&'a str, &'a str)>, Refusal> {
    let version = version.as_str().map_or_else(|| version.to_string(), str::to_owned);
    let found = known.iter().find_map(|(event, entry)| {
        let (version, _) = entry["versions"].as_object()?.get_key_value(&version)?;
        Some((event.as_str(), version.as_str()))
    });
    match (found, fields.event) {
        (Some((owner, version)), Some(event)) if event != owner => {
            Err(Refusal::Invalid(format!("\"version_id\" {version} is a version of {owner:?}, not of {event:?}")))
        }
        _ => Ok(found),
    }
}

/// Without nulls, and a whole number without decimals: arithmetic in a mapping may have written 5 as 5.0. Whatever its type is, so that the
/// request does not depend on what was looked up.
fn as_sent(data: &Map<String, Value>) -> Map<String, Value> {
    let plain = |value: &Value| value.is_i64() || value.is_u64();
    let written =
        |value: &Value| number::whole(value).filter(|_| !plain(value)).map_or_else(|| value.clone(), Value::from);
    data.iter().filter(|(_, value)| !value.is_null()).map(|(field, value)| (field.clone(), written(value))).collect()
}

fn check_types(
    data: &Map<String, Value>,
    types: &Map<String, Value>,
    version: &str,
    unless_stale: impl Fn(String) -> Refusal,
) -> Result<(), Refusal> {
    for (field, value) in data {
        let Some(wanted) = types.get(field) else {
            let near = near(field, types);
            return Err(unless_stale(format!("\"data\" has the field {field:?}, which {version} does not have{near}")));
        };
        let wanted = wanted.as_str().unwrap_or_default();
        if !fits(value, wanted) {
            let found = if wanted == "integer" { number::described(value) } else { name_of(value) };
            let said = format!("the field {field:?} of \"data\" is {found}; {version} wants {}", article(wanted));
            return Err(Refusal::Invalid(said));
        }
    }
    Ok(())
}

/// A type that the guide does not name is not checked.
fn fits(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => value.is_i64() || value.is_u64(),
        "double" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        _ => true,
    }
}

fn article(kind: &str) -> String {
    format!("{} {kind}", if kind.starts_with('i') { "an" } else { "a" })
}

/// What was probably meant, as the end of a sentence; else what there is.
fn near(name: &str, known: &Map<String, Value>) -> String {
    let far = name.len() / 3;
    let nearest =
        known.keys().map(|key| (strsim::osa_distance(name, key), key)).filter(|(steps, _)| *steps <= far).min();
    match nearest {
        Some((_, key)) => format!("; did you mean {key:?}?"),
        None => format!("; it has {}", listed(Some(known))),
    }
}

fn listed(known: Option<&Map<String, Value>>) -> String {
    let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { answer::cut(&names.join(", ")) }
}
