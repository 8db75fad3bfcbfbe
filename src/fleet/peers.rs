//! The workers on one broker: who is there, who drives what, and which destinations one that has more than its share lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::control::Announcement;
use crate::destination::{Elsewhere, Hindrance, Told};
use crate::lease::Owner;
use crate::metrics::Shows;

/// One that has not been heard for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(7);
/// One that has just been heard for the first time has not had its turn yet.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Between two times that destinations are let go.
const LET_GO_EVERY: Duration = Duration::from_secs(5);

/// What is known of all workers. Cheap to clone; always current.
#[derive(Clone, Debug)]
pub struct Peers {
    me: Owner,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// This worker's destinations, each with whether it is driven here and what has it let go.
    mine: BTreeMap<String, (bool, Arc<Notify>)>,
    /// Those that this worker cannot drive, with why.
    hindered: BTreeMap<String, Hindrance>,
    others: BTreeMap<uuid::Uuid, Peer>,
    /// When this worker last heard of itself: then it hears the others too.
    heard_itself: Option<Instant>,
    /// How many others have ever been heard for the first time.
    joined: u64,
    let_go: Option<Instant>,
    leaves: bool,
}

#[derive(Debug)]
struct Peer {
    worker: Owner,
    drives: BTreeSet<String>,
    hindered: BTreeMap<String, Hindrance>,
    told: BTreeMap<String, Told>,
    first: Instant,
    last: Instant,
}

/// What people call this process: its host and its number there.
#[must_use]
pub fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}

impl Peers {
    /// Nobody else is known yet.
    #[must_use]
    pub fn new(me: Owner) -> Self {
        Self { me, known: Arc::default() }
    }

    /// Those of this process, which has an id of its own, and host and process for people.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::new(Owner { id: uuid::Uuid::new_v4(), name: worker_name() })
    }

    /// This worker.
    #[must_use]
    pub fn me(&self) -> &Owner {
        &self.me
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A destination is one of this worker's; notified when it is to be let go.
    pub(super) fn joined(&self, name: &str) -> Arc<Notify> {
        let let_go = Arc::<Notify>::default();
        self.known().mine.insert(name.to_owned(), (false, Arc::clone(&let_go)));
        let_go
    }

    /// A destination is not this worker's any more.
    pub(super) fn left(&self, name: &str) {
        let mut known = self.known();
        known.mine.remove(name);
        known.hindered.remove(name);
    }

    /// What keeps this worker from driving a destination, or that nothing does.
    pub(super) fn hindered(&self, name: &str, why: Option<Hindrance>) {
        let mut known = self.known();
        match why {
            Some(why) => drop(known.hindered.insert(name.to_owned(), why)),
            None => drop(known.hindered.remove(name)),
        }
    }

    /// Why nobody drives it, as this worker or another found out that tried.
    #[must_use]
    pub fn why_nobody(&self, name: &str, now: Instant) -> Option<Hindrance> {
        let known = self.known();
        let others = known.live(now).map(|(_, peer)| (&peer.worker.name, peer.hindered.get(name)));
        let mut told = [(&self.me.name, known.hindered.get(name))].into_iter().chain(others);
        told.find_map(|(worker, hindrance)| {
            let Hindrance { why, lasts } = hindrance?;
            Some(Hindrance { why: format!("{why} ({worker})"), lasts: *lasts })
        })
    }

    /// Whether a destination is driven here.
    pub(super) fn drives(&self, name: &str, drives: bool) {
        if let Some(mine) = self.known().mine.get_mut(name) {
            mine.0 = drives;
        }
    }

    /// This worker stops.
    pub fn leave(&self) {
        self.known().leaves = true;
    }

    /// What to tell the others.
    #[must_use]
    pub fn announcement(&self) -> Announcement {
        let known = self.known();
        let drives = known.driven();
        Announcement {
            worker: self.me.clone(),
            drives,
            destinations: known.mine.len(),
            views: BTreeMap::new(),
            hindered: known.hindered.iter().map(|(name, one)| (name.clone(), one.why.clone())).collect(),
            stuck: known.hindered.iter().filter(|(_, one)| one.lasts).map(|(name, _)| name.clone()).collect(),
            leaves: known.leaves,
        }
    }

    /// Another worker, or this one, told of itself.
    pub fn heard(&self, said: Announcement, now: Instant, wall: Timestamp) {
        let mut known = self.known();
        if said.worker.id == self.me.id {
            known.heard_itself = Some(now);
            return;
        }
        if said.leaves {
            known.others.remove(&said.worker.id);
            return;
        }
        if !known.others.contains_key(&said.worker.id) {
            known.joined += 1;
        }
        let Announcement { worker, drives, views, hindered, stuck, .. } = said;
        let hindered = hindered.into_iter().map(|(name, why)| {
            let lasts = stuck.contains(&name);
            (name, Hindrance { why, lasts })
        });
        let hindered = hindered.collect();
        let peer = known.others.entry(worker.id).or_insert_with(|| Peer {
            worker,
            drives: BTreeSet::new(),
            hindered: BTreeMap::new(),
            told: BTreeMap::new(),
            first: now,
            last: now,
        });
        peer.told.retain(|name, _| drives.contains(name));
        for told in peer.told.values_mut() {
            // What is left out has not changed.
            (told.at, told.wall) = (now, wall);
        }
        for (name, view) in views {
            match serde_json::from_value(view) {
                Ok(view) => drop(peer.told.insert(name, Told { view, at: now, wall })),
                // It is of another version.
                Err(_) => drop(peer.told.remove(&name)),
            }
        }
        (peer.drives, peer.hindered, peer.last) = (drives, hindered, now);
    }

    /// The workers that are there, this one too, as far as was heard lately.
    #[must_use]
    pub fn names(&self, now: Instant) -> BTreeSet<String> {
        let known = self.known();
        let others = known.live(now).map(|(_, peer)| peer.worker.name.clone());
        others.chain([self.me.name.clone()]).collect()
    }

    /// How many other workers were heard for the first time so far.
    pub(super) fn joined_so_far(&self) -> u64 {
        self.known().joined
    }

    /// Who else drives it, as far as was heard lately, and what that one tells.
    #[must_use]
    pub fn elsewhere(&self, name: &str, now: Instant) -> Option<Elsewhere> {
        let known = self.known();
        let peer = known.driver_of(name, now)?;
        Some(Elsewhere { driver: peer.worker.name.clone(), told: peer.told.get(name).cloned() })
    }

    /// Whether this worker drives it.
    #[must_use]
    pub fn drives_here(&self, name: &str) -> bool {
        self.known().mine.get(name).is_some_and(|(drives, _)| *drives)
    }

    /// Whether another worker drives it.
    #[must_use]
    pub fn is_driven_elsewhere(&self, name: &str, now: Instant) -> bool {
        self.known().driver_of(name, now).is_some()
    }

    /// This worker's destinations that nobody drives, as far as it knows; none where it hears of nobody.
    #[must_use]
    pub fn driven_nowhere(&self, now: Instant) -> Vec<String> {
        let known = self.known();
        if !known.hears(now) {
            return Vec::new();
        }
        let idle = known.mine.iter().filter(|(_, (drives, _))| !drives).map(|(name, _)| name);
        idle.filter(|name| known.driver_of(name, now).is_none()).cloned().collect()
    }

    /// What this worker shows in its metrics. Of all workers that are heard, the first by id shows what all know.
    #[must_use]
    pub fn shows(&self, now: Instant) -> Shows {
        let known = self.known();
        let destinations = known.driven();
        let shared = known.hears(now) && !known.live(now).any(|(id, _)| *id < self.me.id);
        Shows { destinations, shared }
    }

    /// Has destinations let go that are more than this worker's share; returns how many.
    pub fn share_out(&self, now: Instant) -> usize {
        let mut known = self.known();
        if !known.hears(now) {
            return 0;
        }
        known.others.retain(|_, peer| now.saturating_duration_since(peer.last) < GONE_AFTER);
        if known.leaves || known.let_go.is_some_and(|last| now.saturating_duration_since(last) < LET_GO_EVERY) {
            return 0;
        }
        let settled = known.others.values().filter(|peer| now.saturating_duration_since(peer.first) >= SETTLED_AFTER);
        let driven: Vec<usize> = settled.map(|peer| peer.drives.len()).collect();
        let mine: Vec<&(bool, Arc<Notify>)> = known.mine.values().filter(|(drives, _)| *drives).collect();
        let surplus = surplus(mine.len(), known.mine.len(), &driven);
        // The first by name have been here longest as often as not: the last ones go.
        for (_, let_go) in mine.iter().rev().take(surplus) {
            let_go.notify_one();
        }
        if surplus > 0 {
            known.let_go = Some(now);
        }
        surplus
    }
}

impl Known {
    /// What this worker drives.
    fn driven(&self) -> BTreeSet<String> {
        self.mine.iter().filter(|(_, (drives, _))| *drives).map(|(name, _)| name.clone()).collect()
    }

    /// The other worker that drives it.
    fn driver_of(&self, name: &str, now: Instant) -> Option<&Peer> {
        self.live(now).map(|(_, peer)| peer).find(|peer| peer.drives.contains(name))
    }

    /// Whether announcements arrive here.
    fn hears(&self, now: Instant) -> bool {
        self.heard_itself.is_some_and(|at| now.saturating_duration_since(at) < GONE_AFTER)
    }

    /// The other workers that are there. Where no announcement arrives, as in an alarm of the broker, those that were there before.
    fn live(&self, now: Instant) -> impl Iterator<Item = (&uuid::Uuid, &Peer)> {
        let now = if self.hears(now) { now } else { self.heard_itself.unwrap_or(now) };
        self.others.iter().filter(move |(_, peer)| now.saturating_duration_since(peer.last) < GONE_AFTER)
    }
}

/// How many of `mine` are more than a share of `all`, where others drive so many: no more than those have room for.
fn surplus(mine: usize, all: usize, others: &[usize]) -> usize {
    let share = all.div_ceil(others.len() + 1);
    let room: usize = others.iter().map(|drives| share.saturating_sub(*drives)).sum();
    mine.saturating_sub(share).min(room)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn owner(id: u128) -> Owner {
        Owner { id: Uuid::from_u128(id), name: format!("pod-{id}") }
    }

    fn peers(destinations: usize) -> (Peers, Vec<Arc<Notify>>) {
        let peers = Peers::new(owner(1));
        let let_go = (0..destinations).map(|n| {
            let let_go = peers.joined(&format!("d{n:03}"));
            peers.drives(&format!("d{n:03}"), true);
            let_go
        });
        let let_go = let_go.collect();
        (peers, let_go)
    }

    fn announce(id: u128, drives: &[&str]) -> Announcement {
        let drives = drives.iter().map(|name| (*name).to_owned()).collect();
        Announcement {
            worker: owner(id),
            drives,
            destinations: 3,
            views: BTreeMap::new(),
            hindered: BTreeMap::new(),
            stuck: BTreeSet::new(),
            leaves: false,
        }
    }

    #[test]
    fn a_share_is_an_equal_part_and_no_more_goes_than_others_have_room_for() {
        assert_eq!(surplus(200, 200, &[0, 0]), 133);
        assert_eq!(surplus(67, 200, &[67, 66]), 0);
        assert_eq!(surplus(100, 200, &[67, 33]), 33);
        assert_eq!(surplus(5, 5, &[]), 0);
        assert_eq!(surplus(2, 3, &[1, 0]), 1);
        assert_eq!(surplus(1, 1, &[0, 0]), 0);
    }

    #[test]
    fn who_has_just_come_gets_its_share_after_a_moment_and_who_is_gone_counts_no_more() {
        let (peers, now) = (peers(3).0, crate::clock::now());
        assert_eq!(peers.share_out(now), 0);
        peers.heard(announce(2, &[]), now, Timestamp::UNIX_EPOCH);
        assert_eq!(peers.share_out(now), 0, "it has just come");
        peers.heard(announce(2, &[]), now + SETTLED_AFTER, Timestamp::UNIX_EPOCH);
        assert_eq!(peers.share_out(now + SETTLED_AFTER), 0, "it does not hear itself: it may be cut off");
        peers.heard(announce(1, &[]), now + SETTLED_AFTER, Timestamp::UNIX_EPOCH);
        assert_eq!(peers.share_out(now + SETTLED_AFTER), 1);
        assert_eq!(peers.share_out(now + SETTLED_AFTER), 0, "those have to arrive first");
        assert_eq!(peers.share_out(now + SETTLED_AFTER + GONE_AFTER), 0);
    }

    #[test]
    fn why_nobody_drives_is_known_from_whichever_worker_tried() {
        let (peers, now) = (peers(0).0, crate::clock::now());
        let told = || peers.why_nobody("px", now).map(|one| (one.why, one.lasts));
        let (hindered, stuck) = ([("px".to_owned(), "it is no note".to_owned())].into(), ["px".to_owned()].into());
        peers.heard(Announcement { hindered, stuck, ..announce(2, &[]) }, now, Timestamp::UNIX_EPOCH);
        assert_eq!(told(), Some(("it is no note (pod-2)".to_owned(), true)));
        peers.hindered("px", Some(Hindrance { why: "no queue \"sluice.px\"".to_owned(), lasts: false }));
        assert_eq!(told(), Some(("no queue \"sluice.px\" (pod-1)".to_owned(), false)));
        let Announcement { hindered, stuck, .. } = peers.announcement();
        assert_eq!((hindered.len(), stuck.len()), (1, 0));
        peers.hindered("px", None);
        peers.heard(announce(2, &[]), now, Timestamp::UNIX_EPOCH);
        assert_eq!(peers.why_nobody("px", now), None);
    }

    #[test]
    fn who_drives_is_known_until_it_leaves_or_is_not_heard_any_more() {
        let (peers, now) = (peers(0).0, crate::clock::now());
        peers.heard(announce(1, &[]), now, Timestamp::UNIX_EPOCH);
        peers.heard(announce(2, &["px"]), now, Timestamp::UNIX_EPOCH);
        assert_eq!(peers.elsewhere("px", now).map(|elsewhere| elsewhere.driver), Some("pod-2".to_owned()));
        assert!(peers.is_driven_elsewhere("px", now + GONE_AFTER * 9), "as far as it knew when it last heard anything");
        peers.heard(announce(1, &[]), now + GONE_AFTER, Timestamp::UNIX_EPOCH);
        assert!(!peers.is_driven_elsewhere("px", now + GONE_AFTER));
        peers.heard(Announcement { leaves: true, ..announce(2, &["px"]) }, now, Timestamp::UNIX_EPOCH);
        assert!(!peers.is_driven_elsewhere("px", now));
    }
}
