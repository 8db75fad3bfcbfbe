//! How an API tells of its limits: what is left comes in, headers go out. Pure.
//! Forms: RFC 9110 for `Retry-After`, draft-ietf-httpapi-ratelimit-headers (-10, and the three fields up to -06)
//! for `RateLimit`, and the two commonest of the many `X-RateLimit` in use.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use super::limit::QuotaLeft;

/// The `Retry-After` of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RetryAfterForm {
    /// Left out.
    #[default]
    None,
    /// Whole seconds.
    Seconds,
    /// An HTTP date.
    Date,
}

/// The headers that tell what is left of the quota, on every answer past the key check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum QuotaHeaders {
    /// None.
    #[default]
    None,
    /// `RateLimit-Policy` and `RateLimit`.
    RateLimit,
    /// `RateLimit-Limit`, `-Remaining` and `-Reset`, in seconds left.
    RateLimitFields,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, in seconds left.
    XRateLimit,
    /// The same, with the reset in seconds since 1970.
    XRateLimitEpoch,
}

/// Adds the `Retry-After` of a refusal at `now` that holds for `wait`.
pub(super) fn retry_after(headers: &mut HeaderMap, form: RetryAfterForm, now: Duration, wait: Duration) {
    let value = match form {
        RetryAfterForm::None => return,
        RetryAfterForm::Seconds => HeaderValue::from(whole_seconds(wait)),
        RetryAfterForm::Date => match date(now + wait) {
            Some(date) => date,
            None => return,
        },
    };
    headers.insert(RETRY_AFTER, value);
}

/// Adds what is left of the quota at `now`.
pub(super) fn quota(headers: &mut HeaderMap, form: QuotaHeaders, now: Duration, standing: &QuotaLeft) {
    let QuotaLeft { limit, remaining, reset } = standing;
    let left = whole_seconds(*reset);
    let mut three = |names: [&'static str; 3], reset: u64| {
        let values = [HeaderValue::from(limit.count), HeaderValue::from(*remaining), HeaderValue::from(reset)];
        headers.extend(names.map(|name| Some(HeaderName::from_static(name))).into_iter().zip(values));
    };
    match form {
        QuotaHeaders::None => {}
        QuotaHeaders::RateLimitFields => three(["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"], left),
        QuotaHeaders::XRateLimit => three(["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"], left),
        QuotaHeaders::XRateLimitEpoch => {
            let reset = whole_seconds(now + *reset);
            three(["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"], reset);
        }
        QuotaHeaders::RateLimit => {
            let policy = format!("\"default\";q={};w={}", limit.count, limit.window.as_secs());
            let standing = format!("\"default\";r={remaining};t={left}");
            for (name, value) in [("ratelimit-policy", policy), ("ratelimit", standing)] {
                headers.extend(HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value)));
            }
        }
    }
}

/// A time since the Unix epoch as an HTTP date, which knows whole seconds only: never too early.
pub(super) fn date(time: Duration) -> Option<HeaderValue> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(whole_seconds(time)))?;
    HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
}

/// Seconds, rounded up.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::limit::Limit;

    const NOW: Duration = Duration::from_secs(784_111_777);

    #[test]
    fn a_refusal_says_when_in_seconds_or_as_a_date() {
        let told = |form| {
            let mut headers = HeaderMap::new();
            retry_after(&mut headers, form, NOW, Duration::from_millis(6_200));
            headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(told(RetryAfterForm::None), None);
        assert_eq!(told(RetryAfterForm::Seconds).unwrap(), "7");
        assert_eq!(told(RetryAfterForm::Date).unwrap(), "Sun, 06 Nov 1994 08:49:44 GMT");
    }

    #[test]
    fn what_is_left_is_told_in_each_form() {
        let standing = QuotaLeft { limit: Limit::per_second(200), remaining: 50, reset: Duration::from_millis(300) };
        let told = |form| {
            let mut headers = HeaderMap::new();
            quota(&mut headers, form, NOW, &standing);
            let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
            headers.iter().map(line).collect::<Vec<_>>()
        };
        assert!(told(QuotaHeaders::None).is_empty());
        assert_eq!(
            told(QuotaHeaders::RateLimit),
            ["ratelimit-policy: \"default\";q=200;w=1", "ratelimit: \"default\";r=50;t=1"]
        );
        assert_eq!(
            told(QuotaHeaders::RateLimitFields),
            ["ratelimit-limit: 200", "ratelimit-remaining: 50", "ratelimit-reset: 1"]
        );
        assert_eq!(
            told(QuotaHeaders::XRateLimit),
            ["x-ratelimit-limit: 200", "x-ratelimit-remaining: 50", "x-ratelimit-reset: 1"]
        );
        assert_eq!(told(QuotaHeaders::XRateLimitEpoch)[2], "x-ratelimit-reset: 784111778");
    }
}
