//! The sandbox over real HTTP, as a client sees it.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const PX: &str = "/v1/events/custom";
const KEY: &str = "X-APTRINSIC-API-KEY";

struct Caller {
    sandbox: Sandbox,
    client: Client,
}

async fn start(settings: Settings) -> Caller {
    // The client wants a TLS provider even for http; one for the process, so a second call is refused.
    rustls::crypto::ring::default_provider().install_default().ok();
    Caller { sandbox: Sandbox::start(settings).await.unwrap(), client: Client::new() }
}

async fn start_px(px: PxSettings) -> Caller {
    start(Settings { px, ..Settings::default() }).await
}

/// A day's limit, so that no test depends on how fast it runs.
fn daily(count: u32) -> Vec<Limit> {
    vec![Limit { count, window: Duration::from_secs(864_000_000) }]
}

fn event(id: &str) -> Value {
    json!({
        "eventId": id, "identifyId": "u-1", "propertyKey": "AP-XXXXXXXXXX-2", "eventName": "Report", "userType": "USER"
    })
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

impl Caller {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.sandbox.address());
        self.client.request(method, url).timeout(Duration::from_secs(10))
    }

    fn event(&self, id: &str) -> RequestBuilder {
        self.request(Method::POST, PX).header(KEY, "sandbox").json(&event(id))
    }

    async fn send(&self, id: &str) -> Response {
        self.event(id).send().await.unwrap()
    }

    fn stats(&self) -> EndpointStats {
        self.sandbox.handle().stats().remove("gainsight-px").unwrap()
    }

    async fn fault(&self, rules: Value) -> u16 {
        let asked = self.request(Method::POST, "/sandbox/faults").json(&rules);
        asked.send().await.unwrap().status().as_u16()
    }
}

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
async fn other_paths_are_404_and_other_methods_405() {
    let caller = start(Settings::default()).await;
    for (method, path, status) in [
        (Method::POST, "/v1/event/custom", 404),
        (Method::DELETE, PX, 405),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/sandbox/nothing", 404),
    ] {
        let answer = caller.request(method, path).header(KEY, "sandbox").send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
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

#[tokio::test]
async fn a_hook_takes_any_json_and_is_limited_by_path() {
    let hook = HookSettings { limits: daily(1), ..HookSettings::default() };
    let caller = start(Settings { hook, ..Settings::default() }).await;
    let post = async |path: &str, body: &str| {
        caller.request(Method::POST, path).body(body.to_owned()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post("/hook/a", "[1, null]").await, 200);
    assert_eq!(post("/hook/a", "{}").await, 429);
    assert_eq!(post("/hook/b/c", "{\"id\":\"x\"}").await, 200);
    assert_eq!(post("/hook/d", "{").await, 400);
    let stats = caller.sandbox.handle().stats();
    assert_eq!((stats["/hook/a"].accepted, stats["/hook/a"].refused, stats["/hook/b/c"].accepted), (1, 1, 1));
}

#[tokio::test]
async fn the_same_event_twice_is_counted_as_a_duplicate() {
    let caller = start(Settings::default()).await;
    for id in ["a", "b", "a"] {
        caller.send(id).await;
    }
    let stats = json_of(caller.request(Method::GET, "/sandbox/stats").send().await.unwrap()).await;
    let px = &stats["endpoints"]["gainsight-px"];
    assert_eq!((&px["accepted"], &px["distinct"], &px["duplicates"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!(px["limit"], "200/s");
    assert!(px["first_arrival"].is_string() && px["quota_use"].is_number());
}

#[tokio::test]
async fn the_last_events_are_shown_and_forgotten() {
    let caller = start(Settings::default()).await;
    for id in ["a", "b", "c"] {
        caller.send(id).await;
    }
    let events = json_of(caller.request(Method::GET, "/sandbox/events?limit=2").send().await.unwrap()).await;
    assert_eq!((events[0]["eventId"].as_str(), events[1]["eventId"].as_str()), (Some("b"), Some("c")));
    assert_eq!(caller.request(Method::DELETE, "/sandbox/events").send().await.unwrap().status(), 200);
    assert_eq!(caller.stats().received, 0);
    assert!(caller.sandbox.handle().events(None, 10).is_empty());
}

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
    caller.sandbox.handle().add_fault(Rule::new(Fault::Hang)).unwrap();
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
    caller.sandbox.handle().add_fault(Rule::new(Fault::Reset)).unwrap();
    assert_eq!(post_by_socket(&caller).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!((caller.stats().accepted, caller.stats().faulted), (0, 1));
    caller.sandbox.handle().clear_faults();
    assert!(post_by_socket(&caller).await.unwrap().starts_with(b"HTTP/1.1 201"));
}

#[tokio::test]
async fn a_drop_after_takes_the_event_and_resets() {
    let caller = start(Settings::default()).await;
    caller.sandbox.handle().add_fault(Rule::new(Fault::DropAfter)).unwrap();
    assert_eq!(post_by_socket(&caller).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!((caller.stats().accepted, caller.stats().faulted), (1, 1));
}

#[tokio::test]
async fn faults_are_listed_cleared_and_refused_when_wrong() {
    let caller = start(Settings { faults: vec![Rule::status(500)], ..Settings::default() }).await;
    assert_eq!(caller.send("a").await.status(), 500);
    let listed = json_of(caller.request(Method::GET, "/sandbox/faults").send().await.unwrap()).await;
    assert_eq!(listed, json!([{ "fault": "status", "status": 500, "befallen": 1 }]));
    assert_eq!(caller.fault(json!([{ "fault": "hang" }, { "fault": "explode" }])).await, 400);
    assert_eq!(caller.request(Method::DELETE, "/sandbox/faults").send().await.unwrap().status(), 200);
    assert_eq!(caller.send("a").await.status(), 201, "of a list with a wrong rule, none is added");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let caller = start(Settings::default()).await;
    let listen = caller.sandbox.address();
    let error = Sandbox::start(Settings { listen, ..Settings::default() }).await.unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}
