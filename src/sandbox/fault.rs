//! Faults to order: rules come in, and for each request the fault that it meets, if any, goes out.
//! Pure: the time is an argument, and chance comes from a seed, so that a run can be repeated.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Answers `status` (503 by default) and does nothing else.
    Status,
    /// Never answers.
    Hang,
    /// Resets the connection (TCP RST) and does nothing else.
    Reset,
    /// Works, and answers `ms` milliseconds late (1,000 by default).
    Slow,
    /// Works, and answers what is no JSON where it would have answered success.
    BadBody,
    /// Answers a gateway's HTML page with `status` (502 by default) and does nothing else.
    Html,
    /// Works, and resets the connection instead of answering.
    DropAfter,
}

impl FaultKind {
    /// Whether the vendor does its work under this fault: checks the request and takes the event.
    pub(super) fn works(self) -> bool {
        match self {
            Self::Slow | Self::BadBody | Self::DropAfter => true,
            Self::Status | Self::Hang | Self::Reset | Self::Html => false,
        }
    }
}

/// A rule: which fault befalls which requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What goes wrong.
    pub fault: FaultKind,
    /// The status to answer with, for `status` and `html`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body to answer with, for `status`, `html` and `bad-body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The `Retry-After` to answer with, for `status` and `html`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfter>,
    /// How late to answer, for `slow`, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// The share of requests it befalls, 0 to 1; all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How many requests it befalls before it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How long until it begins, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// How long it lasts once begun, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Only requests whose path begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A `Retry-After` to answer with. Read from a [`Value`]: with `arbitrary_precision`, untagged enums do not know numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
pub enum RetryAfter {
    /// `7`: that many seconds, as a number.
    Seconds(u64),
    /// `{"date": 7}`: that many seconds ahead, as an HTTP date.
    Date {
        /// Seconds ahead.
        date: u64,
    },
    /// `"date"`: the end of the rule (or 5 s ahead) as an HTTP date. Any other text goes out as it is.
    Text(String),
}

impl TryFrom<Value> for RetryAfter {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let wrong = "retry_after must be a number of seconds, {\"date\": seconds} or a text";
        match value {
            Value::Number(seconds) => seconds.as_u64().map(Self::Seconds).ok_or(wrong),
            Value::String(text) => Ok(Self::Text(text)),
            Value::Object(fields) => {
                fields.get("date").and_then(Value::as_u64).map(|date| Self::Date { date }).ok_or(wrong)
            }
            Value::Null | Value::Bool(_) | Value::Array(_) => Err(wrong),
        }
    }
}

impl FaultRule {
    /// That fault for every request, until it is cleared.
    #[must_use]
    pub fn new(fault: FaultKind) -> Self {
        Self {
            fault,
            status: None,
            body: None,
            retry_after: None,
            ms: None,
            share: None,
            count: None,
            after: None,
            seconds: None,
            path: None,
        }
    }

    /// Answers `status` to every request, until it is cleared.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::new(FaultKind::Status) }
    }

    /// Refuses figures that make no sense.
    ///
    /// # Errors
    /// [`RuleError`] names the field and what it must be.
    pub fn check(&self) -> Result<(), RuleError> {
        let wrong = |what: String| Err(RuleError(what));
        if let Some(status) = self.status.filter(|status| !(200..=599).contains(status)) {
            return wrong(format!("status is {status}; it must be 200 to 599"));
        }
        if let Some(share) = self.share.filter(|share| !(0.0..=1.0).contains(share)) {
            return wrong(format!("share is {share}; it must be 0 to 1"));
        }
        for (name, seconds) in [("after", self.after), ("seconds", self.seconds)] {
            if let Some(seconds) = seconds.filter(|seconds| Duration::try_from_secs_f64(*seconds).is_err()) {
                return wrong(format!("{name} is {seconds}; it must be a number of seconds, 0 or more"));
            }
        }
        if self.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return wrong("path must begin with /".to_owned());
        }
        Ok(())
    }
}

impl FromStr for FaultRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let rule: Self = serde_json::from_str(text).map_err(|error| RuleError(error.to_string()))?;
        rule.check().map(|()| rule)
    }
}

/// A rule that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}. A fault looks like {{\"fault\":\"status\",\"status\":503,\"count\":20}}")]
pub struct RuleError(String);

/// The rules in force. Times are since the Unix epoch.
#[derive(Debug)]
pub(super) struct Faults {
    rules: Vec<Active>,
    chance: fastrand::Rng,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Active {
    #[serde(flatten)]
    rule: FaultRule,
    /// How many requests it has befallen.
    befallen: u64,
    #[serde(skip)]
    begins: Duration,
    #[serde(skip)]
    ends: Option<Duration>,
}

impl Faults {
    /// No rules yet; `seed` decides which requests a `share` falls on.
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), chance: fastrand::Rng::with_seed(seed) }
    }

    /// Adds a rule, whose `after` and `seconds` count from `now`.
    ///
    /// # Errors
    /// As [`FaultRule::check`].
    pub fn add(&mut self, rule: FaultRule, now: Duration) -> Result<(), RuleError> {
        rule.check()?;
        let span = |seconds: Option<f64>| seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let begins = now.saturating_add(span(rule.after).unwrap_or_default());
        let ends = span(rule.seconds).map(|lasting| begins.saturating_add(lasting));
        self.rules.push(Active { rule, befallen: 0, begins, ends });
        Ok(())
    }

    /// Ends all faults.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules that are not over, in the order they are tried.
    pub fn list(&mut self, now: Duration) -> Vec<Active> {
        self.rules.retain(|active| !active.is_over(now));
        self.rules.clone()
    }

    /// The rule that befalls a request for `path`: the first that applies and whose chance comes up.
    pub fn befall(&mut self, path: &str, now: Duration) -> Option<Befallen> {
        if self.rules.is_empty() {
            return None;
        }
        self.rules.retain(|active| !active.is_over(now));
        let chance = &mut self.chance;
        let active = self.rules.iter_mut().find(|active| active.applies(path, now) && active.comes_up(chance))?;
        active.befallen += 1;
        Some(Befallen { rule: active.rule.clone(), ends: active.ends })
    }
}

/// A rule that befell a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Befallen {
    /// The rule.
    pub rule: FaultRule,
    /// When the rule is over, if it says.
    pub ends: Option<Duration>,
}

impl Active {
    fn is_over(&self, now: Duration) -> bool {
        self.ends.is_some_and(|ends| ends <= now) || self.rule.count.is_some_and(|count| count <= self.befallen)
    }

    fn applies(&self, path: &str, now: Duration) -> bool {
        self.begins <= now && self.rule.path.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()))
    }

    fn comes_up(&self, chance: &mut fastrand::Rng) -> bool {
        self.rule.share.is_none_or(|share| chance.f64() < share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn faults(rules: &[&str]) -> Faults {
        let mut faults = Faults::new(1);
        for rule in rules {
            faults.add(rule.parse().unwrap(), NOW).unwrap();
        }
        faults
    }

    fn hits(faults: &mut Faults, path: &str, requests: usize) -> usize {
        (0..requests).filter(|_| faults.befall(path, NOW).is_some()).count()
    }

    #[test]
    fn a_rule_is_over_after_its_count() {
        let mut faults = faults(&[r#"{"fault":"status","status":503,"count":20}"#]);
        assert_eq!(hits(&mut faults, "/v1", 100), 20);
        assert!(faults.list(NOW).is_empty());
    }

    #[test]
    fn a_rule_is_over_after_its_seconds_and_begins_after_its_wait() {
        let mut faults = faults(&[r#"{"fault":"hang","after":2,"seconds":5}"#]);
        let mut befalls = |ms| faults.befall("/", NOW + Duration::from_millis(ms)).is_some();
        assert_eq!([0, 1_999, 2_000, 6_999, 7_000].map(&mut befalls), [false, false, true, true, false]);
    }

    #[test]
    fn a_share_falls_on_the_same_requests_in_every_run() {
        let run = || {
            let mut faults = faults(&[r#"{"fault":"reset","share":0.1}"#]);
            (0..1_000).map(|_| faults.befall("/", NOW).is_some()).collect::<Vec<_>>()
        };
        let hits = run().into_iter().filter(|hit| *hit).count();
        assert!((60..140).contains(&hits), "a tenth of 1,000 came to {hits}");
        assert_eq!(run(), run());
    }

    #[test]
    fn a_path_spares_all_others() {
        let mut faults = faults(&[r#"{"fault":"status","path":"/hook/a"}"#]);
        assert_eq!(hits(&mut faults, "/hook/a/b", 3), 3);
        assert_eq!(hits(&mut faults, "/v1/events/custom", 3), 0);
    }

    #[test]
    fn the_first_rule_that_applies_wins() {
        let mut faults = faults(&[r#"{"fault":"status","status":500,"count":1}"#, r#"{"fault":"hang"}"#]);
        assert_eq!(faults.befall("/", NOW).unwrap().rule.fault, FaultKind::Status);
        assert_eq!(faults.befall("/", NOW).unwrap().rule.fault, FaultKind::Hang);
    }

    #[test]
    fn retry_after_is_seconds_a_date_or_any_text() {
        let read = |text: &str| serde_json::from_str::<RetryAfter>(text).unwrap();
        assert_eq!(read("7"), RetryAfter::Seconds(7));
        assert_eq!(read(r#"{"date":7}"#), RetryAfter::Date { date: 7 });
        assert_eq!(read(r#""date""#), RetryAfter::Text("date".into()));
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused() {
        for rule in [
            r#"{"fault":"explode"}"#,
            r#"{"fault":"status","status":99}"#,
            r#"{"fault":"status","share":1.5}"#,
            r#"{"fault":"status","seconds":-1}"#,
            r#"{"fault":"status","path":"v1"}"#,
            r#"{"fault":"status","sahre":0.5}"#,
        ] {
            assert!(rule.parse::<FaultRule>().is_err(), "{rule} was taken");
        }
    }
}
