//! `[retry]`: how long an event waits between attempts, and when it is given up.

use std::time::Duration;

use crate::section::{Section, show_duration};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const MOST_DELAYS: usize = 12;

/// `[retry]`, or a destination's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Waits between attempts, growing; the last repeats. Each is a queue of its own at the broker, so at most 12.
    pub delays: Vec<Duration>,
    /// An event whose first attempt is older than this becomes a dead letter.
    pub max_age: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        let delays = [5, 30, 120, 600, 3600, 21600].map(Duration::from_secs).to_vec();
        Self { delays, max_age: DAY }
    }
}

impl Retry {
    /// Reads the section; what is absent is as in `defaults`.
    pub(super) fn read(section: &mut Section<'_>, defaults: &Self) -> Option<Self> {
        let delays = section.durations("delays", SECOND..=7 * DAY);
        if let Some(mend) = delays.as_deref().and_then(delays_mend) {
            section.problem("delays", mend);
        }
        let max_age = section.duration("max_age", SECOND..=366 * DAY);
        if section.failed() {
            return None;
        }
        let retry = Self {
            delays: delays.unwrap_or_else(|| defaults.delays.clone()),
            max_age: max_age.unwrap_or(defaults.max_age),
        };
        if let Some(first) = retry.delays.first().filter(|first| **first > retry.max_age) {
            let (age, first) = (show_duration(retry.max_age), show_duration(*first));
            section.problem("max_age", format!("{age} is over before the first delay ({first}); make it longer"));
        }
        Some(retry)
    }
}

fn delays_mend(delays: &[Duration]) -> Option<String> {
    if delays.is_empty() || delays.len() > MOST_DELAYS {
        return Some(format!(
            "write 1 to {MOST_DELAYS} delays, as in [\"5s\", \"2m\"]; the last repeats until max_age"
        ));
    }
    if let Some(delay) = delays.iter().find(|delay| delay.subsec_nanos() != 0) {
        return Some(format!("{} is not whole seconds; write \"{}s\"", show_duration(*delay), delay.as_secs()));
    }
    let falling = delays.iter().zip(delays.iter().skip(1)).find(|(earlier, later)| earlier >= later);
    falling.map(|(earlier, later)| {
        let (earlier, later) = (show_duration(*earlier), show_duration(*later));
        format!("{later} follows {earlier}; write each delay once, the shortest first")
    })
}
