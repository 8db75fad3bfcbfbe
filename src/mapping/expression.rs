//! A jq expression: text is compiled once at load; an event goes in, and one value, nothing, or a sentence comes out. It
//! reaches nothing but the event, and always ends.

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::fuel::{self, Budget, Exceeded};
use super::hard;
use super::jq::{self, Program, Val};
use crate::event::Event;
use crate::{redact, threads};

/// What most expressions need, on the caller's own stack.
const EASY: Budget = Budget { fuel: 4096, heaviest: 0, stack: 256 * 1024, deepest: DEEPEST };
/// What an expression may need at most, for a small event: some ten milliseconds. The rest of the stack is for what is compared,
/// written or freed recursively.
const HARD: Budget = Budget { fuel: 1_000_000, heaviest: 131_072, stack: threads::STACK / 2, deepest: 10_000 };
/// What reading an expression may take on the caller's own stack.
const READING: Budget = Budget { stack: EASY.stack, ..Budget::NONE };
/// What a large event adds at most.
const MOST_ADDED: usize = 1_000_000;
/// Arrays and objects inside one another in what is given. Events are less deep than 128.
const DEEPEST: usize = 256;
/// Most bytes of an expression.
const LONGEST: usize = 16 * 1024;
/// Most characters of a sentence about an error.
const MOST_SAID: usize = 160;

/// A compiled jq expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    program: Arc<Program>,
    whole_event: bool,
}

/// An event as expressions see it: `.` is its data, `$event` the whole of it.
#[derive(Debug)]
pub struct Input<'a> {
    event: Option<&'a Event>,
    /// What `.` is read from.
    raw: &'a [u8],
    /// How large the event is.
    bytes: usize,
    data: OnceCell<Val>,
    whole: OnceCell<Val>,
}

/// What one evaluation gave, and what it took.
#[derive(Debug)]
pub struct Measured<T = Value> {
    /// As [`Expression::evaluate`] gives it, or as JSON text.
    pub result: Result<Option<T>, String>,
    /// Units of work; a hundred million are about a second.
    pub work: u64,
    /// Whether it was stopped after all the work that is allowed.
    pub ran_too_long: bool,
}

impl<T> Measured<T> {
    /// Of an evaluation that failed by our own fault.
    #[must_use]
    pub fn failed() -> Self {
        Self { result: Err(sentence_for(Exceeded::Broken)), work: 0, ran_too_long: false }
    }
}

/// What one run gave: a value, nothing, or a sentence; and why it was stopped.
type Given = Result<Result<Option<Val>, String>, Exceeded>;

impl<'a> Input<'a> {
    /// Of that event, as its producer wrote it.
    #[must_use]
    pub fn of(event: &'a Event) -> Self {
        let raw = event.original.as_ref().unwrap_or_else(|| event.data.raw());
        Self { event: Some(event), raw, bytes: event.data.raw().len(), data: OnceCell::new(), whole: OnceCell::new() }
    }

    /// A message's whole body as `.`; `$event` is the event that is in it, or null.
    ///
    /// # Errors
    /// A sentence: the body is not JSON.
    pub fn of_body(body: &'a [u8], event: Option<&'a Event>) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8 text".to_owned())?;
        let data = OnceCell::from(jq::read(text).map_err(|_| "the body is not JSON".to_owned())?);
        Ok(Self { event, raw: body, bytes: body.len(), data, whole: OnceCell::new() })
    }

    /// `.` as JSON text, as an expression that changes nothing gives it.
    #[must_use]
    pub fn unchanged(&self) -> Option<String> {
        jq::sent(&self.data())
    }

    /// Read from its bytes: they have the order of the keys and all digits.
    fn data(&self) -> Val {
        let read = || {
            let read = std::str::from_utf8(self.raw).map_err(|said| said.to_string()).and_then(jq::read);
            read.unwrap_or_else(|_| Val::of([]))
        };
        self.data.get_or_init(read).clone()
    }

    /// The event's data, which is not `.` where that is a whole body.
    fn event_data(&self, event: &Event) -> Val {
        let raw = event.original.as_ref().unwrap_or_else(|| event.data.raw());
        if std::ptr::eq(raw.as_ref(), self.raw) {
            return self.data();
        }
        std::str::from_utf8(raw).ok().and_then(|text| jq::read(text).ok()).unwrap_or_else(|| Val::of([]))
    }

    fn whole(&self) -> Val {
        let whole = self.whole.get_or_init(|| {
            let Some(event) = self.event else { return Val::Null };
            Val::of([
                ("id", Val::text(event.id.as_str())),
                ("source", Val::text(event.source.as_str())),
                ("type", Val::text(event.kind.as_str())),
                ("time", Val::text(event.time.to_string())),
                ("data", self.event_data(event)),
            ])
        });
        whole.clone()
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
        let compile = || jq::compile(text, &["event"]);
        // Reading deeply nested text takes stack.
        let compiled = match fuel::within(READING, compile) {
            Err(Exceeded::Depth) => threads::alone(|| fuel::within(Budget::NONE, compile))?,
            compiled => compiled,
        };
        Self::of(text, compiled)
    }

    /// Compiles what `change` makes of an expression that compiles, which may take stack.
    pub(super) fn compile_changed(text: &str, change: fn(Program) -> Result<Program, String>) -> Result<Self, String> {
        let compile = || jq::compile(text, &["event"]).and_then(change);
        Self::of(text, threads::alone(|| fuel::within(Budget::NONE, compile))?)
    }

    fn of(text: &str, compiled: Result<Result<Program, String>, Exceeded>) -> Result<Self, String> {
        let program = compiled.unwrap_or_else(|_| Err("cannot be read as jq".to_owned()))?;
        Ok(Self { text: text.into(), program: Arc::new(program), whole_event: text.contains("$event") })
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates it. Nothing and null are `None`.
    ///
    /// # Errors
    /// A sentence: what the expression cannot do with this event, that it gives more than one value or a number that is not
    /// finite, or that it was stopped because it ran too long, too deep, or made something too large.
    pub fn evaluate(&self, input: &Input<'_>) -> Result<Option<Value>, String> {
        self.measured(input).result
    }

    /// Evaluates it as [`evaluate`](Self::evaluate) does, to JSON text: the keys of objects are in jq's order.
    ///
    /// # Errors
    /// As `evaluate`.
    pub fn json(&self, input: &Input<'_>) -> Result<Option<String>, String> {
        self.run(input).0.unwrap_or_else(|stop| Err(sentence_for(stop)))?.map(|value| sent(&value)).transpose()
    }

    /// Evaluates it, and tells what that took: for whoever does so again and again.
    #[must_use]
    pub fn measured(&self, input: &Input<'_>) -> Measured {
        self.measured_as(input, to_value)
    }

    /// The same, to JSON text as [`json`](Self::json) gives it.
    #[must_use]
    pub fn measured_json(&self, input: &Input<'_>) -> Measured<String> {
        self.measured_as(input, sent)
    }

    fn measured_as<T>(&self, input: &Input<'_>, write: fn(&Val) -> Result<T, String>) -> Measured<T> {
        let (given, work) = self.run(input);
        let ran_too_long = matches!(given, Err(Exceeded::Work | Exceeded::Depth));
        let value = given.unwrap_or_else(|stop| Err(sentence_for(stop)));
        let result = value.and_then(|value| value.map(|value| write(&value)).transpose());
        Measured { result, work, ran_too_long }
    }

    fn run(&self, input: &Input<'_>) -> (Given, u64) {
        // Made before anything is counted: it grows with the event alone.
        let data = input.data();
        let event = if self.whole_event { input.whole() } else { Val::Null };
        let added = input.bytes.min(MOST_ADDED);
        let heaviest = HARD.heaviest + input.bytes;
        let fuel = HARD.fuel + u64::try_from(added).unwrap_or(0);
        let hard = Budget { fuel, heaviest, ..HARD };
        if threads::is_one() {
            return fuel::measured(hard, || run(&self.program, data, event));
        }
        let easily = || run(&self.program, data.clone(), event.clone());
        let (done, work) = fuel::measured(Budget { heaviest, ..EASY }, easily);
        if !matches!(done, Err(Exceeded::Work | Exceeded::Depth)) {
            return (done, work);
        }
        if hard::is_left() {
            return (Ok(Err("it is hard, and was left".to_owned())), work);
        }
        let program = Arc::clone(&self.program);
        let again = threads::run(move || fuel::measured(hard, || run(&program, data, event)));
        let (done, more) = again.unwrap_or_else(|said| (Ok(Err(said)), 0));
        (done, work + more)
    }
}

/// Runs a program on an event's data.
fn run(program: &Program, data: Val, event: Val) -> Result<Option<Val>, String> {
    let (mut given, mut more) = (None, false);
    let done = jq::run(program, data, vec![event], &mut |value| {
        more = given.replace(value).is_some();
        // Two are as wrong as many.
        if more { Err(jq::Stop::Error(Val::Null)) } else { Ok(()) }
    });
    match done {
        _ if more => Err("it gives more than one value; write [ … ] for an array of them, or first(…)".to_owned()),
        Err(jq::Stop::Error(said)) => Err(short(&said)),
        Err(jq::Stop::Break(_)) => Err(sentence_for(Exceeded::Broken)),
        Ok(()) => match given.filter(|value| !matches!(value, Val::Null)) {
            Some(value) if value.size().depth > DEEPEST => fuel::stop(Exceeded::Depth),
            given => Ok(given),
        },
    }
}

fn sent(value: &Val) -> Result<String, String> {
    jq::sent(value).ok_or_else(not_finite)
}

fn not_finite() -> String {
    "it gives a number that is not finite (infinite or nan), which JSON cannot say".to_owned()
}

fn to_value(value: &Val) -> Result<Value, String> {
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(flag) => Value::Bool(*flag),
        Val::Number(number) if number.is_finite() => {
            let number: serde_json::Number = number.as_it_came().parse().map_err(|_| not_finite())?;
            Value::Number(number)
        }
        Val::Number(_) => return Err(not_finite()),
        Val::Text(text) => Value::from(&**text),
        Val::Array(array) => Value::Array(array.items.iter().map(to_value).collect::<Result<_, String>>()?),
        Val::Object(object) => {
            let fields = object.fields.iter().map(|(key, value)| Ok((key.to_string(), to_value(value)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

fn sentence_for(stop: Exceeded) -> String {
    let sentence = match stop {
        Exceeded::Work => "it runs too long; it was stopped (does it end for every event?)",
        Exceeded::Depth => "it calls itself or nests values too deeply; it was stopped",
        Exceeded::Size => "it makes a value that is too large; it was stopped",
        Exceeded::Broken => "the jq interpreter failed on it",
    };
    sentence.to_owned()
}

/// What an expression's error says; one made by `error(…)` says what it was given.
fn short(said: &Val) -> String {
    let said = if let Val::Text(text) = said { text.to_string() } else { format!("it fails with {}", jq::text(said)) };
    // Half an address could not be told from other text.
    let said = redact::masked(&said, &[]);
    match said.char_indices().nth(MOST_SAID) {
        Some((end, _)) => format!("{}…", &said[..end]),
        None => said,
    }
}
