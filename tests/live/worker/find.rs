//! Where is my event: `sluice find`, the API and the console tell the whole way of an event, wherever it ended.

use serde_json::Value;

use super::client::{event, plain};
use super::stage::{PX, Ran, Stage, TOKEN, until};
use crate::support::shared_url;

const HISTORY: &str = "[history]\nkeep = \"1h\"\n";

async fn stage(more: &str) -> Stage {
    let mut stage = Stage::new(&shared_url().await).await;
    stage.configure(&(stage.px("px", "product.#", "limits = [\"200/s\"]") + more));
    stage.start();
    stage.ready().await;
    stage
}

/// What `sluice find` prints as JSON, with its exit code.
async fn find(stage: &Stage, arguments: &[&str]) -> (i32, Value) {
    let Ran { code, out, err } = stage.run(&[&["find", "--json"], arguments].concat()).await;
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out} {err}")))
}

/// The steps of the first event, as words.
fn steps(found: &Value) -> Vec<String> {
    let steps = found["events"][0]["steps"].as_array().cloned().unwrap_or_default();
    steps.iter().map(|step| step["step"].as_str().unwrap().to_owned()).collect()
}

fn state(found: &Value) -> &str {
    found["events"][0]["now"][0]["state"].as_str().unwrap_or_default()
}

/// Waits until the event stands so, and returns what is found then.
async fn stands(stage: &Stage, id: &str, wanted: &str) -> Value {
    until(&format!("{id} is {wanted}"), async || state(&find(stage, &[id]).await.1) == wanted).await;
    find(stage, &[id]).await.1
}

async fn publish(stage: &Stage, key: &str, number: u64) {
    let properties = plain().with_message_id(format!("e-{number}").into()).with_app_id("shop".into());
    stage.client().await.publish(key, event(number).to_string(), properties).await;
}

/// A page of the console, for somebody who has signed in.
async fn console(stage: &Stage, path: &str) -> String {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let form = http.post(format!("{}/sign-in", stage.admin())).header("origin", stage.admin());
    let form = form.header("content-type", "application/x-www-form-urlencoded").body(format!("token={TOKEN}"));
    let reply = form.send().await.unwrap();
    let cookie = reply.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = http.get(stage.admin() + path).header("cookie", cookie).header("accept", "text/html");
    page.send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn the_way_of_an_event_is_told_wherever_it_ended() {
    let stage = stage(HISTORY).await;
    publish(&stage, "product.x", 1).await;
    let found = stands(&stage, "e-1", "delivered").await;
    assert_eq!(steps(&found), ["received", "delivered"]);
    let delivered = &found["events"][0]["steps"][1];
    assert_eq!(
        (&delivered["destination"], &delivered["attempt"], &delivered["status"]),
        (&"px".into(), &1.into(), &201.into())
    );
    assert!(delivered["by"].as_str().unwrap().contains('/'), "{delivered}");

    stage.fault(r#"{"fault":"status","status":500,"body":"ann@example.com: try later","count":1}"#);
    publish(&stage, "product.x", 2).await;
    let found = stands(&stage, "e-2", "delivered").await;
    assert_eq!(steps(&found), ["received", "retried", "delivered"], "{found}");
    let said = found["events"][0]["steps"][1]["said"].as_str().unwrap();
    assert!(said.contains("try later") && !said.contains("ann@"), "{said}");
    assert_eq!(found["events"][0]["steps"][2]["attempt"], 2);

    stage.fault(r#"{"fault":"status","status":400,"body":"no such property","count":1}"#);
    publish(&stage, "product.x", 3).await;
    let found = stands(&stage, "e-3", "dead").await;
    assert_eq!(steps(&found), ["received", "died"], "{found}");
    let letter = found["events"][0]["now"][0]["letter"].as_str().unwrap().to_owned();
    let replayed = stage.run(&["dead", "replay", "px", "--all", "--yes"]).await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    let found = stands(&stage, "e-3", "delivered").await;
    assert_eq!(steps(&found), ["received", "died", "replayed", "delivered"], "{found}");
    assert!(!letter.is_empty());

    stage.client().await.publish("product.x", "[1]", plain().with_message_id("e-4".into())).await;
    stands(&stage, "e-4", "dead").await;
    assert_eq!(stage.run(&["dead", "discard", "px", "--all", "--yes"]).await.code, 0);
    let found = stands(&stage, "e-4", "trash").await;
    assert_eq!(steps(&found).last().unwrap(), "discarded", "{found}");

    publish(&stage, "other.x", 5).await;
    let found = stands(&stage, "e-5", "unrouted").await;
    assert_eq!(steps(&found), ["unrouted"]);

    let (code, found) = find(&stage, &["e-1", "e-3", "nobody"]).await;
    assert_eq!((code, found["events"].as_array().unwrap().len(), &found["not_found"][0]), (4, 2, &"nobody".into()));
    assert_eq!(find(&stage, &["e-1", "--source", "crm"]).await.0, 4);
    assert_eq!(find(&stage, &["e-1", "--source", "shop", "--since", "1h"]).await.0, 0);
    let words = stage.run(&["find", "e-3"]).await;
    assert!(words.out.contains("no such property") && words.out.contains("now: px has it"), "{words:?}");

    let (status, text) = stage.get("/api/v1/find?id=e-3&id=e-5").await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, told["events"].as_array().unwrap().len()), (200, 2), "{text}");
    let (status, text) = stage.get("/api/v1/find?since=soon&id=e-3").await;
    assert!(status == 400 && text.contains("since"), "{text}");
    let page = console(&stage, "/find?id=e-4").await;
    assert!(page.contains("discarded") && page.contains("?pile=trash"), "{page}");
    assert!(console(&stage, "/audit").await.contains("action=\"/find\""), "every page leads there");
    assert!(console(&stage, "/find?id=e-4&since=soon").await.contains("is no time"));
    assert_eq!(stage.metric("sluice_history_steps_total{outcome=\"dropped\"}").await, Some(0.0));
}

/// The last step of the first event, and who did it.
fn last(found: &Value) -> (&str, &str) {
    let step = found["events"][0]["steps"].as_array().and_then(|steps| steps.last()).unwrap();
    (step["step"].as_str().unwrap(), step["by"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn what_people_did_with_letters_is_told_with_their_names_also_when_no_letter_is_left() {
    let stage = stage(HISTORY).await;
    let wrong = plain().with_message_id("e-1".into()).with_app_id("shop".into());
    stage.client().await.publish("product.x", "[1]", wrong).await;
    stands(&stage, "e-1", "dead").await;
    // By a command, and by the API of a worker.
    assert_eq!(stage.run(&["dead", "discard", "px", "--all", "--yes"]).await.code, 0);
    let found = stands(&stage, "e-1", "trash").await;
    assert_eq!(steps(&found), ["received", "died", "discarded"], "{found}");
    let body = r#"{"act":"restore","all":true}"#;
    let (status, told) = stage.ask("POST", "/api/v1/destinations/px/dead/operations", Some(TOKEN), body).await;
    assert!(status == 200 || status == 202, "{told}");
    until("it is restored", async || last(&find(&stage, &["e-1"]).await.1) == ("restored", "admin")).await;
    stands(&stage, "e-1", "dead").await;
    let mended = r#"{"identifyId":"u-1","eventName":"Paid"}"#;
    std::fs::write(stage.file("body.json"), mended).unwrap();
    let file = stage.file("body.json");
    let edited = stage.run(&["dead", "edit", "px", "e-1", "--file", &file, "--yes"]).await;
    assert_eq!(edited.code, 0, "{edited:?}");
    until("the edit is told", async || last(&find(&stage, &["e-1"]).await.1).0 == "edited").await;
    assert_eq!(stage.run(&["dead", "replay", "px", "--all", "--yes"]).await.code, 0);
    let found = stands(&stage, "e-1", "delivered").await;
    let all = ["received", "died", "discarded", "restored", "edited", "replayed", "delivered"];
    assert_eq!(steps(&found), all, "{found}");
    let by = found["events"][0]["steps"][5]["by"].as_str().unwrap();
    assert!(by.contains('@'), "whoever ran the command: {found}");
    assert_eq!(stage.run(&["dead", "purge", "px", "--all", "--yes"]).await.code, 0);
    until("it is told of the original", async || steps(&find(&stage, &["e-1"]).await.1).contains(&"purged".to_owned()))
        .await;
}

#[tokio::test]
async fn what_sluice_publishes_itself_begins_with_its_publication() {
    let stage = stage(HISTORY).await;
    let (data, head) = (event(1), r#""specversion":"1.0","id":"e-1","source":"shop","type":"product.x""#);
    let published = stage.run_with(&["publish", "-"], &format!("{{{head},\"data\":{data}}}\n")).await;
    assert!(published.code == 0 && published.err.is_empty(), "{published:?}");
    let found = stands(&stage, "e-1", "delivered").await;
    assert_eq!(steps(&found), ["published", "received", "delivered"], "{found}");
    publish(&stage, "other.x", 2).await;
    stands(&stage, "e-2", "unrouted").await;
    stage.configure(&(stage.px("px", "#", "limits = [\"200/s\"]") + HISTORY));
    stage.signal("HUP").await;
    until("it is bound", async || stage.run(&["unrouted", "publish", "--all", "--yes"]).await.out.contains("1 of 1"))
        .await;
    let found = stands(&stage, "e-2", "delivered").await;
    assert_eq!(steps(&found), ["published", "received", "delivered"], "{found}");
    assert!(found["events"][0]["steps"][0]["by"].as_str().unwrap().contains('@'), "{found}");
}

#[tokio::test]
async fn without_a_history_letters_and_unrouted_events_are_found_and_it_says_so() {
    let stage = stage("").await;
    stage.client().await.publish("product.x", "[1]", plain().with_message_id("e-1".into())).await;
    publish(&stage, "other.x", 2).await;
    let found = stands(&stage, "e-1", "dead").await;
    assert!(found["notes"][0].as_str().unwrap().contains("no history is kept"), "{found}");
    stands(&stage, "e-2", "unrouted").await;
    publish(&stage, "product.x", 3).await;
    stage.arrived(PX, 1).await;
    assert_eq!(find(&stage, &["e-3"]).await.0, 4);
}

#[tokio::test]
async fn subjects_are_recorded_only_where_that_is_wanted() {
    let stage = stage("[history]\nkeep = \"1h\"\nsubject = true\n").await;
    let body = event(1).to_string();
    let envelope = format!(
        r#"{{"specversion":"1.0","id":"e-1","source":"shop","type":"product.x","subject":"cust-7","data":{body}}}"#
    );
    let properties = plain().with_content_type("application/cloudevents+json".into());
    stage.client().await.publish("product.x", envelope, properties).await;
    stands(&stage, "e-1", "delivered").await;
    let (code, found) = find(&stage, &["--subject", "cust-7"]).await;
    assert_eq!((code, steps(&found)), (0, vec!["received".to_owned(), "delivered".to_owned()]));
    assert_eq!(find(&stage, &["--subject", "cust-8"]).await.0, 4);
}

#[tokio::test]
async fn after_a_kill_find_tells_the_truth() {
    const EVENTS: u64 = 400;
    let mut stage = stage(HISTORY).await;
    stage.client().await.publish_all("product.x", 0..EVENTS).await;
    stage.arrived(PX, EVENTS / 4).await;
    stage.kill().await;
    stage.start();
    stage.arrived(PX, EVENTS).await;
    assert_eq!(stage.stop().await, Some(0));
    let ids: Vec<String> = (0..EVENTS).map(|number| format!("e-{number}")).collect();
    let (mut delivered, mut unknown) = (0, 0);
    for some in ids.chunks(100) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        let (_, found) = find(&stage, &some).await;
        unknown += found["not_found"].as_array().unwrap().len();
        for event in found["events"].as_array().unwrap() {
            assert_eq!(event["now"][0]["state"], "delivered", "{event}");
            let steps = event["steps"].as_array().unwrap();
            delivered += steps.iter().filter(|step| step["step"] == "delivered").count();
        }
    }
    let received = usize::try_from(stage.seen(PX).received).unwrap();
    // What was under way or done in the moment of the kill is all that may be missing.
    assert!(unknown <= 10, "{unknown} are not found");
    assert!(delivered <= received && received - delivered <= 50, "{delivered} of {received} requests are told");
}
