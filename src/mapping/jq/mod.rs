//! jq 1.7, over values of our own: text is compiled to terms, which are run on a value within the bounds of [`super::fuel`].

mod natives;
mod number;
mod parse;
mod paths;
mod plain;
mod prelude;
mod read;
mod run;
mod term;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub(super) use natives::Native;
pub(super) use parse::program as compile;
pub(super) use read::read;
pub(super) use run::{Stop, program as run};
pub(super) use term::{
    Bind, Call, Control, Fold, Format, Function, Operator, Pattern, Patterns, Piece as Part, Program, Term,
};
pub(super) use value::Val;
pub(super) use write::{sent, text};
