//! The two classes of events: those that go first, and those that may wait behind them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether an event goes first or may wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Goes first.
    #[default]
    Live,
    /// Goes behind live events.
    Bulk,
}

impl Class {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Live, Self::Bulk];

    /// As people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Bulk => "bulk",
        }
    }

    /// The one that this is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Live => Self::Bulk,
            Self::Bulk => Self::Live,
        }
    }

    /// Bulk where that is so.
    #[must_use]
    pub fn bulk_if(is_bulk: bool) -> Self {
        if is_bulk { Self::Bulk } else { Self::Live }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a class: write \"live\" for events that go first, or \"bulk\" for events that may wait behind them"
)]
pub struct UnknownClass(pub String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|class| class.name() == text).ok_or_else(|| UnknownClass(text.to_owned()))
    }
}
