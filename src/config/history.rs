//! `[history]`: whether, and for how long, what became of each event is kept, for `sluice find`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::section::Section;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const KEEP: RangeInclusive<Duration> = HOUR..=DAY.saturating_mul(400);
const KEPT: Duration = DAY.saturating_mul(7);
const MOST_BYTES: RangeInclusive<i64> = 20_000_000..=10_000_000_000_000;
/// Some 12 million outcomes.
const BYTES: u64 = 2_000_000_000;

/// `[history]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How long an outcome is kept.
    pub keep: Duration,
    /// The most that is kept, in bytes at the broker; the oldest go first.
    pub max_bytes: u64,
    /// Whether the event's `subject` is kept too, so that it can be searched for.
    pub subject: bool,
}

impl History {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let keep = section.duration("keep", KEEP).unwrap_or(KEPT);
        let max_bytes = section.count("max_bytes", MOST_BYTES, BYTES);
        let subject = section.boolean("subject").unwrap_or(false);
        Some(Self { keep, max_bytes, subject })
    }
}
