//! How an operation is, for people and programs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::dead_letters::acts::Act;

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reads the letters, to pin those that are meant.
    Counting,
    /// Sends the canary, and waits for what becomes of it.
    Canary,
    /// At work.
    Working,
    /// Paused by a person.
    Paused,
    /// Everything was sent; waits a moment for what becomes of the last letters.
    Finishing,
    /// Done.
    Done,
    /// Ended because the canary came back, or did not come through.
    Stopped,
    /// Ended by a person.
    Cancelled,
    /// Ended by trouble.
    Failed,
}

impl Phase {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Stopped | Self::Cancelled | Self::Failed)
    }

    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counting => "counting",
            Self::Canary => "canary",
            Self::Working => "working",
            Self::Paused => "paused",
            Self::Finishing => "finishing",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// An operation as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = State)]
pub struct OperationState {
    /// Its id.
    pub id: String,
    /// What it does.
    pub act: Act,
    /// Whose letters.
    pub destination: String,
    /// Which letters; "all" for all that were there.
    pub filter: String,
    /// Who began it.
    pub by: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
    /// Where it is.
    pub phase: Phase,
    /// Letters that were there when it began.
    pub there: u32,
    /// How many of them are meant: these and no others are acted on.
    pub selected: u64,
    /// How many have been acted on.
    pub moved: u64,
    /// Of the replayed: how many the vendor took.
    pub delivered: u64,
    /// Of the replayed: how many died again. They are back, with their history.
    pub dead_again: u64,
    /// Of the replayed: how many were not sent since their person must not be written to.
    #[serde(default)]
    pub suppressed: u64,
    /// Of the replayed: how many wait for another try.
    pub retrying: u64,
    /// How many were not there any more.
    pub missing: u64,
    /// How many could not be acted on, and are still there.
    pub refused: u64,
    /// Letters a second; none where nothing paces it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<f64>,
    /// Letters that went first, or of a ramp those of the step at hand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub canary: Option<u32>,
    /// The steps of a ramp.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub ramp: Vec<u32>,
    /// What those say that died again, most letters first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub deaths: Vec<Death>,
    /// What it waits for, or what went wrong on the way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<String>,
}

/// Why letters died again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeathAgain)]
pub struct Death {
    /// What the first of them says.
    pub sentence: String,
    /// How many letters.
    pub count: u64,
}

/// How long so many letters take at that pace.
#[must_use]
pub fn seconds(letters: u64, rate: f64) -> f64 {
    u32::try_from(letters).map_or(f64::INFINITY, f64::from) / rate
}

impl OperationState {
    /// Letters that are still to be acted on.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.selected.saturating_sub(self.moved + self.missing + self.refused)
    }

    /// Seconds that the rest takes at its pace.
    #[must_use]
    pub fn seconds_left(&self) -> Option<f64> {
        let rate = self.rate.filter(|rate| *rate > 0.0)?;
        Some(seconds(self.left(), rate))
    }
}
