//! Settlements on their way: what needs no wait is told at once, copies travel while other things go on.

use std::sync::Arc;

use super::Driver;
use super::intake::Pending;
use super::notice::Word;
use super::settle::{Case, Tag};
use crate::broker::port::{Delivery, Disposition};
use crate::receipts;
use crate::record::history::History;
use crate::record::replay::ReplayOutcome;
use crate::verdict::Settlement;

impl Driver {
    pub(super) fn settle_later(&mut self, delivery: Delivery, history: History, tag: Tag, settlement: Settlement) {
        let bytes = delivery.message.body.len();
        let settling = Arc::clone(&self.desk).settle(Case { delivery, history, tag, settlement });
        self.settle_meanwhile(bytes, settling);
    }

    /// Settles while other things go on.
    pub(super) fn settle_meanwhile(
        &mut self,
        bytes: usize,
        settling: impl Future<Output = Option<Word>> + Send + 'static,
    ) {
        self.aside.add(bytes);
        self.settling.push(Box::pin(async move { (bytes, settling.await) }));
    }

    pub(super) fn settled(&mut self, (bytes, word): (usize, Option<Word>)) {
        self.aside.remove(bytes);
        self.tell(word);
    }

    pub(super) fn settle(&mut self, pending: Pending, settlement: Settlement) {
        let Pending { delivery, history, tag, replay, .. } = pending;
        match settlement {
            // The common case needs no future: the ack task takes it from here.
            Settlement::Ack => {
                if self.desk.dispose(delivery.ticket, Disposition::Ack) {
                    self.desk.receipt(receipts::Outcome::Delivered, tag, &history, None);
                    if replay {
                        self.tell(Word::on(&delivery.message, ReplayOutcome::Delivered));
                    }
                }
            }
            Settlement::RetryLater(_) | Settlement::DeadLetter(..) | Settlement::Release => {
                self.settle_later(delivery, history, tag, settlement);
            }
        }
    }

    /// Copies that the broker does not take for now.
    pub(super) fn copies_waiting(&self) -> usize {
        if self.desk.is_in_trouble() { self.aside.copies() } else { 0 }
    }

    /// Tells whoever replayed an event, where there is something to tell.
    pub(super) fn tell(&mut self, word: Option<Word>) {
        if let Some(word) = word {
            self.notices.tell(word);
        }
    }
}
