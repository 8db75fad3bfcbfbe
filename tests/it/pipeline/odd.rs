//! Odd events: what goes wrong with one of them stays with it, however slow the vendor is and however few others there are.

use std::time::Duration;

use serde_json::json;
use sluice::control::stamp::Change;
use sluice::vendors::When;

use super::account::{Account, in_ordering_key, well, with};
use super::broker::header;
use super::vendor::{Answer, Call};
use super::{Stage, pass, seconds};

/// A vendor that takes `latency` and answers the events below `odd` with `status`.
fn slow(odd: u64, status: u16, latency: Duration) -> impl Fn(&Call) -> Answer {
    move |call| Answer::slow(if call.event < odd { status } else { 201 }, latency)
}

/// How long lay between two requests for the event, at least.
fn least_gap(stage: &Stage, event: u64) -> Duration {
    let calls = stage.vendor.calls_for(event);
    calls.windows(2).map(|pair| pair[1].at - pair[0].at).min().unwrap_or(Duration::MAX)
}

#[tokio::test(start_paused = true)]
async fn one_event_whose_credentials_are_refused_among_good_ones_is_rejected_and_stops_nobody() {
    for status in [401, 403] {
        for latency in [Duration::from_millis(10), Duration::from_millis(300), Duration::from_millis(1_500)] {
            for odd in 1..4 {
                let stage = Stage::new("limits = [\"100/s\"]");
                stage.vendor.behave(slow(odd, status, latency));
                stage.publish((10..60).chain(0..odd).chain(60..210));
                for _ in 0..200 {
                    assert_ne!(stage.view().await.state_name(), "parked", "{status} {latency:?} {odd}");
                    pass(Duration::from_millis(50)).await;
                }
                assert!((10..210).all(|event| stage.vendor.taken(event) == 1), "{status} {latency:?} {odd}");
                stage.drained().await;
                assert_eq!(stage.broker.reasons(), vec!["rejected"; usize::try_from(odd).unwrap()]);
                for letter in stage.broker.dead() {
                    let said = header(&letter, "x-sluice-sentence").unwrap().to_owned();
                    assert!(
                        said.contains(&format!("answered {status}")) && said.contains("same credentials"),
                        "{said}"
                    );
                }
                for event in 0..odd {
                    assert_eq!(stage.vendor.calls_for(event).len(), 2, "{status} {latency:?} {odd}");
                    assert!(least_gap(&stage, event) >= seconds(4));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_refused_event_parks_and_the_next_one_that_comes_is_the_probe() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(slow(1, 403, Duration::from_millis(300)));
    stage.publish([0]);
    pass(seconds(40)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    assert!((3..=4).contains(&stage.vendor.count()), "{} requests in 40 s", stage.vendor.count());
    stage.publish(10..20);
    pass(seconds(2)).await;
    assert_eq!(stage.view().await.state_name(), "open");
    assert!((10..20).all(|event| stage.vendor.taken(event) == 1));
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["rejected"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_account_costs_few_requests_and_no_event_however_many_were_refused() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|_| Answer::slow(403, Duration::from_millis(300)));
    stage.publish([0]);
    pass(seconds(20)).await;
    for event in 1..6 {
        stage.publish([event]);
        pass(seconds(1)).await;
    }
    assert_eq!(stage.view().await.state_name(), "parked");
    assert!(stage.vendor.count() <= 8, "{}", stage.vendor.count());
    stage.vendor.behave(|_| Answer::Status(201));
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert!(stage.broker.dead().is_empty() && stage.broker.retrying() == 0);
    assert!((0..6).all(|event| stage.vendor.taken(event) == 1));
}

#[tokio::test(start_paused = true)]
async fn of_events_that_travel_together_only_the_refused_one_is_rejected() {
    let stage = Account::PLAIN.batches(20, usize::MAX, When::Always).idle("limits = [\"10/s\"]");
    let mut stage = stage;
    stage.vendor.behave(|call| if call.events.contains(&7) { Answer::Status(403) } else { well(call) });
    stage.publish(0..100);
    stage.start(&sluice::destination::Handover::default());
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["rejected"]);
    assert!(stage.vendor.took_each_once((0..100).filter(|event| *event != 7)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_of_a_ordering_key_stops_no_other_ordering_key() {
    let stage = Account::PLAIN.ordering_keys("100/s").stage("limits = [\"100/s\"]");
    stage.vendor.behave(|call| if call.event == 3 { Answer::Status(403) } else { well(call) });
    pass(seconds(2)).await;
    (0..40).for_each(|event| stage.broker.put("shop.order", in_ordering_key(event, event % 4)));
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["rejected"]);
    assert!(stage.vendor.took_each_once((0..40).filter(|event| *event != 3)));
}

#[tokio::test(start_paused = true)]
async fn a_403_that_says_when_to_come_again_is_a_limit() {
    for (name, value) in [("retry-after", "7"), ("ratelimit", "\"a\";r=0;t=7")] {
        let stage = Stage::new("limits = [\"100/s\"]");
        stage.vendor.behave(move |call| match call.before {
            5 => Answer::With(403, name, value.to_owned()),
            _ => Answer::Status(201),
        });
        stage.publish(0..50);
        pass(seconds(2)).await;
        assert_eq!(stage.view().await.state_name(), "throttled");
        stage.drained().await;
        assert!(stage.broker.published().is_empty());
        assert!((0..50).all(|event| stage.vendor.taken(event) == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_403_that_says_that_nothing_is_left_and_not_until_when_is_a_limit() {
    for name in ["x-ratelimit-remaining", "x-rate-limit-remaining", "ratelimit-remaining", "x-ratelimit-remaining-day"]
    {
        let stage = Stage::new("limits = [\"100/s\"]");
        stage.vendor.behave(move |call| match call.before {
            5..12 => Answer::With(403, name, "0".to_owned()),
            _ => Answer::Status(201),
        });
        stage.publish(0..20);
        for _ in 0..200 {
            assert_ne!(stage.view().await.state_name(), "parked", "{name}");
            pass(Duration::from_millis(100)).await;
        }
        stage.drained().await;
        assert!(stage.broker.dead().is_empty() && stage.vendor.took_each_once(0..20), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_alone_is_sent_again_after_its_delays_and_breaks_nothing() {
    let instant = Duration::ZERO;
    for answer in
        [Answer::slow(500, instant), Answer::slow(500, Duration::from_millis(2_600)), Answer::Hang, Answer::Reset]
    {
        for odd in 1..4 {
            let stage =
                Stage::new("limits = [\"100/s\"]\n[destinations.hook.retry]\ndelays = [\"5s\", \"30s\", \"2m\"]");
            stage.vendor.behave({
                let answer = answer.clone();
                move |call| {
                    if call.event < odd { answer.clone() } else { Answer::slow(201, Duration::from_millis(300)) }
                }
            });
            stage.publish(0..odd);
            pass(seconds(55)).await;
            for event in 0..odd {
                let calls = stage.vendor.calls_for(event).len();
                assert!((2..=3).contains(&calls), "{calls} requests for {event} in 55 s: {answer:?}");
                assert!(least_gap(&stage, event) >= seconds(4), "{answer:?}");
            }
            assert_eq!(stage.view().await.state_name(), "open", "{answer:?}");
            stage.publish(10..60);
            pass(seconds(3)).await;
            assert!((10..60).all(|event| stage.vendor.taken(event) == 1), "{answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn odd_events_of_a_stream_park_nothing_whatever_is_at_hand_when_they_are_refused() {
    for odd in [vec![70], vec![70, 120], vec![70, 71, 72]] {
        let stage = Stage::new("limits = [\"200/s\"]");
        stage.vendor.behave({
            let odd = odd.clone();
            move |call| Answer::Status(if odd.contains(&call.event) { 403 } else { 201 })
        });
        for event in 0..200 {
            stage.publish([event]);
            pass(Duration::from_millis(20)).await;
            assert_eq!(stage.view().await.state_name(), "open", "{odd:?}");
        }
        stage.drained().await;
        assert!(stage.vendor.took_each_once((0..200).filter(|event| !odd.contains(event))));
        assert_eq!(stage.broker.reasons().len(), odd.len());
        assert!(odd.iter().all(|event| stage.vendor.calls_for(*event).len() == 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_parks_after_four_requests_and_a_good_one_ends_it() {
    for count in [1, 3, 4, 200] {
        let stage = Stage::new("limits = [\"50/s\"]");
        stage.vendor.behave(|_| Answer::Status(401));
        stage.publish(0..count);
        pass(seconds(10)).await;
        assert_eq!(stage.view().await.state_name(), "parked", "{count}");
        assert!(stage.vendor.count() <= 4, "{} requests for {count} events", stage.vendor.count());
        pass(seconds(3_600)).await;
        assert!(stage.broker.dead().is_empty() && stage.broker.retrying() == 0);
        stage.vendor.behave(|_| Answer::Status(201));
        pass(seconds(30)).await;
        assert!(stage.vendor.took_each_once(0..count), "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_behind_a_wrong_key_stay_in_their_queue_and_do_not_come_and_go() {
    for count in [6, 200] {
        let stage = Stage::new("limits = [\"50/s\"]");
        stage.vendor.behave(|_| Answer::Status(401));
        stage.publish(0..count);
        pass(seconds(10)).await;
        assert_eq!(stage.view().await.state_name(), "parked", "{count}");
        let before = stage.broker.requeued();
        let probes = stage.vendor.count();
        pass(seconds(600)).await;
        let (came, probes) = (stage.broker.requeued() - before, stage.vendor.count() - probes);
        assert!(came <= 2 * probes, "{count}: {came} went back at {probes} probes");
    }
}

#[tokio::test(start_paused = true)]
async fn many_refused_events_among_good_ones_park_nothing_wherever_they_stand_and_however_slow_the_vendor_is() {
    let burst = |count: u64| (20..20 + count).collect::<Vec<_>>();
    for odd in [burst(4), burst(10), burst(19), (0..190).step_by(10).collect()] {
        for latency in [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(300), seconds(1)] {
            let stage = Stage::new("limits = [\"50/s\"]");
            stage.vendor.behave({
                let odd = odd.clone();
                move |call| Answer::slow(if odd.contains(&call.event) { 403 } else { 201 }, latency)
            });
            stage.publish(0..200);
            for _ in 0..150 {
                let view = stage.view().await;
                assert_ne!(view.state_name(), "parked", "{odd:?} {latency:?}: {}", view.why);
                pass(Duration::from_millis(100)).await;
            }
            assert!(stage.vendor.took_each_once((0..200).filter(|event| !odd.contains(event))), "{odd:?} {latency:?}");
            stage.drained().await;
            assert_eq!(stage.broker.reasons(), vec!["rejected"; odd.len()]);
            assert!(odd.iter().all(|event| stage.vendor.calls_for(*event).len() == 2), "{odd:?} {latency:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refused_events_that_travel_in_many_batches_keep_no_other_from_the_vendor() {
    for odd in [(20..30).collect::<Vec<u64>>(), (0..200).step_by(10).collect()] {
        for latency in [Duration::ZERO, Duration::from_millis(300)] {
            let mut stage = Account::PLAIN.batches(10, usize::MAX, When::Always).idle("limits = [\"50/s\"]");
            stage.vendor.behave({
                let odd = odd.clone();
                move |call| {
                    let refused = call.events.iter().any(|event| odd.contains(event));
                    Answer::slow(if refused { 403 } else { 200 }, latency)
                }
            });
            stage.publish(0..200);
            stage.start(&sluice::destination::Handover::default());
            pass(seconds(60)).await;
            assert!(stage.vendor.took_each_once((0..200).filter(|event| !odd.contains(event))), "{odd:?} {latency:?}");
            // Of what was refused last nothing else is left to tell.
            stage.publish(200..210);
            stage.drained().await;
            assert_eq!(stage.broker.reasons(), vec!["rejected"; odd.len()], "{odd:?} {latency:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_account_is_probed_with_another_event_each_time_and_a_good_one_opens_it_for_good() {
    let stage = Stage::new("limits = [\"50/s\"]");
    stage.vendor.behave(|call| Answer::Status(if call.event < 8 { 403 } else { 201 }));
    stage.publish(0..8);
    pass(seconds(2)).await;
    assert_eq!(stage.view().await.state_name(), "parked");
    stage.publish(8..200);
    pass(seconds(80)).await;
    assert_eq!(stage.view().await.state_name(), "open");
    assert!(stage.vendor.took_each_once(8..200));
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["rejected"; 8]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_at_a_slow_vendor_parks_after_what_is_in_flight_and_is_probed_every_15_s() {
    for latency in [Duration::from_millis(300), seconds(1)] {
        let stage = Stage::new("limits = [\"50/s\"]");
        stage.vendor.behave(move |_| Answer::slow(401, latency));
        stage.publish(0..200);
        pass(seconds(5)).await;
        assert_eq!(stage.view().await.state_name(), "parked", "{latency:?}");
        let parked = stage.vendor.count();
        assert!(parked <= 4 + 50, "{parked}");
        pass(seconds(3_600)).await;
        let probes = stage.vendor.count() - parked;
        assert!((200..=240).contains(&probes), "{probes} in an hour");
        assert!(stage.broker.dead().is_empty() && stage.broker.retrying() == 0);
        stage.vendor.behave(|_| Answer::Status(201));
        stage.drained().await;
        assert!(stage.broker.dead().is_empty() && stage.vendor.took_each_once(0..200), "{latency:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_else_is_at_hand_a_request_that_tries_the_credentials_tells() {
    for (status, parks) in [(200, false), (404, false), (401, true), (403, true)] {
        let stage = Account::PLAIN.checks().stage("limits = [\"50/s\"]");
        stage.vendor.behave(move |call| match (call.path.as_str(), call.event) {
            ("/me", _) => Answer::Status(status),
            (_, 0) => Answer::Status(403),
            _ => well(call),
        });
        stage.publish([0]);
        pass(seconds(7)).await;
        assert_eq!(stage.view().await.state_name() == "parked", parks, "{status}");
        assert_eq!(stage.vendor.calls_to("/me").len(), 1, "{status}");
        assert_eq!(stage.vendor.calls_for(0).len(), 1, "{status}");
        if !parks {
            stage.drained().await;
            assert_eq!(stage.broker.reasons(), ["rejected"]);
            assert_eq!(stage.vendor.calls_for(0).len(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_of_the_credentials_that_tells_nothing_parks_and_is_repeated() {
    for answer in [Answer::Status(500), Answer::Status(429), Answer::Hang] {
        let stage = Account::PLAIN.checks().stage("limits = [\"50/s\"]");
        stage.vendor.behave(move |call| if call.path == "/me" { answer.clone() } else { Answer::Status(401) });
        stage.publish([0]);
        pass(seconds(120)).await;
        assert_eq!(stage.view().await.state_name(), "parked");
        assert!((2..=12).contains(&stage.vendor.count()), "{} requests", stage.vendor.count());
        stage.vendor.behave(well);
        stage.drained().await;
        assert!(stage.broker.dead().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_whose_credentials_are_refused_holds_up_nothing_but_what_needs_it() {
    let stage = Account::PLAIN.stage("limits = [\"50/s\"]");
    stage.vendor.behave(|call| if call.path == "/lookups/secret" { Answer::Status(403) } else { well(call) });
    for event in 0..100 {
        stage.publish([event]);
        if event == 20 {
            stage.broker.put("shop.order", with(1_000, &json!({ "needs": "secret" })));
        }
        pass(Duration::from_millis(50)).await;
        assert_eq!(stage.view().await.state_name(), "open");
    }
    assert!(stage.vendor.took_each_once(0..100));
    assert_eq!(stage.broker.retrying(), 1, "it is tried again later");
    stage.vendor.behave(well);
    stage.drained().await;
    assert_eq!(stage.vendor.taken(1_000), 1);
}

#[tokio::test(start_paused = true)]
async fn one_event_that_is_always_answered_429_or_503_with_a_wait_slows_nobody_for_long() {
    for (status, wait) in [(429, "1"), (503, "1"), (429, "10"), (503, "10")] {
        let stage = Stage::new("limits = [\"50/s\"]");
        stage.vendor.behave(move |call| match call.event {
            0 => Answer::With(status, "retry-after", wait.to_owned()),
            _ => Answer::Status(201),
        });
        stage.publish(0..8_000);
        pass(seconds(140)).await;
        let taken = stage.vendor.deliveries().len();
        assert!(taken >= 5_500, "{status} {wait}: {taken} of 7,000 that the pace allows");
        assert!(stage.vendor.calls_for(0).len() <= 6, "{status} {wait}: {}", stage.vendor.calls_for(0).len());
        stage.vendor.behave(|_| Answer::Status(201));
        stage.drained().await;
        assert_eq!(stage.vendor.taken(0), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_after_any_closing_leads_to_one_probe_at_once_and_then_to_the_full_pace() {
    let day = || "86400".to_owned();
    let closings = [
        ("throttled", Answer::With(429, "retry-after", day())),
        ("throttled", Answer::With(403, "retry-after", day())),
        ("throttled", Answer::With(201, "ratelimit", "\"a\";r=0;t=3600".to_owned())),
        ("broken", Answer::With(503, "retry-after", day())),
        ("broken", Answer::Refuse),
        ("parked", Answer::Status(401)),
        ("parked", Answer::Status(400)),
    ];
    for (state, answer) in closings {
        let stage = Stage::new("limits = [\"100/s\"]");
        stage.vendor.behave({
            let answer = answer.clone();
            move |call| if call.before < 5 { Answer::Status(201) } else { answer.clone() }
        });
        stage.publish(0..300);
        pass(seconds(400)).await;
        assert_eq!(stage.view().await.state_name(), state, "{answer:?}");
        // Answered slowly, so that a second one beside it would be seen.
        stage.vendor.behave(|_| Answer::slow(201, Duration::from_millis(500)));
        let before = stage.vendor.count();
        stage.change(Change::Resume).await;
        pass(Duration::from_millis(400)).await;
        let probes = stage.vendor.count() - before;
        assert_eq!(probes, 1, "{answer:?}");
        pass(seconds(6)).await;
        assert_eq!(stage.view().await.state_name(), "open", "{answer:?}");
        assert!(stage.broker.is_drained(), "{answer:?}: {:?}", stage.view().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_slows_the_pace_only_once_little_of_it_is_left() {
    for (said, slows) in
        [("limit=5000, remaining=4999, reset=3600", false), ("limit=5000, remaining=20, reset=3600", true)]
    {
        let stage = Stage::new("limits = [\"100/s\"]");
        stage.vendor.behave(move |_| Answer::With(201, "ratelimit", said.to_owned()));
        stage.publish(0..60);
        pass(seconds(2)).await;
        assert_eq!(stage.vendor.deliveries().len() < 60, slows, "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_forgets_a_reset_that_was_sent_by_mistake() {
    let stage = Stage::new("limits = [\"100/s\"]");
    stage.vendor.behave(|call| match call.before {
        5 => Answer::With(201, "ratelimit", "\"a\";r=0;t=3600".to_owned()),
        _ => Answer::Status(201),
    });
    stage.publish(0..100);
    pass(seconds(60)).await;
    assert_eq!(stage.view().await.state_name(), "throttled");
    stage.change(Change::Resume).await;
    pass(seconds(3)).await;
    assert!(stage.broker.is_drained());
    assert_eq!(stage.view().await.state_name(), "open");
}

#[tokio::test(start_paused = true)]
async fn one_event_that_is_refused_with_a_wait_holds_the_others_up_for_that_wait_alone() {
    for (status, latency) in [(429, 10), (429, 300), (503, 10), (503, 300)] {
        let stage = Stage::new("limits = [\"100/s\"]");
        stage.vendor.behave(move |call| match call.event {
            0 => Answer::With(status, "retry-after", "10".to_owned()),
            _ => Answer::slow(201, Duration::from_millis(latency)),
        });
        stage.publish((1..20).chain([0]).chain(20..200));
        pass(seconds(15)).await;
        let taken = (1..200).filter(|event| stage.vendor.taken(*event) == 1).count();
        assert_eq!(taken, 199, "{status} {latency}");
        assert!(stage.vendor.calls_for(0).len() <= 2, "{status} {latency}");
        stage.vendor.behave(well);
        stage.drained().await;
        assert_eq!(stage.vendor.taken(0), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_event_that_is_refused_with_a_short_wait_takes_its_own_delays() {
    for status in [429, 503] {
        let stage = Stage::new("limits = [\"100/s\"]");
        stage.vendor.behave(move |_| Answer::With(status, "retry-after", "1".to_owned()));
        stage.publish([0]);
        pass(seconds(60)).await;
        assert!((3..=5).contains(&stage.vendor.count()), "{status}: {} requests in 60 s", stage.vendor.count());
        stage.vendor.behave(well);
        stage.drained().await;
        assert_eq!(stage.vendor.taken(0), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn many_odd_events_in_one_burst_are_rejected_and_park_nothing() {
    for status in [401, 403] {
        let stage = Stage::new("limits = [\"100/s\"]");
        stage.vendor.behave(slow(40, status, Duration::from_millis(300)));
        stage.publish((100..150).chain(0..40).chain(150..200));
        for _ in 0..300 {
            assert_ne!(stage.view().await.state_name(), "parked", "{status}");
            pass(Duration::from_millis(100)).await;
        }
        stage.drained().await;
        assert_eq!(stage.broker.reasons(), vec!["rejected"; 40], "{status}");
        assert!((100..200).all(|event| stage.vendor.taken(event) == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_at_each_retry_closes_the_gate_for_its_wait_twice_at_most() {
    for status in [429, 503] {
        let stage = Stage::new("limits = [\"100/s\"]");
        stage.vendor.behave(move |call| match call.event {
            0 => Answer::With(status, "retry-after", "10".to_owned()),
            _ => Answer::Status(201),
        });
        stage.publish([0]);
        for event in 1..3_000 {
            stage.publish([event]);
            pass(Duration::from_millis(100)).await;
        }
        stage.vendor.behave(well);
        stage.drained().await;
        let at: Vec<Duration> = stage.vendor.calls().iter().map(|(call, _)| call.at).collect();
        let gaps = at.windows(2).filter(|pair| pair[1] < seconds(300) && pair[1] - pair[0] > seconds(5));
        let gaps: Vec<_> = gaps.map(|pair| pair[0]).collect();
        let odd: Vec<_> = stage.vendor.calls_for(0).iter().map(|call| call.at).collect();
        assert!(gaps.len() <= 2, "{status}: the gate was closed at {gaps:?}; the odd one was sent at {odd:?}");
        assert!(stage.vendor.calls_for(0).len() >= 4, "{status}: {}", stage.vendor.calls_for(0).len());
    }
}
