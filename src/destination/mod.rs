//! One destination at work. `pipeline.rs` tells the path of an event through it.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::broker::Names;
use crate::broker::port::{Inbox, Publisher};
use crate::clock;
use crate::config;
use crate::delivery::Transport;
use crate::history::Recorder;
use crate::lease::port::DriverEnd;
use crate::metrics::DestinationMetrics;
use crate::receipts::Receipts;
use crate::seal::Seal;
use crate::suppression::Suppressed;
use crate::threads::Threads;
use crate::vendors::Batching;

mod attempt;
mod batching;
pub mod bulk;
mod check;
mod demand;
mod dispatch;
mod doubt;
mod earlier;
mod elsewhere;
mod follow;
mod growing_cache;
mod handle;
mod handover;
mod housekeeping;
mod intake;
mod invalid;
mod jobs;
mod judge;
mod keeping;
pub mod ledger;
mod lines;
mod lookups;
mod machine;
mod mapping;
mod notice;
mod open_hours;
mod outcome;
mod pipeline;
mod prefetch;
pub mod ready_events;
mod ready_queue;
pub mod recent;
mod rule;
mod send;
mod sender;
mod settlements;
mod settler;
mod side_requests;
mod steps;
mod stop;
mod suppressing;
pub mod tap;
mod tokens;
mod turns;
mod view;

pub use elsewhere::{Beside, Elsewhere, Hindrance, Told};
pub use handle::{Applied, DestinationCall, Handle};
pub use handover::Handover;
pub use view::View;

use crate::control::stamp::LatestCommands;
use crate::gate::Limit;
use bulk::Bulk;
use dispatch::Dispatch;
use housekeeping::Report;
use intake::Intake;
use invalid::Invalids;
use keeping::Keeping;
use mapping::Mapping;
use open_hours::OpenHours;
use prefetch::PrefetchControl;
use sender::Sender;
use settlements::Settlements;
use settler::Settler;
use side_requests::SideRequests;
use suppressing::Suppressing;
use turns::BulkFlow;

/// Time for requests in flight to finish when the worker stops: of the ten seconds that there are, two are for what then has to reach
/// the broker.
pub const STOP_WITHIN: Duration = Duration::from_secs(8);

/// What a destination needs to run.
pub struct Parts {
    /// Its section of the configuration.
    pub settings: config::Destination,
    /// What is at the broker under which name.
    pub names: Names,
    /// The largest body accepted, in bytes.
    pub max_event_bytes: usize,
    /// How often the broker redelivers a message before it dead-letters it.
    pub delivery_limit: u32,
    /// Its lease: whether and when it may send.
    pub lease: DriverEnd,
    /// Who drives it elsewhere, and what that one tells, or why nobody does; nothing where it is driven here.
    pub beside: watch::Receiver<Beside>,
    /// What seals tokens in the ledger.
    pub seal: Option<Seal>,
    /// Its queues.
    pub inbox: Inbox,
    /// Where retries and dead letters go.
    pub publisher: Publisher,
    /// How requests are sent.
    pub transport: Arc<dyn Transport>,
    /// Where events are mapped that are hard to map.
    pub threads: Threads,
    /// Where it counts.
    pub metrics: DestinationMetrics,
    /// Where receipts go, if they are wanted.
    pub receipts: Option<Receipts>,
    /// Who must not be written to, if the destination heeds that.
    pub suppressed: Option<Suppressed>,
    /// Where each step of an event's way is recorded, if that is wanted.
    pub history: Option<Recorder>,
    /// Pause, resume, limits, status.
    pub calls: mpsc::Receiver<DestinationCall>,
    /// Cancelled to stop.
    pub stop: CancellationToken,
    /// Cancelled when the whole worker stops: then what is in flight gets [`STOP_WITHIN`], else as long as a request may take.
    pub ending: CancellationToken,
}

/// Drives a destination until it is stopped; returns what its successor has to know.
pub async fn drive(parts: Parts, before: Handover) -> Handover {
    let mut driver = Driver::new(parts, before);
    let driven = AssertUnwindSafe(async {
        driver.run().await;
        driver.finish().await;
    });
    // The next start must not forget a pause or what was spent of the day.
    if driven.catch_unwind().await.is_err() {
        tracing::error!(destination = driver.settings.name, "a destination failed; this is a bug in Sluice");
    }
    driver.into_handover()
}

struct Driver {
    settings: Arc<config::Destination>,
    /// The limits of the configuration, whatever an operator set since.
    configured: Vec<Limit>,
    keeping: Keeping,
    inbox: Inbox,
    commands: LatestCommands,
    calls: mpsc::Receiver<DestinationCall>,
    stop: CancellationToken,
    ending: CancellationToken,
    intake: Intake,
    mapping: Mapping,
    dispatch: Dispatch,
    hours: OpenHours,
    side: SideRequests,
    sender: Sender,
    settlements: Settlements,
    prefetch: PrefetchControl,
    bulk: Bulk,
    report: Report,
    suppressing: Option<Suppressing>,
}

impl Driver {
    fn new(parts: Parts, before: Handover) -> Self {
        let (now, wall) = (clock::now(), clock::wall());
        let mut settings = parts.settings;
        // As after every change of an operator's, so that going back leaves no difference.
        settings.limits.sort_by_key(|limit| limit.window);
        let configured = settings.limits.clone();
        if let Some(limits) = before.limits.as_ref().and_then(|limits| limits.in_force(&configured)) {
            settings.limits = limits;
        }
        let batching = settings.vendor.batching();
        let settler = Settler {
            destination: settings.name.clone(),
            names: parts.names,
            publisher: parts.publisher,
            metrics: parts.metrics.clone(),
            receipts: parts.receipts,
            delivery_limit: parts.delivery_limit,
            retry_delays: settings.retry.delays.clone(),
            leaving: CancellationToken::new(),
            trouble: Mutex::default(),
        };
        let bulk_flow = BulkFlow::new(before.bulk.paused, before.bulk.limits);
        let mut dispatch = Dispatch::new(&settings, &before.ledger, bulk_flow, now, wall);
        if parts.lease.is_kept() {
            dispatch.gate.booked(before.ledger.day, before.ledger.used);
        }
        Self {
            intake: Intake {
                max_event_bytes: parts.max_event_bytes,
                keeps_subject: parts.history.as_ref().is_some_and(Recorder::keeps_subject),
                invalids: Invalids::default(),
            },
            mapping: Mapping::new(parts.threads, settings.vendor.ordering_key_limit().is_some()),
            hours: OpenHours::new(settings.send_between.clone()),
            side: SideRequests::new(&settings, before.tokens, now, wall),
            sender: Sender::new(parts.transport),
            settlements: Settlements::new(settler, two_of(batching)),
            prefetch: PrefetchControl::new(batching),
            bulk: Bulk::new(batching, now),
            report: Report::new(before.recent, (parts.metrics, parts.history), dispatch.gate.state(now), now),
            keeping: Keeping::new(parts.lease, parts.beside, parts.seal),
            suppressing: parts
                .suppressed
                .zip(settings.person.clone())
                .map(|(list, person)| Suppressing::new(list, person)),
            dispatch,
            settings: Arc::new(settings),
            configured,
            inbox: parts.inbox,
            commands: before.commands,
            calls: parts.calls,
            stop: parts.stop,
            ending: parts.ending,
        }
    }
}

/// As many events as two requests carry.
fn two_of(batching: Batching) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(batching.items.saturating_mul(2))
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("destination", &self.settings.name).finish_non_exhaustive()
    }
}
