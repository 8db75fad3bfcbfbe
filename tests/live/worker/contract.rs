//! The admin API does what its own OpenAPI document says: generated requests, right and wrong, against a worker at work.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::stage::{PX, Stage, TOKEN, until};
use crate::support::shared_url;

/// Where `deploy/install-dependencies.sh schemathesis` puts it.
const SCHEMATHESIS: &str = "target/tools/schemathesis/bin/schemathesis";

#[tokio::test]
async fn the_api_keeps_to_its_document() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMATHESIS);
    assert!(program.exists(), "{SCHEMATHESIS} is missing: `make test` installs it");
    let mut stage = Stage::new(&shared_url().await).await;
    // The name of the document's examples, so that requests meet a destination.
    stage.configure(&stage.px("px-prod", "product.#", ""));
    stage.start();
    stage.ready().await;
    let mut command = Command::new(program);
    command.arg("run").arg(stage.admin() + "/api/v1/openapi.json");
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}"), "--no-color", "--continue-on-failure"]);
    command.args(["--seed", "1", "--max-examples", "15", "--generation-database", "none", "--request-timeout", "10"]);
    // It leaves a folder of its own where it runs.
    command.current_dir(stage.file("")).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_mins(5), command.output()).await.expect("it ends").unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    let passed = said.split_once(" generated, ").and_then(|(before, _)| before.rsplit(' ').next()?.trim().parse().ok());
    assert!(passed.is_some_and(|passed: u32| passed >= 300), "too little was tried:\n{said}");
    for act in ["pause", "resume", "limits"] {
        let told = format!("\"act\":\"{act}\"");
        until(&format!("the log tells that a {act} was carried out"), async || stage.log().contains(&told)).await;
    }
    let (status, _) = stage.ask("POST", "/api/v1/destinations/px-prod/resume", Some(TOKEN), "").await;
    assert_eq!(status, 200, "it is still at work");
    assert_eq!((stage.seen(PX).received, stage.stop().await), (0, Some(0)));
}
