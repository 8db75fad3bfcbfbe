//! Commands to the workers.

use std::time::Duration;

use bytes::Bytes;
use sluice::broker::port::PublishError;
use sluice::broker::{Names, control_call};

use crate::support::*;
use crate::worker::stage::until;

#[tokio::test]
async fn a_command_reaches_every_worker_and_each_answer_comes_back() {
    let settings = settings(&shared_url().await);
    let names = Names::new(&settings.prefix);
    let workers = [start(&settings), start(&settings)];
    for worker in &workers {
        let (_, mut messages) = worker.control();
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                if message.wants_reply() {
                    let sent = message.reply(Bytes::from([b"did ", &message.body[..]].concat())).await;
                    // Who asked waits a moment for further answers, and has gone when one takes longer.
                    assert!(matches!(sent, Ok(()) | Err(PublishError::Unroutable { .. })), "{sent:?}");
                }
            }
        });
    }
    until("both workers answer", async || {
        let body = Bytes::from_static(b"pause");
        let answers = control_call(&settings.url, &names, body, Duration::from_secs(5)).await.unwrap();
        assert!(answers.iter().all(|answer| answer == "did pause"), "{answers:?}");
        answers.len() == workers.len()
    })
    .await;
    for worker in workers {
        assert!(worker.close(LONG).await);
    }
}

#[tokio::test]
async fn without_a_worker_there_is_no_answer() {
    let settings = settings(&shared_url().await);
    let body = Bytes::from_static(b"pause");
    let answers = control_call(&settings.url, &Names::new(&settings.prefix), body, LONG).await.unwrap();
    assert!(answers.is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_said_within_seconds() {
    let url = shared_url().await.replace("guest:guest", "guest:wrong");
    let broker = start(&settings(&url));
    let error = broker.wait_ready(LONG).await.unwrap_err().to_string();
    assert!(error.contains("refused") && error.contains("password"), "{error}");
    let error = control_call(&url.into(), &Names::new("x"), Bytes::new(), LONG).await.unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
}
