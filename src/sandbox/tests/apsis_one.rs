//! APSIS One over HTTP.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const CALLS: &str = "apsis-one";
const SECTION: &str = "usercreated.sections.my_section-h4h3dpu3qi";

/// APSIS One with limits that no test runs into.
fn roomy() -> ApsisSettings {
    ApsisSettings {
        limits: daily(10_000),
        profile_limits: daily(10_000),
        auth_limits: daily(10_000),
        ..ApsisSettings::default()
    }
}

async fn start_apsis(apsis_one: ApsisSettings) -> Caller {
    start(Settings { apsis_one, ..Settings::default() }).await
}

fn grant() -> Value {
    json!({ "grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox" })
}

fn item(number: u32) -> Value {
    json!({
        "event_time": "2020-10-14T09:43:34.471Z", "version_id": 2_565_266,
        "data": {
            "myNumberField": number, "myNumberWithDecimalField": 213.21, "myTextField": "some transaction",
            "myTrueFalseField": false, "source": "some web shop"
        }
    })
}

fn path_of(profile: &str) -> String {
    format!("/audience/keyspaces/com.apsis1.keyspaces.email/profiles/{profile}/sections/{SECTION}/events")
}

impl Caller {
    async fn ask_apsis_token(&self, grant: &Value) -> (u16, Value) {
        let answer = self.request(Method::POST, "/oauth/token").json(grant).send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    }

    async fn apsis_token(&self) -> String {
        self.ask_apsis_token(&grant()).await.1["access_token"].as_str().unwrap().to_owned()
    }

    async fn post_items(&self, path: &str, token: &str, items: &[Value]) -> Response {
        let asked = self.request(Method::POST, path).bearer_auth(token).json(&json!({ "items": items }));
        asked.send().await.unwrap()
    }
}

#[tokio::test]
async fn a_token_ends_when_its_claim_says_and_not_when_expires_in_does() {
    let caller = start_apsis(ApsisSettings { token_life: Duration::from_mins(10), ..roomy() }).await;
    let (status, granted) = caller.ask_apsis_token(&grant()).await;
    assert_eq!((status, &granted["expires_in"], &granted["token_type"]), (200, &json!(86_400), &json!("Bearer")));
    let token = granted["access_token"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);

    let caller = start_apsis(ApsisSettings { token_life: Duration::ZERO, ..roomy() }).await;
    let token = caller.apsis_token().await;
    assert_eq!(caller.post_items(&path_of("p"), &token, &[item(1)]).await.status(), 401);
}

#[tokio::test]
async fn wrong_grants_are_told_apart_and_the_eleventh_of_a_minute_is_refused() {
    let caller = start_apsis(ApsisSettings { auth_limits: daily(4), ..roomy() }).await;
    let mut wrong = grant();
    wrong["client_secret"] = json!("wrong");
    let mut password = grant();
    password["grant_type"] = json!("password");
    let mut seen = Vec::new();
    for grant in [wrong, password, json!({}), grant(), grant()] {
        let (status, answer) = caller.ask_apsis_token(&grant).await;
        assert!(status == 200 || answer["status"] == status && answer["title"].is_string(), "{answer}");
        seen.push(status);
    }
    assert_eq!(seen, [401, 400, 400, 200, 429]);
    let stats = caller.of("apsis-one/auth");
    assert_eq!((stats.received, stats.accepted, stats.refused), (5, 1, 1));
    assert_eq!(ApsisSettings::default().auth_limits, ["10/min".parse().unwrap()]);
}

#[tokio::test]
async fn the_event_types_of_a_section_are_listed_with_their_versions() {
    let caller = start_apsis(roomy()).await;
    let token = caller.apsis_token().await;
    let list = async |section: &str| {
        let path = format!("/audience/sections/{section}/events");
        let answer = caller.request(Method::GET, &path).bearer_auth(&token).send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    };
    let (status, listed) = list(SECTION).await;
    assert_eq!(status, 200);
    let versions = &listed["items"][0]["versions"];
    assert_eq!((&versions[0]["id"], versions[0]["deprecated_at"].is_string()), (&json!("2565265"), true));
    assert_eq!((&versions[1]["id"], &versions[1]["deprecated_at"]), (&json!("2565266"), &Value::Null));
    assert_eq!(versions[1]["type"]["myNumberWithDecimalField"], "double");
    assert_eq!(list("usercreated.sections.other").await.0, 404);

    let mut edited = ApsisEventType::documented();
    edited.versions.remove(1);
    caller.sandbox.handle().set_event_types(vec![edited]);
    assert_eq!(list(SECTION).await.1["items"][0]["versions"].as_array().unwrap().len(), 1);
    assert_eq!(caller.post_items(&path_of("p"), &token, &[item(1)]).await.status(), 400, "an unknown version");
}

#[tokio::test]
async fn the_documented_event_is_taken_with_204_and_kept_in_order_of_arrival() {
    let caller = start_apsis(roomy()).await;
    let token = caller.apsis_token().await;
    for (profile, numbers) in [("steve%40apsis.com", [1, 2]), ("a%2F%3F%25%2B..%C3%A5", [3, 4])] {
        let answer = caller.post_items(&path_of(profile), &token, &numbers.map(item)).await;
        assert_eq!(answer.status(), 204);
        assert!(answer.bytes().await.unwrap().is_empty());
    }
    let events = caller.kept(CALLS);
    let seen: Vec<_> = events.iter().map(|event| (&event["profile"], &event["data"]["myNumberField"])).collect();
    let [steve, odd] = ["steve@apsis.com", "a/?%+..å"].map(|key| json!(key));
    assert_eq!(seen, [(&steve, &json!(1)), (&steve, &json!(2)), (&odd, &json!(3)), (&odd, &json!(4))]);
    assert_eq!(events[0]["event_time"], "2020-10-14T09:43:34.471Z");
    assert_eq!(events[0]["discriminator"], "com.apsis1.events.transaction.custom-my-transaction-l9ce3syo6t");
    assert_eq!((caller.of(CALLS).accepted, caller.of(CALLS).events), (2, 4));
}

#[tokio::test]
async fn one_wrong_item_refuses_all_and_names_its_field() {
    let caller = start_apsis(roomy()).await;
    let token = caller.apsis_token().await;
    let mut wrong = item(2);
    wrong["data"]["myNumberField"] = json!("two");
    let answer = caller.post_items(&path_of("p"), &token, &[item(1), wrong]).await;
    assert_eq!(answer.status(), 400);
    let problem = json!({
        "title": "Bad Request", "status": 400, "detail": "items[1].data.myNumberField: must be an integer"
    });
    assert_eq!(json_of(answer).await, problem);
    assert_eq!((caller.of(CALLS).events, caller.of(CALLS).invalid), (0, 1));
}

#[tokio::test]
async fn with_multi_status_each_item_has_its_own_result() {
    let caller = start_apsis(ApsisSettings { multi_status: true, ..roomy() }).await;
    let token = caller.apsis_token().await;
    let mut wrong = item(2);
    wrong["version_id"] = json!("nonsense");
    let answer = caller.post_items(&path_of("p"), &token, &[item(1), wrong, item(3)]).await;
    assert_eq!(answer.status(), 207);
    let results = json_of(answer).await;
    let statuses: Vec<_> = results["items"].as_array().unwrap().iter().map(|item| item["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(204), Some(400), Some(204)]);
    assert_eq!(caller.of(CALLS).events, 2);
}

#[tokio::test]
async fn a_deprecated_version_is_taken_and_counted_or_refused() {
    for (refuse_deprecated, status, counted) in [(false, 204, 1), (true, 400, 0)] {
        let caller = start_apsis(ApsisSettings { refuse_deprecated, require_all_fields: false, ..roomy() }).await;
        let token = caller.apsis_token().await;
        let mut old = item(1);
        old["version_id"] = json!("2565265");
        old["data"] = json!({ "myTextField": "t" });
        assert_eq!(caller.post_items(&path_of("p"), &token, &[old]).await.status(), status);
        assert_eq!(caller.of(CALLS).figures["deprecated_versions"], counted);
    }
}

#[tokio::test]
async fn a_body_over_100_kb_is_answered_413() {
    let caller = start_apsis(roomy()).await;
    let token = caller.apsis_token().await;
    let mut long = item(1);
    let length = json!({ "items": [long] }).to_string().len();
    for (more, status) in [(100_000 - length, 204), (100_001 - length, 413)] {
        long["data"]["source"] = json!("s".repeat("some web shop".len() + more));
        assert_eq!(caller.post_items(&path_of("p"), &token, &[long.clone()]).await.status(), status);
    }
}

#[tokio::test]
async fn account_and_profile_have_limits_of_their_own_without_a_hint() {
    let caller = start_apsis(ApsisSettings { limits: daily(3), profile_limits: daily(2), ..roomy() }).await;
    let token = caller.apsis_token().await;
    let mut seen = Vec::new();
    for profile in ["a", "a", "a", "b", "c"] {
        let answer = caller.post_items(&path_of(profile), &token, &[item(1)]).await;
        assert!(answer.headers().get("retry-after").is_none());
        seen.push(answer.status().as_u16());
    }
    assert_eq!(seen, [204, 204, 429, 204, 429], "a refusal by the profile costs the account nothing");
    let figures = caller.of(CALLS).figures;
    assert_eq!((figures["profiles"], figures["busiest_second_of_a_profile"] <= 3), (3, true));
    let documented = ApsisSettings::default();
    assert_eq!(
        (documented.limits, documented.profile_limits),
        (vec![Limit::per_second(100)], vec![Limit::per_second(10)])
    );
}

#[tokio::test]
async fn wrong_paths_methods_and_tokens_are_problems() {
    let caller = start_apsis(roomy()).await;
    let token = caller.apsis_token().await;
    let other_section = path_of("p").replace(SECTION, "other");
    let other_keyspace = path_of("p").replace("keyspaces.email", "keyspaces.export");
    for (method, path, token, status) in [
        (Method::POST, path_of("p"), "wrong", 401),
        (Method::GET, path_of("p"), &token, 405),
        (Method::POST, other_section, &token, 404),
        (Method::POST, other_keyspace, &token, 404),
        (Method::POST, path_of("a/b"), &token, 404),
        (Method::POST, path_of("%FF"), &token, 400),
        (Method::GET, "/audience/profiles".to_owned(), &token, 404),
    ] {
        let asked = caller.request(method, &path).bearer_auth(token).json(&json!({ "items": [item(1)] }));
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(json_of(answer).await["status"], status);
    }
    caller.sandbox.handle().revoke(None, Revoked::All);
    assert_eq!(caller.post_items(&path_of("p"), &token, &[item(1)]).await.status(), 401);
    caller.fault(json!({ "fault": "status", "status": 503, "path": "/oauth", "count": 1 })).await;
    assert_eq!(caller.ask_apsis_token(&grant()).await.0, 503);
}
