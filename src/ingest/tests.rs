//! The server's router without a socket, and a broker in memory.

use std::collections::BTreeMap;

use axum::http::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::*;
use crate::broker::port::Publication;

const TOKEN: &str = "token-of-the-shop";

struct Stage {
    router: Router,
    ingest: Arc<Ingest>,
    published: mpsc::Receiver<Publication>,
    status: watch::Sender<BrokerStatus>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

fn token(name: &str, rate: Option<f64>) -> IngestToken {
    let (types, sources) = (vec!["shop.#".to_owned()], vec!["/shop".to_owned()]);
    IngestToken { name: name.to_owned(), token: Some(SecretString::from(TOKEN)), secret: None, types, sources, rate }
}

impl Stage {
    fn new(tokens: Vec<IngestToken>) -> Self {
        let mut connected = BrokerStatus::default();
        connected.publishing.connected = true;
        let ((queue, published), (status, told)) = (mpsc::channel(1000), watch::channel(connected));
        let settings = Settings { listen: ([127, 0, 0, 1], 9465).into(), max_body_bytes: 8192, tokens };
        let ends = (Publisher::new(queue), told);
        let ingest = Ingest::new(&settings, 4096, ends, ("sluice.events".to_owned(), (Metrics::new().unwrap(), None)));
        Self { router: router(Arc::clone(&ingest)), ingest, published, status }
    }

    /// What is answered while a broker confirms everything, and what it got.
    async fn post(&mut self, headers: &[(&str, &str)], body: &str) -> (Answer, Vec<Publication>) {
        let asked = ask(self.router.clone(), Method::POST, PATH, headers, body.to_owned());
        tokio::pin!(asked);
        let mut got = Vec::new();
        loop {
            tokio::select! {
                answer = &mut asked => return (answer, got),
                Some(publication) = self.published.recv() => {
                    let Publication { exchange, routing_key, message, outcome } = publication;
                    outcome.send(Ok(())).unwrap();
                    let (outcome, _) = tokio::sync::oneshot::channel();
                    got.push(Publication { exchange, routing_key, message, outcome });
                }
            }
        }
    }

    async fn json(&mut self, body: &Value) -> (Answer, Vec<Publication>) {
        self.post(&[("content-type", "application/json")], &body.to_string()).await
    }
}

async fn ask(router: Router, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body: serde_json::from_slice(&body).unwrap() }
}

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/shop", "type": "shop.paid", "data": { "n": 1 } })
}

#[tokio::test]
async fn every_form_is_published_as_the_event_that_it_is() {
    let mut stage = Stage::new(Vec::new());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let structured = [("content-type", "application/cloudevents+json; charset=utf-8"), ("traceparent", parent)];
    let (answer, got) = stage.post(&structured, &event("a").to_string()).await;
    assert_eq!(
        (answer.status, &answer.body),
        (202, &json!({ "results": [{ "index": 0, "id": "a", "published": true }] }))
    );
    assert_eq!((got[0].exchange.as_str(), got[0].routing_key.as_str()), ("sluice.events", "shop.paid"));
    let properties = &got[0].message.properties;
    assert_eq!(
        (properties.message_id.as_deref(), properties.headers["traceparent"].as_str()),
        (Some("a"), Some(parent))
    );
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "b"),
        ("ce-source", "/shop"),
        ("ce-type", "shop.sent"),
    ];
    let (answer, got) = stage.post(&binary, "{\"n\":2}").await;
    assert_eq!(
        (answer.status, got[0].routing_key.as_str(), &got[0].message.body[..]),
        (202, "shop.sent", &b"{\"n\":2}"[..])
    );
    let lines = format!("{}\n{}\n", event("c"), event("d"));
    let (answer, got) = stage.post(&[("content-type", "application/x-ndjson")], &lines).await;
    assert_eq!((answer.status, got.len()), (202, 2));
    let (answer, got) = stage.json(&json!([event("e"), event("f"), event("g")])).await;
    assert_eq!((answer.status, got.len(), &answer.body["results"][2]["id"]), (202, 3, &json!("g")));
}

#[tokio::test]
async fn a_bad_event_among_good_ones_is_named_and_the_good_ones_are_published() {
    let mut stage = Stage::new(Vec::new());
    let mut bad = event("bad");
    bad["time"] = json!("noon");
    let (answer, got) = stage.json(&json!([event("a"), bad, event("b")])).await;
    assert_eq!((answer.status, got.len()), (400, 2));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let results = &answer.body["results"];
    assert_eq!((&results[0]["published"], &results[2]["published"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&results[1]["published"], &results[1]["id"], &results[1]["field"]),
        (&json!(false), &json!("bad"), &json!("time"))
    );
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.starts_with("refused: 1 of 3 (the one at index 1: the attribute \"time\""), "{detail}");
    let shown = stage.ingest.metrics.ingest_events_total.with_label_values(&["local", "refused"]).get();
    assert_eq!(shown, 1);
}

#[tokio::test]
async fn what_cannot_be_taken_has_its_status() {
    let mut stage = Stage::new(Vec::new());
    let structured = "application/cloudevents+json";
    let large =
        json!({ "specversion": "1.0", "id": "a", "source": "/s", "type": "t", "data": { "x": "y".repeat(5000) } });
    for (kind, body, status, said) in [
        ("text/plain", "{}".to_owned(), 415, "text/plain"),
        (structured, "{".to_owned(), 400, "not JSON"),
        (structured, "{\"specversion\":\"1.0\"}".to_owned(), 400, "\"id\" is missing"),
        (structured, large.to_string(), 413, "over 4096 bytes"),
        ("application/json", json!([event("a"), large]).to_string(), 400, "at most 4096 are allowed"),
        ("application/json", "[".to_owned(), 400, "not a JSON array"),
        ("application/json", json!(vec![event("a"); 100]).to_string(), 413, "over 8192 bytes"),
    ] {
        let (answer, _) = stage.post(&[("content-type", kind)], &body).await;
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(answer.status == status && detail.contains(said), "{} {detail}", answer.status);
    }
    let answer = ask(stage.router.clone(), Method::GET, PATH, &[], String::new()).await;
    assert_eq!((answer.status, &answer.headers["allow"]), (405, &"POST".parse().unwrap()));
    assert_eq!(ask(stage.router.clone(), Method::GET, "/x", &[], String::new()).await.status, 404);
}

#[tokio::test]
async fn a_token_is_held_to_its_types_its_sources_and_its_rate() {
    let mut stage = Stage::new(vec![token("shop", Some(2.0))]);
    let bearer = format!("Bearer {TOKEN}");
    let with = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let (answer, _) = stage.json(&event("a")).await;
    assert_eq!((answer.status, &answer.headers["www-authenticate"]), (401, &"Bearer".parse().unwrap()));
    for (name, value) in [("type", "crm.paid"), ("source", "/crm")] {
        let mut other = event("a");
        other[name] = json!(value);
        let (answer, got) = stage.post(&with, &other.to_string()).await;
        assert_eq!((answer.status, got.len(), &answer.body["results"][0]["field"]), (403, 0, &json!(name)));
    }
    let (answer, _) = stage.post(&with, &json!(vec![event("a"); 20]).to_string()).await;
    assert_eq!(answer.status, 202);
    let (answer, _) = stage.post(&with, &event("b").to_string()).await;
    let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(answer.status == 429 && (8..=9).contains(&after), "{after}");
    let requests = &stage.ingest.metrics.ingest_requests_total;
    let count = |token: &str, class: &str| requests.with_label_values(&[token, class]).get();
    assert_eq!((count("none", "4xx"), count("shop", "4xx"), count("shop", "2xx")), (1, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_nothing_holds_nobody_up() {
    let mut stage = Stage::new(Vec::new());
    stage.status.send_modify(|status| status.publishing.blocked = Some("memory".to_owned()));
    let (answer, _) = stage.json(&event("a")).await;
    assert_eq!((answer.status, &answer.headers["retry-after"]), (503, &"5".parse().unwrap()));
    stage.status.send_modify(|status| status.publishing.blocked = None);
    // It takes them over and confirms only one of them.
    let headers = [("content-type", "application/json")];
    let asked = ask(stage.router.clone(), Method::POST, PATH, &headers, json!([event("a"), event("b")]).to_string());
    let broker = async {
        let first = stage.published.recv().await.unwrap();
        let _second = stage.published.recv().await.unwrap();
        first.outcome.send(Ok(())).unwrap();
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! { answer = asked => answer, () = broker => unreachable!() };
    assert_eq!((answer.status, &answer.headers["retry-after"]), (503, &"5".parse().unwrap()));
    let published: BTreeMap<&str, bool> = answer.body["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| (result["id"].as_str().unwrap(), result["published"].as_bool().unwrap()))
        .collect();
    assert_eq!(published, BTreeMap::from([("a", true), ("b", false)]));
    assert!(answer.body["detail"].as_str().unwrap().contains("send them again with the same ids"));
}

#[tokio::test]
async fn a_reload_replaces_tokens_and_never_drops_the_last() {
    let stage = Stage::new(vec![token("shop", None)]);
    let parse = |text: &str| {
        let text = format!("[broker]\nurl = \"amqp://x\"\n[ingest]\nlisten = \"127.0.0.1:1\"\n{text}");
        crate::config::parse("sluice.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap()
    };
    stage.ingest.reloaded(&parse("[ingest.tokens.crm]\ntoken = \"token-of-the-crm\"\n"));
    stage.ingest.reloaded(&parse(""));
    let names: Vec<String> = stage.ingest.tokens().iter().map(|token| token.name.clone()).collect();
    assert_eq!(names, ["crm"]);
}
