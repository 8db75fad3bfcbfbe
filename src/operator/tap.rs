//! Outcomes sent to whoever watches a destination, for as long as they ask for them. Every worker that has the destination looks: so it goes on
//! when another one drives it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use uuid::Uuid;

use super::Later;
use crate::broker::ControlMessage;
use crate::clock;
use crate::destination::tap::{Outcomes, TapReply};
use crate::fleet::Roster;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);
/// Who has not asked for so long watches no more.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// Those who watch at once in this worker: whoever comes after them gets no answer.
const MOST: usize = 32;

/// Who watches, and until when unless they ask again. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Taps(Arc<Mutex<BTreeMap<Uuid, Instant>>>);

impl Taps {
    /// Answers how things are here. What goes on are the outcomes, where it is the first time that they are asked for.
    pub async fn answer(&self, roster: &Roster, message: &ControlMessage, destination: String, tap: Uuid) -> Later {
        roster.get(&destination)?;
        let is_new = self.lasts(tap, clock::now())?;
        if !send(roster, message, &destination, Outcomes::default()).await {
            self.ends(tap);
            return None;
        }
        let (taps, roster, message) = (self.clone(), roster.clone(), message.clone());
        let watched = async move {
            taps.watch(&roster, &message, &destination, tap).await;
            taps.ends(tap);
        };
        is_new.then(|| watched.boxed())
    }

    async fn watch(&self, roster: &Roster, message: &ControlMessage, destination: &str, tap: Uuid) {
        let mut since = None;
        while self.is_wanted(tap, clock::now()) {
            // Between two of its tasks, as in a reload, it has no outcomes.
            if let Some(handle) = roster.get(destination)
                && let Ok(outcomes) = handle.tap(since).await
            {
                since = Some(outcomes.until);
                let is_news = outcomes.missed > 0 || !outcomes.outcomes.is_empty();
                if is_news && !send(roster, message, destination, outcomes).await {
                    return;
                }
            }
            clock::sleep(EVERY).await;
        }
    }

    /// Whoever it is watches for a while; says whether for the first time. None where too many do.
    fn lasts(&self, tap: Uuid, now: Instant) -> Option<bool> {
        let mut taps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taps.len() >= MOST && !taps.contains_key(&tap) {
            return None;
        }
        Some(taps.insert(tap, now + ASKED_WITHIN).is_none())
    }

    fn is_wanted(&self, tap: Uuid, now: Instant) -> bool {
        let taps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taps.get(&tap).is_some_and(|until| now < *until)
    }

    fn ends(&self, tap: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&tap);
    }
}

/// False where nobody takes them any more.
async fn send(roster: &Roster, message: &ControlMessage, destination: &str, outcomes: Outcomes) -> bool {
    let Outcomes { missed, outcomes, .. } = outcomes;
    let (worker, drives) = (roster.peers().me().name.clone(), roster.peers().drives_here(destination));
    let reply = TapReply { worker, drives, missed, outcomes };
    let Ok(body) = serde_json::to_vec(&reply) else { return false };
    message.reply(body.into()).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_goes_on_watching_and_who_does_not_is_forgotten() {
        let (taps, now, tap) = (Taps::default(), clock::now(), Uuid::new_v4());
        assert_eq!(taps.lasts(tap, now), Some(true));
        assert_eq!(taps.lasts(tap, now + ASKED_WITHIN / 2), Some(false));
        assert!(taps.is_wanted(tap, now + ASKED_WITHIN));
        assert!(!taps.is_wanted(tap, now + ASKED_WITHIN * 2));
        taps.ends(tap);
        assert_eq!(taps.lasts(tap, now), Some(true));
        (1..MOST).for_each(|_| assert_eq!(taps.lasts(Uuid::new_v4(), now), Some(true)));
        assert_eq!(taps.lasts(Uuid::new_v4(), now), None, "so many and no more");
        assert_eq!(taps.lasts(tap, now), Some(false));
    }
}
