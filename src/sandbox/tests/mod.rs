//! The sandbox over real HTTP, as a client sees it.

mod act_on;
mod apsis_one;
mod faults;
mod gainsight_px;
mod hook;
mod latency;

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::*;

const PX: &str = "/v1/events/custom";
const KEY: &str = "X-APTRINSIC-API-KEY";

struct Caller {
    sandbox: Sandbox,
    client: Client,
}

/// Every vendor answers at once.
async fn start(settings: Settings) -> Caller {
    // The client wants a TLS provider even for http; one for the process, so a second call is refused.
    rustls::crypto::ring::default_provider().install_default().ok();
    let settings = Settings { latency: vec![Latency::NONE.into()], ..settings };
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
        self.of("gainsight-px")
    }

    fn of(&self, endpoint: &str) -> EndpointStats {
        self.sandbox.handle().stats().remove(endpoint).unwrap()
    }

    fn kept(&self, endpoint: &str) -> Vec<Value> {
        let bodies = self.sandbox.handle().events(Some(endpoint), usize::MAX);
        bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect()
    }

    async fn fault(&self, rules: Value) -> u16 {
        let asked = self.request(Method::POST, "/sandbox/faults").json(&rules);
        asked.send().await.unwrap().status().as_u16()
    }
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
async fn a_probe_is_answered_whatever_the_vendors_suffer() {
    let faults = vec![r#"{"fault":"status","status":503}"#.parse().unwrap()];
    let caller = start(Settings { faults, ..Settings::default() }).await;
    assert_eq!(caller.request(Method::GET, "/healthz").send().await.unwrap().status(), 200);
    assert!(caller.stats().received == 0, "it is nobody's request");
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
async fn an_address_that_is_taken_is_named() {
    let caller = start(Settings::default()).await;
    let listen = caller.sandbox.address();
    let error = Sandbox::start(Settings { listen, ..Settings::default() }).await.unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}
