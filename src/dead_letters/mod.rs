//! Dead letters: events that will not be delivered without a person.

pub mod cause;
pub mod death;
pub mod export;
mod fields;
pub mod filter;
pub mod groups;
mod known;
pub mod letter;
pub mod record;

#[cfg(test)]
mod tests;
