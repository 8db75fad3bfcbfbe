mod forms;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use tower::ServiceExt as _;

use super::*;
use crate::admin::tests::{admin, config, tokens};
use crate::control::stamp::Stamp;
use crate::destination::{Applied, DestinationCall, Handle, View};
use crate::gate::GateState;

const HOST: &str = "sluice.example:9464";
const FORM: &str = "application/x-www-form-urlencoded";
const ACT: &str = "a-token-to-act-with";
const READ: &str = "a-token-to-read-with";
const EVIL: &str = "<script>alert('x')</script>";

/// What a browser would know.
struct Browser {
    site: Router,
    host: &'static str,
    cookie: Option<String>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Browser {
    fn new(admin: &Arc<Admin>) -> Self {
        Self { site: crate::admin::router(Arc::clone(admin)), host: HOST, cookie: None }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.host);
        request = request.header(header::ACCEPT, "text/html,application/xhtml+xml");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.site.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(body.into()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], String::new()).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.ask("POST", path, &[("content-type", FORM)], body).await
    }

    /// Signs in; returns what the forms of the session have to carry.
    async fn sign_in(&mut self, token: &str) -> String {
        let answer = self.post("/sign-in", &[("token", token)]).await;
        assert_eq!((answer.status, answer.location()), (303, "/"), "{}", answer.text);
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        self.csrf().await
    }

    async fn csrf(&self) -> String {
        let page = self.get("/").await.text;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no form in {page}"));
        rest.split('"').next().unwrap().to_owned()
    }
}

impl Answer {
    fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |place| place.to_str().unwrap())
    }
}

/// A destination that answers what it is asked, and whose texts are as bad as they can be.
fn pretend(admin: &Admin, name: &str) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (handle, mut calls) = Handle::new();
    let (heard, hears) = tokio::sync::mpsc::unbounded_channel();
    admin.roster.set(name, Some(handle));
    let name = name.to_owned();
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            match call {
                DestinationCall::BulkWaits(_) => {}
                DestinationCall::View(answer) => drop(answer.send(view(&name))),
                DestinationCall::Recent(answer) => drop(answer.send(recent())),
                DestinationCall::Samples(answer) => drop(answer.send(recent().samples())),
                DestinationCall::Tap { answer, .. } => drop(answer.send(recent().tap(None, crate::clock::now()))),
                DestinationCall::Change { change, answer, .. } => {
                    drop(heard.send(format!("{change:?}")));
                    drop(answer.send(Applied::Holds {
                        stamp: Stamp::after(None, crate::clock::wall(), uuid::Uuid::new_v4()),
                        later: None,
                    }));
                }
            }
        }
    });
    hears
}

fn view(name: &str) -> View {
    View {
        drives: true,
        driver: None,
        as_of: None,
        hindered: None,
        name: name.to_owned(),
        vendor: "some-vendor".to_owned(),
        subscribe: vec![EVIL.to_owned()],
        limits: vec!["200/s".to_owned(), "1000/day".to_owned()],
        state: Some(GateState::Broken),
        fails: false,
        why: format!("the vendor said {EVIL}"),
        since: None,
        until: Some(clock_in(90)),
        answered: None,
        paused: None,
        quota: Some(200.0),
        rate: Some(0.0),
        unread: 0,
        being_mapped: 0,
        oldest: None,
        learned: 0.7,
        in_flight: 1,
        concurrency: 32,
        held: crate::gate::HeldBy::Closed,
        day_used: 250,
        day_limit: Some(1000),
        day_ends: crate::clock::wall(),
        day_starts: "midnight UTC".to_owned(),
        configured: vec!["200/s".to_owned()],
        held_here: 2,
        unconfirmed: 3,
        consuming: false,
        ready: false,
        machine: None,
        delivered: 12_345,
        left: 12_345,
        requests: 12_345,
        carried: 12_345.0,
        together: 1,
        throttled: 0,
        retried: 0,
        scheduled: 0,
        quiet_until: None,
        outside_hours: None,
        dead: [("server_error".to_owned(), 3)].into(),
        last_dead: None,
        copies_waiting: 0,
        copies_full: false,
        bulk: bulk(),
    }
}

/// Bulk events that somebody paused and bounded.
fn bulk() -> crate::destination::bulk::BulkView {
    let text = || Some(EVIL.to_owned());
    let paused = crate::gate::Paused { by: text(), reason: text(), ..Default::default() };
    crate::destination::bulk::BulkView {
        types: vec![EVIL.to_owned()],
        share: "5%".to_owned(),
        limits: vec!["50/s".to_owned()],
        paused: Some(paused),
        ..Default::default()
    }
}

/// A pause as [`pretend`] hears it.
fn paused(by: &str, reason: Option<&str>) -> String {
    let reason = reason.map(str::to_owned);
    let how = crate::gate::Paused { by: Some(by.to_owned()), reason, ..Default::default() };
    format!("{:?}", crate::control::stamp::Change::Pause(how))
}

fn clock_in(seconds: u64) -> jiff::Timestamp {
    crate::clock::wall() + std::time::Duration::from_secs(seconds)
}

fn recent() -> crate::destination::recent::Recent {
    let mut recent = crate::destination::recent::Recent::default();
    let status = crate::gate::Status {
        state: crate::gate::GateState::Broken,
        why: EVIL.to_owned(),
        answered: None,
        fails: false,
        until: None,
        quota: Some(200.0),
        rate: Some(0.0),
        learned: 1.0,
        in_flight: 0,
        concurrency: 32,
        held: crate::gate::HeldBy::Nothing,
        day_ends: (crate::clock::wall(), "midnight UTC".to_owned()),
        day_used: 0,
        day_limit: None,
    };
    recent.see(&status, crate::clock::wall());
    let outcome = crate::destination::recent::RecentOutcome {
        at: crate::clock::wall(),
        outcome: "dead_lettered".into(),
        status: Some(400),
        ms: Some(12),
        ..Default::default()
    };
    recent.ended(EVIL.to_owned(), EVIL, EVIL, outcome);
    recent
}

#[tokio::test]
async fn nobody_sees_a_page_before_signing_in() {
    let admin = admin(tokens());
    pretend(&admin, "px");
    let browser = Browser::new(&admin);
    for path in ["/", "/audit", "/destinations/px", "/destinations/px/dead?reason=rejected&after=_0123456789abcdef"] {
        let answer = browser.get(path).await;
        let to: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        assert_eq!((answer.status, answer.location()), (303, format!("/sign-in?to={to}").as_str()), "{path}");
    }
    let answer = browser.post("/destinations/px/pause", &[]).await;
    assert!(answer.status == 401 && answer.text.contains("nothing was done"), "{}", answer.text);
    for (referer, to) in [
        ("https://sluice.example:9464/destinations/px?did=resumed-1", "%2Fdestinations%2Fpx%3Fdid%3Dresumed-1"),
        ("https://evil.example/destinations/px", "%2F"),
    ] {
        let headers = [("content-type", FORM), ("referer", referer)];
        let answer = browser.ask("POST", "/destinations/px/pause", &headers, String::new()).await;
        assert!(answer.text.contains(&format!("href=\"/sign-in?to={to}\"")), "{}", answer.text);
    }
    let page = browser.get("/sign-in?to=%2Faudit").await;
    assert!(page.status == 200 && page.text.contains("value=\"/audit\""), "{}", page.text);
    assert!(!page.text.contains("px"), "it tells nothing of what is at work");
    for path in ["/assets/console.css", "/assets/console.js", "/assets/idiomorph.js", "/assets/icon.svg"] {
        assert_eq!(browser.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_token_begins_a_session_that_ends_by_signing_out_and_with_its_token() {
    let admin = admin(tokens());
    let mut browser = Browser::new(&admin);
    let answer = browser.post("/sign-in", &[("token", "a-token-of-nobody-at-all"), ("to", "/audit")]).await;
    assert!(
        answer.status == 401 && answer.text.contains("no such token") && answer.text.contains("/audit"),
        "{}",
        answer.text
    );
    assert!(!answer.headers.contains_key(header::SET_COOKIE) && !answer.text.contains("of-nobody"));
    let csrf = browser.sign_in(ACT).await;
    let page = browser.get("/").await;
    assert!(page.status == 200 && page.text.contains("Sign out") && page.text.contains(">act<"), "{}", page.text);
    let answer = browser.post("/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!((answer.status, answer.location()), (303, "/sign-in"));
    assert_eq!(browser.get("/").await.status, 303, "the session is over, whatever the browser still has");
    browser.sign_in(ACT).await;
    admin.reloaded(&config(tokens().split_off(1)), "applied");
    assert_eq!(browser.get("/").await.status, 303, "its token was taken away");
}

#[tokio::test]
async fn the_cookie_stays_with_this_site_and_is_not_for_scripts() {
    let admin = admin(tokens());
    let browser = Browser::new(&admin);
    let body = || format!("token={ACT}&to=%2F%2Fevil.example");
    let answer = browser.ask("POST", "/sign-in", &[("content-type", FORM)], body()).await;
    assert_eq!(answer.location(), "/", "nobody is led elsewhere");
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    for part in ["sluice-session-9464=", "; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(ACT), "{cookie}");
    let headers = [("content-type", FORM), ("x-forwarded-proto", "https"), ("origin", "https://sluice.example:9464")];
    let answer = browser.ask("POST", "/sign-in", &headers, body()).await;
    assert!(answer.headers[header::SET_COOKIE].to_str().unwrap().ends_with("; Secure"));
    let evil = [("content-type", FORM), ("origin", "https://evil.example")];
    assert_eq!(browser.ask("POST", "/sign-in", &evil, body()).await.status, 403);
}

#[tokio::test]
async fn a_link_from_a_chat_is_followed_once_more_from_here() {
    let browser = Browser::new(&admin(tokens()));
    let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    let answer = browser.ask("GET", "/destinations/px/dead", &headers, String::new()).await;
    assert!(answer.status == 200 && answer.text.contains("http-equiv=\"refresh\""), "{}", answer.text);
    let picture = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
    let answer = browser.ask("GET", "/destinations/px/dead?jq=.a", &picture, String::new()).await;
    assert_eq!(answer.status, 403, "a picture of another site costs no pass over the letters");
    let answer = browser.ask("GET", "/destinations/px/dead", &[("sec-fetch-site", "same-origin")], String::new()).await;
    assert_eq!(answer.status, 303);
}

#[tokio::test]
async fn a_form_that_acts_is_obeyed_only_with_the_token_of_its_session() {
    let admin = admin(tokens());
    let mut heard = pretend(&admin, "px");
    let (mut browser, mut other) = (Browser::new(&admin), Browser::new(&admin));
    let csrf = browser.sign_in(ACT).await;
    let others = other.sign_in(ACT).await;
    assert_ne!(csrf, others);
    for given in ["", "x", others.as_str()] {
        let answer = browser.post("/destinations/px/pause", &[("csrf", given)]).await;
        assert!(answer.status == 403 && answer.text.contains("reload the page"), "{}", answer.text);
    }
    let answer = browser.ask("POST", "/destinations/px/pause", &[("content-type", "text/plain")], String::new()).await;
    assert_eq!(answer.status, 415);
    let body = format!("csrf={csrf}");
    let headers = [("content-type", FORM), ("origin", "https://evil.example")];
    assert_eq!(browser.ask("POST", "/destinations/px/pause", &headers, body).await.status, 403);
    assert!(heard.try_recv().is_err(), "nothing was done so far");
    let fields = [("csrf", csrf.as_str()), ("reason", " vendor maintenance "), ("for", "soon")];
    let answer = browser.post("/destinations/px/pause", &fields).await;
    assert!(answer.status == 422 && answer.text.contains("90m, 2h or 1d"), "{}", answer.text);
    let answer = browser.post("/destinations/px/pause", &fields[..2]).await;
    assert!(answer.status == 303 && answer.location().starts_with("/destinations/px?did=paused-"));
    assert_eq!(heard.try_recv().unwrap(), paused("act", Some("vendor maintenance")));
    let answer = browser.post("/destinations/px/resume", &[("csrf", &csrf)]).await;
    assert_eq!((answer.status, heard.try_recv().unwrap().as_str()), (303, "Resume"));
}

#[tokio::test]
async fn a_form_may_be_as_large_as_a_letter_and_no_larger() {
    let admin = admin(tokens());
    pretend(&admin, "px");
    let mut browser = Browser::new(&admin);
    let csrf = browser.sign_in(ACT).await;
    let limits = "/destinations/px/limits";
    let answer = browser.post(limits, &[("csrf", &csrf), ("limits", &"x".repeat(1024 * 1024))]).await;
    assert_eq!(answer.status, 422, "it was read");
    let answer = browser.post(limits, &[("csrf", &csrf), ("limits", &"x".repeat(5 * 1024 * 1024))]).await;
    assert!(answer.status == 413 && answer.text.contains("sluice dead edit"), "{}", answer.status);
    assert_eq!(browser.ask("HEAD", "/", &[], String::new()).await.status, 200);
}

#[tokio::test]
async fn limits_change_only_after_a_question_that_shows_both() {
    let admin = admin(tokens());
    let mut heard = pretend(&admin, "px");
    let mut browser = Browser::new(&admin);
    let csrf = browser.sign_in(ACT).await;
    let limits = "/destinations/px/limits";
    for (given, said) in [("", "no limit"), ("much", "&#34;much&#34; is not a limit"), (EVIL, "is not a limit")] {
        let answer = browser.post(limits, &[("csrf", &csrf), ("limits", given)]).await;
        assert!(answer.status == 422 && answer.text.contains(said) && !answer.text.contains(EVIL), "{}", answer.text);
    }
    let answer = browser.post(limits, &[("csrf", &csrf), ("limits", "5/s,  100/day")]).await;
    assert!(answer.text.contains("200/s, 1000/day") && answer.text.contains("5/s, 100/day"), "{}", answer.text);
    let answer = browser.post(limits, &[("csrf", &csrf), ("limits", "5/s")]).await;
    assert!(answer.text.contains("<code>5/s, 1000/day</code>"), "the day's limit stays: {}", answer.text);
    assert!(heard.try_recv().is_err(), "not before it is meant");
    let answer = browser.post(limits, &[("csrf", &csrf), ("limits", "5/s, 100/day"), ("sure", "yes")]).await;
    assert!(answer.status == 303 && answer.location().starts_with("/destinations/px?did=limited-"));
    let page = browser.get(answer.location()).await.text;
    assert!(page.contains("The limits are changed"), "{page}");
    assert_eq!(browser.get(limits).await.location(), "/destinations/px", "a reload of the question leads back");
    assert!(heard.try_recv().unwrap().starts_with("Limits("));
}

#[tokio::test]
async fn what_was_done_is_told_for_as_long_as_it_is_true_and_news() {
    let admin = admin(tokens());
    // Its gate is broken, not paused.
    pretend(&admin, "px");
    let mut browser = Browser::new(&admin);
    browser.sign_in(READ).await;
    let now = crate::clock::wall().as_second();
    for (did, told) in [
        (format!("resumed-{now}"), true),
        (format!("paused-{now}"), false),
        (format!("resumed-{}", now - 61), false),
        ("resumed".to_owned(), false),
        (format!("{EVIL}-{now}"), false),
    ] {
        let did: String = url::form_urlencoded::byte_serialize(did.as_bytes()).collect();
        let answer = browser.get(&format!("/destinations/px?did={did}")).await;
        assert_eq!((answer.status, answer.text.contains("notice good")), (200, told), "{did}");
    }
}

#[tokio::test]
async fn wrong_tokens_hold_nobody_up() {
    let admin = admin(tokens());
    let guess =
        || async { Browser::new(&admin).post("/sign-in", &[("token", "a-token-of-nobody-at-all")]).await.status };
    let guesses = futures_util::future::join_all((0..200).map(|_| guess()));
    let mut browser = Browser::new(&admin);
    let (guessed, _csrf) = tokio::join!(guesses, browser.sign_in(ACT));
    assert!(guessed.iter().all(|status| *status == 401), "each is told so, and none is turned away");
}

#[tokio::test]
async fn a_form_is_known_by_its_media_type_however_it_is_written() {
    let admin = admin(tokens());
    let mut browser = Browser::new(&admin);
    browser.sign_in(ACT).await;
    for (kind, status) in [
        ("application/x-www-form-urlencoded; charset=UTF-8", 303),
        ("APPLICATION/X-WWW-Form-URLEncoded ;charset=utf-8", 303),
        ("application/x-www-form-urlencoded-not", 415),
        ("application/x-www-form-urlencodedtext/plain", 415),
        ("text/plain; application/x-www-form-urlencoded", 415),
        ("", 415),
    ] {
        let answer = browser.ask("POST", "/sign-in", &[("content-type", kind)], format!("token={ACT}")).await;
        assert_eq!(answer.status, status, "{kind}");
    }
}

#[tokio::test]
async fn who_may_only_read_is_offered_nothing_and_refused_everything() {
    let admin = admin(tokens());
    let mut heard = pretend(&admin, "px");
    let mut browser = Browser::new(&admin);
    let csrf = browser.sign_in(READ).await;
    let page = browser.get("/destinations/px").await;
    assert!(page.status == 200 && page.text.contains("may only read"), "{}", page.text);
    for act in ["Pause", "Resume px", "limits-field"] {
        assert!(!page.text.contains(&format!("{act}</button>")) && !page.text.contains("id=\"limits-field\""), "{act}");
    }
    for path in [
        "/reload",
        "/destinations/px/pause",
        "/destinations/px/resume",
        "/destinations/px/limits",
        "/destinations/px/dead/operations",
        "/destinations/px/dead/operations/0123456789ab/cancel",
        "/destinations/px/dead/letters/0123456789abcdef/edit",
    ] {
        let answer = browser.post(path, &[("csrf", &csrf), ("sure", "yes"), ("act", "discard")]).await;
        assert!(answer.status == 403 && answer.text.contains("may only read"), "{path}: {}", answer.text);
    }
    assert!(!browser.get("/").await.text.contains("/reload"), "nothing leads to what may not be done");
    for path in
        ["/reload", "/destinations/px/dead/act?act=discard", "/destinations/px/dead/letters/0123456789abcdef/edit"]
    {
        assert_eq!(browser.get(path).await.status, 403, "{path}");
    }
    assert!(heard.try_recv().is_err());
    assert_eq!(browser.post("/sign-out", &[("csrf", &csrf)]).await.status, 303, "but may leave");
}

#[tokio::test]
async fn without_tokens_whoever_is_on_this_machine_may_act_with_the_form_of_a_page() {
    let admin = admin(Vec::new());
    let mut heard = pretend(&admin, "px");
    let mut browser = Browser::new(&admin);
    assert_eq!(browser.get("/").await.status, 403, "a name may have been made to lead here");
    browser.host = "localhost:9464";
    assert_eq!(browser.get("/sign-in").await.status, 303);
    let page = browser.get("/destinations/px").await.text;
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(!page.contains("Sign out"));
    assert_eq!(browser.post("/destinations/px/pause", &[]).await.status, 403);
    assert_eq!(browser.post("/destinations/px/pause", &[("csrf", &csrf)]).await.status, 303);
    assert_eq!(heard.try_recv().unwrap(), paused("local", None));
}

#[tokio::test]
async fn every_page_forbids_what_is_not_from_here() {
    let admin = admin(tokens());
    pretend(&admin, "px");
    let mut browser = Browser::new(&admin);
    browser.sign_in(READ).await;
    for path in ["/", "/destinations/px", "/destinations/none", "/sign-in", "/nowhere", "/?nonsense=1", "/sign-out"] {
        let answer = browser.get(path).await;
        let said = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let policy = said("content-security-policy");
        for part in
            ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        assert_eq!(
            (said("x-content-type-options"), said("referrer-policy"), said("cache-control")),
            ("nosniff", "same-origin", "no-store"),
            "{path}"
        );
        assert!(answer.text.starts_with("<!doctype html>"), "{path}: {}", answer.text);
        for inside in [" style=", "<style", " onclick=", " onload=", "javascript:"] {
            assert!(!answer.text.contains(inside), "{path} holds {inside}");
        }
        assert!(!answer.text.replace("<script src=", "").contains("<script"), "{path}");
    }
}

#[tokio::test]
async fn whatever_vendors_and_events_say_is_text_and_nothing_more() {
    let admin = admin(tokens());
    pretend(&admin, "px");
    let mut browser = Browser::new(&admin);
    browser.sign_in(ACT).await;
    let evil: String = url::form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    for path in
        ["/", "/destinations/px", &format!("/?q={evil}"), &format!("/destinations/{evil}"), &format!("/?state={evil}")]
    {
        let answer = browser.get(path).await;
        assert!(!answer.text.contains("<script>"), "{path}: {}", answer.text);
    }
    let page = browser.get("/destinations/px").await.text;
    assert!(page.matches("&#60;script&#62;").count() >= 5, "{page}");
}

#[tokio::test]
async fn every_page_tells_that_the_broker_is_away_and_which_worker_tells_it() {
    let admin = admin(tokens());
    pretend(&admin, "px");
    let mut browser = Browser::new(&admin);
    browser.sign_in(READ).await;
    for path in ["/", "/destinations/px", "/destinations/none"] {
        let page = browser.get(path).await.text;
        assert_eq!(page.matches("The broker is away").count(), 1, "{page}");
        assert!(page.contains("tries again and again") && !page.contains("no consumer at the broker"), "{page}");
        assert!(page.contains(&admin.console.worker) && page.contains(env!("CARGO_PKG_VERSION")), "{page}");
    }
    let before = Browser::new(&admin).get("/sign-in").await.text;
    assert!(!before.contains("broker"), "nobody is told before signing in");
}

#[tokio::test]
async fn what_is_wrong_is_said_on_a_page() {
    let mut browser = Browser::new(&admin(tokens()));
    browser.sign_in(READ).await;
    for (path, status, said) in [
        ("/destinations/none", 404, "no destination"),
        ("/destinations/none/dead", 404, "no destination"),
        ("/destinations/no%0Ane/limits", 404, "no destination"),
        ("/?nonsense=1", 400, "nonsense"),
        ("/nowhere", 404, "nothing here"),
        ("/sign-out", 405, "does not take that method"),
    ] {
        let answer = browser.get(path).await;
        assert!(answer.status == status && answer.text.contains(said), "{path}: {} {}", answer.status, answer.text);
        for word in ["Unprocessable", "Bad Request", "Not Found"] {
            assert!(!answer.text.contains(word), "{path}: {word}");
        }
        assert!(answer.text.contains("<h1>") && answer.headers[header::CONTENT_TYPE] == "text/html; charset=utf-8");
    }
}

#[tokio::test]
async fn the_overview_finds_by_name_and_state_among_a_thousand() {
    let admin = admin(Vec::new());
    for number in 0..1_000 {
        pretend(&admin, &format!("destination-{number:03}"));
    }
    let browser = Browser { host: "localhost", ..Browser::new(&admin) };
    let page = browser.get("/").await.text;
    assert_eq!(page.matches("role=\"rowheader\"").count(), 100);
    assert!(page.contains("1–100 of 1,000") && page.contains("rel=\"next\""), "{page}");
    let page = browser.get("/?sort=name&page=10").await.text;
    assert!(page.contains("destination-999") && page.contains("901–1,000 of 1,000") && !page.contains("rel=\"next\""));
    let page = browser.get("/?q=n-07&state=broken").await.text;
    assert_eq!(page.matches("role=\"rowheader\"").count(), 10);
    let page = browser.get("/?state=parked").await.text;
    assert!(page.contains("No destinations match (1,000 in total)"), "{page}");
}
