//! The limit of each profile key: a request for a key comes in, how long it has to wait goes out.
//! Pure: the time is an argument. Bounded: the profiles that were not heard of for longest are forgotten.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use crate::sandbox::ledger::Second;
use crate::sandbox::limit::{Enforcement, Limit, Limiter};

/// Profiles remembered.
const PROFILES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);

/// The profiles that were heard of.
#[derive(Debug)]
pub(super) struct Profiles {
    limits: Vec<Limit>,
    enforcement: Enforcement,
    known: LruCache<(String, String), Profile>,
    busiest: usize,
}

#[derive(Debug)]
struct Profile {
    limiter: Limiter,
    arrivals: Second,
}

impl Profiles {
    /// No profile yet; each is held to `limits`.
    pub fn new(limits: &[Limit], enforcement: Enforcement) -> Self {
        Self { limits: limits.to_vec(), enforcement, known: LruCache::new(PROFILES), busiest: 0 }
    }

    /// The limiter of a profile that a request arrives for at `now`.
    pub fn arrive(&mut self, keyspace: &str, key: &str, now: Duration) -> &mut Limiter {
        let new = || Profile { limiter: Limiter::new(&self.limits, self.enforcement), arrivals: Second::default() };
        let profile = self.known.get_or_insert_mut((keyspace.to_owned(), key.to_owned()), new);
        profile.arrivals.count(now);
        self.busiest = self.busiest.max(profile.arrivals.most);
        &mut profile.limiter
    }

    /// The most requests for one profile that came in any one second.
    pub fn busiest(&self) -> usize {
        self.busiest
    }

    /// How many profiles are remembered.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Forgets what was counted; limits go on counting.
    pub fn forget(&mut self) {
        self.busiest = 0;
        self.known.iter_mut().for_each(|(_, profile)| profile.arrivals = Second::default());
    }
}
