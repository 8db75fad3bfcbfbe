//! Mapping: an event as its producer wrote it goes in; the fields that a vendor wants come out. Pure; compiled once at load.

mod access;
mod expression;
mod fuel;
mod natives;
mod number;
mod operations;
mod pattern;
mod prelude;
mod value;

pub use expression::{Expression, Input};

#[cfg(test)]
mod tests;
