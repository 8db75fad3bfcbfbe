//! Many letters changed alike: a jq expression makes each one's new body of its old one. What it cannot change is left as it is, and counted.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::aside::Aside;
use super::causes::{Cause, Causes};
use super::edit::{self, Edit};
use super::letter::Letter;
use super::recheck::{decoded, problem};
use crate::clock;
use crate::config::Destination;
use crate::mapping::{self, Expression, Hard, Input, Measured};
use crate::message::{Field, Message, header};
use crate::record::fingerprint::cause;
use crate::redact;
use crate::threads::{self, Job};

const EXPRESSIONS: Uuid = Uuid::from_u128(0x8a3d_0c57_41be_5f62_b7c9_2e10_d46f_93a5);

/// Changed letters that are shown.
const SAMPLES: usize = 3;
/// The longest diff that is shown, in bytes.
const LONGEST_DIFF: usize = 8 * 1024;
/// Causes that a sentence names.
const NAMED: usize = 3;
/// After so many letters on which the expression had to be stopped a pass ends: it would be stopped on most of the others too.
const MOST_STOPPED: u64 = 3;
/// Units of work that the expression may take on each letter, about, however many there are: a tenth of a millisecond.
const WORK_ON_EACH: u64 = 10_000;
/// What it may take beyond that in a whole pass: about ten seconds.
const WORK_BEYOND: u64 = 1_000_000_000;

/// What makes a letter's new body.
#[derive(Debug)]
pub struct Rewrite {
    jq: Expression,
    /// Its digest.
    mark: String,
    destination: Destination,
    max_bytes: usize,
    /// Letters that would still be invalid are changed too.
    force: bool,
}

/// Why a letter is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Left {
    /// The expression gives the body that is there.
    #[error("the expression changes nothing in it")]
    Unchanged,
    /// This expression made it: a process that was killed had come so far.
    #[error("this expression changed it already")]
    Already,
    /// The expression cannot be evaluated on it.
    #[error("the expression fails on it: {said}")]
    Failed {
        /// What it said.
        said: String,
        /// Whether it was stopped.
        ran_too_long: bool,
    },
    /// What it gives would be a dead letter again before any request.
    #[error("it would still be invalid: {0}")]
    Invalid(String),
}

/// What a rewrite makes of some letters, one by one.
#[derive(Debug)]
pub struct Rewriting {
    rewrite: Arc<Rewrite>,
    changed: u64,
    unchanged: u64,
    already: u64,
    stopped: u64,
    /// Work beyond what each letter may take.
    beyond: u64,
    failed: Causes,
    invalid: Causes,
    samples: Vec<Sample>,
    aside: Aside<(Result<Edited, Left>, u64)>,
}

/// A letter with its new body, not yet put in its place, and why it would still be invalid, where it would.
type Edited = (Edit, Option<String>);

/// A letter that is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RewriteSample)]
pub struct Sample {
    /// The letter's id before.
    pub letter: String,
    /// What changes, as a unified diff of the bodies laid out.
    pub diff: String,
}

/// What a rewrite would make of the letters that are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RewriteForetold)]
pub struct Rewritten {
    /// How many letters would be changed.
    pub changed: u64,
    /// How many the expression leaves as they are, or has changed already: an expression changes no letter twice until that is replayed.
    pub unchanged: u64,
    /// On how many it fails: they are left as they are.
    pub failed: u64,
    /// Why, most letters first; at most 50.
    pub failed_causes: Vec<Cause>,
    /// How many would still be invalid after it: they are left as they are, unless `force` is set.
    pub invalid: u64,
    /// Why, most letters first; at most 50.
    pub invalid_causes: Vec<Cause>,
    /// The first that would be changed, at most 3.
    pub samples: Vec<Sample>,
    /// The counts in one line.
    pub sentence: String,
}

/// The expression takes so long that the pass was ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the jq expression takes too long ({0}); nothing was changed")]
pub struct TooSlow(&'static str);

impl Rewrite {
    /// By that expression; what it gives is checked against `destination`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the expression.
    pub fn compile(jq: &str, destination: Destination, max_bytes: usize, force: bool) -> Result<Self, String> {
        let jq = Expression::compile(jq).map_err(|said| format!("{jq:?} is no jq expression: {said}"))?;
        let mark = Uuid::new_v5(&EXPRESSIONS, jq.text().as_bytes()).simple().to_string()[..16].to_owned();
        Ok(Self { jq, mark, destination, max_bytes, force })
    }

    /// The expression for the audit, e-mail addresses masked.
    #[must_use]
    pub fn shown(&self) -> String {
        redact::masked(self.jq.text(), &[])
    }

    /// A letter's new body.
    ///
    /// # Errors
    /// Why there is none.
    pub fn body(&self, letter: &Message, now: Timestamp) -> Result<Bytes, Left> {
        self.measured(letter, now, &mut 0)
    }

    /// The same; adds the work that it took to `spent`.
    fn measured(&self, letter: &Message, now: Timestamp, spent: &mut u64) -> Result<Bytes, Left> {
        let failed = |said: String, ran_too_long: bool| Left::Failed { said, ran_too_long };
        let event = decoded(letter, usize::MAX, now).ok();
        let input = Input::of_body(&letter.body, event.as_ref()).map_err(|said| failed(said, false))?;
        let Measured { result, ran_too_long, work } = self.jq.measured_json(&input);
        *spent += work;
        let text = result.map_err(|said| failed(said, ran_too_long))?;
        let text = text.ok_or_else(|| failed("it gives nothing, or null".to_owned(), false))?;
        if input.unchanged().as_ref() == Some(&text) { Err(Left::Unchanged) } else { Ok(Bytes::from(text)) }
    }

    /// A letter with its new body.
    ///
    /// # Errors
    /// Why it is left as it is.
    pub(super) fn edit(&self, letter: &Message, now: Timestamp, spent: &mut u64) -> Result<Edited, Left> {
        if letter.properties.headers.get(header::EDITED_BY).and_then(Field::as_str) == Some(self.mark.as_str()) {
            return Err(Left::Already);
        }
        let mut edit = Edit::unshown(letter, self.measured(letter, now, spent)?, &self.destination.name);
        edit.mark(&self.mark);
        match problem(edit.edited(), &self.destination, self.max_bytes, now) {
            Some(problem) if !self.force => Err(Left::Invalid(problem)),
            problem => Ok((edit, problem)),
        }
    }
}

impl Rewrite {
    /// The same, and the work that it was.
    fn measured_edit(&self, letter: &Message) -> (Result<Edited, Left>, u64) {
        let mut work = 0;
        (self.edit(letter, clock::wall(), &mut work), work)
    }

    /// A letter with its new body, made without holding up a thread of the runtime.
    ///
    /// # Errors
    /// Why it is left as it is.
    pub(super) async fn edit_beside(self: &Arc<Self>, letter: &Message) -> Result<Edit, Left> {
        let (edited, _) = match mapping::easily(|| self.measured_edit(letter)) {
            Ok(edited) => edited,
            Err(Hard) => {
                let (rewrite, letter) = (Arc::clone(self), letter.clone());
                let edited = threads::beside(move || rewrite.measured_edit(&letter)).await;
                edited.map_err(|lack| Left::failed(lack.to_string()))?.ok_or_else(Left::broken)?
            }
        };
        edited.map(|(edit, _)| edit)
    }
}

impl Left {
    fn failed(said: String) -> Self {
        Self::Failed { said, ran_too_long: false }
    }

    fn broken() -> Self {
        Self::failed("Sluice failed on this letter; this is a bug in Sluice".to_owned())
    }
}

impl Rewriting {
    /// Of no letters yet.
    #[must_use]
    pub fn new(rewrite: Arc<Rewrite>) -> Self {
        Self {
            rewrite,
            changed: 0,
            unchanged: 0,
            already: 0,
            stopped: 0,
            beyond: 0,
            failed: Causes::default(),
            invalid: Causes::default(),
            samples: Vec::new(),
            aside: Aside::default(),
        }
    }

    /// A pass begins, maybe once more: what was seen before counts no more.
    pub fn anew(&mut self) {
        *self = Self::new(Arc::clone(&self.rewrite));
    }

    /// The next letter, and the message that it is: whether it is to be changed, or [`TooSlow`] where the pass should end.
    ///
    /// # Errors
    /// What is to be done before it is added once more: the expression is hard.
    pub fn add(&mut self, letter: &Letter, message: &Message) -> Result<Result<bool, TooSlow>, Job> {
        let rewrite = &self.rewrite;
        let elsewhere = || {
            let (rewrite, message) = (Arc::clone(rewrite), message.clone());
            move || rewrite.measured_edit(&message)
        };
        let found = self.aside.find(|| rewrite.measured_edit(message), elsewhere)?;
        let (edited, work) = found.unwrap_or_else(|| (Err(Left::broken()), 0));
        Ok(self.take_in((letter, message), edited, work))
    }

    fn take_in(
        &mut self,
        (letter, message): (&Letter, &Message),
        edited: Result<Edited, Left>,
        work: u64,
    ) -> Result<bool, TooSlow> {
        self.beyond += work.saturating_sub(WORK_ON_EACH);
        let is_changed = edited.is_ok();
        match edited {
            Ok((edit, problem)) => {
                self.changed += 1;
                if let Some(problem) = problem {
                    self.invalid.add(&problem, cause(&problem, message), &letter.id);
                }
                if self.samples.len() < SAMPLES {
                    self.samples.push(sample(letter, message, &edit));
                }
            }
            Err(Left::Unchanged) => self.unchanged += 1,
            Err(Left::Already) => self.already += 1,
            Err(Left::Invalid(said)) => self.invalid.add(&said, cause(&said, message), &letter.id),
            Err(Left::Failed { said, ran_too_long }) => {
                self.stopped += u64::from(ran_too_long);
                self.failed.add(&said, cause(&said, message), &letter.id);
            }
        }
        match (self.stopped, self.beyond) {
            (MOST_STOPPED.., _) => Err(TooSlow("it had to be stopped on three letters")),
            (_, beyond) if beyond > WORK_BEYOND => Err(TooSlow("on each letter it ends, but not soon")),
            _ => Ok(is_changed),
        }
    }

    /// What came out.
    #[must_use]
    pub fn finish(&self) -> Rewritten {
        Rewritten {
            changed: self.changed,
            unchanged: self.unchanged + self.already,
            failed: self.failed.letters(),
            failed_causes: self.failed.sorted(),
            invalid: self.invalid.letters(),
            invalid_causes: self.invalid.sorted(),
            samples: self.samples.clone(),
            sentence: self.said(),
        }
    }

    /// What is left as it is and why; nothing where nothing is.
    #[must_use]
    pub fn left(&self) -> Option<String> {
        let mut parts = Vec::new();
        let invalid = if self.rewrite.force { 0 } else { self.invalid.letters() };
        if self.failed.letters() > 0 {
            parts.push(format!("the expression fails on {}: {}", self.failed.letters(), self.failed.said(NAMED)));
        }
        if invalid > 0 {
            parts.push(format!("{invalid} would still be invalid: {}", self.invalid.said(NAMED)));
        }
        if self.unchanged > 0 {
            parts.push(format!("it changes nothing in {}", self.unchanged));
        }
        if self.already > 0 {
            parts.push(format!("it changed {} already", self.already));
        }
        let left = self.failed.letters() + invalid + self.unchanged + self.already;
        let are = if left == 1 { "is left as it is" } else { "are left as they are" };
        (left > 0).then(|| format!("{left} {are}: {}", parts.join("; ")))
    }

    fn said(&self) -> String {
        let forced = (self.rewrite.force && self.invalid.letters() > 0).then(|| {
            format!("{} of them would still be invalid: {}", self.invalid.letters(), self.invalid.said(NAMED))
        });
        let letters = if self.changed == 1 { "letter" } else { "letters" };
        let parts = [Some(format!("{} {letters} would be changed", self.changed)), forced, self.left()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// What changes in a letter, laid out for the eye.
fn sample(letter: &Letter, message: &Message, edit: &Edit) -> Sample {
    let (before, after) = (String::from_utf8_lossy(&message.body), String::from_utf8_lossy(&edit.edited().body));
    let mut diff = edit::diff_laid_out(&before, &after, &letter.id, &edit.to.id);
    if diff.len() > LONGEST_DIFF {
        diff.truncate(diff.floor_char_boundary(LONGEST_DIFF));
        diff.push_str("\n…\n");
    }
    Sample { letter: letter.id.clone(), diff }
}
