//! What is seen from outside: metrics that Prometheus takes, and secrets nowhere.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::client::{event, plain};
use super::stage::{KEY, PX, Stage, TOKEN, until};
use crate::support::shared_url;

/// A worker that has delivered, retried, dead-lettered and been refused.
async fn busy() -> Stage {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"200/s\"]").await;
    let client = stage.client().await;
    stage.fault(r#"{"fault":"status","status":429,"retry_after":1,"count":1}"#);
    stage.fault(r#"{"fault":"status","status":500,"count":1}"#);
    client.publish_all("product.x", 0..20).await;
    client.publish("product.x", "{", plain()).await;
    // What a vendor echoes must not come out either.
    stage.arrived(PX, 20).await;
    stage.fault(&format!(r#"{{"fault":"status","status":400,"count":1,"body":"bad key {KEY} of ann@example.com"}}"#));
    client.publish("product.x", event(99).to_string(), plain()).await;
    client.holds("px.dead", 2).await;
    stage
}

#[tokio::test]
async fn prometheus_takes_the_metrics() {
    let stage = busy().await;
    let (status, text) = stage.get("/metrics").await;
    assert_eq!(status, 200);
    for part in
        ["sluice_delivered_total{destination=\"px\"} 20\n", "process_resident_memory_bytes", "sluice_build_info"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match command.spawn() {
        Ok(promtool) => promtool,
        Err(error) if std::env::var_os("CI").is_none() => {
            println!("skipped: promtool cannot be run ({error}); install it with: apt-get install prometheus");
            return;
        }
        Err(error) => panic!("promtool cannot be run: {error}"),
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = promtool.wait_with_output().await.unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[tokio::test]
async fn secrets_and_addresses_come_out_nowhere() {
    let mut stage = busy().await;
    let client = stage.client().await;
    client.publish("product.ann@example.com", event(100).to_string(), plain()).await;
    until("an event of a type with an address in it is delivered", async || {
        stage.log().lines().filter(|line| line.contains("\"outcome\":\"delivered\"")).count() == 21
    })
    .await;
    let mut shown = vec![stage.get("/metrics").await.1, stage.get("/api/v1/destinations").await.1];
    for arguments in [&["status"][..], &["status", "--json"], &["check"], &["check", "--live"]] {
        let ran = stage.run(arguments).await;
        shown.extend([ran.out, ran.err]);
    }
    let letters = client.drain("px.dead").await;
    assert!(
        letters.iter().any(|letter| letter.header("x-sluice-sentence").is_some_and(|said| said.contains("bad key")))
    );
    shown.extend(letters.iter().map(|letter| format!("{:?}", letter.properties)));
    assert_eq!(stage.stop().await, Some(0));
    let log = stage.log();
    assert!(log.contains("\"outcome\":\"delivered\"") && log.contains("\"outcome\":\"dead_lettered\""), "{log}");
    shown.push(log);
    for text in shown {
        for secret in [KEY, TOKEN, "guest:guest", "ann@example.com"] {
            assert!(!text.contains(secret), "{secret} is in\n{text}");
        }
    }
}

#[tokio::test]
async fn a_finished_delivery_is_one_line_of_the_log() {
    let stage = busy().await;
    let delivered = || stage.log().lines().filter(|line| line.contains("\"outcome\":\"delivered\"")).count();
    until("20 lines", async || delivered() == 20).await;
    let log = stage.log();
    let line = log.lines().find(|line| line.contains("\"outcome\":\"delivered\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    for field in ["destination", "event.id", "event.type", "status", "ms"] {
        assert!(!line[field].is_null(), "{field} is not in {line}");
    }
}
