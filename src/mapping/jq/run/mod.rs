//! Runs a program: a value goes in, and each value that comes out is handed on at once. So what follows a term runs inside of it,
//! nothing waits on the heap, and backtracking is returning. Pure.

mod assign;
mod bind;
mod control;
mod path_value;

use std::cell::Cell;

use foldhash::fast::RandomState;

use super::natives::{format, operator};
use super::prelude;
use super::term::{Call, Fold, Function, Piece, Program, Term};
use super::value::{Fields, Val};
use crate::mapping::fuel;

pub(super) use path_value::PathValue;

/// Why a term ended before its last value.
#[derive(Debug)]
pub(in crate::mapping) enum Stop {
    /// An error with what it says.
    Error(Val),
    /// `break` out of the label of that number.
    Break(u64),
}

pub(super) type Flow = Result<(), Stop>;

/// What is done with each value.
pub(super) type Out<'o> = &'o mut dyn FnMut(PathValue) -> Flow;

/// What a name means at one place of the program, and all that stand before it. Lives on the stack.
pub(super) struct Binding<'e> {
    what: What<'e>,
    before: Scope<'e>,
}

enum What<'e> {
    Value(Val),
    Filter(&'e Term, Scope<'e>),
    Label(u64),
}

type Scope<'e> = Option<&'e Binding<'e>>;

/// One run of a program.
pub(super) struct Run<'p> {
    program: &'p Program,
    labels: Cell<u64>,
}

pub(super) fn error(said: impl AsRef<str>) -> Stop {
    Stop::Error(Val::text(said.as_ref()))
}

/// Runs a program on a value, where `variables` are those it was compiled with.
pub(in crate::mapping) fn program(
    program: &Program,
    input: Val,
    variables: Vec<Val>,
    out: &mut dyn FnMut(Val) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let run = Run { program, labels: Cell::new(0) };
    run.with(variables, None, &mut |scope| {
        run.run(&program.main, scope, PathValue::of(input.clone()), &mut |place| out(place.value))
    })
}

/// A `break` out of that label ends well.
fn ended_by(label: u64, done: Flow) -> Flow {
    match done {
        Err(Stop::Break(broken)) if broken == label => Ok(()),
        other => other,
    }
}

fn back<'e>(mut scope: Scope<'e>, skip: usize) -> Scope<'e> {
    for _ in 0..skip {
        scope = scope.and_then(|binding| binding.before);
    }
    scope
}

impl<'p> Run<'p> {
    /// Binds values one after the other.
    fn with(&self, mut values: Vec<Val>, scope: Scope<'_>, then: &mut dyn FnMut(Scope<'_>) -> Flow) -> Flow {
        if values.is_empty() {
            return then(scope);
        }
        let rest = values.split_off(1);
        let what = values.pop().map_or(What::Value(Val::Null), What::Value);
        self.with(rest, Some(&Binding { what, before: scope }), then)
    }

    pub(super) fn run<'e>(&self, term: &'e Term, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        fuel::step();
        match term {
            Term::Identity => out(at),
            Term::Literal(value) => out(at.with(value.clone())),
            Term::Text(..) | Term::Format(_) | Term::Array(_) | Term::Object(_) => self.make(term, scope, at, out),
            Term::Pipe(pair) => self.run(&pair.0, scope, at, &mut |at| self.run(&pair.1, scope, at, out)),
            Term::Comma(pair) => {
                self.run(&pair.0, scope, at.clone(), out)?;
                self.run(&pair.1, scope, at, out)
            }
            Term::Negate(of) => self.each(of, scope, &at.value, &mut |value| out(at.with(operator::negate(&value)?))),
            Term::And(pair) => self.logic(pair, false, scope, &at, out),
            Term::Or(pair) => self.logic(pair, true, scope, &at, out),
            Term::Either(pair) => self.either(pair, scope, at, out),
            Term::Operation(operator, pair) => self.each(&pair.1, scope, &at.value, &mut |right| {
                self.each(&pair.0, scope, &at.value, &mut |left| {
                    out(at.with(operator::apply(*operator, left, right.clone())?))
                })
            }),
            Term::Assign(_) | Term::Modify(_) | Term::Calculate(..) => self.change(term, scope, at, out),
            Term::Index(_) | Term::Slice(_) | Term::Iterate(_) => self.reach(term, false, scope, at, out),
            Term::Optional(term) => self.reach(term, true, scope, at, out),
            Term::Try(parts) => self.attempt(parts, scope, at, out),
            Term::If(parts) => self.each(&parts.0, scope, &at.value.clone(), &mut |condition| {
                self.run(if condition.is_true() { &parts.1 } else { &parts.2 }, scope, at.clone(), out)
            }),
            Term::Reduce(fold) => self.reduce(fold, scope, at, out),
            Term::Foreach(fold) => self.foreach(fold, scope, at, out),
            Term::Bind(bind) => self.bind(bind, scope, at, out),
            Term::Label(body) => self.label(body, scope, at, out),
            Term::Break(skip) => match back(scope, *skip) {
                Some(Binding { what: What::Label(label), .. }) => Err(Stop::Break(*label)),
                _ => Ok(()),
            },
            Term::Variable(skip) => match back(scope, *skip) {
                Some(Binding { what: What::Value(value), .. }) => out(at.with(value.clone())),
                _ => Ok(()),
            },
            Term::Parameter(skip) => match back(scope, *skip) {
                Some(Binding { what: What::Filter(term, scope), .. }) => self.run(term, *scope, at, out),
                _ => Ok(()),
            },
            Term::Call(call) => self.call(call, scope, at, out),
            Term::Native(native, arguments) => self.native(native.run, arguments, scope, at, out),
            Term::Control(control, arguments) => self.control(*control, arguments, scope, at, out),
        }
    }

    /// The values of a term, without paths.
    fn each<'e>(&self, term: &'e Term, scope: Scope<'e>, input: &Val, out: &mut dyn FnMut(Val) -> Flow) -> Flow
    where
        'p: 'e,
    {
        match term {
            Term::Identity => out(input.clone()),
            Term::Literal(value) => out(value.clone()),
            term => self.run(term, scope, PathValue::of(input.clone()), &mut |place| out(place.value)),
        }
    }

    fn function(&self, call: &Call) -> Option<&'p Function>
    where
        'static: 'p,
    {
        let known = if call.prelude { prelude::functions() } else { &self.program.functions };
        known.get(call.function)
    }

    fn call<'e>(&self, call: &'e Call, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        let Some(function) = self.function(call) else { return Ok(()) };
        self.argument(function, call, 0, scope, back(scope, call.skip), at, out)
    }

    #[expect(clippy::too_many_arguments, reason = "where it is in the arguments, and both scopes")]
    fn argument<'e>(
        &self,
        function: &'e Function,
        call: &'e Call,
        nth: usize,
        caller: Scope<'e>,
        inner: Scope<'_>,
        at: PathValue,
        out: Out<'_>,
    ) -> Flow
    where
        'p: 'e,
    {
        match (call.arguments.get(nth), function.values.get(nth)) {
            (Some(argument), is_value) => {
                let filter = Binding { what: What::Filter(argument, caller), before: inner };
                if is_value != Some(&true) {
                    return self.argument(function, call, nth + 1, caller, Some(&filter), at, out);
                }
                // `$a` is one of its values; `a` still gives all of them.
                self.each(argument, caller, &at.value.clone(), &mut |value| {
                    let bound = Binding { what: What::Value(value), before: Some(&filter) };
                    self.argument(function, call, nth + 1, caller, Some(&bound), at.clone(), out)
                })
            }
            (None, _) => self.run(&function.body, inner, at, out),
        }
    }

    /// A filter in Rust: with each combination of its arguments' values, the last of them outermost.
    fn native<'e>(
        &self,
        run: fn(&Val, &[Val]) -> Result<Val, Stop>,
        arguments: &'e [Term],
        scope: Scope<'e>,
        at: PathValue,
        out: Out<'_>,
    ) -> Flow
    where
        'p: 'e,
    {
        let mut values = vec![Val::Null; arguments.len()];
        self.combine(arguments, scope, &at.value, &mut values, &mut |values| out(at.with(run(&at.value, values)?)))
    }

    fn combine<'e>(
        &self,
        arguments: &'e [Term],
        scope: Scope<'e>,
        input: &Val,
        values: &mut Vec<Val>,
        then: &mut dyn FnMut(&[Val]) -> Flow,
    ) -> Flow
    where
        'p: 'e,
    {
        let Some((last, before)) = arguments.split_last() else { return then(values) };
        self.each(last, scope, input, &mut |value| {
            if let Some(slot) = values.get_mut(before.len()) {
                *slot = value;
            }
            self.combine(before, scope, input, values, then)
        })
    }

    fn make<'e>(&self, term: &'e Term, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        match term {
            Term::Format(format) => {
                let text = format::apply(*format, &at.value)?;
                out(at.with(text))
            }
            Term::Text(format, pieces) => self.text(*format, pieces, String::new(), scope, &at, out),
            Term::Array(items) => {
                let mut made = Vec::new();
                if let Some(items) = items {
                    self.each(items, scope, &at.value, &mut |item| {
                        fuel::weigh(made.len());
                        made.push(item);
                        Ok(())
                    })?;
                }
                out(at.with(Val::array(made)))
            }
            Term::Object(fields) => self.object(
                fields,
                Fields::with_capacity_and_hasher(fields.len(), RandomState::default()),
                scope,
                &at,
                out,
            ),
            _ => Ok(()),
        }
    }

    /// The last expression is the outermost.
    fn text<'e>(
        &self,
        format: super::term::Format,
        pieces: &'e [Piece],
        behind: String,
        scope: Scope<'e>,
        at: &PathValue,
        out: Out<'_>,
    ) -> Flow
    where
        'p: 'e,
    {
        match pieces.split_last() {
            None => out(at.with(Val::text(behind))),
            Some((Piece::Text(text), before)) => {
                self.text(format, before, [text, behind.as_str()].concat(), scope, at, out)
            }
            Some((Piece::Term(term), before)) => self.each(term, scope, &at.value, &mut |value| {
                let text = format::apply(format, &value)?;
                let text = text.as_text().map_or("", |text| text);
                fuel::charge((text.len() + behind.len()) / super::value::PIECE);
                fuel::weigh(super::value::weight_of(text.len() + behind.len()));
                self.text(format, before, [text, behind.as_str()].concat(), scope, at, out)
            }),
        }
    }

    fn object<'e>(
        &self,
        fields: &'e [(Term, Term)],
        made: Fields,
        scope: Scope<'e>,
        at: &PathValue,
        out: Out<'_>,
    ) -> Flow
    where
        'p: 'e,
    {
        let Some(((key, value), rest)) = fields.split_first() else { return out(at.with(Val::object(made))) };
        let mut made = Some(made);
        self.each(key, scope, &at.value, &mut |key| {
            let Some(name) = key.as_text() else {
                return Err(error(format!("Cannot use {} as object key", key.shown())));
            };
            self.each(value, scope, &at.value, &mut |value| {
                // Most fields have one key and one value: what was made is copied only for a second one.
                let is_literal = matches!(fields.first(), Some((Term::Literal(_), Term::Index(_) | Term::Literal(_))));
                let mut made =
                    if is_literal { made.take().unwrap_or_default() } else { made.clone().unwrap_or_default() };
                made.insert(name.clone(), value);
                self.object(rest, made, scope, at, out)
            })
        })
    }

    fn logic<'e>(&self, pair: &'e (Term, Term), decides: bool, scope: Scope<'e>, at: &PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        self.each(&pair.0, scope, &at.value, &mut |left| {
            if left.is_true() == decides {
                return out(at.with(Val::Bool(decides)));
            }
            self.each(&pair.1, scope, &at.value, &mut |right| out(at.with(Val::Bool(right.is_true()))))
        })
    }

    /// `//`: what is true of the left; where nothing is, the right.
    fn either<'e>(&self, pair: &'e (Term, Term), scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        let mut any = false;
        self.run(&pair.0, scope, at.clone(), &mut |left| {
            if !left.value.is_true() {
                return Ok(());
            }
            any = true;
            out(left)
        })?;
        if any { Ok(()) } else { self.run(&pair.1, scope, at, out) }
    }

    /// Catches the body's own errors, not those of what follows it.
    fn attempt<'e>(&self, parts: &'e (Term, Option<Term>), scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        let mut passed = false;
        let kept = at.clone();
        match self.run(&parts.0, scope, at, &mut |at| out(at).inspect_err(|_| passed = true)) {
            Err(Stop::Error(said)) if !passed => match &parts.1 {
                Some(handler) => self.run(handler, scope, kept.with(said), out),
                None => Ok(()),
            },
            other => other,
        }
    }

    /// `.[k]`, `.[a:b]` and `.[]`. With a `?` behind, what cannot be reached is nothing; what it stands in front of still fails.
    fn reach<'e>(&self, term: &'e Term, optional: bool, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        match term {
            Term::Index(pair) => self.each(&pair.1, scope, &at.value.clone(), &mut |key| {
                self.step(&pair.0, &key, optional, scope, at.clone(), out)
            }),
            Term::Slice(slice) => self.slice(slice, optional, scope, &at, out),
            Term::Iterate(of) => self.run(of, scope, at, &mut |at| {
                if optional && !matches!(at.value, Val::Array(_) | Val::Object(_)) { Ok(()) } else { at.steps(out) }
            }),
            _ => Ok(()),
        }
    }

    /// From each place of a term to what stands there at a key.
    fn step<'e>(&self, of: &'e Term, key: &Val, optional: bool, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        self.run(of, scope, at, &mut |at| match at.step(key.clone()) {
            Ok(place) => out(place),
            Err(Stop::Error(_)) if optional => Ok(()),
            Err(stop) => Err(stop),
        })
    }

    fn slice<'e>(
        &self,
        slice: &'e (Term, Option<Term>, Option<Term>),
        optional: bool,
        scope: Scope<'e>,
        at: &PathValue,
        out: Out<'_>,
    ) -> Flow
    where
        'p: 'e,
    {
        let end = |term: &'e Option<Term>, then: &mut dyn FnMut(Val) -> Flow| match term {
            Some(term) => self.each(term, scope, &at.value, then),
            None => then(Val::Null),
        };
        end(&slice.1, &mut |start| {
            end(&slice.2, &mut |end| {
                let key = Val::of([("start", start.clone()), ("end", end)]);
                self.step(&slice.0, &key, optional, scope, at.clone(), out)
            })
        })
    }

    fn reduce<'e>(&self, fold: &'e Fold, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        self.each(&fold.start, scope, &at.value, &mut |start| {
            let mut state = start;
            self.each(&fold.source, scope, &at.value, &mut |item| {
                self.taken_apart(&fold.patterns, item, scope, &at.value, &mut |scope| {
                    // An update that gives nothing leaves null.
                    let old = std::mem::replace(&mut state, Val::Null);
                    self.run(&fold.update, scope, PathValue::of(old), &mut |place| {
                        state = place.value;
                        Ok(())
                    })
                })
            })?;
            out(at.with(state))
        })
    }

    fn foreach<'e>(&self, fold: &'e Fold, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        self.each(&fold.start, scope, &at.value, &mut |start| {
            let mut state = start;
            self.run(&fold.source, scope, at.clone(), &mut |item| {
                self.taken_apart(&fold.patterns, item.value.clone(), scope, &at.value, &mut |scope| {
                    let old = std::mem::replace(&mut state, Val::Null);
                    self.run(&fold.update, scope, item.with(old), &mut |place| {
                        state = place.value.clone();
                        match &fold.extract {
                            Some(extract) => self.run(extract, scope, place, out),
                            None => out(place),
                        }
                    })
                })
            })
        })
    }

    fn label<'e>(&self, body: &'e Term, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        let label = self.new_label();
        let bound = Binding { what: What::Label(label), before: scope };
        ended_by(label, self.run(body, Some(&bound), at, out))
    }

    fn new_label(&self) -> u64 {
        let label = self.labels.get();
        self.labels.set(label + 1);
        label
    }
}
