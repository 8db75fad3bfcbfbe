use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::audit::Marks;
use crate::broker::{BrokerSettings, Declare};
use crate::config::Role;

const READ: &str = "Bearer a-token-to-read-with";
const ACT: &str = "bearer a-token-to-act-with";
const LIST: &str = "/api/v1/destinations";
const PAUSE: &str = "/api/v1/destinations/px/pause";
const RELOAD: &str = "/api/v1/reload";
const LIMITS: &str = "/api/v1/destinations/px/limits";
const JSON: (&str, &str) = ("content-type", "application/json");

pub(super) fn tokens() -> Vec<AdminToken> {
    let token =
        |name: &str, role| AdminToken { name: name.to_owned(), role, secret: format!("a-token-to-{name}-with").into() };
    vec![token("act", Role::Act), token("read", Role::Read)]
}

/// A configuration with these tokens and no destination.
pub(super) fn config(tokens: Vec<AdminToken>) -> Config {
    config_of("[broker]\nurl = \"amqp://localhost\"\n", tokens)
}

/// A configuration with these tokens.
pub(super) fn config_of(text: &str, tokens: Vec<AdminToken>) -> Config {
    let config = crate::config::parse("test.toml", text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()));
    let mut config = config.unwrap_or_else(|problems| panic!("{problems}"));
    config.admin.tokens = tokens;
    config
}

/// An admin over nothing, whose broker is away.
pub(super) fn admin(tokens: Vec<AdminToken>) -> Arc<Admin> {
    admin_of(&config(tokens))
}

/// An admin over nothing that has this configuration, and whose broker is away.
pub(super) fn admin_of(config: &Config) -> Arc<Admin> {
    let settings = BrokerSettings {
        url: "amqp://127.0.0.1:1".into(),
        prefix: "test".to_owned(),
        declare: Declare::Create,
        delivery_limit: 20,
        name: "test".to_owned(),
    };
    let broker = Broker::start(settings, CancellationToken::new());
    let (metrics, roster, operations) = (Metrics::new().unwrap(), Roster::default(), Registry::default());
    let watch = Watch::new(metrics.clone(), broker.clone(), roster.clone(), operations.clone(), config);
    let over = (broker, roster, watch);
    let issues = Issues::new(over.clone(), metrics.clone(), Marks::default(), config);
    Admin::new(over, (metrics, operations, issues, None), Supervisor::default(), config)
}

fn site(tokens: Vec<AdminToken>) -> Router {
    router(admin(tokens))
}

/// The answer's status, its headers, and what it says.
async fn ask(
    site: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, header::HeaderMap, Value) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = site.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !parts.status.is_success() && method != "HEAD" {
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/problem+json", "{method} {path}");
        assert_eq!(said["status"], parts.status.as_u16(), "{said}");
    }
    (parts.status.as_u16(), parts.headers, said)
}

#[tokio::test]
async fn a_token_may_what_its_role_says() {
    let site = site(tokens());
    for (authorization, method, path, expected) in [
        (READ, "GET", LIST, 200),
        (READ, "HEAD", LIST, 200),
        (READ, "POST", PAUSE, 403),
        (READ, "DELETE", LIST, 403),
        (READ, "POST", RELOAD, 403),
        (ACT, "GET", LIST, 200),
        (ACT, "POST", PAUSE, 404),
        (ACT, "DELETE", LIST, 405),
        ("Bearer another-token-altogether", "GET", LIST, 401),
        ("Bearer ", "GET", LIST, 401),
        ("a-token-to-act-with", "GET", LIST, 401),
        ("Basic a-token-to-act-with", "GET", LIST, 401),
        ("", "GET", LIST, 401),
        ("", "DELETE", LIST, 401),
        ("", "GET", "/api/v1/nowhere", 401),
        (READ, "GET", "/api/v1/nowhere", 404),
    ] {
        let (status, headers, said) = ask(&site, method, path, &[("authorization", authorization)], "").await;
        assert_eq!(status, expected, "{authorization} {method} {path}: {said}");
        assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), expected == 401, "{authorization} {method} {path}");
    }
    assert_eq!(ask(&site, "GET", LIST, &[], "").await.0, 401);
    assert_eq!(ask(&site, "GET", "/healthz", &[], "").await.0, 200);
}

#[tokio::test]
async fn a_reload_needs_the_broker_and_says_so_at_once() {
    let site = site(tokens());
    for (body, expected) in
        [("", 503), ("null", 503), (r#"{"worker":"a/1"}"#, 503), (r#"{"wroker":"a/1"}"#, 422), ("[]", 422)]
    {
        let (status, _, said) = ask(&site, "POST", RELOAD, &[("authorization", ACT), JSON], body).await;
        assert_eq!(status, expected, "{body}: {said}");
    }
}

#[tokio::test]
async fn without_tokens_anyone_may_act_from_here() {
    let site = site(Vec::new());
    assert_eq!(ask(&site, "GET", LIST, &[], "").await.0, 200);
    assert_eq!(ask(&site, "POST", PAUSE, &[("authorization", "Bearer whatever")], "").await.0, 404);
}

#[tokio::test]
async fn no_web_page_of_another_site_may_use_the_api() {
    let open = site(Vec::new());
    for (host, origin, expected) in [
        ("127.0.0.1:9464", "http://127.0.0.1:9464", 404),
        ("LOCALHOST:9464", "http://localhost:9464", 404),
        ("[::1]:9464", "http://[::1]:9464", 404),
        ("127.0.0.1:9464", "http://127.0.0.1:8080", 403),
        ("127.0.0.1:9464", "https://evil.example", 403),
        ("127.0.0.1:9464", "null", 403),
        ("127.0.0.1:9464", "", 403),
        ("127.0.0.1:9464", "ü", 403),
        // Its name was made to lead here.
        ("evil.example:9464", "http://evil.example:9464", 403),
    ] {
        let (status, _, said) = ask(&open, "POST", PAUSE, &[("host", host), ("origin", origin)], "").await;
        assert_eq!(status, expected, "{host} {origin}: {said}");
    }
    for (host, expected) in [
        ("localhost", 200),
        ("10.0.0.1", 200),
        ("[::1]", 200),
        ("evil.example", 403),
        ("", 403),
        ("1.evil.example:80", 403),
    ] {
        assert_eq!(ask(&open, "GET", LIST, &[("host", host)], "").await.0, expected, "{host}");
    }
    let closed = site(tokens());
    let headers = [("authorization", ACT), ("host", "sluice.example"), ("origin", "https://sluice.example")];
    assert_eq!(ask(&closed, "POST", PAUSE, &headers, "").await.0, 404, "a name of its own, with a token");
    let headers = [("authorization", ACT), ("host", "sluice.example"), ("origin", "https://evil.example")];
    assert_eq!(ask(&closed, "POST", PAUSE, &headers, "").await.0, 403);
}

/// What `/readyz` lacks.
async fn lacking(admin: &Arc<Admin>) -> Vec<String> {
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let answer = router(Arc::clone(admin)).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 503);
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(said["ready"], false);
    serde_json::from_value(said["lacking"].clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn readiness_names_a_part_of_the_worker_that_does_not_work() {
    let (admin, stop) = (admin(Vec::new()), CancellationToken::new());
    let named = |lacking: &[String]| lacking.iter().filter(|lack| lack.starts_with("queue watch:")).count();
    assert_eq!(named(&lacking(&admin).await), 0);
    let failing = || async { Err("nothing is as it was".to_owned()) };
    tokio::spawn(admin.supervisor.keep("queue watch", &stop, failing));
    tokio::task::yield_now().await;
    let lacks = lacking(&admin).await;
    assert_eq!(named(&lacks), 1, "{lacks:?}");
    assert!(!lacks.concat().contains("nothing is as it was"), "whoever asks needs no token: {lacks:?}");
    admin.supervisor.given_up().await;
    let lacks = lacking(&admin).await;
    assert_eq!(named(&lacks), 1, "{lacks:?}");
}

#[tokio::test]
async fn the_last_token_is_never_dropped() {
    let admin = admin(tokens());
    admin.reloaded(&config(Vec::new()), "applied");
    assert_eq!(admin.tokens().len(), 2);
    admin.reloaded(&config(tokens().split_off(1)), "applied");
    let site = router(admin);
    assert_eq!(ask(&site, "GET", LIST, &[("authorization", READ)], "").await.0, 200);
    assert_eq!(ask(&site, "GET", LIST, &[("authorization", ACT)], "").await.0, 401, "it is gone");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem_that_says_why() {
    let site = site(Vec::new());
    let large = format!("{{\"limits\":[\"{}\"]}}", "1".repeat(70_000));
    for (method, path, headers, body, expected, part) in [
        ("PUT", LIMITS, &[JSON][..], "{\"limits\":[\"5/s\"]}", 404, "no destination \"px\""),
        ("PUT", LIMITS, &[JSON], "{\"limits\":[\"much\"]}", 422, "\"much\" is not a limit"),
        ("PUT", LIMITS, &[JSON], "{\"limits\":5}", 422, "\"limits\" is 5; it has to be a list"),
        ("PUT", LIMITS, &[JSON], "[[\"5/s\"]]", 422, "has to be a JSON object"),
        ("PUT", LIMITS, &[JSON], "{}", 422, "the field \"limits\" is missing"),
        ("PUT", LIMITS, &[JSON], "{\"limits\":[\"5/s\"],\"more\":1}", 422, "no field \"more\" here; there are: limits"),
        ("PUT", LIMITS, &[JSON], "{", 400, "not JSON: it ends too early"),
        ("PUT", LIMITS, &[JSON], "{\"limits\":[\"5/s\"]} 7", 400, "not JSON: see line 1, column 20"),
        ("PUT", LIMITS, &[], "{\"limits\":[\"5/s\"]}", 415, "the header Content-Type is missing"),
        ("PUT", LIMITS, &[("content-type", "text/plain")], "{\"limits\":[\"5/s\"]}", 415, "says \"text/plain\""),
        ("PUT", LIMITS, &[JSON], &large, 413, "larger than this address takes"),
        ("PUT", "/api/v1/destinations/%ff/limits", &[JSON], "{}", 400, "UTF-8"),
        ("GET", "/api/v1/destinations?state=open", &[], "", 400, "no parameter \"state\" here; there is none"),
        ("GET", "/api/v1/dead/audit?limit=x", &[], "", 400, "\"limit\" is \"x\"; it has to be a whole number"),
        ("GET", "/api/v1", &[], "", 404, "/api/v1/openapi.json"),
        ("GET", "/api/v1/", &[], "", 404, "/api/v1/openapi.json"),
        ("GET", "/nowhere", &[], "", 404, "/api/v1/openapi.json"),
    ] {
        let (status, _, said) = ask(&site, method, path, headers, body).await;
        assert_eq!(status, expected, "{method} {path}: {said}");
        assert!(said["detail"].as_str().unwrap().contains(part), "{said}");
    }
    for (method, path, allow) in [
        ("PUT", LIST, "GET,HEAD"),
        ("GET", PAUSE, "POST"),
        ("TRACE", LIMITS, "PUT,DELETE"),
        ("POST", "/readyz", "GET,HEAD"),
    ] {
        let (status, headers, _) = ask(&site, method, path, &[], "").await;
        assert_eq!((status, headers[header::ALLOW].to_str().unwrap()), (405, allow), "{method} {path}");
    }
}

/// Each operation of the document: its method, its path with names filled in, and what stands there.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let each = |(path, methods): (&String, &Value)| {
        let path = path.replace("{name}", "px");
        let methods = methods.as_object().unwrap().clone().into_iter();
        methods.map(|(method, operation)| (method.to_uppercase(), path.clone(), operation)).collect::<Vec<_>>()
    };
    paths.flat_map(each).collect()
}

#[tokio::test]
async fn the_document_has_every_endpoint_with_all_that_it_may_answer() {
    let site = site(Vec::new());
    let (status, headers, document) = ask(&site, "GET", "/api/v1/openapi.json", &[], "").await;
    assert_eq!((status, headers[header::CONTENT_TYPE].to_str().unwrap()), (200, "application/json"));
    assert_eq!(document["security"], Value::Null, "no token is asked for");
    let operations = operations(&document);
    let ids: std::collections::BTreeSet<_> = operations.iter().map(|(_, _, one)| one["operationId"].as_str()).collect();
    assert!(operations.len() >= 6 && ids.len() == operations.len(), "an operationId must be the only one: {ids:?}");
    for (method, path, operation) in operations {
        let which = format!("{method} {path}");
        let (status, _, said) =
            ask(&site, &method, &format!("{path}?no-such=1"), &[JSON], "{\"limits\":[\"5/s\"]}").await;
        assert!(status == 400 && said["detail"].as_str().unwrap().contains("no-such"), "{which}: {said}");
        let mut expected = vec!["400", "401", "403", "405"];
        expected.extend(path.contains("px").then_some("404"));
        expected.extend(operation["requestBody"].is_object().then_some(["413", "415", "422"]).into_iter().flatten());
        for status in expected {
            let schema = &operation["responses"][status]["content"]["application/problem+json"]["schema"];
            assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{which}: {status}");
        }
        for text in [&operation["summary"], &operation["responses"]["200"]["description"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{which} is not described");
        }
    }
}

#[tokio::test]
async fn the_document_asks_for_a_token_where_one_is_needed() {
    let site = site(tokens());
    let (status, _, document) = ask(&site, "GET", "/api/v1/openapi.json", &[("authorization", READ)], "").await;
    assert_eq!((status, &document["security"]), (200, &serde_json::json!([{ "bearer": [] }])));
}

#[test]
fn every_schema_and_every_field_is_described() {
    let document = serde_json::to_value(api::described()).unwrap();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name}");
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(schema["description"].is_string(), "{name}.{field}");
        }
    }
}
