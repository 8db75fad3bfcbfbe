//! Bulk events behind live ones, with a real broker, a strict vendor and a worker that is killed.

use std::time::Duration;

use super::client::event;
use super::stage::{PX, Stage, TOKEN, until};
use crate::support::{own_node, shared_url};

#[tokio::test]
async fn bulk_goes_on_behind_live_events_and_nothing_is_lost_when_the_worker_is_killed() {
    // A tenth of room: a busy machine may count a request late.
    let mut stage = Stage::strict(&shared_url().await, 110).await;
    stage.configure(&stage.px("px", "product.#", "limits = [\"100/s\"]\nbulk = [\"import.#\"]"));
    stage.start();
    stage.ready().await;
    let client = stage.client().await;
    // Some come as bulk, some as live of a type that goes there.
    client.publish_bulk("product.old", 100_000..102_000).await;
    client.publish_all("import.contact", 200_000..200_500).await;
    until("bulk is sent", async || stage.seen(PX).distinct > 100).await;
    for (round, from) in (0..400_u64).step_by(20).enumerate() {
        client.publish_all("product.x", from..from + 20).await;
        if round == 9 {
            stage.kill().await;
            stage.start();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    until("live events do not wait", async || stage.shown("px").await["queue_ready"] == 0).await;
    let shown = stage.shown("px").await;
    assert!(shown["bulk"]["waiting"].as_u64() > Some(100), "bulk still waits: {}", shown["bulk"]);
    stage.arrived(PX, 2_900).await;
    client.holds("px", 0).await;
    client.holds("px.bulk", 0).await;
    let seen = stage.seen(PX);
    assert_eq!((client.depth("px.dead").await, seen.refused), (Some(0), 0), "the vendor's limit was kept");
    assert!(seen.duplicates <= 200, "{} duplicates", seen.duplicates);
}

#[tokio::test]
async fn a_retry_and_a_dead_letter_of_a_bulk_event_are_where_they_belong() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]\nretry = { delays = [\"1s\"] }").await;
    let client = stage.client().await;
    stage.fault(r#"{"fault":"status","status":500,"count":1}"#);
    client.publish_bulk("product.old", [1]).await;
    until("it was put off", async || client.depth("px.bulk.retry.1").await.is_some()).await;
    stage.arrived(PX, 1).await;
    assert_eq!(client.depth("px.retry.1").await, None, "no live event needed one");
    stage.fault(r#"{"fault":"status","status":400,"count":1}"#);
    client.publish_bulk("product.old", [2]).await;
    client.holds("px.dead", 1).await;
    let exported = stage.run(&["dead", "export", "px", "--all"]).await;
    assert!(exported.out.contains("x-sluice-class"), "{exported:?}");
    let shown = stage.run(&["dead", "show", "px", "e-2"]).await;
    assert!(shown.out.contains("\nclass          bulk\n"), "{shown:?}");
    // It dies again as a replayed letter, out of the destination's own queue.
    stage.fault(r#"{"fault":"status","status":400,"count":1}"#);
    let replayed = stage.run(&["dead", "replay", "px", "--all", "--yes"]).await;
    assert_eq!(replayed.code, 4, "{replayed:?}");
    client.holds("px.dead", 1).await;
    let (status, told) = stage.ask("GET", "/api/v1/destinations/px/dead/letters/e-2", Some(TOKEN), "").await;
    assert!(status == 200 && told.contains(r#""class":"bulk""#), "{told}");
    let replayed = stage.run(&["dead", "replay", "px", "--all", "--yes"]).await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    stage.arrived(PX, 2).await;
    // It is declared again, and events that come then are taken.
    client.delete_queue("px.bulk").await;
    // By then it is bound too.
    until("it is consumed again", async || client.consumers("px.bulk").await == Some(1)).await;
    client.publish_bulk("product.old", [3]).await;
    stage.arrived(PX, 3).await;
    assert_eq!(stage.stop().await, Some(0));
}

#[tokio::test]
async fn operators_pause_bulk_alone_and_the_pause_outlives_the_worker() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]").await;
    let client = stage.client().await;
    let paused = stage.run(&["pause", "px", "--bulk", "--reason", "evening"]).await;
    assert!(paused.code == 0 && paused.out.contains("px bulk: paused"), "{paused:?}");
    client.publish_bulk("product.old", 1_000..1_100).await;
    client.publish_all("product.x", 0..20).await;
    stage.arrived(PX, 20).await;
    stage.kill().await;
    stage.start();
    stage.ready().await;
    until("the next driver knows", async || stage.shown("px").await["bulk"]["paused"] == true).await;
    client.holds("px.bulk", 100).await;
    let (status, told) = stage.ask("POST", "/api/v1/destinations/px/resume?class=bulk", Some(TOKEN), "").await;
    assert_eq!(status, 200, "{told}");
    let (status, told) =
        stage.ask("PUT", "/api/v1/destinations/px/limits?class=bulk", Some(TOKEN), r#"{"limits":["20/s"]}"#).await;
    assert!(status == 200 && told.contains("\"20/s\""), "{told}");
    stage.arrived(PX, 120).await;
    let (status, told) = stage.ask("POST", "/api/v1/destinations/px/pause?class=slow", Some(TOKEN), "").await;
    assert!(status == 400 && told.contains("slow") && told.contains("bulk"), "{told}");
    let wrong = stage.run(&["limits", "px", "--bulk", "fast"]).await;
    assert!(wrong.code != 0 && wrong.err.contains("is not a limit"), "{wrong:?}");
}

#[tokio::test]
async fn what_nobody_wants_stays_bulk_when_it_is_published_again() {
    let node = own_node().await;
    let stage = Stage::at_work(&node.url(), "limits = [\"100/s\"]").await;
    let client = stage.client().await;
    assert_eq!(stage.run(&["pause", "px", "--bulk"]).await.code, 0);
    client.publish_bulk("other.old", [1]).await;
    client.holds("unrouted", 1).await;
    stage.configure(&stage.px("px", "#", "limits = [\"100/s\"]"));
    stage.signal("HUP").await;
    until("it is bound", async || stage.run(&["unrouted", "publish", "--all", "--yes"]).await.out.contains("1 of 1"))
        .await;
    client.holds("px.bulk", 1).await;
    let lines = format!("{}\n", event(7));
    let published = stage.run_with(&["publish", "--bulk", "--type", "product.old", "-"], &lines).await;
    assert_eq!(published.code, 0, "{published:?}");
    client.holds("px.bulk", 2).await;
}
