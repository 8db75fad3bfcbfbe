//! Mapping: an event as its producer wrote it goes in; the fields that a vendor wants come out. Pure; compiled once at load.

mod analysis;
mod expression;
mod field;
mod fuel;
mod hard;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is of another kind than a filter takes is one error, whichever it is"
)]
mod jq;
mod person;
mod pieces;

use std::sync::Arc;

pub use expression::{Expression, Input, Measured};
pub use field::{Field, Template};
pub use hard::{Hard, easily};
pub use person::Person;
pub use pieces::{Piece, Pieces};

use crate::event::{Data, Event, Invalid};
use crate::routing;

/// A destination's `map`: its rules, of which the first that matches an event's type makes its fields.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    rules: Arc<[Rule]>,
}

/// One `[[destinations.<name>.map]]`.
#[derive(Debug)]
pub struct Rule {
    /// Topic pattern of the types that it is for.
    pub pattern: String,
    /// The line that it begins on in the file.
    pub line: usize,
    /// The vendor's fields by name.
    pub fields: Vec<(String, Field)>,
}

impl Mapping {
    /// Of these rules, in order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into() }
    }

    /// The rule for an event of that type.
    #[must_use]
    pub fn rule_for(&self, kind: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| routing::subscribes(std::slice::from_ref(&rule.pattern), kind))
    }

    /// The event with its data made of the vendor's fields. `None` where no rule matches: its data is in the vendor's own shape.
    ///
    /// # Errors
    /// [`Invalid`] with the field and what its expression could not do.
    pub fn apply(&self, event: &Event) -> Result<Option<Event>, Invalid> {
        let Some(rule) = self.rule_for(&event.kind) else { return Ok(None) };
        // Written first: what is written keeps the order of the keys.
        let raw = rule.written(&Input::of(event))?;
        let data = Data::read("what it makes", raw.into()).map_err(Invalid)?;
        let mut mapped = event.clone();
        mapped.original = Some(std::mem::replace(&mut mapped.data, data).raw().clone());
        Ok(Some(mapped))
    }

    /// What its rules refer to in the environment and in files.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        self.rules.iter().flat_map(|rule| &rule.fields).flat_map(|(_, field)| field.secrets()).collect()
    }
}

impl Rule {
    /// The fields as one JSON object.
    fn written(&self, input: &Input<'_>) -> Result<String, Invalid> {
        field::object(&self.fields, |name, field| {
            field.json(input).map_err(|said| {
                Invalid(format!("{name:?} cannot be made by the rule of map for {:?}: {said}", self.pattern))
            })
        })
    }
}

#[cfg(test)]
mod tests;
