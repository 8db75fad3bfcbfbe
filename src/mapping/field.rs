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
    /// Its value for an event. `None`: it is left out.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn of(&self, input: &Input<'_>) -> Result<Option<Value>, String> {
        Ok(Some(match self {
            Self::Literal(value) => value.clone(),
            Self::Referred(text) => Value::from(text.expose_secret()),
            Self::Jq(expression) => return expression.evaluate(input),
            Self::Table(fields) => {
                let entries = fields.iter().filter_map(|(name, field)| {
                    field.of(input).transpose().map(|value| value.map(|value| (name.clone(), value)))
                });
                Value::Object(entries.collect::<Result<_, String>>()?)
            }
            Self::Array(fields) => Value::Array(
                fields.iter().filter_map(|field| field.of(input).transpose()).collect::<Result<_, String>>()?,
            ),
        }))
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
