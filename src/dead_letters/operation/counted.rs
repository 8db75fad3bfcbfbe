//! Which letters were counted, in few bytes: whoever says yes to an act on them hands it back. Pure.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// So many letters, and which, whatever their order. As text `40-` and a digest of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Counted {
    letters: u64,
    digest: u128,
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
        // A sum, so that it counts how often each is there, but not their order: a reader that was killed may have changed that.
        self.digest = self.digest.wrapping_add(Uuid::new_v5(&Uuid::nil(), &id.to_be_bytes()).as_u128());
    }
}

impl From<Counted> for String {
    fn from(Counted { letters, digest }: Counted) -> Self {
        format!("{letters}-{digest:032x}")
    }
}

impl TryFrom<String> for Counted {
    type Error = NotCounted;

    fn try_from(text: String) -> Result<Self, NotCounted> {
        let read = || {
            let (letters, digest) = text.split_once('-')?;
            Some(Self { letters: letters.parse().ok()?, digest: u128::from_str_radix(digest, 16).ok()? })
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
    fn the_same_letters_in_any_order_are_counted_alike_and_no_others_are() {
        assert_eq!(of(&[1, 2, 2, 3]), of(&[1, 2, 2, 3]));
        assert_eq!(of(&[1, 2, 2, 3]), of(&[2, 1, 3, 2]));
        for others in [&[1, 2, 3][..], &[1, 2, 3, 3], &[1, 2, 2, 4], &[]] {
            assert_ne!(of(&[1, 2, 2, 3]), of(others), "{others:?}");
        }
    }

    #[test]
    fn what_was_counted_is_handed_on_as_text_that_every_build_reads() {
        let text = "2-e19255dcc8b0ad61396d5e8dfc2ea0ad";
        assert_eq!(String::from(of(&[1, 2])), text);
        assert_eq!(Counted::try_from(text.to_owned()).unwrap(), of(&[1, 2]));
        for wrong in ["", "2", &text.to_uppercase(), &format!("0{text}"), &format!("+{text}"), "2-1"] {
            let error = Counted::try_from(wrong.to_owned()).unwrap_err();
            assert!(error.to_string().contains("does not come from a count"), "{error}");
        }
    }
}
