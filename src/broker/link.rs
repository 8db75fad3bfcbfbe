//! A supervised connection: connects for ever with growing pauses, says once when it came and went, and hands out the live connection
//! with a token that ends with it. One on which the broker has closed many channels is replaced, see [`super::connection`].

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::{Channel, Connection, ConnectionStatus, ErrorKind, Event};
use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{ConnectError, Trouble, close, connect, describe, open_channel, words};
use super::pause::Pause;
use super::status::{LinkStatus, Status};
use crate::clock;

/// At most so many channels that the broker closed wear a connection out; fewer where it allows fewer than twice as many.
const WORN_OUT: u32 = 1_000;
/// How often the state is looked at in case an event was missed.
const GLANCE: Duration = Duration::from_secs(5);

/// Which of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Consuming,
    Publishing,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Consuming => "consuming",
            Self::Publishing => "publishing",
        }
    }

    fn of(self, status: &mut Status) -> &mut LinkStatus {
        match self {
            Self::Consuming => &mut status.consuming,
            Self::Publishing => &mut status.publishing,
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

    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, Trouble> {
        let opened = open_channel(&self.connection).await;
        if let Err(Trouble::Amqp(error)) = &opened
            && matches!(error.kind(), ErrorKind::ChannelsLimitReached)
        {
            self.worn_out.cancel();
        }
        opened
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
}

/// What is heard on one connection, from its first moment to its last: an event that nobody listens for is lost, and each comes once.
struct Ear {
    events: BoxStream<'static, Event>,
    status: ConnectionStatus,
    given_up: CancellationToken,
    worn_out: CancellationToken,
    /// Channels that the broker closed, and how many make it worn out.
    refusals: u32,
    most: u32,
    blocked: bool,
}

impl Ear {
    fn on(live: &Live) -> Self {
        let connection = &live.connection;
        Self {
            events: connection.events_listener().boxed(),
            status: connection.status().clone(),
            given_up: live.given_up.clone(),
            worn_out: live.worn_out.clone(),
            refusals: 0,
            most: WORN_OUT.min(u32::from(connection.configuration().channel_max()) / 2),
            blocked: false,
        }
    }
}

/// Why a connection is not to be used for new channels any longer.
enum Ended {
    /// It is gone, or as good as.
    Lost(String),
    /// It is worn out, and this one takes its place.
    Replaced(Connection),
}

/// Keeps one connection up.
pub(super) struct Supervisor {
    pub(super) side: Side,
    pub(super) url: SecretString,
    pub(super) name: String,
    pub(super) status: Arc<watch::Sender<Status>>,
    pub(super) end: CancellationToken,
    /// Where its tasks are waited for.
    pub(super) tasks: TaskTracker,
}

impl Supervisor {
    /// The link, which is kept up until `end`.
    pub(super) fn link(self) -> Link {
        let (live, receiver) = watch::channel(None);
        let tasks = self.tasks.clone();
        tasks.spawn(async move { Arc::new(self).run(&live).await });
        Link { live: receiver }
    }

    async fn run(self: Arc<Self>, live: &watch::Sender<Option<Live>>) {
        let mut pause = Pause::new();
        loop {
            let connected = tokio::select! {
                () = self.end.cancelled() => return,
                connected = self.connect() => connected,
            };
            match connected {
                Ok(connection) => {
                    pause = Pause::new();
                    self.serve(connection, live).await;
                }
                Err(error) => self.note_failure(error),
            }
            tokio::select! {
                () = self.end.cancelled() => return,
                () = clock::sleep(pause.next()) => {}
            }
        }
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        connect(&self.url, &format!("{} ({})", self.name, self.side.name())).await
    }

    async fn serve(self: &Arc<Self>, connection: Connection, live: &watch::Sender<Option<Live>>) {
        self.change(|link| {
            link.connected = true;
            link.epochs += 1;
            link.last_error = None;
        });
        tracing::info!(side = self.side.name(), at = describe(&self.url), "connected to the broker");
        let mut now = Live::of(connection);
        let lost = loop {
            let mut ear = Ear::on(&now);
            live.send_replace(Some(now.clone()));
            let ended = tokio::select! {
                () = self.end.cancelled() => break None,
                ended = self.follow(&mut ear) => ended,
            };
            match ended {
                Ended::Lost(why) => break Some(why),
                Ended::Replaced(connection) => {
                    let Live { connection, gone, .. } = std::mem::replace(&mut now, Live::of(connection));
                    // It stays up for the channels that it has, and closes with the last of them.
                    let old = Arc::downgrade(&connection);
                    drop(connection);
                    self.tasks.spawn(Arc::clone(self).see_out(old, gone, ear));
                }
            }
        };
        live.send_replace(None);
        now.gone.cancel();
        self.change(|link| {
            link.connected = false;
            link.blocked = None;
        });
        match lost {
            Some(why) => {
                tracing::warn!(
                    side = self.side.name(),
                    reason = why,
                    "lost the connection to the broker; reconnecting"
                );
                let at = describe(&self.url);
                self.change(|link| link.last_error = Some(ConnectError::Unreachable { at, words: why }));
                // A broker that does not answer would hold up the next connection: nobody waits for this one.
                if now.connection.status().connected() {
                    tokio::spawn(async move { close(&now.connection).await });
                }
            }
            None => close(&now.connection).await,
        }
    }

    /// Follows a connection until it is lost, or another has been opened since it is worn out.
    async fn follow(&self, ear: &mut Ear) -> Ended {
        let worn_out = ear.worn_out.clone();
        tokio::select! {
            why = self.listen(ear) => Ended::Lost(why),
            connection = self.replacement(worn_out) => Ended::Replaced(connection),
        }
    }

    /// Follows a connection that was replaced to its end: it may still be blocked, and unblocked.
    async fn see_out(self: Arc<Self>, connection: Weak<Connection>, gone: CancellationToken, mut ear: Ear) {
        tokio::select! {
            () = self.end.cancelled() => {}
            _ = self.listen(&mut ear) => {}
        }
        if ear.blocked {
            self.change(|link| link.blocked = None);
        }
        gone.cancel();
        if let Some(connection) = connection.upgrade().filter(|connection| connection.status().connected()) {
            close(&connection).await;
        }
    }

    /// A connection in place of one that is worn out, as soon as it is that and there is one.
    async fn replacement(&self, worn_out: CancellationToken) -> Connection {
        worn_out.cancelled().await;
        tracing::info!(
            side = self.side.name(),
            "the broker has closed many channels of this connection, and their numbers cannot be used again: new channels are opened on \
             another connection, those that are open stay"
        );
        let (mut pause, mut said) = (Pause::new(), false);
        loop {
            match self.connect().await {
                Ok(connection) => return connection,
                Err(error) if !std::mem::replace(&mut said, true) => {
                    tracing::warn!(
                        side = self.side.name(),
                        "{error}; the old connection stays in use until there is one"
                    );
                }
                Err(_) => {}
            }
            clock::sleep(pause.next()).await;
        }
    }

    /// Hears a connection's events; returns why it is lost.
    async fn listen(&self, ear: &mut Ear) -> String {
        while ear.status.connected() {
            let event = tokio::select! {
                () = ear.given_up.cancelled() => return "the broker did not answer on it".to_owned(),
                heard = tokio::time::timeout(GLANCE, ear.events.next()) => {
                    let Ok(event) = heard else { continue };
                    event
                }
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(reason, "the broker takes no messages for now (resource alarm); publishing waits");
                    ear.blocked = true;
                    self.change(|link| link.blocked = Some(reason));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("the broker takes messages again");
                    ear.blocked = false;
                    self.change(|link| link.blocked = None);
                }
                Some(Event::Error(error)) if !ear.status.connected() => return words(&error),
                // A channel's error comes this way too, and leaves the connection up.
                Some(Event::Error(_)) => {
                    ear.refusals += 1;
                    if ear.refusals >= ear.most {
                        ear.worn_out.cancel();
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

    fn change(&self, change: impl FnOnce(&mut LinkStatus)) {
        self.status.send_modify(|status| change(self.side.of(status)));
    }
}

impl Status {
    fn link(&self, side: Side) -> &LinkStatus {
        match side {
            Side::Consuming => &self.consuming,
            Side::Publishing => &self.publishing,
        }
    }
}
