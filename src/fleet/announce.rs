//! Tells the other workers of this one every two seconds: what it drives, and how that is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Roster;
use crate::broker::Broker;
use crate::clock;
use crate::control::{self, Announcement, Command};
use crate::metrics::Metrics;
use crate::supervisor::Part;

/// How often a worker tells of itself.
pub(super) const ANNOUNCE_EVERY: Duration = Duration::from_secs(2);
/// How often it tells of what has not changed, too.
const ALL_EVERY: Duration = Duration::from_secs(30);

/// What tells the others.
#[derive(Clone, Debug)]
pub struct Announcer {
    broker: Broker,
    roster: Roster,
    metrics: Metrics,
}

/// What was told.
#[derive(Debug, Default)]
struct Before {
    views: BTreeMap<String, Value>,
    all_told: Option<Instant>,
    /// How many workers had joined.
    joined: u64,
}

impl Announcer {
    /// One that tells of `roster`'s destinations; nothing is told yet.
    #[must_use]
    pub fn new(broker: Broker, roster: Roster, metrics: Metrics) -> Self {
        Self { broker, roster, metrics }
    }

    /// What tells, and lets destinations go that are more than this worker's share, until `stop`.
    pub fn part(self, stop: CancellationToken) -> impl Part {
        move || {
            let (announcer, stop) = (self.clone(), stop.clone());
            async move {
                let (mut every, mut before) = (tokio::time::interval(ANNOUNCE_EVERY), Before::default());
                while stop.run_until_cancelled(every.tick()).await.is_some() {
                    let said = announcer.whole(&mut before).await;
                    // A broker that takes nothing for now must not hold up the rest.
                    if !tokio::time::timeout(ANNOUNCE_EVERY, announcer.tell(said)).await.unwrap_or(false) {
                        before = Before::default();
                    }
                    announcer.roster.peers().share_out(clock::now());
                    announcer.show();
                }
                Ok(())
            }
        }
    }

    /// Tells that this worker stops.
    pub async fn last(&self) {
        self.roster.peers().leave();
        self.tell(self.roster.peers().announcement()).await;
    }

    async fn tell(&self, announcement: Announcement) -> bool {
        control::announce(&self.broker, &Command::Announce { announcement }).await
    }

    /// What this worker drives, with the views that are new to some other worker.
    async fn whole(&self, before: &mut Before) -> Announcement {
        let (now, joined) = (clock::now(), self.roster.peers().joined_so_far());
        let is_due = before.all_told.is_none_or(|at| now.saturating_duration_since(at) >= ALL_EVERY);
        if is_due || joined != before.joined {
            *before = Before { views: BTreeMap::new(), all_told: Some(now), joined };
        }
        let mut said = self.roster.peers().announcement();
        before.views.retain(|name, _| said.drives.contains(name));
        for view in self.roster.views(|name| said.drives.contains(name)).await {
            let Ok(shown) = serde_json::to_value(&view) else { continue };
            if before.views.get(&view.name) != Some(&shown) {
                before.views.insert(view.name.clone(), shown.clone());
                said.views.insert(view.name, shown);
            }
        }
        said
    }

    /// Shows how many destinations are driven here, and which are driven nowhere.
    fn show(&self) {
        let driven = self.roster.peers().announcement().drives;
        self.metrics.destinations_driven.set(i64::try_from(driven.len()).unwrap_or(i64::MAX));
        let without_driver = &self.metrics.destination_without_driver;
        without_driver.reset();
        for name in &driven {
            without_driver.with_label_values(&[name]).set(0);
        }
        for name in self.roster.peers().driven_nowhere(clock::now()) {
            without_driver.with_label_values(&[&name]).set(1);
        }
    }
}
