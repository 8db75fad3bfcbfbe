//! APSIS One: events of one profile in one request, `POST …/profiles/{key}/sections/{section}/events`, their data checked
//! against the event types of the section. Source: the vendor's guide "Post Custom Events to Profiles", its limits page.

use ::http::{Method, Request};
use bytes::{Bytes, BytesMut};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{ANSWER_BYTES, Account, Batching, Facts, Grant, Item, Kind, Refusal, Reply, Vendor, When};
use crate::event::{Event, Invalid};
use crate::gate::Limit;
use crate::section::Section;
use crate::verdict::Verdict;

mod address;
mod answers;
mod event_types;
mod fields;
mod settings;
mod token;

use fields::Fields;
use settings::Settings;
use token::ClientCredentials;

/// The vendor's entry in the registry.
pub const KIND: Kind = Kind {
    name: "apsis-one",
    // "up to 100 requests per second" for an account, however many keys it has.
    limits: &["100/s"],
    fields: &fields::FIELDS,
    person: &["profile"],
    check: fields::check,
    configure,
};

fn configure(section: &mut Section<'_>) -> Option<Box<dyn Vendor>> {
    let (settings, credentials) = Settings::read(section)?;
    Some(Box::new(ApsisOne { settings, credentials }))
}

/// What stands around the items of a request.
const ENVELOPE: (&[u8], &[u8]) = (b"{\"items\":[", b"]}");

/// Most bytes of items in one request, a comma counted for each, so that the body stays under the documented 100 kB.
const MAX_ITEM_BYTES: usize = 100_000 - ENVELOPE.0.len() - ENVELOPE.1.len();

/// Bytes of what a 207 says of one item, at most.
const PART_BYTES: usize = 1_024;

#[derive(Debug)]
struct ApsisOne {
    settings: Settings,
    credentials: ClientCredentials,
}

impl Vendor for ApsisOne {
    fn accounts(&self) -> Vec<Account> {
        let id = format!("{} {}", self.settings.base, self.credentials.client_id.expose_secret()).into();
        vec![Account { what: "APSIS One client_id", id, exclusive: false }]
    }

    /// The group is the request's address, the content one element of `items`. The ordering key is the profile's key alone: the
    /// vendor limits requests "using the same profile key", and does not say whether two keyspaces make two of it.
    fn prepare(&self, event: &Event, facts: &Facts) -> Result<Item, Refusal> {
        let fields = Fields::read(event, &self.settings)?;
        let group = address::events(&self.settings.base, fields.keyspace, fields.profile, fields.section);
        address::parse(&group)?;
        let (version_id, data) = event_types::checked(&fields, facts)?;
        let content = fields.item(&version_id, &data)?;
        if content.len() >= MAX_ITEM_BYTES {
            let said = format!(
                "the event takes {} bytes; APSIS One takes requests under 100000 bytes: shorten \"data\"",
                content.len()
            );
            return Err(Refusal::Invalid(said));
        }
        let lookup = Some(fields.section.to_owned());
        Ok(Item { group, ordering_key: Some(fields.profile.to_owned()), content, lookup })
    }

    fn request(&self, items: &[&Item]) -> Result<Request<Bytes>, Invalid> {
        let address = items.first().map(|item| item.group.as_str()).unwrap_or_default();
        let mut body = BytesMut::from(ENVELOPE.0);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                body.extend_from_slice(b",");
            }
            body.extend_from_slice(&item.content);
        }
        body.extend_from_slice(ENVELOPE.1);
        Ok(address::json(Method::POST, address::parse(address)?, body.freeze()))
    }

    fn judge(&self, reply: &Reply) -> Verdict {
        answers::whole(reply)
    }

    /// A 207 has an entry for each item, with a sentence of its own.
    fn answer_bytes(&self, items: usize) -> usize {
        ANSWER_BYTES + items * PART_BYTES
    }

    fn judge_each(&self, reply: &Reply, items: &[&Item]) -> Option<Vec<Verdict>> {
        answers::each(reply, items.len())
    }

    /// The event types of the section, or the keyspaces where the destination names no section.
    fn credentials_check(&self) -> Option<Request<Bytes>> {
        match &self.settings.section {
            Some(section) => self.lookup(section),
            None => Some(address::get(address::keyspaces(&self.settings.base).parse().ok()?)),
        }
    }

    fn batching(&self) -> Batching {
        Batching { items: self.settings.batch_max, bytes: MAX_ITEM_BYTES, when: When::Always }
    }

    fn ordering_key_limit(&self) -> Option<Limit> {
        Some(self.settings.profile_limit)
    }

    fn grant(&self) -> Option<&dyn Grant> {
        Some(&self.credentials)
    }

    /// The event types of a section, by the section's discriminator.
    fn lookup(&self, section: &str) -> Option<Request<Bytes>> {
        Some(address::get(address::event_types(&self.settings.base, section).parse().ok()?))
    }

    fn learn(&self, section: &str, reply: &Reply) -> Result<Value, String> {
        event_types::learn(section, reply)
    }
}

#[cfg(test)]
mod tests;
