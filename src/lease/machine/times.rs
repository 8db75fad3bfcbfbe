//! When something is due.

use std::time::Instant;

use super::{KEEP, Machine, PASS_ON, Place, RENEW, WRITE_EVERY};

impl Machine {
    /// When [`Machine::tick`] is to be called again.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        match self.place {
            Place::Away => self.drives.then(|| self.opened + self.lease * 2),
            Place::Standby if self.drives => Some(self.next_first_note.min(self.opened + self.lease * 2)),
            Place::Standby => Some(self.next_first_note),
            Place::Waiting(until) => Some(until),
            Place::LettingGo(since) => Some(since + self.lease),
            Place::Stuck(since) => Some(since + PASS_ON),
            Place::Holding => {
                let write = match (self.is_unwritten && self.on_the_way.is_empty(), self.is_urgent) {
                    (true, true) => Some(self.published),
                    (true, false) => Some(self.published + WRITE_EVERY),
                    (false, _) => None,
                };
                [self.lost_at(), write, self.renews_at()].into_iter().flatten().min()
            }
        }
    }

    /// When what is to come should have come.
    pub(super) fn lost_at(&self) -> Option<Instant> {
        let confirmed = self.on_the_way.iter().filter_map(|published| published.confirmed);
        confirmed.chain(self.returning.map(|(_, at)| at)).min().map(|since| since + self.lease * 2)
    }

    /// When the latest note here is to be given back. That of the driver before only where the own one takes long to come.
    pub(super) fn renews_at(&self) -> Option<Instant> {
        self.best_in_hand().filter(|_| self.returning.is_none())?;
        let since = self.proof.map_or(self.published, |proof| proof.max(self.published));
        Some(match self.proof {
            Some(proof) if self.wanted => proof + self.lease / RENEW,
            None if self.wanted && self.is_mine => self.published,
            None if self.wanted => self.published + self.lease / RENEW,
            Some(_) | None => since + KEEP,
        })
    }
}
