//! One connection: how it is opened, asked and closed. Never shows the URL's password.
//!
//! lapin 4.12.3 does not forget why the broker closed a channel: whoever gets that channel's number later is told the old reason, and
//! the number is lost for good. So [`open_channel`] goes on to the next number, and a supervised connection that has lost many is replaced.

use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};

use super::nodes::NodeUrls;
use crate::backoff::Bounds;

/// The longest any single exchange with the broker may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a node of a cluster may take to be connected to while others are left to try.
const NODE_PATIENCE: Duration = Duration::from_secs(3);
/// Seconds of silence after which either side shall take the other for dead; the server's own 60 would notice a dead peer only after two
/// minutes.
const HEARTBEAT_SECONDS: u16 = 5;
/// The pauses between tries that go on for ever, with full jitter: many workers do not come back at one moment.
pub(super) const TRIES: Bounds = Bounds::doubling(Duration::from_millis(50), Duration::from_secs(5), 1.0);

/// Reply codes of refusals: no right to it, no such object, another connection's own, not as it is there, and against a rule or a limit.
pub(super) const ACCESS_REFUSED: u16 = 403;
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const LOCKED: u16 = 405;
pub(super) const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// Why there is no connection; each says what to check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be read.
    #[error("the broker's URL cannot be read; write it as amqp://user:password@host:5672/vhost, or amqps:// for TLS")]
    Url,
    /// The broker refused the user, the password or the virtual host.
    #[error(
        "the broker at {at} refused the connection ({words}); check {}", what_to_check(.words)
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
    /// Each node of a cluster was tried.
    #[error("none of the {} nodes of the broker takes the connection: {}", .0.len(), sentences(.0))]
    Nodes(Vec<ConnectError>),
    /// Nothing is known yet.
    #[error("no connection to the broker after {0:?}; check the address and the network between")]
    Slow(Duration),
}

impl ConnectError {
    /// Whether trying again cannot help.
    pub(super) fn is_hopeless(&self) -> bool {
        match self {
            Self::Url | Self::Refused { .. } => true,
            Self::Unreachable { .. } | Self::Slow(_) => false,
            Self::Nodes(errors) => errors.iter().all(Self::is_hopeless),
        }
    }
}

fn sentences(errors: &[ConnectError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// By the broker's words, since it has one code for both.
fn what_to_check(words: &str) -> &'static str {
    if words.contains("limit") {
        "how many connections the user and the virtual host may have (rabbitmqctl list_user_limits, list_vhost_limits)"
    } else {
        "the user name, the password and the virtual host"
    }
}

/// Why an exchange over a live connection failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AmqpTrouble {
    /// The broker or the client crate said no.
    #[error("{}", told(.0))]
    Amqp(#[from] lapin::Error),
    /// No answer in time.
    #[error("no answer from the broker within {PATIENCE:?}")]
    TimedOut,
    /// Each number for a channel is in use or lost; a supervised connection is replaced then.
    #[error("no channel is left on the connection to the broker")]
    NoChannel,
    /// None is up.
    #[error("there is no connection to the broker")]
    Away,
}

/// The broker's own words where it spoke, else the client crate's.
pub(super) fn words(error: &lapin::Error) -> String {
    if let ErrorKind::ProtocolError(amqp) = error.kind() { amqp.get_message().to_string() } else { error.to_string() }
}

/// The broker's words, and what to do about them, by its reply code. Never advises to delete anything.
pub(super) fn told(error: &lapin::Error) -> String {
    let advice = match code(error) {
        Some(ACCESS_REFUSED) => {
            "; give the user of [broker] url that right (rabbitmqctl set_permissions; docs/install.md has the list)"
        }
        Some(LOCKED) => "; another connection has it for itself, and it is free once that connection ends",
        Some(NOT_ALLOWED) => {
            "; look for a limit of the virtual host or of the user (rabbitmqctl list_vhost_limits, list_user_limits) and raise it"
        }
        Some(_) | None => "",
    };
    words(error) + advice
}

/// The reply code of a broker's refusal.
pub(super) fn code(error: &lapin::Error) -> Option<u16> {
    if let ErrorKind::ProtocolError(amqp) = error.kind() { Some(amqp.get_id()) } else { None }
}

/// Awaits one exchange with the broker, for at most [`PATIENCE`].
pub(super) async fn within<T>(exchange: impl Future<Output = lapin::Result<T>>) -> Result<T, AmqpTrouble> {
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(AmqpTrouble::TimedOut),
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

/// Opens a channel, whatever the broker said on an earlier one of the same number.
pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, AmqpTrouble> {
    loop {
        match within(connection.create_channel()).await {
            // Nothing was sent. It ends: each such number is met once, and when none is left the error is another.
            Err(AmqpTrouble::Amqp(error)) if error.is_amqp_soft_error() && connection.status().connected() => {}
            Err(AmqpTrouble::Amqp(error)) if matches!(error.kind(), ErrorKind::ChannelsLimitReached) => {
                return Err(AmqpTrouble::NoChannel);
            }
            opened => return opened,
        }
    }
}

/// Closes a connection, politely but not for long.
pub(super) async fn close(connection: &Connection) {
    if let Err(trouble) = within(connection.close(200, "OK".into())).await {
        tracing::debug!(%trouble, "the connection did not close cleanly");
    }
}

/// A connection, and the node that it leads to.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// The node's place in the list.
    pub(super) node: usize,
    /// The node's URL without user and password.
    pub(super) at: String,
}

/// A connection to the first node that takes one, or a sentence that says why none does. Begins behind the node that was lost, if one was,
/// else at any, so that workers spread.
pub(super) async fn connect(nodes: &NodeUrls, name: &str, lost: Option<usize>) -> Result<Opened, ConnectError> {
    connect_tuned(nodes, name, lost, Tuning::USUAL).await
}

/// What is asked of the broker, unless the URL asks for a shorter heartbeat or names a size of frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    /// The longest heartbeat, in seconds.
    pub heartbeat: u16,
    /// The largest frame, in bytes: no header of a message may be larger. lapin keeps 32 such frames in memory for each direction, which it does not
    /// touch before they are used only where the size is asked for at the start.
    pub frame: u32,
}

impl Tuning {
    /// As large frames as RabbitMQ has by default.
    pub const USUAL: Self = Self { heartbeat: u16::MAX, frame: 131_072 };
}

/// As [`connect`], tuned so.
pub(super) async fn connect_tuned(
    nodes: &NodeUrls,
    name: &str,
    lost: Option<usize>,
    tuning: Tuning,
) -> Result<Opened, ConnectError> {
    let order: Vec<_> = nodes.order(lost).collect();
    let mut errors = Vec::new();
    for (index, &node) in order.iter().enumerate() {
        let is_last = index + 1 == order.len();
        match connect_to(nodes, node, name, tuning, if is_last { PATIENCE } else { NODE_PATIENCE }).await {
            Ok(connection) => return Ok(Opened { connection, node, at: nodes.describe(node) }),
            Err(error) => errors.push((node, error)),
        }
    }
    // As they are listed: the same trouble is the same error, wherever the tries began.
    errors.sort_by_key(|(node, _)| *node);
    let mut errors: Vec<_> = errors.into_iter().map(|(_, error)| error).collect();
    Err(if errors.len() == 1 { errors.remove(0) } else { ConnectError::Nodes(errors) })
}

async fn connect_to(
    nodes: &NodeUrls,
    node: usize,
    name: &str,
    tuning: Tuning,
    patience: Duration,
) -> Result<Connection, ConnectError> {
    let mut uri = nodes.uri(node).ok_or(ConnectError::Url)?;
    negotiate(&mut uri, tuning);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let at = nodes.describe(node);
    match tokio::time::timeout(patience, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if error.is_amqp_error() => Err(ConnectError::Refused { at, words: words(&error) }),
        Ok(Err(error)) => Err(ConnectError::Unreachable { at, words: words(&error) }),
        Err(_) => Err(ConnectError::Unreachable { at, words: format!("no answer within {patience:?}") }),
    }
}

/// Asks for half of the heartbeat that is configured: RabbitMQ takes a peer for dead after two to three intervals without a sign, lapin after two to
/// two and a half. 0 leaves it to the broker.
fn negotiate(uri: &mut AMQPUri, tuning: Tuning) {
    let configured = uri.query.heartbeat.unwrap_or(HEARTBEAT_SECONDS);
    uri.query.heartbeat = Some(if configured == 0 { 0 } else { (configured / 2).max(1).min(tuning.heartbeat) });
    uri.query.frame_max = uri.query.frame_max.or(Some(tuning.frame));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_url_is_an_error_that_does_not_repeat_it() {
        let nodes = NodeUrls::from("amqp:s3cret");
        assert!(nodes.uri(0).is_none());
        assert!(!ConnectError::Url.to_string().contains("s3cret") && !nodes.describe(0).contains("s3cret"));
    }

    #[test]
    fn half_of_the_configured_heartbeat_is_asked_for() {
        for (query, asked) in
            [("", 2), ("?heartbeat=20", 10), ("?heartbeat=5", 2), ("?heartbeat=1", 1), ("?heartbeat=0", 0)]
        {
            let mut uri = format!("amqp://host{query}").parse().unwrap();
            negotiate(&mut uri, Tuning::USUAL);
            assert_eq!(uri.query.heartbeat, Some(asked), "{query}");
        }
    }

    #[test]
    fn the_size_of_a_frame_is_asked_for_at_the_start_unless_the_url_names_one() {
        for (query, asked) in [("", 131_072), ("?frame_max=262144", 262_144)] {
            let mut uri = format!("amqp://host{query}").parse().unwrap();
            negotiate(&mut uri, Tuning::USUAL);
            assert_eq!(uri.query.frame_max, Some(asked), "{query}");
        }
    }

    /// A listener that takes connections and never says a word, or one whose port is free again.
    async fn node(silent: bool) -> (Option<tokio::net::TcpListener>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://{}", listener.local_addr().unwrap());
        (silent.then_some(listener), url)
    }

    #[tokio::test]
    async fn a_node_that_refuses_and_one_that_is_silent_are_passed_over() {
        let ((_, gone), (_silent, silent)) = (node(false).await, node(true).await);
        let nodes = NodeUrls::from(format!("{gone},{silent},{gone}"));
        let tried = connect(&nodes, "test", Some(2)).await;
        let Err(ConnectError::Nodes(errors)) = tried else { panic!("a connection to nobody") };
        assert_eq!(errors.len(), 3);
        assert!(errors[1].to_string().contains("no answer within 3s"), "{}", errors[1]);
        assert!(errors.iter().all(|error| !error.is_hopeless()));
    }
}
