//! Faults over HTTP, and what a bare socket sees of them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn a_status_fault_answers_instead_of_the_vendor_until_its_count_is_over() {
    let caller = start(Settings::default()).await;
    let rule = json!({ "fault": "status", "status": 429, "retry_after": 7, "count": 1, "path": "/v1" });
    assert_eq!(caller.fault(rule).await, 200);
    let answer = caller.send("a").await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    assert_eq!(caller.send("a").await.status(), 201);
    let stats = caller.stats();
    assert_eq!((stats.received, stats.accepted, stats.faulted, stats.refused), (2, 1, 1, 0));
}

#[tokio::test]
async fn retry_after_goes_out_as_a_date_or_as_any_text() {
    let caller = start(Settings::default()).await;
    let rules = json!([
        { "fault": "status", "status": 503, "retry_after": "date", "count": 1 },
        { "fault": "status", "status": 503, "retry_after": { "date": 60 }, "count": 1 },
        { "fault": "html", "retry_after": "soon", "count": 1 }
    ]);
    assert_eq!(caller.fault(rules).await, 200);
    for _ in 0..2 {
        let answer = caller.send("a").await;
        let date = httpdate::parse_http_date(answer.headers()["retry-after"].to_str().unwrap()).unwrap();
        assert!(date > std::time::UNIX_EPOCH);
    }
    let answer = caller.send("a").await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (502, &"soon".parse().unwrap()));
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
}

#[tokio::test]
async fn a_bad_body_comes_with_the_status_of_success() {
    let caller = start(Settings::default()).await;
    caller.fault(json!({ "fault": "bad-body" })).await;
    let answer = caller.send("a").await;
    assert_eq!(answer.status(), 201);
    assert!(serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).is_err());
    assert_eq!((caller.stats().accepted, caller.stats().faulted), (1, 1));
}

#[tokio::test]
async fn a_slow_answer_is_still_the_vendors_and_may_come_too_late() {
    let caller = start(Settings::default()).await;
    caller.fault(json!([{ "fault": "slow", "ms": 1, "count": 1 }, { "fault": "slow", "ms": 60_000 }])).await;
    assert_eq!(caller.send("a").await.status(), 201);
    let late = caller.event("b").timeout(Duration::from_millis(100)).send().await;
    assert!(late.unwrap_err().is_timeout());
    assert_eq!(caller.stats().accepted, 2);
}

#[tokio::test]
async fn a_hanging_request_is_never_answered_and_ends_with_the_sandbox() {
    let caller = start(Settings::default()).await;
    caller.sandbox.handle().add_fault(FaultRule::new(FaultKind::Hang)).unwrap();
    let asked = caller.event("a").timeout(Duration::from_millis(100)).send().await;
    assert!(asked.unwrap_err().is_timeout());
    assert_eq!((caller.stats().faulted, caller.stats().accepted), (1, 0));

    let hanging = tokio::spawn(caller.event("b").send());
    while caller.stats().faulted < 2 {
        tokio::task::yield_now().await;
    }
    caller.sandbox.stop().await;
    assert!(hanging.await.unwrap().is_err());
}

/// What a bare socket sees after posting an event: the bytes of the answer, or how the connection broke.
async fn post_by_socket(caller: &Caller) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(caller.sandbox.address()).await?;
    let body = event("a").to_string();
    let head = format!(
        "POST {PX} HTTP/1.1\r\nhost: sandbox\r\n{KEY}: sandbox\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map(|_| answer)
}

#[tokio::test]
async fn a_reset_is_seen_as_a_reset_and_nothing_is_taken() {
    let caller = start(Settings::default()).await;
    caller.sandbox.handle().add_fault(FaultRule::new(FaultKind::Reset)).unwrap();
    assert_eq!(post_by_socket(&caller).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!((caller.stats().accepted, caller.stats().faulted), (0, 1));
    caller.sandbox.handle().clear_faults();
    assert!(post_by_socket(&caller).await.unwrap().starts_with(b"HTTP/1.1 201"));
}

#[tokio::test]
async fn a_drop_after_takes_the_event_and_resets() {
    let caller = start(Settings::default()).await;
    caller.sandbox.handle().add_fault(FaultRule::new(FaultKind::DropAfter)).unwrap();
    assert_eq!(post_by_socket(&caller).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!((caller.stats().accepted, caller.stats().faulted), (1, 1));
}

#[tokio::test]
async fn faults_are_listed_cleared_and_refused_when_wrong() {
    let caller = start(Settings { faults: vec![FaultRule::status(500)], ..Settings::default() }).await;
    assert_eq!(caller.send("a").await.status(), 500);
    let listed = json_of(caller.request(Method::GET, "/sandbox/faults").send().await.unwrap()).await;
    assert_eq!(listed, json!([{ "fault": "status", "status": 500, "befallen": 1 }]));
    assert_eq!(caller.fault(json!([{ "fault": "hang" }, { "fault": "explode" }])).await, 400);
    assert_eq!(caller.request(Method::DELETE, "/sandbox/faults").send().await.unwrap().status(), 200);
    assert_eq!(caller.send("a").await.status(), 201, "of a list with a wrong rule, none is added");
}
