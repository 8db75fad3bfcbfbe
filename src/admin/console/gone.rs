//! A letter that is not there any more: what became of it, as far as operations, the audit and the letters that were made from it tell.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::frame::{self, Frame};
use super::show::Moment;
use crate::admin::Admin;
use crate::admin::dead::{PATIENCE, to_its_end};
use crate::admin::problem::Problem;
use crate::audit::{self, Entry};
use crate::clock;
use crate::dead_letters::Pile;
use crate::dead_letters::acts::Act;
use crate::dead_letters::letter::Letter;
use crate::dead_letters::operation::LetterFate;
use crate::record::replay::ReplayOutcome;

/// Entries of the audit that are looked through: the last.
const AUDITED: usize = 1_000;
/// Acts that may have meant the letter: the last.
const MAYBE: usize = 5;

/// Something that was done with it.
struct Done {
    what: String,
    by: String,
    at: Moment,
    /// The operation, where there is a page of it.
    operation: Option<String>,
    outcome: String,
}

/// A letter that was made from it.
struct MadeFrom {
    how: &'static str,
    id: String,
    is_trash: bool,
    sentence: String,
    at: Option<Moment>,
}

#[derive(Template)]
#[template(path = "gone.html")]
struct Page {
    frame: Frame,
    name: String,
    id: String,
    done: Vec<Done>,
    made_from: Vec<MadeFrom>,
    /// Acts on many letters, of which it may have been one.
    maybe: Vec<Done>,
    /// Why the audit could not be read.
    unread: Option<String>,
}

/// The page in its place; `made_from` are the letters that were made from it, in which pile each lies.
pub(super) async fn page(
    admin: &Admin,
    frame: Frame,
    name: String,
    id: String,
    made_from: Vec<(Pile, Letter)>,
) -> Result<Response, Problem> {
    let now = clock::wall();
    let fates = admin.operations.fates_everywhere(&admin.broker, &name, &id).await;
    let (broker, of) = (admin.reachable()?, name.clone());
    let read = async move { Ok(audit::read(&broker, Some(&of), AUDITED, PATIENCE).await?) };
    let (entries, unread) = match to_its_end(read).await {
        Ok(entries) => (entries, None),
        Err(problem) => (Vec::new(), Some(problem.detail().to_owned())),
    };
    let (about, others) = told(&entries, &fates, &id);
    let done: Vec<Done> = fates.iter().map(|fate| Done::of_fate(fate, now)).collect();
    let shown = Page {
        done: done.into_iter().chain(about.into_iter().map(|entry| Done::of_entry(entry, now))).collect(),
        maybe: others.into_iter().map(|entry| Done::of_entry(entry, now)).collect(),
        made_from: made_from.into_iter().map(|(pile, letter)| MadeFrom::of(&letter, pile, &id, now)).collect(),
        unread,
        frame,
        name,
        id,
    };
    Ok((StatusCode::NOT_FOUND, frame::page(&shown)).into_response())
}

/// What the audit says of a letter, the latest first; and where nothing tells of it, the last acts that it may have been in.
fn told<'a>(entries: &'a [Entry], fates: &[LetterFate], id: &str) -> (Vec<&'a Entry>, Vec<&'a Entry>) {
    // An operation's beginning is told by its end, or by what it knows of the letter.
    let is_new = |entry: &&Entry| entry.outcome.is_some() && fates.iter().all(|fate| fate.operation != entry.operation);
    let about: Vec<_> = entries.iter().rev().filter(|entry| mentions(entry, id)).filter(is_new).collect();
    if !about.is_empty() || !fates.is_empty() {
        return (about, Vec::new());
    }
    let acts = [Act::Replay, Act::Edit, Act::Discard, Act::Purge].map(Act::name);
    let acted = |entry: &&Entry| acts.contains(&entry.act.as_str()) && entry.count > 0 && entry.outcome.is_some();
    (about, entries.iter().rev().filter(acted).take(MAYBE).collect())
}

/// Whether an entry is about this letter, or this event, by its id.
fn mentions(entry: &Entry, id: &str) -> bool {
    let is_in = |text: &str| text.split(|c: char| c.is_whitespace() || "=,\"".contains(c)).any(|word| word == id);
    is_in(&entry.filter) || entry.outcome.as_deref().is_some_and(is_in)
}

impl Done {
    fn of_fate(fate: &LetterFate, now: Timestamp) -> Self {
        let outcome = match (fate.act, fate.outcome) {
            (Act::Replay, Some(ReplayOutcome::Delivered)) => "the vendor took it",
            (Act::Replay, Some(ReplayOutcome::Dead)) => "it died again, as another letter",
            (Act::Replay, Some(ReplayOutcome::Retrying)) => "when last heard of, it waited for its next attempt",
            (Act::Replay, None) => "what became of it then has not been heard",
            (Act::Discard, _) => "the trash keeps letters for seven days",
            (Act::Restore, _) => "it was among the dead letters again",
            (Act::Purge, _) => "nothing brings it back",
            (Act::Replay, Some(ReplayOutcome::Suppressed)) => "it was not sent: its person must not be written to",
            (Act::Edit, _) => "another letter is in its place, and the original is in the trash",
        };
        Self {
            what: done(fate.act.name()),
            by: fate.by.clone(),
            at: Moment::of(fate.at, now),
            operation: Some(fate.operation.clone()),
            outcome: outcome.to_owned(),
        }
    }

    fn of_entry(entry: &Entry, now: Timestamp) -> Self {
        Self {
            what: done(&entry.act),
            by: entry.by.clone(),
            at: Moment::of(entry.at, now),
            operation: Act::named(&entry.act).map(|_| entry.operation.clone()),
            outcome: entry.outcome.clone().unwrap_or_default(),
        }
    }
}

/// What an act did, at the beginning of a sentence.
fn done(act: &str) -> String {
    let word = match act {
        "replay" => "Replayed",
        "discard" => "Discarded",
        "restore" => "Restored",
        "purge" => "Deleted for good",
        "edit" => "Edited",
        "export" => "Exported",
        other => other,
    };
    word.to_owned()
}

impl MadeFrom {
    fn of(letter: &Letter, pile: Pile, id: &str, now: Timestamp) -> Self {
        let is_edit = letter.edited_from.as_deref() == Some(id);
        Self {
            how: if is_edit {
                "It was edited: the edited letter is"
            } else {
                "It was replayed and died again, as letter"
            },
            id: letter.id.clone(),
            is_trash: pile == Pile::Trash,
            sentence: letter.sentence.clone(),
            at: Moment::maybe(letter.dead_lettered_at, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(act: &str, filter: &str, outcome: Option<&str>) -> Entry {
        Entry {
            at: Timestamp::UNIX_EPOCH,
            operation: format!("{act}-{filter}"),
            by: "ann".to_owned(),
            place: None,
            destination: "px".to_owned(),
            act: act.to_owned(),
            filter: filter.to_owned(),
            count: 3,
            outcome: outcome.map(str::to_owned),
            mark: None,
        }
    }

    #[test]
    fn the_audit_is_asked_for_a_letter_by_whole_ids() {
        let id = "0123456789abcdef";
        for (filter, outcome, is_about) in [
            ("letter=0123456789abcdef", "done", true),
            ("reason=rejected letter=fedcba9876543210,0123456789abcdef", "done", true),
            ("letter=fedcba9876543210", "edited to 0123456789abcdef", true),
            ("id=\"0123456789abcdef\"", "done", true),
            ("letter=0123456789abcdef0", "done", false),
            ("all", "done", false),
        ] {
            assert_eq!(mentions(&entry("replay", filter, Some(outcome)), id), is_about, "{filter}");
        }
    }

    #[test]
    fn acts_on_many_letters_are_told_where_nothing_tells_of_this_one() {
        let id = "0123456789abcdef";
        let of = |entries: &[Entry], fates: &[LetterFate]| {
            let (about, maybe) = told(entries, fates, id);
            (about.len(), maybe.iter().map(|entry| entry.filter.clone()).collect::<Vec<_>>())
        };
        let many = [
            entry("replay", "all", None),
            entry("replay", "all", Some("done")),
            entry("export", "all", Some("done")),
            entry("pause", "", Some("paused")),
            entry("discard", "type=x", Some("done")),
        ];
        assert_eq!(of(&many, &[]), (0, vec!["type=x".to_owned(), "all".to_owned()]));
        let one = [many[1].clone(), entry("edit", "letter=0123456789abcdef", Some("edited to x"))];
        assert_eq!(of(&one, &[]), (1, vec![]));
        let fate = LetterFate {
            operation: "replay-all".to_owned(),
            act: Act::Replay,
            by: "ann".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            outcome: Some(ReplayOutcome::Delivered),
        };
        assert_eq!(of(&many, std::slice::from_ref(&fate)), (0, vec![]), "the operation itself knows");
        assert_eq!(Done::of_fate(&fate, Timestamp::UNIX_EPOCH).outcome, "the vendor took it");
    }
}
