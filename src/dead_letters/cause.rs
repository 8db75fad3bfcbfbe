//! What equal letters have in common: a sentence and the event go in; the sentence without what varies comes out. Pure.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use uuid::Uuid;

use crate::message::Message;
use crate::verdict::Reason;

const FINGERPRINTS: Uuid = Uuid::from_u128(0x1b7e_55aa_93c4_5d0e_a2f4_77c1_90e8_4d2b);

/// The sentence with `#` for each id, number and address.
#[must_use]
pub fn cause(sentence: &str, _original: &Message) -> String {
    static VARYING: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"[\p{L}\p{N}@._%+*-]*\p{N}[\p{L}\p{N}@._%+*-]*|\S+@\S+").ok());
    // A word with a digit in it is an id, a number or an address; a short plain number (a status) is kept.
    match &*VARYING {
        Some(varying) => varying
            .replace_all(sentence, |found: &Captures<'_>| {
                let word = &found[0];
                if word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit()) {
                    word.to_owned()
                } else {
                    "#".to_owned()
                }
            })
            .into_owned(),
        None => sentence.into(),
    }
}

/// Names a group: 16 hex digits, equal for equal reason and cause.
#[must_use]
pub fn fingerprint(reason: Reason, cause: &str) -> String {
    let digest = Uuid::new_v5(&FINGERPRINTS, format!("{} {cause}", reason.name()).as_bytes());
    digest.simple().to_string()[..16].to_owned()
}
