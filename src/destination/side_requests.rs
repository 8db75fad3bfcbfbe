//! Requests that carry no events: for access tokens, for what has to be looked up, about jobs.

use std::time::Instant;

use jiff::Timestamp;

use super::jobs::Jobs;
use super::lookups::Lookups;
use super::tokens::AccessTokens;
use crate::config;
use crate::delivery::token::Stored;

/// The requests to the vendor that carry no events.
pub(super) struct SideRequests {
    pub tokens: AccessTokens,
    pub lookups: Lookups,
    pub jobs: Jobs,
}

impl SideRequests {
    /// Goes on with the tokens that the driver before this one left.
    pub fn new(settings: &config::Destination, before: Option<Stored>, now: Instant, wall: Timestamp) -> Self {
        Self {
            tokens: AccessTokens::new(settings, before, now, wall),
            lookups: Lookups::default(),
            jobs: Jobs::default(),
        }
    }

    /// When one should be asked.
    pub fn next(&self) -> Option<Instant> {
        [self.jobs.next(), self.lookups.next()].into_iter().flatten().min()
    }
}
