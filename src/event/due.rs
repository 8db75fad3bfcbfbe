//! How far ahead an event may say that it is to be sent. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::Event;

/// That far ahead an event may be scheduled; and by so much a producer's clock may be ahead.
const FURTHEST: Duration = Duration::from_hours(30 * 24);
const CLOCKS: Duration = Duration::from_mins(5);

/// Why an event may not be scheduled as its `deliverafter` says, where that is too far ahead.
#[must_use]
pub fn too_far(event: &Event, wall: Timestamp) -> Option<String> {
    let furthest = wall.checked_add(FURTHEST + CLOCKS).unwrap_or(Timestamp::MAX);
    let at = event.not_before.filter(|at| at.timestamp() > furthest)?;
    Some(format!("the attribute \"deliverafter\" is {at}, over 30 days ahead; publish the event later"))
}
