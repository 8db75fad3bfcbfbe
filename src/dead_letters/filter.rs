//! Which letters are meant: a filter as people write it is compiled once; letters go in; yes or no comes out. Pure.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::fmt::friendly::SpanParser;
use jiff::{SignedDuration, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::letter::{Letter, is_id, routing_key};
use crate::event::{self, Context, Event};
use crate::mapping::{self, Expression, Hard, Input, Measured};
use crate::message::{Field, Message, header};
use crate::threads::{self, NoThread};
use crate::verdict::Reason;
use crate::{redact, routing};

/// The most of a jq expression that an error quotes, in bytes.
const MOST_OF_JQ: usize = 200;
/// After so many letters on which a jq expression had to be stopped a pass ends: it would be stopped on most of the others too.
const MOST_STOPPED: u64 = 3;
/// Units of work that a jq expression may take on each letter, about, however many there are: a tenth of a millisecond.
const WORK_ON_EACH: u64 = 10_000;
/// What it may take beyond that in a whole pass: about a second.
const WORK_BEYOND: u64 = 100_000_000;

// One type for the command line, the API and the console: its documentation is the API's, its `help` the command line's.
/// A filter: values of one list are alternatives, and all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams, clap::Args)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[command(next_help_heading = "Which letters")]
pub struct Filter {
    /// Reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ReasonName>)]
    #[param(
        value_type = Option<String>,
        pattern = "^(malformed|invalid|rejected|too_large|partly_rejected|unconfirmed|expired|too_old|delivery_limit|unknown)(,(malformed|invalid|rejected|too_large|partly_rejected|unconfirmed|expired|too_old|delivery_limit|unknown))*$"
    )]
    #[arg(
        long,
        value_name = "REASON",
        help = "By reason: malformed, invalid, rejected, too_large, partly_rejected, unconfirmed, expired, too_old, delivery_limit, unknown"
    )]
    pub reason: Vec<String>,
    /// Groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Id>)]
    #[param(value_type = Option<String>, pattern = "^[0-9A-Fa-f]{16}(,[0-9A-Fa-f]{16})*$")]
    #[arg(long, value_name = "GROUP", help = "By group, as `sluice dead groups` shows it")]
    pub group: Vec<String>,
    /// Event types; * stands for one word and # for any number.
    #[serde(rename = "type", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<TypePattern>)]
    #[param(value_type = Option<String>, pattern = "^[^,]+(,[^,]+)*$")]
    #[arg(long = "type", value_name = "TYPE", help = "By event type; * stands for one word and # for any number")]
    pub kind: Vec<String>,
    /// Ids of events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<EventId>)]
    #[param(value_type = Option<String>, pattern = "^[^,]+(,[^,]+)*$")]
    #[arg(long, value_name = "ID", help = "By the event's id")]
    pub id: Vec<String>,
    /// Ids of letters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Id>)]
    #[param(value_type = Option<String>, pattern = "^[0-9A-Fa-f]{16}(,[0-9A-Fa-f]{16})*$")]
    #[arg(long, value_name = "LETTER", help = "By the letter's own id, 16 hex digits")]
    pub letter: Vec<String>,
    /// Died longer ago than this, or before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    #[param(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    #[arg(
        long,
        value_name = "AGE|TIME",
        help = "Died before: an age as 90m, 2h, 3d, or a time as 2026-01-31T12:00:00Z"
    )]
    pub older_than: Option<String>,
    /// Died no longer ago than this, or since this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    #[param(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    #[arg(long, value_name = "AGE|TIME", help = "Died since: an age as 90m, 2h, 3d, or a time")]
    pub newer_than: Option<String>,
    // `.` is its data, `$event` the whole of it. Anything but false, null and nothing is a yes.
    /// A jq expression over the event. One that cannot be read is a 409 that says why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "JQ", help = "By a jq expression over the event: . is its data, $event the whole of it")]
    pub jq: Option<String>,
}

/// A reason.
#[derive(ToSchema)]
#[schema(as = Reason, pattern = "^(malformed|invalid|rejected|too_large|partly_rejected|unconfirmed|expired|too_old|delivery_limit|unknown)$")]
#[expect(dead_code, reason = "only described")]
struct ReasonName(String);

/// The id of a letter or a group.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9A-Fa-f]{16}$")]
#[expect(dead_code, reason = "only described")]
struct Id(String);

/// A topic pattern.
#[derive(ToSchema)]
#[schema(min_length = 1)]
#[expect(dead_code, reason = "only described")]
struct TypePattern(String);

/// The id of an event.
#[derive(ToSchema)]
#[schema(min_length = 1)]
#[expect(dead_code, reason = "only described")]
struct EventId(String);

/// What is wrong with a filter, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {said}")]
pub struct FilterError {
    /// The field of [`Filter`].
    pub field: &'static str,
    /// A sentence that names the value.
    pub said: String,
}

/// A compiled [`Filter`].
#[derive(Debug)]
pub struct Matcher {
    reasons: Vec<Reason>,
    groups: HashSet<String>,
    types: Vec<String>,
    events: HashSet<String>,
    letters: HashSet<String>,
    before: Option<Timestamp>,
    from: Option<Timestamp>,
    jq: Option<Expression>,
    spent: Mutex<Spent>,
}

/// What a jq expression has done and taken in the pass at hand.
#[derive(Debug, Default)]
struct Spent {
    failed: u64,
    first_failure: Option<String>,
    stopped: u64,
    /// Work beyond what each letter may take.
    beyond: u64,
}

impl Spent {
    /// Why a pass should not go on.
    fn is_too_much(&self) -> Option<&'static str> {
        if self.stopped >= MOST_STOPPED {
            Some("it had to be stopped on three letters")
        } else {
            (self.beyond > WORK_BEYOND).then_some("on each letter it ends, but not soon")
        }
    }
}

/// A jq expression takes so long that a pass over the letters has been ended. They are as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "jq: {jq:?} takes too long ({why}): the pass ended after {read} of {there} letters and changed nothing; write one that ends \
     sooner, or narrow the letters by another filter too, as a type, a reason or a group"
)]
pub struct TooSlow {
    jq: String,
    why: &'static str,
    read: u32,
    there: u32,
}

impl Filter {
    /// Whether every letter is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each field's name and what it says.
    fn fields(&self) -> [(&'static str, &[String]); 8] {
        [
            ("reason", &self.reason),
            ("group", &self.group),
            ("type", &self.kind),
            ("id", &self.id),
            ("letter", &self.letter),
            ("older_than", self.older_than.as_slice()),
            ("newer_than", self.newer_than.as_slice()),
            ("jq", self.jq.as_slice()),
        ]
    }

    /// The fields that say something, as a query or a form has them: the values of a list with commas between.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let said = self.fields().into_iter().filter(|(_, values)| !values.is_empty());
        said.map(|(name, values)| (name, values.join(","))).collect()
    }

    /// Takes a field as [`Self::pairs`] has it: more values of a list, or another single one. False where none has that name.
    pub fn add(&mut self, name: &str, text: &str) -> bool {
        let list = match name {
            "reason" => &mut self.reason,
            "group" => &mut self.group,
            "type" => &mut self.kind,
            "id" => &mut self.id,
            "letter" => &mut self.letter,
            _ => {
                let single = match name {
                    "older_than" => &mut self.older_than,
                    "newer_than" => &mut self.newer_than,
                    "jq" => &mut self.jq,
                    _ => return false,
                };
                *single = Some(text.to_owned());
                return true;
            }
        };
        list.extend(text.split(',').map(str::to_owned));
        true
    }

    /// Checks it and makes it ready; lengths of time are counted back from `now`.
    ///
    /// # Errors
    /// [`FilterError`] with the first value that is wrong.
    pub fn compile(&self, now: Timestamp) -> Result<Matcher, FilterError> {
        let reasons: Result<_, String> = self.reason.iter().map(|name| name.parse()).collect();
        let before = self.older_than.as_deref().map(|text| moment("older_than", text, now)).transpose()?;
        let from = self.newer_than.as_deref().map(|text| moment("newer_than", text, now)).transpose()?;
        if let (Some(before), Some(from)) = (before, from)
            && before <= from
        {
            return Err(wrong(
                "older_than",
                "leaves nothing together with newer_than: the two exclude each other".into(),
            ));
        }
        let jq = self.jq.as_deref().map(|text| {
            Expression::compile(text)
                .map_err(|said| wrong("jq", format!("{:?} is no jq expression: {said}", cut(text))))
        });
        Ok(Matcher {
            reasons: reasons.map_err(|said| wrong("reason", said))?,
            groups: ids("group", &self.group)?,
            types: filled("type", &self.kind, "a type, or a pattern as order.*")?,
            events: filled("id", &self.id, "the id of an event")?.into_iter().collect(),
            letters: ids("letter", &self.letter)?,
            before,
            from,
            jq: jq.transpose()?,
            spent: Mutex::default(),
        })
    }
}

/// One line, e-mail addresses masked; "all" where every letter is meant.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.fields().into_iter().filter(|(_, values)| !values.is_empty());
        let parts: Vec<String> = said
            .map(|(name, values)| {
                let values: Vec<String> = values.iter().map(|value| shown(value)).collect();
                format!("{name}={}", values.join(","))
            })
            .collect();
        f.write_str(if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }.as_str())
    }
}

/// Quoted where it would run into its neighbours.
fn shown(value: &str) -> String {
    let masked = redact::masked(value, &[]);
    let plain =
        !masked.is_empty() && !masked.contains(|c: char| c.is_whitespace() || c.is_control() || "\",".contains(c));
    if plain { masked } else { format!("{masked:?}") }
}

impl Matcher {
    /// Whether a letter is meant: `letter` is `message`, read. Where the jq expression is hard on it, only the task that asks waits.
    ///
    /// # Errors
    /// [`NoThread`]: the machine gives none for that.
    pub async fn means(&self, letter: &Letter, message: &Message) -> Result<bool, NoThread> {
        if !self.means_but_for_jq(letter) {
            return Ok(false);
        }
        let Some(jq) = &self.jq else { return Ok(true) };
        let Some(event) = event_in(letter, message) else { return Ok(false) };
        let measured = match mapping::easily(|| jq.measured(&Input::of(&event))) {
            Ok(measured) => measured,
            Err(Hard) => {
                let jq = jq.clone();
                let measured = threads::beside(move || jq.measured(&Input::of(&event))).await?;
                measured.unwrap_or_else(Measured::failed)
            }
        };
        Ok(self.says_yes(measured))
    }

    fn means_but_for_jq(&self, letter: &Letter) -> bool {
        let listed = |set: &HashSet<String>, value: Option<&String>| {
            set.is_empty() || value.is_some_and(|value| set.contains(value))
        };
        let in_time = |holds: &dyn Fn(Timestamp) -> bool| letter.dead_lettered_at.is_some_and(holds);
        (self.reasons.is_empty() || self.reasons.contains(&letter.reason))
            && listed(&self.groups, Some(&letter.group))
            && listed(&self.letters, Some(&letter.id))
            && listed(&self.events, letter.event_id.as_ref())
            && self.before.is_none_or(|before| in_time(&|at| at < before))
            && self.from.is_none_or(|from| in_time(&|at| at >= from))
            && (self.types.is_empty() || routing::subscribes(&self.types, &letter.event_type))
    }

    /// A pass begins: what the jq expression took in an earlier one counts no more.
    pub fn anew(&self) {
        *self.spent() = Spent::default();
    }

    /// Whether the jq expression takes too long for the pass to go on, after `read` letters of `there`.
    ///
    /// # Errors
    /// [`TooSlow`]: it does.
    pub fn check(&self, read: u32, there: u32) -> Result<(), TooSlow> {
        let Some(jq) = &self.jq else { return Ok(()) };
        let Some(why) = self.spent().is_too_much() else { return Ok(()) };
        Err(TooSlow { jq: redact::masked(cut(jq.text()), &[]), why, read, there })
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the jq expression could not do, where it failed on letters; these did not match.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let spent = self.spent();
        let (first, failed) = (spent.first_failure.as_ref()?, spent.failed);
        let letters = if failed == 1 { "letter" } else { "letters" };
        Some(format!("the jq expression failed on {failed} {letters}, which were left out: {first}"))
    }

    fn says_yes(&self, measured: Measured) -> bool {
        let Measured { result, work, ran_too_long } = measured;
        let mut spent = self.spent();
        spent.stopped += u64::from(ran_too_long);
        spent.beyond += work.saturating_sub(WORK_ON_EACH);
        match result {
            Ok(value) => !matches!(value, None | Some(Value::Null | Value::Bool(false))),
            Err(said) => {
                spent.failed += 1;
                spent.first_failure.get_or_insert_with(|| redact::masked(&said, &[]));
                false
            }
        }
    }
}

/// The event in a letter, which is `message`.
fn event_in(letter: &Letter, message: &Message) -> Option<Event> {
    let routing_key = routing_key(message);
    let received = message.properties.headers.get(header::RECEIVED).and_then(Field::as_str);
    let received = received.and_then(|at| at.parse().ok()).or(letter.dead_lettered_at);
    let context = Context {
        routing_key: routing_key.as_deref().unwrap_or(&letter.event_type),
        received: received.unwrap_or(Timestamp::UNIX_EPOCH),
        max_bytes: usize::MAX,
    };
    event::decode(message, context).ok()
}

/// For sentences: they should stay readable.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_OF_JQ)]
}

fn wrong(field: &'static str, said: String) -> FilterError {
    FilterError { field, said }
}

fn ids(field: &'static str, values: &[String]) -> Result<HashSet<String>, FilterError> {
    values
        .iter()
        .map(|value| {
            let id = value.to_ascii_lowercase();
            let said = || format!("{value:?} is no {field}; write the 16 hex digits that name it in the list");
            if is_id(&id) { Ok(id) } else { Err(wrong(field, said())) }
        })
        .collect()
}

fn filled(field: &'static str, values: &[String], what: &str) -> Result<Vec<String>, FilterError> {
    match values.iter().find(|value| value.is_empty()) {
        Some(empty) => Err(wrong(field, format!("{empty:?} is empty; write {what}"))),
        None => Ok(values.to_vec()),
    }
}

/// A time, or a length of time before `now`.
fn moment(field: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, FilterError> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = SpanParser::new().parse_span(text).and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let ago = ago.ok().filter(|ago| *ago >= SignedDuration::ZERO);
    ago.and_then(|ago| now.checked_sub(ago).ok()).ok_or_else(|| {
        let said = "neither a length of time nor a time; write 90m, 2h, 3d or a time as 2026-01-31T12:00:00Z";
        wrong(field, format!("{text:?} is {said}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_may_work_hard_on_some_letters_but_not_on_all() {
        for (stopped, beyond, is_too_much) in
            [(0, 0, false), (2, 0, false), (3, 0, true), (0, WORK_BEYOND, false), (0, WORK_BEYOND + 1, true)]
        {
            let spent = Spent { stopped, beyond, ..Spent::default() };
            assert_eq!(spent.is_too_much().is_some(), is_too_much, "{spent:?}");
        }
    }
}
