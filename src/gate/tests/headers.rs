//! Every form in which vendors say when and how much.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::super::hints;
use super::*;

/// 1772366400 in epoch seconds, a Sunday.
const NOW: &str = "2026-03-01T12:00:00Z";

fn read(lines: &[(&str, &str)]) -> Hints {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    hints(&headers, at(NOW))
}

#[test]
fn retry_after_is_read_in_all_its_forms() {
    for (value, expected) in [
        ("7", Some(secs(7))),
        (" 7 ", Some(secs(7))),
        ("0", Some(secs(0))),
        ("1.5", Some(millis(1_500))),
        ("100000", Some(secs(86_400))),
        ("99999999999999999999999999", Some(secs(86_400))),
        ("Sun, 01 Mar 2026 12:00:30 GMT", Some(secs(30))),
        ("Sunday, 01-Mar-26 12:00:30 GMT", Some(secs(30))),
        ("Sun Mar  1 12:00:30 2026", Some(secs(30))),
        ("2026-03-01T12:00:30Z", Some(secs(30))),
        ("Sun, 01 Mar 2026 11:00:00 GMT", Some(secs(0))),
        ("Tue, 01 Mar 2050 11:00:00 GMT", Some(secs(86_400))),
        ("1772366430", Some(secs(30))),
        ("1772366430.5", Some(millis(30_500))),
        ("1772366430500", Some(millis(30_500))),
        ("1772366430500000", Some(millis(30_500))),
        ("1772360000", Some(secs(0))),
        ("253402300799", Some(secs(86_400))),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(secs(86_400))),
        ("9999-12-31T23:59:59Z", Some(secs(86_400))),
        ("Sun, 1 Mar 2026 12:00:30 GMT", Some(secs(30))),
        ("Sun, 01 Mar 2026 12:00:30 +0000", Some(secs(30))),
        ("Sun, 01 Mar 2026 12:00:30 +00:00", Some(secs(30))),
        ("Sun, 01 Mar 2026 12:00:30 UTC", Some(secs(30))),
        ("Sun, 1 Mar 2026 13:30:30 +0130", Some(secs(30))),
        ("Sun, 01 Mar 2026 04:00:30 -0800", Some(secs(30))),
        ("01 Mar 2026 12:00:30 GMT", Some(secs(30))),
        ("Sun, 01-Mar-2026 12:00:30 GMT", Some(secs(30))),
        ("Sun Mar 1 12:00:30 2026", Some(secs(30))),
        ("Sun Mar 01 2026 13:00:30 GMT+0100 (Central European Standard Time)", Some(secs(30))),
        ("2026-03-01T13:00:30+01:00", Some(secs(30))),
        ("2026-03-01T12:00:30+0000", Some(secs(30))),
        ("2026-03-01 12:00:30 UTC", Some(secs(30))),
        ("2026-03-01 12:00:30 +0000", Some(secs(30))),
        ("2026-03-01T12:00:30.500000", Some(millis(30_500))),
        ("Fri, 31 Dec 9999 23:59:59 +0000", Some(secs(86_400))),
        ("3, 3", Some(secs(3))),
        ("3,9", Some(secs(9))),
        ("3, soon", Some(secs(3))),
        ("Sun, 01 Mar 2026 12:00:30 GMT, Sun, 01 Mar 2026 12:00:30 GMT", Some(secs(30))),
        ("", None),
        (",", None),
        ("Sun, ", None),
        ("Sun, 01 Mar 2026 12:00:30 Mars", None),
        ("Sun, 01 Mar 2026 12:00:30 +00000", None),
        ("12:00:30 GMT", None),
        ("-7", None),
        ("soon", None),
        ("7s", None),
        ("1e9", None),
        ("inf", None),
        ("NaN", None),
        ("1.2.3", None),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
    ] {
        assert_eq!(read(&[("retry-after", value)]).retry_after, expected, "{value:?}");
    }
}

#[test]
fn the_replys_own_date_corrects_a_skewed_clock() {
    let date = ("date", "Sun, 01 Mar 2026 10:00:00 GMT");
    assert_eq!(read(&[date, ("retry-after", "Sun, 01 Mar 2026 10:00:20 GMT")]).retry_after, Some(secs(20)));
    assert_eq!(read(&[date, ("retry-after", "20")]).retry_after, Some(secs(20)));
    assert_eq!(read(&[date, ("x-ratelimit-remaining", "4"), ("x-ratelimit-reset", "1772359215")]), quota(4, 15));
    for date in ["Sun, 1 Mar 2026 10:00:00 GMT", "Sun, 01 Mar 2026 10:00:00 UTC", "Sun, 01 Mar 2026 12:00:00 +0200"] {
        let said = read(&[("date", date), ("retry-after", "Sun, 01 Mar 2026 10:00:20 GMT")]);
        assert_eq!(said.retry_after, Some(secs(20)), "{date}");
    }
}

#[test]
fn the_longest_retry_after_counts_and_the_plain_one_wins() {
    assert_eq!(read(&[("retry-after", "3"), ("retry-after", "9")]).retry_after, Some(secs(9)));
    assert_eq!(read(&[("x-ratelimit-retry-after", "5")]).retry_after, Some(secs(5)));
    assert_eq!(read(&[("x-ratelimit-retry-after", "5"), ("retry-after", "2")]).retry_after, Some(secs(2)));
    assert_eq!(read(&[("x-ratelimit-retry-after", "5"), ("retry-after", "soon")]).retry_after, Some(secs(5)));
    assert_eq!(read(&[("x-retry-after", "5")]).retry_after, Some(secs(5)));
    assert_eq!(read(&[("x-some-retry-after-ms", "250")]).retry_after, Some(millis(250)));
    assert_eq!(read(&[("x-some-retry-after-ms", "250"), ("retry-after", "1")]).retry_after, Some(secs(1)));
    assert_eq!(read(&[("retry-after-ms", "250"), ("retry-after", "1")]).retry_after, Some(millis(250)));
    assert_eq!(read(&[("retry-after-ms", "-1"), ("retry-after", "1")]).retry_after, Some(secs(1)));
}

#[test]
fn quotas_are_read_in_every_known_form() {
    for (lines, remaining, reset) in [
        (&[("ratelimit", r#""default";r=50;t=30"#)][..], 50, secs(30)),
        (&[("ratelimit", r#""burst";r=9;t=1, "daily";r=40;t=7200"#)], 40, secs(7_200)),
        (&[("ratelimit", r#""burst";r=9;t=1"#), ("ratelimit", r#""daily";r=0;t=60"#)], 0, secs(60)),
        (&[("ratelimit", r#""b";r=0"#), ("ratelimit-policy", r#""a";q=5;w=9,"b";q=100;w=60"#)], 0, secs(60)),
        (&[("ratelimit", "limit=100, remaining=50, reset=30")], 50, secs(30)),
        (&[("ratelimit-limit", "100, 100;w=60"), ("ratelimit-remaining", "5"), ("ratelimit-reset", "30")], 5, secs(30)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "30")], 5, secs(30)),
        (&[("X-RateLimit-Remaining", "5"), ("X-RateLimit-Reset", "0.25")], 5, millis(250)),
        (&[("x-rate-limit-remaining", "5"), ("x-rate-limit-reset", "30")], 5, secs(30)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "120000")], 5, secs(120)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1772366430")], 5, secs(30)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1772366430500")], 5, millis(30_500)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1772366000")], 5, secs(0)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "Sun, 01 Mar 2026 12:00:30 GMT")], 5, secs(30)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "2026-03-01T12:00:30Z")], 5, secs(30)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "4102444800")], 5, secs(86_400)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1772366430.5")], 5, millis(30_500)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "6m0s")], 5, secs(360)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "9999-12-31T23:59:59Z")], 5, secs(86_400)),
        (&[("x-ratelimit-remaining", "5.0"), ("x-ratelimit-reset-after", "1.5")], 5, millis(1_500)),
        (
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "2"), ("x-ratelimit-reset", "1772369000")],
            0,
            secs(2),
        ),
        (&[("ratelimit", "limit=100, remaining=5"), ("ratelimit", "reset=30")], 5, secs(30)),
        (&[("ratelimit", r#""burst";r=9;t=1"#), ("ratelimit", r#""daily";r=4;t=60"#)], 4, secs(60)),
        (&[("x-ratelimit-remaining-minute", "5"), ("x-ratelimit-reset-minute", "40")], 5, secs(40)),
        (&[("x-ratelimit-remaining-minute", "5"), ("x-ratelimit-reset-minute", "30000")], 5, secs(30)),
        (&[("x-ratelimit-remaining-hour", "5"), ("x-ratelimit-reset-hour", "40")], 5, secs(40)),
        (&[("x-ratelimit-remaining-day", "5"), ("x-ratelimit-reset-day", "4000")], 5, secs(4_000)),
        (
            &[
                ("x-ratelimit-remaining-minute", "2"),
                ("x-ratelimit-remaining-hour", "900"),
                ("ratelimit-remaining", "2"),
                ("ratelimit-reset", "31"),
            ],
            2,
            secs(31),
        ),
    ] {
        let said = read(lines).quota.map(|quota| (quota.remaining, quota.reset));
        assert_eq!(said, Some((Some(remaining), reset)), "{lines:?}");
    }
}

#[test]
fn quotas_of_several_windows_and_units_are_read_by_their_names() {
    for (lines, remaining, reset) in [
        (&[("x-ratelimit-remaining-requests", "59"), ("x-ratelimit-reset-requests", "1s")][..], 59, secs(1)),
        (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "20ms")], 0, millis(20)),
        (&[("x-some-ratelimit-remaining", "0"), ("x-some-ratelimit-interval-milliseconds", "10000")], 0, secs(10)),
        (&[("x-some-ratelimit-secondly-remaining", "0"), ("x-some-ratelimit-secondly", "19")], 0, secs(1)),
        (&[("x-ratelimit-remaining-minute", "0")], 0, secs(60)),
        (&[("x-some-ratelimit-second-remaining", "0"), ("x-some-ratelimit-reset", "1")], 0, secs(1)),
        (&[("x-some-ratelimit-hour-remaining", "0"), ("x-some-ratelimit-reset", "1772366430")], 0, secs(30)),
        (
            &[
                ("some-ratelimit-requests-remaining", "0"),
                ("some-ratelimit-requests-reset", "2026-03-01T12:00:30Z"),
                ("some-ratelimit-tokens-remaining", "0"),
                ("some-ratelimit-tokens-reset", "2026-03-01T13:00:30Z"),
            ],
            0,
            secs(3_630),
        ),
        (
            &[("x-ratelimit-remaining-requests-day", "5"), ("x-ratelimit-reset-requests-day", "33011.5")],
            5,
            millis(33_011_500),
        ),
        (&[("x-ratelimit-remaining-req-minute", "0")], 0, secs(60)),
        (&[("x-ratelimit-remaining-requests-1h", "5"), ("x-ratelimit-reset-requests-1h", "40s")], 5, secs(40)),
        (
            &[("x-ratelimit-remaining", "0, 15"), ("x-ratelimit-reset", "1, 3000"), ("x-ratelimit-limit", "1, 20")],
            0,
            secs(1),
        ),
        (
            &[("x-ratelimit-remaining", "1, 0"), ("x-ratelimit-reset", "1, 3000"), ("x-ratelimit-limit", "1, 20")],
            0,
            secs(3_000),
        ),
        (&[("x-ratelimit-remaining", "5, 5"), ("x-ratelimit-reset", "30, 30")], 5, secs(30)),
        (&[("x-ratelimit-remaining", "5"), ("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "30")], 3, secs(30)),
        (
            &[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "Sun Mar 01 2026 13:00:30 GMT+0100 (CET)")],
            5,
            secs(30),
        ),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2026-03-01T12:01Z")], 0, secs(60)),
        (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "8.64s")], 0, millis(8_640)),
        (
            &[("x-rate-limit-limit", "600"), ("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "1772366430")],
            0,
            secs(30),
        ),
    ] {
        let said = read(lines).quota.map(|quota| (quota.remaining, quota.reset));
        assert_eq!(said, Some((Some(remaining), reset)), "{lines:?}");
    }
}

#[test]
fn of_tokens_and_the_like_only_that_none_is_left_is_heeded() {
    for (lines, reset) in [
        (
            &[
                ("x-ratelimit-limit-tokens", "40000"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ][..],
            secs(360),
        ),
        (
            &[("some-ratelimit-tokens-remaining", "0"), ("some-ratelimit-tokens-reset", "2026-03-01T12:00:30Z")],
            secs(30),
        ),
        (
            &[
                ("some-ratelimit-input-tokens-remaining", "0"),
                ("some-ratelimit-input-tokens-reset", "2026-03-01T12:00:30Z"),
            ],
            secs(30),
        ),
        (
            &[
                ("some-ratelimit-output-tokens-remaining", "0"),
                ("some-ratelimit-output-tokens-reset", "2026-03-01T12:00:30Z"),
            ],
            secs(30),
        ),
        (&[("x-ratelimit-remaining-project-tokens", "0"), ("x-ratelimit-reset-project-tokens", "2s")], secs(2)),
        (&[("x-ratelimit-remaining-tokens-minute", "0"), ("x-ratelimit-reset-tokens-minute", "12.5")], millis(12_500)),
        (&[("x-ratelimit-remaining-tokens-minute", "0")], secs(60)),
        (
            &[("x-ratelimit-complexity-remaining", "0"), ("x-ratelimit-complexity-reset", "1772366430500")],
            millis(30_500),
        ),
    ] {
        let expected = Some((Some(0), reset));
        assert_eq!(read(lines).quota.map(|quota| (quota.remaining, quota.reset)), expected, "{lines:?}");
    }
    let both = [
        ("x-ratelimit-remaining-requests", "5"),
        ("x-ratelimit-reset-requests", "30s"),
        ("x-ratelimit-remaining-tokens", "3"),
        ("x-ratelimit-reset-tokens", "6m0s"),
    ];
    assert_eq!(read(&both), quota(5, 30), "the requests that are left set the pace");
}

#[test]
fn an_explicit_now_outranks_a_quota_that_is_used_up() {
    let empty = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "3600")];
    for now in [("retry-after", "0"), ("retry-after", "Sun, 01 Mar 2026 12:00:00 GMT"), ("retry-after-ms", "0")] {
        assert_eq!(read(&[empty[0], empty[1], now]), retry_after(0), "{now:?}");
    }
    let some = read(&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "3600"), ("retry-after", "0")]);
    assert_eq!(some.quota, quota(3, 3_600).quota, "what remains still tells the pace");
    assert_eq!(read(&[empty[0], empty[1], ("retry-after", "5")]).quota, quota(0, 3_600).quota);
}

#[test]
fn what_is_malformed_or_of_another_unit_is_ignored() {
    for lines in [
        &[("content-type", "application/json")][..],
        &[("ratelimit", r#""default";r=50"#)],
        &[("ratelimit", r#""default";t=50"#)],
        &[("ratelimit", r#""default";r=-1;t=5"#)],
        &[("ratelimit", r#""default";r=many;t=5"#)],
        &[("ratelimit", r#"("default" "other");r=1;t=5"#)],
        &[("ratelimit", "\"default")],
        &[("ratelimit", r#""size";r=0;t=5"#), ("ratelimit-policy", r#""size";q=100;w=60;qu="content-bytes""#)],
        &[("x-ratelimit-remaining", "5")],
        &[("x-ratelimit-remaining", "-5"), ("x-ratelimit-reset", "30")],
        &[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "later")],
        &[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "-30")],
        &[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "-6m0s")],
        &[("x-ratelimit-remaining-tokens", "900"), ("x-ratelimit-reset-tokens", "6m0s")],
        &[("x-ratelimit-remaining-tokens", "0")],
        &[("x-ratelimit-reset-tokens", "6m0s")],
        &[
            ("x-ratelimit-limit-tokens", "0"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ],
        &[
            ("some-ratelimit-input-tokens-remaining", "1"),
            ("some-ratelimit-input-tokens-reset", "2026-03-01T12:00:30Z"),
        ],
        &[("x-ratelimit-remaining-hour", "0")],
        &[("retry-after-ms", "soon")],
        &[("x-ratelimit-remaining", ""), ("x-ratelimit-reset", "")],
        &[("ratelimit-limit", "100")],
    ] {
        assert_eq!(read(lines), Hints::default(), "{lines:?}");
    }
}

#[test]
fn how_large_a_quota_is_tells_whether_its_rest_is_scarce() {
    for (lines, plenty) in [
        (&[("x-ratelimit-remaining", "4999"), ("x-ratelimit-limit", "5000"), ("x-ratelimit-reset", "3600")][..], true),
        (&[("x-ratelimit-remaining", "499"), ("x-ratelimit-limit", "5000"), ("x-ratelimit-reset", "3600")], false),
        (&[("ratelimit-remaining", "50"), ("ratelimit-limit", "100, 100;w=60"), ("ratelimit-reset", "30")], true),
        (&[("ratelimit", r#""a";r=50;t=9"#), ("ratelimit-policy", r#""a";q=100;w=60"#)], true),
        (&[("ratelimit", r#""a";r=9;t=9"#), ("ratelimit-policy", r#""a";q=100;w=60"#)], false),
        (&[("ratelimit", "limit=100, remaining=50, reset=30")], true),
        (&[("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "3600")], true),
        (&[("x-ratelimit-remaining", "99"), ("x-ratelimit-reset", "3600")], true),
        (&[("x-ratelimit-remaining", "20"), ("x-ratelimit-reset", "3600")], true),
        (&[("x-ratelimit-remaining", "19"), ("x-ratelimit-reset", "3600")], false),
    ] {
        assert_eq!(read(lines).quota.map(|quota| quota.is_plenty(0)), Some(plenty), "{lines:?}");
    }
}

#[test]
fn a_reset_without_a_remainder_is_kept_for_a_429() {
    let expected = QuotaHint { remaining: None, reset: secs(30), limit: None };
    assert_eq!(read(&[("x-ratelimit-reset", "30")]).quota, Some(expected));
}

proptest! {
    #[test]
    fn no_header_makes_reading_panic_or_wait_over_a_day(
        name in prop_oneof![
            Just("retry-after"), Just("ratelimit"), Just("ratelimit-policy"), Just("date"),
            Just("x-ratelimit-reset"), Just("x-ratelimit-remaining"), Just("x-ratelimit-reset-minute"),
        ],
        value in prop_oneof!["[ -~]{0,40}", "[0-9.]{0,30}", "\"[a-z]\";[rtqw]=[0-9]{0,18};[rtqw]=[0-9]{0,18}"],
    ) {
        let hints = read(&[
            (name, &value), ("ratelimit", "\"a\";r=0;t=9"), ("retry-after", &value), ("x-ratelimit-remaining", "1"),
        ]);
        let day = secs(86_400);
        prop_assert!(hints.retry_after.is_none_or(|wait| wait <= day));
        prop_assert!(hints.quota.is_none_or(|quota| quota.reset <= day));
    }
}
