//! A request's body as the messages that it becomes: CloudEvents' HTTP binding (structured, batch, binary), and plain JSON. Pure.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use crate::lint;
use crate::message::{Field, Headers, Message, Properties};

/// The most events of one request.
pub(super) const MOST_EVENTS: usize = 10_000;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// What stands before an attribute's name in HTTP, and in AMQP.
const PREFIXES: (&str, &str) = ("ce-", "cloudEvents:");

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Structured,
    Batch,
    Binary,
    /// One event, or an array of them.
    Json,
    Lines,
}

/// Why a body has no messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Unreadable(String),
    TooMany,
}

impl Form {
    /// By the content type, and for the binary form by the headers.
    ///
    /// # Errors
    /// A sentence that says which content types there are.
    pub fn of(headers: &HeaderMap) -> Result<Self, String> {
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            return Err(format!("the content encoding {encoding:?} is not supported; send the body as it is"));
        }
        let kind = content_type(headers);
        let is_binary =
            ["ce-id", "ce-source", "ce-type", "ce-specversion"].iter().any(|name| headers.contains_key(*name));
        match kind.as_str() {
            "application/cloudevents+json" => Ok(Self::Structured),
            "application/cloudevents-batch+json" => Ok(Self::Batch),
            "" | "application/json" | "text/json" if is_binary => Ok(Self::Binary),
            other if is_binary && other.ends_with("+json") => Ok(Self::Binary),
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines),
            "" => Err(
                "there is no content type; send application/cloudevents+json, or application/json with the ce- headers"
                    .to_owned(),
            ),
            other => Err(format!(
                "the content type {other:?} is not an event; send application/cloudevents+json, application/cloudevents-batch+json, \
                 application/json or application/x-ndjson"
            )),
        }
    }

    /// Whether it is always one event.
    pub fn is_one(self) -> bool {
        match self {
            Self::Structured | Self::Binary => true,
            Self::Batch | Self::Json | Self::Lines => false,
        }
    }

    /// The messages of a body; whether each is an event is not looked at.
    ///
    /// # Errors
    /// When it cannot be divided into events.
    pub fn messages(self, headers: &HeaderMap, body: &Bytes) -> Result<Vec<Message>, Wrong> {
        let envelope = |body: Bytes| lint::message(body, None, None);
        match self {
            Self::Structured => Ok(vec![envelope(body.clone())]),
            Self::Binary => binary(headers, body).map(|message| vec![message]).map_err(Wrong::Unreadable),
            Self::Batch => Ok(elements(body)?.into_iter().map(envelope).collect()),
            Self::Json if !is_array(body) => Ok(vec![envelope(body.clone())]),
            Self::Json => Ok(elements(body)?.into_iter().map(envelope).collect()),
            Self::Lines => {
                let body = without_bom(body);
                let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
                let lines: Vec<&[u8]> = lines.take(MOST_EVENTS + 1).collect();
                few(lines.len())?;
                Ok(lines.into_iter().map(|line| envelope(body.slice_ref(line))).collect())
            }
        }
    }
}

fn few(count: usize) -> Result<(), Wrong> {
    if count > MOST_EVENTS { Err(Wrong::TooMany) } else { Ok(()) }
}

fn without_bom(body: &Bytes) -> Bytes {
    if body.starts_with(BOM) { body.slice(BOM.len()..) } else { body.clone() }
}

fn is_array(body: &Bytes) -> bool {
    without_bom(body).trim_ascii_start().starts_with(b"[")
}

/// The elements of an array, byte for byte.
fn elements(body: &Bytes) -> Result<Vec<Bytes>, Wrong> {
    let body = without_bom(body);
    let text = std::str::from_utf8(&body).map_err(|error| {
        Wrong::Unreadable(format!("the body is not UTF-8: invalid byte at offset {}", error.valid_up_to()))
    })?;
    let read: Vec<&RawValue> = serde_json::from_str(text)
        .map_err(|error| Wrong::Unreadable(format!("the body is not a JSON array of events: {error}")))?;
    few(read.len())?;
    Ok(read.into_iter().map(|element| body.slice_ref(element.get().as_bytes())).collect())
}

/// Attributes as headers, which the binding percent-encodes.
fn binary(headers: &HeaderMap, body: &Bytes) -> Result<Message, String> {
    let mut attributes = Headers::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix(PREFIXES.0) else { continue };
        let text = value.to_str().ok().and_then(|text| percent_decode_str(text).decode_utf8().ok());
        let text = text.ok_or_else(|| format!("the header {name} is not text in percent-encoded UTF-8"))?;
        attributes.insert(format!("{}{attribute}", PREFIXES.1), Field::text(text.into_owned()));
    }
    let kind = content_type(headers);
    let content_type = if kind.is_empty() { "application/json".to_owned() } else { kind };
    let properties = Properties {
        content_type: Some(content_type),
        delivery_mode: Some(2),
        headers: attributes,
        ..Properties::default()
    };
    Ok(Message { body: body.clone(), properties })
}

fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The attribute that a sentence about an event is about, for programs.
pub(super) fn field_of(sentence: &str) -> Option<&'static str> {
    const FIELDS: [&str; 7] = ["specversion", "id", "source", "type", "time", "datacontenttype", "data"];
    if sentence.contains("data_base64") {
        return Some("data_base64");
    }
    let named =
        |name: &&str| [format!("\"{name}\""), format!("cloudEvents:{name} ")].iter().any(|it| sentence.contains(it));
    FIELDS.into_iter().find(named).or_else(|| sentence.starts_with("specversion ").then_some("specversion"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let name = axum::http::HeaderName::from_static;
        pairs.iter().map(|(header, value)| (name(header), value.parse().unwrap())).collect()
    }

    fn bodies(kind: &str, body: &str) -> Result<Vec<String>, Wrong> {
        let headers = headers(&[("content-type", kind)]);
        let messages = Form::of(&headers).unwrap().messages(&headers, &Bytes::copy_from_slice(body.as_bytes()))?;
        Ok(messages.into_iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()).collect())
    }

    #[test]
    fn every_form_is_divided_into_its_events_byte_for_byte() {
        let both = Ok(vec!["{\"a\": 1.10}".to_owned(), "{\"b\":[]}".to_owned()]);
        assert_eq!(bodies("application/json; charset=utf-8", "\u{feff} [{\"a\": 1.10} ,{\"b\":[]}]\n"), both);
        assert_eq!(bodies("application/cloudevents-batch+json", "[{\"a\": 1.10},{\"b\":[]}]"), both);
        assert_eq!(bodies("application/x-ndjson", "{\"a\": 1.10}\r\n\n{\"b\":[]}"), both);
        assert_eq!(bodies("application/json", "{}"), Ok(vec!["{}".to_owned()]));
        assert_eq!(bodies("application/cloudevents+json", "[]"), Ok(vec!["[]".to_owned()]), "which no event is");
        assert_eq!(bodies("application/cloudevents-batch+json", "[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_divided_says_why() {
        for (kind, body, said) in [
            ("application/json", "[{},", "the body is not a JSON array of events: EOF"),
            ("application/cloudevents-batch+json", "{}", "the body is not a JSON array of events: invalid type: map"),
        ] {
            let Err(Wrong::Unreadable(wrong)) = bodies(kind, body) else { panic!("{body} was divided") };
            assert!(wrong.starts_with(said), "{wrong}");
        }
        assert_eq!(bodies("application/x-ndjson", &"{}\n".repeat(MOST_EVENTS + 1)), Err(Wrong::TooMany));
        for kind in ["text/plain", "application/xml", "application/cloudevents+xml", ""] {
            assert!(Form::of(&headers(&[("content-type", kind)])).is_err(), "{kind}");
        }
        let compressed = headers(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
        assert!(Form::of(&compressed).unwrap_err().contains("gzip"));
    }

    #[test]
    fn the_binary_form_has_its_attributes_in_headers() {
        let headers = headers(&[
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "caf%C3%A9%20%221%22"),
            ("host", "x"),
        ]);
        assert_eq!(Form::of(&headers), Ok(Form::Binary));
        let message = Form::Binary.messages(&headers, &Bytes::from_static(b"{}")).unwrap().remove(0);
        let names: Vec<&str> = message.properties.headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["cloudEvents:id", "cloudEvents:specversion"]);
        assert_eq!(message.properties.headers["cloudEvents:id"].as_str(), Some("café \"1\""));
    }

    #[test]
    fn a_sentence_tells_its_field() {
        for (sentence, field) in [
            ("the attribute \"id\" is missing", Some("id")),
            ("specversion \"0.3\" is not supported; use \"1.0\"", Some("specversion")),
            ("the attribute \"time\" is \"noon\", not an RFC 3339 date and time", Some("time")),
            ("the header cloudEvents:source is not a string", Some("source")),
            ("data_base64 is not supported; put a JSON object in \"data\"", Some("data_base64")),
            ("\"data\" is a string, not a JSON object", Some("data")),
            ("the body is empty", None),
        ] {
            assert_eq!(field_of(sentence), field, "{sentence}");
        }
    }
}
