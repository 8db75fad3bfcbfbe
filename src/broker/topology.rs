//! The exchanges and queues that Sluice needs: what they are, and making sure the broker has them so.
//! Never deletes or changes what is there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use tokio::sync::Semaphore;

use super::arguments::{NO_DELIVERY_LIMIT, disconnected, quorum, table, text, whole};
use super::connection::{AmqpTrouble, NOT_FOUND, PRECONDITION_FAILED, close_channel, code, told, within, words};
use super::fields::{TooLong, short};
use super::link::Live;
use super::makes::KnownQueues;
use super::names::{DelayQueue, Names};
use super::stream::StreamSettings;
use crate::class::Class;

/// How many destinations declare at the same time: enough to hide the round trips, few enough for the broker.
const AT_ONCE: usize = 16;
/// How long discarded dead letters can be restored.
const TRASH_MILLISECONDS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Entries that the audit keeps; older ones go first.
const AUDIT_ENTRIES: i64 = 100_000;
/// How long the lease of a worker stays its own when the node of its connection is gone.
const DISCONNECTED_MILLISECONDS: i64 = 1_000;

/// What Sluice may do about objects at the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Declare {
    /// Create what is missing; a difference is an error.
    #[default]
    Create,
    /// Create nothing; what is missing is an error, a difference a warning.
    Check,
    /// Touch nothing.
    Never,
}

/// A destination's queues, as its configuration wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationQueues {
    /// The destination's name.
    pub name: String,
    /// Topic patterns that bind its queues to the exchanges of events, each to that of its class.
    pub subscribe: Vec<String>,
    /// One retry queue for each, made when an event first needs it. Where nothing may be created, it is told which are missing.
    pub retry_delays: Vec<Duration>,
}

/// Why the broker does not have what Sluice needs.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum TopologyError {
    #[error(
        "the broker has it with other settings: {0}; put the setting back, or drain and delete that object so that \
         the worker creates it again, or set declare = \"check\" under [broker] to work with it as it is"
    )]
    Different(String),
    #[error("the broker refuses it: {0}")]
    Refused(String),
    #[error(
        "the broker refuses the pattern {pattern:?} of subscribe: {words}; RabbitMQ 4.3.5 and later take at most two \"#\" in a pattern: \
         write it with fewer"
    )]
    Pattern { pattern: String, words: String },
    #[error("the broker lacks it: {0}; create it, or set declare = \"create\" under [broker]")]
    Missing(String),
    #[error("another program consumes {0:?} and has no lease (an older version of Sluice, or a tool); stop that one")]
    Consumed(String),
    #[error("it cannot be declared: {0}; choose a shorter name")]
    TooLong(#[from] TooLong),
    #[error("declaring failed: {0}")]
    Trouble(#[from] AmqpTrouble),
}

impl TopologyError {
    /// Whether the broker did not answer in time.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Trouble(AmqpTrouble::TimedOut))
    }

    /// Whether the broker spoke about an object, and did not only close the channel for another one.
    fn is_an_answer(&self) -> bool {
        match self {
            Self::Different(_) | Self::Refused(_) | Self::Pattern { .. } | Self::Missing(_) => true,
            Self::Consumed(_) | Self::TooLong(_) | Self::Trouble(_) => false,
        }
    }
}

/// Declares according to `[broker] declare`.
#[derive(Clone)]
pub(super) struct Topology {
    pub(super) names: Names,
    declare: Declare,
    delivery_limit: u32,
    /// Whether the exchange of receipts is among what is shared.
    receipts: bool,
    /// The queues that were made at first use.
    pub(super) delay_queues: KnownQueues,
    /// A stream that is declared beside it.
    stream: Option<Arc<StreamSettings>>,
    permits: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
enum BrokerObject {
    Exchange { name: String, kind: ExchangeKind, arguments: FieldTable },
    Queue { name: String, arguments: FieldTable },
    Binding { queue: String, exchange: String, pattern: String },
}

impl Topology {
    pub(super) fn new(names: Names, declare: Declare, delivery_limit: u32) -> Self {
        Self {
            names,
            declare,
            delivery_limit,
            receipts: false,
            delay_queues: KnownQueues::default(),
            stream: None,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// The same with the exchange of receipts.
    pub(super) fn with_receipts(&self) -> Self {
        Self { receipts: true, ..self.clone() }
    }

    /// The same with a stream.
    pub(super) fn with_stream(&self, stream: &StreamSettings) -> Self {
        Self { stream: Some(Arc::new(stream.clone())), ..self.clone() }
    }

    /// Whether that stream is among what is declared.
    pub(super) fn has_stream(&self, name: &str) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.name == name)
    }

    /// Whether what is missing may be created.
    pub(super) fn creates(&self) -> bool {
        self.declare == Declare::Create
    }

    /// Whether the exchange is there that producers publish events of that class to; where it is not, the broker closes the channel.
    pub(super) async fn has_exchange(&self, channel: &Channel, class: Class) -> Result<bool, TopologyError> {
        let events = exchange(&self.names.exchange_of(class), ExchangeKind::Topic, FieldTable::default());
        match events.declare(channel, true).await {
            Ok(()) => Ok(true),
            Err(TopologyError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes sure of the exchanges and queues that all destinations and producers share.
    pub(super) async fn ensure_shared(&self, live: &Live) -> Result<(), TopologyError> {
        self.ensure(live, &self.shared()).await?;
        match &self.stream {
            Some(stream) => self.ensure_stream(live, stream).await,
            None => Ok(()),
        }
    }

    /// A stream with other settings serves as well: nobody can drain one, and its bounds can be set at the broker, by a policy.
    async fn ensure_stream(&self, live: &Live, stream: &StreamSettings) -> Result<(), TopologyError> {
        let object = BrokerObject::Queue { name: stream.name.clone(), arguments: stream.arguments() };
        match self.ensure(live, &[object]).await {
            Err(TopologyError::Different(difference)) => {
                tracing::warn!(
                    difference,
                    "the broker has the stream with other settings and it is used as it is; to have it made anew, and empty, delete it"
                );
                Ok(())
            }
            ensured => ensured,
        }
    }

    /// Makes sure of one destination's queues and bindings.
    pub(super) async fn ensure_destination(&self, live: &Live, of: &DestinationQueues) -> Result<(), TopologyError> {
        let mut objects = self.shared();
        objects.extend(self.destination(of));
        self.ensure(live, &objects).await?;
        if self.declare != Declare::Check {
            return Ok(());
        }
        self.look_for_retries(live, of).await?;
        for class in Class::ALL {
            self.look_for_laters(live, of, class).await?;
        }
        Ok(())
    }

    /// Tells which retry queues are missing, where nothing may be created. Nothing needs one before an event has to wait.
    async fn look_for_retries(&self, live: &Live, of: &DestinationQueues) -> Result<(), TopologyError> {
        let _permit = self.permits.acquire().await;
        let retries = |class| DelayQueue::retries(&self.names.queue_of(&of.name, class), &of.retry_delays);
        for retry in Class::ALL.into_iter().flat_map(retries) {
            match check(live, &[delay_queue(&retry.name, retry.delay, &retry.returns_to)]).await {
                Err(TopologyError::Missing(_)) => tracing::warn!(
                    destination = of.name,
                    queue = retry.name,
                    "the broker lacks this retry queue; an event that has to wait there stays unsettled until it is created"
                ),
                checked => checked?,
            }
        }
        Ok(())
    }

    /// The same of the queues for events that may not be sent yet: few destinations have such events. Without the first of them nobody asks for
    /// the others: each question costs a channel and a line in the broker's log.
    async fn look_for_laters(&self, live: &Live, of: &DestinationQueues, class: Class) -> Result<(), TopologyError> {
        let _permit = self.permits.acquire().await;
        let laters = DelayQueue::laters(&self.names.queue_of(&of.name, class));
        let (first, count, mut missing) = (laters[0].name.clone(), laters.len(), Vec::new());
        for later in laters {
            match check(live, &[delay_queue(&later.name, later.delay, &later.returns_to)]).await {
                Err(TopologyError::Missing(_)) if later.name == first => {
                    let destination = &of.name;
                    tracing::info!(
                        destination,
                        queue = first,
                        count,
                        "the broker lacks the queues for events that may not be sent yet, at least this one; such an event stays unsettled until all \
                         are created"
                    );
                    return Ok(());
                }
                Err(TopologyError::Missing(_)) => missing.push(later.name),
                checked => checked?,
            }
        }
        if !missing.is_empty() {
            tracing::warn!(
                destination = of.name,
                queues = missing.join(", "),
                "the broker lacks some of the queues for events that may not be sent yet; such an event stays unsettled until they are created"
            );
        }
        Ok(())
    }

    /// Whether a queue is there, whatever its settings; a "no" ends a channel.
    pub(super) async fn has_queue(&self, live: &Live, name: &str) -> Result<bool, TopologyError> {
        let _permit = self.permits.acquire().await;
        let channel = live.channel().await?;
        match queue(name, &[]).declare(&channel, true).await {
            Ok(()) => {
                close_channel(&channel).await;
                Ok(true)
            }
            Err(TopologyError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes sure of a destination's lease queue.
    pub(super) async fn ensure_lease(&self, live: &Live, destination: &str) -> Result<(), TopologyError> {
        let arguments = [
            NO_DELIVERY_LIMIT,
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
            disconnected(DISCONNECTED_MILLISECONDS),
        ];
        self.ensure(live, &[queue(&self.names.lease(destination), &arguments)]).await
    }

    /// Makes sure of a queue where messages lie for a time, and of the first of its kind.
    pub(super) async fn ensure_delay(&self, live: &Live, of: &DelayQueue) -> Result<(), TopologyError> {
        let mut objects = vec![delay_queue(&of.first.0, of.first.1, &of.returns_to)];
        if of.name != of.first.0 {
            objects.push(delay_queue(&of.name, of.delay, &of.returns_to));
        }
        self.ensure(live, &objects).await
    }

    async fn ensure(&self, live: &Live, objects: &[BrokerObject]) -> Result<(), TopologyError> {
        let _permit = self.permits.acquire().await;
        match self.declare {
            Declare::Create => create(live, objects).await,
            Declare::Check => check(live, objects).await,
            Declare::Never => Ok(()),
        }
    }

    fn shared(&self) -> Vec<BrokerObject> {
        let unrouted = self.names.unrouted();
        let mut objects = vec![
            exchange(&unrouted, ExchangeKind::Fanout, FieldTable::default()),
            queue(&unrouted, &[NO_DELIVERY_LIMIT]),
            BrokerObject::Binding { queue: unrouted.clone(), exchange: unrouted.clone(), pattern: String::new() },
            queue(&self.names.audit(), &[NO_DELIVERY_LIMIT, ("x-max-length", whole(AUDIT_ENTRIES))]),
            exchange(&self.names.control(), ExchangeKind::Fanout, FieldTable::default()),
        ];
        objects.extend(Class::ALL.map(|class| {
            let unrouted = table(&[("alternate-exchange", text(&unrouted))]);
            exchange(&self.names.exchange_of(class), ExchangeKind::Topic, unrouted)
        }));
        if self.receipts {
            objects.push(exchange(&self.names.receipts(), ExchangeKind::Topic, FieldTable::default()));
        }
        objects
    }

    fn destination(&self, of: &DestinationQueues) -> Vec<BrokerObject> {
        let dead = self.names.dead(&of.name);
        let limit = whole(i64::from(self.delivery_limit));
        // What a queue dead-letters goes to must be there first.
        let mut objects = vec![
            queue(&dead, &[NO_DELIVERY_LIMIT]),
            queue(&self.names.trash(&of.name), &[NO_DELIVERY_LIMIT, ("x-message-ttl", whole(TRASH_MILLISECONDS))]),
        ];
        let arguments = [&[("x-delivery-limit", limit)][..], &dead_lettering_to(&dead)].concat();
        objects.extend(Class::ALL.map(|class| queue(&self.names.queue_of(&of.name, class), &arguments)));
        for class in Class::ALL {
            objects.extend(of.subscribe.iter().map(|pattern| BrokerObject::Binding {
                queue: self.names.queue_of(&of.name, class),
                exchange: self.names.exchange_of(class),
                pattern: pattern.clone(),
            }));
        }
        objects
    }
}

fn exchange(name: &str, kind: ExchangeKind, arguments: FieldTable) -> BrokerObject {
    BrokerObject::Exchange { name: name.to_owned(), kind, arguments }
}

fn queue(name: &str, extra: &[(&str, AMQPValue)]) -> BrokerObject {
    BrokerObject::Queue { name: name.to_owned(), arguments: quorum(extra) }
}

fn delay_queue(name: &str, delay: Duration, returns_to: &str) -> BrokerObject {
    let milliseconds = whole(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
    queue(name, &[&[("x-message-ttl", milliseconds)][..], &dead_lettering_to(returns_to)].concat())
}

/// At-least-once needs all four: with another overflow the broker falls back to at-most-once without a word.
fn dead_lettering_to(queue: &str) -> [(&'static str, AMQPValue); 4] {
    [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(queue)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

/// All at once on one throw-away channel: the broker answers in order, and the first refusal closes it.
async fn create(live: &Live, objects: &[BrokerObject]) -> Result<(), TopologyError> {
    let channel = live.channel().await?;
    let answers = join_all(objects.iter().map(|object| object.declare(&channel, false))).await;
    close_channel(&channel).await;
    let mut errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    // The one the broker spoke about comes first; the rest only found the channel closed.
    errors.sort_by_key(|error| !error.is_an_answer());
    errors.into_iter().next().map_or(Ok(()), Err)
}

async fn check(live: &Live, objects: &[BrokerObject]) -> Result<(), TopologyError> {
    let mut channel = live.channel().await?;
    for object in objects.iter().filter(|object| !matches!(object, BrokerObject::Binding { .. })) {
        for passive in [true, false] {
            match object.declare(&channel, passive).await {
                Err(TopologyError::Different(difference)) => {
                    tracing::warn!(
                        difference,
                        "the broker has an object with other settings; working with it as it is"
                    );
                    channel = live.channel().await?;
                }
                // Whoever may only use it cannot compare it, and need not.
                Err(TopologyError::Refused(refusal)) => {
                    tracing::warn!(
                        refusal,
                        "an object cannot be compared with what it should be; working with it as it is"
                    );
                    channel = live.channel().await?;
                }
                declared => declared?,
            }
        }
    }
    close_channel(&channel).await;
    Ok(())
}

impl BrokerObject {
    async fn declare(&self, channel: &Channel, passive: bool) -> Result<(), TopologyError> {
        let declared = match self {
            Self::Exchange { name, kind, arguments } => {
                let options = ExchangeDeclareOptions { durable: true, passive, ..ExchangeDeclareOptions::default() };
                within(channel.exchange_declare(short("an exchange", name)?, kind.clone(), options, arguments.clone()))
                    .await
            }
            Self::Queue { name, arguments } => {
                let options = QueueDeclareOptions { durable: true, passive, ..QueueDeclareOptions::default() };
                within(channel.queue_declare(short("a queue", name)?, options, arguments.clone())).await.map(|_| ())
            }
            Self::Binding { queue, exchange, pattern } => {
                let (queue, exchange) = (short("a queue", queue)?, short("an exchange", exchange)?);
                let pattern = short("a subscribe pattern", pattern)?;
                within(channel.queue_bind(queue, exchange, pattern, QueueBindOptions::default(), FieldTable::default()))
                    .await
            }
        };
        declared.map_err(|trouble| match &trouble {
            AmqpTrouble::Amqp(error) => match code(error) {
                Some(code) => self.refused(code, error),
                None => TopologyError::Trouble(trouble),
            },
            AmqpTrouble::TimedOut | AmqpTrouble::NoChannel | AmqpTrouble::Away => TopologyError::Trouble(trouble),
        })
    }

    /// What the broker's refusal means. Only where it has the object with other arguments may that have to go.
    fn refused(&self, code: u16, error: &lapin::Error) -> TopologyError {
        let said = words(error);
        match (code, self) {
            (NOT_FOUND, _) => TopologyError::Missing(said),
            (PRECONDITION_FAILED, Self::Binding { pattern, .. }) => {
                TopologyError::Pattern { pattern: pattern.clone(), words: said }
            }
            (PRECONDITION_FAILED, Self::Exchange { .. } | Self::Queue { .. }) if said.contains("inequivalent arg") => {
                TopologyError::Different(said)
            }
            (_, Self::Exchange { .. } | Self::Queue { .. } | Self::Binding { .. }) => {
                TopologyError::Refused(told(error))
            }
        }
    }
}
