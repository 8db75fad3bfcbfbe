//! Which letters were counted, in few bytes: whoever says yes to an act on them hands it back. Pure.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// So many letters, and which, in their order. As text `40-` and a digest of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Counted {
    letters: u64,
    digest: Uuid,
}

/// Why a text does not say what was counted.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} does not come from a count; it is the \"counted\" of one")]
pub struct NotCounted(String);

impl Counted {
    /// How many.
    #[must_use]
    pub fn letters(self) -> u64 {
        self.letters
    }

    /// With the next one.
    pub(super) fn add(&mut self, id: u64) {
        self.letters += 1;
        // Over the digest of all before it, so that their order and how often each is there count.
        self.digest = Uuid::new_v5(&self.digest, &id.to_be_bytes());
    }
}

impl From<Counted> for String {
    fn from(Counted { letters, digest }: Counted) -> Self {
        format!("{letters}-{}", digest.simple())
    }
}

impl TryFrom<String> for Counted {
    type Error = NotCounted;

    fn try_from(text: String) -> Result<Self, NotCounted> {
        let read = || {
            let (letters, digest) = text.split_once('-')?;
            Some(Self { letters: letters.parse().ok()?, digest: Uuid::try_parse(digest).ok()? })
        };
        // Only as it is written.
        read().filter(|counted| String::from(*counted) == text).ok_or(NotCounted(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[u64]) -> Counted {
        let mut counted = Counted::default();
        ids.iter().for_each(|id| counted.add(*id));
        counted
    }

    #[test]
    fn the_same_letters_in_the_same_order_are_counted_alike_and_no_others_are() {
        assert_eq!(of(&[1, 2, 2, 3]), of(&[1, 2, 2, 3]));
        for others in [&[1, 2, 3][..], &[1, 2, 3, 3], &[2, 1, 2, 3], &[1, 2, 2, 4], &[]] {
            assert_ne!(of(&[1, 2, 2, 3]), of(others), "{others:?}");
        }
    }

    #[test]
    fn what_was_counted_is_handed_on_as_text_that_every_build_reads() {
        let text = "2-9edb6aa8ca4951a3aa582c0cc34f956c";
        assert_eq!(String::from(of(&[1, 2])), text);
        assert_eq!(Counted::try_from(text.to_owned()).unwrap(), of(&[1, 2]));
        for wrong in ["", "2", &text.to_uppercase(), &format!("0{text}"), &format!("+{text}"), "2-1"] {
            let error = Counted::try_from(wrong.to_owned()).unwrap_err();
            assert!(error.to_string().contains("does not come from a count"), "{error}");
        }
    }
}
