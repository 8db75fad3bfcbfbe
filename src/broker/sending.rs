//! One publication on the wire, and what the broker said to it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};

use super::fields::{TooLong, short, to_amqp};
use super::outbox::SentTo;
use super::port::Publication;
use crate::message::header::PUBLISH;
use crate::message::{Field, MOST_HEADER_BYTES, wire_bytes};

const PERSISTENT: u8 = 2;

/// A publication that was sent, and what the broker said.
pub(super) struct Finished {
    pub(super) id: i64,
    pub(super) sent_to: SentTo,
    pub(super) mark: i64,
    pub(super) confirmation: lapin::Result<Confirmation>,
}

/// What goes out on the wire for one publication.
pub(super) struct WireMessage {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
}

/// Tells a publication from others. Two with the same mark go the same way, so one may stand for the other.
pub(super) fn mark(publication: &Publication) -> i64 {
    let Publication { exchange, routing_key, message, .. } = publication;
    let mut hasher = DefaultHasher::new();
    (exchange, routing_key, &message.body, &message.properties.message_id).hash(&mut hasher);
    for (name, field) in &message.properties.headers {
        (name, field.as_str(), field.as_i64()).hash(&mut hasher);
    }
    i64::from_ne_bytes(hasher.finish().to_ne_bytes())
}

pub(super) fn wire_message(mark: i64, publication: &mut Publication) -> Result<WireMessage, TooLong> {
    let message = std::mem::take(&mut publication.message);
    let mut properties = message.properties;
    properties.delivery_mode = Some(PERSISTENT);
    properties.headers.insert(PUBLISH.to_owned(), Field::I64(mark));
    let bytes = wire_bytes(&properties.headers);
    if bytes > MOST_HEADER_BYTES {
        return Err(TooLong { what: "the header table".to_owned(), bytes, most: MOST_HEADER_BYTES });
    }
    Ok(WireMessage {
        exchange: short("the exchange", &publication.exchange)?,
        routing_key: short("the routing key", &publication.routing_key)?,
        properties: to_amqp(&properties)?,
        body: message.body,
    })
}

pub(super) async fn send(
    channel: Channel,
    (id, sent_to, mark, wire_message): (i64, SentTo, i64, WireMessage),
) -> Finished {
    let WireMessage { exchange, routing_key, properties, body } = wire_message;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let published = channel.basic_publish(exchange, routing_key, options, &body, properties).await;
    // The confirm may be long in coming.
    drop(body);
    let confirmation = match published {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    Finished { id, sent_to, mark, confirmation }
}

pub(super) fn returned_mark(message: &BasicReturnMessage) -> Option<i64> {
    message.properties.headers().as_ref()?.inner().get(PUBLISH)?.as_long_long_int()
}
