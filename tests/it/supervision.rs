//! A worker with a bug in one of its parts: it goes on where starting the part again helps, else it ends and says why.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sluice::app::{self, RunError};
use sluice::cli;
use sluice::config::{self, Config, ConfigFile};
use tokio_util::sync::CancellationToken;

use crate::bug;

/// What the publishing connection's task logs when it first fails to connect.
const LINE: &[&str] = &["; trying again until it works", "side=\"publishing\""];

/// A worker whose broker is away.
fn config() -> Config {
    let text = "[broker]\nurl = \"amqp://127.0.0.1:1\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    config::parse("test.toml", text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap()
}

async fn run(stop: CancellationToken) -> Result<(), RunError> {
    app::run(config(), ConfigFile::new("test.toml"), stop).await
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_each_start_of_a_part_ends_the_worker_with_a_sentence_and_a_code() {
    let (_bug, _) = bug::where_it_logs(LINE, u32::MAX);
    let error = cli::Error::from(run(CancellationToken::new()).await.unwrap_err());
    let sentence = error.to_string();
    assert!(
        sentence.starts_with("the part \"publishing connection\" failed 5 times in a row, so the worker has stopped"),
        "{sentence}"
    );
    assert!(sentence.contains("it panicked: a bug"), "{sentence}");
    assert_eq!(error.exit_code(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_panics_once_is_started_again_and_the_worker_goes_on() {
    let (_bug, logged) = bug::where_it_logs(LINE, 1);
    let stop = CancellationToken::new();
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(run(stop.clone()), stopping);
    assert!(ended.is_ok());
    assert!(logged.load(Ordering::Relaxed) > 1, "it was not started again");
}
