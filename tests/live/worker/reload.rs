//! SIGHUP: the configuration is read again under load.

use super::stage::{PX, Stage, until};
use crate::support::shared_url;

fn hook(name: &str, limit: &str) -> String {
    format!(
        "[destinations.{name}]\nvendor = \"http\"\nurl = \"SANDBOX/hook/{name}\"\nsubscribe = [\"product.#\"]\nlimits = [\"{limit}\"]\n"
    )
}

async fn reloads(stage: &Stage, outcome: &str, count: f64) {
    let name = format!("sluice_config_reloads_total{{outcome=\"{outcome}\"}}");
    until(&format!("{count} reloads {outcome}"), async || stage.metric(&name).await == Some(count)).await;
}

#[tokio::test]
async fn destinations_are_added_changed_and_removed_under_load_without_loss_or_duplicate() {
    let mut stage = Stage::new(&shared_url().await).await;
    let px = |more: &str| stage.px("px", "product.#", more);
    let [slow, fast] = [px("limits = [\"100/s\"]"), px("limits = [\"300/s\"]\nconcurrency = 8")];
    stage.configure(&(slow + &hook("stays", "150/s") + &hook("goes", "150/s")));
    stage.start();
    stage.ready().await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..600).await;
    stage.arrived(PX, 100).await;
    stage.configure(&(fast.clone() + &hook("stays", "150/s") + &hook("comes", "500/s")));
    stage.signal("HUP").await;
    reloads(&stage, "applied", 1.0).await;
    stage.ready().await;
    client.publish_all("product.x", 600..900).await;
    stage.arrived("/hook/comes", 300).await;
    stage.arrived(PX, 900).await;
    stage.arrived("/hook/stays", 900).await;
    assert_eq!(stage.shown("px").await["limits"], serde_json::json!(["300/s"]));
    assert_eq!(stage.shown("goes").await["name"], serde_json::Value::Null);
    let gone = stage.seen("/hook/goes").distinct;
    assert_eq!(client.depth("goes").await.map(u64::from), Some(900 - gone), "its events wait at the broker");
    for endpoint in [PX, "/hook/stays", "/hook/comes", "/hook/goes"] {
        assert_eq!(stage.seen(endpoint).duplicates, 0, "{endpoint}");
    }
    stage.configure(&(fast + &hook("goes", "500/s")));
    stage.signal("HUP").await;
    stage.arrived("/hook/goes", 900).await;
    assert_eq!(stage.seen("/hook/goes").duplicates, 0);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_reload() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]\ntimeout = \"1m\"").await;
    stage.fault(r#"{"fault":"hang"}"#);
    let client = stage.client().await;
    client.publish_all("product.x", 0..20).await;
    until("requests hang", async || stage.seen(PX).faulted > 5).await;
    stage.configure(&stage.px("px", "product.#", "limits = [\"100/s\"]\ntimeout = \"1m\""));
    stage.signal("HUP").await;
    until("the reload waits for it", async || stage.shown("px").await["consuming"] == false).await;
    // The stage allows a stop 12 seconds; the reload would take a minute.
    assert_eq!(stage.stop().await, Some(0));
    client.holds("px", 20).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_so() {
    let mut stage = Stage::new(&shared_url().await).await;
    let good = stage.px("px", "product.#", "limits = [\"200/s\"]");
    stage.configure(&good);
    stage.start();
    stage.ready().await;
    let client = stage.client().await;
    client.publish_all("product.x", 0..300).await;
    stage.configure(&(good.replace("limits", "limit") + &hook("comes", "0/s")));
    stage.signal("HUP").await;
    reloads(&stage, "refused", 1.0).await;
    until("the log says so", async || stage.log().contains("changes nothing")).await;
    let log = stage.log();
    assert!(log.contains("did you mean \\\\\\\"limits\\\\\\\"") || log.contains("limits"), "the log names the mend");
    assert!(
        log.contains("changes nothing") && log.contains("destinations.comes.limits"),
        "the log names every problem"
    );
    assert_eq!(stage.shown("comes").await["name"], serde_json::Value::Null);
    stage.arrived(PX, 300).await;
    assert_eq!(stage.seen(PX).duplicates, 0);
    assert_eq!(stage.shown("px").await["limits"], serde_json::json!(["200/s"]));
}

#[tokio::test]
async fn a_new_admin_token_holds_after_a_reload() {
    let stage = Stage::at_work(&shared_url().await, "").await;
    let file = stage.file("sluice.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("{ env = \"STAGE_TOKEN\" }", "\"another\"");
    std::fs::write(&file, text).unwrap();
    stage.signal("HUP").await;
    reloads(&stage, "applied", 1.0).await;
    let list = "/api/v1/destinations";
    assert_eq!(stage.ask("GET", list, Some("another"), "").await.0, 200);
    assert_eq!(stage.get(list).await.0, 401, "the old one holds no more");
}

#[tokio::test]
async fn named_tokens_read_or_act_and_are_named_in_the_log() {
    let stage = Stage::at_work(&shared_url().await, "").await;
    let file = stage.file("sluice.toml");
    let tokens = "[admin.tokens.ops]\ntoken = \"a-token-that-acts\"\nrole = \"act\"\n\
                  [admin.tokens.dashboard]\ntoken = \"a-token-that-reads\"\nrole = \"read\"\n";
    let text = std::fs::read_to_string(&file).unwrap().replace("token = { env = \"STAGE_TOKEN\" }\n", tokens);
    std::fs::write(&file, text).unwrap();
    stage.signal("HUP").await;
    reloads(&stage, "applied", 1.0).await;
    let (list, pause) = ("/api/v1/destinations", "/api/v1/destinations/px/pause");
    assert_eq!(stage.get(list).await.0, 401, "the old one holds no more");
    assert_eq!(stage.ask("GET", list, Some("a-token-that-reads"), "").await.0, 200);
    assert_eq!(stage.ask("POST", pause, Some("a-token-that-reads"), "").await.0, 403);
    assert_eq!(stage.ask("POST", pause, Some("a-token-that-acts"), "").await.0, 200);
    // The log is written a moment after the answer.
    until("the log names who paused it", async || stage.log().contains("\"who\":\"ops\"")).await;
    let shown = stage.run(&["status"]).await;
    assert!(shown.code == 0 && shown.out.contains("paused"), "{shown:?}");
}
