//! What was counted in the queues of one destination, and what that makes in all.

use jiff::Timestamp;

use crate::destination::View;

/// Messages ready at the broker for one destination; none where a queue is missing or the broker away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Depths {
    /// In its queue.
    pub ready: Option<u32>,
    /// In its retry queues.
    pub retry: Option<u32>,
    /// Put aside until they may be sent.
    pub scheduled: Option<u32>,
    /// How many its driver held when these were read, and how many it had put into queues where they wait for a time.
    pub(crate) held: u64,
    pub(crate) moved: u64,
    /// In its dead-letter queue.
    pub dead: Option<u32>,
    /// The same as the broker told it last.
    pub dead_told: Option<u32>,
    /// In its trash.
    pub trash: Option<u32>,
    /// Seconds until its queue is empty, were nothing more to come; infinite while nothing gets through.
    pub drained_in: Option<f64>,
    /// When its day budget runs out, if before the vendor's day ends.
    pub budget_runs_out: Option<Timestamp>,
    /// The time of the oldest live event that waits, as far as it is known.
    pub oldest: Option<Timestamp>,
    /// Events that may wait.
    pub bulk: BulkDepths,
}

impl Depths {
    /// Events that wait: in the queues of both classes, held by the driver, in the retry queues, and put aside. They are counted together, since
    /// what leaves the one comes into the other; `held` is how many are held by now. None where the queue is not known.
    #[must_use]
    pub fn waiting(&self, held: usize) -> Option<u64> {
        let elsewhere = [self.retry, self.scheduled, self.bulk.ready, self.bulk.retry];
        let elsewhere = elsewhere.into_iter().flatten().map(u64::from).fold(0_u64, u64::saturating_add);
        let counted = u64::from(self.ready?).saturating_add(self.held).saturating_add(elsewhere);
        Some(counted.max(u64::try_from(held).unwrap_or(u64::MAX)))
    }

    /// Whether events may have come into queues where they wait for a time, or left them, since.
    pub(super) fn delayed_may_change(&self, view: &View) -> bool {
        let is_some = |count: Option<u32>| count.is_some_and(|count| count > 0);
        [self.retry, self.scheduled, self.bulk.retry].into_iter().any(is_some) || self.moved != moved(view)
    }
}

/// The same of events that may wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct BulkDepths {
    /// In their queue.
    pub ready: Option<u32>,
    /// In its retry queues.
    pub retry: Option<u32>,
    /// How many the driver held when these were read.
    pub(crate) held: u64,
    /// Seconds until their queue is empty, were nothing more to come; infinite while nothing gets through.
    pub drained_in: Option<f64>,
    /// The time of the oldest that waits, as far as it is known.
    pub oldest: Option<Timestamp>,
}

impl BulkDepths {
    /// Those that wait, in whichever place; `held` is how many are held by now. None where their queue is not known.
    #[must_use]
    pub fn waiting(&self, held: usize) -> Option<u64> {
        let counted = u64::from(self.ready?).saturating_add(self.held).saturating_add(self.retry.unwrap_or(0).into());
        Some(counted.max(u64::try_from(held).unwrap_or(u64::MAX)))
    }
}

/// How many events its driver has put into queues where they wait for a time.
pub(super) fn moved(view: &View) -> u64 {
    view.retried.saturating_add(view.scheduled)
}
