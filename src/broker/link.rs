//! A supervised connection: connects for ever with growing pauses, says once when it came and went, and hands out the live connection
//! with a token that ends with it. One on which the broker has closed many channels is replaced, see [`super::connection`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::{Channel, Connection, ConnectionStatus, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::connection::{
    AmqpTrouble, ConnectError, Opened, PATIENCE, TRIES, Tuning, close, connect_tuned, open_channel, words,
};
use super::nodes::NodeUrls;
use super::place::Place;
use super::status::{BrokerStatus, LinkStatus};
use crate::backoff::Backoff;
use crate::clock;
use crate::supervisor::{Part, Supervisor};

/// At most so many channels that the broker closed wear a connection out; fewer where it allows fewer than twice as many.
const WORN_OUT: u32 = 1_000;
/// A connection is used for at least so long before it is replaced, however few channels it may have.
const LEAST_USE: Duration = Duration::from_secs(1);
/// Why a node is left whose queues do not answer.
const SILENT: &str = "no queue answered over its node, which may be cut off from the others";
/// How often the state is looked at in case an event was missed.
const GLANCE: Duration = Duration::from_secs(5);

/// Which of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Consuming,
    Publishing,
    /// For lease queues: whoever does not answer on it loses its leases soon.
    Leasing,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Consuming => "consuming",
            Self::Publishing => "publishing",
            Self::Leasing => "leasing",
        }
    }

    fn of(self, status: &mut BrokerStatus) -> &mut LinkStatus {
        match self {
            Self::Consuming => &mut status.consuming,
            Self::Publishing => &mut status.publishing,
            Self::Leasing => &mut status.leasing,
        }
    }

    fn tuning(self) -> Tuning {
        match self {
            Self::Consuming | Self::Publishing => Tuning::USUAL,
            Self::Leasing => Tuning { heartbeat: 1, ..Tuning::USUAL },
        }
    }
}

/// A connection that is up, until `gone` is cancelled.
#[derive(Clone)]
pub(super) struct Live {
    connection: Arc<Connection>,
    pub(super) gone: CancellationToken,
    /// Cancelled by whoever finds that the broker does not answer on it any more.
    given_up: CancellationToken,
    /// Cancelled when too few of its channels' numbers are left.
    worn_out: CancellationToken,
}

impl Live {
    fn of(connection: Connection) -> Self {
        let [gone, given_up, worn_out] = std::array::from_fn(|_| CancellationToken::new());
        Self { connection: Arc::new(connection), gone, given_up, worn_out }
    }

    /// Opens a channel. Where there is none left, another connection will soon be up.
    pub(super) async fn channel(&self) -> Result<Channel, AmqpTrouble> {
        let opened = open_channel(&self.connection).await;
        if matches!(opened, Err(AmqpTrouble::NoChannel)) {
            self.worn_out.cancel();
        }
        opened
    }

    /// Returns once nobody else has it.
    async fn unused(&self) {
        while Arc::strong_count(&self.connection) > 1 {
            clock::sleep(GLANCE).await;
        }
    }

    /// The broker has not answered on it time and again, though it is up: it is closed, and another is opened.
    pub(super) fn give_up(&self) {
        self.given_up.cancel();
    }
}

/// What others hold of a supervised connection.
#[derive(Clone)]
pub(super) struct Link {
    live: watch::Receiver<Option<Live>>,
}

impl Link {
    /// The connection as soon as there is one; `None` once the broker has been closed.
    pub(super) async fn up(&mut self) -> Option<Live> {
        self.live.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// A channel and the connection that it is on: the next one where this one has none left.
    pub(super) async fn channel(&mut self) -> Result<(Live, Channel), AmqpTrouble> {
        let opened = async {
            loop {
                let live = self.up().await.ok_or(AmqpTrouble::Away)?;
                match live.channel().await {
                    // A link that has ended says so above.
                    Err(AmqpTrouble::NoChannel) => drop(self.live.changed().await),
                    opened => return Ok((live, opened?)),
                }
            }
        };
        tokio::time::timeout(PATIENCE, opened).await.unwrap_or(Err(AmqpTrouble::Away))
    }
}

/// What is heard on one connection, from its first moment to its last: an event that nobody listens for is lost, and each comes once.
struct Listener {
    id: Uuid,
    since: Instant,
    events: BoxStream<'static, Event>,
    status: ConnectionStatus,
    given_up: CancellationToken,
    worn_out: CancellationToken,
    /// Channels that the broker closed, and how many make it worn out.
    refusals: u32,
    most: u32,
}

impl Listener {
    fn on(live: &Live) -> Self {
        let connection = &live.connection;
        Self {
            id: Uuid::new_v4(),
            since: clock::now(),
            events: connection.events_listener().boxed(),
            status: connection.status().clone(),
            given_up: live.given_up.clone(),
            worn_out: live.worn_out.clone(),
            refusals: 0,
            most: WORN_OUT.min(u32::from(connection.configuration().channel_max()) / 2).max(1),
        }
    }
}

/// Why a connection is not to be used for new channels any longer.
enum ConnectionEnd {
    /// It is gone, or as good as.
    Lost(String),
    /// It is worn out, and this one takes its place.
    Replaced(Box<Opened>),
}

/// Keeps one connection up.
pub(super) struct LinkTask {
    pub(super) side: Side,
    pub(super) url: NodeUrls,
    pub(super) place: Arc<Place>,
    pub(super) name: String,
    pub(super) status: Arc<watch::Sender<BrokerStatus>>,
    pub(super) end: CancellationToken,
    pub(super) supervisor: Supervisor,
    /// Where its tasks are waited for.
    pub(super) tasks: TaskTracker,
    /// Why the broker takes no messages for now, for each connection that it has said so on.
    pub(super) blocked: Mutex<BTreeMap<Uuid, String>>,
}

impl LinkTask {
    /// The link, which is kept up until `end`.
    pub(super) fn link(self) -> Link {
        let (live, receiver) = watch::channel(None);
        let name = format!("{} connection", self.side.name());
        let (task, live) = (Arc::new(self), Arc::new(live));
        let keeping = Arc::clone(&task);
        let part = move || {
            let (task, live) = (Arc::clone(&keeping), Arc::clone(&live));
            async move {
                task.abandon(&live);
                task.keep_up(&live).await;
                Ok(())
            }
        };
        task.tasks.spawn(task.supervisor.keep(&name, &task.end, part));
        Link { live: receiver }
    }

    /// Gives up what an earlier run left: nobody listens on that connection any more.
    fn abandon(&self, live: &watch::Sender<Option<Live>>) {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.change(|link| (link.connected, link.blocked) = (false, None));
        self.change(|link| link.since = link.since.or_else(|| Some(clock::wall())));
        if let Some(left) = live.send_replace(None) {
            left.gone.cancel();
            tokio::spawn(async move { close(&left.connection).await });
        }
    }

    async fn keep_up(self: Arc<Self>, live: &watch::Sender<Option<Live>>) {
        let mut backoff = Backoff::new(TRIES);
        let mut lost = None;
        loop {
            let connected = tokio::select! {
                () = self.end.cancelled() => return,
                connected = self.connect(lost) => connected,
            };
            match connected {
                Ok(opened) => {
                    backoff.reset();
                    lost = Some(self.serve(opened, live).await);
                }
                Err(error) => self.note_failure(error),
            }
            tokio::select! {
                () = self.end.cancelled() => return,
                () = clock::sleep(backoff.pause()) => {}
            }
        }
    }

    async fn connect(&self, lost: Option<usize>) -> Result<Opened, ConnectError> {
        let (name, behind) = (format!("{} ({})", self.name, self.side.name()), self.place.behind(lost));
        let opened = connect_tuned(&self.url, &name, Some(behind), self.side.tuning()).await?;
        if self.side == Side::Leasing {
            self.place.arrived(opened.node);
        }
        Ok(opened)
    }

    /// Serves a connection, and those that replace it, until one is lost; returns the node that it led to.
    async fn serve(self: &Arc<Self>, opened: Opened, live: &watch::Sender<Option<Live>>) -> usize {
        let Opened { connection, mut node, mut at } = opened;
        self.change(|link| {
            link.connected = true;
            link.epochs += 1;
            (link.last_error, link.since) = (None, None);
        });
        tracing::info!(side = self.side.name(), at, "connected to the broker");
        let mut now = Live::of(connection);
        let mut listener = Listener::on(&now);
        live.send_replace(Some(now.clone()));
        let lost = loop {
            let ended = tokio::select! {
                () = self.end.cancelled() => break None,
                ended = self.follow(&mut listener) => ended,
            };
            match ended {
                ConnectionEnd::Lost(why) => break Some(why),
                ConnectionEnd::Replaced(opened) => {
                    let opened = *opened;
                    (node, at) = (opened.node, opened.at);
                    let old = std::mem::replace(&mut now, Live::of(opened.connection));
                    let old_listener = std::mem::replace(&mut listener, Listener::on(&now));
                    live.send_replace(Some(now.clone()));
                    let name = format!("{} connection that was replaced", self.side.name());
                    let replaced = Replaced { task: Arc::clone(self), live: old, listener: old_listener };
                    self.tasks.spawn(self.supervisor.keep_trying(&name, &self.end, replaced));
                }
            }
        };
        live.send_replace(None);
        now.gone.cancel();
        self.note_blocked(listener.id, None);
        self.change(|link| (link.connected, link.since) = (false, Some(clock::wall())));
        match lost {
            Some(why) => {
                let side = self.side.name();
                tracing::warn!(side, at, reason = why, "lost the connection to the broker; reconnecting");
                self.change(|link| link.last_error = Some(ConnectError::Unreachable { at, words: why }));
                // A broker that does not answer would hold up the next connection: nobody waits for this one.
                if now.connection.status().connected() {
                    tokio::spawn(async move { close(&now.connection).await });
                }
            }
            None => close(&now.connection).await,
        }
        node
    }

    /// Follows a connection until it is lost, or another has been opened since it is worn out.
    async fn follow(&self, listener: &mut Listener) -> ConnectionEnd {
        let (worn_out, since) = (listener.worn_out.clone(), listener.since);
        tokio::select! {
            why = self.listen(listener) => ConnectionEnd::Lost(why),
            opened = self.replacement(worn_out, since) => ConnectionEnd::Replaced(Box::new(opened)),
        }
    }

    /// A connection in place of one that is worn out, as soon as it is that and there is one.
    async fn replacement(&self, worn_out: CancellationToken, since: Instant) -> Opened {
        worn_out.cancelled().await;
        clock::sleep_until(since + LEAST_USE).await;
        tracing::info!(
            side = self.side.name(),
            "few or no numbers for channels are left on this connection to the broker: new channels are opened on another, those that are \
             open stay"
        );
        let (mut backoff, mut said) = (Backoff::new(TRIES), false);
        loop {
            match self.connect(None).await {
                Ok(opened) => return opened,
                Err(error) if !std::mem::replace(&mut said, true) => {
                    tracing::warn!(
                        side = self.side.name(),
                        "{error}; the old connection stays in use until there is one"
                    );
                }
                Err(_) => {}
            }
            clock::sleep(backoff.pause()).await;
        }
    }

    /// Hears a connection's events; returns why it is lost.
    async fn listen(&self, listener: &mut Listener) -> String {
        let mut leaving = self.place.leaving();
        while listener.status.connected() {
            let event = tokio::select! {
                () = listener.given_up.cancelled() => return "the broker did not answer on it".to_owned(),
                () = self.place.silent(), if self.side == Side::Leasing => {
                    self.place.leave();
                    return SILENT.to_owned();
                }
                Ok(()) = leaving.changed() => return SILENT.to_owned(),
                heard = tokio::time::timeout(GLANCE, listener.events.next()) => {
                    let Ok(event) = heard else { continue };
                    event
                }
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(reason, "the broker takes no messages for now (resource alarm); publishing waits");
                    self.note_blocked(listener.id, Some(reason));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("the broker takes messages again");
                    self.note_blocked(listener.id, None);
                }
                Some(Event::Error(error)) if !listener.status.connected() => return words(&error),
                // A channel's error comes this way too, and leaves the connection up.
                Some(Event::Error(_)) => {
                    listener.refusals += 1;
                    if listener.refusals >= listener.most {
                        listener.worn_out.cancel();
                    }
                }
                Some(_) => {}
                None => return "the client ended it".to_owned(),
            }
        }
        "the connection broke".to_owned()
    }

    fn note_failure(&self, error: ConnectError) {
        let known = self.status.borrow().link(self.side).last_error.as_ref() == Some(&error);
        if !known {
            tracing::warn!(side = self.side.name(), "{error}; trying again until it works");
        }
        self.change(|link| link.last_error = Some(error));
    }

    /// It takes no messages while it says so on one of the connections.
    fn note_blocked(&self, connection: Uuid, reason: Option<String>) {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => blocked.insert(connection, reason),
            None => blocked.remove(&connection),
        };
        self.change(|link| link.blocked = blocked.values().next().cloned());
    }

    fn change(&self, change: impl FnOnce(&mut LinkStatus)) {
        self.status.send_modify(|status| change(self.side.of(status)));
    }
}

/// A connection that was replaced: it stays up for the channels that it has, and may be blocked, unblocked and lost.
struct Replaced {
    task: Arc<LinkTask>,
    live: Live,
    listener: Listener,
}

impl Part for Replaced {
    async fn run(&mut self) -> Result<(), String> {
        let Self { task, live, listener } = self;
        let lost = tokio::select! {
            () = task.end.cancelled() => None,
            () = live.unused() => None,
            why = task.listen(listener) => Some(why),
        };
        live.gone.cancel();
        task.note_blocked(listener.id, None);
        if let Some(reason) = lost {
            tracing::warn!(
                side = task.side.name(),
                reason,
                "lost a connection to the broker that had been replaced; what was left on it goes over to the other"
            );
            task.change(|link| link.epochs += 1);
        }
        if live.connection.status().connected() {
            close(&live.connection).await;
        }
        Ok(())
    }
}

impl BrokerStatus {
    fn link(&self, side: Side) -> &LinkStatus {
        match side {
            Side::Consuming => &self.consuming,
            Side::Publishing => &self.publishing,
            Side::Leasing => &self.leasing,
        }
    }
}

#[cfg(test)]
impl Link {
    /// One that never comes up while the sender is there.
    pub(super) fn away() -> (watch::Sender<Option<Live>>, Self) {
        let (sender, live) = watch::channel(None);
        (sender, Self { live })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_takes_no_messages_on_one_of_two_connections_takes_none() {
        let task = LinkTask {
            side: Side::Publishing,
            url: NodeUrls::from("amqp://localhost"),
            place: Arc::new(Place::new(1)),
            name: "test".to_owned(),
            status: Arc::new(watch::channel(BrokerStatus::default()).0),
            end: CancellationToken::new(),
            supervisor: Supervisor::default(),
            tasks: TaskTracker::new(),
            blocked: Mutex::default(),
        };
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let blocked_after = |connection, reason: Option<&str>| {
            task.note_blocked(connection, reason.map(str::to_owned));
            task.status.borrow().publishing.blocked.is_some()
        };
        assert!(blocked_after(one, Some("low on memory")));
        assert!(blocked_after(other, Some("low on memory")));
        assert!(blocked_after(one, None), "the other one is blocked");
        assert!(!blocked_after(other, None));
    }
}
