//! When a request was written: marked by whoever writes it, read by the gate. Values only.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The moment at which a request was handed to the network, once it was. All clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct WrittenAt(Arc<OnceLock<Instant>>);

impl WrittenAt {
    /// The request is written. Only the first moment counts.
    pub fn mark(&self, now: Instant) {
        self.0.get_or_init(|| now);
    }

    /// When it was written; none while it is not.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}
