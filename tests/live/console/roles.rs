//! Who may come in, and what they are offered.

use lapin::types::{AMQPValue, FieldTable};

use super::browser::Browser;
use super::{READER, stage};
use crate::worker::stage::{KEY, TOKEN};

/// In the headers of a message.
const PRODUCERS: &str = "a-secret-of-the-producers";

#[tokio::test]
async fn who_may_only_read_sees_everything_and_is_offered_nothing() {
    let (stage, client) = stage(2).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px").await;
    browser.fill("#token", "a-token-of-nobody").await;
    browser.press("Sign in").await;
    browser.see("This worker has no such token").await;
    browser.sign_in_at(READER, "may only read").await;
    assert!(!browser.has("main form, main summary").await, "nothing to act with");
    browser.go("/destinations/px/dead").await;
    browser.see("2 letters, by cause").await;
    for act in ["#replay", "input[name=letter]", "button[name=act]"] {
        assert!(!browser.has(act).await, "{act}");
    }
    browser.click("td.id a").await;
    browser.see("Attempts").await;
    assert!(!browser.text().await.contains("Edit…"));
    browser.go("/destinations/px/dead/act?act=discard").await;
    browser.see("may only read").await;
    client.holds("px.dead", 2).await;
    browser.press_anywhere("Sign out").await;
    browser.see("Sign in").await;
    browser.go("/destinations/px").await;
    browser.see("Sign in").await;
    browser.sign_in_at(TOKEN, "Pause…").await;
    browser.close().await;
}

#[tokio::test]
async fn no_page_holds_a_secret_and_what_events_say_is_text() {
    let (stage, client) = stage(1).await;
    let evil = "<img src=x onerror=\"document.title='gone'\"><script>document.title='gone'</script>";
    let body = serde_json::json!({ "eventName": evil, "identifyId": "u", "extra": evil }).to_string();
    stage.fault(&serde_json::json!({ "fault": "status", "status": 400, "body": format!("{evil} {KEY}") }).to_string());
    let mut headers = FieldTable::default();
    for name in ["authorization", "x-api-key"] {
        headers.insert(name.into(), AMQPValue::LongString(PRODUCERS.into()));
    }
    let properties = crate::worker::client::plain().with_message_id(evil.into()).with_headers(headers);
    client.publish("product.report", body, properties).await;
    client.holds("px.dead", 2).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/").await;
    browser.sign_in(TOKEN).await;
    browser.go("/destinations/px/dead?newer_than=1h").await;
    let letter =
        browser.session.run("return [...document.querySelectorAll('td.id a')].at(-1).getAttribute('href')").await;
    for path in ["/", "/destinations/px", "/destinations/px/dead", letter.as_str().unwrap()] {
        browser.go(path).await;
        let source = browser.session.read("source").await;
        for secret in [KEY, TOKEN, READER, PRODUCERS] {
            assert!(!source.contains(secret), "{path} holds a secret");
        }
        assert!(!browser.has("img[src=x]").await && !browser.session.read("title").await.contains("gone"), "{path}");
    }
    let text = browser.text().await;
    assert!(text.contains("<img src=x onerror=") && text.contains("x-api-key"), "it is shown as it is: {text}");
    // What is kept keeps everything.
    let exported = stage.run(&["dead", "export", "px", "--all"]).await.out;
    assert_eq!(exported.matches(PRODUCERS).count(), 2, "{exported}");
    browser.close().await;
}

#[tokio::test]
async fn a_link_on_another_site_leads_where_it_points_though_the_cookie_stays_here() {
    let (stage, _client) = stage(0).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/").await;
    browser.sign_in(TOKEN).await;
    // The same worker under a name that, to the browser, is another site.
    browser.session.go(&(stage.admin().replace("127.0.0.1", "localhost") + "/sign-in")).await;
    browser.see("Sign in").await;
    let link = format!("location.href = '{}/destinations/px'", stage.admin());
    browser.session.run(&link).await;
    browser.see("The last half hour").await;
    assert_eq!(browser.place().await, "/destinations/px");
    browser.close().await;
}
