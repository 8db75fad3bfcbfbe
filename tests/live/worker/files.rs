//! `sluice publish` with files: rows of CSV, what is refused, and runs that are cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use super::client::Found;
use super::stage::{Stage, until};
use crate::support::shared_url;

/// A worker has made the queues and is gone; a queue of the test's own has a copy of each event.
async fn stage() -> Stage {
    let mut stage = Stage::at_work(&shared_url().await, "").await;
    assert!(stage.client().await.bind("copies", "events", "#").await);
    stage.stop().await;
    stage
}

async fn events(stage: &Stage) -> Vec<Value> {
    let read = |found: &Found| serde_json::from_slice(&found.body).unwrap();
    stage.client().await.drain("copies").await.iter().map(read).collect()
}

#[tokio::test]
async fn rows_become_events_and_refused_ones_can_be_mended_and_published() {
    let stage = stage().await;
    let file = stage.file("Paid orders.csv");
    let good = "o-1;2026-01-02T03:04:05+01:00;\"Åsa \"\"A\"\"\nSmith\";59.95\r\n";
    let ragged = "o-2;2026-01-02T03:04:06Z;Bo\r\n";
    let text = format!(
        "\u{feff}order;at;customer;total\r\n{good}{ragged}o-3;yesterday;Cy;1\r\n\r\n;2026-01-02T03:04:07Z;Di;2\r\no-5;2026-01-02T03:04:08Z;"
    );
    fs::write(&file, [text.as_bytes(), b"caf\xe9;5\r\n"].concat()).unwrap();
    let map = "{number: .order, customer, total: (.total | tonumber)}";
    let options = ["--type", "product.paid", "--delimiter", ";", "--id-column", "order", "--time-column", "at"];
    let publish = async |file: &str| {
        let arguments = [&["publish", file], &options[..], &["--map", map, "--source", "/shop"]].concat();
        stage.run(&arguments).await
    };
    let ran = publish(&file).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    for told in [
        ":4: the row has 3 fields, the heading 4",
        ":5: the column \"at\" is \"yesterday\", not an RFC 3339 date and time",
        ":7: the column \"order\" is empty: it is the id",
        ":8: the column \"customer\" is not UTF-8: invalid byte at offset 3",
        "1 published and confirmed, 4 refused",
    ] {
        assert!(ran.out.contains(told), "{told} is not in {}", ran.out);
    }
    let refused = file.clone() + ".refused";
    assert!(ran.err.contains(&format!("and in {refused}")), "{ran:?}");
    let event = json!({ "specversion": "1.0", "id": "o-1", "source": "/shop", "type": "product.paid",
        "time": "2026-01-02T02:04:05Z", "data": { "number": "o-1", "customer": "Åsa \"A\"\nSmith", "total": 59.95 } });
    assert_eq!(events(&stage).await, [event]);

    let text = fs::read(&refused).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.starts_with("refused_line;refused_because;order;at;customer;total\n4;\"the row"), "{text}");
    let mended = text.replace(";Bo\n", ";Bo;3\n").replace("yesterday", "2026-01-02T03:04:06Z");
    let mended = mended.replace(";;2026", ";o-4;2026").replace('\u{fffd}', "é");
    fs::write(&refused, mended).unwrap();
    let ran = publish(&refused).await;
    assert!(ran.code == 0 && ran.out.contains("4 published and confirmed, 0 refused"), "{ran:?}");
    let ids: Vec<String> = events(&stage).await.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids, ["\"o-2\"", "\"o-3\"", "\"o-4\"", "\"o-5\""]);
}

#[tokio::test]
async fn a_run_that_is_killed_goes_on_and_publishes_each_line_with_one_id() {
    let stage = stage().await;
    let (file, rows) = (stage.file("users.csv"), 3000);
    // Every tenth row has the content of another, and every hundredth is refused.
    let text = (0..rows).fold("name,note\n".to_owned(), |mut text, row| {
        let note = if row % 100 == 7 { ",too much" } else { "" };
        writeln!(text, "u-{},\"two\nlines\"{note}", row - row % 10 % 2).unwrap();
        text
    });
    fs::write(&file, text).unwrap();
    let publish = ["publish", &file, "--type", "product.seen", "--rate", "1500/s"];
    let mut killed = 0;
    for run in 0..3 {
        let arguments: Vec<&str> = publish.into_iter().chain((run > 0).then_some("--resume")).collect();
        let mut child = stage.begin(&[], &arguments);
        let before = fs::read(file.clone() + ".progress").unwrap_or_default();
        until("progress", async || {
            let now = fs::read(file.clone() + ".progress").unwrap_or_default();
            let place =
                |text: &[u8]| serde_json::from_slice::<Value>(text).map_or(0, |read| read["line"].as_u64().unwrap());
            place(&now) > place(&before) + 600
        })
        .await;
        child.kill().await.unwrap();
        killed += 1;
    }
    let ran = stage.run(&publish).await;
    assert!(ran.code == 1 && ran.err.contains("go on with --resume, or delete"), "{ran:?}");
    let other = stage.run(&["publish", &file, "--type", "product.other", "--resume"]).await;
    assert!(other.code == 1 && other.err.contains("resume with the same options"), "{other:?}");
    let ran = stage.run(&["publish", &file, "--type", "product.seen", "--resume"]).await;
    assert!(ran.code == 4 && ran.out.contains("resumed at line "), "{ran:?}");
    let found = stage.client().await.drain("copies").await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    found.iter().for_each(|found| *times.entry(found.id()).or_default() += 1);
    let good = rows - rows / 100;
    assert_eq!(times.len(), good, "each row has an id of its own, the same whenever it is published");
    assert!(found.len() <= good + killed * 256, "{} rows came twice", found.len() - good);
    let refused = fs::read_to_string(file.clone() + ".refused").unwrap();
    let lines: Vec<&str> = refused.lines().filter(|line| line.contains("the row has 3 fields")).collect();
    let distinct: BTreeSet<&str> = lines.iter().copied().collect();
    assert_eq!((lines.len(), distinct.len()), (rows / 100, rows / 100), "each refused row once");
    let again = stage.run(&["publish", &file, "--type", "product.seen", "--resume"]).await;
    assert!(again.code == 0 && again.out.contains("0 published"), "it was published to its end: {again:?}");
}

#[tokio::test]
async fn refused_lines_of_ndjson_stay_as_they_were_and_short_files_leave_nothing_behind() {
    let stage = stage().await;
    let file = stage.file("events.ndjson");
    fs::write(&file, "{\"a\":1}\n\n{\"a\": oops}\n{\"a\":1}\n").unwrap();
    let publish = async |file: &str| stage.run(&["publish", file, "--type", "product.seen"]).await;
    let ran = publish(&file).await;
    assert!(ran.code == 4 && ran.out.contains(":3: the body is not JSON"), "{ran:?}");
    let refused = file.clone() + ".refused";
    let text = fs::read_to_string(&refused).unwrap();
    assert!(text.starts_with("# line 3: the body is not JSON") && text.ends_with("\n{\"a\": oops}\n"), "{text}");
    fs::write(&refused, text.replace("oops", "1")).unwrap();
    let ran = publish(&refused).await;
    assert!(ran.code == 0 && ran.out.contains("1 published"), "{ran:?}");
    let ids: BTreeSet<String> = stage.client().await.drain("copies").await.iter().map(Found::id).collect();
    assert_eq!(ids.len(), 3, "equal lines are different events");
    let ran = publish(&file.replace("events", "short")).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    fs::write(stage.file("short.ndjson"), "{\"a\":1}\n").unwrap();
    assert_eq!(publish(&stage.file("short.ndjson")).await.code, 0);
    assert!(!fs::exists(stage.file("short.ndjson.progress")).unwrap());
}

#[tokio::test]
async fn what_cannot_be_a_csv_is_told_before_anything_is_published() {
    let stage = stage().await;
    let file = stage.file("users.csv");
    for (text, options, code, said) in [
        ("a;b\n1;2\n", &["--type", "t"][..], 4, ":1: the heading is one column with ';' in it"),
        (
            "a,b\n1,2\n",
            &["--type", "t", "--id-column", "c"],
            4,
            "no column \"c\" for --id-column; the heading has: a, b",
        ),
        ("", &["--type", "t"], 4, "is empty: a CSV file begins with a heading row"),
        ("a,b\n", &[], 2, "CSV needs --type"),
        ("a,b\n", &["--type", "t", "--map", ".["], 2, "--map is not a jq expression"),
        ("a,b\n", &["--type", "t", "--rate", "fast"], 2, "as 40/s or 0.5/s"),
        ("a,b\n", &["--format", "ndjson", "--delimiter", ";"], 2, "--delimiter is for CSV"),
    ] {
        fs::write(&file, text).unwrap();
        let ran = stage.run(&[&["publish", &file], options].concat()).await;
        assert!(ran.code == code && ran.err.contains(said), "{said}: {ran:?}");
    }
    for pipe in ["-", "/dev/stdin"] {
        let ran = stage.run(&["publish", pipe, "--resume"]).await;
        assert!(ran.code == 2 && ran.err.contains("--resume needs a file"), "{ran:?}");
    }
    assert!(stage.client().await.drain("copies").await.is_empty());
}
