//! Messages between our own types and the client crate's, every property and field type both ways.
//! Never drops or changes a value that can lie at a broker.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString};

use super::connection::AmqpTrouble;
use crate::message::{Field, Headers, Properties};

/// A name or short property over the 255 bytes that AMQP allows, or headers over what a frame carries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {bytes} bytes long; at most {most} are allowed")]
pub(super) struct TooLong {
    pub(super) what: String,
    pub(super) bytes: usize,
    pub(super) most: usize,
}

impl From<TooLong> for AmqpTrouble {
    fn from(too_long: TooLong) -> Self {
        Self::Amqp(std::io::Error::other(too_long).into())
    }
}

/// A short string, or which one is too long. The crate's own `From` would panic.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, TooLong> {
    ShortString::try_new(text).map_err(|_| TooLong { what: what.to_owned(), bytes: text.len(), most: 255 })
}

/// Our properties as the client crate's.
pub(super) fn to_amqp(properties: &Properties) -> Result<BasicProperties, TooLong> {
    let mut amqp = BasicProperties::default();
    macro_rules! set {
        ($field:ident, $with:ident) => {
            if let Some(text) = &properties.$field {
                amqp = amqp.$with(short(stringify!($field), text)?);
            }
        };
    }
    set!(content_type, with_content_type);
    set!(content_encoding, with_content_encoding);
    set!(correlation_id, with_correlation_id);
    set!(reply_to, with_reply_to);
    set!(expiration, with_expiration);
    set!(message_id, with_message_id);
    set!(kind, with_type);
    set!(user_id, with_user_id);
    set!(app_id, with_app_id);
    if !properties.headers.is_empty() {
        amqp = amqp.with_headers(table(&properties.headers)?);
    }
    if let Some(mode) = properties.delivery_mode {
        amqp = amqp.with_delivery_mode(mode);
    }
    if let Some(priority) = properties.priority {
        amqp = amqp.with_priority(priority);
    }
    if let Some(timestamp) = properties.timestamp {
        amqp = amqp.with_timestamp(timestamp);
    }
    Ok(amqp)
}

/// The client crate's properties as ours.
pub(super) fn from_amqp(amqp: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    Properties {
        content_type: text(amqp.content_type()),
        content_encoding: text(amqp.content_encoding()),
        headers: amqp.headers().as_ref().map(headers).unwrap_or_default(),
        delivery_mode: *amqp.delivery_mode(),
        priority: *amqp.priority(),
        correlation_id: text(amqp.correlation_id()),
        reply_to: text(amqp.reply_to()),
        expiration: text(amqp.expiration()),
        message_id: text(amqp.message_id()),
        timestamp: *amqp.timestamp(),
        kind: text(amqp.kind()),
        user_id: text(amqp.user_id()),
        app_id: text(amqp.app_id()),
    }
}

fn headers(table: &FieldTable) -> Headers {
    table.into_iter().map(|(name, value)| (name.to_string(), field(value))).collect()
}

fn table(headers: &Headers) -> Result<FieldTable, TooLong> {
    let fields: Result<BTreeMap<_, _>, TooLong> =
        headers.iter().map(|(name, field)| Ok((short("a header's name", name)?, value(field)?))).collect();
    Ok(FieldTable::from(fields?))
}

fn field(value: &AMQPValue) -> Field {
    match value {
        AMQPValue::Boolean(v) => Field::Bool(*v),
        AMQPValue::ShortShortInt(v) => Field::I8(*v),
        AMQPValue::ShortShortUInt(v) => Field::U8(*v),
        AMQPValue::ShortInt(v) => Field::I16(*v),
        AMQPValue::ShortUInt(v) => Field::U16(*v),
        AMQPValue::LongInt(v) => Field::I32(*v),
        AMQPValue::LongUInt(v) => Field::U32(*v),
        AMQPValue::LongLongInt(v) => Field::I64(*v),
        AMQPValue::Float(v) => Field::F32(*v),
        AMQPValue::Double(v) => Field::F64(*v),
        AMQPValue::DecimalValue(v) => Field::Decimal(v.scale, v.value),
        AMQPValue::ShortString(v) => Field::ShortText(v.to_string()),
        AMQPValue::LongString(v) => Field::Text(Bytes::copy_from_slice(v.as_bytes())),
        AMQPValue::FieldArray(v) => Field::Array(v.as_slice().iter().map(field).collect()),
        AMQPValue::Timestamp(v) => Field::Timestamp(*v),
        AMQPValue::FieldTable(v) => Field::Table(headers(v)),
        AMQPValue::ByteArray(v) => Field::Binary(Bytes::copy_from_slice(v.as_slice())),
        AMQPValue::Void => Field::Void,
    }
}

fn value(field: &Field) -> Result<AMQPValue, TooLong> {
    Ok(match field {
        Field::Bool(v) => AMQPValue::Boolean(*v),
        Field::I8(v) => AMQPValue::ShortShortInt(*v),
        Field::U8(v) => AMQPValue::ShortShortUInt(*v),
        Field::I16(v) => AMQPValue::ShortInt(*v),
        Field::U16(v) => AMQPValue::ShortUInt(*v),
        Field::I32(v) => AMQPValue::LongInt(*v),
        Field::U32(v) => AMQPValue::LongUInt(*v),
        Field::I64(v) => AMQPValue::LongLongInt(*v),
        Field::F32(v) => AMQPValue::Float(*v),
        Field::F64(v) => AMQPValue::Double(*v),
        Field::Decimal(scale, value) => AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value }),
        Field::Text(v) => AMQPValue::LongString(LongString::from(v.to_vec())),
        // RabbitMQ has no short strings in tables and closes the connection on one.
        Field::ShortText(v) => AMQPValue::LongString(LongString::from(v.as_bytes())),
        Field::Array(v) => AMQPValue::FieldArray(FieldArray::from(v.iter().map(value).collect::<Result<Vec<_>, _>>()?)),
        Field::Timestamp(v) => AMQPValue::Timestamp(*v),
        Field::Table(v) => AMQPValue::FieldTable(table(v)?),
        Field::Binary(v) => AMQPValue::ByteArray(ByteArray::from(v.as_ref())),
        Field::Void => AMQPValue::Void,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_field() -> impl Strategy<Value = Field> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Field::Bool),
            any::<i8>().prop_map(Field::I8),
            any::<u8>().prop_map(Field::U8),
            any::<i16>().prop_map(Field::I16),
            any::<u16>().prop_map(Field::U16),
            any::<i32>().prop_map(Field::I32),
            any::<u32>().prop_map(Field::U32),
            any::<i64>().prop_map(Field::I64),
            (-1e30f32..1e30).prop_map(Field::F32),
            (-1e300..1e300).prop_map(Field::F64),
            any::<(u8, u32)>().prop_map(|(scale, value)| Field::Decimal(scale, value)),
            any::<Vec<u8>>().prop_map(|v| Field::Text(v.into())),
            any::<u64>().prop_map(Field::Timestamp),
            any::<Vec<u8>>().prop_map(|v| Field::Binary(v.into())),
            Just(Field::Void),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Field::Array),
                prop::collection::btree_map("[a-zé-]{0,12}", inner, 0..4).prop_map(Field::Table),
            ]
        })
    }

    fn any_properties() -> impl Strategy<Value = Properties> {
        let text = || prop::option::of("[ -~é]{0,60}");
        let names = (text(), text(), text(), text(), text(), text(), text(), text(), text());
        let headers = prop::collection::btree_map("[a-zA-Z:_-]{0,30}", any_field(), 0..6);
        (names, headers, any::<Option<u8>>(), any::<Option<u8>>(), any::<Option<u64>>()).prop_map(
            |(names, headers, delivery_mode, priority, timestamp)| Properties {
                content_type: names.0,
                content_encoding: names.1,
                headers,
                delivery_mode,
                priority,
                correlation_id: names.2,
                reply_to: names.3,
                expiration: names.4,
                message_id: names.5,
                timestamp,
                kind: names.6,
                user_id: names.7,
                app_id: names.8,
            },
        )
    }

    proptest! {
        #[test]
        fn every_property_and_header_survives_both_ways(properties in any_properties()) {
            prop_assert_eq!(from_amqp(&to_amqp(&properties).unwrap()), properties);
        }
    }

    #[test]
    fn a_short_string_in_a_table_is_sent_as_a_long_one() {
        let sent = value(&Field::ShortText("x".to_owned())).unwrap();
        assert_eq!(field(&sent), Field::text("x"));
    }

    #[test]
    fn a_property_over_255_bytes_is_an_error_and_no_panic() {
        let properties = Properties { message_id: Some("x".repeat(256)), ..Properties::default() };
        assert_eq!(
            to_amqp(&properties).unwrap_err().to_string(),
            "message_id is 256 bytes long; at most 255 are allowed"
        );
    }
}
