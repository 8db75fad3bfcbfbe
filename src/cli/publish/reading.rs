//! A line or a row as the message that it becomes, and where that goes.

use bytes::Bytes;
use csv::ByteRecord;
use uuid::Uuid;

use super::Args;
use super::input::{Content, Record};
use super::rows::Reader;
use crate::broker::Names;
use crate::class::Class;
use crate::config::Config;
use crate::dead_letters::export::{self, Exported};
use crate::dead_letters::{acts, letter};
use crate::event::Context;
use crate::message::Message;
use crate::{clock, lint};

/// Name space of the ids that are made of a file's name, a line and what it holds (UUID version 5).
const LINES: Uuid = Uuid::from_u128(0x3b0d_41f7_92c6_5d58_b1d9_0c7e_5af2_6a84);

/// How lines are read.
pub(super) struct Reading<'a> {
    pub args: &'a Args,
    pub config: &'a Config,
    pub names: Names,
    /// The file's own name, of which ids are made.
    pub name: String,
    /// Where it is CSV.
    pub rows: Option<Reader<'a>>,
}

/// What a line holds, and where it goes.
pub(super) struct Read {
    pub message: Message,
    pub to: To,
}

#[derive(Debug, PartialEq)]
pub(super) enum To {
    /// Every destination that wants an event of this type, as one of that class.
    Destinations(String, Class),
    /// This destination's dead letters.
    DeadLetters(String),
}

impl Reading<'_> {
    /// The exchange and the routing key that lead there.
    pub fn way(&self, to: &To) -> (String, String) {
        match to {
            To::Destinations(kind, class) => (self.names.exchange_of(*class), kind.clone()),
            To::DeadLetters(destination) => (String::new(), self.names.dead(destination)),
        }
    }

    /// The event in a line or a row, or the exported letter.
    pub fn read(&self, record: &Record) -> Result<Read, String> {
        match &record.content {
            Content::Line(line) => self.line(line, record.origin),
            Content::Row(row) => self.row(row, record.origin),
            Content::Torn(_) => {
                Err("a quote is opened and never closed: everything from there to the end of the file \
                                     is one field"
                    .to_owned())
            }
        }
    }

    fn line(&self, line: &[u8], number: u64) -> Result<Read, String> {
        let kind = self.args.kind.as_deref();
        if let Some(exported) = export::read_line(line).filter(|_| kind.is_none()) {
            return self.letter(exported?);
        }
        let mut message = lint::message(Bytes::copy_from_slice(line), kind, self.args.source.as_deref());
        if kind.is_some() {
            message.properties.message_id = Some(self.id([line], number).to_string());
        }
        self.event(message)
    }

    fn row(&self, row: &ByteRecord, number: u64) -> Result<Read, String> {
        let reader = self.rows.as_ref().ok_or("it is not read as CSV")?;
        let (envelope, id) = reader.event(row, || self.id(row, number))?;
        let mut message = lint::message(Bytes::from(envelope), None, None);
        // So that a malformed one is known by it too.
        message.properties.message_id = lint::message_id(&id);
        self.event(message)
    }

    fn event(&self, message: Message) -> Result<Read, String> {
        let routing_key = self.args.kind.as_deref().unwrap_or_default();
        let context = Context { routing_key, received: clock::wall(), max_bytes: self.config.broker.max_event_bytes };
        let event = lint::check(&message, context).map_err(|refused| refused.sentence)?;
        Ok(Read { message, to: To::Destinations(event.kind, Class::bulk_if(self.args.bulk)) })
    }

    /// A letter that `sluice dead export` wrote.
    fn letter(&self, exported: Exported) -> Result<Read, String> {
        let Exported { destination, letter, original, routing_key } = exported;
        if self.args.as_events {
            let kind = routing_key.ok_or("the letter does not tell the routing key of its event")?;
            // A bulk event stays one.
            let is_bulk = self.args.bulk || letter::class_of(&letter) == Some(Class::Bulk);
            return Ok(Read { message: original, to: To::Destinations(kind, Class::bulk_if(is_bulk)) });
        }
        if !self.config.destinations.contains_key(&destination) {
            return Err(format!("it is a dead letter of {destination:?}, and there is no such destination here"));
        }
        Ok(Read { message: acts::restored(&letter), to: To::DeadLetters(destination) })
    }

    /// The same for a line whenever it is read, and another for the same content on another line: two rows may well be equal.
    fn id<'r>(&self, fields: impl IntoIterator<Item = &'r [u8]>, number: u64) -> Uuid {
        let mut content = format!("{}\0{number}", self.name).into_bytes();
        for field in fields {
            content.push(0);
            content.extend_from_slice(field);
        }
        Uuid::new_v5(&LINES, &content)
    }
}
