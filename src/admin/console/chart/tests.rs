use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn sample(ago: i64, requests: f32) -> Sample {
    Sample {
        at: now() - Duration::from_secs(ago.unsigned_abs()),
        requests,
        refused: 0.0,
        failed: 0.0,
        delivered: requests,
        allowed: Some(20.0),
        median_ms: (requests > 0.0).then_some(12),
        slowest_ms: (requests > 0.0).then_some(1_500),
    }
}

fn frame() -> Plot {
    Plot { width: 100, height: 21, now: now(), span: Duration::from_secs(100) }
}

#[test]
fn samples_are_steps_and_a_gap_is_nothing() {
    let samples = [sample(400, 9.0), sample(80, 10.0), sample(69, 20.0), sample(20, 5.0)];
    let path = frame().area(&samples, 20.0, LEAST, requests);
    assert_eq!(path, "M10.0 21V11.0H20.0V1.0H31.0V21ZM70.0 21V16.0H80.0V21Z");
    let line = frame().line(&samples, 20.0, |sample| Some(requests(sample)));
    assert_eq!(line, "M10.0 11.0H20.0V1.0H31.0M70.0 16.0H80.0");
}

fn open() -> Past {
    Past { changes: Vec::new(), state: "open", since: Some(Timestamp::MIN) }
}

#[test]
fn little_is_seen_beside_a_limit_far_above_it() {
    let height = |chart: &Chart| {
        let (_, path) = chart.paths.iter().find(|(class, _)| *class == "chart-area").unwrap();
        let y = path.split('V').nth(1).unwrap().split('H').next().unwrap();
        f64::from(frame().height) - y.parse::<f64>().unwrap()
    };
    let little = [sample(5, 1.0)];
    let chart = rate(frame(), &little, &open(), Some(200.0));
    assert!(height(&chart) > 15.0, "to its own scale: {chart:?}");
    assert_eq!((chart.top.as_str(), chart.labels[0].text.as_str()), ("highest 1/s", "limit 200/s, above"));
    let classes = |chart: &Chart| chart.paths.iter().map(|(class, _)| *class).collect::<Vec<_>>();
    assert!(!classes(&chart).contains(&"chart-limit"), "the limit is out of sight: {chart:?}");
    let chart = rate(frame(), &[sample(5, 150.0)], &open(), Some(200.0));
    assert_eq!((chart.top.as_str(), chart.labels[0].text.as_str()), ("highest 150/s", "limit 200/s"));
    assert!(classes(&chart).contains(&"chart-limit"), "{chart:?}");
    // In a row among others too.
    for limit in [200.0, 1e6] {
        let seen = height(&spark(frame(), &little, Some(limit)));
        assert!(seen > 18.0, "{seen}");
    }
}

#[test]
fn few_failures_among_many_requests_have_a_strip_of_their_own() {
    let failing = [Sample { failed: 3.0, ..sample(15, 200.0) }, sample(5, 200.0)];
    for chart in [rate(frame(), &failing, &open(), Some(200.0)), spark(frame(), &failing, Some(200.0))] {
        let strip = chart.strip.clone().unwrap();
        let highest: f64 = strip.path.split(['V', 'H']).nth(1).unwrap().parse().unwrap();
        assert!(highest < f64::from(strip.height) * 0.2, "it fills its strip: {strip:?}");
        assert!(chart.says.ends_with("; refused or failed: 3/s at most"), "{}", chart.says);
        assert_eq!((chart.strip_at(), chart.whole()), (21 + strip.gap, 21 + strip.gap + strip.height));
    }
    let fine = rate(frame(), &[sample(5, 200.0)], &open(), Some(200.0));
    assert_eq!((fine.strip.as_ref(), fine.whole()), (None, 21), "nothing failed");
}

#[test]
fn each_time_says_what_it_shows() {
    let samples = [Sample { refused: 2.0, ..sample(35, 12.0) }, sample(5, 8.0)];
    let change = |ago: u64, from, to| GateChange {
        at: now() - Duration::from_secs(ago),
        from,
        to,
        why: String::new(),
        until: None,
    };
    let changes =
        vec![change(22, GateState::Throttled, GateState::Open), change(38, GateState::Open, GateState::Throttled)];
    let past = Past { changes, state: "open", since: Some(now() - Duration::from_secs(45)) };
    let texts = |chart: Chart| chart.points.into_iter().map(|point| point.text).collect::<Vec<_>>();
    assert_eq!(
        texts(rate(frame(), &samples, &past, None)),
        [
            "22:12:30 UTC: 0/s",
            "22:12:40 UTC: 12/s, 2/s refused or failed; gate throttled",
            "22:12:50 UTC: 0/s",
            "22:13:00 UTC: 0/s",
            "22:13:10 UTC: 8/s",
        ]
    );
    let told = texts(latency(frame(), &samples, &past));
    assert_eq!(told.last().unwrap(), "22:13:10 UTC: half in 12 ms, 99 of 100 in 1.5 s");
    assert_eq!(texts(delivered(frame(), &samples, &past)).last().unwrap(), "22:13:10 UTC: 8/s");
    let half_hour = Plot { span: Duration::from_mins(30), ..frame() };
    let points = rate(half_hour, &samples, &open(), None).points;
    assert_eq!(points.len(), 61, "no more than can be told apart");
    let later = Plot { now: now() + Duration::from_secs(7), ..half_hour };
    let moved = rate(later, &samples, &open(), None).points;
    assert_eq!(moved[9].text, points[9].text, "times stay the same while the chart moves on");
}

#[test]
fn only_the_time_of_which_something_is_known_is_shown() {
    let half_hour = Plot { span: Duration::from_mins(30), ..frame() };
    let span = |samples: &[Sample], ago: Option<u64>| {
        let since = ago.map(|ago| now() - Duration::from_secs(ago));
        half_hour.known(samples, since).span.as_secs()
    };
    assert_eq!([Some(5), Some(300), Some(9_000), None].map(|ago| span(&[], ago)), [60, 300, 1_800, 1_800]);
    assert_eq!(span(&[sample(590, 1.0)], Some(300)), 600, "figures may be older than the changes that are kept");
    let chart = rate(half_hour.known(&[], Some(now() - Duration::from_secs(300))), &[], &open(), None);
    assert_eq!(chart.began, "5 min ago");
}

#[test]
fn a_chart_says_in_words_what_it_shows() {
    let samples = [sample(15, 12.0), sample(5, 8.0)];
    let chart = rate(frame(), &samples, &open(), Some(20.0));
    assert_eq!(chart.says, "Requests a second over the last 1 min 40 s: 8 now, 12 at most; the limits allow 20");
    assert_eq!((chart.top.as_str(), chart.paths.len(), chart.bands.len()), ("highest 12/s", 1, 0));
    let slowed = [Sample { allowed: Some(12.0), ..sample(15, 12.0) }, sample(5, 8.0)];
    let chart = rate(frame(), &slowed, &open(), Some(20.0));
    assert_eq!(chart.paths.last().unwrap().0, "chart-allowed", "the gate let less through than the limits");
    let chart = latency(frame(), &samples, &open());
    assert!(chart.says.ends_with("lately half of them 12 ms at most, and 99 of 100 1.5 s"), "{}", chart.says);
    let empty = rate(frame(), &[], &open(), None);
    assert!(empty.paths.is_empty() && empty.says.contains("0 now"), "{empty:?}");
    assert!(latency(frame(), &[], &open()).says.ends_with("none was answered"));
}

#[test]
fn times_when_the_gate_was_not_open_are_marked() {
    let at = |ago: u64| now() - Duration::from_secs(ago);
    let change = |ago, from, to| GateChange { at: at(ago), from, to, why: String::new(), until: None };
    let changes = [
        change(10, GateState::Open, GateState::Parked),
        change(50, GateState::Broken, GateState::Open),
        change(500, GateState::Open, GateState::Broken),
    ];
    let seen = |changes: &[GateChange], state, since| {
        let bands = frame().bands(&Past { changes: changes.to_vec(), state, since });
        bands.into_iter().map(|band| format!("{} {} {}", band.x, band.width, band.state)).collect::<Vec<_>>()
    };
    assert_eq!(seen(&changes, "parked", Some(at(900))), ["90.0 10.0 parked", "0.0 50.0 broken"]);
    assert_eq!(seen(&[], "paused", Some(at(900))), ["0.0 100.0 paused"], "it was so all the time");
    // Not before the worker began, however it found the gate.
    assert_eq!(seen(&[], "paused", Some(at(30))), ["70.0 30.0 paused", "0.0 70.0 unknown"]);
    let found = [change(30, GateState::Open, GateState::Paused)];
    assert_eq!(seen(&found, "paused", Some(at(30))), ["70.0 30.0 paused", "0.0 70.0 unknown"]);
    assert_eq!(
        seen(&changes[..2], "parked", Some(at(60))),
        ["90.0 10.0 parked", "40.0 10.0 broken", "0.0 40.0 unknown"]
    );
    assert_eq!(seen(&[], "open", None), ["0.0 100.0 unknown"]);
}
