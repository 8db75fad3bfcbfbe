//! A compiled program: the terms that are run. Pure.

use super::natives::Native;
use super::prelude;
use super::value::Val;

/// A program: what it runs, and the functions that it defines.
#[derive(Debug)]
pub(in crate::mapping) struct Program {
    pub main: Term,
    pub functions: Vec<Function>,
}

/// A function that is written in jq.
#[derive(Debug)]
pub(in crate::mapping) struct Function {
    /// For each parameter whether it is a value (`$a`) rather than a filter.
    pub values: Vec<bool>,
    pub body: Term,
}

/// One step of a program. Names are resolved: a variable is how many bindings back it stands.
#[derive(Clone, Debug)]
pub(in crate::mapping) enum Term {
    Identity,
    Literal(Val),
    /// A string with expressions in it, written by a format.
    Text(Format, Vec<Piece>),
    Format(Format),
    Array(Option<Box<Term>>),
    Object(Vec<(Term, Term)>),
    Pipe(Box<(Term, Term)>),
    Comma(Box<(Term, Term)>),
    Negate(Box<Term>),
    And(Box<(Term, Term)>),
    Or(Box<(Term, Term)>),
    /// `//`
    Either(Box<(Term, Term)>),
    Operation(Operator, Box<(Term, Term)>),
    /// `paths = values`
    Assign(Box<(Term, Term)>),
    /// `paths |= update`
    Modify(Box<(Term, Term)>),
    /// `paths += values`, and `//=` without an operator.
    Calculate(Option<Operator>, Box<(Term, Term)>),
    /// What it looks into, and the key.
    Index(Box<(Term, Term)>),
    Slice(Box<(Term, Option<Term>, Option<Term>)>),
    Iterate(Box<Term>),
    /// One of the three before, which gives nothing where it cannot reach.
    Optional(Box<Term>),
    Try(Box<(Term, Option<Term>)>),
    If(Box<(Term, Term, Term)>),
    Reduce(Box<Fold>),
    Foreach(Box<Fold>),
    Bind(Box<Bind>),
    Label(Box<Term>),
    Break(usize),
    Variable(usize),
    /// A parameter that is a filter.
    Parameter(usize),
    Call(Box<Call>),
    Native(&'static Native, Vec<Term>),
    Control(Control, Vec<Term>),
}

/// `reduce` and `foreach`.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Fold {
    pub source: Term,
    pub patterns: Patterns,
    pub start: Term,
    pub update: Term,
    pub extract: Option<Term>,
}

/// `source as $x | body`.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Bind {
    pub source: Term,
    pub patterns: Patterns,
    pub body: Term,
}

/// Alternatives (`?//`) of what a value is taken apart into. All of them bind `variables` variables.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Patterns {
    pub variables: usize,
    pub alternatives: Vec<Pattern>,
}

/// A variable is the number of the one that it sets.
#[derive(Clone, Debug)]
pub(in crate::mapping) enum Pattern {
    Variable(usize),
    Array(Vec<Pattern>),
    Object(Vec<FieldPattern>),
}

/// `$a`, `a: …`, `$a: …`, `(…): …`
#[derive(Clone, Debug)]
pub(in crate::mapping) struct FieldPattern {
    /// Set to the whole field.
    pub variable: Option<usize>,
    pub key: Term,
    /// How many of the pattern's variables the key can see.
    pub seen: usize,
    /// What the field is taken apart into.
    pub parts: Option<Pattern>,
}

/// A call of a function that is written in jq.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Call {
    /// Of jq's own definitions rather than of the program.
    pub prelude: bool,
    pub function: usize,
    /// How many bindings back it was defined.
    pub skip: usize,
    pub arguments: Vec<Term>,
}

impl Call {
    /// Whether it calls jq's own filter of that name.
    pub fn is_jqs_own(&self, name: &str) -> bool {
        self.prelude && prelude::find(name, self.arguments.len()) == Some(self.function)
    }
}

#[derive(Clone, Debug)]
pub(in crate::mapping) enum Piece {
    Text(String),
    Term(Term),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `@text` and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Format {
    Text,
    Json,
    Csv,
    Tsv,
    Html,
    Uri,
    UriDecoded,
    Sh,
    Base64,
    Base64Decoded,
    Base32,
    Base32Decoded,
}

/// What needs to know paths, or runs its arguments as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Control {
    Empty,
    Path,
    GetPath,
    First,
    Limit,
    Until,
    While,
    Repeat,
    Recurse,
    Range,
    IsEmpty,
}
