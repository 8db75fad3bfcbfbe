//! The end of a destination: what is in flight is finished and settled, the rest goes back to the broker.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::{Driver, STOP_WITHIN};
use crate::broker::port::Appetite;
use crate::clock;
use crate::verdict::Settlement;

/// Time for what is then given up to be given back.
const HURRIED: Duration = Duration::from_millis(500);

impl Driver {
    /// Takes nothing more; what is in flight may finish and be settled, the rest goes back. With the worker ending, that takes
    /// [`STOP_WITHIN`] at most; at a reload, as long as a request may take.
    pub(super) async fn finish(&mut self) {
        self.inbox.appetite.send_replace(Appetite::None);
        let mut deadline = clock::now() + STOP_WITHIN.max(self.settings.timeout + HURRIED);
        let (ending, mut patient) = (self.ending.clone(), true);
        self.refresh_returned();
        loop {
            let watched = self.jobs.drain();
            self.ask_later(watched);
            if self.attempts.is_empty() && self.settling.is_empty() && self.keeping.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some(attempted) = self.attempts.next(), if !self.attempts.is_empty() => self.judge(attempted),
                Some(settled) = self.settling.next(), if !self.settling.is_empty() => self.settled(settled),
                Some(()) = self.keeping.next(), if !self.keeping.is_empty() => {}
                () = self.notices.sent(), if !self.notices.is_empty() => {}
                Some(delivery) = self.inbox.deliveries.recv() => delivery.ticket.leave(),
                () = ending.cancelled(), if patient => {
                    patient = false;
                    deadline = deadline.min(clock::now() + STOP_WITHIN);
                }
                () = clock::sleep_until(deadline) => {
                    if self.hurry.is_cancelled() {
                        self.desk.leaving.cancel();
                        while self.settling.next().await.is_some() {}
                        break;
                    }
                    tracing::warn!(
                        destination = self.settings.name, unanswered = self.attempts.len(), unpublished = self.settling.len(),
                        "stopping before everything was finished; the broker sends these events again"
                    );
                    self.hurry.cancel();
                    deadline = clock::now() + HURRIED;
                }
            }
        }
        self.leave_all().await;
        // Word of the last settlements; nothing waits for it longer than this.
        let soon = deadline.min(clock::now() + HURRIED);
        tokio::select! {
            biased;
            () = self.notices.all_sent() => {}
            () = clock::sleep_until(soon) => {}
        }
    }

    /// What has been given back often through no fault of its own starts afresh as a copy: the channel's end will count once more.
    fn refresh_returned(&mut self) {
        let limit = self.desk.delivery_limit;
        for pending in self.line.take_out(|pending| pending.delivery.returns.saturating_mul(2) >= limit) {
            self.settle(*pending, Settlement::Release);
        }
    }

    /// What waits goes back when the channel ends, all of it in the order in which it came.
    async fn leave_all(&mut self) {
        self.inbox.deliveries.close();
        while let Some(delivery) = self.inbox.deliveries.recv().await {
            delivery.ticket.leave();
        }
        while let Some(delivery) = self.lookups.pop() {
            delivery.ticket.leave();
        }
        while let Some(delivery) = self.invalids.pop() {
            delivery.ticket.leave();
        }
        while let Some(pending) = self.line.pop() {
            pending.delivery.ticket.leave();
        }
    }
}
