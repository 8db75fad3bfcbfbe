//! One destination in this worker: its part in the lease, and the driver that runs while the lease is here or stands by while it is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Roster;
use super::announce::ANNOUNCE_EVERY;
use super::running::{Running, Told, told};
use crate::broker::port::{Feed, Inbox, Proof, PublishError, Publisher};
use crate::broker::{Broker, DestinationQueues, LeaseAct, LeaseEvent, LeaseQueue};
use crate::clock;
use crate::config;
use crate::delivery::Transport;
use crate::destination::ledger::Sealer;
use crate::destination::{self, Beside, Handle, Handover, Hindrance, Parts, ledger};
use crate::gate::{self, Ledger};
use crate::history::Recorder;
use crate::lease::port::{DriverEnd, KeeperEnd, Record, Recorded, ends};
use crate::lease::{Act, Machine, Note, NoteError, Owner};
use crate::message::{Message, Properties};
use crate::metrics::Metrics;
use crate::receipts::Receipts;
use crate::seal::Seal;
use crate::suppression::Suppressed;
use crate::threads::Threads;

/// Between the end of a driver that failed and the next.
const AGAIN: Duration = Duration::from_secs(1);
/// Time for the last note to come back and the queue to be left, beside the lease.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// What a destination needs in this worker.
pub(super) struct Post {
    pub settings: config::Destination,
    pub me: Owner,
    pub lease: Duration,
    pub seal: Option<Seal>,
    pub broker: Broker,
    /// Where notes go.
    pub notes: Publisher,
    pub metrics: Metrics,
    pub receipts: Option<Receipts>,
    pub suppressed: Option<Suppressed>,
    pub history: Option<Recorder>,
    pub max_event_bytes: usize,
    pub delivery_limit: u32,
    pub transport: Arc<dyn Transport>,
    pub roster: Roster,
    /// Cancelled to stop.
    pub stop: CancellationToken,
    /// Cancelled when the whole worker stops.
    pub ending: CancellationToken,
}

/// What is to run.
#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Standby,
    Driver(Value),
    /// Nothing: the lease is let go, and then it stands by again, or all ends.
    Nothing,
}

/// A post at work.
struct AtWork {
    post: Post,
    machine: Machine,
    queue: LeaseQueue,
    running: Option<Running>,
    wanted: Wanted,
    /// What the driver before left.
    known: Handover,
    recorded: Vec<(u64, oneshot::Sender<Recorded>)>,
    published: FuturesUnordered<BoxFuture<'static, (u64, Result<(), PublishError>)>>,
    let_go: Arc<Notify>,
    is_stopping: bool,
    is_open: bool,
    may_send_until: Option<Instant>,
    /// Why nobody can drive it: since this worker last found out, and until somebody drives. Only what is new goes to the log.
    stuck: Option<NoteError>,
    told_stuck: Option<NoteError>,
    /// Why its queues cannot be used.
    refused: Option<String>,
}

impl Post {
    fn queues(&self) -> DestinationQueues {
        DestinationQueues {
            name: self.settings.name.clone(),
            subscribe: self.settings.patterns(),
            retry_delays: self.settings.retry.delays.clone(),
        }
    }

    /// Stands by at once, and works until it is stopped; returns what its successor in this worker has to know.
    pub fn begin(self, before: Handover) -> impl Future<Output = Handover> + Send {
        let now = clock::now();
        let machine = Machine::new(self.me.clone(), self.lease, now);
        let queue = self.broker.lease(self.queues(), self.day_limit().is_some());
        let let_go = self.roster.peers().joined(&self.settings.name);
        let mut at_work = AtWork {
            post: self,
            machine,
            queue,
            running: None,
            wanted: Wanted::Standby,
            known: Handover::default(),
            recorded: Vec::new(),
            published: FuturesUnordered::new(),
            let_go,
            is_stopping: false,
            is_open: false,
            may_send_until: None,
            stuck: None,
            told_stuck: None,
            refused: None,
        };
        at_work.running = Some(at_work.stand_by(before));
        async move {
            at_work.run().await;
            at_work.known
        }
    }

    fn day_limit(&self) -> Option<u64> {
        gate::day_limit(&self.settings.limits)
    }

    /// Where the ledger is lost, the day's budget counts as spent by the time of day. A destination that never ran has lost nothing.
    fn count_as_spent(&self, before: &mut Handover, why: &str) {
        let settings = &self.settings;
        let Some(limit) = self.day_limit() else { return };
        let spent = Ledger::spent_by(limit, &settings.day_starts, clock::wall());
        let used = if before.ledger.day == spent.day { spent.used.max(before.ledger.used) } else { spent.used };
        (before.ledger.day, before.ledger.used) = (spent.day, used);
        tracing::error!(
            destination = settings.name,
            used = before.ledger.used,
            "what was used of the day's budget is not known: {why}; the budget counts as spent by the time of day"
        );
    }
}

impl AtWork {
    async fn run(&mut self) {
        let stop = self.post.stop.clone();
        let mut leave_by = None;
        let mut looks = tokio::time::interval(ANNOUNCE_EVERY);
        let mut broker = self.post.broker.status();
        while !(self.is_stopping && self.running.is_none() && !self.is_open) {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.is_stopping => {
                    self.is_stopping = true;
                    self.want(Wanted::Nothing);
                }
                event = self.queue.events.recv() => match event {
                    Some(event) => self.seen(event),
                    // The broker is closed: nothing can be told any more.
                    None => break,
                },
                told = told(&mut self.running) => match told {
                    Told::Ended(handover) => {
                        self.driver_ended(handover.map(|handover| *handover)).await;
                        leave_by = self.is_stopping.then(|| clock::now() + self.post.lease + LEAVE_WITHIN);
                    }
                    Told::Asked(record) => self.asked(record),
                },
                Some((version, published)) = self.published.next(), if !self.published.is_empty() => {
                    self.note_published(version, published);
                }
                () = self.let_go.notified(), if self.wanted != Wanted::Nothing => self.want(Wanted::Nothing),
                () = wait_until(self.machine.next_at()) => {
                    let wanted = self.keeper().is_some_and(KeeperEnd::was_wanted);
                    self.machine.want(wanted, clock::now());
                }
                _ = looks.tick() => self.look_elsewhere(),
                Ok(()) = broker.changed() => {}
                () = wait_until(leave_by) => break,
            }
            self.carry_out();
        }
        self.post.roster.set(&self.post.settings.name, None);
        self.post.roster.peers().left(&self.post.settings.name);
    }

    /// Whether the broker takes no messages for now.
    fn is_blocked(&self) -> bool {
        self.post.broker.status().borrow().publishing.blocked.is_some()
    }

    fn keeper(&self) -> Option<&KeeperEnd> {
        self.running.as_ref()?.keeper.as_ref()
    }

    fn seen(&mut self, event: LeaseEvent) {
        let now = clock::now();
        match event {
            LeaseEvent::Opened { is_new } => {
                self.is_open = true;
                self.refused = None;
                if is_new {
                    self.machine.is_new(ledger::write(&Handover::default(), &Sealer::default()));
                }
                self.machine.opened(now);
            }
            LeaseEvent::Closed => {
                self.machine.closed(now);
                self.is_open = false;
            }
            LeaseEvent::Refused(why) => self.refused = Some(why),
            LeaseEvent::Note { tag, body, again } => match Note::read(&body) {
                Ok(note) => self.machine.received(tag, note, again, now),
                Err(error) => self.machine.unreadable(tag, error, now),
            },
        }
    }

    /// Takes note of who drives it elsewhere.
    fn look_elsewhere(&mut self) {
        let now = clock::now();
        let (peers, name) = (self.post.roster.peers(), self.post.settings.name.as_str());
        let Some(standby) = self.running.as_ref().filter(|running| running.keeper.is_none()) else {
            peers.hindered(name, None);
            return;
        };
        let driver = peers.elsewhere(name, now);
        if driver.is_some() {
            self.machine.heard_driver(now);
            self.stuck = None;
        }
        let refused = self.refused.clone().map(|why| Hindrance { why, lasts: false });
        let stuck = || self.stuck.as_ref().map(|error| Hindrance { why: error.with_help(name), lasts: true });
        peers.hindered(name, refused.or_else(stuck));
        standby.beside.send_replace(Beside { why_nobody: peers.why_nobody(name, now), driver });
    }

    /// The driver has something to send and no proof, or a ledger to be kept.
    fn asked(&mut self, record: Option<Record>) {
        let now = clock::now();
        let Some(record) = record else { return self.machine.want(true, now) };
        let version = self.machine.record(record.ledger, record.urgent, now);
        if let Some(recorded) = record.recorded {
            self.recorded.push((version, recorded));
        }
    }

    /// Does what the machine wants.
    fn carry_out(&mut self) {
        let mut acts = self.machine.acts();
        while !acts.is_empty() {
            acts.into_iter().for_each(|act| self.do_it(act));
            // One that cannot be done has others follow.
            acts = self.machine.acts();
        }
        let recorded = self.machine.recorded();
        // A broker in an alarm is relieved by deliveries: they do not wait until it takes a ledger again.
        let is_blocked = self.is_blocked();
        for (version, told) in self.recorded.extract_if(.., |(version, _)| is_blocked || *version <= recorded) {
            // Nobody waiting for it is no failure.
            let _gone = told.send(if version <= recorded { Recorded::Yes } else { Recorded::NotNow });
        }
        let until = self.machine.may_send_until();
        let is_new = until > self.may_send_until;
        if until != self.may_send_until {
            self.may_send_until = until;
            if let Some(keeper) = self.keeper() {
                keeper.open_until(until, is_new);
            }
        }
        self.tell_stuck();
    }

    fn do_it(&mut self, act: Act) {
        let stands_by = self.keeper().is_none() && self.wanted == Wanted::Standby;
        match act {
            // A claim of who then found that it cannot drive would stay in the queue: one more at each try.
            Act::Publish(_) if self.machine.why_stuck().is_some() => {}
            Act::Publish(note) => self.publish(note),
            Act::Ack(tag) => self.act(LeaseAct::Ack(tag)),
            Act::Return(tag) => self.act(LeaseAct::Return(tag)),
            Act::Leave => self.act(LeaseAct::Leave),
            Act::Drive(ledger) if !self.is_stopping => self.want_driver(ledger),
            Act::Stop if !self.is_stopping && !stands_by => self.want(Wanted::Standby),
            Act::Drive(_) | Act::Stop => {}
        }
    }

    fn tell_stuck(&mut self) {
        if let Some(stuck) = self.machine.why_stuck().cloned() {
            if self.told_stuck.as_ref() != Some(&stuck) {
                let destination = self.post.settings.name.as_str();
                tracing::error!(destination, "nobody can drive it, and events wait: {}", stuck.with_help(destination));
                self.told_stuck = Some(stuck.clone());
            }
            if self.stuck.replace(stuck).is_none() {
                self.look_elsewhere();
            }
        } else if self.keeper().is_some() {
            (self.stuck, self.told_stuck) = (None, None);
        }
    }

    fn act(&self, act: LeaseAct) {
        // The broker is closed: whoever is next gets the notes.
        drop(self.queue.acts.send(act));
    }

    fn publish(&mut self, note: Note) {
        let (notes, version) = (self.post.notes.clone(), note.version);
        let properties = Properties { content_type: Some("application/json".to_owned()), ..Properties::default() };
        let message = Message { body: note.write().into(), properties };
        let queue = self.post.broker.names().lease(&self.post.settings.name);
        self.published.push(async move { (version, notes.publish("", &queue, message).await) }.boxed());
    }

    /// A driver is to run with that ledger. Where it cannot be used, who stands by goes on and tells why.
    fn want_driver(&mut self, note: Value) {
        match ledger::read(&note, Handover::default(), self.post.seal.as_ref()) {
            Ok(_) => self.want(Wanted::Driver(note)),
            Err(error) => self.machine.refuse(error, clock::now()),
        }
    }

    /// Something else is to run.
    fn want(&mut self, wanted: Wanted) {
        if wanted != Wanted::Nothing {
            self.recorded.clear();
        }
        self.wanted = wanted;
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }

    fn note_published(&mut self, version: u64, published: Result<(), PublishError>) {
        let now = clock::now();
        match published {
            Ok(()) => self.machine.confirmed(version, now),
            Err(error) => {
                tracing::debug!(destination = self.post.settings.name, %error, "a note of the lease was not published");
                self.machine.failed(version, now);
            }
        }
    }

    /// What ran has ended and left that, or failed for good; the next starts.
    async fn driver_ended(&mut self, handover: Option<Handover>) {
        let Some(ended) = self.running.take() else { return };
        // One that only stood by knows less than the lease's note.
        let ledger = handover
            .as_ref()
            .filter(|_| ended.keeper.is_some())
            .map(|handover| ledger::write(handover, &Sealer::new(self.post.seal.clone())));
        self.known = handover.unwrap_or_default();
        if !ended.stop.is_cancelled() {
            // It failed: it goes on with what it knew, and not again and again in no time.
            if let (Wanted::Driver(note), Some(ledger)) = (&mut self.wanted, &ledger) {
                note.clone_from(ledger);
            }
            clock::sleep(AGAIN).await;
        }
        if self.wanted == Wanted::Nothing {
            self.machine.let_go(ledger, clock::now());
            self.wanted = Wanted::Standby;
            if self.is_stopping {
                return;
            }
        }
        self.start();
    }

    /// Starts what is to run.
    fn start(&mut self) {
        let known = std::mem::take(&mut self.known);
        let wanted = self.wanted.clone();
        let before = match wanted {
            Wanted::Driver(note) => match ledger::read(&note, known.clone(), self.post.seal.as_ref()) {
                Ok(mut before) => {
                    if note.is_null() {
                        self.post.count_as_spent(&mut before, "the lease queue was new, purged or deleted");
                    } else if self.is_blocked() {
                        self.post.count_as_spent(
                            &mut before,
                            "the broker takes no messages, so the driver before could not record it",
                        );
                    }
                    Some(before)
                }
                Err(error) => {
                    self.machine.refuse(error, clock::now());
                    None
                }
            },
            Wanted::Standby | Wanted::Nothing => None,
        };
        self.running = Some(match before {
            Some(before) => self.drive(before),
            None => self.stand_by(known),
        });
        self.post.roster.peers().drives(&self.post.settings.name, self.keeper().is_some());
        if let Some(keeper) = self.keeper() {
            keeper.open_until(self.may_send_until, true);
        }
    }

    fn drive(&self, before: Handover) -> Running {
        let (lease, keeper) = ends(clock::now());
        let inbox = self.post.broker.open(self.post.queues());
        Running { keeper: Some(keeper), ..self.launch(lease, inbox, before) }
    }

    fn stand_by(&self, before: Handover) -> Running {
        let (deliveries, receiver) = mpsc::channel(1);
        let ((live, live_ends), (bulk, bulk_ends)) = (Feed::new(), Feed::new());
        let (proof, witness) = Proof::new();
        let (bulk_deliveries, bulk_receiver) = mpsc::channel(1);
        let inbox = Inbox { deliveries: receiver, bulk_deliveries: bulk_receiver, live, bulk, proof };
        let open = ([deliveries, bulk_deliveries], [live_ends, bulk_ends], witness);
        Running { _open: Some(open), ..self.launch(DriverEnd::standby(clock::now()), inbox, before) }
    }

    fn launch(&self, lease: DriverEnd, inbox: Inbox, before: Handover) -> Running {
        let Post { settings, broker, .. } = &self.post;
        let (handle, calls) = Handle::new();
        let (beside, who) = watch::channel(Beside::default());
        let stop = CancellationToken::new();
        let parts = Parts {
            settings: settings.clone(),
            names: broker.names().clone(),
            max_event_bytes: self.post.max_event_bytes,
            delivery_limit: self.post.delivery_limit,
            lease,
            beside: who,
            seal: self.post.seal.clone(),
            inbox,
            publisher: broker.publisher(),
            transport: Arc::clone(&self.post.transport),
            threads: Threads::shared(),
            metrics: self.post.metrics.destination(&settings.name),
            receipts: self.post.receipts.clone(),
            suppressed: self.post.suppressed.clone(),
            history: self.post.history.clone(),
            calls,
            stop: stop.clone(),
            ending: self.post.ending.clone(),
        };
        self.post.roster.set(&settings.name, Some(handle));
        let task = tokio::spawn(destination::drive(parts, before));
        Running { task, stop, keeper: None, beside, _open: None }
    }
}

async fn wait_until(until: Option<Instant>) {
    match until {
        Some(until) => clock::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
