//! Several workers on one broker: one drives a destination, and another takes over.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use sluice::demo::ports::free_ports;
use tokio::process::{Child, Command};

use super::stage::{PX, Stage, TOKEN, send, until};
use crate::support::shared_url;

/// A second worker with the configuration of the first, but for its admin address.
pub struct Fellow {
    child: Child,
    admin: String,
    log: String,
}

impl Fellow {
    pub fn start(stage: &Stage) -> Self {
        let [port]: [u16; 1] = free_ports().unwrap();
        let admin = format!("127.0.0.1:{port}");
        let own = std::fs::read_to_string(stage.file("sluice.toml")).unwrap();
        let address = stage.admin().replace("http://", "");
        std::fs::write(stage.file(&format!("{port}.toml")), own.replace(&address, &admin)).unwrap();
        let log = std::fs::File::create(stage.file(&format!("{port}.log"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(["run", "--config", &stage.file(&format!("{port}.toml"))]).env("STAGE_TOKEN", TOKEN);
        command.env_remove("RUST_LOG").stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        let log = stage.file(&format!("{port}.log"));
        Self { child: command.spawn().unwrap(), admin: format!("http://{admin}"), log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub async fn shown(&self) -> Value {
        let url = format!("{}/api/v1/destinations/px", self.admin);
        let request = reqwest::Client::new().get(url).bearer_auth(TOKEN).timeout(Duration::from_secs(5));
        match request.send().await {
            Ok(reply) => serde_json::from_str(&reply.text().await.unwrap_or_default()).unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    async fn get(&self, path: &str) -> String {
        let request = reqwest::Client::new().get(format!("{}{path}", self.admin)).bearer_auth(TOKEN);
        request.timeout(Duration::from_secs(5)).send().await.unwrap().text().await.unwrap()
    }

    async fn page(&self, path: &str) -> String {
        page(&self.admin, path).await
    }

    async fn post(&self, path: &str) -> u16 {
        let request = reqwest::Client::new().post(format!("{}{path}", self.admin)).bearer_auth(TOKEN);
        request.timeout(Duration::from_secs(5)).send().await.unwrap().status().as_u16()
    }

    pub async fn is_ready(&self) -> bool {
        let asked = reqwest::get(format!("{}/readyz", self.admin)).await;
        asked.is_ok_and(|reply| reply.status().is_success())
    }
}

/// A page of the console, for somebody who signed in.
async fn page(admin: &str, path: &str) -> String {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let form = http.post(format!("{admin}/sign-in")).header("origin", admin);
    let form = form.header("content-type", "application/x-www-form-urlencoded").body(format!("token={TOKEN}&to=/"));
    let reply = form.send().await.unwrap();
    let cookie = reply.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = http.get(format!("{admin}{path}")).header("cookie", cookie);
    page.send().await.unwrap().text().await.unwrap()
}

/// A worker that drives, and one that stands by.
async fn two_workers(more: &str) -> (Stage, Fellow) {
    let stage = Stage::at_work(&shared_url().await, more).await;
    let fellow = Fellow::start(&stage);
    until("the second worker stands by", async || fellow.shown().await["driver"].is_string()).await;
    until("the second worker is ready", async || fellow.is_ready().await).await;
    (stage, fellow)
}

#[tokio::test]
async fn a_driver_that_is_killed_is_followed_by_the_worker_that_stands_by_and_nothing_is_lost() {
    let (mut stage, fellow) = two_workers("limits = [\"100/s\"]").await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..300).await;
    stage.arrived(PX, 50).await;
    assert_eq!(fellow.shown().await["drives"], false, "one drives");
    stage.kill().await;
    stage.arrived(PX, 300).await;
    assert_eq!(fellow.shown().await["state"], "open");
    until("all is acked", async || client.depth("px").await == Some(0)).await;
    let duplicates = stage.seen(PX).duplicates;
    assert!(duplicates <= 40, "no more than what was in flight is sent twice, not {duplicates}");
}

#[tokio::test]
async fn a_driver_that_stops_hands_over_and_nothing_is_sent_twice() {
    let (mut stage, fellow) = two_workers("limits = [\"100/s\"]").await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..300).await;
    stage.arrived(PX, 50).await;
    assert_eq!(stage.stop().await, Some(0));
    stage.arrived(PX, 300).await;
    until("all is acked", async || client.depth("px").await == Some(0)).await;
    assert_eq!(stage.seen(PX).duplicates, 0);
    assert_eq!(fellow.shown().await["state"], "open");
}

#[tokio::test]
async fn a_driver_that_was_stopped_for_a_while_sends_nothing_once_another_drives() {
    let (stage, fellow) = two_workers("limits = [\"50/s\"]").await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..100).await;
    stage.arrived(PX, 10).await;
    stage.signal("STOP").await;
    // The broker hangs up on it, and the other one drives.
    until("the other drives", async || fellow.shown().await["drives"] == true).await;
    client.publish_all("product.x", 100..300).await;
    stage.arrived(PX, 150).await;
    stage.signal("CONT").await;
    stage.arrived(PX, 300).await;
    until("all is acked", async || client.depth("px").await == Some(0)).await;
    until("the first stands by", async || stage.shown("px").await["driver"].is_string()).await;
}

#[tokio::test]
async fn a_worker_that_stands_by_tells_of_all_and_takes_commands_for_all() {
    let (stage, fellow) = two_workers("limits = [\"100/s\"]").await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..30).await;
    stage.arrived(PX, 30).await;
    until("what was delivered is told", async || fellow.shown().await["delivered"] == 30).await;
    let shown = fellow.shown().await;
    assert_eq!((shown["state"].as_str(), shown["drives"].as_bool()), (Some("open"), Some(false)), "{shown:#}");
    assert!(shown["driver"].is_string() && shown["as_of"].is_string(), "{shown:#}");
    for path in ["/", "/destinations/px"] {
        let page = fellow.page(path).await;
        assert!(page.contains(shown["driver"].as_str().unwrap()), "it says who drives: {page}");
    }
    assert!(fellow.page("/destinations/px").await.contains("e-29"), "and what happened lately");
    let series = "sluice_delivered_total{destination=\"px\"}";
    assert!(
        stage.metric(series).await.is_some() && !fellow.get("/metrics").await.contains(series),
        "one worker shows it"
    );
    assert_eq!(fellow.post("/api/v1/destinations/px/pause").await, 200);
    assert_eq!(fellow.shown().await["state"], "paused", "at once");
    stage.state("px", "paused").await;
    assert_eq!(fellow.post("/api/v1/destinations/px/resume").await, 200);
    stage.state("px", "open").await;
    until("the driver has told", async || fellow.shown().await["state"] == "open").await;
}

#[tokio::test]
async fn a_worker_of_a_version_before_the_lease_keeps_its_events_until_it_is_stopped() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"20/s\"]").await;
    stage.stop().await;
    let (client, old) = (stage.client().await, stage.client().await);
    // As if no worker with a lease had ever been there.
    client.delete_queue("px.lease").await;
    let mut consumer = old.consume("px").await;
    stage.start();
    let tells = async || stage.shown("px").await["why"].as_str().is_some_and(|why| why.contains("has no lease"));
    until("it tells for whom it waits", tells).await;
    client.publish_to("px", br#"{"identifyId":"u-1","eventName":"e"}"#).await;
    consumer.next().await.unwrap().unwrap();
    assert_eq!((stage.get("/readyz").await.0, stage.seen(PX).received), (503, 0));
    old.leave().await;
    stage.ready().await;
    stage.arrived(PX, 1).await;
}

#[tokio::test]
async fn a_pause_and_the_limits_of_an_operator_outlive_the_driver() {
    let (mut stage, fellow) = two_workers("limits = [\"100/s\"]").await;
    assert_eq!(stage.run(&["limits", "px", "7/s"]).await.code, 0);
    assert_eq!(stage.run(&["pause", "px"]).await.code, 0);
    stage.kill().await;
    send("KILL", &fellow.child).await;
    stage.start();
    until("it drives", async || stage.shown("px").await["drives"] == true).await;
    let shown = stage.shown("px").await;
    assert_eq!((shown["state"].as_str(), &shown["limits"][0]), (Some("paused"), &Value::from("7/s")));
    assert_eq!(stage.run(&["resume", "px"]).await.code, 0);
    stage.state("px", "open").await;
}

#[tokio::test]
async fn a_days_budget_is_not_exceeded_though_drivers_are_killed() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\", \"250/day\"]").await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..300).await;
    for part in 1..=3 {
        stage.arrived(PX, part * 40).await;
        stage.kill().await;
        stage.start();
    }
    until("the budget is spent", async || stage.shown("px").await["day_used"] == 250).await;
    let shown = stage.shown("px").await;
    assert_eq!(shown["why"], "the day budget of 250 is used up; it starts again at midnight UTC", "{shown:#}");
    let seen = stage.seen(PX).received;
    assert!((235..=250).contains(&seen), "each kill wastes what was booked at most: {seen} were sent");
}

#[tokio::test]
async fn what_is_no_note_stops_a_destination_with_a_sentence_and_costs_no_event() {
    let mut stage = Stage::at_work(&shared_url().await, "").await;
    assert_eq!(stage.stop().await, Some(0));
    let client = stage.client().await;
    client.publish_to("px.lease", br#"{"format": 99}"#).await;
    client.publish_all("product.x", 0..5).await;
    stage.start();
    until("it is told", async || stage.log().contains("the note in the lease queue has format 99")).await;
    assert_ne!(stage.get("/readyz").await.0, 200);
    let why = "no worker drives it: the note in the lease queue has format 99";
    until("the status says why", async || stage.run(&["status", "--json"]).await.out.contains(why)).await;
    assert_eq!((stage.seen(PX).received, client.depth("px").await), (0, Some(5)));
    assert_eq!(stage.run(&["lease", "reset", "px", "--yes"]).await.code, 0);
    stage.arrived(PX, 5).await;
}

/// An Act-On destination, which signs in and keeps its token in the ledger.
const ACTON: &str = "[destinations.acton]\nvendor = \"act-on\"\nbase_url = \"SANDBOX\"\nclient_id = \"sandbox\"\n\
    client_secret = \"sandbox\"\nusername = \"sandbox\"\npassword = \"sandbox\"\nsubscribe = [\"webinar.#\"]\n\
    createlistingentry = true\n[[destinations.acton.map]]\ntype = \"#\"\ndestination = \"Webinars\"\n\
    customeventaction = \"CUSTOM_ATTENDED\"\nemail = \"ada@example.com\"\ntitle = \"Growth\"\n";

#[tokio::test]
async fn tokens_sealed_with_another_key_stop_a_destination_and_whoever_asks_is_told_which_command_helps() {
    let mut stage = Stage::new(&shared_url().await).await;
    stage.broker = "ledger_key = { env = \"LEDGER_KEY\" }";
    stage.environment = vec![("LEDGER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned())];
    stage.configure(ACTON);
    stage.start();
    stage.ready().await;
    let client = stage.client().await;
    client.publish_all("webinar.x", 0..1).await;
    until("it is delivered", async || stage.shown("acton").await["delivered"] == 1).await;
    assert_eq!(stage.stop().await, Some(0));
    stage.environment = vec![("LEDGER_KEY", "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned())];
    client.publish_all("webinar.x", 1..3).await;
    stage.start();

    let why = "the tokens in the lease queue are sealed with another key than this worker's [broker] ledger_key";
    let help = "run `sluice lease reset acton`";
    let tells = |text: &str| text.contains(why) && text.contains(help);
    until("health says why", async || tells(&stage.run(&["health"]).await.err)).await;
    assert!(tells(&stage.log()), "{}", stage.log());
    // Whoever cannot drive leaves nothing in the queue, however often it tries: a reset would wait behind that.
    assert_eq!(stage.stop().await, Some(0));
    client.holds("acton.lease", 1).await;
    stage.start();
    until("health says why again", async || tells(&stage.run(&["health"]).await.err)).await;
    for command in ["status", "status --json", "issues", "issues --json", "lease show acton"] {
        let words: Vec<&str> = command.split(' ').collect();
        until(&format!("{command} says why"), async || tells(&stage.run(&words).await.out)).await;
    }
    for path in ["/readyz", "/api/v1/destinations/acton", "/api/v1/issues"] {
        let (_, said) = stage.get(path).await;
        assert!(tells(&said), "{path}: {said}");
    }
    for path in ["/", "/destinations/acton", "/issues"] {
        let page = page(&stage.admin(), path).await.replace("&#39;", "'");
        assert!(tells(&page), "{path}: {page}");
    }
    assert_eq!(client.depth("acton").await, Some(2), "its events wait");
    assert_eq!(stage.run(&["lease", "reset", "acton", "--yes"]).await.code, 0);
    until("they are delivered", async || stage.shown("acton").await["delivered"] == 2).await;
    stage.ready().await;
    until("the issue is over", async || !tells(&stage.run(&["issues"]).await.out)).await;
}

#[tokio::test]
async fn workers_that_start_together_on_a_fresh_broker_share_its_destinations() {
    let mut stage = Stage::new(&shared_url().await).await;
    let destinations = (0..40).map(|number| stage.px(&format!("px-{number}"), &format!("product.{number}"), ""));
    stage.configure(&(destinations.collect::<String>() + &stage.px("px", "product.#", "")));
    stage.start();
    let fellows = [Fellow::start(&stage), Fellow::start(&stage)];
    stage.ready().await;
    for fellow in &fellows {
        until("every worker is ready", async || fellow.is_ready().await).await;
    }
    let drives = |list: &str| {
        let list: Value = serde_json::from_str(list).unwrap_or_default();
        list["destinations"].as_array().map_or(0, |all| all.iter().filter(|one| one["drives"] == true).count())
    };
    until("each destination is driven by one worker, and each worker drives its share", async || {
        let lists = [
            stage.get("/api/v1/destinations").await.1,
            fellows[0].get("/api/v1/destinations").await,
            fellows[1].get("/api/v1/destinations").await,
        ];
        let shares = lists.map(|list| drives(&list));
        shares.iter().sum::<usize>() == 41 && shares.iter().all(|share| (12..=15).contains(share))
    })
    .await;
}
