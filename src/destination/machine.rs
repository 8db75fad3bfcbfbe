//! What this machine lacks to send requests (files, ports, memory) or to map events (threads). That is nobody else's fault: they wait, and log and
//! status say so.

use std::time::{Duration, Instant};

use super::Driver;
use super::attempt::Purpose;
use crate::backoff::{Backoff, Bounds};
use crate::clock;
use crate::gate::Permit;

/// The pauses after what could not be done: each twice as long as the one before, until it can be.
const PAUSES: Bounds = Bounds::doubling(Duration::from_millis(100), Duration::from_secs(5), 0.0);
/// If there is no room for one more request, the time until the next look.
const FULL: Duration = Duration::from_millis(20);
/// The status shows the lack for this long after the last failure.
const SHOWN: Duration = Duration::from_secs(15);
/// How often the log tells of it.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is known of the machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// When that last failed, and why.
    last: Option<(Instant, String)>,
    until: Option<Instant>,
    backoff: Backoff,
    told: Option<Instant>,
}

impl Default for Machine {
    fn default() -> Self {
        Self { last: None, until: None, backoff: Backoff::new(PAUSES), told: None }
    }
}

impl Machine {
    /// A request could not be sent, or an event not be mapped. True where the log is to be told.
    pub fn failed(&mut self, why: &str, now: Instant) -> bool {
        // Those that were sent together fail together.
        if self.until.is_none_or(|until| until <= now) {
            self.until = Some(now + self.backoff.pause());
        }
        self.last = Some((now, why.to_owned()));
        let tell = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY);
        if tell {
            self.told = Some(now);
        }
        tell
    }

    /// One was.
    pub fn went_well(&mut self) {
        self.backoff.reset();
    }

    /// Until when it is not to be tried; `has_room` for one more now.
    pub fn rests_until(&self, has_room: bool, now: Instant) -> Option<Instant> {
        let full = (!has_room).then(|| now + FULL);
        self.until.filter(|until| *until > now).max(full)
    }

    /// What it lacks, as far as was seen lately.
    pub fn lacks(&self, now: Instant) -> Option<&str> {
        let (at, why) = self.last.as_ref()?;
        (now.saturating_duration_since(*at) < SHOWN).then_some(why)
    }
}

impl Driver {
    /// A request did not leave this machine: that says nothing of the vendor and costs its events nothing.
    pub(super) fn not_sent(&mut self, why: &str, purpose: Purpose, permit: Permit) {
        if self.dispatch.machine.failed(why, clock::now()) {
            tracing::error!(destination = self.settings.name, why, "nothing can be sent now; events wait");
        }
        if let (Purpose::Token, Some(tokens)) = (&purpose, self.side.tokens.get_mut()) {
            tokens.not_sent();
        }
        self.take_back(purpose, permit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_until_a_request_can_be_sent() {
        let (mut machine, mut now) = (Machine::default(), clock::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            machine.failed("no files", now);
            machine.failed("no files", now);
            let until = machine.rests_until(true, now).unwrap();
            pauses.push(until - now);
            now = until;
        }
        assert!(pauses.windows(2).all(|pair| pair[1] == (pair[0] * 2).min(PAUSES.max)), "{pauses:?}");
        assert_eq!(machine.rests_until(true, now), None);
        machine.went_well();
        machine.failed("no files", now);
        assert_eq!(machine.rests_until(true, now), Some(now + PAUSES.first));
    }

    #[test]
    fn it_is_told_once_a_minute_and_shown_for_a_while() {
        let (mut machine, now) = (Machine::default(), clock::now());
        assert!(machine.failed("no files", now));
        assert!(!machine.failed("no files", now + Duration::from_secs(59)));
        assert!(machine.failed("no memory", now + Duration::from_secs(60)));
        assert_eq!(machine.lacks(now + Duration::from_secs(61)), Some("no memory"));
        assert_eq!(machine.lacks(now + Duration::from_secs(60) + SHOWN), None);
    }
}
