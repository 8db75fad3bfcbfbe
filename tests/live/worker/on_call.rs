//! What people on call use: reload by command, `status --watch`, `top` and `tap`.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;

use super::stage::{PX, Stage, TOKEN, until};
use crate::support::{LONG, shared_url};

/// A second worker beside the stage's, with a file of its own.
async fn another(stage: &Stage, more: &str) -> Stage {
    let mut other = Stage::new(&shared_url().await).await;
    other.prefix.clone_from(&stage.prefix);
    other.configure(&other.px("px", "product.#", more));
    other.start();
    other.ready().await;
    other
}

/// The workers as a reload tells of them, by the folder that their file is in.
fn told(text: &str, stage: &Stage) -> Value {
    let told: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let workers = told["workers"].as_array().unwrap_or_else(|| panic!("{text}"));
    let own = stage.file("sluice.toml");
    workers.iter().find(|worker| worker["file"] == own.as_str()).cloned().unwrap_or_default()
}

/// Waits until each of two workers knows of the other: until then a reload may miss one.
async fn know_each_other(one: &Stage, other: &Stage) {
    until("they know each other", async || {
        let drivers = [one.shown("px").await["driver"].clone(), other.shown("px").await["driver"].clone()];
        drivers.iter().any(Value::is_string)
    })
    .await;
}

#[tokio::test]
async fn a_reload_by_command_reaches_every_worker_and_a_bad_file_changes_nothing_in_its_own() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]").await;
    let other = another(&stage, "limits = [\"100/s\"]").await;
    know_each_other(&stage, &other).await;
    let hook =
        "[destinations.hook]\nvendor = \"http\"\nurl = \"SANDBOX/hook/a\"\nsubscribe = [\"a.b\"]\nlimits = [\"9/s\"]\n";
    stage.configure(&(stage.px("px", "product.#", "limits = [\"50/s\"]") + hook));
    other.configure(&other.px("px", "product.#", "limit = [\"50/s\"]"));
    let ran = stage.run(&["reload", "--json"]).await;
    assert!(ran.code == 4 && ran.err.contains("1 of 2 workers did not reload"), "{ran:?}");
    let (good, bad) = (told(&ran.out, &stage), told(&ran.out, &other));
    assert_eq!(
        (&good["outcome"], &good["added"], &good["changed"], &good["unchanged"]),
        (&json!("applied"), &json!(["hook"]), &json!(["px"]), &json!(0))
    );
    assert_eq!(bad["outcome"], "refused");
    let problem = &bad["problems"][0];
    assert!(problem["line"].as_u64() > Some(1) && problem["key"] == "destinations.px.limit", "{bad}");
    assert!(problem["message"].as_str().unwrap().contains("did you mean \"limits\"?"), "{bad}");
    until("the new file is in force here", async || stage.shown("hook").await["name"] == "hook").await;
    assert_eq!(other.shown("hook").await["name"], Value::Null);
    assert_eq!(other.shown("px").await["name"], "px", "nothing changed there");
    // A person gets a line for each problem, under the worker's name.
    let worker = bad["worker"].as_str().unwrap();
    let ran = stage.run(&["reload", "--worker", worker]).await;
    let line = format!("sluice.toml:{}: destinations.px.limit: unknown key", problem["line"]);
    assert!(ran.code == 4 && ran.out.contains(worker) && ran.out.contains(&line), "{ran:?}");
    let ran = stage.run(&["reload", "--worker", "nobody/1"]).await;
    assert!(ran.code == 4 && ran.err.contains("no worker \"nobody/1\" answers; there are: "), "{ran:?}");
    assert!(ran.err.contains(worker), "{ran:?}");
    // Mended, over the API.
    other.configure(&other.px("px", "product.#", "limits = [\"50/s\"]"));
    let reload = async |body: &str| stage.ask("POST", "/api/v1/reload", Some(TOKEN), body).await;
    let (status, text) = reload(&json!({ "worker": worker }).to_string()).await;
    assert_eq!((status, &told(&text, &other)["outcome"]), (200, &json!("applied")), "{text}");
    assert_eq!(told(&text, &stage), Value::Null, "the other was not asked to");
    let (status, text) = reload("").await;
    assert_eq!((status, &told(&text, &stage)["unchanged"]), (200, &json!(2)), "{text}");
    assert_eq!(told(&text, &other)["unchanged"], 1, "{text}");
    assert_eq!(reload(r#"{"worker":"nobody/1"}"#).await.0, 404);
    assert_eq!(reload(r#"{"wroker":"nobody/1"}"#).await.0, 422);
    until("who did it is in the audit", async || {
        let audit = stage.run(&["audit", "--json"]).await.out;
        let audit: Value = serde_json::from_str(&audit).unwrap_or_default();
        let entries = audit["entries"].as_array().cloned().unwrap_or_default();
        let has = |place: &str, outcome: &str| {
            entries
                .iter()
                .any(|entry| entry["act"] == "reload" && entry["place"] == place && entry["outcome"] == outcome)
        };
        has("command line", "refused") && has("command line", "applied") && has("api", "applied")
    })
    .await;
}

#[tokio::test]
async fn a_reload_that_no_worker_hears_is_an_error() {
    let mut stage = Stage::at_work(&shared_url().await, "").await;
    assert_eq!(stage.stop().await, Some(0));
    let ran = stage.run(&["reload"]).await;
    assert!(ran.code == 4 && ran.err.contains("no worker answered"), "{ran:?}");
    let ran = stage.run(&["tap", "px"]).await;
    assert!(ran.code == 4 && ran.err.contains("no worker has \"px\""), "{ran:?}");
}

#[tokio::test]
async fn a_reload_waits_for_the_one_at_work() {
    let stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]\ntimeout = \"3s\"").await;
    stage.fault(r#"{"fault":"hang"}"#);
    let client = stage.client().await;
    client.publish_all("product.x", 0..5).await;
    until("requests hang", async || stage.seen(PX).faulted > 0).await;
    stage.configure(&stage.px("px", "product.#", "limits = [\"90/s\"]\ntimeout = \"3s\""));
    let (one, two) = tokio::join!(stage.run(&["reload", "--json"]), stage.run(&["reload", "--json"]));
    let changed = |ran: &super::stage::Ran| told(&ran.out, &stage)["changed"].as_array().map(Vec::len);
    assert_eq!((one.code, two.code), (0, 0), "{one:?} {two:?}");
    let mut both = [changed(&one), changed(&two)];
    both.sort_unstable();
    assert_eq!(both, [Some(0), Some(1)], "the second found nothing to change any more: {one:?} {two:?}");
}

/// The lines of a command as they come.
struct Lines {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Lines {
    fn of(stage: &Stage, arguments: &[&str]) -> Self {
        let mut child = stage.begin(&[], arguments);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(LONG * 2, self.lines.next_line()).await.expect("a line comes").unwrap();
        let line = line.expect("it goes on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits for what it says on standard error.
    async fn says(&mut self, part: &str) {
        let mut said = BufReader::new(self.child.stderr.as_mut().unwrap()).lines();
        let heard = async { while !said.next_line().await.unwrap().expect("it goes on").contains(part) {} };
        tokio::time::timeout(LONG * 2, heard).await.unwrap_or_else(|_| panic!("waited in vain: {part}"));
    }
}

#[tokio::test]
async fn a_tap_shows_outcomes_whichever_worker_drives_and_over_a_reload() {
    let mut stage = Stage::at_work(&shared_url().await, "limits = [\"100/s\"]").await;
    let other = another(&stage, "limits = [\"100/s\"]").await;
    know_each_other(&stage, &other).await;
    let mut plain = stage.begin(&[], &["tap", "px", "--failed"]);
    let mut tap = Lines::of(&stage, &["tap", "px", "--json", "--count", "6"]);
    let mut said = BufReader::new(plain.stderr.take().unwrap()).lines();
    assert!(said.next_line().await.unwrap().unwrap().starts_with("px is driven by "));
    let client = stage.client().await;
    client.publish_all("product.x", 0..2).await;
    for _ in 0..2 {
        let line = tap.next().await;
        assert_eq!(
            (&line["outcome"], &line["type"], &line["status"]),
            (&json!("delivered"), &json!("product.x"), &json!(201)),
            "{line}"
        );
        assert!(line["id"].is_string() && line["ms"].is_u64(), "{line}");
    }
    // A reload of the destination in the middle.
    for worker in [&stage, &other] {
        worker.configure(&worker.px("px", "product.#", "limits = [\"90/s\"]"));
    }
    assert_eq!(stage.run(&["reload"]).await.code, 0);
    client.publish_all("product.y", 2..4).await;
    for _ in 0..2 {
        assert_eq!(tap.next().await["type"], "product.y");
    }
    // And the end of one worker: whichever drove it, the other has it then.
    stage.kill().await;
    until("the other drives it", async || other.shown("px").await["drives"] == true).await;
    stage.fault(r#"{"fault":"status","status":422,"body":"no such plan"}"#);
    other.fault(r#"{"fault":"status","status":422,"body":"no such plan"}"#);
    client.publish_all("product.z", 4..6).await;
    let line = tap.next().await;
    assert_eq!((&line["type"], &line["status"]), (&json!("product.z"), &json!(422)), "{line}");
    assert!(line["said"].as_str().unwrap().contains("422"), "{line}");
    tap.next().await;
    let ended = tokio::time::timeout(LONG, tap.child.wait()).await.expect("it ends after so many").unwrap();
    assert_eq!(ended.code(), Some(0));
    // Whoever wants failures sees these only.
    let mut lines = BufReader::new(plain.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(LONG, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(first.contains("product.z") && first.contains("422"), "{first}");
}

#[tokio::test]
async fn status_is_watched_as_one_json_object_a_line() {
    let stage = Stage::at_work(&shared_url().await, "").await;
    let mut watched = Lines::of(&stage, &["status", "--watch", "--json", "--interval", "100ms"]);
    let first = watched.next().await;
    assert_eq!((&first["destinations"][0]["name"], first["at"].is_string()), (&json!("px"), true), "{first}");
    assert_eq!(stage.run(&["pause", "px"]).await.code, 0);
    while watched.next().await["destinations"][0]["state"] != "paused" {}
    let shown = stage.run(&["status", "--state", "parked,paused"]).await;
    assert!(shown.code == 0 && shown.out.contains("px"), "{shown:?}");
    let shown = stage.run(&["status", "--state", "parked", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&shown.out).unwrap(), json!({ "destinations": [] }));
    let wrong = stage.run(&["status", "--state", "broke"]).await;
    assert!(wrong.code == 2 && wrong.err.contains("parked, broken, paused, throttled, open, standby"), "{wrong:?}");
    // A worker that goes away ends nothing: it is said, and the lines go on when it is there again.
    drop(stage);
    watched.says("no worker answers").await;
}

/// Runs a command in a terminal of 80 by 24, and says how the terminal is set afterwards.
const IN_TERMINAL: [&str; 7] = [
    "python3",
    "-c",
    "import pty, sys; pty.spawn(sys.argv[1:])",
    "sh",
    "-c",
    "stty cols 80 rows 24; before=$(stty -g); \"$@\"; echo ended with $?; [ \"$before\" = \"$(stty -g)\" ] && echo as before",
    "sh",
];

#[tokio::test]
async fn top_shows_destinations_in_a_terminal_and_gives_it_back_at_the_end() {
    let stage = Stage::at_work(&shared_url().await, "").await;
    for end in ["q", "\u{3}"] {
        let mut child = stage.begin(&IN_TERMINAL, &["top", "--interval", "100ms"]);
        let (mut keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut seen = String::new();
        let mut read = async |part: &str| {
            let mut bytes = [0; 4096];
            while !seen.contains(part) {
                let read = tokio::time::timeout(LONG * 2, out.read(&mut bytes)).await;
                let count = read.unwrap_or_else(|_| panic!("waited in vain for {part:?}: {seen}")).unwrap();
                assert!(count > 0, "it ended without {part:?}: {seen}");
                seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            std::mem::take(&mut seen)
        };
        let first = read("q quit").await;
        assert!(first.contains("\u{1b}[?1049h") && first.contains("1 destination: 1 open"), "{first}");
        assert!(first.contains("px"), "{first}");
        keys.write_all(b"?").await.unwrap();
        read("Sort by").await;
        keys.write_all(b" /nowhere\r").await.unwrap();
        read("no destination is like that").await;
        keys.write_all(end.as_bytes()).await.unwrap();
        let last = read("as before").await;
        assert!(
            last.contains("\u{1b}[?1049l") && last.contains("\u{1b}[?25h") && last.contains("ended with 0"),
            "{last}"
        );
        drop(keys);
        assert!(child.wait().await.unwrap().success());
    }
    let mut piped = stage.begin(&[], &["top"]);
    piped.stdin.take();
    let ran = Stage::end(piped).await;
    assert!(ran.code == 1 && ran.err.contains("sluice status --watch"), "{ran:?}");
}

#[tokio::test]
async fn tables_fit_the_terminal_and_have_colours_only_there() {
    let stage = Stage::at_work(&shared_url().await, "").await;
    assert_eq!(stage.run(&["pause", "px", "--reason", &"maintenance ".repeat(9)]).await.code, 0);
    stage.state("px", "paused").await;
    let shown = async |environment: &[&str]| {
        let behind: Vec<&str> = ["env"].iter().chain(environment).chain(&IN_TERMINAL).copied().collect();
        let mut child = stage.begin(&behind, &["status"]);
        drop(child.stdin.take());
        Stage::end(child).await.out
    };
    let coloured = shown(&["TERM=xterm"]).await;
    assert!(coloured.contains("\u{1b}[") && coloured.contains("paused"), "{coloured}");
    for environment in [&["NO_COLOR=1", "TERM=xterm"][..], &["TERM=dumb"]] {
        let plain = shown(environment).await;
        assert!(!plain.contains('\u{1b}') && plain.contains("paused"), "{environment:?}: {plain}");
        assert!(plain.lines().all(|line| line.trim_end().chars().count() <= 80), "{plain}");
        assert!(plain.matches("maintenance").count() > 1, "it is wrapped: {plain}");
    }
    let piped = stage.run(&["status"]).await.out;
    assert!(piped.contains(&"maintenance ".repeat(9).trim_end().to_owned()) && !piped.contains('\u{1b}'), "{piped}");
}
