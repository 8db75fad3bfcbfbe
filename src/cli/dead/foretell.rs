//! What an act on many letters would do, before it is done.

use std::time::Duration;

use serde_json::json;

use super::act::{Common, How};
use crate::cli::{Error, print, print_json, print_lines};
use crate::dead_letters::acts::Act;
use crate::dead_letters::operation::{Selection, seconds};
use crate::dead_letters::recheck::Rechecked;
use crate::dead_letters::rewrite::{Rewritten, Sample};

/// What was found out while the letters were counted.
pub(super) struct Foretold {
    pub rate: Option<f64>,
    /// Of a replay: whether they would pass.
    pub check: Option<Rechecked>,
    /// Of an edit: what it makes of them.
    pub edit: Option<Rewritten>,
}

impl Foretold {
    /// The same in one line, where there is more than a count.
    pub fn said(&self) -> Option<&str> {
        let check = self.check.as_ref().map(|check| check.sentence.as_str());
        check.or(self.edit.as_ref().map(|edit| edit.sentence.as_str()))
    }

    /// Letters that an edit changes, as diffs.
    pub fn samples(&self) -> &[Sample] {
        self.edit.as_ref().map(|edit| edit.samples.as_slice()).unwrap_or_default()
    }

    /// Whether an edit leaves letters as they are that it should have changed.
    pub fn leaves_some(&self) -> bool {
        self.edit.as_ref().is_some_and(|edit| edit.failed > 0 || edit.invalid > 0)
    }

    /// Tells it in place of doing it. What would not pass is an error, for scripts.
    pub fn tell(&self, args: &Common, how: &How, selection: &Selection) -> Result<(), Error> {
        if args.json {
            let seconds = self.rate.map(|rate| seconds(selection.len(), rate));
            print_json(&json!({
                "act": how.act, "destination": args.destination, "filter": args.filter.to_string(), "dry_run": true,
                "there": selection.seen.there, "selected": selection.len(), "rate": self.rate, "seconds": seconds,
                "trouble": selection.seen.trouble, "check": self.check, "edit": self.edit,
            }))?;
        } else {
            self.samples().iter().try_for_each(|sample| print_lines(&sample.diff))?;
            print(&sentence(args, how, self.rate, selection))?;
            match self.said() {
                Some(said) if !selection.is_empty() || self.edit.is_some() => print(said)?,
                Some(_) | None => {}
            }
            selection.seen.trouble.iter().filter(|_| self.edit.is_none()).try_for_each(|trouble| print(trouble))?;
        }
        match (&self.check, &self.edit) {
            (Some(check), _) if !check.all_pass() => {
                let (invalid, checked) = (check.invalid, check.checked);
                Err(Error::Refused(format!("{invalid} of {checked} letters would be dead letters again")))
            }
            (_, Some(edit)) if self.leaves_some() => {
                let wrong = edit.failed + edit.invalid;
                let letters = if wrong == 1 { "letter" } else { "letters" };
                Err(Error::Refused(format!("the expression does not mend {wrong} {letters}")))
            }
            _ => Ok(()),
        }
    }
}

/// What is to be done.
pub(super) fn sentence(args: &Common, how: &How, rate: Option<f64>, selection: &Selection) -> String {
    let (count, there) = (selection.len(), selection.seen.there);
    let pile = if matches!(how.act, Act::Replay | Act::Edit | Act::Discard) { "" } else { " in the trash" };
    // What an edit leaves as it is matched all the same.
    if count == 0 && how.act != Act::Edit {
        return format!("{}: none of the {there} letters{pile} matches", args.destination);
    }
    let pace = rate.map(|rate| format!(", at {} a second: {}", shown_rate(rate), shown_seconds(seconds(count, rate))));
    let steps: Vec<String> =
        how.steps.iter().filter(|step| u64::from(**step) < count).map(|step| step.to_string()).collect();
    let first = match steps.as_slice() {
        [] => String::new(),
        [one] => format!(", {one} of them first"),
        several => format!(", first {}", several.join(", then ")),
    };
    format!(
        "{}: {} {count} of the {there} letters{pile} that are there now{first}{}",
        args.destination,
        how.act.name(),
        pace.unwrap_or_default()
    )
}

fn shown_seconds(seconds: f64) -> String {
    let rounded = Duration::try_from_secs_f64(seconds.max(1.0).round()).ok();
    let span = rounded.and_then(|rounded| jiff::SignedDuration::try_from(rounded).ok());
    span.map_or_else(|| "for ever".to_owned(), |span| format!("about {span:#}"))
}

fn shown_rate(rate: f64) -> String {
    if rate.fract() == 0.0 { format!("{rate:.0}") } else { format!("{rate:.2}") }
}
