//! Pause, resume and limits: by command through the broker, and by the admin API.

use serde_json::json;

use super::client::Client;
use super::stage::{PX, Stage, TOKEN, until};
use crate::support::shared_url;

async fn at_work() -> (Stage, Client) {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]").await;
    let client = stage.client().await;
    (stage, client)
}

/// Paused and given events, it sends none and holds none.
async fn is_paused(stage: &Stage, client: &Client) {
    assert_eq!(stage.shown("px").await["state"], "paused");
    client.holds("px", 30).await;
    assert_eq!(stage.seen(PX).received, 0);
    assert_eq!(stage.get("/readyz").await.0, 200, "a paused destination is no fault");
}

#[tokio::test]
async fn commands_reach_the_worker_through_the_broker() {
    let (stage, client) = at_work().await;
    let paused = stage.run(&["pause", "px"]).await;
    assert_eq!((paused.code, paused.out.as_str()), (0, "px: paused\n"), "{paused:?}");
    client.publish_all("product.x", 0..30).await;
    is_paused(&stage, &client).await;
    let limited = stage.run(&["limits", "px", "40/s", "5000/day"]).await;
    assert_eq!(limited.code, 0, "{limited:?}");
    assert_eq!(stage.shown("px").await["limits"], json!(["40/s", "5000/day"]));
    let resumed = stage.run(&["resume", "px", "--json"]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&resumed.out).unwrap()["destination"], "px");
    stage.arrived(PX, 30).await;
    assert!(stage.seen(PX).busiest_second <= 41, "the new limit holds");
}

#[tokio::test]
async fn a_command_that_cannot_be_carried_out_says_why_and_exits_with_4() {
    let (mut stage, _client) = at_work().await;
    for (arguments, part) in [
        (&["pause", "nowhere"][..], "there are: px"),
        (&["resume", "nowhere"], "no destination \"nowhere\""),
        (&["limits", "px", "5/fortnight"], "\"5/fortnight\" is not a limit"),
    ] {
        let ran = stage.run(arguments).await;
        assert!(ran.code == 4 && ran.err.contains(part), "{ran:?}");
    }
    assert_eq!(stage.stop().await, Some(0));
    let ran = stage.run(&["pause", "px"]).await;
    assert!(ran.code == 4 && ran.err.contains("no worker drives \"px\""), "{ran:?}");
    let ran = stage.run(&["status"]).await;
    assert!(ran.code == 1 && ran.err.contains("is it running?"), "{ran:?}");
}

#[tokio::test]
async fn the_admin_api_pauses_resumes_and_changes_limits() {
    let (stage, client) = at_work().await;
    let act = async |method: &str, what: &str, body: &str| {
        stage.ask(method, &format!("/api/v1/destinations/{what}"), Some(TOKEN), body).await
    };
    assert_eq!(act("POST", "px/pause", "").await.0, 200);
    client.publish_all("product.x", 0..30).await;
    is_paused(&stage, &client).await;
    let (status, text) = act("PUT", "px/limits", r#"{"limits":["50/s"]}"#).await;
    assert!(status == 200 && text.contains("50/s"), "{status} {text}");
    assert_eq!(act("POST", "px/resume", "").await.0, 200);
    stage.arrived(PX, 30).await;
    for (method, what, body, expected) in [
        ("PUT", "px/limits", r#"{"limits":["much"]}"#, 422),
        ("PUT", "px/limits", "{", 400),
        ("PUT", "px/limits", r#"{"limits":[]}"#, 422),
        ("POST", "nowhere/pause", "", 404),
        ("GET", "nowhere", "", 404),
        ("GET", "px/pause", "", 405),
    ] {
        let (status, text) = act(method, what, body).await;
        assert_eq!(status, expected, "{method} {what} {body}: {text}");
        assert!(text.contains("\"detail\""), "{text}");
    }
}

/// Whether a worker, which drives or stands by, knows it as paused.
async fn is_paused_at(worker: &Stage) -> bool {
    worker.shown("px").await["state"] == "paused"
}

/// A second worker beside the stage's.
async fn another(stage: &Stage) -> Stage {
    let mut other = Stage::new(&shared_url().await).await;
    other.prefix.clone_from(&stage.prefix);
    other.configure(&other.px("px", "product.#", "limits = [\"100/s\"]"));
    other.start();
    other.ready().await;
    other
}

#[tokio::test]
async fn opposite_commands_at_two_workers_at_once_leave_both_in_the_same_state() {
    let (stage, _client) = at_work().await;
    let other = another(&stage).await;
    let act = async |at: &Stage, what: &str| {
        let path = format!("/api/v1/destinations/px/{what}");
        assert_eq!(at.ask("POST", &path, Some(TOKEN), "").await.0, 200);
    };
    for round in 0..30 {
        let (one, two) = if round % 2 == 0 { (&stage, &other) } else { (&other, &stage) };
        tokio::join!(act(one, "pause"), act(two, "resume"));
        until("both are alike", async || is_paused_at(&stage).await == is_paused_at(&other).await).await;
    }
    // And a command from the command line, which no worker gave, is later than all of these.
    for (what, paused) in [("pause", true), ("resume", false)] {
        let ran = stage.run(&[what, "px"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        for worker in [&stage, &other] {
            until(what, async || is_paused_at(worker).await == paused).await;
        }
    }
}

#[tokio::test]
async fn what_is_asked_of_one_worker_over_the_api_reaches_the_others_too() {
    let (stage, _client) = at_work().await;
    let other = another(&stage).await;
    let act = async |what: &str| {
        let (status, text) = stage.ask("POST", &format!("/api/v1/destinations/px/{what}"), Some(TOKEN), "").await;
        assert_eq!(status, 200, "{text}");
    };
    act("pause").await;
    assert_eq!(stage.shown("px").await["state"], "paused");
    other.state("px", "paused").await;
    act("resume").await;
    assert_eq!(stage.shown("px").await["state"], "open");
    until("it is resumed there too", async || !is_paused_at(&other).await).await;
}

#[tokio::test]
async fn the_api_wants_the_token_and_health_and_metrics_do_not() {
    let (stage, _client) = at_work().await;
    for token in [None, Some("wrong"), Some("")] {
        for (method, path) in [("GET", "/api/v1/destinations"), ("POST", "/api/v1/destinations/px/pause")] {
            assert_eq!(stage.ask(method, path, token, "").await.0, 401, "{method} {path} {token:?}");
        }
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(stage.ask("GET", path, token, "").await.0, 200, "{path}");
        }
    }
    assert_eq!(stage.shown("px").await["state"], "open");
}

#[tokio::test]
async fn status_shows_each_destination() {
    let (stage, client) = at_work().await;
    client.publish_all("product.x", 0..3).await;
    stage.arrived(PX, 3).await;
    until("depths are read", async || stage.shown("px").await["dead_letters_ready"] == json!(0)).await;
    let shown = stage.run(&["status"]).await;
    assert!(shown.code == 0 && shown.out.contains("px") && shown.out.contains("open"), "{shown:?}");
    let shown = stage.run(&["status", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(
        (&json["destinations"][0]["delivered"], &json["destinations"][0]["dead_letters_ready"]),
        (&json!(3), &json!(0))
    );
}
