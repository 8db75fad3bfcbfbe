//! Who a request is from: a bearer token, or a Standard Webhooks signature, or anyone on loopback where no token is set. Pure.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use secrecy::ExposeSecret as _;

use super::answer::Stop;
use crate::config::IngestToken;
use crate::routing;
use crate::serving::{equal, is_address};

/// How far a signature's time may be from now.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Who publishes.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    /// None where no token is set.
    pub token: Option<&'a IngestToken>,
}

impl<'a> Caller<'a> {
    /// The token's name.
    pub fn name(&self) -> &'a str {
        self.token.map_or("local", |token| &token.name)
    }

    /// Whether the token may publish such an event: else a sentence, and the attribute that it is about.
    pub fn may(&self, kind: &str, source: &str) -> Result<(), (String, &'static str)> {
        let Some(IngestToken { name, types, sources, .. }) = self.token else { return Ok(()) };
        if !routing::subscribes(types, kind) {
            return Err((
                format!("the token {name:?} may not publish the type {kind:?}; it may: {}", types.join(", ")),
                "type",
            ));
        }
        if !sources.is_empty() && !sources.iter().any(|it| it == source) {
            let sources = sources.join(", ");
            return Err((
                format!("the token {name:?} may not publish from the source {source:?}; it may: {sources}"),
                "source",
            ));
        }
        Ok(())
    }

    /// Checks the body's signature, where the token has a secret.
    pub fn check_signature(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Stop> {
        match self.token.and_then(IngestToken::key) {
            Some(key) => signed(&key, headers, body, now).map_err(|said| Stop::new(StatusCode::UNAUTHORIZED, said)),
            None => Ok(()),
        }
    }
}

/// Who sends it. `named` is the token in the path: signed webhooks have no bearer token.
pub(super) fn identify<'a>(
    tokens: &'a [IngestToken],
    named: Option<&str>,
    headers: &HeaderMap,
) -> Result<Caller<'a>, Stop> {
    if tokens.is_empty() {
        return open(named, headers);
    }
    let unknown = || {
        Stop::new(
            StatusCode::UNAUTHORIZED,
            "send a token of [ingest.tokens] as \"Authorization: Bearer …\", or sign the request at /v1/events/<token's name>",
        )
    };
    let bearer = bearer(headers);
    let by_bearer = bearer.and_then(|given| holder(tokens, given));
    let Some(named) = named else {
        return by_bearer.map(|token| Caller { token: Some(token) }).ok_or_else(unknown);
    };
    let token = tokens.iter().find(|token| token.name == named).ok_or_else(unknown)?;
    let is_bearer = by_bearer.is_some_and(|it| it.name == token.name);
    // Its signature is checked once the body is there.
    let is_signed = token.secret.is_some() && (bearer.is_none() || token.token.is_none());
    if is_bearer || is_signed { Ok(Caller { token: Some(token) }) } else { Err(unknown()) }
}

/// Without tokens anyone on this machine may publish, but no page in a browser on it.
fn open<'a>(named: Option<&str>, headers: &HeaderMap) -> Result<Caller<'a>, Stop> {
    if let Some(named) = named {
        let said = format!("there is no token {named:?} in [ingest.tokens]; publish to /v1/events");
        return Err(Stop::new(StatusCode::UNAUTHORIZED, said));
    }
    let host = text(headers, &header::HOST);
    if headers.contains_key(header::ORIGIN) || host.is_some_and(|host| !is_address(host)) {
        let said = "without tokens no web page may publish, and the Host has to be \"localhost\" or an IP address; set a token under \
                    [ingest.tokens]";
        return Err(Stop::new(StatusCode::FORBIDDEN, said));
    }
    Ok(Caller { token: None })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, given) = text(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| given.trim())
}

/// The token of that text. Every token is looked at, whichever it is.
fn holder<'a>(tokens: &'a [IngestToken], given: &str) -> Option<&'a IngestToken> {
    let is = |token: &IngestToken| {
        token.token.as_ref().is_some_and(|it| equal(it.expose_secret().as_bytes(), given.as_bytes()))
    };
    tokens.iter().fold(None, |found, token| if is(token) { Some(token) } else { found })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a body has a signature of Standard Webhooks by that key.
fn signed(key: &[u8], headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), String> {
    let given = |name: &'static str| {
        let value = text(headers, &HeaderName::from_static(name));
        value.filter(|value| !value.is_empty()).ok_or_else(|| {
            format!("the header {name} is missing: this token has a secret, so its requests are signed as Standard Webhooks says")
        })
    };
    let (id, sent, signatures) = (given("webhook-id")?, given("webhook-timestamp")?, given("webhook-signature")?);
    let at = sent.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let at = at.ok_or("the header webhook-timestamp is no number of seconds since 1970")?;
    if now.duration_since(at).abs() > TOLERANCE {
        return Err(format!(
            "the header webhook-timestamp ({at}) is over 5 minutes from now: sign the request anew for each try"
        ));
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let content = [format!("{id}.{sent}.").as_bytes(), body].concat();
    let is_right = |signature: &str| {
        let given = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        given.is_some_and(|given| hmac::verify(&key, &content, &given).is_ok())
    };
    if signatures.split(' ').any(is_right) {
        return Ok(());
    }
    Err("no signature in the header webhook-signature is right: it is v1, and the base64 of HMAC-SHA256 over id.timestamp.body".to_owned())
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    /// Made with Python's hmac.
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn token(name: &str, token: Option<&str>, secret: Option<&str>) -> IngestToken {
        let (token, secret) = (token.map(SecretString::from), secret.map(SecretString::from));
        let (types, sources) = (vec!["shop.#".to_owned()], vec!["/shop".to_owned()]);
        IngestToken { name: name.into(), token, secret, types, sources, rate: None }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn webhook<'a>(signature: &'a str, at: &'a str) -> HeaderMap {
        headers(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", at),
            ("webhook-signature", signature),
        ])
    }

    #[test]
    fn a_right_signature_is_let_in_for_five_minutes_and_no_other_one_is() {
        let key = STANDARD.decode(KEY).unwrap();
        let (at, sent) = (1_614_265_330, "1614265330");
        let check = |headers: &HeaderMap, body: &[u8], after: i64| {
            signed(&key, headers, body, Timestamp::from_second(at + after).unwrap())
        };
        let good = webhook(SIGNATURE, sent);
        assert_eq!(
            (check(&good, BODY, 0), check(&good, BODY, 300), check(&good, BODY, -300)),
            (Ok(()), Ok(()), Ok(()))
        );
        let several = format!("v1,bm90IGl0 v2,{SIGNATURE} {SIGNATURE}");
        assert_eq!(check(&webhook(&several, sent), BODY, 0), Ok(()));
        for (headers, body, after, said) in [
            (good.clone(), &b"{}"[..], 0, "no signature"),
            (webhook(SIGNATURE, "1614265331"), BODY, 0, "no signature"),
            (webhook("v1,", sent), BODY, 0, "no signature"),
            (good.clone(), BODY, 301, "over 5 minutes from now"),
            (good, BODY, -301, "over 5 minutes from now"),
            (webhook(SIGNATURE, "noon"), BODY, 0, "no number of seconds"),
            (HeaderMap::new(), BODY, 0, "webhook-id is missing"),
        ] {
            let wrong = check(&headers, body, after).unwrap_err();
            assert!(wrong.contains(said), "{said}: {wrong}");
        }
    }

    #[test]
    fn a_bearer_token_or_a_name_with_a_signature_tells_who_it_is() {
        let tokens = [
            token("shop", Some("token-of-the-shop"), None),
            token("hooks", None, Some(KEY)),
            token("both", Some("token-of-both"), Some(KEY)),
        ];
        let who = |named: Option<&str>, bearer: Option<&str>| {
            let bearer = bearer.map(|token| format!("Bearer {token}"));
            let pairs: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
            identify(&tokens, named, &headers(&pairs)).map(|caller| caller.name().to_owned()).ok()
        };
        for (named, bearer, name) in [
            (None, Some("token-of-the-shop"), Some("shop")),
            (Some("shop"), Some("token-of-the-shop"), Some("shop")),
            (Some("hooks"), None, Some("hooks")),
            (Some("both"), None, Some("both")),
            (None, Some("token-of-both"), Some("both")),
            (None, None, None),
            (None, Some("token-of-the-sho"), None),
            (Some("shop"), None, None),
            (Some("shop"), Some("token-of-both"), None),
            (Some("both"), Some("token-of-the-shop"), None),
            (Some("nobody"), None, None),
        ] {
            assert_eq!(who(named, bearer).as_deref(), name, "{named:?} {bearer:?}");
        }
    }

    #[test]
    fn without_tokens_no_web_page_is_let_in() {
        let is_in = |pairs: &[(&'static str, &str)]| identify(&[], None, &headers(pairs)).is_ok();
        assert!(is_in(&[("host", "127.0.0.1:9465")]) && is_in(&[("host", "localhost:9465")]));
        assert!(!is_in(&[("host", "evil.example")]) && !is_in(&[("host", "[::1]:1"), ("origin", "http://[::1]:1")]));
    }

    #[test]
    fn a_token_publishes_its_types_from_its_sources() {
        let shop = token("shop", Some("token-of-the-shop"), None);
        let caller = Caller { token: Some(&shop) };
        assert_eq!(caller.may("shop.paid", "/shop"), Ok(()));
        assert_eq!(caller.may("crm.paid", "/shop").unwrap_err().1, "type");
        assert_eq!(caller.may("shop.paid", "/shop/2").unwrap_err().1, "source");
        assert_eq!(Caller { token: None }.may("any", ""), Ok(()));
    }
}
