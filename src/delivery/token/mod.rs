//! A destination's access token. Answers to requests come in; whether to send, to fetch a token first or to wait, goes out.
//! Decides and never acts: no task, no timer, no clock. Never spends a call for a token that the vendor does not allow.

mod budget;

use std::time::{Duration, Instant};

use ::http::{HeaderValue, Request};
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::Trouble;
use budget::Budget;

use crate::gate::{self, later, span};
use crate::redact::masked;
use crate::vendors::{AccessToken, Grant, Reply, secrets_of};
use crate::verdict::Verdict;

/// A new token is fetched when a tenth of the old one's life is left, within these bounds, so that nothing waits for it.
const AHEAD_LEAST: Duration = Duration::from_secs(60);
const AHEAD_MOST: Duration = Duration::from_secs(600);
/// A token is not sent in the last moment of its life, since it has to be good when the vendor reads it.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// A token that has expired when it comes (one of the two clocks is wrong) is tried for this long.
const TRIED: Duration = Duration::from_secs(60);

/// What a request needs now.
#[derive(Debug)]
pub enum Need {
    /// A token, which is here.
    Ready(Bearer),
    /// A token: call [`Tokens::request`], send it once, and tell [`Tokens::answered`].
    Fetch,
    /// A token, which is being fetched.
    Busy,
    /// A token, and none may be asked for before then: [`Tokens::why`] says why.
    NotBefore(Instant),
}

/// A token as a request carries it.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The value of `Authorization`, marked sensitive.
    pub header: HeaderValue,
    /// Which token it is, for [`Tokens::refused`] and [`Tokens::accepted`].
    pub generation: u64,
}

/// What came of a request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOutcome {
    /// A new token. Where there is a token file it must be saved before anything else: the refresh token before it may be spent.
    Token,
    /// The refresh token was refused and is dropped; there is another way, so ask [`Tokens::need`] again.
    Again,
    /// The vendor answered that there were too many calls.
    Throttled(String),
    /// The vendor is in trouble: the sentence says what was seen.
    Unavailable(String),
    /// The vendor refused the sign-in: the sentence says what a person has to do. The destination is to be parked.
    Refused(String),
}

/// What outlives a worker, in [`super::token_file`] or handed over at a reload.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Whose tokens these are: a digest of the requests that ask for them, without their secrets.
    pub account: String,
    /// The token, where there is one.
    pub access: Option<Access>,
    /// What the next one can be had with.
    pub refresh: Option<SecretString>,
    /// When the calls of the last window were made, oldest first.
    pub calls: Vec<Timestamp>,
}

/// An access token and its life.
#[derive(Clone, Debug)]
pub struct Access {
    /// The token itself.
    pub token: SecretString,
    /// When it was given.
    pub since: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// A token in use.
#[derive(Debug)]
struct Held {
    access: Access,
    bearer: Bearer,
    /// When it was given, or read from the file.
    since: Instant,
    /// When the next one is fetched, and when this one is not sent any more, by the steady clock; the calendar is asked too,
    /// and whichever says so first is believed.
    ahead: Instant,
    until: Instant,
    /// Not known to be fresh: read from the file, or a request with it succeeded. A refusal then means that it was revoked.
    aged: bool,
}

/// One destination's tokens. Owned by the one task that drives it.
#[derive(Debug)]
pub struct Tokens {
    account: String,
    held: Option<Held>,
    generation: u64,
    refresh: Option<SecretString>,
    /// The configured refresh token, as long as a stored one is tried before it.
    spare: Option<SecretString>,
    budget: Budget,
    /// The secrets in the request for a token that is on its way.
    in_flight: Option<Vec<SecretString>>,
    /// What the last call came to, if not to a token.
    trouble: Option<String>,
    /// That was a refused sign-in.
    refused: bool,
}

impl Stored {
    /// Whether it is of the account that `grant` asks tokens for; of another one only the calls are heeded.
    #[must_use]
    pub fn is_of(&self, grant: &dyn Grant) -> bool {
        self.account == account(grant)
    }
}

impl Tokens {
    /// Goes on with what is stored, if it is of the account that `grant` asks tokens for.
    #[must_use]
    pub fn new(grant: &dyn Grant, stored: Option<Stored>, now: Instant, wall: Timestamp) -> Self {
        let account = account(grant);
        let Stored { account: of, access, refresh, calls } = stored.unwrap_or_default();
        let (access, refresh) = if of == account { (access, refresh) } else { (None, None) };
        let first = grant.first_refresh();
        let (refresh, spare) = if refresh.is_some() { (refresh, first) } else { (first, None) };
        let mut tokens = Self {
            account,
            held: None,
            generation: 0,
            refresh,
            spare,
            budget: Budget::new(grant.calls(), &calls, now, wall),
            in_flight: None,
            trouble: None,
            refused: false,
        };
        if let Some(access) = access.filter(|access| access.expires > wall) {
            tokens.hold(access, true, now, wall);
        }
        tokens
    }

    /// How old the token in use is; none while there is none.
    #[must_use]
    pub fn age(&self, wall: Timestamp) -> Option<Duration> {
        self.held.as_ref().map(|held| span(held.access.since, wall))
    }

    /// What a request needs now.
    #[must_use]
    pub fn need(&self, now: Instant, wall: Timestamp) -> Need {
        match (&self.held, self.budget.next(now)) {
            (Some(held), _) if held.is_good(now, wall) => Need::Ready(held.bearer.clone()),
            _ if self.in_flight.is_some() => Need::Busy,
            (_, Some(until)) => Need::NotBefore(until),
            (_, None) => Need::Fetch,
        }
    }

    /// The token is good for now but near its end, and a new one may be fetched.
    #[must_use]
    pub fn due(&self, now: Instant, wall: Timestamp) -> bool {
        let near = self.held.as_ref().is_some_and(|held| held.is_good(now, wall) && held.is_near_its_end(now, wall));
        near && self.in_flight.is_none() && self.budget.next(now).is_none()
    }

    /// The request for a token; the call is counted. Where there is a token file it is saved before this is sent, so that a
    /// worker that dies now cannot make the call twice. `None`: it is not the time (see [`Tokens::need`]), or the
    /// grant has no way without a refresh token ([`Tokens::why`] says so).
    pub fn request(&mut self, grant: &dyn Grant, now: Instant) -> Option<Request<Bytes>> {
        if self.in_flight.is_some() || self.budget.next(now).is_some() {
            return None;
        }
        let Some(request) = grant.request(self.refresh.as_ref()) else {
            self.trouble =
                Some("there is no refresh token and no other way to sign in: set one, then reload".to_owned());
            self.refused = true;
            self.budget.failed(true, Duration::ZERO, now);
            return None;
        };
        self.budget.spend(now);
        self.in_flight = Some(secrets_of(&request).into_iter().map(SecretString::from).collect());
        Some(request)
    }

    /// That request did not leave this machine: the call was not made.
    pub fn not_sent(&mut self) {
        if self.in_flight.take().is_some() {
            self.budget.take_back();
        }
    }

    /// What came of that request.
    pub fn answered(
        &mut self,
        grant: &dyn Grant,
        result: Result<&Reply, &Trouble>,
        now: Instant,
        wall: Timestamp,
    ) -> TokenOutcome {
        self.budget.answered(now);
        let secrets = self.in_flight.take().unwrap_or_default();
        let read = match result {
            Ok(reply) => grant.read(reply, wall),
            Err(trouble) => Err(Verdict::Unavailable(format!("{trouble} (when asking for a token)"))),
        };
        let verdict = match read {
            Ok(token) => match self.take(token, now, wall) {
                Ok(()) => return TokenOutcome::Token,
                Err(verdict) => verdict,
            },
            Err(verdict) => verdict,
        };
        let asked = result.ok().and_then(|reply| gate::hints(&reply.headers, wall).retry_after).unwrap_or_default();
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.expose_secret()).collect();
        let outcome = self.failed(grant, verdict, &secrets, asked, now);
        self.refused = matches!(outcome, TokenOutcome::Refused(_));
        self.trouble = match &outcome {
            TokenOutcome::Unavailable(sentence)
            | TokenOutcome::Refused(sentence)
            | TokenOutcome::Throttled(sentence) => Some(sentence.clone()),
            TokenOutcome::Token | TokenOutcome::Again => None,
        };
        outcome
    }

    /// A request with the token of that generation was answered 401 or 403. True: send it again as [`Tokens::need`] says, with
    /// a newer token. False: the token is new and was refused as well, so the destination is to be parked. A request that was
    /// sent again for this reason once and is refused again is to be taken for parked too, whatever this says.
    pub fn refused(&mut self, generation: u64, now: Instant) -> bool {
        let Some(held) = self.held.as_ref().filter(|held| held.bearer.generation == generation) else { return true };
        let worth = held.aged || self.budget.is_pressed() || now >= held.since + self.budget.longest_pause();
        if worth {
            self.held = None;
        }
        worth
    }

    /// A request with the token of that generation succeeded: a refusal from now on means that it was revoked.
    pub fn accepted(&mut self, generation: u64) {
        if let Some(held) = self.held.as_mut().filter(|held| held.bearer.generation == generation) {
            held.aged = true;
            self.budget.release();
        }
    }

    /// An operator wants it to go on: the next call is made at once, with the one that is kept back for this if need be. A
    /// wait that the vendor asked for is kept.
    pub fn retry_now(&mut self) {
        self.budget.press();
    }

    /// The vendor refused the last sign-in, so that a person is needed: [`Tokens::why`] has the sentence. A token that is held
    /// nevertheless is good until its end.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Why there is no token, for people, where [`Tokens::need`] says to wait.
    #[must_use]
    pub fn why(&self, now: Instant) -> String {
        let spent = self.budget.spent(now);
        match &self.trouble {
            Some(trouble) if spent.is_none() => trouble.clone(),
            Some(trouble) => format!("{trouble}; {}", spent.unwrap_or_default()),
            None => spent.unwrap_or_else(|| "there is no token yet".to_owned()),
        }
    }

    /// What is to be kept, at `now` and `wall`.
    #[must_use]
    pub fn stored(&self, now: Instant, wall: Timestamp) -> Stored {
        Stored {
            account: self.account.clone(),
            access: self.held.as_ref().map(|held| held.access.clone()),
            refresh: self.refresh.clone(),
            calls: self.calls(now, wall),
        }
    }

    /// When the calls of the last window were made, oldest first: what a gate's ledger carries.
    #[must_use]
    pub fn calls(&self, now: Instant, wall: Timestamp) -> Vec<Timestamp> {
        self.budget.calls(now, wall)
    }

    fn take(&mut self, token: AccessToken, now: Instant, wall: Timestamp) -> Result<(), Verdict> {
        let expires = if token.expires > wall { token.expires } else { later(wall, TRIED) };
        let access = Access { token: token.access, since: wall, expires };
        if !self.hold(access, false, now, wall) {
            let why = "the vendor gave a token with characters that a header cannot carry";
            return Err(Verdict::Unavailable(why.to_owned()));
        }
        // RFC 6749, section 6: without a new refresh token, the old one stays good.
        self.refresh = token.refresh.or(self.refresh.take());
        self.spare = None;
        self.budget.succeeded();
        (self.trouble, self.refused) = (None, false);
        Ok(())
    }

    /// False when the token cannot stand in a header.
    fn hold(&mut self, access: Access, aged: bool, now: Instant, wall: Timestamp) -> bool {
        let Ok(mut header) = HeaderValue::from_str(&format!("Bearer {}", access.token.expose_secret())) else {
            return false;
        };
        header.set_sensitive(true);
        self.generation += 1;
        let life = span(access.since, access.expires);
        // A clock that was set back does not make a stored token live longer.
        let end = now + span(wall, access.expires).min(life);
        // Of a very short life something must be left to use.
        let ahead = (life / 10).clamp(AHEAD_LEAST, AHEAD_MOST).min(life / 4);
        self.held = Some(Held {
            bearer: Bearer { header, generation: self.generation },
            since: now,
            ahead: end.checked_sub(ahead).unwrap_or(now),
            until: end.checked_sub(ON_ITS_WAY.min(life / 10)).unwrap_or(now),
            aged,
            access,
        });
        true
    }

    fn failed(
        &mut self,
        grant: &dyn Grant,
        verdict: Verdict,
        secrets: &[&str],
        asked: Duration,
        now: Instant,
    ) -> TokenOutcome {
        match verdict {
            Verdict::Throttled(sentence) => {
                self.budget.failed(false, asked, now);
                TokenOutcome::Throttled(masked(&sentence, secrets))
            }
            Verdict::Unavailable(sentence) => {
                self.budget.failed(false, asked, now);
                TokenOutcome::Unavailable(masked(&sentence, secrets))
            }
            Verdict::Unauthorized(sentence) | Verdict::Rejected(sentence) | Verdict::TooLarge(sentence) => {
                if self.refresh.is_some() && (self.spare.is_some() || grant.request(None).is_some()) {
                    self.refresh = self.spare.take();
                    return TokenOutcome::Again;
                }
                self.budget.failed(true, asked, now);
                TokenOutcome::Refused(masked(&sentence, secrets))
            }
            Verdict::Delivered | Verdict::Accepted => {
                self.budget.failed(false, asked, now);
                TokenOutcome::Unavailable("the vendor's answer has no token in it".to_owned())
            }
        }
    }
}

impl Held {
    fn is_good(&self, now: Instant, wall: Timestamp) -> bool {
        now < self.until && wall < self.access.expires
    }

    fn is_near_its_end(&self, now: Instant, wall: Timestamp) -> bool {
        let ahead = self.until.saturating_duration_since(self.ahead);
        now >= self.ahead || later(wall, ahead) >= self.access.expires
    }
}

/// Whose tokens a grant asks for: a digest of its requests. Secrets in their bodies are left out, so that a changed password does
/// not cost a refresh token that is still good.
fn account(grant: &dyn Grant) -> String {
    let ways = [grant.request(None), grant.request(Some(&SecretString::from("")))];
    let asked: Vec<String> = ways.iter().flatten().map(without_secrets).collect();
    Uuid::new_v5(&Uuid::NAMESPACE_URL, asked.join("\n").as_bytes()).to_string()
}

fn without_secrets(request: &Request<Bytes>) -> String {
    let body = String::from_utf8_lossy(request.body()).into_owned();
    let body = secrets_of(request)
        .into_iter()
        .filter(|secret| !secret.is_empty())
        .fold(body, |body, secret| body.replace(secret, ""));
    let credentials =
        request.headers().get(::http::header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    format!("{} {body} {}", request.uri(), String::from_utf8_lossy(credentials))
}

#[cfg(test)]
mod tests;
