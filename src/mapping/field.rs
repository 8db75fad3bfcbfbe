//! What is written for one field: a literal, an expression, or a table or array of those. An event goes in, the field's value
//! comes out. Pure.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{Expression, Input};

/// What makes one field.
#[derive(Debug)]
pub enum Field {
    /// Always the same.
    Literal(Value),
    /// Always the same, from the environment or a file.
    Referred(SecretString),
    /// What an expression gives.
    Jq(Expression),
    /// An object of fields.
    Table(Vec<(String, Field)>),
    /// An array of fields.
    Array(Vec<Field>),
}

impl Field {
    /// Its value for an event as JSON text, in which objects keep jq's order of keys. `None`: it is left out.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn json(&self, input: &Input<'_>) -> Result<Option<String>, String> {
        Ok(Some(match self {
            Self::Literal(value) => value.to_string(),
            Self::Referred(text) => Value::from(text.expose_secret()).to_string(),
            Self::Jq(expression) => return expression.json(input),
            Self::Table(fields) => object(fields, |_, field| field.json(input))?,
            Self::Array(fields) => {
                let items = fields.iter().filter_map(|field| field.json(input).transpose());
                format!("[{}]", items.collect::<Result<Vec<_>, String>>()?.join(","))
            }
        }))
    }

    /// Its value, where that is the same for every event; of an expression only where it is written as JSON. A secret is not told.
    #[must_use]
    pub fn literal(&self) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Referred(_) => None,
            Self::Jq(expression) => serde_json::from_str(expression.text()).ok(),
            Self::Table(fields) => {
                let fields = fields.iter().map(|(name, field)| Some((name.clone(), field.literal()?)));
                fields.collect::<Option<_>>().map(Value::Object)
            }
            Self::Array(fields) => fields.iter().map(Self::literal).collect::<Option<_>>().map(Value::Array),
        }
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Referred(text) => vec![text.expose_secret()],
            Self::Table(fields) => fields.iter().flat_map(|(_, field)| field.secrets()).collect(),
            Self::Array(fields) => fields.iter().flat_map(Self::secrets).collect(),
            Self::Literal(_) | Self::Jq(_) => Vec::new(),
        }
    }
}

/// Fields as a JSON object, without those that are left out.
pub(super) fn object<E>(
    fields: &[(String, Field)],
    json: impl Fn(&str, &Field) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut out = String::from("{");
    for (name, field) in fields {
        if let Some(value) = json(name, field)? {
            let comma = if out.len() > 1 { "," } else { "" };
            out.extend([comma, &Value::from(name.as_str()).to_string(), ":", &value]);
        }
    }
    out.push('}');
    Ok(out)
}

/// A text that is the same for every event, or made by an expression.
#[derive(Debug)]
pub enum Template {
    /// Always the same.
    Text(String),
    /// What an expression gives: a string, or a number or boolean as text.
    Jq(Expression),
}

impl Template {
    /// What an expression gives as text. `None`: nothing or null.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and when it gives an array or object.
    pub fn text_of(expression: &Expression, input: &Input<'_>) -> Result<Option<String>, String> {
        match expression.evaluate(input)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(other @ (Value::Array(_) | Value::Object(_))) => {
                Err(format!("it gives {}, not a string", crate::event::name_of(&other)))
            }
        }
    }
}
