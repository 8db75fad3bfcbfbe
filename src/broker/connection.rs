//! One supervised connection: connects for ever with growing pauses, says once when it came and went,
//! and hands out the live connection with a token that ends with it. Never shows the URL's password.
//!
//! lapin 4.12.3 does not forget why the broker closed a channel: whoever gets that channel's number later is told the old reason, and
//! the number is lost for good. So [`open_channel`] goes on to the next number, and a connection that has lost many is replaced.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::pause::Pause;
use super::status::{LinkStatus, Status};
use crate::clock;

/// The longest any single exchange with the broker may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds; the server's own 60 would notice a dead peer only after two minutes.
const HEARTBEAT_SECONDS: u16 = 10;
/// So many channels that the broker closed wear a connection out: half of the numbers that RabbitMQ allows unless told otherwise.
const WORN_OUT: u32 = 1_000;
/// How often the state is looked at in case an event was missed.
const GLANCE: Duration = Duration::from_secs(5);

/// Why there is no connection; each says what to check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be read.
    #[error("the broker's URL cannot be read; write it as amqp://user:password@host:5672/vhost, or amqps:// for TLS")]
    Url,
    /// The broker refused the user, the password or the virtual host.
    #[error(
        "the broker at {at} refused the connection ({words}); check the user name, the password and the virtual host"
    )]
    Refused {
        /// Host, port and virtual host.
        at: String,
        /// The broker's own words.
        words: String,
    },
    /// Nothing answers there.
    #[error("cannot reach the broker at {at} ({words}); check that RabbitMQ runs there and the address is right")]
    Unreachable {
        /// Host, port and virtual host.
        at: String,
        /// What the system said.
        words: String,
    },
    /// Nothing is known yet.
    #[error("no connection to the broker after {0:?}; check the address and the network between")]
    Slow(Duration),
}

/// Why an exchange over a live connection failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The broker or the client crate said no.
    #[error("{}", words(.0))]
    Amqp(#[from] lapin::Error),
    /// No answer in time.
    #[error("no answer from the broker within {PATIENCE:?}")]
    TimedOut,
}

/// The broker's own words where it spoke, else the client crate's.
pub(super) fn words(error: &lapin::Error) -> String {
    if let ErrorKind::ProtocolError(amqp) = error.kind() { amqp.get_message().to_string() } else { error.to_string() }
}

/// Awaits one exchange with the broker, for at most [`PATIENCE`].
pub(super) async fn within<T>(exchange: impl Future<Output = lapin::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::TimedOut),
    }
}

/// Closes a channel, politely but not for long; what is left of it dies with the connection.
pub(super) async fn close_channel(channel: &Channel) {
    if channel.status().connected()
        && let Err(trouble) = within(channel.close(200, "OK".into())).await
    {
        tracing::debug!(%trouble, "a channel did not close cleanly");
    }
}

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
}

impl Live {
    fn of(connection: Arc<Connection>) -> Self {
        Self { connection, gone: CancellationToken::new(), given_up: CancellationToken::new() }
    }

    /// Stays up for the channels that it has, and closes with the last of them.
    async fn retire(self, end: CancellationToken) {
        let Self { connection, gone, given_up } = self;
        let (status, held) = (connection.status().clone(), Arc::downgrade(&connection));
        drop(connection);
        while status.connected() {
            tokio::select! {
                () = end.cancelled() => break,
                () = given_up.cancelled() => break,
                () = clock::sleep(GLANCE) => {}
            }
        }
        gone.cancel();
        if let Some(connection) = held.upgrade().filter(|connection| connection.status().connected()) {
            close(&connection).await;
        }
    }

    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, Trouble> {
        open_channel(&self.connection).await
    }

    /// The broker has not answered on it time and again, though it is up: it is closed, and another is opened.
    pub(super) fn give_up(&self) {
        self.given_up.cancel();
    }
}

/// Opens a channel, whatever the broker said on an earlier one of the same number.
pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, Trouble> {
    loop {
        match within(connection.create_channel()).await {
            // Nothing was sent. It ends: each such number is met once, and when none is left the error is another.
            Err(Trouble::Amqp(error)) if error.is_amqp_soft_error() && connection.status().connected() => {}
            opened => return opened,
        }
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

/// Why a connection is not to be used any longer.
enum Ended {
    /// It is gone, or as good as.
    Lost(String),
    /// Too few of its channels' numbers are left.
    WornOut,
}

/// Keeps one connection up.
pub(super) struct Supervisor {
    pub(super) side: Side,
    pub(super) url: SecretString,
    pub(super) name: String,
    pub(super) status: Arc<watch::Sender<Status>>,
    pub(super) end: CancellationToken,
}

impl Supervisor {
    /// The link, and the future that keeps it up until `end`.
    pub(super) fn link(self) -> (Link, impl Future<Output = ()>) {
        let (live, receiver) = watch::channel(None);
        (Link { live: receiver }, async move { self.run(&live).await })
    }

    async fn run(self, live: &watch::Sender<Option<Live>>) {
        let mut pause = Pause::new();
        loop {
            let connected = tokio::select! {
                () = self.end.cancelled() => return,
                connected = self.connect() => connected,
            };
            match connected {
                Ok(connection) => {
                    pause = Pause::new();
                    self.serve(Arc::new(connection), live).await;
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

    async fn serve(&self, connection: Arc<Connection>, live: &watch::Sender<Option<Live>>) {
        self.change(|link| {
            link.connected = true;
            link.epochs += 1;
            link.last_error = None;
        });
        tracing::info!(side = self.side.name(), at = describe(&self.url), "connected to the broker");
        let mut now = Live::of(connection);
        live.send_replace(Some(now.clone()));
        let lost = loop {
            let ended = tokio::select! {
                () = self.end.cancelled() => break None,
                ended = self.watch(&now.connection) => ended,
                () = now.given_up.cancelled() => Ended::Lost("the broker did not answer on it".to_owned()),
            };
            match ended {
                Ended::Lost(why) => break Some(why),
                Ended::WornOut => {
                    let Some(next) = self.renew().await else { continue };
                    live.send_replace(Some(next.clone()));
                    tokio::spawn(std::mem::replace(&mut now, next).retire(self.end.clone()));
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

    /// A connection in place of one that is worn out; `None` when there is none for now.
    async fn renew(&self) -> Option<Live> {
        tracing::warn!(
            side = self.side.name(),
            "the broker has refused something {WORN_OUT} times on this connection (see the errors before): new channels are \
             opened on another, those that are open stay"
        );
        match self.connect().await {
            Ok(connection) => Some(Live::of(Arc::new(connection))),
            Err(error) => {
                tracing::warn!(side = self.side.name(), "{error}; the old connection stays in use");
                None
            }
        }
    }

    /// Follows the connection's events; returns why it is not to be used any longer.
    async fn watch(&self, connection: &Connection) -> Ended {
        let mut events = pin!(connection.events_listener());
        let mut refusals = 0_u32;
        while connection.status().connected() {
            let Ok(event) = tokio::time::timeout(GLANCE, events.next()).await else { continue };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(reason, "the broker takes no messages for now (resource alarm); publishing waits");
                    self.change(|link| link.blocked = Some(reason));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("the broker takes messages again");
                    self.change(|link| link.blocked = None);
                }
                Some(Event::Error(error)) if !connection.status().connected() => return Ended::Lost(words(&error)),
                // A channel's error comes this way too, and leaves the connection up.
                Some(Event::Error(_)) => {
                    refusals += 1;
                    if refusals >= WORN_OUT {
                        return Ended::WornOut;
                    }
                }
                Some(_) => {}
                None => return Ended::Lost("the client ended it".to_owned()),
            }
        }
        Ended::Lost("the connection broke".to_owned())
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

/// Closes a connection, politely but not for long.
pub(super) async fn close(connection: &Connection) {
    if let Err(trouble) = within(connection.close(200, "OK".into())).await {
        tracing::debug!(%trouble, "the connection did not close cleanly");
    }
}

/// One connection, or a sentence that says why not.
pub(super) async fn connect(url: &SecretString, name: &str) -> Result<Connection, ConnectError> {
    let mut uri = parse(url)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let at = describe(url);
    match tokio::time::timeout(PATIENCE, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if error.is_amqp_error() => Err(ConnectError::Refused { at, words: words(&error) }),
        Ok(Err(error)) => Err(ConnectError::Unreachable { at, words: words(&error) }),
        Err(_) => Err(ConnectError::Unreachable { at, words: format!("no answer within {PATIENCE:?}") }),
    }
}

// The parser's own message repeats the URL, password and all: it is not passed on.
fn parse(url: &SecretString) -> Result<AMQPUri, ConnectError> {
    url.expose_secret().parse().map_err(|_| ConnectError::Url)
}

/// The URL without user and password.
fn describe(url: &SecretString) -> String {
    match parse(url) {
        Ok(uri) => {
            let scheme = if uri.scheme == AMQPScheme::AMQPS { "amqps" } else { "amqp" };
            format!("{scheme}://{}:{} (virtual host {:?})", uri.authority.host, uri.authority.port, uri.vhost)
        }
        Err(_) => "an unreadable URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_described_url_shows_no_user_and_no_password() {
        let url = SecretString::from("amqps://ann:s3cret@mq.example.com:5671/orders");
        assert_eq!(describe(&url), "amqps://mq.example.com:5671 (virtual host \"orders\")");
    }

    #[test]
    fn an_unreadable_url_is_an_error_that_does_not_repeat_it() {
        let error = parse(&SecretString::from("amqp:s3cret")).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }
}
