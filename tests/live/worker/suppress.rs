//! People who must not be written to, and what is left of them: whoever drives, whatever was killed, wherever their events wait.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};
use sluice::broker::{StreamEvent, StreamStart};

use super::client::{Client, plain};
use super::lease::Fellow;
use super::stage::{PX, Ran, Stage, TOKEN, until};
use crate::support::{LONG, own_node, settings, shared_url, start};

const ANN: &str = "ann@example.com";
const SECTION: &str = "[suppression]\nkey = \"a secret of thirty-two bytes, or more\"\n";

async fn heeding(url: &str, more: &str) -> Stage {
    let mut stage = Stage::new(url).await;
    stage.configure(&(SECTION.to_owned() + &stage.px("px", "product.#", more)));
    stage.start();
    stage.ready().await;
    stage
}

async fn publish(client: &Client, person: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let body = json!({ "identifyId": person, "eventName": "Paid", "eventId": format!("e-{number}") }).to_string();
        client.publish("product.paid", body, plain().with_message_id(format!("e-{number}").into())).await;
    }
}

async fn suppress(stage: &Stage, arguments: &[&str]) -> Ran {
    stage.run(&[&["suppress"], arguments].concat()).await
}

fn parsed(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[tokio::test]
async fn two_seconds_after_somebody_is_suppressed_nothing_is_sent_whoever_drives() {
    let mut stage = heeding(&shared_url().await, "limits = [\"50/s\"]").await;
    let client = stage.client().await;
    publish(&client, ANN, 0..2_000).await;
    let fellow = Fellow::start(&stage);
    until("the second worker stands by", async || fellow.shown().await["driver"].is_string()).await;
    stage.arrived(PX, 50).await;
    let ran = suppress(&stage, &["add", "Ann@Example.com", "--note", "ann@example.com asked for it"]).await;
    assert!(ran.code == 0 && ran.out.contains("is suppressed") && !ran.out.contains("example.com"), "{ran:?}");
    assert!(ran.out.contains("every worker heeds it within 1 second"), "{ran:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sent = stage.seen(PX).received;
    assert!(sent < 1_900, "{sent}: it was too late to tell");
    // The next driver read it when it started.
    stage.kill().await;
    until("the second worker drives", async || fellow.shown().await["drives"] == true).await;
    publish(&client, ANN, 2_000..2_100).await;
    client.holds("px", 0).await;
    stage.start();
    stage.ready().await;
    publish(&client, "bob@example.com", 3_000..3_010).await;
    stage.arrived(PX, sent + 10).await;
    assert_eq!((stage.seen(PX).received, client.depth("px.dead").await), (sent + 10, Some(0)));
    let known = suppress(&stage, &["list", "--json"]).await;
    assert_eq!(
        (&parsed(&known)["count"], &parsed(&known)["people"][0]["note"]),
        (&json!(1), &json!("***@*** asked for it"))
    );
    let ran = suppress(&stage, &["remove", ANN]).await;
    assert!(ran.code == 0 && ran.out.contains("written to again"), "{ran:?}");
    publish(&client, ANN, 4_000..4_005).await;
    stage.arrived(PX, sent + 15).await;
    for log in [stage.log(), fellow.log()] {
        assert!(!log.contains("example.com"), "no key of a person is in a log");
    }
}

#[tokio::test]
async fn a_list_out_of_a_file_is_read_with_its_bad_rows_told_and_a_wrong_column_changes_nothing() {
    let stage = heeding(&shared_url().await, "").await;
    let file = stage.file("bounced.csv");
    let rows: String = (0..2_500).map(|number| format!("Ann,ann-{number}@example.com\n")).collect();
    std::fs::write(&file, format!("name,email\n{rows}Bob\nCid,\n")).unwrap();
    let ran = suppress(&stage, &["import", &file, "--column", "mail"]).await;
    assert!(ran.code == 4 && ran.err.contains("there is no column \"mail\"; the heading has: name, email"), "{ran:?}");
    let ran = suppress(&stage, &["import", &file]).await;
    assert!(ran.code == 4 && ran.err.contains("--column email") && ran.err.contains("nothing was changed"), "{ran:?}");
    let ran = suppress(&stage, &["import", &file, "--column", "email", "--note", "bounced"]).await;
    assert!(
        ran.code == 4 && ran.err.contains("line 2502 has 1 fields") && ran.err.contains("the rest is done"),
        "{ran:?}"
    );
    assert!(ran.out.contains("2,500 people are suppressed") && !ran.err.contains("Bob"), "{ran:?}");
    let again = suppress(&stage, &["import", &file, "--column", "email", "--json"]).await;
    let (unchanged, refused) = (&parsed(&again)["unchanged"], parsed(&again)["refused"].as_array().map(Vec::len));
    assert_eq!((unchanged, refused), (&json!(2_500), Some(2)), "{again:?}");
    assert_eq!(parsed(&again)["heeded_within_seconds"], 1, "{again:?}");
    assert_eq!(suppress(&stage, &["check", "ANN-7@example.com"]).await.code, 0);
    let ran = suppress(&stage, &["check", "ann-2500@example.com", "ann-0@example.com"]).await;
    assert!(ran.code == 4 && ran.err.contains("1 of 2 are not suppressed"), "{ran:?}");
    let (status, text) = stage.get("/api/v1/suppressed?limit=2").await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &told["count"], told["people"].as_array().map(Vec::len)),
        (200, &json!(2_500), Some(2)),
        "{text}"
    );
    let body = json!({ "people": ["ann-7@example.com", "u-1"] }).to_string();
    let (status, text) = stage.ask("POST", "/api/v1/suppressed", Some(TOKEN), &body).await;
    assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()["changed"].as_u64()), (200, Some(1)), "{text}");
    let (status, text) = stage.ask("POST", "/api/v1/suppressed/remove", Some(TOKEN), &body).await;
    assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()["changed"].as_u64()), (200, Some(2)), "{text}");
    let (status, text) = stage.ask("POST", "/api/v1/suppressed/check", Some(TOKEN), &body).await;
    assert!(status == 200 && !text.contains("true") && !text.contains("example.com"), "{status} {text}");
    let wrong = json!({ "people": [" "] }).to_string();
    assert_eq!(stage.ask("POST", "/api/v1/suppressed", Some(TOKEN), &wrong).await.0, 422);
}

#[tokio::test]
async fn another_key_stops_everything_until_the_list_is_cleared() {
    let mut stage = heeding(&shared_url().await, "").await;
    let client = stage.client().await;
    assert_eq!(suppress(&stage, &["add", ANN]).await.code, 0);
    let other = SECTION.replace("thirty-two", "forty-two");
    stage.configure(&(other + &stage.px("px", "product.#", "")));
    let ran = stage.run(&["reload"]).await;
    assert!(ran.code == 0 && ran.out.contains("changed px"), "{ran:?}");
    until("it says so", async || stage.get("/readyz").await.1.contains("another one")).await;
    publish(&client, "bob@example.com", 0..5).await;
    let ran = suppress(&stage, &["add", "cid@example.com"]).await;
    assert!(ran.code == 4 && ran.err.contains("sluice suppress clear"), "{ran:?}");
    let ran = suppress(&stage, &["check", ANN]).await;
    assert!(ran.code == 1 && ran.err.contains("another one"), "it cannot be told: {ran:?}");
    assert_eq!(stage.seen(PX).received, 0);
    let live = stage.run(&["check", "--live"]).await;
    assert!(live.code == 4 && live.out.contains("BAD  suppressed people"), "{live:?}");
    assert_eq!(suppress(&stage, &["clear"]).await.code, 4, "nobody can be asked");
    assert_eq!(suppress(&stage, &["clear", "--yes"]).await.code, 0);
    stage.arrived(PX, 5).await;
    stage.ready().await;
    assert_eq!(suppress(&stage, &["check", ANN]).await.code, 4);
    assert_eq!(stage.stop().await, Some(0));
}

#[tokio::test]
async fn nothing_is_found_of_somebody_who_was_erased() {
    let node = own_node().await;
    let mut stage = heeding(&node.url(), "limits = [\"100/s\"]\npark_after_rejections = 0").await;
    let client = stage.client().await;
    stage.fault(r#"{"fault":"status","status":400}"#);
    publish(&client, ANN, 0..20).await;
    publish(&client, "bob@example.com", 100..105).await;
    client.publish("product.paid", format!("not JSON: {ANN}"), plain()).await;
    client.publish("product.paid", json!({ "identifyId": ANN }).to_string(), plain()).await;
    client.publish("nobody.wants", json!({ "who": "Ann@Example.com" }).to_string(), plain()).await;
    client.holds("px.dead", 27).await;
    let of_ann = format!(".identifyId == {ANN:?}");
    let ran = stage.run(&["dead", "discard", "px", "--jq", &of_ann, "--reason", "rejected", "--yes"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    client.holds("px.trash", 20).await;
    // One waits for its next attempt, others for the gate.
    stage.sandbox.handle().clear_faults();
    assert_eq!(stage.run(&["pause", "px"]).await.code, 0);
    publish(&client, ANN, 200..300).await;
    let counted = stage.run(&["erase", ANN, "--dry-run", "--json"]).await;
    assert_eq!((counted.code, &parsed(&counted)["found"]), (0, &json!(23)), "{counted:?}");
    assert_eq!(stage.run(&["erase", ANN]).await.code, 4, "nobody can be asked");
    let ran = stage.run(&["erase", ANN, "--suppress", "--yes", "--json"]).await;
    let told = parsed(&ran);
    assert_eq!((ran.code, &told["found"], told["places"].as_array().map(Vec::len)), (0, &json!(23), Some(3)), "{told}");
    assert!(told["ages_out"].as_array().is_some_and(|ages| ages.len() >= 3), "{told}");
    assert_eq!(stage.run(&["resume", "px"]).await.code, 0);
    client.holds("px", 0).await;
    publish(&client, "bob@example.com", 300..303).await;
    stage.arrived(PX, 3).await;
    assert_eq!((client.depth("px.dead").await, stage.seen(PX).received), (Some(5), 28), "Bob's letters are there");
    let (_, audit) = stage.get("/api/v1/dead/audit?limit=50").await;
    assert!(audit.contains("\"erase\"") && audit.contains("person="), "{audit}");
    assert_eq!(stage.stop().await, Some(0));
    let queues = node.ctl(&["list_queues", "name", "type", "--quiet", "--no-table-headers"]).await.unwrap();
    let mut looked = 0;
    for line in queues.lines().filter(|line| line.starts_with(&stage.prefix)) {
        let (name, kind) = line.split_once('\t').unwrap();
        let messages = match kind.trim() {
            "stream" => of_stream(&node.url(), name).await,
            _ => of_queue(&node.url(), name).await,
        };
        looked += messages.len();
        for message in messages {
            assert!(!message.to_lowercase().contains(ANN), "{name}: {message}");
        }
    }
    assert!(looked >= 8, "{looked}\n{queues}");
    assert!(!stage.log().contains(ANN));
}

#[tokio::test]
async fn lost_connections_and_a_deleted_stream_let_nothing_through() {
    let node = own_node().await;
    let mut stage = heeding(&node.url(), "limits = [\"100/s\"]").await;
    let client = stage.client().await;
    assert_eq!(suppress(&stage, &["add", ANN]).await.code, 0);
    client.leave().await;
    node.ctl(&["close_all_connections", "by a test"]).await.unwrap();
    until("it was noticed", async || stage.log().contains("send nothing until the list is followed again")).await;
    stage.ready().await;
    let client = stage.client().await;
    publish(&client, ANN, 0..20).await;
    publish(&client, "bob@example.com", 100..105).await;
    stage.arrived(PX, 5).await;
    node.ctl(&["delete_queue", &format!("{}.suppressed", stage.prefix)]).await.unwrap();
    until("it was noticed", async || stage.log().contains("was deleted and made anew")).await;
    stage.ready().await;
    publish(&client, ANN, 200..220).await;
    publish(&client, "bob@example.com", 300..305).await;
    stage.arrived(PX, 10).await;
    client.holds("px", 0).await;
    assert_eq!(stage.seen(PX).received, 10);
    assert_eq!(suppress(&stage, &["check", ANN]).await.code, 4, "it has to be imported anew");
    assert_eq!(suppress(&stage, &["add", ANN]).await.code, 0);
    assert_eq!(stage.stop().await, Some(0));
}

/// All that is in a queue, also in one that `basic.get` does not read.
async fn of_queue(url: &str, name: &str) -> Vec<String> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(name.into(), "".into(), options, FieldTable::default()).await.unwrap();
    let mut read = Vec::new();
    while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await {
        let delivery = delivery.unwrap();
        read.push(format!("{} {:?}", String::from_utf8_lossy(&delivery.data), delivery.properties));
    }
    connection.close(200, "done".into()).await.unwrap();
    read
}

/// All that is in a stream.
async fn of_stream(url: &str, name: &str) -> Vec<String> {
    let broker = start(&settings(url));
    let mut events = broker.read_stream(name, StreamStart::First, broker.publisher());
    let mut read = Vec::new();
    while let Some(event) = tokio::time::timeout(LONG, events.recv()).await.unwrap() {
        match event {
            StreamEvent::Message(message) => {
                let message = message.message;
                read.push(format!("{} {:?}", String::from_utf8_lossy(&message.body), message.properties));
            }
            StreamEvent::CaughtUp { .. } => break,
            StreamEvent::Interrupted(_) | StreamEvent::Renewed => {}
        }
    }
    drop(events);
    assert!(broker.close(LONG).await);
    read
}
