//! The event types that APSIS One knows: they are set from outside, listed as the vendor lists them, and looked up by
//! the id of a version. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event type, as `GET …/events` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApsisEventType {
    /// Its name for people.
    #[serde(default)]
    pub name: String,
    /// Its name for programs, such as `com.apsis1.events.transaction.custom-order-l9ce3syo6t`.
    pub discriminator: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its versions. The ids are different over all event types.
    pub versions: Vec<ApsisVersion>,
}

/// A version of an event type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApsisVersion {
    /// Its id, in digits.
    pub id: String,
    /// The fields of the event's data.
    #[serde(rename = "type")]
    pub fields: BTreeMap<String, FieldType>,
    /// Since when it is not the current one, as a date and time; none: it is.
    #[serde(default)]
    pub deprecated_at: Option<String>,
    /// Since when it holds.
    #[serde(default = "long_ago")]
    pub valid_from: String,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A text.
    String,
    /// True or false.
    Boolean,
}

/// An event type that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    r#"{0}. An event type looks like {{"discriminator":"com.apsis1.events.a","versions":[{{"id":"1","type":{{"f":"string"}}}}]}}"#
)]
pub struct EventTypeError(String);

impl FromStr for ApsisEventType {
    type Err = EventTypeError;

    fn from_str(text: &str) -> Result<Self, EventTypeError> {
        serde_json::from_str(text).map_err(|error| EventTypeError(error.to_string()))
    }
}

impl ApsisEventType {
    /// The documentation's event type, and before its version an older one that lacks a field.
    #[must_use]
    pub fn documented() -> Self {
        let fields = [
            ("myNumberField", FieldType::Integer),
            ("myNumberWithDecimalField", FieldType::Double),
            ("myTextField", FieldType::String),
            ("myTrueFalseField", FieldType::Boolean),
            ("source", FieldType::String),
        ];
        let fields: BTreeMap<String, FieldType> =
            fields.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        let mut fewer = fields.clone();
        fewer.remove("source");
        let valid_from = "2021-01-07T12:17:56.054Z".to_owned();
        let older = ApsisVersion {
            id: "2565265".to_owned(),
            fields: fewer,
            deprecated_at: Some(valid_from.clone()),
            valid_from: long_ago(),
        };
        let current = ApsisVersion { id: "2565266".to_owned(), fields, deprecated_at: None, valid_from };
        Self {
            name: "my transaction".to_owned(),
            discriminator: "com.apsis1.events.transaction.custom-my-transaction-l9ce3syo6t".to_owned(),
            description: String::new(),
            versions: vec![older, current],
        }
    }
}

impl FieldType {
    /// Whether a value is of this type; null is of none.
    pub(super) fn fits(self, value: &Value) -> bool {
        match self {
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Double => value.is_number(),
            Self::String => value.is_string(),
            Self::Boolean => value.is_boolean(),
        }
    }

    /// What a value must be.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Integer => "must be an integer",
            Self::Double => "must be a number",
            Self::String => "must be a string",
            Self::Boolean => "must be true or false",
        }
    }
}

/// The event type and version with this id.
pub(super) fn find<'a>(types: &'a [ApsisEventType], id: &str) -> Option<(&'a ApsisEventType, &'a ApsisVersion)> {
    types.iter().find_map(|kind| Some((kind, kind.versions.iter().find(|version| version.id == id)?)))
}

fn long_ago() -> String {
    "2020-01-01T00:00:00.000Z".to_owned()
}
