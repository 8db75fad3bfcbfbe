//! What must not stand in logs, errors and dead letters: e-mail addresses and secrets, masked; and what is not shown of a producer's
//! headers. Pure.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// An address in plain text, in a URL, in HTML or in JSON. A backslash counts as a part of it: what is JSON stays JSON without it.
static EMAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"[\p{L}\p{N}._%+'&/=?^{|}~\\-]+",
        r"(?:@|%40|&#0*64;|&#[xX]0*40;|&commat;|\\u0040)",
        r"[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+",
    ))
    .ok()
});
/// How the at sign of an address begins, however it is written: a quick check before the slower search.
const AT_SIGNS: &[u8] = b"@%&\\";

/// Shortest secret worth masking: anything shorter would mask ordinary text.
const MIN_SECRET_BYTES: usize = 6;

/// What a field's name has in it, signs and cases aside, whose value is a secret.
const TELLING: [&str; 17] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "signature",
    "sessionid",
    "bearer",
    "jwt",
    "hmac",
];

/// `text` with e-mail addresses and each of `secrets` masked.
#[must_use]
pub fn masked(text: &str, secrets: &[&str]) -> String {
    let mut masked = text.to_owned();
    for secret in secrets {
        // "Bearer abc" is echoed by some vendors as "abc".
        for part in std::iter::once(*secret).chain(secret.split_whitespace()) {
            if part.len() >= MIN_SECRET_BYTES && masked.contains(part) && !is_scheme(part) {
                masked = masked.replace(part, "***");
            }
        }
    }
    match without_addresses(&masked) {
        Cow::Borrowed(_) => masked,
        Cow::Owned(masked) => masked,
    }
}

/// `text` with e-mail addresses masked; as it was where there is none, which most text has not.
#[must_use]
pub fn without_addresses(text: &str) -> Cow<'_, str> {
    match &*EMAIL {
        Some(email) if text.bytes().any(|byte| AT_SIGNS.contains(&byte)) => email.replace_all(text, "***@***"),
        _ => Cow::Borrowed(text),
    }
}

/// The fields as they are shown to people: without the values, at any depth, whose names tell of a secret. Sluice carries them on
/// as they are.
#[must_use]
pub fn shown(fields: Map<String, Value>) -> Map<String, Value> {
    let shown =
        |(name, value): (String, Value)| if is_telling(&name) { (name, "***".into()) } else { (name, within(value)) };
    fields.into_iter().map(shown).collect()
}

fn within(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(shown(fields)),
        Value::Array(values) => values.into_iter().map(within).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// Whether a name tells of a secret: `Authorization`, `x-api-key`, `sessionToken`, `proxy_auth`.
fn is_telling(name: &str) -> bool {
    let letters: String = name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let is_auth = |word: &str| word.eq_ignore_ascii_case("auth");
    TELLING.iter().any(|part| letters.contains(part)) || name.split(|c: char| !c.is_alphanumeric()).any(is_auth)
}

fn is_scheme(part: &str) -> bool {
    part.eq_ignore_ascii_case("bearer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_secrets_are_masked() {
        let text = "user anna.svensson+x@example.co.uk with key sk-123456 (Bearer tok-abcdef) and b%40example.com";
        assert_eq!(masked(text, &["sk-123456", "Bearer tok-abcdef"]), "user ***@*** with key *** (***) and ***@***");
    }

    #[test]
    fn an_address_is_masked_however_its_at_sign_is_written() {
        for at in ["@", "%40", "&#64;", "&#x40;", "&#064;", "\\u0040", "\\\\u0040", "&commat;"] {
            assert_eq!(masked(&format!("no user anna.b{at}example.com."), &[]), "no user ***@***.", "{at}");
        }
    }

    #[test]
    fn what_was_json_is_json_after_masking() {
        for said in ["to\nanna@example.com", "\"åsa.öberg@example.se\"", "C:\\anna@example.com\n", "a\tb@c.de\\"] {
            let json = serde_json::to_string(&serde_json::json!({ "message": said })).unwrap();
            let escaped = json.replace('å', "\\u00e5").replace('ö', "\\u00f6").replace('@', "\\u0040");
            for json in [json, escaped] {
                let masked = masked(&json, &[]);
                let read: serde_json::Value = serde_json::from_str(&masked).expect(&masked);
                assert!(!masked.contains("0040") && !masked.contains("anna"), "{masked}");
                assert!(read["message"].as_str().unwrap().contains("***@***"), "{masked}");
            }
        }
    }

    #[test]
    fn the_token_of_a_bearer_header_is_masked_alone_too() {
        assert_eq!(masked("token tok-abcdef", &["Bearer tok-abcdef"]), "token ***");
    }

    #[test]
    fn fields_whose_names_tell_of_a_secret_are_shown_without_their_values() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "x-api-key",
            "apiKey",
            "Cookie",
            "set-cookie",
            "token",
            "X-Access-Token",
            "cloudEvents:authtoken",
            "client_secret",
            "password",
            "x-auth",
            "aws-access-key-id",
            "x-jwt-assertion",
            "private-key",
            "X-Hub-Signature-256",
            "session-id",
            "db_pwd",
        ] {
            let fields = Map::from_iter([(name.to_owned(), serde_json::json!({ "type": "binary", "base64": "eA==" }))]);
            assert_eq!(Value::Object(shown(fields)), serde_json::json!({ name: "***" }));
        }
        for name in ["x-author", "idempotency-key", "routing-key", "traceparent", "cloudEvents:id", "x-retries", "type"]
        {
            let fields = Map::from_iter([(name.to_owned(), Value::from("as it is"))]);
            assert_eq!(shown(fields.clone()), fields, "{name}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_however_deep_it_lies() {
        let table = serde_json::json!({ "http": { "type": "table", "value": { "cookie": "c", "path": "/" } }, "all": [[{ "token": 5 }], 1] });
        let Value::Object(table) = table else { panic!("a table") };
        let expected = serde_json::json!({ "http": { "type": "table", "value": { "cookie": "***", "path": "/" } }, "all": [[{ "token": "***" }], 1] });
        assert_eq!(Value::Object(shown(table)), expected);
    }

    #[test]
    fn short_secrets_do_not_mask_ordinary_text() {
        assert_eq!(masked("a b c", &["b"]), "a b c");
    }
}
