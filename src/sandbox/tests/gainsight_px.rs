//! Gainsight PX over HTTP.

use super::*;

#[tokio::test]
async fn a_good_event_is_answered_201_with_an_entity() {
    let caller = start(Settings::default()).await;
    let answer = caller.send("e-1").await;
    assert_eq!(answer.status(), 201);
    assert_eq!(json_of(answer).await, json!({ "body": {}, "statusCode": "201", "statusCodeValue": 201 }));
    assert_eq!(caller.stats().accepted, 1);
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_answered_401_and_a_read_only_one_403_in_html() {
    let keys = vec![PxKey::new("sandbox"), PxKey::read_only("reader")];
    let caller = start_px(PxSettings { keys, ..PxSettings::default() }).await;
    let missing = caller.request(Method::POST, PX).json(&event("e")).send().await.unwrap();
    assert_eq!(missing.status(), 401);
    assert_eq!(json_of(missing).await["externalapierror"]["message"], "Unauthorized or bad API Key");

    let with = |key| caller.request(Method::POST, PX).header(KEY, key).json(&event("e")).send();
    assert_eq!(with("wrong").await.unwrap().status(), 401);
    let forbidden = with("reader").await.unwrap();
    assert_eq!(forbidden.status(), 403);
    assert!(forbidden.text().await.unwrap().starts_with("<!doctype html>"));

    assert_eq!(caller.stats().unauthorized, 2);
    assert_eq!(caller.sandbox.handle().stats()["gainsight-px/2"].unauthorized, 1);
}

#[tokio::test]
async fn a_broken_body_is_answered_400_with_what_is_wrong() {
    let caller = start_px(PxSettings { reject_names: vec!["Rejected".into()], ..PxSettings::default() }).await;
    let mut rejected = event("e");
    rejected["eventName"] = json!("Rejected");
    for body in ["{", "[]", &json!({ "identifyId": 7 }).to_string(), &rejected.to_string()] {
        let asked = caller.request(Method::POST, PX).header(KEY, "sandbox").header("content-type", "application/json");
        let answer = asked.body(body.to_owned()).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let error = json_of(answer).await["externalapierror"].take();
        assert_eq!((&error["status"], &error["debugMessage"]), (&json!("BAD_REQUEST"), &Value::Null));
        assert!(error["message"].is_string() && error["subErrors"].is_array());
    }
    let text = caller.request(Method::POST, PX).header(KEY, "sandbox").body(event("e").to_string());
    assert_eq!(text.send().await.unwrap().status(), 400, "no content type");
    assert_eq!(caller.stats().invalid, 5);
}

#[tokio::test]
async fn over_the_limit_is_answered_429_without_a_hint_as_documented() {
    let caller = start_px(PxSettings { limits: daily(2), ..PxSettings::default() }).await;
    let mut statuses = Vec::new();
    for id in ["a", "b", "c"] {
        let answer = caller.send(id).await;
        statuses.push(answer.status().as_u16());
        assert!(answer.headers().get("retry-after").is_none());
    }
    assert_eq!(statuses, [201, 201, 429]);
    let stats = caller.stats();
    assert_eq!((stats.received, stats.accepted, stats.refused, stats.busiest_second_accepted), (3, 2, 1, 2));
}

#[tokio::test]
async fn a_refusal_and_the_quota_can_be_announced() {
    let caller = start_px(PxSettings {
        limits: daily(1),
        retry_after: RetryAfterForm::Seconds,
        quota_headers: QuotaHeaders::RateLimitFields,
        ..PxSettings::default()
    })
    .await;
    let first = caller.send("a").await;
    assert_eq!(first.headers()["ratelimit-remaining"], "0");
    assert_eq!(first.headers()["ratelimit-limit"], "1");
    let refused = caller.send("b").await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait > 0);
}

#[tokio::test]
async fn each_key_has_a_limit_of_its_own() {
    let keys = vec![PxKey::new("sandbox"), PxKey::new("other")];
    let caller = start_px(PxSettings { keys, limits: daily(1), ..PxSettings::default() }).await;
    assert_eq!(caller.send("a").await.status(), 201);
    assert_eq!(caller.send("b").await.status(), 429);
    let other = caller.request(Method::POST, PX).header(KEY, "other").json(&event("b"));
    assert_eq!(other.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn events_are_read_back_by_user() {
    let caller = start(Settings::default()).await;
    caller.send("e-1").await;
    let path = format!("{PX}?filter=identifyId%3D%3Du-1&pageSize=10");
    let page = json_of(caller.request(Method::GET, &path).header(KEY, "sandbox").send().await.unwrap()).await;
    assert_eq!((&page["totalHits"], &page["customEvents"][0]["eventId"]), (&json!(1), &json!("e-1")));
}
