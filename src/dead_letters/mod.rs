//! Dead letters: events that will not be delivered without a person.

pub mod notice;
pub mod record;
