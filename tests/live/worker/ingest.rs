//! Events over HTTP: what curl is told, and what a 202 is worth.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluice::demo::ports::free_ports;
use tokio::process::Command;

use super::stage::{PX, Stage, until};
use crate::support::{own_node, shared_url};

const TOKEN: &str = "token-of-the-shop";
/// `whsec_` and the base64 of 24 bytes.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A worker that takes events over HTTP, with these lines below its `[ingest]`, and the URL.
async fn taking(url: &str, more: &str) -> (Stage, String) {
    let mut stage = Stage::new(url).await;
    let [port] = free_ports().unwrap();
    stage.configure(&format!("{}[ingest]\nlisten = \"127.0.0.1:{port}\"\n{more}", stage.px("px", "product.#", "")));
    stage.start();
    stage.ready().await;
    (stage, format!("http://127.0.0.1:{port}/v1/events"))
}

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/shop", "type": "product.paid",
        "data": { "identifyId": "u-1", "eventName": "Paid" } })
}

/// Runs curl: the status, the value of `Retry-After`, and the body.
async fn curl(url: &str, arguments: &[&str]) -> (u16, String, Value) {
    let form = "\n%{http_code} %header{retry-after}";
    let ran = Command::new("curl").args(["-sS", "-w", form]).args(arguments).arg(url).output().await.unwrap();
    let out = String::from_utf8(ran.stdout).unwrap();
    let (body, told) = out.rsplit_once('\n').unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
    let (status, again) = told.split_once(' ').unwrap();
    (status.parse().unwrap(), again.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn curl_publishes_in_every_form_and_is_told_what_is_wrong() {
    let (stage, url) = taking(&shared_url().await, "").await;
    let structured = event("a").to_string();
    let (status, _, answer) =
        curl(&url, &["-H", "content-type: application/cloudevents+json", "-d", &structured]).await;
    assert_eq!((status, &answer["results"][0]["published"]), (202, &json!(true)), "{answer}");
    let binary = [
        "ce-specversion: 1.0",
        "ce-id: b",
        "ce-source: /shop",
        "ce-type: product.paid",
        "content-type: application/json",
    ];
    let headers: Vec<&str> = binary.iter().flat_map(|header| ["-H", *header]).collect();
    let (status, ..) = curl(&url, &[&headers[..], &["-d", &event("b")["data"].to_string()]].concat()).await;
    assert_eq!(status, 202);
    let lines = format!("{}\n{}\n", event("c"), event("d"));
    let (status, ..) = curl(&url, &["-H", "content-type: application/x-ndjson", "--data-binary", &lines]).await;
    assert_eq!(status, 202);
    let mut bad = event("bad");
    bad.as_object_mut().unwrap().remove("type");
    let batch = json!([event("e"), bad]).to_string();
    let (status, _, answer) = curl(&url, &["-H", "content-type: application/json", "-d", &batch]).await;
    assert_eq!(
        (status, &answer["results"][1]["id"], &answer["results"][1]["field"]),
        (400, &json!("bad"), &json!("type"))
    );
    let (status, _, answer) = curl(&url, &["-H", "content-type: text/plain", "-d", "x"]).await;
    assert!(status == 415 && answer["detail"].as_str().unwrap().contains("text/plain"), "{answer}");
    stage.arrived(PX, 5).await;
    let taken = stage.metric("sluice_ingest_requests_total{class=\"2xx\",token=\"local\"}").await;
    assert_eq!(taken, Some(3.0));
    let (status, _, document) = curl(&url.replace("/v1/events", "/openapi.json"), &[]).await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
}

#[tokio::test]
async fn tokens_and_signatures_are_checked_and_changed_by_a_reload() {
    let tokens = |shop: &str| {
        format!(
            "[ingest.tokens.shop]\ntoken = \"{shop}\"\ntypes = [\"product.paid\"]\nsources = [\"/shop\"]\nrate = \"20/min\"\n\
             [ingest.tokens.hooks]\nsecret = \"{SECRET}\"\n"
        )
    };
    let (stage, url) = taking(&shared_url().await, &tokens(TOKEN)).await;
    let publish = async |id: &str, token: &str| {
        let (kind, bearer) = ("content-type: application/cloudevents+json", format!("authorization: Bearer {token}"));
        curl(&url, &["-H", kind, "-H", &bearer, "-d", &event(id).to_string()]).await
    };
    assert_eq!((publish("a", TOKEN).await.0, publish("a", "wrong").await.0), (202, 401));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (at, body, expected) in [(now, event("s"), 202), (now - 400, event("s"), 401)] {
        let (body, at) = (body.to_string(), at.to_string());
        let script =
            "printf %s \"msg_1.$AT.$BODY\" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$KEY -binary | base64";
        let key = "31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0";
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("AT", &at).env("BODY", &body).env("KEY", key);
        let signature = String::from_utf8(command.output().await.unwrap().stdout).unwrap();
        let headers = [
            "content-type: application/cloudevents+json".to_owned(),
            "webhook-id: msg_1".to_owned(),
            format!("webhook-timestamp: {at}"),
            format!("webhook-signature: v1,{}", signature.trim()),
        ];
        let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header.as_str()]).collect();
        let (status, _, answer) = curl(&(url.clone() + "/hooks"), &[&headers[..], &["-d", &body]].concat()).await;
        assert_eq!(status, expected, "{answer}");
    }
    let sluice_toml = std::fs::read_to_string(stage.file("sluice.toml")).unwrap();
    std::fs::write(stage.file("sluice.toml"), sluice_toml.replace(TOKEN, "another-token-of-the-shop")).unwrap();
    stage.signal("HUP").await;
    until("the new token is taken", async || publish("b", "another-token-of-the-shop").await.0 == 202).await;
    assert_eq!(publish("c", TOKEN).await.0, 401);
    // An event every three seconds.
    let (status, again, answer) = publish("c", "another-token-of-the-shop").await;
    assert!(status == 429 && again.parse::<u64>().unwrap() <= 3, "{status} {again} {answer}");
    let sluice_toml = std::fs::read_to_string(stage.file("sluice.toml")).unwrap();
    let [port] = free_ports().unwrap();
    let (before, _) = sluice_toml.split_once("[ingest]").unwrap();
    std::fs::write(stage.file("sluice.toml"), format!("{before}[ingest]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
    stage.signal("HUP").await;
    until("it says that a restart is needed", async || stage.log().contains("ingest.listen")).await;
    assert_eq!(publish("d", "wrong").await.0, 401, "the last token is not dropped");
}

#[tokio::test]
async fn a_broker_that_takes_nothing_is_told_at_once() {
    let node = own_node().await;
    let (stage, url) = taking(&node.url(), "").await;
    let publish = async || {
        let body = event("a").to_string();
        curl(&url, &["-m", "20", "-H", "content-type: application/cloudevents+json", "-d", &body]).await
    };
    assert_eq!(publish().await.0, 202);
    node.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await.unwrap();
    until("503", async || matches!(publish().await, (503, again, _) if again == "5")).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.6"]).await.unwrap();
    until("202 again", async || publish().await.0 == 202).await;
    stage.arrived(PX, 1).await;
}

#[tokio::test]
async fn what_was_answered_with_202_is_delivered_though_the_worker_is_killed() {
    let (mut stage, url) = taking(&shared_url().await, "").await;
    let (client, count, batch) = (reqwest::Client::new(), 10_000, 20);
    let (next, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let publisher = async || {
        loop {
            let first = next.fetch_add(batch, Ordering::Relaxed);
            if first >= count {
                return;
            }
            let body: Vec<Value> = (first..first + batch).map(|n| event(&format!("e-{n}"))).collect();
            // As a producer does: until it is taken, with the same ids.
            until("a batch is taken", async || {
                let sent = client.post(&url).json(&body).timeout(std::time::Duration::from_secs(15)).send().await;
                sent.is_ok_and(|answer| answer.status() == 202)
            })
            .await;
            taken.fetch_add(batch, Ordering::Relaxed);
        }
    };
    let killer = async {
        for at in [2_000, 6_000] {
            until("some were taken", async || taken.load(Ordering::Relaxed) >= at).await;
            stage.kill().await;
            stage.start();
        }
    };
    tokio::join!(publisher(), publisher(), publisher(), publisher(), killer);
    assert_eq!(taken.into_inner(), count);
    stage.arrived(PX, u64::try_from(count).unwrap()).await;
}
