//! The `subject` of an event, which Sluice looks at only where somebody asks for it: a message in, the subject out. Pure.

use std::borrow::Cow;

use serde::Deserialize;

use super::headers::Attributes;
use crate::message::Message;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
}

/// What the event says that it is about; none where it does not say, or cannot be read.
#[must_use]
pub fn subject(message: &Message) -> Option<String> {
    let kind = message.properties.content_type.as_deref().unwrap_or_default();
    if kind.trim_ascii_start().to_ascii_lowercase().starts_with("application/cloudevents") {
        return serde_json::from_slice::<Envelope<'_>>(&message.body).ok()?.subject.map(Cow::into_owned);
    }
    Attributes::of(&message.properties.headers).text("subject").ok()?
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::{Field, Properties};

    #[test]
    fn a_subject_is_read_of_an_envelope_or_of_headers() {
        let kind = Some("application/cloudevents+json; charset=utf-8".to_owned());
        let structured = |body: &'static str| Message {
            body: Bytes::from_static(body.as_bytes()),
            properties: Properties { content_type: kind.clone(), ..Properties::default() },
        };
        assert_eq!(subject(&structured(r#"{"id":"1","subject":"cust-7","data":{}}"#)).as_deref(), Some("cust-7"));
        assert_eq!(subject(&structured(r#"{"id":"1"}"#)), None);
        assert_eq!(subject(&structured("[1")), None);
        let mut binary = Message::default();
        for (name, value) in [("cloudEvents:id", "1"), ("cloudEvents:subject", "cust-8")] {
            binary.properties.headers.insert(name.to_owned(), Field::text(value));
        }
        assert_eq!(subject(&binary).as_deref(), Some("cust-8"));
        assert_eq!(subject(&Message::default()), None);
    }
}
