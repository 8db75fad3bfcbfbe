//! The hook over HTTP.

use super::*;

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
async fn each_element_of_an_array_is_an_event() {
    let caller = start(Settings::default()).await;
    let body = r#"[{"id": "a", "n": 1.50}, {"id": "b"}, {"id": "a"}]"#;
    let answer = caller.request(Method::POST, "/hook/a").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let stats = caller.of("/hook/a");
    assert_eq!((stats.accepted, stats.events, stats.distinct, stats.duplicates), (1, 3, 2, 1));
    assert_eq!(caller.sandbox.handle().events(None, 3)[0], r#"{"id": "a", "n": 1.50}"#);
}

#[tokio::test]
async fn a_hook_can_ask_for_a_token_of_its_own_endpoint() {
    let hook = HookSettings { oauth: Some(HookClient::new("id", "secret")), ..HookSettings::default() };
    let caller = start(Settings { hook, ..Settings::default() }).await;
    let form = "application/x-www-form-urlencoded";
    let ask = || caller.request(Method::POST, "/hook-oauth/token").header("content-type", form);
    let basic = ask().basic_auth("id", Some("secret")).body("grant_type=client_credentials").send().await.unwrap();
    let granted = json_of(basic).await;
    assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let body = "grant_type=client_credentials&client_id=id&client_secret=";
    assert_eq!(ask().body(format!("{body}secret")).send().await.unwrap().status(), 200);
    assert_eq!(ask().body(format!("{body}wrong")).send().await.unwrap().status(), 401);
    let twice = ask().basic_auth("id", Some("secret")).body(format!("{body}secret"));
    assert_eq!(twice.send().await.unwrap().status(), 400);
    assert_eq!(ask().body("grant_type=password").send().await.unwrap().status(), 400);

    let post = async |token: &str| {
        let asked = caller.request(Method::POST, "/hook/a").bearer_auth(token).body("{}");
        asked.send().await.unwrap().status().as_u16()
    };
    let token = granted["access_token"].as_str().unwrap();
    assert_eq!((post(token).await, post("wrong").await), (200, 401));
    assert!(caller.sandbox.handle().revoke(Some("hook"), Revoked::All));
    assert_eq!(post(token).await, 401);
}
