//! What was just done, told on the page that follows: for a minute, and no longer than it is true. Pure; the time is an argument.
//!
//! It stands in the address, as `did=paused-1700000000`: only a name and a time, and nothing that is shown.

use jiff::Timestamp;
use serde::Deserialize;

/// How long it is news.
const NEWS_SECONDS: i64 = 60;

/// An act, and when it was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(super) struct Did(Option<(String, i64)>);

impl From<String> for Did {
    fn from(text: String) -> Self {
        Self(text.rsplit_once('-').and_then(|(act, at)| Some((act.to_owned(), at.parse().ok()?))))
    }
}

impl Did {
    /// For the address of the page that follows.
    pub fn now(act: &str, now: Timestamp) -> String {
        format!("did={act}-{}", now.as_second())
    }

    /// The act, while it is news.
    pub fn news(&self, now: Timestamp) -> Option<&str> {
        let (act, at) = self.0.as_ref()?;
        (0..NEWS_SECONDS).contains(&now.as_second().saturating_sub(*at)).then_some(act.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_news_for_a_minute() {
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let did = Did::from(Did::now("paused", at(0)).strip_prefix("did=").unwrap().to_owned());
        assert_eq!([0, 59, 60, -1].map(|later: i64| did.news(at(later))), [Some("paused"), Some("paused"), None, None]);
        for other in ["", "paused", "paused-", "paused-x", "-", "paused-99999999999999999999"] {
            assert_eq!(Did::from(other.to_owned()).news(at(0)), None, "{other}");
        }
    }
}
