//! The console as people use it: Chromium on a worker at work, between a real RabbitMQ and the sandbox.

mod accessibility;
mod browser;
mod hands;
mod incident;
mod lasting;
mod mend;
mod roles;
mod webdriver;

use crate::support::shared_url;
use crate::worker::client::Client;
use crate::worker::dead::with_letters;
use crate::worker::stage::Stage;

/// A token that may only read.
const READER: &str = "a-token-that-may-only-read";

/// A worker with so many dead letters, and somebody who may only read.
async fn stage(letters: u32) -> (Stage, Client) {
    let reader = format!("[admin.tokens.watcher]\ntoken = \"{READER}\"\nrole = \"read\"\n");
    with_letters(&shared_url().await, letters, &reader).await
}
