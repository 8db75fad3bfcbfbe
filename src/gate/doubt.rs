//! Refused credentials may be the account's fault, or a firewall's about single events. The requests that follow tell.

use std::time::Instant;

use super::Gate;

/// Whether refused credentials are the account's trouble or that of single events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The vendor takes the credentials: what was refused was refused for its own sake.
    None,
    /// Not known: few events were refused, and none that was sent later was taken. The gate stays open, so that others tell.
    Few,
    /// Not known, and there are no others: it is parked.
    Alone,
    /// It is the account's trouble: it is parked.
    Account,
}

impl Gate {
    /// Whether refused credentials are the account's trouble or that of single events.
    #[must_use]
    pub fn doubt(&self) -> Doubt {
        self.pauses.doubt()
    }

    /// Whether the event of that key was refused, and it is not known yet whether others are.
    #[must_use]
    pub fn doubts(&self, event: u64) -> bool {
        self.pauses.doubts(event)
    }

    /// There are no other events to tell whether the vendor refuses the credentials of all: it is parked, and probed with what was
    /// refused.
    pub fn nothing_else_to_ask(&mut self, now: Instant) {
        self.pauses.nothing_else_to_ask(now);
    }

    /// Where it is parked for that, something else came that can tell: a probe is due now.
    pub fn ask_another(&mut self, now: Instant) {
        self.pauses.ask_another(now);
    }

    /// The credentials were tried on their own, and refused: it is parked.
    pub fn refuses_credentials(&mut self, now: Instant) {
        self.pauses.refuses_credentials(now);
    }

    /// Closes an open gate until another request has told whether the vendor takes any.
    pub fn hold_back(&mut self, why: &str, now: Instant) {
        self.pauses.hold_back(why, now);
    }

    /// The last place that was given to a request.
    #[must_use]
    pub fn last_place(&self) -> u64 {
        self.pauses.last_place()
    }

    /// The last place whose request was taken.
    #[must_use]
    pub fn last_taken(&self) -> u64 {
        self.pauses.last_taken()
    }
}
