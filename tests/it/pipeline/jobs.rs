//! Jobs: what was accepted is not yet applied, and no event ends before its job does.

use std::time::Duration;

use sluice::control::stamp::Change;
use sluice::vendors::When;

use super::account::{self, Account, accepted, done, job, rows, well, with_jobs};
use super::broker::header;
use super::vendor::{Answer, Call};
use super::{Stage, message, pass, seconds};

const FAST: &str = "limits = [\"20/s\"]";

/// Batches of up to 50, taken as jobs.
fn stage(lines: &str) -> Stage {
    let stage = Account::PLAIN.batches(50, usize::MAX, When::Always).stage(lines);
    stage.vendor.behave(with_jobs);
    stage
}

/// Takes events as jobs and answers as told when it is asked about one.
fn jobs(answer: impl Fn(&Call, u64) -> Answer + Send + 'static) -> impl FnMut(&Call) -> Answer + Send {
    move |call| match call.path.strip_prefix("/jobs/") {
        Some(name) => answer(call, rows(name)),
        None if call.path == "/events" => accepted(call),
        None => well(call),
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_acked_when_their_job_is_done_and_not_before() {
    let stage = stage(FAST);
    stage.vendor.behave(jobs(|call, rows| if call.at < seconds(60) { job("running") } else { done(rows, 0) }));
    stage.publish(0..200);
    pass(seconds(55)).await;
    assert_eq!(stage.broker.unsettled() + stage.broker.ready(), 200, "accepted is not applied");
    assert_eq!(stage.view().await.delivered, 0);
    stage.drained().await;
    assert_eq!(stage.view().await.delivered, 200);
    assert!(stage.broker.published().is_empty());
    assert!(stage.vendor.took_each_once(0..200));
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_is_sent_again_after_a_delay_and_expires_when_it_fails_for_ever() {
    let stage = stage(&format!("{FAST}\n[destinations.hook.retry]\nmax_age = \"1h\""));
    stage.vendor.behave(jobs(|call, rows| if call.at < seconds(20) { job("failed") } else { done(rows, 0) }));
    stage.publish(0..100);
    stage.drained().await;
    assert!(stage.broker.dead().is_empty());
    assert!(stage.broker.published().iter().all(|copy| copy.queue.contains(".retry.")));
    let retried = &stage.broker.published()[0].message;
    assert_eq!(header(retried, "x-sluice-job"), None, "a job that is over is not asked about again");
    assert!((0..100).all(|event| stage.vendor.taken(event) >= 2));
    stage.vendor.behave(jobs(|_, _| job("failed")));
    stage.publish([500]);
    // The delays add up to an hour and more; the one after them is of six.
    pass(seconds(12 * 3_600)).await;
    assert_eq!(stage.broker.reasons(), ["expired"]);
}

#[tokio::test(start_paused = true)]
async fn rows_that_a_job_rejected_become_dead_letters_that_name_the_job_and_the_counts() {
    let part = stage(FAST);
    part.vendor.behave(jobs(|_, rows| done(rows - 1, 1)));
    part.publish(0..10);
    part.drained().await;
    let alone = part.vendor.calls_to("/events").iter().filter(|call| call.events.len() == 1).count();
    let reasons = part.broker.reasons();
    assert_eq!(reasons.iter().filter(|reason| *reason == "partly_rejected").count(), 10 - alone);
    assert_eq!(reasons.iter().filter(|reason| *reason == "rejected").count(), alone, "of one row all is known");
    let sentences: Vec<_> =
        part.broker.dead().iter().map(|letter| header(letter, "x-sluice-sentence").unwrap().to_owned()).collect();
    assert!(sentences.iter().all(|said| said.starts_with("job ") && said.contains(" 1 rejected")), "{sentences:?}");
    let all = stage(FAST);
    all.vendor.behave(jobs(|_, rows| done(0, rows)));
    all.publish(0..10);
    all.drained().await;
    assert_eq!(all.broker.reasons(), ["rejected"; 10]);
}

#[tokio::test(start_paused = true)]
async fn a_vendor_whose_jobs_reject_everything_parks_the_destination() {
    let stage = stage(FAST);
    stage.vendor.behave(jobs(|_, rows| done(0, rows)));
    for event in 0..200 {
        stage.publish([event]);
        pass(seconds(5)).await;
    }
    assert_eq!(stage.view().await.state_name(), "parked");
    assert!(stage.broker.dead().len() <= 25, "{} dead letters", stage.broker.dead().len());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_the_vendor_does_not_know_is_unconfirmed_after_a_minute() {
    let stage = stage(FAST);
    stage.vendor.behave(jobs(|_, _| Answer::Status(404)));
    stage.publish(0..10);
    pass(seconds(55)).await;
    assert!(stage.broker.dead().is_empty(), "it may only be slow");
    stage.drained().await;
    assert_eq!(stage.broker.reasons(), ["unconfirmed"; 10]);
    assert!(stage.vendor.took_each_once(0..10), "not sent again: it may have been applied");
    assert_eq!(stage.view().await.state_name(), "open");
}

#[tokio::test(start_paused = true)]
async fn events_of_a_slow_job_wait_at_the_broker_and_are_never_sent_again() {
    let stage = stage(FAST);
    stage.vendor.behave(jobs(|call, rows| if call.at < seconds(3_000) { job("running") } else { done(rows, 0) }));
    stage.publish(0..30);
    let mut away = 0;
    for _ in 0..3_100 {
        pass(seconds(1)).await;
        away = away.max(stage.broker.retrying());
        assert!(stage.view().await.delivered == 0 || stage.vendor.now() > seconds(3_000));
    }
    assert_eq!(away, 30);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..30));
    let copies = stage.broker.published();
    assert!(copies.iter().all(|copy| copy.queue == "sluice.hook.retry.5"));
    assert!(copies.iter().all(|copy| header(&copy.message, "x-sluice-job").is_some()));
    let polls = stage.vendor.calls_to("/jobs/").len();
    assert!(polls <= 150, "{polls} questions in 50 minutes");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_ends_is_unconfirmed_at_last() {
    let stage = stage(&format!("{FAST}\n[destinations.hook.retry]\nmax_age = \"2h\""));
    stage.vendor.behave(jobs(|_, _| job("running")));
    stage.publish(0..5);
    pass(seconds(3 * 3_600)).await;
    assert_eq!(stage.broker.reasons(), ["unconfirmed"; 5]);
    assert!(stage.vendor.took_each_once(0..5));
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_jobs_to_the_next_worker_which_asks_and_does_not_send_again() {
    let mut stage = stage(FAST);
    stage.vendor.behave(jobs(|call, rows| if call.at < seconds(30) { job("running") } else { done(rows, 0) }));
    stage.publish(0..120);
    pass(seconds(5)).await;
    let ledger = stage.stop().await;
    assert_eq!(stage.broker.unsettled(), 0);
    assert_eq!(stage.broker.retrying() + stage.broker.ready(), 120);
    stage.start(&ledger);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..120));
    assert!(stage.broker.dead().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_right_after_the_sending_waits_for_the_answer_and_keeps_the_job() {
    let mut stage = stage(FAST);
    stage.vendor.behave(jobs(|_, rows| done(rows, 0)));
    stage.publish(0..100);
    while stage.vendor.count() < 2 {
        pass(Duration::from_millis(1)).await;
    }
    let ledger = stage.stop().await;
    stage.start(&ledger);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..100));
}

#[tokio::test(start_paused = true)]
async fn a_channel_lost_while_a_job_is_watched_doubles_each_event_at_most_once() {
    let stage = stage(FAST);
    stage.vendor.behave(jobs(|call, rows| if call.at < seconds(40) { job("running") } else { done(rows, 0) }));
    stage.publish(0..100);
    pass(seconds(10)).await;
    stage.broker.cut();
    stage.drained().await;
    for event in 0..100 {
        let doubts = stage.broker.doubts(event, stage.vendor.first_sent(event));
        assert!((1..=1 + doubts).contains(&stage.vendor.taken(event)), "{event}");
    }
    assert!(stage.broker.dead().is_empty());
    assert!(stage.broker.published().is_empty(), "no copy is made of what the broker sends again");
}

#[tokio::test(start_paused = true)]
async fn questions_and_events_share_the_quota_and_neither_starves() {
    let stage = Account::PLAIN.stage("limits = [\"2/s\"]");
    stage.vendor.behave(jobs(|call, rows| if call.seen < 3 { job("running") } else { done(rows, 0) }));
    stage.publish(0..200);
    pass(seconds(120)).await;
    let (events, polls) = (stage.vendor.calls_to("/events").len(), stage.vendor.calls_to("/jobs/").len());
    assert!(events >= 40 && polls >= 60, "{events} calls for events, {polls} for jobs");
    let at: Vec<Duration> = stage.vendor.calls().iter().map(|(call, _)| call.at).collect();
    assert!(at.windows(3).all(|three| three[2] - three[0] >= seconds(1)), "the questions count");
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..200));
}

#[tokio::test(start_paused = true)]
async fn trouble_with_a_question_costs_no_event_anything() {
    for trouble in [Answer::Status(503), Answer::Status(429), Answer::Reset, Answer::Hang] {
        let stage = stage(FAST);
        let down = trouble.clone();
        stage.vendor.behave(jobs(move |call, rows| if call.at < seconds(200) { down.clone() } else { done(rows, 0) }));
        stage.publish(0..100);
        stage.drained().await;
        assert!(stage.vendor.took_each_once(0..100), "{trouble:?}");
        assert!(stage.broker.dead().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_does_not_lose_a_job() {
    let stage = Account::PLAIN.batches(50, usize::MAX, When::Always).signs_in().stage(FAST);
    stage.vendor.behave(|call| match call.path.as_str() {
        "/token" => well(call),
        _ if call.at > seconds(3) && account::bearer(call) == Some(0) => Answer::Status(401),
        "/events" => accepted(call),
        path => {
            let rows = rows(path.strip_prefix("/jobs/").unwrap());
            if call.at < seconds(10) { job("running") } else { done(rows, 0) }
        }
    });
    stage.publish(0..100);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..100));
    assert_eq!(stage.vendor.calls_to("/token").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pause_longer_than_events_may_be_held_leaves_jobs_at_the_broker() {
    let stage = stage(FAST);
    stage.vendor.behave(jobs(|call, rows| if call.at < seconds(30) { job("running") } else { done(rows, 0) }));
    stage.publish(0..40);
    pass(seconds(5)).await;
    stage.change(Change::PAUSE).await;
    pass(seconds(3_600)).await;
    assert_eq!(stage.broker.unsettled(), 0, "nothing is held for an hour");
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..40));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_broker_sends_again_after_its_job_is_done_is_not_sent_again() {
    let stage = stage(FAST);
    stage.publish(0..5);
    stage.drained().await;
    stage.broker.put_returned("shop.order", message(3, true), 1);
    stage.drained().await;
    assert!(stage.vendor.took_each_once(0..5));
}

#[tokio::test(start_paused = true)]
async fn a_job_is_asked_about_soon_after_jobs_here_are_usually_done() {
    let stage = Account::PLAIN.stage("limits = [\"20/s\"]");
    let mut began = std::collections::HashMap::new();
    stage.vendor.behave(move |call| match call.path.strip_prefix("/jobs/") {
        Some(name) if call.at - began[&name.split('-').next().unwrap().parse::<usize>().unwrap()] < seconds(20) => {
            job("running")
        }
        Some(name) => done(rows(name), 0),
        None => {
            began.insert(call.before, call.at);
            accepted(call)
        }
    });
    for event in 0..20 {
        let published = stage.vendor.now();
        stage.publish([event]);
        stage.drained().await;
        let took = stage.vendor.now() - published;
        assert!(event < 8 || took < seconds(23), "job {event} of 20 s took {took:?}");
    }
}
