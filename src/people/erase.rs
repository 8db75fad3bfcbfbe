//! Erases a person: deletes their events among dead letters, in the trash and among unrouted ones, of all destinations, and tells what goes by
//! itself and when.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::is_unmistakable;
use crate::audit::{self, OperatorAct};
use crate::broker::port::Delivery;
use crate::broker::{Broker, BrokerError, LONGEST_READ, ReadError, ReadPurpose};
use crate::clock;
use crate::config::{Config, Destination};
use crate::control;
use crate::dead_letters::letter;
use crate::event::{self, Context};
use crate::mapping::{self, Hard};
use crate::message::header::RECEIVED;
use crate::message::{Field, Headers, Message, Properties};
use crate::person::{self, PersonKey};
use crate::section::show_duration;
use crate::threads::{self, NoThread};

/// Who is erased, and where.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// The broker.
    pub broker: Broker,
    /// Every destination of the configuration.
    pub destinations: Vec<Arc<Destination>>,
    /// What stands for the person in the audit; none where nobody is suppressed here.
    pub key: Option<PersonKey>,
    /// Who, as it is compared.
    person: String,
    /// Whether a letter that mentions them anywhere is meant, too.
    anywhere: bool,
    /// How long an event is tried again.
    longest: Duration,
}

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErasedFrom {
    /// The queue.
    pub queue: String,
    /// The destination; none of unrouted events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub destination: Option<String>,
    /// Messages that were there.
    pub there: u32,
    /// How many of them are about the person, or mention them; after an erasure they are deleted.
    pub found: u64,
}

/// What goes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgesOut {
    /// What it is.
    pub what: String,
    /// When it is gone.
    pub when: String,
}

/// What was found, and deleted where that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Erased {
    /// Each queue with something about the person.
    pub places: Vec<ErasedFrom>,
    /// In all.
    pub found: u64,
    /// What was not looked through, and why.
    pub trouble: Vec<String>,
    /// What nobody can look through, and what becomes of it.
    pub ages_out: Vec<AgesOut>,
}

/// What came of a pass over a queue.
#[derive(Clone, Debug, Default)]
struct Passed {
    there: u32,
    found: u64,
    /// Why the rest was not looked at, where it was not.
    left: Option<String>,
}

impl Erasure {
    /// Of a person; `anywhere`: also what mentions them without being about them, which an e-mail address always means.
    ///
    /// # Errors
    /// A sentence where nobody is named.
    pub fn new(broker: Broker, config: &Config, person: &str, anywhere: bool) -> Result<Self, String> {
        let destinations = config.destinations.values().map(|one| Arc::new(one.clone())).collect();
        let key = config.suppression.as_ref().map(|suppression| suppression.key.clone());
        Self::of(broker, destinations, key, person, anywhere)
    }

    /// The same, of what a worker follows.
    ///
    /// # Errors
    /// A sentence where nobody is named.
    pub fn of(
        broker: Broker,
        destinations: Vec<Arc<Destination>>,
        key: Option<PersonKey>,
        person: &str,
        anywhere: bool,
    ) -> Result<Self, String> {
        let person = person::normalised(person).into_owned();
        if person.is_empty() || person.len() > super::LONGEST_PERSON {
            return Err(format!("name a person by their key, of 1 to {} bytes", super::LONGEST_PERSON));
        }
        let anywhere = anywhere || is_unmistakable(&person);
        let longest = destinations.iter().map(|one| one.retry.max_age).max().unwrap_or_default();
        Ok(Self { broker, destinations, key, person, anywhere, longest })
    }

    /// What would be deleted.
    ///
    /// # Errors
    /// The broker cannot be asked.
    pub async fn count(&self, patience: Duration) -> Result<Erased, BrokerError> {
        self.everywhere(ReadPurpose::Look, patience).await
    }

    /// Deletes it. The audit tells of it, by the person's digest.
    ///
    /// # Errors
    /// The broker cannot be asked. What could not be looked through is told in the answer.
    pub async fn erase(&self, (by, place): (&str, &str), patience: Duration) -> Result<Erased, BrokerError> {
        let erased = self.everywhere(ReadPurpose::Act, patience).await;
        let outcome = match &erased {
            Ok(Erased { found, trouble, .. }) if trouble.is_empty() => format!("{found} deleted"),
            Ok(Erased { found, trouble, .. }) => format!("{found} deleted; not done: {}", trouble.join("; ")),
            Err(error) => format!("failed: {error}"),
        };
        let count = erased.as_ref().map_or(0, |erased| erased.found);
        let whom = self.key.as_ref().and_then(|key| key.digest(&self.person));
        let whom = whom.map_or_else(|| "a person".to_owned(), |digest| format!("person={digest}"));
        let entry = audit::Entry { count, ..audit::Entry::done((by, place), "", OperatorAct::Erase, whom, &outcome) };
        control::record_when_possible(self.broker.clone(), entry).await;
        erased
    }

    async fn everywhere(&self, purpose: ReadPurpose, patience: Duration) -> Result<Erased, BrokerError> {
        let names = self.broker.names();
        let mut places = vec![(names.unrouted(), None)];
        for destination in &self.destinations {
            let of = Some(destination);
            places.extend([(names.dead(&destination.name), of), (names.trash(&destination.name), of)]);
        }
        let queues: Vec<String> = places.iter().map(|(queue, _)| queue.clone()).collect();
        let depths = self.broker.depths(&queues).await?;
        let mut erased = Erased { ages_out: self.ages_out(), ..Erased::default() };
        for ((queue, destination), depth) in places.into_iter().zip(depths) {
            // What somebody reads at the moment is not ready.
            let is_empty = match depth {
                None => true,
                Some(0) => !self.broker.is_read(&queue).await.unwrap_or(true),
                Some(_) => false,
            };
            if is_empty {
                continue;
            }
            let whose = destination.map_or(self.destinations.as_slice(), std::slice::from_ref);
            match self.go_through(&queue, whose, purpose, patience).await {
                Ok(Passed { left: Some(why), found, .. }) => {
                    erased.found += found;
                    erased.trouble.push(format!("{queue}: {why}: the same once more does the rest"));
                }
                Ok(Passed { found: 0, .. }) => {}
                Ok(Passed { there, found, .. }) => {
                    erased.found += found;
                    let destination = destination.map(|one| one.name.clone());
                    erased.places.push(ErasedFrom { queue, destination, there, found });
                }
                Err(error) => erased.trouble.push(format!("{queue}: {error}; the same once more does the rest")),
            }
        }
        Ok(erased)
    }

    /// One pass over a queue.
    async fn go_through(
        &self,
        queue: &str,
        whose: &[Arc<Destination>],
        purpose: ReadPurpose,
        patience: Duration,
    ) -> Result<Passed, ReadError> {
        let mut reader = self.broker.reader().await?;
        let passed = async {
            let mut locked = reader.lock(queue, purpose, patience).await?;
            let (mut passed, until) =
                (Passed { there: locked.count(), ..Passed::default() }, clock::now() + LONGEST_READ);
            while let Some(delivery) = locked.next().await? {
                if clock::now() > until {
                    passed.left.get_or_insert_with(|| "it took too long".to_owned());
                }
                let is_found = passed.left.is_none()
                    && self.is_about(&delivery, whose).await.unwrap_or_else(|lack| {
                        passed.left = Some(lack.to_string());
                        false
                    });
                if is_found && purpose == ReadPurpose::Act {
                    passed.found += u64::from(locked.remove(delivery));
                } else {
                    passed.found += u64::from(is_found);
                    locked.keep(delivery);
                }
            }
            locked.end().await?;
            Ok(passed)
        };
        let passed: Result<Passed, ReadError> = passed.await;
        reader.close().await;
        passed
    }

    /// Whether a message is about the person, to one of these destinations, or mentions them where that is meant too. Where an expression is hard
    /// on it, only the task that asks waits.
    async fn is_about(&self, delivery: &Delivery, destinations: &[Arc<Destination>]) -> Result<bool, NoThread> {
        let (message, person) = (&delivery.message, self.person.as_str());
        if self.anywhere && mentions(person, message, &delivery.routing_key) {
            return Ok(true);
        }
        match mapping::easily(|| is_about(person, message, &delivery.routing_key, destinations)) {
            Ok(is_about) => Ok(is_about),
            Err(Hard) => {
                let (person, message) = (person.to_owned(), message.clone());
                let (key, destinations) = (delivery.routing_key.clone(), destinations.to_vec());
                // On what panics it is as if the event could not be read.
                let found = threads::beside(move || is_about(&person, &message, &key, &destinations)).await?;
                Ok(found.unwrap_or_default())
            }
        }
    }

    fn ages_out(&self) -> Vec<AgesOut> {
        let ages = |what: &str, when: String| AgesOut { what: what.to_owned(), when };
        let longest = show_duration(self.longest);
        vec![
            ages(
                "events that wait in queues, for the gate, for a retry or for their time",
                format!(
                    "when they are sent; where the person is suppressed, unsent when their turn comes: for a retry within its delay (they \
                     are tried again for {longest} at most), for a `deliverafter` when it comes, 30 days at most, for a closed gate when it \
                     opens"
                ),
            ),
            ages(
                "ids and types of their events in the history, where [history] is set; their subjects too, with subject = true",
                "after [history] keep, and once some 8 MB more were recorded: the broker drops whole segments of a stream. Until then \
                 `sluice find` shows nothing that is older than keep"
                    .to_owned(),
            ),
            ages(
                "what operators wrote as filters of acts on dead letters, in the audit, e-mail addresses masked",
                "when 100,000 later entries are there".to_owned(),
            ),
            ages(
                "ids of their events in the workers' logs, e-mail addresses masked",
                "as your logs are kept".to_owned(),
            ),
        ]
    }
}

/// Whether the event in a message is about a person, for one of these destinations.
fn is_about(who: &str, message: &Message, routing_key: &str, destinations: &[Arc<Destination>]) -> bool {
    let key = letter::routing_key(message);
    let received = message.properties.headers.get(RECEIVED).and_then(Field::as_str);
    let context = Context {
        routing_key: key.as_deref().unwrap_or(routing_key),
        received: received.and_then(|at| at.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH),
        max_bytes: usize::MAX,
    };
    let Ok(event) = event::decode(message, context) else { return false };
    destinations.iter().filter_map(|one| Some((one, one.person.as_ref()?))).any(|(destination, person)| {
        let mapped = destination.map.apply(&event).ok().flatten();
        let people = person.of(&event, mapped.as_ref()).unwrap_or_default();
        people.iter().any(|one| person::normalised(one) == who)
    })
}

/// Whether a person stands anywhere in a message.
fn mentions(person: &str, message: &Message, routing_key: &str) -> bool {
    let Properties { headers, correlation_id, reply_to, message_id, kind, app_id, .. } = &message.properties;
    let texts = [correlation_id, reply_to, message_id, kind, app_id];
    person::is_mentioned(person, &message.body)
        || person::is_mentioned(person, routing_key.as_bytes())
        || texts.into_iter().flatten().any(|text| person::is_mentioned(person, text.as_bytes()))
        || in_headers(person, headers)
}

fn in_headers(person: &str, headers: &Headers) -> bool {
    headers.iter().any(|(name, field)| person::is_mentioned(person, name.as_bytes()) || in_field(person, field))
}

fn in_field(person: &str, field: &Field) -> bool {
    match field {
        Field::Text(bytes) | Field::Binary(bytes) => person::is_mentioned(person, bytes),
        Field::ShortText(text) => person::is_mentioned(person, text.as_bytes()),
        Field::Array(fields) => fields.iter().any(|field| in_field(person, field)),
        Field::Table(headers) => in_headers(person, headers),
        Field::Bool(_)
        | Field::I8(_)
        | Field::U8(_)
        | Field::I16(_)
        | Field::U16(_)
        | Field::I32(_)
        | Field::U32(_)
        | Field::I64(_)
        | Field::F32(_)
        | Field::F64(_)
        | Field::Decimal(..)
        | Field::Timestamp(_)
        | Field::Void => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_found_in_body_headers_and_properties() {
        let ann = "ann@example.com";
        let is_in = |message: &Message| mentions(ann, message, "order.paid");
        assert!(is_in(&Message { body: "not even JSON: Ann@example.com".into(), ..Message::default() }));
        assert!(!is_in(&Message { body: "joann@example.com".into(), ..Message::default() }));
        let mut message = Message::default();
        let inner = Field::Array(vec![Field::Table([("who".to_owned(), Field::text(ann))].into())]);
        message.properties.headers.insert("x".to_owned(), inner);
        assert!(is_in(&message));
        let mut message = Message::default();
        message.properties.message_id = Some(format!("order-1-{ann}"));
        assert!(is_in(&message));
        assert!(mentions(ann, &Message::default(), "mail.ann@example.com"));
    }
}
