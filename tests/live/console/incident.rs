//! One whole incident in the browser: a vendor begins to reject, and everything is delivered in the end.

use super::browser::Browser;
use super::stage;
use crate::prometheus::server::{self, Prometheus};
use crate::worker::stage::{PX, TOKEN, until};

const OVERVIEW: &str = "#row-px";

#[tokio::test]
async fn an_incident_from_the_first_rejection_to_the_last_replay() {
    let (stage, client) = stage(0).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/").await;
    browser.sign_in(TOKEN).await;
    client.publish_all("product.report", 0..20).await;
    stage.arrived(PX, 20).await;
    // Where there is none, nobody is called.
    let prometheus = if server::is_installed() { Some(Prometheus::start(&stage.admin()).await) } else { None };
    if let Some(prometheus) = &prometheus {
        let healthy = "sluice_dead_letters_ready{destination=\"px\"} == 0";
        until("the worker is scraped", async || prometheus.has(healthy).await).await;
    }

    // The vendor begins to reject: the overview shows it by itself.
    stage.fault(r#"{"fault":"status","status":400,"body":"{\"error\":\"the property is unknown\"}"}"#);
    client.publish_all("product.report", 20..32).await;
    client.holds("px.dead", 12).await;
    until("the overview shows the letters", async || {
        browser.find(&format!("{OVERVIEW} td:last-child")).await.text().await.contains("12")
    })
    .await;

    // The alert calls somebody to it.
    if let Some(prometheus) = &prometheus {
        until("the alert fires", async || prometheus.fires("SluiceDeadLetters", "px").await).await;
    }

    // Its group, and one of the letters with its attempt.
    browser.click(&format!("{OVERVIEW} td:last-child a")).await;
    browser.see("12 letters, by cause").await;
    browser.press("the property is unknown").await;
    browser.see("12 of 12 letters").await;
    assert!(browser.place().await.contains("?group="), "an address that can be shared");
    browser.click("td.id a").await;
    browser.see("Attempts").await;
    let text = browser.text().await;
    assert!(
        text.contains("400") && text.contains("the property is unknown") && text.contains("\"identifyId\": \"u-1\"")
    );
    browser.session.back().await;

    // A canary tells that the vendor has not been mended.
    replay(&browser, "3", "").await;
    browser.see("stopped").await;
    assert!(browser.text().await.contains("3 of 12"), "{}", browser.text().await);
    client.holds("px.dead", 12).await;

    // Mended: a canary goes through and the others follow, with progress.
    stage.sandbox.handle().clear_faults();
    browser.press("Dead letters of px").await;
    replay(&browser, "3", "6").await;
    browser.see("working").await;
    browser.see("12 of 12").await;
    browser.see("done").await;
    stage.arrived(PX, 32).await;
    client.holds("px.dead", 0).await;
    browser.press("Dead letters of px").await;
    browser.see("No dead letters").await;
    until("the overview is clear", async || {
        browser.go("/").await;
        browser.find(&format!("{OVERVIEW} td:last-child")).await.text().await.trim().ends_with('0')
    })
    .await;

    // Who did that is in the audit.
    browser.go("/audit").await;
    let audit = browser.text().await;
    assert_eq!(audit.matches("replay").count() - audit.matches("replayed").count(), 4, "{audit}");
    browser.close().await;
}

/// All letters that are shown, after a count.
async fn replay(browser: &Browser, canary: &str, pace: &str) {
    browser.press("Replay 12 letters").await;
    browser.fill("#canary", canary).await;
    browser.fill("#rate", pace).await;
    browser.press("Count first").await;
    browser.see("Replay 12 letters?").await;
    browser.see(&format!("{canary} go first")).await;
    browser.click("main form button.primary").await;
    browser.see("begun").await;
}

#[tokio::test]
async fn an_operation_is_paused_and_cancelled_while_it_is_followed() {
    let (stage, client) = stage(12).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px/dead").await;
    browser.sign_in(TOKEN).await;
    browser.see("12 letters, by cause").await;
    stage.sandbox.handle().clear_faults();
    replay(&browser, "1", "1").await;
    browser.see("working").await;
    browser.press("Pause").await;
    browser.see("paused").await;
    browser.press("Go on").await;
    browser.see("working").await;
    browser.press("Cancel…").await;
    browser.press("Cancel this replay").await;
    browser.see("cancelled").await;
    let left = client.depth("px.dead").await.unwrap();
    assert!((1..12).contains(&left), "{left}");
    browser.close().await;
}

#[tokio::test]
async fn what_died_after_the_count_stays_when_the_counted_are_acted_on_and_nothing_chosen_means_none() {
    let (stage, client) = stage(3).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px/dead").await;
    browser.sign_in(TOKEN).await;
    browser.see("3 letters, by cause").await;
    browser.press("Discard chosen").await;
    browser.see("choose at least one letter").await;
    browser.go("/destinations/px/dead/act?act=discard").await;
    browser.see("Discard 3 letters?").await;
    stage.fault(r#"{"fault":"status","status":400}"#);
    client.publish_all("product.report", 100..104).await;
    client.holds("px.dead", 7).await;
    browser.click("main form button.danger").await;
    browser.see("3 of 3 letters discarded").await;
    client.holds("px.dead", 4).await;
    // Of what others act on meanwhile nothing is done.
    browser.go("/destinations/px/dead/act?act=discard").await;
    browser.see("Discard 4 letters?").await;
    let discarded = stage.run(&["dead", "discard", "px", "--id", "e-100", "--yes"]).await;
    assert_eq!(discarded.code, 0, "{discarded:?}");
    browser.click("main form button.danger").await;
    browser.see("not all there any more, or others came before them (4 counted, 3 match now): nothing was done").await;
    client.holds("px.dead", 3).await;
    browser.close().await;
}
