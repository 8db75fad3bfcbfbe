//! Tries one destination's credentials: gets an access token if the vendor wants one, then sends a request that changes nothing.

use http::{HeaderValue, header};

use crate::clock;
use crate::config::Destination;
use crate::delivery::http::HttpTransport;
use crate::delivery::token::{Need, TokenOutcome, Tokens};
use crate::delivery::{Transport as _, token_file};
use crate::gate::WrittenAt;
use crate::redact;
use crate::vendors::{Grant, secrets_of};
use crate::verdict::Verdict;

const TOO_MANY: &str = "the vendor answered 429 (too many requests); try again later";

/// Whether the credentials are good, as far as that can be told, and what was said.
pub(super) async fn try_out(destination: &Destination) -> (Option<bool>, String) {
    let vendor = &destination.vendor;
    let transport = match HttpTransport::new(destination.timeout, destination.proxy.as_ref(), destination.http1_only) {
        Ok(transport) => transport,
        Err(error) => return (Some(false), error.to_string()),
    };
    let token = match vendor.grant() {
        Some(grant) => match token(grant, &transport).await {
            Ok(token) => Some(token),
            Err(failed) => return failed,
        },
        None => None,
    };
    let Some(mut request) = vendor.credentials_check() else {
        let none = format!("vendor {} has no request that tries credentials without effect", destination.vendor_name);
        return match token {
            Some(_) => (Some(true), format!("a token was given; {none}")),
            None => (None, format!("{none}; nothing was sent")),
        };
    };
    if let Some(token) = token {
        request.headers_mut().insert(header::AUTHORIZATION, token);
    }
    let reply = match transport.send(&request, &WrittenAt::default()).await {
        Ok(reply) => reply.without_secrets(&request).into_owned(),
        Err(trouble) => return (Some(false), trouble.to_string()),
    };
    match vendor.judge(&reply) {
        Verdict::Unauthorized(said) | Verdict::Unavailable(said) => {
            (Some(false), redact::masked(&said, &secrets_of(&request)))
        }
        Verdict::Throttled(_) => (None, TOO_MANY.into()),
        Verdict::Delivered | Verdict::Accepted | Verdict::TooLarge(_) | Verdict::Rejected(_) => {
            (Some(true), format!("{} takes the credentials", request.uri().host().unwrap_or("the vendor")))
        }
    }
}

/// An access token: the one in the token file while it is good, else a new one, which is kept there as a worker would.
async fn token(grant: &dyn Grant, transport: &HttpTransport) -> Result<HeaderValue, (Option<bool>, String)> {
    let bad = |said: String| (Some(false), said);
    let path = grant.token_file();
    if path.is_none() && grant.request(None).is_none() {
        let said =
            "there is only a refresh token, which works once, and no token_file to keep the next one; nothing was sent";
        return Err((None, said.to_owned()));
    }
    let stored = path.map(token_file::load).transpose().map_err(bad)?.flatten();
    let mut tokens = Tokens::new(grant, stored, clock::now(), clock::wall());
    loop {
        let (now, wall) = (clock::now(), clock::wall());
        match tokens.need(now, wall) {
            Need::Ready(bearer) => return Ok(bearer.header),
            Need::Busy | Need::NotBefore(_) => return Err((None, tokens.why(now))),
            Need::Fetch => {}
        }
        let Some(request) = tokens.request(grant, now) else { return Err(bad(tokens.why(now))) };
        keep(&tokens, path).map_err(bad)?;
        let result = transport
            .send(&request, &WrittenAt::default())
            .await
            .map(|reply| reply.without_secrets(&request).into_owned());
        let outcome = tokens.answered(grant, result.as_ref(), clock::now(), clock::wall());
        keep(&tokens, path).map_err(bad)?;
        match outcome {
            TokenOutcome::Token | TokenOutcome::Again => {}
            TokenOutcome::Throttled(_) => return Err((None, TOO_MANY.into())),
            TokenOutcome::Unavailable(said) | TokenOutcome::Refused(said) => return Err(bad(said)),
        }
    }
}

fn keep(tokens: &Tokens, path: Option<&std::path::Path>) -> Result<(), String> {
    path.map_or(Ok(()), |path| token_file::save(path, &tokens.stored(clock::now(), clock::wall())))
}
