//! What happens in the demo, and when. Pure.

use crate::sandbox::{FaultKind, FaultRule, RetryAfter};

use super::events::webinars::{BACKLOG, FIRST};
use super::events::{BACKLOGGED, TROUBLED};
use super::worker::CALLS;

/// The troubled vendor's API.
const API: &str = "/v1/";

/// Something that happens once a vendor took so many events.
#[derive(Debug)]
pub(super) struct Scene {
    /// The destination whose vendor it is.
    pub destination: &'static str,
    /// So many events.
    pub after: u64,
    /// How it is told.
    pub told: String,
    /// What happens.
    pub act: Act,
}

/// What happens.
#[derive(Debug)]
pub(super) enum Act {
    /// Trouble comes.
    Trouble(Vec<FaultRule>),
    /// The backlog is published.
    Backlog,
    /// The token of the backlogged destination is revoked.
    Revoke,
}

/// Now and then one request fails for no reason: that event is retried.
pub(super) fn hiccups() -> FaultRule {
    FaultRule { share: Some(0.03), count: Some(6), path: path(), ..FaultRule::status(500) }
}

/// All scenes.
pub(super) fn scenes() -> Vec<Scene> {
    let refusing = FaultRule {
        retry_after: Some(RetryAfter::Seconds(5)),
        seconds: Some(4.0),
        path: path(),
        ..FaultRule::status(429)
    };
    let down = FaultRule { seconds: Some(2.5), path: path(), ..FaultRule::status(503) };
    let cut = FaultRule { after: Some(2.5), seconds: Some(2.5), path: path(), ..FaultRule::new(FaultKind::Reset) };
    let scene = |destination, after, told: &str, act| Scene { destination, after, told: told.to_owned(), act };
    let (first, minutes) = (u64::try_from(FIRST).unwrap_or(0), minutes());
    let backlog = format!(
        "{BACKLOG} events come at once for {BACKLOGGED}, whose vendor allows {CALLS} calls a second: one by one they would take {minutes:.0} min"
    );
    vec![
        scene(
            TROUBLED,
            400,
            "the vendor of px answers 429 to everything, with Retry-After: 5",
            Act::Trouble(vec![refusing]),
        ),
        scene(
            TROUBLED,
            1_000,
            "the vendor of px is down for 5 s: first 503s, then cut connections",
            Act::Trouble(vec![down, cut]),
        ),
        scene(BACKLOGGED, first, &backlog, Act::Backlog),
        scene(BACKLOGGED, first + 1_000, "the vendor of acton revokes its token", Act::Revoke),
    ]
}

/// How long the backlog would take in single calls.
pub(super) fn minutes() -> f64 {
    super::figures::float(u64::try_from(BACKLOG).unwrap_or(u64::MAX)) / f64::from(CALLS) / 60.0
}

fn path() -> Option<String> {
    Some(API.to_owned())
}
