//! People who must not be written to: their events end here, right before a request would be made for them, whatever brought them here. While it is
//! not known who that is, nothing is sent.

use tokio::sync::watch;

use super::check::Pending;
use super::settler::Tag;
use super::{Driver, outcome};
use crate::broker::port::Delivery;
use crate::mapping::Person;
use crate::record::history::History;
use crate::suppression::{Standing, Suppressed};
use crate::verdict::Settlement;

/// Who is heeded, where the configuration says so. Cheap to clone.
#[derive(Clone)]
pub(super) struct Suppressing {
    pub list: Suppressed,
    /// Where its events say whom they are about.
    pub person: Person,
    standing: watch::Receiver<Standing>,
}

impl Suppressing {
    pub fn new(list: Suppressed, person: Person) -> Self {
        Self { standing: list.watch(), list, person }
    }

    /// Whether an event that waits is about somebody who must not be written to.
    fn ends(&self, pending: &Pending) -> bool {
        pending.people.as_ref().is_some_and(|people| self.list.has_one_of(people))
    }

    /// Returns once the list has changed, or can be relied on or not any more; never where there is none.
    pub async fn changed(of: &mut Option<Self>) {
        let Some(suppressing) = of else { return std::future::pending().await };
        if suppressing.standing.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Driver {
    /// Whether it is known who must not be written to, or nobody asks for that.
    pub(super) fn knows_suppressed(&self) -> bool {
        self.suppressing.as_ref().is_none_or(|suppressing| suppressing.standing.borrow().lacks.is_none())
    }

    /// Why nothing is sent, where that is not known.
    pub(super) fn lacks_suppressed(&self) -> Option<String> {
        self.suppressing.as_ref()?.standing.borrow().lacks.clone()
    }

    /// Whether an event that waits is about somebody who must not be written to.
    pub(super) fn is_suppressed(&self, pending: &Pending) -> bool {
        self.suppressing.as_ref().is_some_and(|suppressing| suppressing.ends(pending))
    }

    /// Ends the events that are held here and whose person was suppressed meanwhile.
    pub(super) fn end_held_suppressed(&mut self) {
        self.dispatch.look_now();
        let Some(suppressing) = &self.suppressing else { return };
        for pending in self.dispatch.ready.take_out(|pending| suppressing.ends(pending)) {
            self.end_suppressed(pending.delivery, pending.history, pending.tag);
        }
    }

    /// It is acked without a request and without a letter.
    pub(super) fn end_suppressed(&mut self, delivery: Delivery, history: History, tag: Tag) {
        outcome::suppressed(self.report.telling(&self.settings.name), &tag);
        self.settlements.settle_delivery(delivery, history, tag, Settlement::Suppress);
    }
}
