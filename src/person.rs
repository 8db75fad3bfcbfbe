//! Who an event is about, by the key that a vendor knows them by: how such a key is written, and the keyed digest that stands for it where the
//! key itself must not be. Pure.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ring::hmac;
use serde::{Deserialize, Serialize};

/// Bytes of a digest: half of HMAC-SHA-256. Among a million people two have the same one in one of 10²⁶ cases.
pub const DIGEST_BYTES: usize = 16;
/// The shortest secret, in bytes.
pub const SHORTEST_SECRET: usize = 32;

/// What stands for a person. Without the secret nobody can tell who it is, or try whether it is somebody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; DIGEST_BYTES]);

impl Digest {
    /// Of its bytes.
    #[must_use]
    pub fn new(bytes: [u8; DIGEST_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }
}

/// 32 hex digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// What is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 32 hex digits")]
pub struct NoDigest;

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        if text.len() != 2 * DIGEST_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoDigest);
        }
        let mut bytes = [0; DIGEST_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(NoDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The secret that digests are made with. Cheap to clone; never prints.
#[derive(Clone)]
pub struct PersonKey {
    key: hmac::Key,
    id: Digest,
}

impl fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PartialEq for PersonKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl PersonKey {
    /// Of a secret.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let id = first_half(&key, &[b"key"]);
        Self { key, id }
    }

    /// Tells it from other secrets, and gives nothing of it away.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.id
    }

    /// What stands for a person; none where nothing is written but space.
    #[must_use]
    pub fn digest(&self, person: &str) -> Option<Digest> {
        let person = normalised(person);
        (!person.is_empty()).then(|| first_half(&self.key, &[b"person\0", person.as_bytes()]))
    }
}

fn first_half(key: &hmac::Key, parts: &[&[u8]]) -> Digest {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    let (tag, mut bytes) = (context.sign(), [0; DIGEST_BYTES]);
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    Digest(bytes)
}

/// A person's key as it is compared: without space around it, and an e-mail address in lower case. Other keys may tell `a` from `A`.
#[must_use]
pub fn normalised(person: &str) -> Cow<'_, str> {
    let person = person.trim();
    if person.contains('@') && person.chars().any(char::is_uppercase) {
        return Cow::Owned(person.to_lowercase());
    }
    Cow::Borrowed(person)
}

/// Whether a person stands in a text as a word of its own, whatever its case: `ann@example.com` does not stand in `joann@example.com`. The
/// person is [`normalised`], and not empty.
#[must_use]
pub fn is_mentioned(person: &str, text: &[u8]) -> bool {
    let person = person.as_bytes();
    let Some(first) = person.first().map(u8::to_ascii_lowercase) else { return false };
    let (is_start, last) =
        (|at: &usize| is_word(text.get(at.wrapping_sub(1))), text.len().saturating_sub(person.len()));
    if person.len() > text.len() {
        return false;
    }
    (0..=last).any(|at| {
        text.get(at).map(u8::to_ascii_lowercase) == Some(first)
            && text.get(at..at + person.len()).is_some_and(|part| part.eq_ignore_ascii_case(person))
            && !is_start(&at)
            && !is_word(text.get(at + person.len()))
    })
}

/// Whether a letter or digit goes on there.
fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_person_however_it_is_written_and_another_key_is_not() {
        let key = PersonKey::new("a secret of thirty-two bytes, or so");
        let digest = |person| key.digest(person).unwrap();
        assert_eq!(digest(" Ann@Example.COM\n"), digest("ann@example.com"));
        assert_ne!(digest("U-1"), digest("u-1"));
        assert_ne!(digest("u-1"), PersonKey::new("another secret").digest("u-1").unwrap());
        assert_eq!(key.digest(" \t"), None);
        assert_ne!(key.id(), digest("key"));
    }

    #[test]
    fn a_digest_is_hmac_sha_256_cut_in_half_and_read_as_it_was_written() {
        // printf 'person\0ann@example.com' | openssl dgst -sha256 -hmac key
        let digest = PersonKey::new("key").digest("ann@example.com").unwrap();
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"person\0ann@example.com");
        assert_eq!(digest.bytes()[..], expected.as_ref()[..DIGEST_BYTES]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for wrong in ["", "ab", "zz", &"0".repeat(31), &format!("é{}", "0".repeat(30))] {
            assert_eq!(wrong.parse::<Digest>(), Err(NoDigest), "{wrong}");
        }
    }

    #[test]
    fn neither_a_key_nor_a_digest_shows_a_secret() {
        assert!(!format!("{:?}", PersonKey::new("hidden")).contains("hidden"));
    }

    #[test]
    fn a_person_is_found_as_a_word_and_not_in_a_longer_one() {
        for (text, is_there) in [
            (r#"{"email":"Ann@Example.com"}"#, true),
            ("ann@example.com", true),
            ("joann@example.com", false),
            ("ann@example.community", false),
            ("to: <ANN@EXAMPLE.COM>, bob", true),
            ("ann@example", false),
            ("éann@example.com", false),
            ("", false),
        ] {
            assert_eq!(is_mentioned("ann@example.com", text.as_bytes()), is_there, "{text}");
        }
        assert!(is_mentioned("42", b"{\"id\":42}") && !is_mentioned("42", b"{\"id\":142}"));
        assert!(!is_mentioned("", b"anything"));
    }
}
