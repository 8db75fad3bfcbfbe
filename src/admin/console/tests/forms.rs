//! What is wrong with a form is said beside its field, on the page that it was on, with what was typed.

use super::*;
use crate::admin::tests::{admin_of, config_of};

const CONFIG: &str = "[broker]\nurl = \"amqp://localhost\"\n[destinations.px]\nvendor = \"http\"\n\
                      url = \"https://api.example.com\"\nsubscribe = [\"#\"]\nlimits = [\"10/s\"]\n";

/// Somebody who may act, at an admin whose destination `px` works and whose broker is away.
async fn signed_in() -> (Arc<Admin>, Browser, String) {
    let admin = admin_of(&config_of(CONFIG, tokens()));
    drop(pretend(&admin, "px"));
    let mut browser = Browser::new(&admin);
    let csrf = browser.sign_in(ACT).await;
    (admin, browser, csrf)
}

/// The tag of the field with that name.
fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let at = page.find(&format!(" name=\"{name}\"")).unwrap_or_else(|| panic!("no field {name} in {page}"));
    let (from, to) = (page[..at].rfind('<').unwrap(), at + page[at..].find('>').unwrap());
    &page[from..to]
}

/// The field is marked, has the focus, and is described by a sentence that says this.
fn assert_wrong(answer: &Answer, status: u16, name: &str, said: &str) {
    let (page, tag) = (&answer.text, field(&answer.text, name));
    assert_eq!(answer.status, status, "{page}");
    assert!(tag.contains("aria-invalid=\"true\" autofocus"), "{tag}");
    let id = format!("wrong-{name}");
    assert!(tag.contains(&id), "{tag}");
    let (_, sentence) = page.split_once(&format!("id=\"{id}\">")).unwrap_or_else(|| panic!("no {id} in {page}"));
    let sentence = sentence.split("</p>").next().unwrap();
    assert!(sentence.contains(said), "{sentence}");
    assert_eq!(page.matches("aria-invalid").count(), 1, "{page}");
    assert!(!page.contains("Unprocessable") && !page.contains("Bad Request"), "{page}");
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_comes_back_with_why_beside_its_field() {
    let (_admin, browser, _) = signed_in().await;
    for (name, text, said) in [
        ("jq", ".amount >", "is no jq expression"),
        ("reason", "nonsense", "nonsense"),
        ("older_than", "soon", "soon"),
        ("newer_than", "<2h", "&#60;2h"),
    ] {
        let given: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let answer = browser.get(&format!("/destinations/px/dead?type=order.*&{name}={given}")).await;
        assert_wrong(&answer, 400, name, said);
        let kept = text.replace('<', "&#60;").replace('>', "&#62;");
        assert!(answer.text.contains(&kept) && field(&answer.text, "type").contains("order.*"), "{}", answer.text);
        assert!(answer.text.contains("No letters are shown"), "{}", answer.text);
    }
}

#[tokio::test]
async fn what_an_address_has_beyond_the_filter_is_said_above_it() {
    let (_admin, browser, _) = signed_in().await;
    for (query, said) in [("reasons=x", "there is no parameter"), ("pile=other", "pile is"), ("limit=x", "limit is")] {
        let answer = browser.get(&format!("/destinations/px/dead?type=order.*&jq=.%5B&{query}")).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        let is_told = answer.text.contains(said) || answer.text.contains("is no jq expression");
        assert!(is_told && field(&answer.text, "type").contains("order.*"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_pause_without_a_readable_end_keeps_its_reason() {
    let (_admin, browser, csrf) = signed_in().await;
    let fields = [("csrf", csrf.as_str()), ("reason", "maintenance \"A\""), ("for", "soon")];
    let answer = browser.post("/destinations/px/pause", &fields).await;
    assert_wrong(&answer, 422, "for", "90m, 2h or 1d");
    assert!(answer.text.contains("id=\"pause\" open"), "its form is open: {}", answer.text);
    assert!(field(&answer.text, "reason").contains("value=\"maintenance &#34;A&#34;\""), "{}", answer.text);
    assert!(field(&answer.text, "for").contains("value=\"soon\""));
    assert!(answer.text.contains("wrong-for pause-hint"), "the hint stays");
    assert_eq!(browser.get("/destinations/px/pause").await.location(), "/destinations/px", "a reload leads back");
}

#[tokio::test]
async fn limits_that_cannot_be_read_stay_in_their_field() {
    let (_admin, browser, csrf) = signed_in().await;
    for sure in [None, Some(("sure", "yes"))] {
        let fields: Vec<_> = [("csrf", csrf.as_str()), ("limits", "5/s, many")].into_iter().chain(sure).collect();
        let answer = browser.post("/destinations/px/limits", &fields).await;
        assert_wrong(&answer, 422, "limits", "&#34;many&#34; is not a limit");
        assert!(answer.text.contains("id=\"limits\" open"), "its form is open: {}", answer.text);
        assert!(field(&answer.text, "limits").contains("value=\"5/s, many\""));
    }
}

#[tokio::test]
async fn an_edit_is_not_lost_where_the_letter_cannot_be_reached() {
    let (_admin, browser, csrf) = signed_in().await;
    let at = "/destinations/px/dead/letters/0123456789abcdef/edit";
    let answer = browser.post(at, &[("csrf", &csrf), ("body", "{\"a\": \"<typed>\"}")]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("It was not saved") && answer.text.contains("&#60;typed&#62;"), "{}", answer.text);
    let answer = browser.post("/destinations/none/dead/letters/0123456789abcdef/edit", &[("csrf", &csrf)]).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_refused_form_leads_back_to_its_page() {
    let (_admin, browser, _) = signed_in().await;
    let headers = [("content-type", FORM), ("referer", "https://sluice.example:9464/destinations/px")];
    let answer = browser.ask("POST", "/destinations/px/pause", &headers, "csrf=x".to_owned()).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text.contains("href=\"/destinations/px\">Back to the page"), "{}", answer.text);
    let answer = browser.get("/destinations/px/dead").await;
    assert!(answer.status == 503 && answer.text.contains("Try again"), "{}", answer.text);
}
