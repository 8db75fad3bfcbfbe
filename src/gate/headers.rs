//! A reply's headers in; what the vendor says about when and how much to send, out. Pure; anything malformed is
//! ignored, as the RateLimit draft demands, and nothing is believed beyond a day.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use sfv::{BareItem, Dictionary, List, ListEntry, Parameters, Parser};

use super::header_times::{self, LONGEST, count};

/// What a reply says about the vendor's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// How long to send nothing, from the moment of the reply; at most a day.
    pub retry_after: Option<Duration>,
    /// The tightest quota it tells of.
    pub quota: Option<QuotaHint>,
}

/// What is left of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaHint {
    /// How many more requests; `None` when the vendor only says when it resets.
    pub remaining: Option<u64>,
    /// How long until there is more, from the moment of the reply; at most a day.
    pub reset: Duration,
    /// How many there are in all, where the vendor says so.
    pub limit: Option<u64>,
}

impl QuotaHint {
    /// A tenth or more of the quota is left: of the limit that is told, else of the most that was seen to remain. Where that is all that
    /// is known, [`FEW`] or more are plenty, too.
    #[must_use]
    pub fn is_plenty(&self, most_seen: u64) -> bool {
        let limit = self.limit.unwrap_or(most_seen.max(FEW * 10));
        self.remaining.is_some_and(|left| left.saturating_mul(10) >= limit)
    }

    /// The time between requests that spreads what remains until the reset; one more than remains, so that the
    /// reset comes before the quota is gone. Resets in whole seconds are rounded up, so one second is not counted on.
    #[must_use]
    pub fn spacing(&self) -> Duration {
        let places = u32::try_from(self.remaining.unwrap_or(0)).unwrap_or(u32::MAX).saturating_add(1);
        self.reset.saturating_sub(Duration::from_secs(1)) / places
    }

    /// Nothing left outranks everything, by the longest wait; then the slowest spacing; then a bare reset.
    fn tightness(&self) -> (u8, Duration) {
        match self.remaining {
            Some(0) => (2, self.reset),
            Some(_) => (1, self.spacing()),
            None => (0, self.reset),
        }
    }
}

/// If the limit is not known, this many remaining requests are few.
const FEW: u64 = 20;

/// If nothing says when a window ends, it is waited for if it is no longer than this.
const SHORT: Duration = Duration::from_secs(60);

/// Reads every form of `Retry-After`, `RateLimit` and `X-RateLimit-*` that vendors are known to send.
///
/// `wall` is the time of the reply; the reply's own `Date` replaces it where dates are compared, so a skewed clock on
/// either side does not matter.
#[must_use]
pub fn hints(headers: &HeaderMap, wall: Timestamp) -> Hints {
    if !headers.keys().any(|name| may_speak_of_limits(name) && speaks_of_limits(name)) {
        return Hints::default();
    }
    let wall = wall.as_duration().as_secs_f64();
    let date = headers.get(header::DATE).and_then(text).and_then(header_times::seconds).unwrap_or(wall);
    let retry_after = retry_after(headers, date);
    // "Now" is more exact than a quota that is used up until its reset.
    let counts =
        |quota: &QuotaHint| retry_after != Some(Duration::ZERO) || quota.remaining.is_some_and(|left| left > 0);
    let quota = families(headers, date).chain(structured(headers)).filter(counts).max_by_key(QuotaHint::tightness);
    Hints { retry_after, quota }
}

/// Whether a reply says that nothing is left of a quota, though perhaps not until when.
#[must_use]
pub fn is_used_up(headers: &HeaderMap) -> bool {
    let mut remaining = headers.keys().filter_map(Family::of).flat_map(|family| family.values(headers, "-remaining"));
    remaining.any(|value| count(&value) == Some(0))
}

/// A quick check before the slower search, since nearly every answer has none of these headers.
fn may_speak_of_limits(name: &HeaderName) -> bool {
    name.as_str().as_bytes().windows(5).any(|part| matches!(part, b"limit" | b"retry"))
}

fn speaks_of_limits(name: &HeaderName) -> bool {
    name.as_str().contains("retry-after") || after_rate_limit(name).is_some()
}

/// `Retry-After-Ms`, which is the most exact; else `Retry-After`; else the same behind a prefix. Of several the longest counts.
fn retry_after(headers: &HeaderMap, date: f64) -> Option<Duration> {
    let longest = |name: &HeaderName, read: &dyn Fn(&str) -> Option<Duration>| {
        values(headers, name.as_str()).iter().filter_map(|value| read(value)).max()
    };
    let delay = |value: &str| header_times::delay(value, date);
    let prefixed = |end: &'static str| headers.keys().filter(move |name| name.as_str().ends_with(end));
    longest(&HeaderName::from_static("retry-after-ms"), &header_times::millis)
        .or_else(|| longest(&header::RETRY_AFTER, &delay))
        .or_else(|| prefixed("-retry-after-ms").find_map(|name| longest(name, &header_times::millis)))
        .or_else(|| prefixed("-retry-after").find_map(|name| longest(name, &delay)))
}

/// A header's name in two parts: up to and with `ratelimit` or `rate-limit`, and what follows.
fn after_rate_limit(name: &HeaderName) -> Option<(&str, &str)> {
    let name = name.as_str();
    ["ratelimit", "rate-limit"].iter().find_map(|word| {
        let end = name.find(word)? + word.len();
        name.split_at_checked(end)
    })
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

/// The parts of all lines of that header.
fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().filter_map(text).flat_map(header_times::parts).collect()
}

fn families(headers: &HeaderMap, date: f64) -> impl Iterator<Item = QuotaHint> + '_ {
    let mut families: Vec<Family> = headers.keys().filter_map(Family::of).collect();
    families.sort_unstable();
    families.dedup();
    // The one reset that vendors send who count several windows, that of the tightest.
    let plain = families
        .iter()
        .filter(|family| family.before.is_empty() && family.after.is_empty())
        .find_map(|family| family.values(headers, "-reset").into_iter().next());
    families.into_iter().flat_map(move |family| family.read(headers, plain.as_deref(), date))
}

/// Headers that belong together, by the words around `remaining`, `reset` and `limit` in their names: those of older RateLimit drafts,
/// `X-RateLimit-*`, `X-Rate-Limit-*`, and the like with a name before, a unit or a window.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Family<'a> {
    /// Up to `ratelimit`.
    prefix: &'a str,
    before: &'a str,
    after: &'a str,
}

impl<'a> Family<'a> {
    fn of(name: &'a HeaderName) -> Option<Self> {
        let (prefix, end) = after_rate_limit(name)?;
        let (before, after) = end.split_once("-remaining").or_else(|| end.split_once("-reset"))?;
        let after = after.strip_prefix("-after").unwrap_or(after);
        Some(Self { prefix, before, after })
    }

    fn values(&self, headers: &HeaderMap, part: &str) -> Vec<String> {
        let Self { prefix, before, after } = self;
        values(headers, &format!("{prefix}{before}{part}{after}"))
    }

    /// The length of the window, if the name tells it.
    fn window(&self) -> Option<Duration> {
        self.words().find_map(window)
    }

    /// Whether it counts requests, as far as its name tells.
    fn is_of_requests(&self) -> bool {
        self.words().all(|word| matches!(word, "" | "requests" | "req" | "per") || window(word).is_some())
    }

    fn words(&self) -> impl Iterator<Item = &'a str> {
        self.before.split('-').chain(self.after.split('-'))
    }

    /// What these headers say, one for each of a list.
    fn read(&self, headers: &HeaderMap, plain: Option<&str>, date: f64) -> Vec<QuotaHint> {
        let first = |parts: &[&str]| {
            parts.iter().map(|part| self.values(headers, part)).find(|values| !values.is_empty()).unwrap_or_default()
        };
        let at = |values: &[String], index: usize| values.get(index).or(values.first()).cloned();
        let (window, remaining) = (self.window(), first(&["-remaining"]));
        let (resets, millis) = (first(&["-reset-after", "-reset"]), first(&["-interval-milliseconds"]));
        let limits = first(&["-limit", "-max", ""]);
        let hint = |index: usize| {
            let left = match remaining.get(index) {
                Some(text) => Some(count(text)?),
                None => None,
            };
            let until = |text: &str| header_times::reset(text, date, window.unwrap_or(LONGEST));
            let reset = match (at(&resets, index), at(&millis, index), left, window) {
                (Some(reset), ..) => until(&reset)?,
                (None, Some(interval), ..) => header_times::millis(&interval)?,
                (None, None, Some(_), Some(window)) => match plain {
                    Some(reset) => until(reset)?,
                    None if window <= SHORT => window,
                    None => return None,
                },
                (None, None, ..) => return None,
            };
            let limit = at(&limits, index).and_then(|limit| count(&limit));
            // Of a quota that does not count requests, only "nothing left" can be used. One with a limit of 0 is ignored.
            let tells = (self.is_of_requests() || left == Some(0)) && limit != Some(0);
            tells.then_some(QuotaHint { remaining: left, reset, limit })
        };
        (0..remaining.len().max(1)).filter_map(hint).collect()
    }
}

/// The length of the window of that name.
fn window(word: &str) -> Option<Duration> {
    Some(Duration::from_secs(match word {
        "second" | "secondly" | "1s" => 1,
        "minute" | "minutely" | "1m" => 60,
        "hour" | "hourly" | "1h" => 3_600,
        "day" | "daily" | "1d" => 86_400,
        "month" | "monthly" => 31 * 86_400,
        _ => return None,
    }))
}

/// `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60` (draft 10 and 11), and
/// `RateLimit: limit=100, remaining=50, reset=30` (drafts 7 and 8).
fn structured(headers: &HeaderMap) -> impl Iterator<Item = QuotaHint> {
    let policies = lists(headers, "ratelimit-policy");
    let named = lists(headers, "ratelimit").into_iter().filter_map(move |limit| {
        let (name, parameters) = item(&limit)?;
        let policy = policies.iter().filter_map(item).find(|(policy, _)| *policy == name).map(|(_, policy)| policy);
        let unit = policy.and_then(|policy| policy.get("qu")).and_then(BareItem::as_string);
        if unit.is_some_and(|unit| unit.as_str() != "requests") {
            return None;
        }
        // Without `t` it is at the latest the whole window until there is more.
        let reset = integer(parameters.get("t")).or_else(|| integer(policy?.get("w")))?;
        let limit = policy.and_then(|policy| integer(policy.get("q")));
        Some(hint(integer(parameters.get("r"))?, reset, limit))
    });
    let unnamed = joined(headers, "ratelimit").and_then(|value| {
        let fields = Parser::new(&value).parse::<Dictionary>().ok()?;
        let field = |name| match fields.get(name)? {
            ListEntry::Item(item) => integer(Some(&item.bare_item)),
            ListEntry::InnerList(_) => None,
        };
        Some(hint(field("remaining")?, field("reset")?, field("limit")))
    });
    named.chain(unnamed)
}

fn hint(remaining: u64, reset: u64, limit: Option<u64>) -> QuotaHint {
    QuotaHint { remaining: Some(remaining), reset: Duration::from_secs(reset).min(LONGEST), limit }
}

/// A field's lines as the one that they stand for (RFC 9110, section 5.3).
fn joined(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

/// Nothing where it is malformed.
fn lists(headers: &HeaderMap, name: &str) -> Vec<ListEntry> {
    let value = joined(headers, name).unwrap_or_default();
    Parser::new(&value).parse::<List>().unwrap_or_default()
}

fn item(entry: &ListEntry) -> Option<(&str, &Parameters)> {
    match entry {
        ListEntry::Item(item) => Some((item.bare_item.as_string()?.as_str(), &item.params)),
        ListEntry::InnerList(_) => None,
    }
}

fn integer(value: Option<&BareItem>) -> Option<u64> {
    u64::try_from(i64::from(value?.as_integer()?)).ok()
}
