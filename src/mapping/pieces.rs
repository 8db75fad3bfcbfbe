//! A text that is put together of what stands in an expression and of an event's words, told apart. The expression
//! `"users/\(.id)"` goes in; for an event, the text `users/` and the word that its `id` is come out. Pure.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "jq's terms are a crate's own, and what puts no text together is a word"
)]

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term as Jq};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};
use serde_json::Value;

use super::{Expression, Input};
use crate::event::name_of;

type Term<'a> = Jq<&'a str>;

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
        Expression::compile_changed(expression.text(), |term| pieces(term, &Written::default())).map(Self)
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

/// The names that stand for texts written in the expression.
#[derive(Clone, Default)]
struct Written<'a>(Vec<&'a str>);

impl<'a> Written<'a> {
    fn with(&self, name: &'a str, is_written: bool) -> Self {
        let others = self.0.iter().copied().filter(|known| *known != name);
        Self(others.chain(is_written.then_some(name)).collect())
    }

    /// Whether the term gives a text of the expression, or one of several, whatever the event is.
    fn has(&self, term: &Term<'a>) -> bool {
        match term {
            Jq::Str(None, parts) => parts.iter().all(|part| !matches!(part, StrPart::Term(_))),
            Jq::Var(name) => self.0.contains(name),
            Jq::Call(name, args) => args.is_empty() && self.0.contains(name),
            Jq::BinOp(left, BinaryOp::Math(Math::Add), right) => self.has(left) && self.has(right),
            // A table of texts, of which the event chooses one.
            Jq::Path(table, Path(parts)) => match (&**table, parts.as_slice()) {
                (Jq::Obj(fields), [(Part::Index(_), _)]) => {
                    fields.iter().all(|(_, value)| value.as_ref().is_some_and(|value| self.has(value)))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// What is known after `value as pattern`.
    fn bound(&self, value: &Term<'a>, pattern: &Pattern<&'a str>) -> Self {
        match pattern {
            Pattern::Var(name) => self.with(name, self.has(value)),
            Pattern::Arr(_) | Pattern::Obj(_) => {
                names_in(pattern).into_iter().fold(self.clone(), |known, name| known.with(name, false))
            }
        }
    }
}

fn names_in<'a>(pattern: &Pattern<&'a str>) -> Vec<&'a str> {
    match pattern {
        Pattern::Var(name) => vec![name],
        Pattern::Arr(patterns) => patterns.iter().flat_map(names_in).collect(),
        Pattern::Obj(fields) => fields.iter().flat_map(|(_, pattern)| names_in(pattern)).collect(),
    }
}

/// The term that gives an array of parts where `term` gives a text: `[text]` for what is written, `[value, 1]` for a word.
fn pieces<'a>(term: Term<'a>, written: &Written<'a>) -> Term<'a> {
    match term {
        term if written.has(&term) => array(array(term)),
        Jq::Str(format, parts) => {
            let each = runs(parts).into_iter().map(|part| match (part, format) {
                (Run::Text(parts), _) => array(array(Jq::Str(None, parts))),
                (Run::Term(term), None) if is_text(&term, written) => pieces(term, written),
                (Run::Term(term), None) => word(term),
                (Run::Term(term), Some(format)) => word(pipe(term, Jq::Call(format, Vec::new()))),
            });
            each.reduce(sum).unwrap_or_else(|| array(array(Jq::Str(None, Vec::new()))))
        }
        term if !is_text(&term, written) => word(term),
        Jq::BinOp(left, BinaryOp::Math(Math::Add), right) => sum(pieces(*left, written), pieces(*right, written)),
        Jq::BinOp(left, BinaryOp::Pipe(Some(pattern)), right) => {
            let known = written.bound(&left, &pattern);
            Jq::BinOp(left, BinaryOp::Pipe(Some(pattern)), pieces(*right, &known).into())
        }
        Jq::BinOp(left, BinaryOp::Pipe(None), right) => match (*left, *right) {
            (Jq::Arr(Some(items)), Jq::Call(_, mut args)) => {
                let between = args.pop().unwrap_or_default();
                let items = listed(*items).into_iter().map(|item| pieces(item, written));
                items.reduce(|all, item| sum(sum(all, array(array(between.clone()))), item)).unwrap_or_default()
            }
            (left, right) => pipe(left, pieces(right, written)),
        },
        Jq::BinOp(left, BinaryOp::Alt, right) => {
            let there = Jq::IfThenElse(vec![(Jq::Id, word(Jq::Id))], Some(Jq::Id.into()));
            Jq::BinOp(pipe(*left, there).into(), BinaryOp::Alt, pieces(*right, written).into())
        }
        Jq::IfThenElse(branches, last) => {
            let branches = branches.into_iter().map(|(condition, then)| (condition, pieces(then, written))).collect();
            Jq::IfThenElse(branches, Some(pieces(last.map_or(Jq::Id, |last| *last), written).into()))
        }
        Jq::Def(defs, term) => {
            let known = defs.iter().fold(written.clone(), |known, def| {
                let is_written = def.args.is_empty() && known.has(&def.body);
                known.with(def.name, is_written)
            });
            Jq::Def(defs, pieces(*term, &known).into())
        }
        other => word(other),
    }
}

/// Whether the term puts a text together, so that its parts can be told apart. `+` adds numbers too.
fn is_text<'a>(term: &Term<'a>, written: &Written<'a>) -> bool {
    let is_text = |term: &Term<'a>| is_text(term, written);
    match term {
        Jq::Str(..) => true,
        Jq::BinOp(left, BinaryOp::Math(Math::Add) | BinaryOp::Alt, right) => is_text(left) || is_text(right),
        Jq::BinOp(left, BinaryOp::Pipe(None), right) => match (&**left, &**right) {
            (Jq::Arr(Some(_)), Jq::Call("join", args)) => args.iter().all(|between| written.has(between)),
            (_, right) => is_text(right),
        },
        Jq::BinOp(_, BinaryOp::Pipe(Some(_)), term) | Jq::Def(_, term) => is_text(term),
        Jq::IfThenElse(branches, last) => {
            branches.iter().any(|(_, then)| is_text(then)) || last.as_deref().is_some_and(is_text)
        }
        term => written.has(term),
    }
}

/// A run of text, or what stands between two.
enum Run<'a> {
    Text(Vec<StrPart<&'a str, Term<'a>>>),
    Term(Term<'a>),
}

fn runs<'a>(parts: Vec<StrPart<&'a str, Term<'a>>>) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    for part in parts {
        match (part, runs.last_mut()) {
            (StrPart::Term(term), _) => runs.push(Run::Term(term)),
            (text, Some(Run::Text(run))) => run.push(text),
            (text, Some(Run::Term(_)) | None) => runs.push(Run::Text(vec![text])),
        }
    }
    runs
}

fn word(term: Term<'_>) -> Term<'_> {
    array(array(Jq::BinOp(null_kept(term).into(), BinaryOp::Comma, Jq::Num("1").into())))
}

/// A null stays one: jq would write it as the text "null".
fn null_kept(term: Term<'_>) -> Term<'_> {
    match term {
        Jq::BinOp(left, BinaryOp::Pipe(None), right) => pipe(null_kept(*left), null_kept(*right)),
        Jq::Call(name, args) if args.is_empty() && (name.starts_with('@') || name == "tostring") => {
            Jq::IfThenElse(vec![(Jq::Id, Jq::Call(name, args))], Some(Jq::Id.into()))
        }
        other => other,
    }
}

fn array(term: Term<'_>) -> Term<'_> {
    Jq::Arr(Some(term.into()))
}

fn sum<'a>(left: Term<'a>, right: Term<'a>) -> Term<'a> {
    Jq::BinOp(left.into(), BinaryOp::Math(Math::Add), right.into())
}

fn pipe<'a>(left: Term<'a>, right: Term<'a>) -> Term<'a> {
    Jq::BinOp(left.into(), BinaryOp::Pipe(None), right.into())
}

fn listed(items: Term<'_>) -> Vec<Term<'_>> {
    match items {
        Jq::BinOp(left, BinaryOp::Comma, right) => listed(*left).into_iter().chain(listed(*right)).collect(),
        item => vec![item],
    }
}
