//! A message's parts as JSON and back, byte for byte. Pure.
//!
//! Of a header's value the frequent types are written plainly (long string, boolean, 64-bit integer, void, array); any other
//! says its type: `{"type": "u32", "value": 5}`. What is not UTF-8 is base64: `{"type": "text", "base64": "/w=="}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::message::{Field, Headers, Properties};

/// The properties under AMQP's own names.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
}

/// The properties but the headers.
pub(super) fn properties(properties: &Properties) -> Map<String, Value> {
    let Properties { headers: _, content_type, content_encoding, delivery_mode, .. } = properties;
    let named = NamedProperties {
        content_type: content_type.clone(),
        content_encoding: content_encoding.clone(),
        delivery_mode: *delivery_mode,
        priority: properties.priority,
        correlation_id: properties.correlation_id.clone(),
        reply_to: properties.reply_to.clone(),
        expiration: properties.expiration.clone(),
        message_id: properties.message_id.clone(),
        timestamp: properties.timestamp,
        kind: properties.kind.clone(),
        user_id: properties.user_id.clone(),
        app_id: properties.app_id.clone(),
    };
    match serde_json::to_value(named) {
        Ok(Value::Object(named)) => named,
        // Texts and numbers can always be written.
        Ok(_) | Err(_) => Map::new(),
    }
}

/// The properties with those headers.
pub(super) fn read_properties(named: Value, headers: Headers) -> Result<Properties, String> {
    let named: NamedProperties = serde_json::from_value(named).map_err(|error| format!("properties: {error}"))?;
    Ok(Properties {
        content_type: named.content_type,
        content_encoding: named.content_encoding,
        headers,
        delivery_mode: named.delivery_mode,
        priority: named.priority,
        correlation_id: named.correlation_id,
        reply_to: named.reply_to,
        expiration: named.expiration,
        message_id: named.message_id,
        timestamp: named.timestamp,
        kind: named.kind,
        user_id: named.user_id,
        app_id: named.app_id,
    })
}

/// A header table.
pub(super) fn headers(headers: &Headers) -> Map<String, Value> {
    headers.iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

/// The header table that was written so.
pub(super) fn read_headers(written: Map<String, Value>) -> Result<Headers, String> {
    written
        .into_iter()
        .map(|(name, value)| match field(value) {
            Ok(field) => Ok((name, field)),
            Err(said) => Err(format!("the header {name:?} {said}")),
        })
        .collect()
}

/// A body as text, or as base64 where it is not UTF-8.
pub(super) fn body(body: &Bytes) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(body) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(body))),
    }
}

pub(super) fn read_base64(text: &str) -> Result<Bytes, String> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("is not base64: {error}"))
}

fn value(field: &Field) -> Value {
    match field {
        Field::Bool(value) => json!(value),
        Field::I64(value) => json!(value),
        Field::Void => Value::Null,
        Field::Array(fields) => fields.iter().map(value).collect(),
        Field::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => json!({"type": "text", "base64": STANDARD.encode(bytes)}),
        },
        Field::Binary(bytes) => json!({"type": "binary", "base64": STANDARD.encode(bytes)}),
        Field::Table(table) => json!({"type": "table", "value": Value::Object(headers(table))}),
        Field::ShortText(text) => json!({"type": "short_text", "value": text}),
        Field::I8(value) => json!({"type": "i8", "value": value}),
        Field::U8(value) => json!({"type": "u8", "value": value}),
        Field::I16(value) => json!({"type": "i16", "value": value}),
        Field::U16(value) => json!({"type": "u16", "value": value}),
        Field::I32(value) => json!({"type": "i32", "value": value}),
        Field::U32(value) => json!({"type": "u32", "value": value}),
        Field::Timestamp(value) => json!({"type": "timestamp", "value": value}),
        Field::Decimal(scale, value) => json!({"type": "decimal", "scale": scale, "value": value}),
        Field::F32(value) if value.is_finite() => json!({"type": "f32", "value": value}),
        Field::F64(value) if value.is_finite() => json!({"type": "f64", "value": value}),
        // JSON has no name for these.
        Field::F32(value) => json!({"type": "f32", "bits": value.to_bits()}),
        Field::F64(value) => json!({"type": "f64", "bits": value.to_bits()}),
    }
}

fn field(written: Value) -> Result<Field, String> {
    match written {
        Value::Null => Ok(Field::Void),
        Value::Bool(value) => Ok(Field::Bool(value)),
        Value::String(text) => Ok(Field::text(text)),
        Value::Array(values) => values.into_iter().map(field).collect::<Result<_, _>>().map(Field::Array),
        Value::Number(number) => number
            .as_i64()
            .map(Field::I64)
            .ok_or_else(|| format!("is {number}; a number that is no 64-bit integer has to name its type")),
        Value::Object(typed) => typed_field(typed),
    }
}

fn typed_field(mut typed: Map<String, Value>) -> Result<Field, String> {
    let kind = typed.remove("type");
    let kind = kind.as_ref().and_then(Value::as_str).ok_or("has no type")?;
    let wrong = |error: serde_json::Error| format!("is no {kind}: {error}");
    if let Some(base64) = typed.remove("base64") {
        let bytes = read_base64(base64.as_str().unwrap_or_default())?;
        return match kind {
            "text" => Ok(Field::Text(bytes)),
            "binary" => Ok(Field::Binary(bytes)),
            _ => Err(format!("has the type {kind:?}, which base64 is not for")),
        };
    }
    if let Some(bits) = typed.remove("bits") {
        return match kind {
            "f32" => serde_json::from_value(bits).map(f32::from_bits).map(Field::F32).map_err(wrong),
            "f64" => serde_json::from_value(bits).map(f64::from_bits).map(Field::F64).map_err(wrong),
            _ => Err(format!("has the type {kind:?}, which bits are not for")),
        };
    }
    let value = typed.remove("value").ok_or("has no value")?;
    let read = match (kind, value) {
        ("table", Value::Object(table)) => return read_headers(table).map(Field::Table),
        ("table", _) => return Err("is no table: its value is not an object".to_owned()),
        ("short_text", value) => serde_json::from_value(value).map(Field::ShortText),
        ("i8", value) => serde_json::from_value(value).map(Field::I8),
        ("u8", value) => serde_json::from_value(value).map(Field::U8),
        ("i16", value) => serde_json::from_value(value).map(Field::I16),
        ("u16", value) => serde_json::from_value(value).map(Field::U16),
        ("i32", value) => serde_json::from_value(value).map(Field::I32),
        ("u32", value) => serde_json::from_value(value).map(Field::U32),
        ("timestamp", value) => serde_json::from_value(value).map(Field::Timestamp),
        ("f32", value) => serde_json::from_value(value).map(Field::F32),
        ("f64", value) => serde_json::from_value(value).map(Field::F64),
        ("decimal", value) => {
            let scale = serde_json::from_value(typed.remove("scale").unwrap_or_default()).map_err(wrong)?;
            serde_json::from_value(value).map(|value| Field::Decimal(scale, value))
        }
        (_, _) => return Err(format!("has the type {kind:?}, which is not known")),
    };
    read.map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_a_header_is_written_so_that_it_can_be_told() {
        for (field_, written) in [
            (Field::text("a"), json!("a")),
            (Field::Bool(true), json!(true)),
            (Field::I64(-5), json!(-5)),
            (Field::Void, json!(null)),
            (Field::Array(vec![Field::I8(1), Field::text("x")]), json!([{"type": "i8", "value": 1}, "x"])),
            (Field::U32(5), json!({"type": "u32", "value": 5})),
            (Field::F32(0.1), json!({"type": "f32", "value": 0.1_f32})),
            (Field::F64(2.0), json!({"type": "f64", "value": 2.0})),
            (Field::F64(f64::INFINITY), json!({"type": "f64", "bits": 0x7ff0_0000_0000_0000_u64})),
            (Field::Decimal(2, 314), json!({"type": "decimal", "scale": 2, "value": 314})),
            (Field::Timestamp(u64::MAX), json!({"type": "timestamp", "value": u64::MAX})),
            (Field::Text(Bytes::from_static(&[0xff])), json!({"type": "text", "base64": "/w=="})),
            (Field::Binary("x".into()), json!({"type": "binary", "base64": "eA=="})),
            (
                Field::Table(Headers::from([("k".to_owned(), Field::Void)])),
                json!({"type": "table", "value": {"k": null}}),
            ),
        ] {
            assert_eq!(value(&field_), written);
            assert_eq!(field(written), Ok(field_));
        }
    }

    #[test]
    fn a_value_that_nobody_wrote_so_is_told() {
        for (written, part) in [
            (json!(1.5), "name its type"),
            (json!({"value": 1}), "has no type"),
            (json!({"type": "u9", "value": 1}), "\"u9\", which is not known"),
            (json!({"type": "u8", "value": 300}), "is no u8"),
            (json!({"type": "u8"}), "has no value"),
            (json!({"type": "text", "base64": "?"}), "is not base64"),
            (json!({"type": "decimal", "value": 1}), "is no decimal"),
            (json!({"type": "table", "value": 1}), "not an object"),
        ] {
            let said = read_headers(Map::from_iter([("h".to_owned(), written)])).unwrap_err();
            assert!(said.starts_with("the header \"h\" ") && said.contains(part), "{said}");
        }
    }
}
