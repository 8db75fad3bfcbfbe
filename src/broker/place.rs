//! The node that a worker works at: its connections begin at the same one, and leave it together where it is cut off from the others. Such a
//! node goes on serving its clients, but nothing comes of what is asked of its queues.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

/// A node is left where no note comes back for so long; after twice as long each time in vain, since the next may be no better.
const SILENT_AFTER: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);

/// Shared by the connections of a worker.
#[derive(Debug)]
pub(super) struct Place {
    /// How many nodes there are.
    nodes: usize,
    state: watch::Sender<State>,
    left: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// Where the leases are, or where to begin.
    at: usize,
    /// Since when a note is to come back and none has come.
    asked: Option<Instant>,
    patience: Duration,
}

impl Place {
    /// Any of so many nodes.
    pub(super) fn new(nodes: usize) -> Self {
        let at = fastrand::usize(..nodes.max(1));
        let state = watch::channel(State { at, asked: None, patience: SILENT_AFTER }).0;
        Self { nodes: nodes.max(1), state, left: watch::channel(()).0 }
    }

    /// The node behind which to look for one: the worker's own is tried first, but for one that was just lost.
    pub(super) fn behind(&self, lost: Option<usize>) -> usize {
        let at = self.state.borrow().at;
        if lost == Some(at) { at } else { (at + self.nodes - 1) % self.nodes }
    }

    /// The leases are there now.
    pub(super) fn arrived(&self, node: usize) {
        self.state.send_modify(|state| (state.at, state.asked) = (node, None));
    }

    /// A note was given back, and is to come again.
    pub(super) fn asked(&self, now: Instant) {
        self.state.send_modify(|state| state.asked = state.asked.or(Some(now)));
    }

    /// A note came: the node's queues answer.
    pub(super) fn heard(&self) {
        self.state.send_modify(|state| (state.asked, state.patience) = (None, SILENT_AFTER));
    }

    /// None is waited for any more.
    pub(super) fn forget(&self) {
        self.state.send_modify(|state| state.asked = None);
    }

    /// Returns when the node is to be left; never where there is no other.
    pub(super) async fn silent(&self) {
        let mut changed = self.state.subscribe();
        loop {
            let due = self.silent_at();
            tokio::select! {
                () = wait_until(due) => return,
                // Its sender is here.
                _ = changed.changed() => {}
            }
        }
    }

    fn silent_at(&self) -> Option<Instant> {
        let state = self.state.borrow();
        state.asked.filter(|_| self.nodes > 1).map(|asked| asked + state.patience)
    }

    /// Has all connections leave the node for the one behind it.
    pub(super) fn leave(&self) {
        self.state.send_modify(|state| {
            state.at = (state.at + 1) % self.nodes;
            (state.asked, state.patience) = (None, (state.patience * 2).min(LONGEST));
        });
        self.left.send_replace(());
    }

    /// Tells whoever has a connection that the node is left.
    pub(super) fn leaving(&self) -> watch::Receiver<()> {
        self.left.subscribe()
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => clock::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn connections_begin_at_the_same_node_and_go_on_at_the_one_behind_it() {
        let place = Place::new(3);
        place.arrived(1);
        assert_eq!((place.behind(None), place.behind(Some(2))), (0, 0), "at the worker's own");
        assert_eq!(place.behind(Some(1)), 1, "at the one behind it");
        place.leave();
        assert_eq!((place.behind(Some(1)), place.behind(Some(0))), (1, 1), "all go to the next");
    }

    #[test]
    fn a_node_is_left_when_no_note_comes_and_ever_more_slowly() {
        let now = clock::now();
        let place = Place::new(3);
        assert_eq!(place.silent_at(), None, "nothing was asked");
        place.asked(now);
        place.asked(now + SECOND);
        assert_eq!(place.silent_at(), Some(now + 5 * SECOND));
        place.heard();
        assert_eq!(place.silent_at(), None, "a note came, be it another's");
        place.asked(now);
        let leaving = place.leaving();
        place.leave();
        assert!(leaving.has_changed().unwrap());
        place.arrived(2);
        place.asked(now);
        assert_eq!(place.silent_at(), Some(now + 10 * SECOND));
        place.heard();
        place.asked(now);
        assert_eq!(place.silent_at(), Some(now + 5 * SECOND));
        let only = Place::new(1);
        only.asked(now);
        assert_eq!(only.silent_at(), None, "where there is no other");
    }
}
