//! What vendors with access tokens share (OAuth 2.0, RFC 6749): requests for one, and the reading of the answers.
//! Pure, as every vendor is.

use ::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{AccessToken, Reply, Secrets, answer};
use crate::event;
use crate::verdict::Verdict;

/// The life of a token whose answer does not say: what most vendors give. One that ends earlier is refused and replaced.
const USUAL_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// No life is believed beyond this.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The value of a field in a request for a token.
#[derive(Clone, Copy, Debug)]
pub enum FieldValue<'a> {
    /// May be seen.
    Open(&'a str),
    /// Must be masked wherever it shows.
    Secret(&'a SecretString),
}

impl<'a> FieldValue<'a> {
    fn exposed(self) -> &'a str {
        match self {
            Self::Open(text) => text,
            Self::Secret(secret) => secret.expose_secret(),
        }
    }
}

/// A request for a token as the RFC writes it: `fields` as a form, in their order.
#[must_use]
pub fn form(endpoint: &Uri, fields: &[(&str, FieldValue<'_>)]) -> Request<Bytes> {
    let mut body = form_urlencoded::Serializer::new(String::new());
    for (name, part) in fields {
        body.append_pair(name, part.exposed());
    }
    post(endpoint, "application/x-www-form-urlencoded", body.finish(), secrets(fields, form_encoded))
}

/// The same with the client's credentials in the header, by HTTP Basic (RFC 6749, section 2.3.1: form-encoded first).
#[must_use]
pub fn basic(
    endpoint: &Uri,
    client_id: &str,
    client_secret: &SecretString,
    fields: &[(&str, FieldValue<'_>)],
) -> Request<Bytes> {
    let mut request = form(endpoint, fields);
    let pair = format!("{}:{}", form_encoded(client_id), form_encoded(client_secret.expose_secret()));
    // Base64 is ASCII without controls: it always is a header value.
    if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))) {
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    if let Some(Secrets(secrets)) = request.extensions_mut().get_mut() {
        secrets.push(client_secret.clone());
    }
    request
}

/// A request for a token from vendors that want JSON: `fields` as an object of texts.
#[must_use]
pub fn json(endpoint: &Uri, fields: &[(&str, FieldValue<'_>)]) -> Request<Bytes> {
    let object: Map<String, Value> =
        fields.iter().map(|(name, part)| ((*name).to_owned(), Value::from(part.exposed()))).collect();
    post(endpoint, "application/json", Value::from(object).to_string(), secrets(fields, event::escaped))
}

fn post(endpoint: &Uri, content_type: &'static str, body: String, secrets: Secrets) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.clone();
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request.extensions_mut().insert(secrets);
    request
}

/// Each secret as it is and as it stands in the body: a vendor may say it back in either form.
fn secrets(fields: &[(&str, FieldValue<'_>)], written: impl Fn(&str) -> String) -> Secrets {
    let mut secrets = Vec::new();
    for (_, part) in fields {
        if let FieldValue::Secret(secret) = part {
            let in_body = written(secret.expose_secret());
            if in_body != secret.expose_secret() {
                secrets.push(SecretString::from(in_body));
            }
            secrets.push((*secret).clone());
        }
    }
    Secrets(secrets)
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The token in an answer that came at `wall`. `vendor` is the name for sentences, and `check` says what a person should look
/// at when the vendor refuses, such as "check `username` and `password`".
///
/// # Errors
/// Throttled for 429 and `slow_down`; unavailable where the vendor is in trouble or the answer is not its own; unauthorized,
/// with a sentence, for any other refusal.
pub fn read(vendor: &str, check: &str, reply: &Reply, wall: Timestamp) -> Result<AccessToken, Verdict> {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let error = body["error"].as_str().unwrap_or_default();
    match (reply.status, error) {
        (StatusCode::TOO_MANY_REQUESTS, _) | (_, "slow_down") => {
            return Err(Verdict::Throttled(asked_for_a_token(vendor, reply, &body)));
        }
        (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::PROXY_AUTHENTICATION_REQUIRED, _)
        | (_, "temporarily_unavailable" | "server_error") => {
            return Err(Verdict::Unavailable(asked_for_a_token(vendor, reply, &body)));
        }
        (status, "") if status.is_success() => {}
        (status, _) if status.is_success() || status.is_client_error() => {
            return Err(refused(vendor, check, reply, &body));
        }
        _ => return Err(Verdict::Unavailable(asked_for_a_token(vendor, reply, &body))),
    }
    let Some(access) = body["access_token"].as_str().filter(|token| !token.is_empty()) else {
        return Err(Verdict::Unavailable(format!(
            "{vendor} answered {} without an access_token when asked for one",
            reply.status.as_u16()
        )));
    };
    let kind = body["token_type"].as_str().unwrap_or_default();
    if !is_bearer(kind) {
        let kind = answer::cut(kind);
        return Err(Verdict::Unauthorized(format!(
            "{vendor} gave a token of type {kind:?}, which Sluice cannot use: only Bearer (RFC 6750) is supported; \
             have the client give out Bearer tokens, then resume"
        )));
    }
    Ok(AccessToken {
        access: SecretString::from(access),
        expires: wall.checked_add(life(&body["expires_in"])).unwrap_or(Timestamp::MAX),
        refresh: body["refresh_token"].as_str().filter(|token| !token.is_empty()).map(SecretString::from),
    })
}

/// Whether a token of that type goes as `Authorization: Bearer …`. The RFC wants the word alone, in any case; gateways write "BearerToken"
/// (Apigee), "Bearer Token" or "bearer_token", and leave it empty.
fn is_bearer(kind: &str) -> bool {
    let word: String = kind.chars().filter(char::is_ascii_alphanumeric).collect();
    kind.trim().is_empty() || ["bearer", "bearertoken"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// When the token ends by its own `exp` claim, where it is a JWT (RFC 7519) that has one. Its signature is the vendor's business.
#[must_use]
pub fn jwt_expiry(access_token: &SecretString) -> Option<Timestamp> {
    let mut parts = access_token.expose_secret().split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let since_epoch = SignedDuration::try_from_secs_f64(claims.get("exp")?.as_f64()?).ok()?;
    Timestamp::from_duration(since_epoch).ok()
}

/// `expires_in`: seconds, which some vendors send as text.
fn life(expires_in: &Value) -> SignedDuration {
    let seconds = expires_in.as_f64().or_else(|| expires_in.as_str()?.trim().parse().ok());
    match seconds {
        Some(seconds) if seconds.is_finite() && seconds > 0.0 => {
            SignedDuration::try_from_secs_f64(seconds).map_or(LONGEST_LIFE, |life| life.min(LONGEST_LIFE))
        }
        _ => USUAL_LIFE,
    }
}

/// What the vendor answered instead of a token.
fn asked_for_a_token(vendor: &str, reply: &Reply, body: &Value) -> String {
    let text = said(reply, body);
    let status = reply.status.as_u16();
    let text = if text.is_empty() { text } else { format!(": {text}") };
    let led = answer::redirect(reply)
        .map_or_else(String::new, |to| format!(" with a redirect to {to}, which is not followed,"));
    format!("{vendor} answered {status}{led} when asked for a token{text}")
}

fn refused(vendor: &str, check: &str, reply: &Reply, body: &Value) -> Verdict {
    let code = body["error"].as_str().map_or_else(|| reply.status.as_u16().to_string(), answer::cut);
    let text = said(reply, body);
    let text = if text.is_empty() { text } else { format!(": {text}") };
    Verdict::Unauthorized(format!("{vendor} refused the sign-in ({code}){text}; {check}, then resume"))
}

/// What the answer says to a person: the RFC's description, else what gateways and RFC 9457 call it, else the body cut short.
fn said(reply: &Reply, body: &Value) -> String {
    let names = ["error_description", "detail", "message", "errorMessage", "httpMessage", "title"];
    let text = names.iter().find_map(|name| body[*name].as_str().filter(|text| !text.trim().is_empty()));
    match text {
        Some(text) => answer::cut(text),
        None if body["error"].is_string() => String::new(),
        None => answer::excerpt(&reply.body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::secrets_of;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn endpoint() -> Uri {
        Uri::from_static("https://api.example.com/token")
    }

    fn answer(status: u16, body: &str) -> Result<AccessToken, Verdict> {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply { status, headers: ::http::HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) };
        read("Example", "check username and password", &reply, NOW)
    }

    fn life_of(body: &str) -> i64 {
        answer(200, body).unwrap().expires.duration_since(NOW).as_secs()
    }

    #[test]
    fn a_form_is_encoded_in_order_and_tells_its_secrets() {
        let password = SecretString::from("pässword & more");
        let fields = [
            ("grant_type", FieldValue::Open("password")),
            ("username", FieldValue::Open("a+b@example.com")),
            ("password", FieldValue::Secret(&password)),
        ];
        let request = form(&endpoint(), &fields);
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), &endpoint());
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(
            request.body(),
            "grant_type=password&username=a%2Bb%40example.com&password=p%C3%A4ssword+%26+more".as_bytes()
        );
        assert_eq!(secrets_of(&request), ["p%C3%A4ssword+%26+more", "pässword & more"]);
    }

    #[test]
    fn basic_credentials_stand_in_a_sensitive_header() {
        let request = basic(
            &endpoint(),
            "my:id",
            &SecretString::from("s3cret"),
            &[("grant_type", FieldValue::Open("client_credentials"))],
        );
        // RFC 6749, section 2.3.1: a colon in the id is encoded.
        assert_eq!(request.headers()[header::AUTHORIZATION], format!("Basic {}", STANDARD.encode("my%3Aid:s3cret")));
        assert_eq!(request.body(), "grant_type=client_credentials".as_bytes());
        assert!(secrets_of(&request).contains(&"s3cret"));
        assert!(!format!("{request:?}").contains(&STANDARD.encode("my%3Aid:s3cret")));
    }

    #[test]
    fn json_is_an_object_of_texts() {
        let secret = SecretString::from("quote\" at end\"");
        let request =
            json(&endpoint(), &[("client_id", FieldValue::Open("id")), ("client_secret", FieldValue::Secret(&secret))]);
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body, serde_json::json!({"client_id": "id", "client_secret": "quote\" at end\""}));
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(secrets_of(&request), [r#"quote\" at end\""#, r#"quote" at end""#]);
    }

    #[test]
    fn an_answer_gives_the_token_its_end_and_the_next_refresh_token() {
        let token = answer(
            200,
            r#"{"access_token":"abc","token_type":"bearer","expires_in":3600,"refresh_token":"def","scope":"x"}"#,
        );
        let token = token.unwrap();
        assert_eq!(token.access.expose_secret(), "abc");
        assert_eq!(token.refresh.unwrap().expose_secret(), "def");
        assert_eq!(token.expires.duration_since(NOW).as_secs(), 3_600);
    }

    #[test]
    fn a_life_that_makes_no_sense_falls_back() {
        assert_eq!(life_of(r#"{"access_token":"a","expires_in":"86400"}"#), 86_400);
        for odd in ["0", "-5", "\"soon\"", "null", "[]", "\"NaN\"", "\"inf\""] {
            assert_eq!(life_of(&format!(r#"{{"access_token":"a","expires_in":{odd}}}"#)), 3_600, "{odd}");
        }
        assert_eq!(life_of(r#"{"access_token":"a"}"#), 3_600);
        for huge in ["99999999999", "1e300"] {
            assert_eq!(life_of(&format!(r#"{{"access_token":"a","expires_in":{huge}}}"#)), 30 * 86_400, "{huge}");
        }
    }

    #[test]
    fn a_bearer_token_is_known_however_a_gateway_calls_it() {
        for kind in ["bearer", "Bearer", "BEARER", "BearerToken", "Bearer Token", "bearer_token", " bearer", ""] {
            let body = format!(r#"{{"access_token":"a","token_type":{}}}"#, Value::from(kind));
            assert!(answer(200, &body).is_ok(), "{kind:?}");
        }
        for kind in ["mac", "DPoP", "N_A", "pop", "bearerish"] {
            let Err(Verdict::Unauthorized(said)) =
                answer(200, &format!(r#"{{"access_token":"a","token_type":"{kind}"}}"#))
            else {
                panic!("{kind}")
            };
            assert!(
                said.contains(&format!("a token of type {kind:?}")) && said.contains("have the client give out Bearer"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_to_check() {
        let refusal = |status, body| match answer(status, body) {
            Err(Verdict::Unauthorized(sentence)) => sentence,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refusal(403, r#"{"error":"invalid_grant","error_description":"Wrong email or password."}"#),
            "Example refused the sign-in (invalid_grant): Wrong email or password.; check username and password, \
             then resume"
        );
        assert_eq!(
            refusal(401, r#"{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":""}"#),
            "Example refused the sign-in (401): Unauthorized; check username and password, then resume"
        );
        assert_eq!(
            refusal(404, "<html><title>Not Found</title></html>"),
            "Example refused the sign-in (404): an HTML page, Not Found; check username and password, then resume"
        );
        assert_eq!(
            refusal(400, r#"{"error":"invalid_client"}"#),
            "Example refused the sign-in (invalid_client); check username and password, then resume"
        );
        assert!(refusal(200, r#"{"error":"invalid_client"}"#).contains("invalid_client"));
        assert!(refusal(200, r#"{"access_token":"a","token_type":"mac"}"#).contains("\"mac\""));
    }

    #[test]
    fn each_answer_without_a_token_has_its_verdict() {
        for (status, body, name) in [
            (429, "", "throttled"),
            (400, r#"{"error":"slow_down"}"#, "throttled"),
            (400, r#"{"error":"temporarily_unavailable"}"#, "unavailable"),
            (408, "", "unavailable"),
            (500, r#"{"error":"invalid_client"}"#, "unavailable"),
            (503, "<html>", "unavailable"),
            (302, "", "unavailable"),
            (200, "<html>", "unavailable"),
            (200, r#"{"access_token":""}"#, "unavailable"),
            (200, r#"[1]"#, "unavailable"),
            (400, "", "unauthorized"),
            (401, "", "unauthorized"),
            (403, "", "unauthorized"),
        ] {
            assert_eq!(answer(status, body).unwrap_err().name(), name, "{status} {body}");
        }
    }

    #[test]
    fn a_jwt_tells_its_own_end_and_garbage_tells_nothing() {
        let jwt = |claims: &str| SecretString::from(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)));
        assert_eq!(jwt_expiry(&jwt(r#"{"exp":1700003600,"sub":"ž"}"#)), Some(Timestamp::constant(1_700_003_600, 0)));
        assert_eq!(jwt_expiry(&jwt(r#"{"exp":1700003600.0}"#)), Some(Timestamp::constant(1_700_003_600, 0)));
        for claims in ["{}", "[]", "garbage", r#"{"exp":"soon"}"#, r#"{"exp":1e300}"#, r#"{"exp":null}"#] {
            assert_eq!(jwt_expiry(&jwt(claims)), None, "{claims}");
        }
        for token in ["", "opaque", "a.b", "a.b.c", "a.b.c.d", "..", "ž.ž.ž"] {
            assert_eq!(jwt_expiry(&SecretString::from(token)), None, "{token}");
        }
    }
}
