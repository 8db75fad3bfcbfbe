//! Events that may not be sent yet: none is early and none is lost, whatever is killed meanwhile; quiet hours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::stage::{PX, Stage, TOKEN, until};
use crate::support::{own_node, shared_url};

/// A vendor that takes its time, and remembers when each event came first.
#[derive(Clone, Default)]
struct Vendor {
    came: Arc<Mutex<BTreeMap<u64, (Timestamp, usize)>>>,
    takes: Duration,
}

impl Vendor {
    async fn start(takes: Duration) -> (Self, String) {
        let vendor = Self { takes, ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/track", listener.local_addr().unwrap());
        let router = Router::new().fallback(Self::take).with_state(vendor.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (vendor, address)
    }

    async fn take(State(vendor): State<Self>, body: String) -> StatusCode {
        let now = Timestamp::now();
        let event: Value = serde_json::from_str(&body).unwrap();
        let number = event["n"].as_u64().unwrap();
        vendor.came.lock().unwrap().entry(number).or_insert((now, 0)).1 += 1;
        tokio::time::sleep(vendor.takes).await;
        StatusCode::OK
    }

    fn count(&self) -> usize {
        self.came.lock().unwrap().len()
    }
}

fn destination(address: &str, more: &str) -> String {
    format!(
        "[destinations.hook]\nvendor = \"http\"\nurl = \"{address}\"\nlimits = [\"2000/s\"]\nsubscribe = [\"cart.#\"]\n{more}\n"
    )
}

/// A line for `sluice publish`.
fn line(number: u64, deliver_after: Timestamp) -> String {
    let event = json!({ "specversion": "1.0", "id": format!("e-{number}"), "source": "/cart", "type": "cart.left",
        "deliverafter": deliver_after.to_string(), "data": { "n": number } });
    format!("{event}\n")
}

/// Events that are due at times of their own.
struct Plan {
    begin: Timestamp,
    spread: Duration,
    events: u32,
}

impl Plan {
    fn due(&self, number: u32) -> Timestamp {
        // A prime mixes them: no order of publication is that of the times.
        let part = f64::from(number * 7_919 % self.events) / f64::from(self.events);
        self.begin + self.spread.mul_f64(part)
    }

    /// All of them, and an odd one among them: it is refused here, and published all the same.
    async fn publish(&self, stage: &Stage) {
        let mut lines: Vec<String> = (0..self.events).map(|number| line(number.into(), self.due(number))).collect();
        let odd = json!({ "specversion": "1.0", "id": "odd", "source": "/", "type": "cart.left", "deliverafter": "soon", "data": {} });
        lines.push(odd.to_string());
        let published = stage.run_with(&["publish", "-"], &lines.concat()).await;
        assert!(published.out.contains("\"deliverafter\" is \"soon\""), "{published:?}");
        let properties = super::client::plain().with_content_type("application/cloudevents+json".into());
        stage.client().await.publish("cart.left", odd.to_string(), properties).await;
    }

    /// How late each was, in seconds, of those that `are_meant`; sorted.
    fn late(&self, vendor: &Vendor, are_meant: impl Fn(Timestamp) -> bool) -> Vec<f64> {
        let came = vendor.came.lock().unwrap();
        let all = (0..self.events).map(|number| (self.due(number), came[&number.into()].0));
        let meant = all.filter(|(due, _)| are_meant(*due));
        let mut late: Vec<f64> = meant.map(|(due, came)| came.duration_since(due).as_secs_f64()).collect();
        late.sort_by(f64::total_cmp);
        late
    }
}

/// Median and 99th of a hundred.
fn told(late: &[f64]) -> String {
    let part = |part: usize| late.get(late.len() * part / 100).copied().unwrap_or(f64::NAN);
    format!("{} late by {:.3} s (median), {:.3} s (p99)", late.len(), part(50), part(99))
}

/// Publishes so many events, due within `spread` from `first` on; the worker is killed so often meanwhile, and then the broker.
async fn none_is_early_or_lost(events: u32, first: Duration, spread: Duration, kills: u32) {
    let mut node = own_node().await;
    let (vendor, address) = Vendor::start(Duration::from_millis(300)).await;
    let mut stage = Stage::new(&node.url()).await;
    stage.configure(&destination(&address, ""));
    stage.start();
    stage.ready().await;
    let plan = Plan { begin: Timestamp::now() + first, spread, events };
    plan.publish(&stage).await;
    until("most are put aside", async || {
        stage.shown("hook").await["scheduled"].as_u64() >= Some(u64::from(events) / 2)
    })
    .await;
    let step = (spread + first.saturating_sub(Duration::from_secs(3))) / (kills + 2);
    let mut disturbed = Vec::new();
    for kill in 0..=kills {
        tokio::time::sleep(step).await;
        let from = Timestamp::now();
        if kill < kills {
            stage.kill().await;
            stage.start();
        } else {
            node.kill_hard().await.unwrap();
            node.restart().await.unwrap();
        }
        stage.ready().await;
        disturbed.push(from - Duration::from_secs(1)..Timestamp::now() + Duration::from_secs(10));
    }
    until("all came", async || vendor.count() == usize::try_from(events).unwrap()).await;
    let all = plan.late(&vendor, |_| true);
    assert!(all.iter().all(|late| *late >= 0.0), "one was early: {all:?}");
    let calm = plan.late(&vendor, |due| disturbed.iter().all(|disturbed| !disturbed.contains(&due)));
    let twice = vendor.came.lock().unwrap().values().filter(|(_, times)| *times > 1).count();
    say(&format!("all: {}; while nothing was killed: {}; {twice} came twice", told(&all), told(&calm)));
    let client = stage.client().await;
    until("the odd one is a dead letter", async || client.depth("hook.dead").await == Some(1)).await;
    let seconds = (0..11).map(|power| 4_u64.pow(power).to_string());
    for queue in seconds.chain(["250ms".to_owned()]).map(|delay| format!("hook.later.{delay}")) {
        assert!(client.depth(&queue).await.unwrap_or_default() == 0, "something is left in {queue}");
    }
    assert_eq!(stage.stop().await, Some(0));
}

#[expect(
    clippy::print_stdout,
    reason = "how late they were is for whoever asks for it; the test only holds to the promises"
)]
fn say(figures: &str) {
    println!("{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn none_is_early_and_none_is_lost_though_worker_and_broker_are_killed() {
    none_is_early_or_lost(400, Duration::from_secs(6), Duration::from_secs(24), 1).await;
}

/// `cargo test --all-features --test live -- --ignored --nocapture ten_thousand`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes three minutes, and tells how late they are"]
async fn ten_thousand_due_times_through_two_kills_of_the_worker_and_one_of_the_broker() {
    none_is_early_or_lost(10_000, Duration::from_secs(20), Duration::from_secs(120), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_is_told_everywhere_and_can_be_looked_at() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]").await;
    let client = stage.client().await;
    assert_eq!(client.depth("px.later.250ms").await, None, "no event has needed it yet");
    let due = (Timestamp::now() + Duration::from_secs(7_200)).to_string();
    let event = json!({ "specversion": "1.0", "id": "in-two-hours", "source": "/", "type": "product.x", "deliverafter": due,
        "data": super::client::event(1) });
    let published = stage.run_with(&["publish", "-"], &event.to_string()).await;
    assert_eq!(published.code, 0, "{published:?}");
    until("it is put aside", async || stage.shown("px").await["scheduled"] == 1).await;
    let shown = stage.shown("px").await;
    assert_eq!(
        (&shown["waiting"], &shown["oldest_event"], &shown["queue_ready"]),
        (&json!(1), &json!(null), &json!(0))
    );
    assert_eq!(client.depth("px.later.4096").await, Some(1));
    for (metric, value) in
        [("scheduled", 1.0), ("scheduled_total", 1.0), ("waiting", 1.0), ("oldest_event_seconds", 0.0)]
    {
        assert_eq!(stage.metric(&format!("sluice_{metric}{{destination=\"px\"}}")).await, Some(value), "{metric}");
    }
    let looked = stage.run(&["waiting", "px", "--scheduled", "--json"]).await;
    let looked: Value = serde_json::from_str(&looked.out).unwrap();
    assert_eq!((&looked["events"][0]["id"], &looked["events"][0]["due"]), (&json!("in-two-hours"), &json!(due)));
    let (status, text) =
        stage.ask("POST", "/api/v1/destinations/px/waiting", Some(TOKEN), r#"{"place":"scheduled"}"#).await;
    assert!(status == 200 && text.contains("in-two-hours"), "{text}");
    // Somebody deletes the queue: that is told, and the next event makes it again.
    client.delete_queue("px.later.4096").await;
    let queue = format!("{}.px.later.4096", stage.prefix);
    until("the log says so", async || {
        stage.log().lines().any(|line| line.contains("the queue was deleted at the broker") && line.contains(&queue))
    })
    .await;
    let again = stage.run_with(&["publish", "-"], &event.to_string().replace("in-two-hours", "again")).await;
    assert_eq!(again.code, 0, "{again:?}");
    client.holds("px.later.4096", 1).await;
    assert_eq!(stage.seen(PX).events, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_hours_are_told_and_are_no_issue_and_a_reload_ends_them() {
    let (vendor, address) = Vendor::start(Duration::ZERO).await;
    let mut stage = Stage::new(&shared_url().await).await;
    let at = |hours: u64| (Timestamp::now() + Duration::from_secs(hours * 3_600)).strftime("%H:%M").to_string();
    stage.configure(&destination(&address, &format!("send_between = \"{}-{} UTC\"", at(3), at(5))));
    stage.start();
    stage.ready().await;
    let lines: String = (0..50).map(|number| line(number, Timestamp::now())).collect();
    assert_eq!(stage.run_with(&["publish", "-"], &lines).await.code, 0);
    let client = stage.client().await;
    client.holds("hook", 50).await;
    until("they are counted", async || stage.shown("hook").await["waiting"] == 50).await;
    let shown = stage.shown("hook").await;
    let quiet = format!("quiet until {} UTC", at(3));
    assert_eq!((shown["why"].as_str(), shown["state"].as_str()), (Some(quiet.as_str()), Some("open")));
    assert_eq!((&shown["oldest_event"], &shown["drained_in_seconds"]), (&json!(null), &json!(null)));
    assert_eq!(stage.metric("sluice_quiet{destination=\"hook\"}").await, Some(1.0));
    let table = stage.run(&["status"]).await;
    assert!(table.out.contains(&quiet), "{table:?}");
    let issues = stage.run(&["issues", "--json"]).await;
    assert!(!issues.out.contains("\"hook\""), "{issues:?}");
    assert_eq!(vendor.count(), 0);
    stage.configure(&destination(&address, ""));
    let reloaded = stage.run(&["reload"]).await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    until("they are sent", async || vendor.count() == 50).await;
}
