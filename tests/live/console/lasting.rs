//! What stays after a mistake and after an act: fields that were typed, links to letters, and where the keys lead.

use super::browser::Browser;
use super::stage;
use crate::worker::stage::{TOKEN, until};

/// Which element has the focus, and what is typed there.
async fn focus(browser: &Browser) -> String {
    let said = "return document.activeElement.id + ' ' + (document.activeElement.value ?? '')";
    browser.session.run(said).await.as_str().unwrap().trim().to_owned()
}

/// The link to the letter of an event.
async fn link(browser: &Browser, event: &str) -> String {
    browser.go(&format!("/destinations/px/dead?id={event}")).await;
    let link = browser.session.run("return document.querySelector('td.last a').getAttribute('href')").await;
    link.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_wrong_is_said_beside_the_field_with_what_was_typed() {
    let (stage, _client) = stage(3).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px/dead").await;
    browser.sign_in(TOKEN).await;
    browser.fill("#f-type", "product.*").await;
    browser.fill("#f-jq", ".amount >").await;
    browser.press("Filter").await;
    browser.see("is no jq expression").await;
    assert_eq!(focus(&browser).await, "f-jq .amount >");
    assert_eq!(browser.find("#f-type").await.property("value").await, "product.*");
    browser.go("/destinations/px/dead?type=product.*").await;
    browser.press("Replay 3 letters…").await;
    browser.fill("#rate", "much").await;
    browser.press("Count first").await;
    browser.see("which is not a number").await;
    assert_eq!(focus(&browser).await, "rate much");
    assert_eq!(browser.find("#canary").await.property("value").await, "5");
    // What was chosen by mistake is nothing, and the filter is still there.
    browser.press("Discard chosen…").await;
    browser.see("choose at least one letter").await;
    assert_eq!(browser.find("#f-type").await.property("value").await, "product.*");
    browser.go("/destinations/px").await;
    browser.press("Pause…").await;
    browser.fill("#pause-reason", "maintenance").await;
    browser.fill("#pause-for", "soon").await;
    browser.press("Pause px").await;
    browser.see("is no length of time").await;
    assert_eq!(focus(&browser).await, "pause-for soon");
    assert_eq!(browser.find("#pause-reason").await.property("value").await, "maintenance");
    assert!(!browser.text().await.contains("Unprocessable"));
    browser.fill("#pause-for", "2h").await;
    browser.press("Pause px").await;
    browser.see("paused by ").await;
    browser.close().await;
}

#[tokio::test]
async fn a_link_to_a_letter_tells_what_became_of_it() {
    let (stage, client) = stage(5).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px/dead").await;
    browser.sign_in(TOKEN).await;
    let mut links = Vec::new();
    for event in ["m-0", "m-1", "m-2", "m-3"] {
        links.push(link(&browser, event).await);
    }
    // Discarded: it is shown where it is.
    stage.run(&["dead", "discard", "px", "--id", "m-0", "--yes"]).await;
    browser.go(&links[0]).await;
    browser.see("It is in the trash now; moved by").await;
    browser.press("Copy as command").await;
    let copied = browser.session.run("return document.querySelector('[data-copy]').dataset.copy").await;
    let id = links[0].rsplit('/').next().unwrap();
    assert_eq!(copied, format!("sluice dead show px {id} --trash"));
    // Edited: the original leads on.
    let body = r#"{"eventName":"Mended","identifyId":"u-1"}"#;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), body).unwrap();
    let edited = stage.run(&["dead", "edit", "px", "m-1", "--file", file.path().to_str().unwrap(), "--yes"]).await;
    assert_eq!(edited.code, 0, "{edited:?}");
    browser.go(&links[1]).await;
    browser.see("is the original of the edited letter").await;
    browser.click(".notice a.id").await;
    browser.see("The event, as edited").await;
    // Replayed: the vendor took it, as the operation of this worker knows.
    browser.go("/destinations/px/dead/act?act=replay&id=m-2").await;
    browser.click("main form button.primary").await;
    browser.see("done").await;
    browser.go(&links[2]).await;
    browser.see("Replayed by admin").await;
    browser.see("the vendor took it").await;
    // Died again: as another letter, whoever replayed it.
    stage.fault(r#"{"fault":"status","status":400}"#);
    stage.run(&["dead", "replay", "px", "--id", "m-3", "--yes"]).await;
    client.holds("px.dead", 3).await;
    browser.go(&links[3]).await;
    browser.see("It was replayed and died again, as letter").await;
    browser.click(".told a.id").await;
    browser.see("Replayed").await;
    assert!(browser.text().await.contains("1×, lastly by"), "{}", browser.text().await);
    browser.go("/destinations/px/dead/letters/0123456789abcdef").await;
    browser.see("No operation and no entry of the audit names it").await;
    browser.close().await;
}

#[tokio::test]
async fn keys_lead_everywhere_but_not_while_somebody_types() {
    let (stage, _client) = stage(2).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/").await;
    browser.sign_in(TOKEN).await;
    let keys = async |text: &str| browser.session.focus().await.keys(text).await;
    keys("?").await;
    browser.see("next and previous row of a list").await;
    keys("\u{e00c}").await;
    assert!(!browser.has("dialog[open]").await, "Escape closes it");
    keys("/").await;
    keys("g?j").await;
    assert_eq!(focus(&browser).await, "q g?j", "a field takes them as text");
    browser.go("/").await;
    keys("ga").await;
    until("the audit is there", async || browser.place().await == "/audit").await;
    keys("go").await;
    until("the overview is there", async || browser.place().await == "/").await;
    keys("j").await;
    keys("\u{e007}").await;
    until("the row is open", async || browser.place().await == "/destinations/px").await;
    browser.session.run("document.querySelector('[data-chart]').focus()").await;
    keys("\u{e012}").await;
    assert!(browser.find(".reads").await.text().await.contains(" UTC: "), "a chart tells its figures");
    browser.go("/destinations/px/dead").await;
    keys("/").await;
    assert_eq!(focus(&browser).await, "f-type");
    browser.close().await;
}
