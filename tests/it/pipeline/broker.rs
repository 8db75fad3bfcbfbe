//! A broker in memory, the other end of `broker::port`: one destination's queues, with prefetch, requeues, waiting
//! with a TTL, confirms that fail as told, and channels that are lost with what was unsettled on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sluice::broker::Names;
use sluice::broker::port::{
    Delivery, Disposition, Feed, FeedEnds, Inbox, Prefetch, Proof, Publication, PublishError, Publisher, Ticket,
    Witness,
};
use sluice::class::Class;
use sluice::clock;
use sluice::message::header::{REPLAY, REPLAY_OF, REPLAY_TO};
use sluice::message::{Field, Message};
use sluice::record::replay::Notice;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::event_number;

/// The destination that all tests drive.
pub const DESTINATION: &str = "hook";
/// Where whoever replayed an event waits.
pub const REPLAYS: &str = "sluice.replays.test";
/// How often a message is given back before the broker moves it to the dead letters.
pub const DELIVERY_LIMIT: u32 = 20;

/// From an order at one end to its effect at the other.
const WIRE: Duration = Duration::from_millis(1);
/// From a lost channel to the next.
const RECONNECT: Duration = Duration::from_millis(50);
/// After so long a publication that is not confirmed is given up.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// What becomes of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Confirmed,
    Refused,
    /// The connection was lost before it arrived.
    Lost,
    /// The connection was lost after it arrived and before the confirm.
    StoredButLost,
    /// Neither a confirm nor an error comes.
    Unanswered,
}

/// A publication as the broker saw it.
#[derive(Clone, Debug)]
pub struct Published {
    pub queue: String,
    pub message: Message,
    pub fate: Fate,
}

#[derive(Clone, Debug)]
struct Stored {
    class: Class,
    message: Message,
    routing_key: String,
    redelivered: bool,
    returns: u32,
    /// When a worker was given it last.
    given: Option<Instant>,
}

struct Consumer {
    deliveries: mpsc::Sender<Box<Delivery>>,
    bulk_deliveries: mpsc::Sender<Box<Delivery>>,
    feeds: [Option<FeedEnds>; 2],
    prefetch: [usize; 2],
    witness: Witness,
    channel: Option<(CancellationToken, mpsc::UnboundedSender<(u64, Disposition)>)>,
}

/// One of the destination's queues.
#[derive(Default)]
struct Queue {
    /// What was given back, in the order in which it came: it goes before the rest, as in a quorum queue.
    returned: VecDeque<Stored>,
    ready: VecDeque<Stored>,
}

impl Queue {
    fn len(&self) -> usize {
        self.returned.len() + self.ready.len()
    }
}

/// The place of that class's queue.
fn at(class: Class) -> usize {
    match class {
        Class::Live => 0,
        Class::Bulk => 1,
    }
}

struct State {
    /// Of live events, and of those that may wait.
    queues: [Queue; 2],
    unsettled: BTreeMap<u64, Stored>,
    retrying: usize,
    dead: Vec<Message>,
    published: Vec<Published>,
    fate: Box<dyn FnMut() -> Fate + Send>,
    consumer: Option<Consumer>,
    next_tag: u64,
    most_unsettled: usize,
    requeued: usize,
    cuts: BTreeMap<u64, Vec<Instant>>,
    unconfirmed: BTreeMap<u64, usize>,
    /// Whether someone waits for what becomes of replayed events, and what they were told.
    listening: bool,
    told: Vec<Notice>,
    /// Queues that confirm nothing, having lost their majority.
    silent: BTreeSet<String>,
    /// Nothing gets through in either direction, and neither end knows.
    half_open: bool,
}

/// The broker. Cheap to clone.
#[derive(Clone)]
pub struct MemoryBroker(Arc<Mutex<State>>);

impl MemoryBroker {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            queues: <[Queue; 2]>::default(),
            unsettled: BTreeMap::new(),
            retrying: 0,
            dead: Vec::new(),
            published: Vec::new(),
            fate: Box::new(|| Fate::Confirmed),
            consumer: None,
            next_tag: 1,
            most_unsettled: 0,
            requeued: 0,
            cuts: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            listening: false,
            told: Vec::new(),
            silent: BTreeSet::new(),
            half_open: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A producer's message comes in.
    pub fn put(&self, routing_key: &str, message: Message) {
        self.put_returned(routing_key, message, 0);
    }

    /// A producer's message comes in that may wait.
    pub fn put_bulk(&self, routing_key: &str, message: Message) {
        self.put_in(Class::Bulk, routing_key, message, 0);
    }

    /// A message that had been given back `returns` times.
    pub fn put_returned(&self, routing_key: &str, message: Message, returns: u32) {
        self.put_in(Class::Live, routing_key, message, returns);
    }

    fn put_in(&self, class: Class, routing_key: &str, message: Message, returns: u32) {
        let routing_key = routing_key.to_owned();
        let mut state = self.state();
        let stored = Stored { class, message, routing_key, redelivered: returns > 0, returns, given: None };
        state.queues[at(class)].ready.push_back(stored);
        state.pump();
    }

    /// What becomes of publications from now on.
    pub fn decide(&self, fate: impl FnMut() -> Fate + Send + 'static) {
        self.state().fate = Box::new(fate);
    }

    /// A queue loses its majority, or has it back: it confirms nothing meanwhile, and others do.
    pub fn silence(&self, queue: &str, silent: bool) {
        let queue = queue.to_owned();
        let mut state = self.state();
        if silent {
            state.silent.insert(queue)
        } else {
            state.silent.remove(&queue)
        };
    }

    /// From now on nothing gets through, until the channel is lost.
    pub fn half_open(&self) {
        self.state().half_open = true;
    }

    /// Messages in the destination's queues that no worker holds.
    pub fn ready(&self) -> usize {
        self.state().queues.iter().map(Queue::len).sum()
    }

    /// Those of them that may wait.
    pub fn bulk_ready(&self) -> usize {
        self.state().queues[at(Class::Bulk)].len()
    }

    /// Messages that a worker holds.
    pub fn unsettled(&self) -> usize {
        self.state().unsettled.len()
    }

    /// How long the one that a worker has held longest has been held.
    pub fn longest_held(&self) -> Duration {
        let first = self.state().unsettled.values().filter_map(|stored| stored.given).min();
        first.map_or(Duration::ZERO, |given| clock::now() - given)
    }

    /// Messages that wait in queues of a fixed time.
    pub fn retrying(&self) -> usize {
        self.state().retrying
    }

    /// How often a worker gave a message back.
    pub fn requeued(&self) -> usize {
        self.state().requeued
    }

    /// The most that a worker held at once, since it was last asked.
    pub fn most_unsettled(&self) -> usize {
        let mut state = self.state();
        let now = state.unsettled.len();
        std::mem::replace(&mut state.most_unsettled, now)
    }

    /// Whether nothing is left but dead letters.
    pub fn is_drained(&self) -> bool {
        let state = self.state();
        state.queues.iter().all(|queue| queue.len() == 0) && state.unsettled.is_empty() && state.retrying == 0
    }

    pub fn dead(&self) -> Vec<Message> {
        self.state().dead.clone()
    }

    /// The reasons of the dead letters, in order.
    pub fn reasons(&self) -> Vec<String> {
        self.dead()
            .iter()
            .map(|letter| header(letter, "x-sluice-reason").unwrap_or("the broker's limit").to_owned())
            .collect()
    }

    pub fn published(&self) -> Vec<Published> {
        self.state().published.clone()
    }

    /// Someone waits for what becomes of replayed events.
    pub fn listen(&self) {
        self.state().listening = true;
    }

    /// What they were told.
    pub fn told(&self) -> Vec<Notice> {
        self.state().told.clone()
    }

    /// How often an event that was first sent at `sent` may have been doubled since: held while its channel was lost, or
    /// published without a confirm.
    pub fn doubts(&self, event: u64, sent: Instant) -> usize {
        let state = self.state();
        let cuts = state.cuts.get(&event).map_or(0, |cuts| cuts.iter().filter(|cut| **cut >= sent).count());
        cuts + state.unconfirmed.get(&event).copied().unwrap_or(0)
    }

    /// A worker opens the destination's queue.
    pub fn open(&self) -> Inbox {
        let (deliveries, receiver) = mpsc::channel(usize::from(u16::MAX));
        let (bulk_deliveries, bulk_receiver) = mpsc::channel(usize::from(u16::MAX));
        let (proof, witness) = Proof::new();
        tokio::spawn(self.clone().answer(witness.clone()));
        self.state().consumer = Some(Consumer {
            deliveries,
            bulk_deliveries,
            feeds: [None, None],
            prefetch: [0, 0],
            witness,
            channel: None,
        });
        self.connect();
        let (live, bulk) = (self.feed(Class::Live), self.feed(Class::Bulk));
        Inbox { deliveries: receiver, bulk_deliveries: bulk_receiver, live, bulk, proof }
    }

    fn feed(&self, class: Class) -> Feed {
        let (feed, ends) = Feed::new();
        let mut wanted = ends.prefetch.clone();
        if let Some(consumer) = self.state().consumer.as_mut() {
            consumer.feeds[at(class)] = Some(ends);
        }
        let broker = self.clone();
        tokio::spawn(async move {
            loop {
                let prefetch = *wanted.borrow_and_update();
                // Another prefetch is another consumer: the one of before is cancelled first.
                if let Some(consumer) = broker.state().consumer.as_mut() {
                    consumer.prefetch[at(class)] = 0;
                    if let Some(ends) = &consumer.feeds[at(class)] {
                        ends.consuming.send_replace(false);
                    }
                }
                tokio::time::sleep(WIRE).await;
                if let Some(consumer) = broker.state().consumer.as_mut() {
                    let prefetch = match prefetch {
                        Prefetch::None => 0,
                        Prefetch::Of(prefetch) => usize::from(prefetch),
                    };
                    consumer.prefetch[at(class)] = prefetch;
                    if let Some(ends) = &consumer.feeds[at(class)] {
                        ends.consuming.send_replace(prefetch > 0);
                    }
                }
                broker.state().pump();
                if wanted.changed().await.is_err() {
                    return;
                }
            }
        });
        feed
    }

    /// Answers whoever wants to know whether the broker is there.
    async fn answer(self, mut witness: Witness) {
        loop {
            witness.due().await;
            if self.state().half_open {
                tokio::time::sleep(WIRE).await;
            } else {
                witness.answered(clock::now(), clock::now());
            }
        }
    }

    /// A worker's way to publish.
    pub fn publisher(&self) -> Publisher {
        let (queue, mut publications) = mpsc::channel(64);
        let broker = self.clone();
        tokio::spawn(async move {
            while let Some(publication) = publications.recv().await {
                let broker = broker.clone();
                tokio::spawn(async move { broker.take(publication).await });
            }
        });
        Publisher::new(queue)
    }

    /// The channel is lost: acks under way are lost with it, and what was unsettled is delivered again.
    pub fn cut(&self) {
        self.disconnect();
        let broker = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RECONNECT).await;
            broker.connect();
        });
    }

    /// The worker's connection is over for good. Its last acks are let through when it ended well.
    pub async fn close(&self, well: bool) {
        if well {
            tokio::time::sleep(WIRE * 5).await;
        }
        self.disconnect();
        self.state().consumer = None;
    }

    fn disconnect(&self) {
        let mut state = self.state();
        state.half_open = false;
        let Some((epoch, _)) = state.consumer.as_mut().and_then(|consumer| consumer.channel.take()) else { return };
        epoch.cancel();
        let held: Vec<Stored> = std::mem::take(&mut state.unsettled).into_values().collect();
        for stored in held {
            if let Some(event) = event_number(&stored.message.body) {
                state.cuts.entry(event).or_default().push(clock::now());
            }
            state.give_back(stored);
        }
    }

    fn connect(&self) {
        let (settle, mut settlements) = mpsc::unbounded_channel();
        let epoch = CancellationToken::new();
        {
            let mut state = self.state();
            let Some(consumer) = state.consumer.as_mut().filter(|consumer| consumer.channel.is_none()) else { return };
            consumer.channel = Some((epoch.clone(), settle));
            // As RabbitMQ does: each channel counts for itself.
            state.next_tag = 1;
            state.pump();
        }
        let broker = self.clone();
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while settlements.recv_many(&mut batch, 1024).await > 0 {
                tokio::time::sleep(WIRE).await;
                while !epoch.is_cancelled() && broker.state().half_open {
                    tokio::time::sleep(WIRE).await;
                }
                if epoch.is_cancelled() {
                    return;
                }
                let mut state = broker.state();
                for (tag, disposition) in batch.drain(..) {
                    state.settle(tag, disposition);
                }
                state.pump();
            }
        });
    }

    async fn take(&self, publication: Publication) {
        tokio::time::sleep(WIRE).await;
        let Publication { exchange, routing_key, message, outcome, .. } = publication;
        let fate = {
            let mut state = self.state();
            let fate = (state.fate)();
            state.published.push(Published { queue: routing_key.clone(), message: message.clone(), fate });
            if let (Fate::StoredButLost, Some(event)) = (fate, event_number(&message.body)) {
                *state.unconfirmed.entry(event).or_default() += 1;
            }
            fate
        };
        if self.state().silent.contains(&routing_key) {
            tokio::time::sleep(CONFIRM_WITHIN).await;
            return answer_to(outcome, Err(PublishError::TimedOut(CONFIRM_WITHIN)));
        }
        let answer = match fate {
            Fate::Unanswered => std::future::pending().await,
            Fate::Refused => Err(PublishError::Refused),
            Fate::Lost => Err(PublishError::Lost),
            Fate::Confirmed | Fate::StoredButLost => match (self.store(&routing_key, message), fate) {
                (false, _) => Err(PublishError::Unroutable { exchange, routing_key }),
                (true, Fate::StoredButLost) => Err(PublishError::Lost),
                (true, _) => Ok(()),
            },
        };
        answer_to(outcome, answer);
    }

    fn store(&self, queue: &str, message: Message) -> bool {
        let names = Names::new("sluice");
        let class = Class::bulk_if(queue.starts_with(&names.bulk(DESTINATION)));
        let own = names.queue_of(DESTINATION, class);
        if queue == REPLAYS {
            let notice = serde_json::from_slice(&message.body).expect("what is told is a notice");
            let mut state = self.state();
            state.told.push(notice);
            return state.listening;
        } else if queue == own {
            self.put_in(class, queue, message, 0);
        } else if queue == names.dead(DESTINATION) {
            self.state().dead.push(message);
        } else if let Some(delay) =
            ["retry", "later"].into_iter().find_map(|kind| delay(queue.strip_prefix(&format!("{own}.{kind}."))?))
        {
            self.wait(class, own, message, delay);
        } else {
            return false;
        }
        true
    }

    /// The shorter of the queue's TTL and the message's own; then it returns as a dead-lettered message does.
    fn wait(&self, class: Class, own: String, mut message: Message, ttl: Duration) {
        let expiration = message.properties.expiration.take().and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let ttl = ttl.min(expiration.unwrap_or(ttl));
        self.state().retrying += 1;
        let broker = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(ttl).await;
            message.properties.headers.insert("x-death".to_owned(), Field::Array(Vec::new()));
            broker.state().retrying -= 1;
            broker.put_in(class, &own, message, 0);
        });
    }
}

impl State {
    fn pump(&mut self) {
        let Some(consumer) = self.consumer.as_ref().filter(|_| !self.half_open) else { return };
        let Some((epoch, settle)) = &consumer.channel else { return };
        for class in Class::ALL {
            let mut held = self.unsettled.values().filter(|stored| stored.class == class).count();
            let queue = &mut self.queues[at(class)];
            while held < consumer.prefetch[at(class)]
                && let Some(mut stored) = queue.returned.pop_front().or_else(|| queue.ready.pop_front())
            {
                held += 1;
                let tag = self.next_tag;
                let delivery = Delivery {
                    class,
                    message: stored.message.clone(),
                    routing_key: stored.routing_key.clone(),
                    redelivered: stored.redelivered,
                    returns: stored.returns,
                    ticket: Ticket::new(tag, epoch.clone(), settle.clone()),
                };
                let inbox = match class {
                    Class::Live => &consumer.deliveries,
                    Class::Bulk => &consumer.bulk_deliveries,
                };
                let sent = inbox.try_send(Box::new(delivery));
                // The worker has just ended.
                if sent.is_err() {
                    queue.returned.push_front(stored);
                    break;
                }
                consumer.witness.heard(clock::now());
                self.next_tag += 1;
                stored.given = Some(clock::now());
                self.unsettled.insert(tag, stored);
                self.most_unsettled = self.most_unsettled.max(self.unsettled.len());
            }
        }
    }

    fn settle(&mut self, tag: u64, disposition: Disposition) {
        let stored = self.unsettled.remove(&tag).expect("a delivery is settled once, on its own channel");
        if disposition == Disposition::Requeue {
            self.requeued += 1;
            self.give_back(stored);
        }
    }

    fn give_back(&mut self, mut stored: Stored) {
        stored.redelivered = true;
        stored.returns += 1;
        if stored.returns > DELIVERY_LIMIT {
            self.dead.push(stored.message);
        } else {
            self.queues[at(stored.class)].returned.push_back(stored);
        }
    }
}

/// The event as a replay of the letter of that number.
pub fn replay(letter: u64, mut message: Message) -> Message {
    for (name, value) in [(REPLAY, "op"), (REPLAY_OF, &*format!("{letter:016x}")), (REPLAY_TO, REPLAYS)] {
        message.properties.headers.insert(name.to_owned(), Field::text(value));
    }
    message
}

/// A header of Sluice's own, as text.
pub fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.properties.headers.get(name).and_then(Field::as_str)
}

/// As queues are named.
fn delay(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(milliseconds) => milliseconds.parse().ok().map(Duration::from_millis),
        None => text.parse().ok().map(Duration::from_secs),
    }
}

fn answer_to(outcome: oneshot::Sender<Result<(), PublishError>>, answer: Result<(), PublishError>) {
    // A worker that was killed waits for no answer.
    drop(outcome.send(answer));
}
