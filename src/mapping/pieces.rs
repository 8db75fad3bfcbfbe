//! A text that is put together of what stands in an expression and of an event's words, told apart. The expression
//! `"users/\(.id)"` goes in; for an event, the text `users/` and the word that its `id` is come out. Pure.

#![expect(clippy::wildcard_enum_match_arm, reason = "what puts no text together is a word, whichever term it is")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::jq::{Bind, Call, Format, Function, Operator, Part, Pattern, Program, Term, Val};
use super::{Expression, Input};
use crate::event::name_of;

/// One part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands in the expression.
    Text(String),
    /// Made of the event.
    Word(String),
}

/// An expression that gives a text, and tells which parts of it are made of the event.
#[derive(Debug)]
pub struct Pieces(Expression);

impl Pieces {
    /// Of the same expression.
    ///
    /// # Errors
    /// As [`Expression::compile`].
    pub fn of(expression: &Expression) -> Result<Self, String> {
        Expression::compile_changed(expression.text(), changed).map(Self)
    }

    /// The parts for an event, no two words beside each other. `None`: the expression gives nothing or null.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and when a word is null, an array or an object.
    pub fn evaluate(&self, input: &Input<'_>) -> Result<Option<Vec<Piece>>, String> {
        let Some(Value::Array(made)) = self.0.evaluate(input)? else { return Ok(None) };
        let alone = made.len() == 1;
        let mut parts: Vec<Piece> = Vec::with_capacity(made.len());
        for piece in made {
            let Value::Array(values) = piece else { continue };
            let (value, is_word) = match <[Value; 2]>::try_from(values) {
                Ok([value, _]) => (value, true),
                Err(values) => match <[Value; 1]>::try_from(values) {
                    // An expression that gives nothing leaves its mark alone.
                    Ok([Value::Number(_)]) => return Ok(None),
                    Ok([value]) => (value, false),
                    Err(_) => return Err("it gives more than one value; write first(…)".to_owned()),
                },
            };
            let text = match value {
                Value::String(text) => text,
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::Null if alone => return Ok(None),
                Value::Null => return Err(format!("{} is missing or null", after(&parts))),
                Value::Array(_) | Value::Object(_) if alone => {
                    return Err(format!("it gives {}, not a string", name_of(&value)));
                }
                Value::Array(_) | Value::Object(_) => {
                    return Err(format!("{} is {}, not a string", after(&parts), name_of(&value)));
                }
            };
            match (parts.last_mut(), is_word) {
                (Some(Piece::Text(before)), false) | (Some(Piece::Word(before)), true) => before.push_str(&text),
                (_, true) => parts.push(Piece::Word(text)),
                (_, false) => parts.push(Piece::Text(text)),
            }
        }
        Ok(Some(parts))
    }
}

/// Which word is meant.
fn after(parts: &[Piece]) -> String {
    match parts.last() {
        Some(Piece::Text(text)) => format!("the word after {text:?}"),
        Some(Piece::Word(_)) | None => "a word".to_owned(),
    }
}

/// The program that gives an array of parts where `program` gives a text.
fn changed(program: Program) -> Program {
    let Program { main, functions } = program;
    let main = {
        let seen = RefCell::default();
        // `$event` is the one that is bound from outside.
        pieces(main, &Written { functions: &functions, seen: &seen, bound: vec![false] })
    };
    Program { main, functions }
}

/// Which names stand for texts written in the expression.
#[derive(Clone)]
struct Written<'a> {
    functions: &'a [Function],
    /// What is known of functions: each stands in one place, and means the same wherever it is called.
    seen: &'a RefCell<BTreeMap<usize, bool>>,
    /// For each binding, the innermost last.
    bound: Vec<bool>,
}

impl Written<'_> {
    /// Whether the term gives a text of the expression, or one of several, whatever the event is.
    fn has(&self, term: &Term) -> bool {
        match term {
            Term::Literal(Val::Text(_)) => true,
            Term::Variable(skip) => self.bound.iter().rev().nth(*skip).copied().unwrap_or(false),
            Term::Call(call) => self.calls(call),
            Term::Operation(Operator::Add, pair) => self.has(&pair.0) && self.has(&pair.1),
            // A table of texts, of which the event chooses one.
            Term::Index(pair) => match &pair.0 {
                Term::Object(fields) => fields.iter().all(|(_, value)| self.has(value)),
                _ => false,
            },
            Term::Optional(term) => self.has(term),
            _ => false,
        }
    }

    /// Whether the function is a name for such a text.
    fn calls(&self, call: &Call) -> bool {
        let Some(function) = self.functions.get(call.function) else { return false };
        if call.prelude || !function.values.is_empty() {
            return false;
        }
        if let Some(known) = self.seen.borrow().get(&call.function) {
            return *known;
        }
        // One that calls itself gives no text.
        self.seen.borrow_mut().insert(call.function, false);
        let outside = self.bound.len().saturating_sub(call.skip);
        let bound = self.bound.get(..outside).unwrap_or(&[]).to_vec();
        let has = Self { bound, ..self.clone() }.has(&function.body);
        self.seen.borrow_mut().insert(call.function, has);
        has
    }

    /// What is known in the body of `source as pattern | body`.
    fn inside(&self, bind: &Bind) -> Self {
        let is_name = matches!(bind.patterns.alternatives.as_slice(), [Pattern::Variable(_)]);
        let is_written = is_name && self.has(&bind.source);
        let mut inside = self.clone();
        inside.bound.extend(std::iter::repeat_n(is_written, bind.patterns.variables));
        inside
    }
}

/// The term that gives an array of parts where `term` gives a text: `[text]` for what is written, `[value, 1]` for a word.
fn pieces(term: Term, written: &Written<'_>) -> Term {
    match term {
        term if written.has(&term) => array(array(term)),
        Term::Text(format, parts) => {
            let each = parts.into_iter().map(|part| match (part, format) {
                (Part::Text(text), _) => array(array(Term::Literal(Val::text(text)))),
                (Part::Term(term), Format::Text) if is_text(&term, written) => pieces(term, written),
                (Part::Term(term), Format::Text) => word(term),
                (Part::Term(term), format) => word(pipe(term, Term::Format(format))),
            });
            each.reduce(sum).unwrap_or(Term::Array(None))
        }
        term if !is_text(&term, written) => word(term),
        Term::Operation(Operator::Add, pair) => sum(pieces(pair.0, written), pieces(pair.1, written)),
        Term::Bind(bind) => {
            let inside = written.inside(&bind);
            let Bind { source, patterns, body } = *bind;
            Term::Bind(Box::new(Bind { source, patterns, body: pieces(body, &inside) }))
        }
        Term::Pipe(pair) => match *pair {
            (Term::Array(Some(items)), Term::Native(_, mut arguments)) => {
                let between = arguments.pop().unwrap_or(Term::Identity);
                let items = listed(*items).into_iter().map(|item| pieces(item, written));
                let with = |all, item| sum(sum(all, array(array(between.clone()))), item);
                items.reduce(with).unwrap_or(Term::Array(None))
            }
            (left, right) => pipe(left, pieces(right, written)),
        },
        Term::Either(pair) => {
            let there = Term::If(Box::new((Term::Identity, word(Term::Identity), Term::Identity)));
            Term::Either(Box::new((pipe(pair.0, there), pieces(pair.1, written))))
        }
        Term::If(branches) => {
            let (condition, then, other) = *branches;
            Term::If(Box::new((condition, pieces(then, written), pieces(other, written))))
        }
        other => word(other),
    }
}

/// Whether the term puts a text together, so that its parts can be told apart. `+` adds numbers too.
fn is_text(term: &Term, written: &Written<'_>) -> bool {
    match term {
        Term::Text(..) => true,
        Term::Operation(Operator::Add, pair) | Term::Either(pair) => {
            is_text(&pair.0, written) || is_text(&pair.1, written)
        }
        Term::Pipe(pair) => match &**pair {
            (Term::Array(Some(_)), Term::Native(native, arguments)) if native.name == "join" => {
                arguments.iter().all(|between| written.has(between))
            }
            (_, right) => is_text(right, written),
        },
        Term::Bind(bind) => is_text(&bind.body, &written.inside(bind)),
        Term::If(branches) => is_text(&branches.1, written) || is_text(&branches.2, written),
        term => written.has(term),
    }
}

fn word(term: Term) -> Term {
    array(array(Term::Comma(Box::new((null_kept(term), Term::Literal(Val::count(1)))))))
}

/// A null stays one: jq would write it as the text "null".
fn null_kept(term: Term) -> Term {
    let writes_null = match &term {
        Term::Format(_) => true,
        Term::Native(native, _) => native.name == "tostring",
        _ => false,
    };
    match term {
        Term::Pipe(pair) => pipe(null_kept(pair.0), null_kept(pair.1)),
        writes if writes_null => Term::If(Box::new((Term::Identity, writes, Term::Identity))),
        other => other,
    }
}

fn array(term: Term) -> Term {
    Term::Array(Some(Box::new(term)))
}

fn sum(left: Term, right: Term) -> Term {
    Term::Operation(Operator::Add, Box::new((left, right)))
}

fn pipe(left: Term, right: Term) -> Term {
    Term::Pipe(Box::new((left, right)))
}

fn listed(items: Term) -> Vec<Term> {
    match items {
        Term::Comma(pair) => listed(pair.0).into_iter().chain(listed(pair.1)).collect(),
        item => vec![item],
    }
}
