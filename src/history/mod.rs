//! The history: what became of each event, step by step, in the stream `<prefix>.history`. [`step`] says what a step is and how it is written,
//! [`about`] which event it is about, [`recorder`] takes steps and writes them. Never at the cost of a delivery.

pub mod about;
pub mod recorder;
pub mod step;

use std::time::Duration;

use crate::broker::{Names, StreamSettings};

pub use about::About;
pub use recorder::{Recorder, RecorderTask, open};
pub use step::{Step, StepKind};

/// Segments of a stream: old outcomes go a segment at a time, when one is full, so a small one keeps to `keep`.
const SEGMENTS: u64 = 50;
const SMALLEST_SEGMENT: u64 = 500_000;
const LARGEST_SEGMENT: u64 = 8_000_000;

/// The stream, kept for so long and no larger than that.
#[must_use]
pub fn stream(names: &Names, keep: Duration, max_bytes: u64) -> StreamSettings {
    StreamSettings {
        name: names.history(),
        max_age: Some(keep),
        max_bytes: Some(max_bytes),
        segment_bytes: Some((max_bytes / SEGMENTS).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT)),
    }
}
