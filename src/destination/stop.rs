//! The end of a destination: what is in flight is finished and settled, the rest goes back to the broker.

use std::time::Duration;

use super::{Driver, STOP_WITHIN};
use crate::class::Class;
use crate::clock;
use crate::verdict::Settlement;

/// Time to give back what is then given up.
const HURRIED: Duration = Duration::from_millis(500);

impl Driver {
    /// Takes nothing more; what is in flight may finish and be settled, the rest goes back. With the worker ending, that takes
    /// [`STOP_WITHIN`] at most; at a reload, as long as a request may take.
    pub(super) async fn finish(&mut self) {
        self.inbox.live.stop();
        self.inbox.bulk.stop();
        let mut deadline = clock::now() + STOP_WITHIN.max(self.settings.timeout + HURRIED);
        let (ending, mut patient) = (self.ending.clone(), true);
        self.refresh_returned();
        loop {
            let watched = self.side.jobs.drain();
            self.ask_later(watched);
            if self.sender.in_flight() == 0 && self.settlements.unsettled() == 0 && !self.side.tokens.is_saving() {
                break;
            }
            tokio::select! {
                biased;
                attempted = self.sender.answered() => self.noting_gate(|driver| driver.judge(attempted)),
                () = self.settlements.progress() => {}
                () = self.side.tokens.progress() => {}
                Some(call) = self.calls.recv() => self.answer(call),
                Some(delivery) = self.inbox.deliveries.recv() => delivery.ticket.leave(),
                Some(delivery) = self.inbox.bulk_deliveries.recv() => delivery.ticket.leave(),
                () = ending.cancelled(), if patient => {
                    patient = false;
                    deadline = deadline.min(clock::now() + STOP_WITHIN);
                }
                () = clock::sleep_until(deadline) => {
                    if self.sender.is_hurried() {
                        self.settlements.leave().await;
                        break;
                    }
                    tracing::warn!(
                        destination = self.settings.name, unanswered = self.sender.in_flight(), unpublished = self.settlements.unsettled(),
                        "stopping before everything was finished; the broker sends these events again"
                    );
                    self.sender.hurry();
                    deadline = clock::now() + HURRIED;
                }
            }
        }
        self.leave_all().await;
        // Notices of the last settlements; nothing waits for it longer than this.
        let soon = deadline.min(clock::now() + HURRIED);
        tokio::select! {
            biased;
            () = self.settlements.all_told() => {}
            () = clock::sleep_until(soon) => {}
        }
    }

    /// What has been given back often through no fault of its own starts afresh as a copy: the channel's end will count once more.
    fn refresh_returned(&mut self) {
        for pending in self.dispatch.ready.take_out(|pending| self.settlements.was_returned_often(&pending.delivery)) {
            self.settlements.settle(*pending, Settlement::Release);
        }
    }

    /// What waits goes back when the channel ends, all of it in the order in which it came.
    async fn leave_all(&mut self) {
        for class in Class::ALL {
            let deliveries = self.inbox.deliveries_of(class);
            deliveries.close();
            while let Some(delivery) = deliveries.recv().await {
                delivery.ticket.leave();
            }
        }
        while let Some(delivery) = self.side.lookups.pop() {
            delivery.ticket.leave();
        }
        while let Some(delivery) = self.intake.invalids.pop() {
            delivery.ticket.leave();
        }
        while let Some(delivery) = self.mapping.pop() {
            delivery.ticket.leave();
        }
        while let Some(pending) = self.dispatch.ready.pop() {
            pending.delivery.ticket.leave();
        }
    }
}
