//! A jq expression: text is compiled once at load; an event goes in, and one value, nothing, or a sentence comes out. It
//! reaches nothing but the event, and always ends.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::thread;

use jaq_core::data::{DataT, HasLut};
use jaq_core::load::parse::{Def, Term};
use jaq_core::load::{Arena, File, Loader, parse, span};
use jaq_core::{Compiler, Ctx, Filter, Lut, Vars};
use serde_json::Value;

use super::fuel::{self, Budget, Stop};
use super::natives;
use super::prelude;
use super::value::Val;
use crate::event::Event;
use crate::redact;

/// What most expressions need, on the caller's own stack.
const EASY: Budget = Budget { fuel: 4096, heaviest: 0, stack: 256 * 1024 };
/// What an expression may need at most, for a small event: some ten milliseconds.
const HARD: Budget = Budget { fuel: 1_000_000, heaviest: 65_536, stack: 8 * 1024 * 1024 };
/// What a large event adds at most.
const MOST_ADDED: usize = 1_000_000;
/// The stack that a hard evaluation gets: its budget's, and room for freeing recursively what its steps leave behind. Only what
/// is used of it becomes memory.
const STACK_BYTES: usize = 512 * 1024 * 1024;
/// Most bytes of an expression.
const LONGEST: usize = 16 * 1024;
/// Most characters of a sentence about an error.
const MOST_SAID: usize = 160;

/// The name of what an expression was changed to.
const CHANGED: &str = "sluice_changed";

/// Makes another expression of one.
pub(super) type Change = for<'a> fn(Term<&'a str>) -> Term<&'a str>;

/// A compiled jq expression.
pub struct Expression {
    text: String,
    filter: Filter<Jq>,
    whole_event: bool,
}

/// An event as expressions see it: `.` is its data, `$event` the whole of it.
#[derive(Debug)]
pub struct Input<'a> {
    event: &'a Event,
    data: OnceCell<Val>,
    whole: OnceCell<Val>,
}

/// What one evaluation gave, and what it took.
#[derive(Debug)]
pub struct Measured {
    /// As [`Expression::evaluate`] gives it.
    pub result: Result<Option<Value>, String>,
    /// Units of work; a hundred million are about a second.
    pub work: u64,
    /// Whether it was stopped after all the work that is allowed.
    pub ran_too_long: bool,
}

/// What jq's interpreter works with here.
pub(super) struct Jq;

impl DataT for Jq {
    type V<'a> = Val;
    type Data<'a> = Program<'a>;
}

/// The compiled terms. The interpreter asks for them whenever it runs one, which is where steps are counted.
#[derive(Clone, Copy)]
pub(super) struct Program<'a>(&'a Lut<Jq>);

impl<'a> HasLut<'a, Jq> for Program<'a> {
    fn lut(&self) -> &'a Lut<Jq> {
        fuel::step();
        self.0
    }
}

impl<'a> Input<'a> {
    /// Of that event, as its producer wrote it.
    #[must_use]
    pub fn of(event: &'a Event) -> Self {
        Self { event, data: OnceCell::new(), whole: OnceCell::new() }
    }

    fn data(&self) -> Val {
        self.data.get_or_init(|| Val::of_fields(self.event.original.as_ref().unwrap_or(&self.event.data))).share()
    }

    fn whole(&self) -> Val {
        let whole = self.whole.get_or_init(|| {
            let event = self.event;
            let time = event.time.to_string();
            let texts = [("id", &event.id), ("source", &event.source), ("type", &event.kind), ("time", &time)];
            let mut fields: BTreeMap<Rc<str>, Val> =
                texts.into_iter().map(|(key, text)| (Rc::from(key), Val::text(text.as_str()))).collect();
            fields.insert(Rc::from("data"), self.data());
            Val::object(fields)
        });
        whole.share()
    }
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// A sentence that says what is wrong and where in the expression.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("has {} bytes; at most {LONGEST} are allowed", text.len()));
        }
        Self::compile_with(text, None)
    }

    /// Compiles what `change` makes of an expression that compiles.
    pub(super) fn compile_changed(text: &str, change: Change) -> Result<Self, String> {
        Self::compile_with(text, Some(change))
    }

    fn compile_with(text: &str, change: Option<Change>) -> Result<Self, String> {
        // Reading deeply nested text takes stack.
        on_large_stack(|| {
            fuel::within(Budget { fuel: u64::MAX, heaviest: usize::MAX, stack: usize::MAX }, || compile(text, change))
        })
        .and_then(|compiled| compiled.unwrap_or_else(|_| Err("cannot be read as jq".to_owned())))
        .map(|filter| Self { text: text.to_owned(), filter, whole_event: text.contains("$event") })
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates it. Nothing and null are `None`.
    ///
    /// # Errors
    /// A sentence: what the expression cannot do with this event, that it gives more than one value, or that it was stopped
    /// because it ran too long, too deep, or made something too large.
    pub fn evaluate(&self, input: &Input<'_>) -> Result<Option<Value>, String> {
        self.measured(input).result
    }

    /// Evaluates it, and tells what that took: for whoever does so again and again.
    #[must_use]
    pub fn measured(&self, input: &Input<'_>) -> Measured {
        // Made before anything is counted: it grows with the event alone.
        let given = self.given(input);
        let added = input.event.raw.len().min(MOST_ADDED);
        let heaviest = HARD.heaviest + input.event.raw.len();
        let (mut done, mut work) = fuel::measured(Budget { heaviest, ..EASY }, || self.run(given));
        if let Err(Stop::Work | Stop::Depth) = done {
            let fuel = HARD.fuel + u64::try_from(added).unwrap_or(0);
            let event = input.event;
            let again = on_large_stack(|| {
                let given = self.given(&Input::of(event));
                fuel::measured(Budget { fuel, heaviest, ..HARD }, || self.run(given))
            });
            let (hard, more) = again.unwrap_or_else(|said| (Ok(Err(said)), 0));
            (done, work) = (hard, work + more);
        }
        let ran_too_long = matches!(done, Err(Stop::Work | Stop::Depth));
        Measured { result: done.unwrap_or_else(|stop| Err(told(stop))), work, ran_too_long }
    }

    /// `.` and `$event`.
    fn given(&self, input: &Input<'_>) -> (Val, Val) {
        (input.data(), if self.whole_event { input.whole() } else { Val::Null })
    }

    fn run(&self, (data, event): (Val, Val)) -> Result<Option<Value>, String> {
        let context = Ctx::<Jq>::new(Program(&self.filter.lut), Vars::new([event]));
        let mut outputs = self.filter.id.run((context, data));
        let value = match outputs.next() {
            None => return Ok(None),
            Some(Ok(value)) => value,
            Some(Err(exception)) => {
                return Err(exception.get_err().map_or_else(|_| told(Stop::Broken), |error| short(error.into_val())));
            }
        };
        if outputs.next().is_some() {
            return Err("it gives more than one value; write [ … ] for an array of them, or first(…)".to_owned());
        }
        value.charge_all();
        Ok(Some(value.to_value()).filter(|value| !value.is_null()))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Does `work` on a thread of its own with [`STACK_BYTES`] of stack, and waits for it.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("jq".to_owned()).stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| format!("cannot start a thread for it: {error}"))?;
        thread.join().map_err(|_| told(Stop::Broken))
    })
}

fn told(stop: Stop) -> String {
    let sentence = match stop {
        Stop::Work => "it runs too long; it was stopped (does it end for every event?)",
        Stop::Depth => "it calls itself or nests values too deeply; it was stopped",
        Stop::Size => "it makes a value that is too large; it was stopped",
        Stop::Broken => "the jq interpreter failed on it",
    };
    sentence.to_owned()
}

/// What an expression's error says; one made by `error(…)` says what it was given.
fn short(said: Val) -> String {
    let said = if let Val::Text(text) = said { text.to_string() } else { format!("it fails with {said}") };
    // Half an address could not be told from other text.
    let said = redact::masked(&said, &[]);
    match said.char_indices().nth(MOST_SAID) {
        Some((end, _)) => format!("{}…", &said[..end]),
        None => said,
    }
}

fn compile(text: &str, change: Option<Change>) -> Result<Filter<Jq>, String> {
    let arena = Arena::default();
    let changed = change.and_then(|change| Some(change(parse(text, |parser| parser.term())?)));
    let changed = changed.map(|body| Def { name: CHANGED, args: Vec::new(), body });
    let code = changed.as_ref().map_or(text, |def| def.name);
    let mut known: Vec<Def<&str>> = prelude::needed_by(text);
    known.extend(changed);
    let loaded = Loader::new(known).load(&arena, File { code, path: () });
    let modules = loaded.map_err(|errors| {
        let first = errors.into_iter().map(|(_, error)| unreadable(text, error)).next();
        first.unwrap_or_else(|| "cannot be read as jq".to_owned())
    })?;
    let compiler = Compiler::default().with_funs(natives::functions()).with_global_vars(["$event"]);
    compiler.compile(modules).map_err(|errors| {
        let first = errors.into_iter().flat_map(|(_, undefined)| undefined).next();
        first.map_or_else(
            || "cannot be compiled".to_owned(),
            |(name, kind)| format!("{}: the {} {name} is not known", place(text, name), kind.as_str()),
        )
    })
}

fn unreadable(text: &str, error: jaq_core::load::Error<&str>) -> String {
    use jaq_core::load::Error;
    match error {
        Error::Io(_) => "modules cannot be loaded here".to_owned(),
        Error::Lex(errors) => {
            errors.first().map_or_else(String::new, |(expected, found)| mismatch(text, expected.as_str(), found))
        }
        Error::Parse(errors) => {
            errors.first().map_or_else(String::new, |(expected, found)| mismatch(text, expected.as_str(), found))
        }
    }
}

fn mismatch(text: &str, expected: &str, found: &str) -> String {
    let shown: String = found.chars().take(20).collect();
    let shown = if shown.is_empty() { "the end".to_owned() } else { format!("{shown:?}") };
    format!("{}: expected {expected}, found {shown}", place(text, found))
}

/// Line and column of a part of the text.
fn place(text: &str, part: &str) -> String {
    let (start, end) = (text.as_ptr().addr(), text.as_ptr().addr() + text.len());
    if !(start..=end).contains(&part.as_ptr().addr()) {
        return "in jq's own definitions".to_owned();
    }
    let before = text.get(..span(text, part).start).unwrap_or(text);
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    match before.matches('\n').count() {
        0 => format!("column {column}"),
        lines => format!("line {}, column {column}", lines + 1),
    }
}
