//! A reply's headers in; what the vendor says about when and how much to send, out. Pure; anything malformed is
//! ignored, as the RateLimit draft demands, and nothing is believed beyond a day.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use sfv::{BareItem, Dictionary, List, ListEntry, Parameters, Parser};

/// No wait that a vendor names is taken for longer.
const LONGEST: Duration = Duration::from_secs(86_400);

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
}

impl QuotaHint {
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

/// A family of headers in wide use: what remains, when it resets, and the length of the window if the name tells it.
type Family = (&'static str, &'static str, Option<u64>);

/// Older RateLimit drafts, `X-RateLimit-*` and their dashed and per-window spellings.
const FAMILIES: [Family; 12] = [
    ("ratelimit-remaining", "ratelimit-reset", None),
    ("x-ratelimit-remaining", "x-ratelimit-reset", None),
    ("x-rate-limit-remaining", "x-rate-limit-reset", None),
    ("x-ratelimit-remaining-second", "x-ratelimit-reset-second", Some(1)),
    ("x-ratelimit-remaining-minute", "x-ratelimit-reset-minute", Some(60)),
    ("x-ratelimit-remaining-hour", "x-ratelimit-reset-hour", Some(3_600)),
    ("x-ratelimit-remaining-day", "x-ratelimit-reset-day", Some(86_400)),
    ("x-rate-limit-remaining-second", "x-rate-limit-reset-second", Some(1)),
    ("x-rate-limit-remaining-minute", "x-rate-limit-reset-minute", Some(60)),
    ("x-rate-limit-remaining-hour", "x-rate-limit-reset-hour", Some(3_600)),
    ("x-rate-limit-remaining-day", "x-rate-limit-reset-day", Some(86_400)),
    ("ratelimit-remaining-day", "ratelimit-reset-day", Some(86_400)),
];

/// Read, in this order, where there is no `Retry-After`.
const RETRY_AFTER: [&str; 3] = ["retry-after", "x-ratelimit-retry-after", "x-rate-limit-retry-after"];

/// Reads every form of `Retry-After`, `RateLimit` and `X-RateLimit-*` that vendors are known to send.
///
/// `wall` is the time of the reply; the reply's own `Date` replaces it where dates are compared, so a skewed clock on
/// either side does not matter.
#[must_use]
pub fn hints(headers: &HeaderMap, wall: Timestamp) -> Hints {
    if !headers.keys().any(speaks_of_limits) {
        return Hints::default();
    }
    let date = headers.get(header::DATE).and_then(text).and_then(date).unwrap_or(wall);
    let retry_after = RETRY_AFTER
        .iter()
        .find_map(|name| headers.get_all(*name).iter().filter_map(|value| delay(text(value)?, date)).max());
    let quota = families(headers, date).chain(structured(headers)).max_by_key(QuotaHint::tightness);
    Hints { retry_after, quota }
}

fn speaks_of_limits(name: &HeaderName) -> bool {
    let name = name.as_str();
    name == "retry-after" || name.starts_with("ratelimit") || name.starts_with("x-rate")
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

fn families(headers: &HeaderMap, date: Timestamp) -> impl Iterator<Item = QuotaHint> + '_ {
    let plain_reset = FAMILIES.iter().take(3).find_map(|family| headers.get(family.1));
    FAMILIES.iter().filter_map(move |(remaining, reset, window)| {
        let remaining = headers.get(*remaining).and_then(text);
        let reset = match (headers.get(*reset), remaining, window) {
            (Some(reset), ..) => Some(reset),
            // Vendors that count several windows send one reset, that of the tightest.
            (None, Some(_), Some(_)) => plain_reset,
            (None, ..) => None,
        };
        let remaining = remaining.map(str::parse).transpose().ok()?;
        let window = window.map_or(LONGEST, Duration::from_secs);
        Some(QuotaHint { remaining, reset: reset_in(text(reset?)?, date, window)? })
    })
}

/// `Retry-After`: seconds, or a date; a date that is past means now.
fn delay(value: &str, date_of_reply: Timestamp) -> Option<Duration> {
    match number(value) {
        Some(seconds) => Some(clamped(seconds)),
        None => Some(until(date(value)?.as_duration().as_secs_f64(), date_of_reply)),
    }
}

/// A reset: seconds left, milliseconds left, epoch seconds, epoch milliseconds, or a date. Seconds left that are
/// longer than the window can only be milliseconds.
fn reset_in(value: &str, date_of_reply: Timestamp, window: Duration) -> Option<Duration> {
    match number(value) {
        Some(n) if n > 1e12 => Some(until(n / 1e3, date_of_reply)),
        Some(n) if n > 1e9 => Some(until(n, date_of_reply)),
        Some(n) if n > window.as_secs_f64() => Some(clamped(n / 1e3)),
        Some(n) => Some(clamped(n)),
        None => Some(until(date(value)?.as_duration().as_secs_f64(), date_of_reply)),
    }
}

fn until(epoch_seconds: f64, date_of_reply: Timestamp) -> Duration {
    clamped(epoch_seconds - date_of_reply.as_duration().as_secs_f64())
}

fn clamped(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST.as_secs_f64()))
}

fn number(value: &str) -> Option<f64> {
    let plain =
        value.starts_with(|c: char| c.is_ascii_digit()) && value.chars().all(|c| c.is_ascii_digit() || c == '.');
    if plain { value.parse().ok() } else { None }
}

/// An HTTP-date in any of its three forms, or RFC 3339.
fn date(value: &str) -> Option<Timestamp> {
    let http_date = httpdate::parse_http_date(value).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    match http_date {
        Some(since) => Timestamp::from_second(i64::try_from(since.as_secs()).ok()?).ok(),
        None => value.parse().ok(),
    }
}

/// `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60` (draft 10 and 11), and
/// `RateLimit: limit=100, remaining=50, reset=30` (drafts 7 and 8).
fn structured(headers: &HeaderMap) -> impl Iterator<Item = QuotaHint> {
    let policies: Vec<ListEntry> = lists(headers, "ratelimit-policy").collect();
    let named = lists(headers, "ratelimit").filter_map(move |limit| {
        let (name, parameters) = item(&limit)?;
        let policy = policies.iter().filter_map(item).find(|(policy, _)| *policy == name).map(|(_, policy)| policy);
        let unit = policy.and_then(|policy| policy.get("qu")).and_then(BareItem::as_string);
        if unit.is_some_and(|unit| unit.as_str() != "requests") {
            return None;
        }
        // Without `t` it is at the latest the whole window until there is more.
        let reset = integer(parameters.get("t")).or_else(|| integer(policy?.get("w")))?;
        Some(hint(integer(parameters.get("r"))?, reset))
    });
    let unnamed = headers.get_all("ratelimit").iter().filter_map(|value| {
        let fields = Parser::new(value.as_bytes()).parse::<Dictionary>().ok()?;
        let field = |name| match fields.get(name)? {
            ListEntry::Item(item) => integer(Some(&item.bare_item)),
            ListEntry::InnerList(_) => None,
        };
        Some(hint(field("remaining")?, field("reset")?))
    });
    named.chain(unnamed.collect::<Vec<_>>())
}

fn hint(remaining: u64, reset: u64) -> QuotaHint {
    QuotaHint { remaining: Some(remaining), reset: Duration::from_secs(reset).min(LONGEST) }
}

fn lists(headers: &HeaderMap, name: &'static str) -> impl Iterator<Item = ListEntry> {
    headers.get_all(name).iter().filter_map(|value| Parser::new(value.as_bytes()).parse::<List>().ok()).flatten()
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
