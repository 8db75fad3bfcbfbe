//! Every page as axe-core sees it, light and dark, wide and narrow; and pictures of them for people, where `SLUICE_PICTURES` names a folder.

use std::path::Path;

use super::browser::Browser;
use super::stage;
use crate::worker::stage::TOKEN;

const AXE: &str = "target/tools/node-packages/node_modules/axe-core/axe.min.js";
/// What axe-core found that hinders somebody.
const FINDINGS: &str = "const done = arguments[arguments.length - 1]; \
    axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations \
        .filter((one) => ['serious', 'critical'].includes(one.impact)) \
        .map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).slice(0, 3).join(' | ')}`)), \
        (error) => done([String(error)]))";

/// Pages about all destinations, and of events that wait.
const OF_ALL: [(&str, &str); 10] = [
    ("audit", "/audit"),
    ("reload", "/reload"),
    ("problem", "/destinations/none"),
    ("issues", "/issues"),
    ("issues-all", "/issues?state=all"),
    ("unrouted", "/unrouted"),
    ("people", "/people"),
    ("unrouted-one", "/unrouted?routing_key=shop.nobody"),
    ("unrouted-act", "/unrouted/act?act=discard&routing_key=shop.nobody"),
    ("waiting", "/destinations/px/waiting?place=queue"),
];

#[tokio::test]
async fn no_page_hinders_anybody_light_or_dark_wide_or_narrow() {
    let axe = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE));
    let axe = axe.expect("axe-core; deploy/install-dependencies.sh node-packages installs it");
    let (stage, client) = stage(4).await;
    client.publish_all("product.report", 100..120).await;
    client.publish_all("shop.nobody", 200..203).await;
    let browser = Browser::open(&stage.admin()).await;
    let mut found = look(&browser, &axe, "sign-in", Some("/sign-in")).await;
    browser.go("/").await;
    browser.sign_in(TOKEN).await;
    browser.go("/destinations/px/dead/act?act=discard&id=m-0").await;
    browser.click("main form button.danger").await;
    browser.see("done").await;
    let operation = browser.place().await;
    // One that is gone, and what became of it.
    browser.go("/destinations/px/dead?id=m-3").await;
    let gone = browser.session.run("return document.querySelector('td.last a').getAttribute('href')").await;
    let gone = gone.as_str().unwrap().to_owned();
    browser.go("/destinations/px/dead/act?act=replay&id=m-3").await;
    browser.click("main form button.primary").await;
    browser.see("done").await;
    stage.run(&["pause", "px"]).await;
    stage.state("px", "paused").await;
    for (name, path) in [
        ("overview", "/"),
        ("overview-empty", "/?state=parked"),
        ("destination", "/destinations/px"),
        ("dead", "/destinations/px/dead"),
        ("dead-filtered", "/destinations/px/dead?reason=rejected&newer_than=1d&type=product.*"),
        ("dead-none", "/destinations/px/dead?reason=expired"),
        ("trash", "/destinations/px/dead?pile=trash"),
        ("letter", "/destinations/px/dead/letters/m-1"),
        ("edit", "/destinations/px/dead/letters/m-1/edit"),
        ("act", "/destinations/px/dead/act?act=replay&canary=2"),
        ("act-edit", "/destinations/px/dead/act?act=edit&edit=.identifyId%3D%22u-2%22"),
        ("act-edit-invalid", "/destinations/px/dead/act?act=edit&edit=.eventName%3D5"),
        ("operations", "/destinations/px/dead/operations"),
        ("operation", operation.as_str()),
        ("dead-typo", "/destinations/px/dead?type=product.*&jq=.amount+%3E"),
        ("dead-beyond", "/destinations/px/dead?reasons=x"),
        ("act-rate", "/destinations/px/dead/act?act=replay&canary=5&rate=much"),
        ("act-nothing-chosen", "/destinations/px/dead/act?act=discard&chosen=yes&from="),
        ("letter-in-the-trash", "/destinations/px/dead/letters/m-0"),
        ("letter-gone", gone.as_str()),
    ]
    .into_iter()
    .chain(OF_ALL)
    {
        found.extend(look(&browser, &axe, name, Some(path)).await);
    }
    browser.go("/reload").await;
    browser.press("Reload all workers").await;
    browser.see("Reloaded by 1 worker.").await;
    found.extend(look(&browser, &axe, "reloaded", None).await);
    found.extend(questions(&browser, &axe).await);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // It would have found something.
    browser.session.run("document.querySelector('main').append(document.createElement('button'))").await;
    browser.session.run(&axe).await;
    let planted = findings(&browser).await;
    assert!(planted.iter().any(|finding| finding.contains("button-name")), "{planted:?}");
    browser.close().await;
}

/// Questions that a form leads to, what it says of what is wrong, and the list of keys.
async fn questions(browser: &Browser, axe: &str) -> Vec<String> {
    let mut found = Vec::new();
    browser.go("/").await;
    browser.press_anywhere("Keys").await;
    found.extend(look(browser, axe, "keys", None).await);
    browser.go("/destinations/px").await;
    browser.press("Change limits…").await;
    browser.fill("#limits-field", "many").await;
    browser.press("Review the change").await;
    browser.see("is not a limit").await;
    found.extend(look(browser, axe, "limits-wrong", None).await);
    browser.fill("#limits-field", "5/s").await;
    browser.press("Review the change").await;
    browser.see("Change the limits of px?").await;
    found.extend(look(browser, axe, "limits", None).await);
    browser.go("/destinations/px/dead/letters/m-1/edit").await;
    browser.press("Review the change").await;
    browser.see("nothing is changed").await;
    found.extend(look(browser, axe, "edit-unchanged", None).await);
    for (body, name) in [("{\"eventName\": \"Mended\", \"identifyId\": \"u-1\"}", "diff"), ("{}", "diff-refused")] {
        browser.fill("#body", body).await;
        browser.press("Review the change").await;
        browser.see("What changes").await;
        found.extend(look(browser, axe, name, None).await);
        browser.press("Keep editing").await;
        browser.see("Edit the event").await;
    }
    found
}

/// What hinders on a page, that which is there where no other is named, and whether it must be scrolled sideways.
async fn look(browser: &Browser, axe: &str, name: &str, path: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        browser.look(width, scheme).await;
        if let Some(path) = path {
            browser.go(path).await;
        }
        // What opens is looked at open.
        browser
            .session
            .run(
                "if (!document.querySelector('details.act[open]')) document.querySelector('main details.act')?.setAttribute('open', ''); \
                 document.querySelectorAll('main details:not(.act)').forEach((part) => { part.open = true; })",
            )
            .await;
        let seen = format!("{name} {width} {scheme}");
        let wider = browser
            .session
            .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            .await;
        found.extend((wider != 0).then(|| format!("{seen}: {wider} pixels to the side")));
        browser.session.run(axe).await;
        found.extend(findings(browser).await.iter().map(|finding| format!("{seen}: {finding}")));
        if let Some(folder) = std::env::var_os("SLUICE_PICTURES") {
            let picture = browser.session.picture().await;
            std::fs::write(Path::new(&folder).join(format!("{name}-{width}-{scheme}.png")), picture).unwrap();
        }
    }
    found
}

/// What axe-core, which the page has been given, finds on it.
async fn findings(browser: &Browser) -> Vec<String> {
    serde_json::from_value(browser.session.run_later(FINDINGS).await).unwrap()
}
