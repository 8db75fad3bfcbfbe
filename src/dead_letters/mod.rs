//! Dead letters: events that will not be delivered without a person.

pub mod record;
