//! What an operator does by hand: pause, other limits, a letter changed, thrown away and brought back; with the keyboard alone, and
//! without scripts.

use super::browser::Browser;
use super::stage;
use super::webdriver::{ENTER, ESCAPE, TAB};
use crate::worker::stage::{TOKEN, until};

#[tokio::test]
async fn a_destination_is_paused_resumed_and_held_to_other_limits() {
    let (stage, _client) = stage(0).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px").await;
    browser.sign_in(TOKEN).await;
    assert_eq!(browser.place().await, "/destinations/px", "where it was asked for");
    browser.press("Pause…").await;
    browser.press("Pause px").await;
    browser.see("Nothing is sent until somebody resumes it").await;
    stage.state("px", "paused").await;
    browser.see("paused by ").await;
    // Once it is not true any more it is not told any more.
    stage.run(&["resume", "px"]).await;
    until("the notice is gone", async || !browser.has("#did .notice").await).await;
    stage.run(&["pause", "px"]).await;
    until("it can be resumed", async || browser.has("#resume").await).await;
    browser.press("Resume…").await;
    browser.press("Resume px").await;
    stage.state("px", "open").await;
    browser.see("Resumed.").await;
    // The history has both.
    until("both are in the history", async || {
        let history = browser.find("#history").await.text().await;
        history.contains("paused") && history.contains("open")
    })
    .await;

    browser.press("Change limits…").await;
    browser.fill("#limits-field", "7/s, 500/day").await;
    // What is being written stays while the page keeps itself up to date.
    let gate = browser.find("#figures").await;
    let before = browser.session.run("return document.querySelector('footer time').textContent").await;
    stage.run(&["pause", "px"]).await;
    until("the page has changed", async || browser.text().await.contains("paused by ")).await;
    assert_eq!(
        browser.session.run("return document.querySelector('footer time').textContent").await,
        before,
        "it was not loaded anew"
    );
    assert!(gate.is_displayed().await, "and what was there is still the same element");
    assert_eq!(browser.find("#limits-field").await.property("value").await, "7/s, 500/day");
    browser.press("Review the change").await;
    browser.see("7/s, 500/day").await;
    assert_eq!(stage.shown("px").await["limits"], serde_json::json!(["1000/s"]), "not yet");
    browser.press("Set these limits").await;
    browser.see("The limits are changed").await;
    assert_eq!(stage.shown("px").await["limits"], serde_json::json!(["7/s", "500/day"]));
    browser.close().await;
}

#[tokio::test]
async fn a_form_that_is_open_stays_until_it_is_closed_though_the_page_changes_under_it() {
    let (stage, _client) = stage(0).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px").await;
    browser.sign_in(TOKEN).await;
    browser.press("Pause…").await;
    stage.run(&["pause", "px"]).await;
    browser.see("paused by ").await;
    until("the new form is there beside the open one", async || browser.has("#resume").await).await;
    assert!(browser.find("#pause button").await.is_displayed().await, "whoever reads it is not interrupted");
    browser.find("#pause button").await.keys(ESCAPE).await;
    until("it goes with its reason", async || !browser.has("#pause").await).await;
    // The other way round, and sent: it does what it says.
    browser.press("Resume…").await;
    stage.run(&["resume", "px"]).await;
    until("the page has changed", async || browser.has("#pause").await).await;
    browser.press("Resume px").await;
    browser.see("Resumed.").await;
    assert!(browser.has("#pause").await && !browser.has("#resume").await, "{}", browser.text().await);
    browser.close().await;
}

#[tokio::test]
async fn a_letter_is_changed_after_its_diff_and_its_original_is_restored_from_the_trash() {
    let (stage, client) = stage(3).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px/dead?id=m-1").await;
    browser.sign_in(TOKEN).await;
    browser.see("1 of 3 letters").await;
    browser.click("td.id a").await;
    browser.press("Edit…").await;
    let body = browser.find("#body").await.property("value").await;
    assert!(body.contains("\"eventId\": \"e-1\""), "{body}");
    browser.press("Review the change").await;
    browser.see("nothing is changed").await;
    browser.fill("#body", &body.replace("e-1", "<b>mended</b>")).await;
    browser.press("Review the change").await;
    browser.see("What changes").await;
    assert_eq!(browser.find(".diff-out").await.text().await.trim(), "-  \"eventId\": \"e-1\",");
    assert_eq!(browser.find(".diff-in").await.text().await.trim(), "+  \"eventId\": \"<b>mended</b>\",");
    assert!(browser.text().await.contains("POST http://"), "{}", browser.text().await);
    client.holds("px.dead", 3).await;
    browser.press("Put it in place").await;
    browser.see("The edited letter is in place").await;
    let edited = browser.find("pre").await.text().await;
    assert!(edited.contains("<b>mended</b>"), "{edited}");
    browser.press("Dead letters").await;

    browser.press("Discard 3 letters").await;
    browser.see("Discard 3 letters?").await;
    browser.click("main form button.danger").await;
    browser.see("done").await;
    client.holds("px.dead", 0).await;
    browser.go("/destinations/px/dead?pile=trash").await;
    browser.see("4 letters, by cause").await;
    assert!(browser.text().await.contains("discarded by admin"));
    for box_ in browser.session.all("input[name=letter]").await.into_iter().take(2) {
        box_.click().await.unwrap();
    }
    browser.press("Restore chosen…").await;
    browser.see("Restore 2 letters?").await;
    browser.click("main form button.primary").await;
    browser.see("done").await;
    client.holds("px.dead", 2).await;
    client.holds("px.trash", 2).await;
    browser.go("/destinations/px").await;
    until("the page tells how much is in the trash, and in the retry queues", async || {
        let figures = browser.find("#figures").await.text().await;
        figures.contains("Trash\n2") && figures.contains("Waiting for a retry\n0")
    })
    .await;
    browser.close().await;
}

#[tokio::test]
async fn an_edit_that_would_die_again_is_put_in_place_only_when_that_is_meant() {
    let (stage, client) = stage(1).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/destinations/px/dead/letters/m-0/edit").await;
    browser.sign_in(TOKEN).await;
    browser.fill("#body", "{\"eventName\": 5}").await;
    browser.press("Review the change").await;
    browser.see("It would be a dead letter again").await;
    browser.press("Keep editing").await;
    browser.see("Review the change").await;
    assert_eq!(browser.find("#body").await.property("value").await, "{\"eventName\": 5}");
    browser.press("Review the change").await;
    browser.see("What changes").await;
    browser.click("input[name=force]").await;
    browser.press("Put it in place").await;
    browser.see("The edited letter is in place").await;
    client.holds("px.trash", 1).await;
    browser.close().await;
}

/// Presses Tab until what has the focus matches; fails where it cannot be reached, or the focus cannot be seen.
async fn tab_to(browser: &Browser, css: &str) {
    for _ in 0..60 {
        browser.session.focus().await.keys(TAB).await;
        let script = format!(
            "const it = document.activeElement; const look = getComputedStyle(it); \
             return [it.matches({css:?}), look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 1, it.outerHTML.slice(0, 100)]"
        );
        let seen = browser.session.run(&script).await;
        assert_eq!(seen[1], true, "the focus cannot be seen on {}", seen[2]);
        if seen[0] == true {
            return;
        }
    }
    panic!("{css} cannot be reached with the Tab key");
}

async fn enter(browser: &Browser) {
    browser.session.focus().await.keys(ENTER).await;
}

#[tokio::test]
async fn the_keyboard_alone_is_enough() {
    let (stage, _client) = stage(2).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/").await;
    let focus = browser.session.focus().await;
    assert_eq!(focus.property("id").await, "token", "what is asked for has the focus");
    focus.keys(&format!("{TOKEN}{ENTER}")).await;
    browser.see("px").await;
    tab_to(&browser, ".skip").await;
    enter(&browser).await;
    assert_eq!(browser.session.focus().await.property("id").await, "main");
    tab_to(&browser, "a[href='/destinations/px']").await;
    // The focus stays while the page keeps itself up to date.
    let script = "window.kept ??= document.activeElement; return document.activeElement === window.kept && document.contains(window.kept)";
    assert_eq!(browser.session.run(script).await, true);
    stage.run(&["pause", "px"]).await;
    browser.see("paused by ").await;
    assert_eq!(browser.session.run(script).await, true, "the focus went");
    enter(&browser).await;
    browser.see("The last half hour").await;
    tab_to(&browser, "#resume > summary").await;
    enter(&browser).await;
    tab_to(&browser, "#resume button").await;
    browser.session.focus().await.keys(ESCAPE).await;
    assert!(!browser.has("#resume[open]").await, "Escape closes it");
    enter(&browser).await;
    tab_to(&browser, "#resume button").await;
    enter(&browser).await;
    browser.see("Resumed.").await;
    stage.state("px", "open").await;
    browser.go("/destinations/px/dead").await;
    for field in ["#f-reason", "#f-jq", ".filter button", "#replay > summary", "input[name=letter]", "td.id a"] {
        tab_to(&browser, field).await;
    }
    browser.close().await;
}

#[tokio::test]
async fn everything_works_without_scripts_too() {
    let (stage, client) = stage(4).await;
    let browser = Browser::without_scripts(&stage.admin()).await;
    browser.go("/").await;
    browser.sign_in(TOKEN).await;
    assert!(browser.text().await.contains("Without scripts"), "{}", browser.text().await);
    browser.press("px").await;
    browser.press("Pause…").await;
    browser.press("Pause px").await;
    browser.see("paused by ").await;
    browser.press("Resume…").await;
    browser.press("Resume px").await;
    stage.state("px", "open").await;
    browser.go("/destinations/px/dead").await;
    browser.fill("#f-jq", ".eventId == \"e-2\"").await;
    browser.press("Filter").await;
    browser.see("1 of 4 letters").await;
    browser.press("Discard 1 letter").await;
    browser.see("Discard 1 letter?").await;
    browser.click("main form button.danger").await;
    client.holds("px.dead", 3).await;
    client.holds("px.trash", 1).await;
    browser.close().await;
}

#[tokio::test]
async fn a_page_tells_that_it_is_not_up_to_date_while_the_worker_is_gone() {
    let (mut stage, _client) = stage(0).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/").await;
    browser.sign_in(TOKEN).await;
    stage.kill().await;
    browser.see("Not up to date: the worker has not answered since").await;
    assert!(browser.has("#row-px").await, "what was there is still shown");
    stage.start();
    // Sessions are in memory.
    browser.see("You are signed out").await;
    browser.press_anywhere("Sign in").await;
    browser.sign_in(TOKEN).await;
    assert_eq!(browser.place().await, "/");
    // What is sent after a restart is not carried out, and leads back to where it was sent from.
    browser.go("/destinations/px").await;
    browser.press("Pause…").await;
    stage.kill().await;
    stage.start();
    stage.ready().await;
    browser.press("Pause px").await;
    browser.see("nothing was done").await;
    browser.press("Sign in").await;
    browser.sign_in(TOKEN).await;
    assert_eq!(browser.place().await, "/destinations/px");
    stage.state("px", "open").await;
    browser.close().await;
}

#[tokio::test]
async fn the_configuration_is_reloaded_and_a_problem_says_what_to_write() {
    let (stage, _client) = stage(0).await;
    let browser = Browser::open(&stage.admin()).await;
    browser.go("/").await;
    browser.sign_in(TOKEN).await;
    browser.press("Reload configuration").await;
    browser.press("Reload all workers").await;
    browser.see("Reloaded by 1 worker.").await;
    browser.see("no destination changed; 1 as before").await;
    let file = stage.file("sluice.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("subscribe =", "subscribes =")).unwrap();
    browser.press("Reload all workers").await;
    browser.see("Reloaded by 0 of 1 worker.").await;
    browser.see("did you mean \"subscribe\"?").await;
    assert_eq!(stage.shown("px").await["name"], "px", "nothing changed");
    browser.close().await;
}
