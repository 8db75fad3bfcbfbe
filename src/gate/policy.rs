//! How a gate treats a vendor. Values only.

use std::time::Duration;

use super::DayStart;
use crate::backoff::Bounds;

/// Each pause varies by this share, so that many destinations do not come back in step.
const JITTER_OF_PAUSES: f64 = 0.25;

/// How a gate treats a vendor, beside its limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Requests in flight at once; 0 is taken as 1. None: as many as the pace needs at the vendor's latency.
    pub concurrency: Option<usize>,
    /// This many rejected events in a row park the destination; 0: never.
    pub park_after_rejections: u32,
    /// The pauses after a 429 that does not say for how long.
    pub refusals: Bounds,
    /// The pauses after trouble.
    pub outages: Bounds,
    /// A call can carry many events, so calls are spared: a day budget is spent evenly, a tenth of it ahead, so that it lasts, and
    /// the places of a small quota are taken until their answers.
    pub carry_much: bool,
    /// When the vendor's day begins, for budgets.
    pub day_starts: DayStart,
}

impl Default for Policy {
    fn default() -> Self {
        let max = Duration::from_secs(60);
        Self {
            concurrency: None,
            park_after_rejections: 20,
            refusals: Bounds::doubling(Duration::from_millis(200), max, JITTER_OF_PAUSES),
            outages: Bounds::doubling(Duration::from_secs(1), max, JITTER_OF_PAUSES),
            carry_much: false,
            day_starts: DayStart::default(),
        }
    }
}
