//! Letters that are checked before they are replayed, changed by one expression, and turned over page by page.

use serde_json::json;

use super::browser::Browser;
use crate::support::shared_url;
use crate::worker::client::plain;
use crate::worker::stage::{PX, Stage, TOKEN};

#[tokio::test]
async fn a_group_is_checked_edited_by_one_expression_and_replayed() {
    let stage = Stage::at_work(&shared_url().await, "park_after_rejections = 0").await;
    let client = stage.client().await;
    for number in 0..12 {
        let data = json!({ "identifyId": format!("U-{number}"), "name": "Report" });
        client.publish("product.report", data.to_string(), plain()).await;
    }
    client.holds("px.dead", 12).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px/dead?limit=5").await;
    browser.sign_in(TOKEN).await;
    // Each letter is on one page, forth and back.
    browser.see("1–5 of 12").await;
    browser.press("Later").await;
    browser.see("6–10 of 12").await;
    browser.press("Later").await;
    browser.see("11–12 of 12").await;
    browser.press("Earlier").await;
    browser.see("6–10 of 12").await;

    browser.press("is not a field of").await;
    browser.see("12 of 12 would still be invalid").await;
    browser.press("Replay 12 letters…").await;
    browser.press("Count first").await;
    browser.see("Replay 12 letters?").await;
    browser.see("12 of 12 would still be invalid").await;
    browser.see("edit one").await;
    browser.session.back().await;

    browser.press("Edit 12 letters…").await;
    browser.fill("#edit-jq", ".eventName = .name | del(.name)").await;
    browser.press("Show what changes").await;
    browser.see("Edit 12 letters?").await;
    browser.see("12 letters would be changed").await;
    assert_eq!(browser.session.all("pre.diff").await.len(), 3);
    client.holds("px.trash", 0).await;
    browser.click("main form button.primary").await;
    browser.see("12 of 12 letters edited").await;
    client.holds("px.trash", 12).await;

    browser.go("/destinations/px/dead/act?act=replay&ramp=yes").await;
    browser.see("All 12 would be sent").await;
    browser.see("1, then 5 go first").await;
    browser.click("main form button.primary").await;
    browser.see("12 of 12 letters replayed, 12 delivered").await;
    stage.arrived(PX, 12).await;
    browser.close().await;
}
