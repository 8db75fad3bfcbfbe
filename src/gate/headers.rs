//! A reply's headers in; what the vendor says about when and how much to send, out. Pure; anything malformed is
//! ignored, as the RateLimit draft demands, and nothing is believed beyond a day.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use sfv::{BareItem, Dictionary, List, ListEntry, Parameters, Parser};

/// No wait that a vendor names is taken for longer.
const LONGEST: Duration = Duration::from_secs(86_400);
/// A quota of which nobody says how large it is is taken to be so large.
const UNTOLD: u64 = 1_000;

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
    /// A tenth or more of the quota is left, or, where nobody says how large it is, as many as few quotas have.
    #[must_use]
    pub fn is_plenty(&self) -> bool {
        self.remaining.is_some_and(|left| left.saturating_mul(10) >= self.limit.unwrap_or(UNTOLD))
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

/// Headers that belong together, by what follows `ratelimit` in their names.
struct Family {
    remaining: &'static str,
    /// When there is more: the first that is there counts.
    reset: &'static [&'static str],
    limit: &'static [&'static str],
    /// The length of the window, if the name tells it.
    window: Option<u64>,
}

const fn family(
    remaining: &'static str,
    reset: &'static [&'static str],
    limit: &'static [&'static str],
    window: Option<u64>,
) -> Family {
    Family { remaining, reset, limit, window }
}

/// Of older RateLimit drafts, `X-RateLimit-*`, `X-Rate-Limit-*`, and the like with a name between.
const FAMILIES: [Family; 12] = [
    family("-remaining", &["-reset-after", "-reset", "-interval-milliseconds"], &["-limit", "-max"], None),
    family("-remaining-requests", &["-reset-requests"], &["-limit-requests"], None),
    family("-remaining-second", &["-reset-second"], &["-limit-second"], Some(1)),
    family("-secondly-remaining", &[], &["-secondly"], Some(1)),
    family("-remaining-minute", &["-reset-minute"], &["-limit-minute"], Some(60)),
    family("-remaining-hour", &["-reset-hour"], &["-limit-hour"], Some(3_600)),
    family("-remaining-day", &["-reset-day"], &["-limit-day"], Some(86_400)),
    family("-requests-remaining", &["-requests-reset"], &["-requests-limit"], None),
    family("-second-remaining", &["-second-reset"], &["-second-limit"], Some(1)),
    family("-minute-remaining", &["-minute-reset"], &["-minute-limit"], Some(60)),
    family("-hour-remaining", &["-hour-reset"], &["-hour-limit"], Some(3_600)),
    family("-day-remaining", &["-day-reset"], &["-day-limit"], Some(86_400)),
];

/// A window that is no longer is waited for where nothing says when it ends.
const SHORT: u64 = 60;

/// Reads every form of `Retry-After`, `RateLimit` and `X-RateLimit-*` that vendors are known to send.
///
/// `wall` is the time of the reply; the reply's own `Date` replaces it where dates are compared, so a skewed clock on
/// either side does not matter.
#[must_use]
pub fn hints(headers: &HeaderMap, wall: Timestamp) -> Hints {
    if !headers.keys().any(speaks_of_limits) {
        return Hints::default();
    }
    let wall = wall.as_duration().as_secs_f64();
    let date = headers.get(header::DATE).and_then(text).and_then(date).unwrap_or(wall);
    let quota = families(headers, date).chain(structured(headers)).max_by_key(QuotaHint::tightness);
    Hints { retry_after: retry_after(headers, date), quota }
}

/// Whether a reply says that nothing is left of a quota, though perhaps not until when.
#[must_use]
pub fn is_used_up(headers: &HeaderMap) -> bool {
    let remaining = |name| after_rate_limit(name).is_some_and(|(_, end)| FAMILIES.iter().any(|of| of.remaining == end));
    headers.iter().any(|(name, value)| remaining(name) && text(value).and_then(count) == Some(0))
}

fn speaks_of_limits(name: &HeaderName) -> bool {
    name.as_str().contains("retry-after") || after_rate_limit(name).is_some()
}

/// `Retry-After-Ms`, which is the most exact; else `Retry-After`; else the same behind a prefix.
fn retry_after(headers: &HeaderMap, date: f64) -> Option<Duration> {
    let longest = |name: &HeaderName, read: fn(&str, f64) -> Option<Duration>| {
        headers.get_all(name).iter().filter_map(|value| read(text(value)?, date)).max()
    };
    let millis = |value: &str, _| number(value).map(|millis| clamped(millis / 1e3));
    let prefixed = |end: &'static str| headers.keys().filter(move |name| name.as_str().ends_with(end));
    longest(&HeaderName::from_static("retry-after-ms"), millis)
        .or_else(|| longest(&header::RETRY_AFTER, delay))
        .or_else(|| prefixed("-retry-after-ms").find_map(|name| longest(name, millis)))
        .or_else(|| prefixed("-retry-after").find_map(|name| longest(name, delay)))
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

fn families(headers: &HeaderMap, date: f64) -> impl Iterator<Item = QuotaHint> + '_ {
    let mut prefixes: Vec<&str> = headers.keys().filter_map(|name| Some(after_rate_limit(name)?.0)).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let plain = prefixes.iter().find_map(|prefix| value(headers, prefix, "-reset"));
    prefixes
        .into_iter()
        .flat_map(move |prefix| FAMILIES.iter().filter_map(move |family| family.read(headers, prefix, plain, date)))
}

/// The value of the header of that prefix and end.
fn value<'a>(headers: &'a HeaderMap, prefix: &str, end: &str) -> Option<&'a str> {
    headers.get(format!("{prefix}{end}")).and_then(text)
}

impl Family {
    /// What these headers say; `plain` is the one reset that vendors send who count several windows, that of the tightest.
    fn read(&self, headers: &HeaderMap, prefix: &str, plain: Option<&str>, date: f64) -> Option<QuotaHint> {
        let remaining = value(headers, prefix, self.remaining);
        let own = self.reset.iter().find_map(|end| Some((*end, value(headers, prefix, end)?)));
        let window = self.window.map_or(LONGEST, Duration::from_secs);
        let reset = match (own, remaining, self.window) {
            (Some((end, reset)), ..) => reset_in(end, reset, date, window)?,
            (None, Some(_), Some(seconds)) => match plain {
                Some(reset) => reset_in("", reset, date, window)?,
                None if seconds <= SHORT => window,
                None => return None,
            },
            (None, ..) => return None,
        };
        let remaining = remaining.map(|text| count(text).ok_or(())).transpose().ok()?;
        let limit = self.limit.iter().find_map(|end| count(value(headers, prefix, end)?));
        Some(QuotaHint { remaining, reset, limit })
    }
}

/// A number of requests: the first of a list, without parameters, rounded down.
fn count(text: &str) -> Option<u64> {
    let first = text.split([',', ';']).next().unwrap_or_default().trim();
    number(first)?;
    first.split('.').next()?.parse().ok()
}

/// `Retry-After`: seconds, a date, or the same in epoch seconds or less; a date that is past means now.
fn delay(value: &str, date_of_reply: f64) -> Option<Duration> {
    match number(value) {
        Some(number) => Some(since_epoch(number, date_of_reply).unwrap_or_else(|| clamped(number))),
        None => Some(clamped(date(value)? - date_of_reply)),
    }
}

/// A reset: seconds left, milliseconds left, epoch seconds or less, a date, or a text such as `6m0s`. Seconds left that are
/// longer than the window can only be milliseconds.
fn reset_in(name: &str, value: &str, date_of_reply: f64, window: Duration) -> Option<Duration> {
    match number(value) {
        Some(millis) if name.ends_with("milliseconds") => Some(clamped(millis / 1e3)),
        Some(number) => Some(
            since_epoch(number, date_of_reply)
                .unwrap_or_else(|| clamped(if number > window.as_secs_f64() { number / 1e3 } else { number })),
        ),
        None => date(value).map(|date| clamped(date - date_of_reply)).or_else(|| duration(value)),
    }
}

/// How long until that time in epoch seconds, milliseconds, microseconds or nanoseconds; none where it is too little to be one.
fn since_epoch(number: f64, date_of_reply: f64) -> Option<Duration> {
    let seconds = match number {
        n if n > 1e18 => n / 1e9,
        n if n > 1e15 => n / 1e6,
        n if n > 1e12 => n / 1e3,
        n if n > 1e9 => n,
        _ => return None,
    };
    Some(clamped(seconds - date_of_reply))
}

fn clamped(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST.as_secs_f64()))
}

fn number(value: &str) -> Option<f64> {
    let plain =
        value.starts_with(|c: char| c.is_ascii_digit()) && value.chars().all(|c| c.is_ascii_digit() || c == '.');
    if plain { value.parse().ok() } else { None }
}

/// `6m0s`, `1s`, `20ms`.
fn duration(value: &str) -> Option<Duration> {
    let duration = Duration::try_from(value.parse::<SignedDuration>().ok()?).ok()?;
    Some(duration.min(LONGEST))
}

/// Epoch seconds of an HTTP-date in any of its three forms, or of RFC 3339. The end of the year 9999, which stands for
/// "never", is past what a timestamp can be, and yet a date.
fn date(value: &str) -> Option<f64> {
    let http_date = httpdate::parse_http_date(value).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let seconds = |time: Timestamp| time.as_duration().as_secs_f64();
    let far = || {
        value.get(..19)?.parse::<DateTime>().ok().filter(|time| time.year() == 9999).map(|_| seconds(Timestamp::MAX))
    };
    http_date.map(|since| since.as_secs_f64()).or_else(|| value.parse().ok().map(seconds)).or_else(far)
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
