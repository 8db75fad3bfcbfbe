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
