//! The access tokens of a destination whose vendor wants them, and the file that keeps them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;

use super::attempt::Exchange;
use super::{Driver, demand};
use crate::clock;
use crate::config;
use crate::delivery::token::{Need, Stored, TokenOutcome, Tokens};
use crate::delivery::token_file;
use crate::gate::{Answer, Permit};

/// Tokens, and what is written of them.
pub(super) struct AccessTokens {
    destination: String,
    /// None where the vendor wants none.
    tokens: Option<Tokens>,
    /// Where they are kept. None where there is no such file, or where what lies there could not be read.
    file: Option<PathBuf>,
    /// A new token on its way to its file: nothing is sent before.
    saving: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl AccessTokens {
    /// Those that the token file or the driver before this one kept.
    pub fn new(settings: &config::Destination, before: Option<Stored>, now: Instant, wall: Timestamp) -> Self {
        let destination = settings.name.clone();
        let saving = FuturesUnordered::new();
        let Some(grant) = settings.vendor.grant() else {
            return Self { destination, tokens: None, file: None, saving };
        };
        let (mut file, mut kept) = (grant.token_file().map(Path::to_owned), None);
        if let Some(path) = &file {
            match token_file::load(path) {
                Ok(stored) => kept = stored,
                Err(problem) => {
                    tracing::error!(destination, "{problem}; tokens are kept in memory alone");
                    file = None;
                }
            }
        }
        let stored = before.filter(|before| before.is_of(grant)).or(kept);
        if stored.as_ref().is_some_and(|stored| !stored.is_of(grant)) {
            tracing::warn!(destination, "the token that was kept is another account's; asking for a new one");
        }
        Self { destination, tokens: Some(Tokens::new(grant, stored, now, wall)), file, saving }
    }

    pub fn get(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    pub fn get_mut(&mut self) -> Option<&mut Tokens> {
        self.tokens.as_mut()
    }

    /// Nothing more is sent before that is done.
    pub fn wait_for(&mut self, saving: BoxFuture<'static, ()>) {
        self.saving.push(saving);
    }

    /// Writes them to their file, where they have one.
    fn saved(&self, now: Instant, wall: Timestamp) -> Option<BoxFuture<'static, ()>> {
        let (path, tokens) = self.file.clone().zip(self.tokens.as_ref())?;
        Some(Box::pin(save(self.destination.clone(), path, tokens.stored(now, wall))))
    }

    /// Whether they are on their way to their file.
    pub fn is_saving(&self) -> bool {
        !self.saving.is_empty()
    }

    /// Returns when they are in their file; never while none is on its way.
    pub async fn progress(&mut self) {
        if self.saving.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// A refresh token that is lost cannot be had again.
async fn save(destination: String, path: PathBuf, stored: Stored) {
    match tokio::task::spawn_blocking(move || token_file::save(&path, &stored)).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => tracing::error!(destination, "{problem}; after a restart it has to sign in again"),
        Err(error) => tracing::error!(destination, %error, "the token file could not be written"),
    }
}

impl Driver {
    /// Keeps tokens and calls where they outlive this worker: in their file and in the lease's ledger, as far as there are these.
    pub(super) fn tokens_kept(&self, now: Instant, wall: Timestamp) -> Option<BoxFuture<'static, ()>> {
        match (self.side.tokens.saved(now, wall), self.record_ledger()) {
            (Some(saved), Some(recorded)) => Some(Box::pin(saved.then(|()| recorded))),
            (saved, recorded) => saved.or(recorded),
        }
    }

    /// A request for a token came back.
    pub(super) fn token_answered(&mut self, permit: Permit, exchange: &Exchange) {
        let (now, wall) = (clock::now(), clock::wall());
        let vendor = self.settings.vendor.clone();
        let (Some(tokens), Some(grant)) = (self.side.tokens.get_mut(), vendor.grant()) else { return };
        let Some(result) = &exchange.result else { return };
        let outcome = match result {
            Ok(reply) => tokens.answered(grant, Ok(&reply.without_secrets(&exchange.request)), now, wall),
            Err(trouble) => tokens.answered(grant, Err(trouble), now, wall),
        };
        let not_before = match tokens.need(now, wall) {
            Need::NotBefore(until) => Some(until.saturating_duration_since(now)),
            Need::Ready(_) | Need::Fetch | Need::Busy => None,
        };
        let told = match &outcome {
            TokenOutcome::Token | TokenOutcome::Again | TokenOutcome::Refused(_) | TokenOutcome::Unavailable(_) => {
                Answer::Neutral
            }
            TokenOutcome::Throttled(_) => Answer::Throttled,
        };
        let said = match &outcome {
            TokenOutcome::Token | TokenOutcome::Again => String::new(),
            TokenOutcome::Throttled(said) | TokenOutcome::Unavailable(said) | TokenOutcome::Refused(said) => {
                exchange.masked(said)
            }
        };
        self.dispatch.gate.said(&said);
        self.note_side_request(("access token", ""), exchange, &said, permit.probe);
        // What came is kept before anything is sent with it.
        if let Some(kept) = self.tokens_kept(now, wall) {
            self.side.tokens.wait_for(kept);
        }
        self.dispatch.tell(permit, told, exchange);
        let destination = self.settings.name.as_str();
        match outcome {
            TokenOutcome::Token => {
                tracing::info!(destination, ms = exchange.ms(), "a new access token");
            }
            TokenOutcome::Again => tracing::warn!(destination, "the refresh token was refused; signing in again"),
            TokenOutcome::Throttled(_) => tracing::warn!(destination, said, "too many calls for an access token"),
            TokenOutcome::Unavailable(_) => {
                tracing::warn!(destination, said, "no access token yet");
                if let Some(wait) = not_before {
                    self.dispatch.gate.break_off(&said, wait, now);
                }
            }
            TokenOutcome::Refused(_) => {
                self.dispatch.gate.park(&said, not_before.unwrap_or(demand::LONGEST_HOLD), now);
            }
        }
    }
}
