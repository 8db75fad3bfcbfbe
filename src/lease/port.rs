//! What a driver sees of its lease, and what whoever keeps the lease sees of the driver: two ends of the same channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::Fence;

/// A driver's end.
#[derive(Debug)]
pub struct DriverEnd {
    fence: Fence,
    /// Another worker drives it, or nobody.
    stands_by: bool,
    shared: Arc<Shared>,
    renewed: watch::Receiver<()>,
    records: Option<mpsc::UnboundedSender<Record>>,
}

/// The end of whoever keeps the lease.
#[derive(Debug)]
pub struct KeeperEnd {
    fence: Fence,
    shared: Arc<Shared>,
    renewals: watch::Sender<()>,
    records: mpsc::UnboundedReceiver<Record>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: AtomicBool,
    /// The fence was closed when something was to be sent.
    waits: Notify,
}

/// A ledger to be kept.
#[derive(Debug)]
pub struct Record {
    /// What is to be kept.
    pub ledger: Value,
    /// At once, and not within a moment.
    pub urgent: bool,
    /// Told once the broker has it.
    pub recorded: Option<oneshot::Sender<Recorded>>,
}

/// What became of a ledger that was to be kept at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The broker has it.
    Yes,
    /// The broker takes no messages for now: it has it as soon as it does again.
    NotNow,
}

/// The two ends of a lease; nothing may be sent yet.
#[must_use]
pub fn ends(now: Instant) -> (DriverEnd, KeeperEnd) {
    let (fence, shared) = (Fence::new(now), Arc::<Shared>::default());
    let (renewals, renewed) = watch::channel(());
    let (record, records) = mpsc::unbounded_channel();
    let driver = DriverEnd {
        fence: fence.clone(),
        stands_by: false,
        shared: Arc::clone(&shared),
        renewed,
        records: Some(record),
    };
    (driver, KeeperEnd { fence, shared, renewals, records })
}

impl DriverEnd {
    /// The end of one that stands by while another worker drives: it takes and sends nothing.
    #[must_use]
    pub fn standby(now: Instant) -> Self {
        Self { stands_by: true, ..Self::without_keeper(Fence::new(now)) }
    }

    /// The end of one that nobody else can compete with, as in tests: it may always send, and its ledger is kept nowhere.
    #[must_use]
    pub fn alone(now: Instant) -> Self {
        Self::without_keeper(Fence::open(now))
    }

    fn without_keeper(fence: Fence) -> Self {
        Self { fence, stands_by: false, shared: Arc::default(), renewed: watch::channel(()).1, records: None }
    }

    /// Whether this worker has the lease, or waits until it may send.
    #[must_use]
    pub fn drives(&self) -> bool {
        !self.stands_by
    }

    /// Whether its ledger is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.records.is_some()
    }

    /// What is read right before a request is written.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Whether a request may be sent at `now`. There is something to send: the keeper hears of that.
    #[must_use]
    pub fn may_send(&self, now: Instant) -> bool {
        self.shared.wanted.store(true, Ordering::Relaxed);
        let is_open = self.fence.is_open(now);
        if !is_open {
            self.shared.waits.notify_one();
        }
        is_open
    }

    /// Returns when there is a new proof; never where there is no keeper.
    pub async fn renewed(&mut self) {
        if self.renewed.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Has a ledger kept within a moment.
    pub fn note(&self, ledger: Value) {
        self.send(Record { ledger, urgent: false, recorded: None });
    }

    /// Has a ledger kept at once; returns when the broker has it, or takes nothing. Where the lease is lost meanwhile, never.
    pub fn record(&self, ledger: Value) -> impl Future<Output = Recorded> + Send + use<> {
        let (recorded, is_recorded) = oneshot::channel();
        let kept = self.records.is_some();
        self.send(Record { ledger, urgent: true, recorded: Some(recorded) });
        async move {
            match is_recorded.await {
                Ok(recorded) => recorded,
                Err(_) if kept => std::future::pending().await,
                Err(_) => Recorded::Yes,
            }
        }
    }

    fn send(&self, record: Record) {
        if let Some(records) = &self.records {
            // A keeper that is gone has lost the lease: the driver is about to be stopped.
            drop(records.send(record));
        }
    }
}

impl KeeperEnd {
    /// The driver may send until then; it is told where that is later than before.
    pub fn open_until(&self, until: Option<Instant>, is_new: bool) {
        self.fence.open_until(until);
        if is_new {
            self.renewals.send_replace(());
        }
    }

    /// Whether there was something to send since this was last asked.
    #[must_use]
    pub fn was_wanted(&self) -> bool {
        self.shared.wanted.swap(false, Ordering::Relaxed)
    }

    /// Returns when the driver has something to send and may not, or has a ledger to be kept; that is returned.
    pub async fn asked(&mut self) -> Option<Record> {
        tokio::select! {
            () = self.shared.waits.notified() => None,
            Some(record) = self.records.recv() => Some(record),
        }
    }

    /// The last ledger that the driver wants kept, of those that are not kept yet.
    pub fn last_record(&mut self) -> Option<Record> {
        let mut last = None;
        while let Ok(record) = self.records.try_recv() {
            last = Some(record);
        }
        last
    }
}
