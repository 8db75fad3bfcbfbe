//! Requests on their way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::Request;
use tokio_util::sync::CancellationToken;

use super::attempt::{self, Attempted, Purpose};
use crate::delivery::Transport;
use crate::gate::Permit;
use crate::traces::Span;

/// What sends requests.
pub(super) struct Sender {
    transport: Arc<dyn Transport>,
    attempts: FuturesUnordered<BoxFuture<'static, Attempted>>,
    /// Cancelled when requests in flight must not be waited for any longer.
    hurry: CancellationToken,
}

/// A request that may go out.
pub(super) struct Outgoing {
    pub purpose: Purpose,
    pub request: Request<Bytes>,
    /// The generation of the access token that it carries, if any.
    pub generation: Option<u64>,
    pub permit: Permit,
    pub span: Span,
}

impl Sender {
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, attempts: FuturesUnordered::new(), hurry: CancellationToken::new() }
    }

    /// Sends a request once `first` is done.
    pub fn send(&mut self, outgoing: Outgoing, first: Option<BoxFuture<'static, ()>>) {
        let Outgoing { purpose, request, generation, permit, span } = outgoing;
        let transport = Arc::clone(&self.transport);
        let attempt = attempt::make(transport, purpose, request, generation, permit, span, self.hurry.clone());
        match first {
            None => self.attempts.push(Box::pin(attempt)),
            Some(first) => self.attempts.push(Box::pin(first.then(|()| attempt))),
        }
    }

    /// The next request that is answered or given up; never comes while none is on its way.
    pub async fn answered(&mut self) -> Attempted {
        match self.attempts.next().await {
            Some(attempted) => attempted,
            None => std::future::pending().await,
        }
    }

    /// Another one that is answered now.
    pub fn answered_too(&mut self) -> Option<Attempted> {
        self.attempts.next().now_or_never().flatten()
    }

    /// How many requests are on their way.
    pub fn in_flight(&self) -> usize {
        self.attempts.len()
    }

    /// Whether one more can be sent now.
    pub fn has_room(&self) -> bool {
        self.transport.has_room()
    }

    /// Gives up waiting for answers.
    pub fn hurry(&self) {
        self.hurry.cancel();
    }

    /// Whether answers are no longer waited for.
    pub fn is_hurried(&self) -> bool {
        self.hurry.is_cancelled()
    }
}
