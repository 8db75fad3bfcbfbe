//! Commands that people and scripts rely on: what they print, and their exit codes.

use serde_json::{Value, json};

use super::stage::{KEY, PX, Stage, until};
use crate::support::{own_node, shared_url};

async fn configured() -> Stage {
    let stage = Stage::new(&shared_url().await).await;
    let hook = "[destinations.hook]\nvendor = \"http\"\nurl = \"SANDBOX/hook/a\"\nsubscribe = [\"product.paid\"]\nlimits = [\"9/s\"]\n\
        headers = { authorization = \"Bearer KEY\" }\n".replace("KEY", KEY);
    stage.configure(&(stage.px("px", "product.#", "") + &hook));
    stage
}

fn envelope(id: &str, kind: &str, data: Value) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/shop", "type": kind, "data": data })
}

fn good(id: &str) -> Value {
    envelope(id, "product.paid", json!({ "identifyId": "u-1", "eventName": "Paid" }))
}

#[tokio::test]
async fn check_tells_every_problem_with_its_line() {
    let stage = configured().await;
    let ran = stage.run(&["check"]).await;
    assert!(ran.code == 0 && ran.out.contains("good; destinations: hook, px"), "{ran:?}");
    let file = stage.file("sluice.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text
        .replace("[retry]", "[retri]")
        .replace("\"9/s\"", "\"9/fortnight\"")
        .replace("region", "regoin")
        .replace("property_key", "propertykey");
    std::fs::write(&file, &text).unwrap();
    let line = |part: &str| text.lines().position(|line| line.contains(part)).unwrap() + 1;
    let ran = stage.run(&["check"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    for (part, message) in [
        ("[retri]", "retri: unknown key; did you mean \"retry\"?"),
        ("propertykey", "did you mean \"property_key\"?"),
        ("9/fortnight", "is not a limit"),
    ] {
        let start = format!("sluice.toml:{}: ", line(part));
        assert!(
            ran.err.lines().any(|told| told.contains(&start) && told.contains(message)),
            "{start}{message}\n{}",
            ran.err
        );
    }
    let ran = stage.run(&["check", "--json"]).await;
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, told["problems"].as_array().map(Vec::len)), (3, Some(3)), "{ran:?}");
    let ran = stage.run(&["run"]).await;
    assert!(ran.code == 3 && ran.err.contains("did you mean"), "a worker does not start with it: {ran:?}");
}

#[tokio::test]
async fn commands_that_send_nothing_to_vendors_work_where_a_vendors_secret_is_not() {
    let mut stage = Stage::at_work(&shared_url().await, "").await;
    let client = stage.client().await;
    client.publish("product.paid", "{}", Default::default()).await;
    until("it is dead", async || stage.shown("px").await["dead_letters_ready"] == 1).await;
    std::fs::rename(stage.file("key"), stage.file("away")).unwrap();
    for command in [
        "dead list px",
        "dead groups px",
        "dead replay px --all --dry-run",
        "lease show px",
        "pause px",
        "resume px",
        "limits px",
        "waiting px",
        "unrouted",
        "audit px",
        "status",
        "issues",
        "find no-such-event",
    ] {
        let ran = stage.run(&command.split(' ').collect::<Vec<_>>()).await;
        assert!(!ran.err.contains("api_key") && ran.code != 3, "{command}: {ran:?}");
    }
    for command in ["check", "explain --type product.paid -", "run"] {
        let ran = stage.run(&command.split(' ').collect::<Vec<_>>()).await;
        assert!(ran.code == 3 && ran.err.contains("api_key: cannot read "), "{command}: {ran:?}");
    }
    assert_eq!(stage.stop().await, Some(0));
}

#[tokio::test]
async fn check_live_tries_the_broker_and_the_credentials() {
    let stage = configured().await;
    let ran = stage.run(&["check", "--live"]).await;
    assert!(
        ran.code == 0 && ran.out.contains("broker: connected") && ran.out.contains("takes the credentials"),
        "{ran:?}"
    );
    assert_eq!(stage.seen(PX).events, 0, "it has no effect");
    std::fs::write(stage.file("key"), "wrong-key-that-nobody-may-see").unwrap();
    let ran = stage.run(&["check", "--live"]).await;
    assert!(ran.code == 4 && ran.out.contains("BAD  destination px") && !ran.out.contains("nobody-may-see"), "{ran:?}");
}

#[tokio::test]
async fn explain_shows_the_exact_request_without_the_key() {
    let stage = configured().await;
    let ran = stage.run_with(&["explain", "-", "--json"], &good("one").to_string()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    let [hook, px] = &told["destinations"].as_array().unwrap()[..] else { panic!("{told}") };
    assert_eq!((&px["destination"], &px["headers"]["x-aptrinsic-api-key"]), (&json!("px"), &json!("***")));
    assert_eq!((&px["body"]["eventId"], &px["body"]["propertyKey"]), (&json!("one"), &json!("AP-XXXXXXXXXX-2")));
    assert_eq!(hook["headers"]["authorization"], "***");
    let text = stage.run_with(&["explain", "-"], &good("one").to_string()).await;
    assert!(text.out.contains("POST http://") && !text.out.contains(KEY) && !ran.out.contains(KEY), "{text:?}");
    let unwanted = stage.run_with(&["explain", "-"], &envelope("1", "webinar.seen", json!({})).to_string()).await;
    assert!(unwanted.code == 4 && unwanted.err.contains("no destination subscribes"), "{unwanted:?}");
    let wrong = stage.run_with(&["explain", "-"], &envelope("1", "product.seen", json!({})).to_string()).await;
    assert!(wrong.code == 4 && wrong.out.contains("problem: ") && wrong.out.contains("identifyId"), "{wrong:?}");
    let junk = stage.run_with(&["explain", "-"], "[]").await;
    assert!(junk.code == 4 && junk.err.contains("not an event"), "{junk:?}");
    assert_eq!(stage.seen(PX).received, 0);
}

#[tokio::test]
async fn publish_confirms_good_lines_and_tells_bad_ones_by_number() {
    let mut stage = configured().await;
    stage.start();
    stage.ready().await;
    let lines = [
        good("one").to_string(),
        "not json".into(),
        String::new(),
        "{\"id\":5}".into(),
        good("two").to_string(),
        envelope("three", "webinar.seen", json!({})).to_string(),
    ];
    let input = lines.join("\n");
    let linted = stage.run_with(&["publish", "--lint", "-", "--json"], &input).await;
    let told: Value = serde_json::from_str(&linted.out).unwrap();
    assert_eq!((linted.code, &told["refused"], &told["problems"][1]["line"]), (4, &json!(2), &json!(4)), "{linted:?}");
    let ran = stage.run_with(&["publish", "-"], &input).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    for part in ["-:2: ", "-:4: ", "3 published and confirmed, 2 refused", "1 of them is of a type that no destination"]
    {
        assert!(ran.out.contains(part), "{part} is not in {}", ran.out);
    }
    stage.arrived(PX, 2).await;
    stage.client().await.holds("unrouted", 1).await;
    assert_eq!(stage.seen(PX).events, 2, "linting publishes nothing");
    let ran = stage
        .run_with(&["publish", "--type", "product.paid", "-"], "{\"identifyId\":\"u\",\"eventName\":\"Paid\"}\n")
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    stage.arrived(PX, 3).await;
    let ran = stage.run(&["publish", "no-such-file"]).await;
    assert!(ran.code == 1 && ran.err.contains("no-such-file"), "{ran:?}");
}

#[tokio::test]
async fn health_of_what_does_not_run_is_bad_and_a_named_address_needs_no_configuration() {
    let stage = configured().await;
    let ran = stage.run(&["health"]).await;
    assert!(ran.code == 1 && ran.err.contains("nothing answers at http://127.0.0.1:"), "{ran:?}");
    std::fs::remove_file(stage.file("sluice.toml")).unwrap();
    let sandbox = format!("http://{}/", stage.sandbox.address());
    let ran = stage.run(&["health", "--alive", "--url", &sandbox]).await;
    assert!(ran.code == 0 && ran.out == "alive\n", "{ran:?}");
    let ran = stage.run(&["health", "--url", &sandbox]).await;
    assert!(ran.code == 1 && ran.err.contains("is not ready: it answered 404"), "a sandbox is no worker: {ran:?}");
}

#[tokio::test]
async fn a_wrong_command_line_exits_with_2() {
    let stage = configured().await;
    assert_eq!(stage.run(&["frobnicate"]).await.code, 2);
    assert_eq!(stage.run(&["pause"]).await.code, 2);
    for command in
        ["run", "check", "explain", "publish", "status", "health", "pause", "resume", "limits", "sandbox", "demo"]
    {
        let ran = stage.run(&[command, "--help"]).await;
        assert!(ran.code == 0 && ran.out.contains("Usage: "), "{command}: {ran:?}");
    }
}

#[tokio::test]
async fn publish_needs_no_more_than_a_producers_rights_and_says_what_is_missing() {
    let node = own_node().await;
    let mut stage = Stage::new(&node.url()).await;
    stage.configure(&stage.px("px", "product.#", ""));
    let mut producer = Stage::new(&node.url().replace("guest:guest", "producer:secret")).await;
    producer.prefix = stage.prefix.clone();
    producer.configure(&producer.px("px", "product.#", ""));
    node.ctl(&["add_user", "producer", "secret"]).await.unwrap();
    let rights = format!("^{}\\.events$", stage.prefix);
    node.ctl(&["set_permissions", "producer", "", &rights, ""]).await.unwrap();
    let lines = (0..50).map(|n| good(&n.to_string()).to_string()).collect::<Vec<_>>().join("\n");
    let early = producer.run_with(&["publish", "-"], &lines).await;
    assert!(early.code == 4 && early.out.contains("no exchange"), "{early:?}");
    stage.start();
    stage.ready().await;
    let ran = producer.run_with(&["publish", "-"], &lines).await;
    assert!(ran.code == 0 && ran.out.contains("50 published and confirmed"), "{ran:?}");
    stage.arrived(PX, 50).await;
    node.ctl(&["set_permissions", "producer", "", "", ""]).await.unwrap();
    let refused = producer.run_with(&["publish", "-"], &lines).await;
    assert!(refused.code == 4 && refused.out.contains("rabbitmqctl set_permissions"), "{refused:?}");
}
