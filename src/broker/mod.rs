//! RabbitMQ: the only code that names an AMQP client crate. Messages come out of an [`port::Inbox`] and leave by
//! a [`port::Publisher`]; everything behind them is rebuilt by itself, for ever, whatever happens to the broker.

mod acks;
mod arguments;
mod connection;
mod consumer;
mod control;
mod depths;
mod fields;
pub mod later;
mod lease;
mod link;
mod locked_read;
mod makes;
mod names;
mod nodes;
mod outbox;
mod peek;
mod place;
pub mod port;
mod publisher;
mod pulse;
mod read_error;
mod read_lock;
mod read_task;
mod replies;
mod sending;
mod status;
mod stream;
mod topology;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use lapin::types::FieldTable;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use connection::ConnectError;
pub use control::{ControlError, ControlMessage, ControlSender, Conversation, control_call, control_gather};
pub use lease::{LeaseAct, LeaseEvent, LeaseQueue};
pub use locked_read::{LONGEST as LONGEST_READ, LockedRead, Reader};
pub use names::{DelayQueue, Names};
pub use nodes::NodeUrls;
pub use peek::Peeked;
pub use read_error::ReadError;
pub use read_task::ReadPurpose;
pub use status::{BrokerStatus, LinkStatus};
pub use stream::{StreamEvent, StreamMessage, StreamSettings, StreamStart, StreamTrouble};
pub use topology::{Declare, DestinationQueues};

use crate::class::Class;
use crate::clock;
use crate::supervisor::Supervisor;
use connection::within;
use link::{Link, LinkTask, Live, Side};
use place::Place;
use port::{Delivery, Feed, Inbox, Proof, Publisher, Witness};
use topology::Topology;

/// Publications and commands on their way to their tasks.
const HANDOVER: usize = 256;

/// Time for connections to close at the end, of the time that there is; and at most.
const LAST: Duration = Duration::from_millis(500);
const LONGEST_CLOSE: Duration = Duration::from_secs(2);

/// How to reach the broker and what may be done there.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://`, of each node; `?heartbeat=` is how many seconds of silence mean that the other side
    /// is dead (5 unless given), and `?frame_max=` the largest frame in bytes (131072 unless given).
    pub url: NodeUrls,
    /// What every name at the broker starts with.
    pub prefix: String,
    /// What may be declared.
    pub declare: Declare,
    /// How often a delivery may be given back before it becomes a dead letter.
    pub delivery_limit: u32,
    /// The connections' name in the broker's own tools.
    pub name: String,
}

/// A handle to the broker. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    url: NodeUrls,
    name: String,
    topology: Topology,
    consuming: Link,
    publishing: Link,
    /// Opened where there are leases.
    leasing: Arc<OnceLock<Link>>,
    publisher: Publisher,
    status: watch::Receiver<BrokerStatus>,
    stop: CancellationToken,
    closing: CancellationToken,
    end: CancellationToken,
    supervisor: Supervisor,
    work: TaskTracker,
    links: Links,
}

/// What every supervised connection is opened with, and where their tasks are waited for.
#[derive(Clone)]
struct Links {
    url: NodeUrls,
    place: Arc<Place>,
    name: String,
    status: Arc<watch::Sender<BrokerStatus>>,
    end: CancellationToken,
    supervisor: Supervisor,
    tasks: TaskTracker,
}

impl Links {
    fn open(&self, side: Side) -> Link {
        let task = LinkTask {
            side,
            url: self.url.clone(),
            place: Arc::clone(&self.place),
            name: self.name.clone(),
            status: Arc::clone(&self.status),
            end: self.end.clone(),
            supervisor: self.supervisor.clone(),
            tasks: self.tasks.clone(),
            blocked: Mutex::default(),
        };
        task.link()
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts connecting and returns at once. When `stop` is cancelled, every consumer takes nothing more; acks and
    /// publications go on until [`Broker::close`]. For a command: it ends soon, so nobody watches its parts.
    #[must_use]
    pub fn start(settings: BrokerSettings, stop: CancellationToken) -> Self {
        Self::start_under(&Supervisor::default(), settings, stop)
    }

    /// As [`Broker::start`], with its parts watched by `supervisor`.
    #[must_use]
    pub fn start_under(supervisor: &Supervisor, settings: BrokerSettings, stop: CancellationToken) -> Self {
        let (status, status_receiver) = watch::channel(BrokerStatus::default());
        let (end, links) = (CancellationToken::new(), TaskTracker::new());
        let links = Links {
            place: Arc::new(Place::new(settings.url.iter().len())),
            url: settings.url.clone(),
            name: settings.name.clone(),
            status: Arc::new(status),
            end: end.clone(),
            supervisor: supervisor.clone(),
            tasks: links,
        };
        let (consuming, publishing) = (links.open(Side::Consuming), links.open(Side::Publishing));
        let topology = Topology::new(Names::new(&settings.prefix), settings.declare, settings.delivery_limit);
        let (queue, publications) = mpsc::channel(HANDOVER);
        let (closing, work) = (CancellationToken::new(), TaskTracker::new());
        let task = publisher::PublisherTask::new(
            publications,
            publishing.clone(),
            status_receiver.clone(),
            topology.clone(),
            closing.clone(),
            outbox::WINDOW,
        );
        work.spawn(supervisor.keep("publisher", &closing, task));
        let (publisher, status) = (Publisher::new(queue), status_receiver);
        let (BrokerSettings { url, name, .. }, supervisor) = (settings, supervisor.clone());
        Self {
            url,
            name,
            topology,
            consuming,
            publishing,
            leasing: Arc::default(),
            publisher,
            status,
            stop,
            closing,
            end,
            supervisor,
            work,
            links,
        }
    }

    /// The names of the objects at this broker.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.topology.names
    }

    /// Whether it is connected, and what is wrong if not.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<BrokerStatus> {
        self.status.clone()
    }

    /// Returns once both connections are up: for a command that somebody waits for.
    ///
    /// # Errors
    /// The last thing that went wrong, after `timeout`; at once when trying again cannot help.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), ConnectError> {
        let mut status = self.status.clone();
        let settled =
            status.wait_for(|status| status.connected() || status.error().is_some_and(ConnectError::is_hopeless));
        // Whether it settled, ran out of time or ended, the status says the rest.
        drop(tokio::time::timeout(timeout, settled).await);
        let status = self.status.borrow();
        match status.error() {
            _ if status.connected() => Ok(()),
            Some(error) => Err(error.clone()),
            None => Err(ConnectError::Slow(timeout)),
        }
    }

    /// A way to publish with confirms.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// A way to publish to the exchange of receipts, which is then declared, on a channel of its own: its failures do not touch other
    /// publications.
    #[must_use]
    pub fn receipts_publisher(&self) -> Publisher {
        // All may be for one queue.
        self.publisher_of("publisher of receipts", self.topology.with_receipts(), outbox::SHARE)
    }

    /// A publisher with a channel of its own and `window` publications under way at most.
    fn publisher_of(&self, name: &str, topology: Topology, window: usize) -> Publisher {
        let (queue, publications) = mpsc::channel(HANDOVER);
        let (link, status, closing) = (self.publishing.clone(), self.status.clone(), self.closing.clone());
        let task = publisher::PublisherTask::new(publications, link, status, topology, closing, window);
        self.work.spawn(self.supervisor.keep_trying(name, &self.closing, task));
        Publisher::new(queue)
    }

    /// Opens a destination's queues. They are declared, consumed and rebuilt behind the inbox until that is dropped
    /// (better: [`Inbox::close`]d); then what was taken can still be settled. Starts with a prefetch of none.
    #[must_use]
    pub fn open(&self, queues: DestinationQueues) -> Inbox {
        let (deliveries, delivery_receiver) = mpsc::channel(consumer::HANDOVER);
        let (bulk_deliveries, bulk_receiver) = mpsc::channel(consumer::HANDOVER);
        let (proof, witness) = Proof::new();
        Inbox {
            live: self.feed(&queues, Class::Live, deliveries, &witness),
            bulk: self.feed(&queues, Class::Bulk, bulk_deliveries, &witness),
            deliveries: delivery_receiver,
            bulk_deliveries: bulk_receiver,
            proof,
        }
    }

    fn feed(
        &self,
        queues: &DestinationQueues,
        class: Class,
        deliveries: mpsc::Sender<Box<Delivery>>,
        witness: &Witness,
    ) -> Feed {
        let (feed, ends) = Feed::new();
        let name = match class {
            Class::Live => format!("consumer of {}", queues.name),
            Class::Bulk => format!("bulk consumer of {}", queues.name),
        };
        let task = consumer::ConsumerTask {
            link: self.consuming.clone(),
            topology: self.topology.clone(),
            queues: queues.clone(),
            class,
            deliveries,
            prefetch: ends.prefetch,
            consuming: ends.consuming,
            stop: self.stop.clone(),
            closing: self.closing.clone(),
            short_lives: 0,
            witness: witness.clone(),
            // It is wanted once its queue is known to hold something.
            declared: class == Class::Bulk,
        };
        self.work.spawn(self.supervisor.keep_trying(&name, &self.closing, task));
        feed
    }

    /// Opens a destination's lease queue, which is declared with its other queues, consumed, and opened anew until the end that is
    /// returned is dropped. `asks_whether_new`: whether it has to be known if the destination was ever driven.
    #[must_use]
    pub fn lease(&self, queues: DestinationQueues, asks_whether_new: bool) -> LeaseQueue {
        let (events, event_receiver) = mpsc::channel(lease::HANDOVER);
        let (acts, act_receiver) = mpsc::unbounded_channel();
        let name = format!("lease of {}", queues.name);
        let task = lease::LeaseTask {
            link: self.leasing.get_or_init(|| self.links.open(Side::Leasing)).clone(),
            topology: self.topology.clone(),
            place: Arc::clone(&self.links.place),
            queues,
            asks_whether_new,
            is_declared: false,
            is_new: false,
            events,
            acts: act_receiver,
            closing: self.closing.clone(),
            last_tag: 0,
        };
        self.work.spawn(self.supervisor.keep_trying(&name, &self.closing, task));
        LeaseQueue { events: event_receiver, acts }
    }

    /// A way to publish notes to lease queues, on a channel of its own: no backlog of events is before them.
    #[must_use]
    pub fn lease_publisher(&self) -> Publisher {
        self.publisher_of("publisher of leases", self.topology.clone(), outbox::WINDOW)
    }

    /// Removes `patterns` from the bindings of a destination's queues, after a reload took them out.
    ///
    /// # Errors
    /// What the broker said; bindings may be left.
    pub async fn unbind(&self, destination: &str, patterns: &[String]) -> Result<(), BrokerError> {
        let (_live, channel) = self.consuming.clone().channel().await.map_err(BrokerError::from_trouble)?;
        let name = |text: &str| fields::short("a name", text).map_err(|error| BrokerError(error.to_string()));
        for class in Class::ALL {
            let (queue, exchange) = (self.names().queue_of(destination, class), self.names().exchange_of(class));
            for pattern in patterns {
                let (queue, exchange, pattern) = (name(&queue)?, name(&exchange)?, name(pattern)?);
                within(channel.queue_unbind(queue, exchange, pattern, FieldTable::default()))
                    .await
                    .map_err(BrokerError::from_trouble)?;
            }
        }
        connection::close_channel(&channel).await;
        Ok(())
    }

    /// How many messages are ready in each of `queues`, in the same order; `None` for one that does not exist.
    ///
    /// # Errors
    /// What the broker said, or that there is no connection.
    pub async fn depths(&self, queues: &[String]) -> Result<Vec<Option<u32>>, BrokerError> {
        depths::depths(&mut self.consuming.clone(), queues).await.map_err(BrokerError::from_trouble)
    }

    /// The queues that this worker made when something was first published to them, or found then.
    #[must_use]
    pub fn delay_queues(&self) -> BTreeSet<String> {
        self.topology.delay_queues.names().clone()
    }

    /// Forgets such a queue, since it was deleted: it is made again when something is next published to it. False where nothing may be
    /// created.
    pub fn forget_delay_queue(&self, queue: &str) -> bool {
        self.topology.delay_queues.names().remove(queue);
        self.topology.creates()
    }

    /// Whether the exchange is there that producers publish events of that class to.
    ///
    /// # Errors
    /// What the broker said, or that there is no connection.
    pub async fn has_exchange(&self, class: Class) -> Result<bool, BrokerError> {
        let (_live, channel) = self.consuming.clone().channel().await.map_err(BrokerError::from_trouble)?;
        let is_there = self.topology.has_exchange(&channel, class).await;
        connection::close_channel(&channel).await;
        is_there.map_err(|error| BrokerError(error.to_string()))
    }

    /// Declares a destination's queues and bindings, of which some were deleted under a running worker.
    ///
    /// # Errors
    /// What the broker said; or that nothing may be declared, and what to do.
    pub async fn restore(&self, queues: &DestinationQueues) -> Result<(), BrokerError> {
        if !self.topology.creates() {
            return Err(BrokerError("create it, or set declare = \"create\" under [broker]".to_owned()));
        }
        let restored = self.topology.ensure_destination(&self.live().await?, queues).await;
        restored.map_err(|error| BrokerError(error.to_string()))
    }

    /// What is sent to the queue of that name, and whether it exists now. It exists for as long as the receiver does.
    #[must_use]
    pub fn replies(&self, queue: &str) -> (mpsc::Receiver<Bytes>, watch::Receiver<bool>) {
        let (replies, receiver) = mpsc::channel(replies::ROOM);
        let (listening, is_listening) = watch::channel(false);
        let (link, closing) = (self.consuming.clone(), self.closing.clone());
        let task = replies::RepliesTask { link, queue: queue.to_owned(), replies, listening, closing };
        self.work.spawn(self.supervisor.keep_trying(&format!("listener on {queue}"), &self.closing, task));
        (receiver, is_listening)
    }

    /// How to call every worker with one command.
    ///
    /// # Errors
    /// As [`control_call`].
    pub async fn call(&self, body: Bytes, timeout: Duration) -> Result<Vec<Bytes>, ControlError> {
        control_call(&self.url, self.names(), body, timeout).await
    }

    /// The same for a command that is answered more than once.
    ///
    /// # Errors
    /// As [`control_call`].
    pub async fn gather(
        &self,
        body: Bytes,
        timeout: Duration,
        patience: &(dyn Fn(&[Bytes]) -> Duration + Sync),
    ) -> Result<Vec<Bytes>, ControlError> {
        control_gather(&self.url, self.names(), body, timeout, patience).await
    }

    /// Commands to and from every worker: a way to send them, and those that arrive here.
    #[must_use]
    pub fn control(&self) -> (ControlSender, mpsc::Receiver<ControlMessage>) {
        let (messages, receiver) = mpsc::channel(HANDOVER);
        let task = control::ControlTask {
            link: self.consuming.clone(),
            names: self.names().clone(),
            publisher: self.publisher.clone(),
            messages,
            closing: self.closing.clone(),
        };
        self.work.spawn(self.supervisor.keep_trying("command listener", &self.closing, task));
        (ControlSender { publisher: self.publisher.clone(), exchange: self.names().control() }, receiver)
    }

    /// Ends everything, for at most `timeout`: consumers are cancelled, acks that were handed over and publications
    /// that were begun reach the broker, the connections close. What is unsettled goes back to the broker.
    /// Returns whether all of it was done in time.
    pub async fn close(&self, timeout: Duration) -> bool {
        self.closing.cancel();
        self.work.close();
        // A broker that takes nothing more does not answer to the end of its connections either.
        let until = clock::now() + timeout;
        let flushed = tokio::time::timeout(timeout - LAST.min(timeout / 2), self.work.wait()).await.is_ok();
        self.end.cancel();
        self.links.tasks.close();
        let left = until.saturating_duration_since(clock::now()).min(LONGEST_CLOSE);
        let closed = tokio::time::timeout(left, self.links.tasks.wait()).await.is_ok();
        flushed && closed
    }

    async fn live(&self) -> Result<Live, BrokerError> {
        let mut link = self.consuming.clone();
        match tokio::time::timeout(connection::PATIENCE, link.up()).await {
            Ok(Some(live)) => Ok(live),
            Ok(None) | Err(_) => Err(BrokerError::from_trouble(connection::AmqpTrouble::Away)),
        }
    }
}

/// A request to the broker that failed; says what it answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BrokerError(String);

impl BrokerError {
    fn from_trouble(trouble: connection::AmqpTrouble) -> Self {
        Self(trouble.to_string())
    }
}
