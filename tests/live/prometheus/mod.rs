//! The real Prometheus scrapes a worker that has seen everything: each expression of the rules, the dashboard and the runbook
//! speaks of series that are there, so that a name or label that is mistyped, or was renamed, does not go unnoticed.

mod expressions;
pub mod server;

use sluice::sandbox::{HookClient, HookSettings};

use crate::support::shared_url;
use crate::worker::client::{event, plain};
use crate::worker::stage::{PX, Stage, until};
use expressions::Expression;
use server::Prometheus;

const SKIPPED: &str = "skipped: there is no Prometheus; install it with: apt-get install prometheus";
/// The destination that a dashboard would show in full: tokens, a day budget, batches.
const HOOK: &str = "[destinations.hook]\nvendor = \"http\"\nurl = \"SANDBOX/hook/a\"\nsubscribe = [\"order.#\"]\n\
    limits = [\"200/s\", \"100000/day\"]\nbatch_max = 5\n\
    [destinations.hook.oauth]\ntoken_url = \"SANDBOX/hook-oauth/token\"\nclient_id = \"sandbox\"\nclient_secret = \"sandbox\"\n";

/// A worker with one destination at work and one that is paused, scraped before anything happens: counters are seen to rise.
async fn scraped() -> (Stage, Prometheus) {
    let hook = HookSettings { oauth: Some(HookClient::new("sandbox", "sandbox")), ..HookSettings::default() };
    let mut stage = Stage::with_hook(&shared_url().await, hook).await;
    stage.broker = "receipts = true\n";
    stage.configure(&(stage.px("px", "product.#", "") + HOOK + "[history]\nkeep = \"1h\"\n"));
    stage.start();
    stage.ready().await;
    let prometheus = Prometheus::start(&stage.admin()).await;
    until("the worker is scraped", async || prometheus.has("sluice_dead_lettered_total{destination=\"hook\"}").await)
        .await;
    (stage, prometheus)
}

/// What makes every series exist: deliveries, a retry, refusals, trouble, dead letters that are replayed, a pause, a bad file.
async fn everything_happens(stage: &mut Stage) {
    let client = stage.client().await;
    stage.fault(r#"{"fault":"status","status":429,"retry_after":1,"count":1,"path":"/hook/a"}"#);
    stage.fault(r#"{"fault":"status","status":500,"count":1,"path":"/hook/a"}"#);
    client.publish_all("order.paid", 0..40).await;
    stage.arrived("/hook/a", 1).await;
    client.publish_bulk("order.paid", 200..220).await;
    client.publish_all("product.x", 100..110).await;
    stage.arrived(PX, 10).await;
    client.publish("order.paid", "{", plain()).await;
    client.publish("nobody.wants", event(1).to_string(), plain()).await;
    client.holds("hook.dead", 1).await;
    assert_eq!(stage.run(&["dead", "replay", "hook", "--all", "--yes"]).await.code, 4, "it dies again");
    client.holds("hook.dead", 1).await;
    assert_eq!(stage.run(&["pause", "px"]).await.code, 0);
    let good = std::fs::read_to_string(stage.file("sluice.toml")).unwrap();
    std::fs::write(stage.file("sluice.toml"), good.clone() + "colour = \"blue\"\n").unwrap();
    stage.signal("HUP").await;
    until("the bad file is refused", async || stage.log().contains("is refused and changes nothing")).await;
    std::fs::write(stage.file("sluice.toml"), good).unwrap();
    client.publish_all("order.paid", 40..60).await;
}

#[tokio::test]
async fn every_expression_of_rules_dashboard_and_runbook_finds_its_series() {
    if !server::is_installed() {
        println!("{SKIPPED}");
        return;
    }
    let (mut stage, prometheus) = scraped().await;
    everything_happens(&mut stage).await;

    let mut unanswered: Vec<Expression> = expressions::all();
    assert!(unanswered.len() > 150, "{}", unanswered.len());
    let answered = async {
        while !unanswered.is_empty() {
            let mut left = Vec::new();
            for expression in unanswered.drain(..) {
                if !prometheus.has(&expression.query).await {
                    left.push(expression);
                }
            }
            unanswered = left;
            tokio::time::sleep(server::SCRAPED_EVERY).await;
        }
    };
    let in_time = tokio::time::timeout(crate::support::LONG * 2, answered).await;
    assert!(in_time.is_ok(), "no data for {unanswered:#?}");

    for rule in prometheus.rules().await {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
}

#[tokio::test]
async fn a_dead_letter_becomes_an_alert_that_names_its_destination_and_its_runbook_entry() {
    if !server::is_installed() {
        println!("{SKIPPED}");
        return;
    }
    let (stage, prometheus) = scraped().await;
    stage.client().await.publish("order.paid", "{", plain()).await;
    // It fires when it has been so for a minute.
    let pending = r#"ALERTS{alertname="SluiceDeadLetters",destination="hook"}"#;
    until("the alert", async || prometheus.has(pending).await).await;
    let alerts = prometheus.alerts().await;
    let alert = alerts.iter().find(|alert| alert["labels"]["alertname"] == "SluiceDeadLetters").unwrap();
    assert_eq!(alert["annotations"]["summary"], "hook has 1 dead letter that nobody looks after");
    assert_eq!(alert["annotations"]["runbook_url"], "docs/runbook.md#sluicedeadletters");
    assert_eq!(alert["annotations"]["console"], "/destinations/hook/dead");
    let pages = alerts.iter().filter(|alert| alert["labels"]["severity"] == "page" && alert["state"] == "firing");
    assert_eq!(pages.count(), 0, "nobody is woken: {alerts:#?}");
}
