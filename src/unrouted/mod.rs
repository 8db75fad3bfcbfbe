//! Events that no destination subscribed to: looked at by routing key, published again once somebody subscribes, or deleted. One
//! implementation for the command line, the admin API and the console.

mod groups;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::audit;
use crate::broker::port::{Delivery, PublishError};
use crate::broker::{Broker, LONGEST_READ, LockedRead, ReadError, ReadPurpose};
use crate::clock;
use crate::control;
use crate::event::Glance;
use crate::history::{About, Recorder, Step, StepKind};
use crate::message::{Message, beginning};

pub use groups::{UnroutedGroup, UnroutedGroups};

/// A list ends when it has so many bytes of bodies.
const LONGEST_LIST: usize = 4 * 1024 * 1024;
/// Publications on their way at once.
const WINDOW: usize = 256;

/// The queue of unrouted events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Unrouted {
    /// Where it is.
    pub broker: Broker,
    /// The largest event.
    pub max_event_bytes: usize,
    /// Where is told what was published again; nowhere where no history is kept, or nothing is done.
    pub history: Option<Recorder>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnroutedEvent {
    /// The event's id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its type.
    pub r#type: String,
    /// The routing key that it was published with: destinations subscribe to it.
    pub routing_key: String,
    /// When it happened; left out where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
    /// What makes it no event, where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The bytes of its body.
    pub bytes: usize,
    /// Its body, as text; only the beginning of one over 16 KiB.
    pub body: String,
}

/// What becomes of those that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnroutedAct {
    /// They go to whoever subscribes now.
    Publish,
    /// They are gone for good.
    Discard,
}

impl UnroutedAct {
    /// Its name in the audit.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish_unrouted",
            Self::Discard => "discard_unrouted",
        }
    }
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnroutedDone {
    /// How many there were when it began: these and no others were looked at.
    pub there: u32,
    /// How many of them were meant.
    pub meant: u64,
    /// How many are published again, or deleted.
    pub done: u64,
    /// How many nobody subscribes to now either; they stay.
    pub not_subscribed: u64,
    /// Why it ended before all that were meant were done; they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl UnroutedDone {
    fn outcome(&self, act: UnroutedAct) -> String {
        let done = match act {
            UnroutedAct::Publish => "published again",
            UnroutedAct::Discard => "deleted",
        };
        let mut said = format!("{} of {} {done}", self.done, self.meant);
        if self.not_subscribed > 0 {
            said.push_str(&format!(", {} still without a subscriber", self.not_subscribed));
        }
        self.trouble.iter().for_each(|trouble| said.push_str(&format!("; {trouble}")));
        said
    }
}

/// What came of one publication.
struct Published {
    event: Delivery,
    /// What the history says of it.
    about: Option<About>,
    result: Result<(), PublishError>,
}

impl Unrouted {
    /// The name of the queue.
    #[must_use]
    pub fn queue(&self) -> String {
        self.broker.names().unrouted()
    }

    /// All of them, by routing key.
    ///
    /// # Errors
    /// [`ReadError`] when somebody else reads for all of `patience`, and when the broker is away.
    pub async fn groups(&self, patience: Duration) -> Result<UnroutedGroups, ReadError> {
        let mut groups = UnroutedGroups::default();
        self.pass(patience, |delivery| {
            groups.add(&self.shown(&delivery.message, &delivery.routing_key));
            true
        })
        .await?;
        Ok(groups)
    }

    /// The first `limit` of those with one of these routing keys; of all where none is named; fewer where they are large. With how many there
    /// are in all.
    ///
    /// # Errors
    /// As [`Self::groups`].
    pub async fn list(
        &self,
        keys: &BTreeSet<String>,
        limit: usize,
        patience: Duration,
    ) -> Result<(u32, Vec<UnroutedEvent>), ReadError> {
        let (mut listed, mut bytes) = (Vec::new(), 0);
        let there = self
            .pass(patience, |delivery| {
                if is_meant(keys, delivery) {
                    let shown = self.shown(&delivery.message, &delivery.routing_key);
                    bytes += shown.body.len();
                    listed.push(shown);
                }
                listed.len() < limit && bytes < LONGEST_LIST
            })
            .await?;
        Ok((there, listed))
    }

    /// The first `most` of those that are meant.
    ///
    /// # Errors
    /// As [`Self::groups`].
    pub async fn find(
        &self,
        means: impl Fn(&UnroutedEvent, &Message) -> bool + Send + Sync,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<UnroutedEvent>, ReadError> {
        let mut found = Vec::new();
        self.pass(patience, |delivery| {
            let shown = self.shown(&delivery.message, &delivery.routing_key);
            if means(&shown, &delivery.message) {
                found.push(shown);
            }
            found.len() < most
        })
        .await?;
        Ok(found)
    }

    /// Publishes those with one of these routing keys again, or deletes them; all where none is named. What nobody `subscribes` to is not
    /// published: it would come back here. The audit tells how it ended.
    ///
    /// # Errors
    /// As [`Self::groups`].
    pub async fn act(
        &self,
        act: UnroutedAct,
        keys: &BTreeSet<String>,
        by: (&str, &str),
        patience: Duration,
        subscribes: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<UnroutedDone, ReadError> {
        let mut reader = self.broker.reader().await?;
        let acted = async {
            let mut locked = reader.lock(&self.queue(), ReadPurpose::Act, patience).await?;
            let mut done = UnroutedDone { there: locked.count(), ..UnroutedDone::default() };
            self.go_through(&mut locked, (act, by.0), keys, &subscribes, &mut done).await?;
            locked.end().await?;
            Ok(done)
        };
        let acted: Result<UnroutedDone, ReadError> = acted.await;
        reader.close().await;
        let (outcome, count) = match &acted {
            Ok(done) => (done.outcome(act), done.meant),
            Err(error) => (format!("failed: {error}; what was confirmed is done, the rest is still there"), 0),
        };
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let given = if keys.is_empty() { "all".to_owned() } else { keys.join(", ") };
        let entry = audit::Entry { count, ..audit::Entry::ended(by, "", act.name(), given, &outcome) };
        control::record_when_possible(self.broker.clone(), entry).await;
        acted
    }

    async fn go_through(
        &self,
        locked: &mut LockedRead,
        (act, by): (UnroutedAct, &str),
        keys: &BTreeSet<String>,
        subscribes: &(impl Fn(&str) -> bool + Sync),
        done: &mut UnroutedDone,
    ) -> Result<(), ReadError> {
        let publisher = self.broker.publisher();
        let (mut moving, until) = (FuturesUnordered::new(), clock::now() + LONGEST_READ);
        let settle = |published: Published, locked: &mut LockedRead, done: &mut UnroutedDone| match published.result {
            Ok(()) => {
                locked.remove(published.event);
                done.done += 1;
                self.tell_published(published.about.as_ref(), by);
            }
            Err(error) => {
                locked.keep(published.event);
                done.trouble.get_or_insert_with(|| error.to_string());
            }
        };
        let mut ended = Ok(());
        while done.trouble.is_none() {
            if moving.len() >= WINDOW
                && let Some(published) = moving.next().await
            {
                settle(published, locked, done);
                continue;
            }
            let event = match locked.next().await {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            };
            if clock::now() > until {
                locked.keep(event);
                done.trouble = Some("it took too long: run the same once more for the rest".to_owned());
            } else if !is_meant(keys, &event) {
                locked.keep(event);
            } else if act == UnroutedAct::Discard {
                (done.meant, done.done) = (done.meant + 1, done.done + 1);
                locked.remove(event);
            } else if !subscribes(&event.routing_key) {
                (done.meant, done.not_subscribed) = (done.meant + 1, done.not_subscribed + 1);
                locked.keep(event);
            } else {
                done.meant += 1;
                let (message, exchange) = self.again(&event);
                let about = self.about(&event);
                let sent = publisher.submit(&exchange, &event.routing_key, message).await;
                moving.push(async move {
                    let result = match sent {
                        Ok(confirm) => confirm.await,
                        Err(error) => Err(error),
                    };
                    Published { event, about, result }
                });
            }
        }
        while let Some(published) = moving.next().await {
            settle(published, locked, done);
        }
        ended
    }

    /// What is published again, and where.
    fn again(&self, event: &Delivery) -> (Message, String) {
        let mut message = event.message.clone();
        // The broker refuses another's, and ends the channel for it.
        message.properties.user_id = None;
        (message, self.broker.names().exchange_of(event.class))
    }

    /// Which event is about to be published again; nothing where no history is kept.
    fn about(&self, event: &Delivery) -> Option<About> {
        let keeps_subject = self.history.as_ref()?.keeps_subject();
        Some(About::message(&event.message, &event.routing_key, keeps_subject, clock::wall()))
    }

    fn tell_published(&self, about: Option<&About>, by: &str) {
        if let (Some(recorder), Some(about)) = (&self.history, about) {
            recorder.tell(&Step { by: Some(by.into()), ..about.step(StepKind::Published) });
        }
    }

    /// Shows each to `visit`, until that returns false; returns how many there were.
    async fn pass(
        &self,
        patience: Duration,
        mut visit: impl FnMut(&Delivery) -> bool + Send,
    ) -> Result<u32, ReadError> {
        let mut reader = self.broker.reader().await?;
        let passed = async {
            let mut locked = reader.lock(&self.queue(), ReadPurpose::Look, patience).await?;
            let there = locked.count();
            while let Some(delivery) = locked.next().await? {
                let goes_on = visit(&delivery);
                locked.keep(delivery);
                if !goes_on {
                    break;
                }
            }
            locked.end().await?;
            Ok(there)
        };
        let passed = passed.await;
        reader.close().await;
        passed
    }

    fn shown(&self, message: &Message, routing_key: &str) -> UnroutedEvent {
        let Glance { id, source, kind, time, problem } = Glance::at(message, routing_key, self.max_event_bytes);
        UnroutedEvent {
            id,
            source,
            r#type: kind,
            routing_key: routing_key.to_owned(),
            time,
            problem,
            bytes: message.body.len(),
            body: beginning(&message.body),
        }
    }
}

fn is_meant(keys: &BTreeSet<String>, delivery: &Delivery) -> bool {
    keys.is_empty() || keys.contains(&delivery.routing_key)
}
