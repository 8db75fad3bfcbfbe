//! One connection: how it is opened, asked and closed. Never shows the URL's password.
//!
//! lapin 4.12.3 does not forget why the broker closed a channel: whoever gets that channel's number later is told the old reason, and
//! the number is lost for good. So [`open_channel`] goes on to the next number, and a supervised connection that has lost many is replaced.

use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use secrecy::{ExposeSecret, SecretString};

use crate::backoff::Bounds;

/// The longest any single exchange with the broker may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds; the server's own 60 would notice a dead peer only after two minutes.
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
    /// Nothing is known yet.
    #[error("no connection to the broker after {0:?}; check the address and the network between")]
    Slow(Duration),
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
            "; give the user of [broker] url that right (rabbitmqctl set_permissions; docs/operations.md has the list)"
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
pub(super) fn describe(url: &SecretString) -> String {
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
