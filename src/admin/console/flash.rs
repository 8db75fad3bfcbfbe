//! Flash messages: after an act the next page says what was done, for a minute and only while it is still true. Pure; the time is an
//! argument.
//!
//! The address carries it as `did=paused-1700000000`: only a name and a time, never a text to show.

use jiff::Timestamp;
use serde::Deserialize;

/// How long the message is shown.
const SHOWN_SECONDS: i64 = 60;

/// The act that was just done, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(super) struct Flash(Option<(String, i64)>);

impl From<String> for Flash {
    fn from(text: String) -> Self {
        Self(text.rsplit_once('-').and_then(|(act, at)| Some((act.to_owned(), at.parse().ok()?))))
    }
}

impl Flash {
    /// The query for the address of the next page.
    pub fn query(act: &str, now: Timestamp) -> String {
        format!("did={act}-{}", now.as_second())
    }

    /// The act, while the message is to be shown.
    pub fn current(&self, now: Timestamp) -> Option<&str> {
        let (act, at) = self.0.as_ref()?;
        (0..SHOWN_SECONDS).contains(&now.as_second().saturating_sub(*at)).then_some(act.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_for_a_minute() {
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let flash = Flash::from(Flash::query("paused", at(0)).strip_prefix("did=").unwrap().to_owned());
        assert_eq!(
            [0, 59, 60, -1].map(|later: i64| flash.current(at(later))),
            [Some("paused"), Some("paused"), None, None]
        );
        for other in ["", "paused", "paused-", "paused-x", "-", "paused-99999999999999999999"] {
            assert_eq!(Flash::from(other.to_owned()).current(at(0)), None, "{other}");
        }
    }
}
