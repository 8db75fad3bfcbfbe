//! What a letter becomes when it is acted on: the message that goes elsewhere. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::letter::{self, keep_death};
use crate::history::StepKind;
use crate::message::{Field, Message, header};
use crate::record::copy::set_aside;
use crate::record::fit::fit;
use crate::record::history::History;

/// What a letter says of its death, which a replay leaves behind. Its attempts and its links stay.
const OF_ITS_DEATH: [&str; 15] = [
    header::REASON,
    header::SENTENCE,
    header::CAUSE,
    header::FINGERPRINT,
    header::DESTINATION,
    header::EVENT_ID,
    header::EVENT_TYPE,
    header::DEAD_LETTERED_AT,
    header::WORKER,
    header::FIRST_ATTEMPT,
    header::LAST_ATTEMPT,
    header::REPLAYED_BY,
    header::REPLAYED_FROM,
    header::HEADERS_DROPPED,
    header::EDITED_BY,
];
/// What counts attempts and age: both start afresh.
const OF_ITS_AGE: [&str; 2] = [header::RETRIES, header::FAILING_SINCE];
/// What only a letter in the trash has.
const OF_THE_TRASH: [&str; 3] = [header::DISCARDED_AT, header::DISCARDED_BY, header::EDITED_TO];

/// What may be done with many letters at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Back on the destination's queue.
    Replay,
    /// Changed by one expression; the originals go to the trash.
    Edit,
    /// To the trash.
    Discard,
    /// From the trash back to the dead letters.
    Restore,
    /// Out of the trash for good.
    Purge,
}

impl Act {
    /// Everything that may be done.
    pub const ALL: [Self; 5] = [Self::Replay, Self::Edit, Self::Discard, Self::Restore, Self::Purge];

    /// The act of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }

    /// Its name in the audit, the API and the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Edit => "edit",
            Self::Discard => "discard",
            Self::Restore => "restore",
            Self::Purge => "purge",
        }
    }

    /// The step of the history that it is.
    #[must_use]
    pub fn step(self) -> StepKind {
        match self {
            Self::Replay => StepKind::Replayed,
            Self::Edit => StepKind::Edited,
            Self::Discard => StepKind::Discarded,
            Self::Restore => StepKind::Restored,
            Self::Purge => StepKind::Purged,
        }
    }

    /// What has been done with its letters, for sentences.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Edit => "edited",
            Self::Discard => "discarded",
            Self::Restore => "restored",
            Self::Purge => "purged",
        }
    }
}

/// A letter on its way back to its destination, for operation `operation`, whose outcomes go to the queue `outcomes`.
#[must_use]
pub fn replayed(letter: &Message, id: &str, operation: &str, outcomes: &str, now: Timestamp) -> Message {
    let mut letter = letter.clone();
    keep_death(&mut letter);
    let routing_key = letter::routing_key(&letter).unwrap_or_default();
    let history = History::read(&letter, &routing_key, now).afresh();
    remove(&mut letter, &[&OF_ITS_DEATH[..], &OF_ITS_AGE, &OF_THE_TRASH].concat());
    let mut copy = history.write(&letter);
    put(&mut copy, header::REPLAY, operation);
    put(&mut copy, header::REPLAY_OF, id);
    put(&mut copy, header::REPLAY_TO, outcomes);
    fit(&mut copy);
    copy
}

/// A letter on its way to the trash.
#[must_use]
pub fn discarded(letter: &Message, who: &str, now: Timestamp) -> Message {
    let mut copy = moved(letter);
    put(&mut copy, header::DISCARDED_AT, &now.to_string());
    put(&mut copy, header::DISCARDED_BY, who);
    copy
}

/// A letter on its way back from the trash: as it was before.
#[must_use]
pub fn restored(letter: &Message) -> Message {
    let mut copy = moved(letter);
    remove(&mut copy, &OF_THE_TRASH);
    copy
}

/// The same letter, safe to publish, and without what the broker put there for its own use.
fn moved(letter: &Message) -> Message {
    let mut copy = letter.clone();
    keep_death(&mut copy);
    set_aside(&mut copy);
    fit(&mut copy);
    copy
}

pub(super) fn put(message: &mut Message, name: &str, value: &str) {
    message.properties.headers.insert(name.to_owned(), Field::text(value));
}

fn remove(message: &mut Message, names: &[&str]) {
    for name in names {
        message.properties.headers.remove(*name);
    }
}
