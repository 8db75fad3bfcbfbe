//! Tells whoever replayed an event what became of it: best effort, after the settlement, and never at its cost.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::broker::port::{PublishError, Publisher};
use crate::message::header::{self, REPLAY, REPLAY_OF, REPLAY_TO};
use crate::message::{Field, Headers, Message, Properties};
use crate::record::replay::{Notice, ReplayOutcome};

/// Notices published at a time: a settlement's copy waits behind no more than these.
const AT_ONCE: usize = 32;
/// Notices that wait for those; more than a destination ever holds events.
const MOST_WAITING: usize = 1 << 16;

/// A notice and where it goes.
#[derive(Debug)]
pub(super) struct OutcomeNotice {
    queue: String,
    notice: Notice,
}

impl OutcomeNotice {
    /// What there is to tell of `message`'s event, where someone waits for it.
    pub fn on(message: &Message, outcome: ReplayOutcome) -> Option<Self> {
        let headers = &message.properties.headers;
        let queue = text(headers, REPLAY_TO)?;
        let notice = Notice {
            replay: text(headers, REPLAY)?,
            letter: text(headers, REPLAY_OF)?,
            outcome,
            reason: None,
            sentence: None,
        };
        Some(Self { queue, notice })
    }

    /// The same with why it is `letter`.
    pub fn why(mut self, letter: &Message) -> Self {
        let headers = &letter.properties.headers;
        self.notice.reason = text(headers, header::REASON);
        self.notice.sentence = text(headers, header::SENTENCE);
        self
    }
}

fn text(headers: &Headers, name: &str) -> Option<String> {
    headers.get(name).and_then(Field::as_str).map(str::to_owned)
}

/// The notices of one destination on their way.
pub(super) struct Notices {
    publisher: Publisher,
    waiting: VecDeque<OutcomeNotice>,
    under_way: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Notices {
    pub fn new(publisher: Publisher) -> Self {
        Self { publisher, waiting: VecDeque::new(), under_way: FuturesUnordered::new() }
    }

    /// Sends it, or lets it wait; one too many is lost.
    pub fn tell(&mut self, notice: OutcomeNotice) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(notice);
        }
        self.send();
    }

    fn send(&mut self) {
        while self.under_way.len() < AT_ONCE
            && let Some(notice) = self.waiting.pop_front()
        {
            self.under_way.push(Box::pin(publish(self.publisher.clone(), notice)));
        }
    }

    /// Whether none is on its way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Returns when one more has come through or failed.
    pub async fn sent(&mut self) {
        self.under_way.next().await;
        self.send();
    }

    /// Returns when all have.
    pub async fn all_sent(&mut self) {
        while !self.is_empty() {
            self.sent().await;
        }
    }
}

async fn publish(publisher: Publisher, notice: OutcomeNotice) {
    let body = serde_json::to_vec(&notice.notice).unwrap_or_default();
    let properties = Properties { content_type: Some("application/json".to_owned()), ..Properties::default() };
    match publisher.publish("", &notice.queue, Message { body: body.into(), properties }).await {
        // Whoever replayed it waits no more.
        Ok(()) | Err(PublishError::Unroutable { .. }) => {}
        Err(error) => {
            tracing::debug!(queue = notice.queue, %error, "the outcome of a replayed event could not be sent")
        }
    }
}
