//! Tells apart, in a text that an expression makes, what is written in the expression and what comes from the event. The expression
//! `"users/\(.id)"` goes in; for an event, the text `users/` and the word that its `id` is come out. Pure.

#![expect(clippy::wildcard_enum_match_arm, reason = "what puts no text together is a word, whichever term it is")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde_json::Value;

use super::analysis::{Analysis, AnalysisCache, changes_case, each_of, keeps_parts, listed};
use super::jq::{Bind, Call, Control, Fold, Format, Function, Operator, Part, Pattern, Patterns, Program, Term, Val};
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
    /// As [`Expression::compile`], and a sentence when it begins with an address of its own that cannot be told from the event's words.
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
fn changed(program: Program) -> Result<Program, String> {
    let seen = AnalysisCache::default();
    let telling = Telling { number: program.functions.len(), ..Telling::default() };
    let main = telling.pieces(program.main.clone(), &Analysis::of(&program, &seen));
    if telling.is_mixed.get() {
        return Err("makes an address in a way in which the event's words cannot be told from the address that is written in it; write it as \
                    \"https://host/path/\\(.id | @uri)\", or with +, join, if, // and as, and change a word inside of \\( )"
            .to_owned());
    }
    let mut functions = program.functions;
    functions.extend(telling.functions.into_inner());
    Ok(Program { main, functions })
}

/// A function, whether a text has begun before it, and whether an address may be in its input and its parameters.
type MadeOf = (usize, bool, bool, bool);

/// Tells the parts of a text from each other, from the left to the right.
#[derive(Default)]
struct Telling {
    /// Whether a text of the expression stands before.
    begun: Cell<bool>,
    /// Whether a word, with nothing written before it, may have an address of the expression in it: it would be taken whole.
    is_mixed: Cell<bool>,
    /// Functions that give parts, by what they were made of, and whether a text has begun behind them.
    known: RefCell<BTreeMap<MadeOf, (usize, bool)>>,
    functions: RefCell<Vec<Function>>,
    /// How many functions the program has of its own.
    number: usize,
}

impl Telling {
    /// The term that gives an array of parts where `term` gives a text: `[text]` for what is written, `[value, 1]` for a word.
    fn pieces(&self, term: Term, written: &Analysis<'_>) -> Term {
        match term {
            term if written.has(&term) => self.text(term),
            Term::Text(format, parts) => {
                let each = parts.into_iter().map(|part| match (part, format) {
                    (Part::Text(text), _) => self.text(Term::Literal(Val::text(text))),
                    (Part::Term(term), Format::Text) => self.pieces(term, written),
                    (Part::Term(term), format) => self.word(pipe(term, Term::Format(format)), written),
                });
                each.reduce(sum).unwrap_or(Term::Array(None))
            }
            term if !written.puts_together(&term) => self.word(term, written),
            Term::Operation(Operator::Add, pair) => {
                let left = self.pieces(pair.0, written);
                sum(left, self.pieces(pair.1, written))
            }
            Term::Bind(bind) => {
                let inside = written.inside(&bind);
                let Bind { source, patterns, body } = *bind;
                Term::Bind(Box::new(Bind { source, patterns, body: self.pieces(body, &inside) }))
            }
            Term::Pipe(pair) => self.piped(pair.0, pair.1, written),
            Term::Either(pair) => self.either(pair.0, pair.1, written),
            Term::If(branches) => {
                let (condition, then, other) = *branches;
                let (then, other) = self.branches(|| self.pieces(then, written), || self.pieces(other, written));
                Term::If(Box::new((condition, then, other)))
            }
            Term::Comma(pair) => {
                let (one, other) = *pair;
                let (one, other) = self.branches(|| self.pieces(one, written), || self.pieces(other, written));
                Term::Comma(Box::new((one, other)))
            }
            Term::Try(parts) => {
                let (body, handler) = *parts;
                let caught = written.handling(&body);
                let (body, handler) = self
                    .branches(|| self.pieces(body, written), || handler.map(|handler| self.pieces(handler, &caught)));
                Term::Try(Box::new((body, handler)))
            }
            Term::Control(Control::First, of) => {
                Term::Control(Control::First, of.into_iter().map(|of| self.pieces(of, written)).collect())
            }
            Term::Call(call) => self.called(*call, written),
            other => self.word(other, written),
        }
    }

    fn text(&self, term: Term) -> Term {
        self.begun.set(true);
        array(array(term))
    }

    fn word(&self, term: Term, written: &Analysis<'_>) -> Term {
        if !self.begun.get() && written.gives_address(&term) {
            self.is_mixed.set(true);
        }
        array(array(Term::Comma(Box::new((null_kept(term), Term::Literal(Val::count(1)))))))
    }

    /// One of the two is taken: a text has begun behind them where it has in both.
    fn branches<A, B>(&self, one: impl FnOnce() -> A, other: impl FnOnce() -> B) -> (A, B) {
        let before = self.begun.get();
        let one = one();
        let begun = self.begun.replace(before);
        let other = other();
        self.begun.set(self.begun.get() && begun);
        (one, other)
    }

    fn either(&self, left: Term, right: Term, written: &Analysis<'_>) -> Term {
        let there = |then| Term::If(Box::new((Term::Identity, then, Term::Identity)));
        let (left, right) = self.branches(
            || match left {
                left if written.has(&left) => pipe(left, there(self.text(Term::Identity))),
                left if written.puts_together(&left) => {
                    let condition = left.clone();
                    Term::If(Box::new((condition, self.pieces(left, written), Term::Literal(Val::Null))))
                }
                left => {
                    let word = self.word(Term::Identity, &written.after(&left));
                    pipe(left, there(word))
                }
            },
            || self.pieces(right, written),
        );
        Term::Either(Box::new((left, right)))
    }

    fn piped(&self, left: Term, right: Term, written: &Analysis<'_>) -> Term {
        match (left, right) {
            (list, Term::Native(native, mut arguments)) if ["join", "add"].contains(&native.name) => {
                let between = arguments.pop();
                match each_of(&list) {
                    Some((source, each)) if between.is_some() => {
                        self.joined(source, each.clone(), between.unwrap_or(Term::Identity), written)
                    }
                    _ => self.joined_one_by_one(&list, between.as_ref(), written),
                }
            }
            (left, right) if keeps_parts(&right) => {
                let left = self.pieces(left, written);
                pipe(left, part_by_part(right))
            }
            (left, right) => {
                let after = written.after(&left);
                pipe(left, self.pieces(right, &after))
            }
        }
    }

    /// `[a, b] | join(between)`, and `[a, b] | add` with nothing between.
    fn joined_one_by_one(&self, list: &Term, between: Option<&Term>, written: &Analysis<'_>) -> Term {
        let Term::Array(Some(items)) = list else { return Term::Array(None) };
        let mut joined: Option<Term> = None;
        for item in listed(items) {
            joined = Some(match (joined, between) {
                (None, _) => self.pieces(item.clone(), written),
                (Some(before), None) => sum(before, self.pieces(item.clone(), written)),
                (Some(before), Some(between)) => {
                    let before = sum(before, self.text(between.clone()));
                    sum(before, self.pieces(item.clone(), written))
                }
            });
        }
        joined.unwrap_or(Term::Array(None))
    }

    /// `[source | each] | join(between)`, for any number of items. Of none comes an empty word.
    fn joined(&self, source: Term, each: Term, between: Term, written: &Analysis<'_>) -> Term {
        let after = written.after(&source);
        let item = if after.has(&each) || after.puts_together(&each) {
            self.pieces(each, &after)
        } else {
            let made = self.word(Term::Identity, &after.after(&each));
            pipe(null_kept(each), made)
        };
        let is_empty = Term::Operation(Operator::Equal, Box::new((Term::Identity, Term::Array(None))));
        let either = |empty, other| Term::If(Box::new((is_empty.clone(), empty, other)));
        let longer = sum(sum(Term::Identity, array(array(between))), Term::Variable(0));
        let all = Term::Reduce(Box::new(Fold {
            source: pipe(source, item),
            patterns: Patterns { variables: 1, alternatives: vec![Pattern::Variable(0)] },
            start: Term::Array(None),
            update: either(Term::Variable(0), longer),
            extract: None,
        }));
        let none = self.word(Term::Literal(Val::text("")), written);
        pipe(all, either(none, Term::Identity))
    }

    /// A call of the function that gives the parts of what this one gives.
    fn called(&self, mut call: Call, written: &Analysis<'_>) -> Term {
        let Some((function, inside)) = written.body(&call) else {
            return self.word(Term::Call(Box::new(call)), written);
        };
        let begun = self.begun.get();
        let key = (call.function, begun, inside.input, inside.parameters);
        let known = self.known.borrow().get(&key).copied();
        let (number, begun) = known.unwrap_or_else(|| {
            let at = self.functions.borrow().len();
            // In its place before its body is known: it may call itself.
            self.functions.borrow_mut().push(Function { values: function.values.clone(), body: Term::Identity });
            self.known.borrow_mut().insert(key, (self.number + at, begun));
            let body = self.pieces(function.body.clone(), &inside);
            if let Some(made) = self.functions.borrow_mut().get_mut(at) {
                made.body = body;
            }
            let known = (self.number + at, self.begun.get());
            self.known.borrow_mut().insert(key, known);
            known
        });
        self.begun.set(begun);
        call.function = number;
        Term::Call(Box::new(call))
    }
}

/// What changes each part as `term` changes the whole text.
fn part_by_part(term: Term) -> Term {
    match term {
        Term::Pipe(pair) => pipe(part_by_part(pair.0), part_by_part(pair.1)),
        Term::Native(native, arguments) if changes_case(native) => {
            let texts = Term::Try(Box::new((Term::Native(native, arguments), None)));
            let first = Term::Index(Box::new((Term::Iterate(Box::new(Term::Identity)), Term::Literal(Val::count(0)))));
            Term::Modify(Box::new((first, Term::Either(Box::new((texts, Term::Identity))))))
        }
        _ => Term::Identity,
    }
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
