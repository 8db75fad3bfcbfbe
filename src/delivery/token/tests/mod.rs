//! What a destination relies on: a token in time, never a call too many, and a sentence when a person is needed.

mod schedules;

use ::http::{HeaderMap, StatusCode, Uri};

use super::*;
use crate::vendors::oauth::{self, FieldValue};
use crate::vendors::{Calls, Secrets};

const HOUR: u64 = 3_600;

/// A grant of refresh tokens, and of a password where there is one.
#[derive(Debug)]
struct Example {
    username: &'static str,
    password: Option<SecretString>,
    first_refresh: Option<SecretString>,
    calls: Calls,
}

impl Example {
    fn with_password() -> Self {
        Self {
            username: "ann",
            password: Some(SecretString::from("correct horse")),
            first_refresh: None,
            calls: Calls { count: 5, window: Duration::from_secs(HOUR) },
        }
    }

    fn with_refresh_only() -> Self {
        Self { password: None, first_refresh: Some(SecretString::from("first-refresh")), ..Self::with_password() }
    }
}

impl Grant for Example {
    fn request(&self, refresh: Option<&SecretString>) -> Option<Request<Bytes>> {
        let endpoint = Uri::from_static("https://api.example.com/token");
        match (refresh, &self.password) {
            (Some(refresh), _) => {
                let fields =
                    [("grant_type", FieldValue::Open("refresh_token")), ("refresh_token", FieldValue::Secret(refresh))];
                Some(oauth::form(&endpoint, &fields))
            }
            (None, Some(password)) => {
                let fields = [
                    ("grant_type", FieldValue::Open("password")),
                    ("username", FieldValue::Open(self.username)),
                    ("password", FieldValue::Secret(password)),
                ];
                Some(oauth::form(&endpoint, &fields))
            }
            (None, None) => None,
        }
    }

    fn read(&self, reply: &Reply, wall: Timestamp) -> Result<AccessToken, Verdict> {
        oauth::read("Example", "check username and password", reply, wall)
    }

    fn calls(&self) -> Calls {
        self.calls
    }

    fn first_refresh(&self) -> Option<SecretString> {
        self.first_refresh.clone()
    }
}

fn reply(status: u16, body: &str) -> Result<Reply, Trouble> {
    let status = StatusCode::from_u16(status).unwrap();
    Ok(Reply { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) })
}

fn asking_to_wait(status: u16, seconds: u64) -> Result<Reply, Trouble> {
    let mut reply = reply(status, "")?;
    reply.headers.insert("retry-after", seconds.into());
    Ok(reply)
}

fn token(name: &str, life: u64) -> Result<Reply, Trouble> {
    reply(200, &format!(r#"{{"access_token":"{name}","expires_in":{life},"refresh_token":"{name}-refresh"}}"#))
}

fn wrong_password() -> Result<Reply, Trouble> {
    reply(403, r#"{"error":"invalid_grant","error_description":"Wrong email or password."}"#)
}

fn no_answer() -> Result<Reply, Trouble> {
    Err(Trouble::Timeout { host: "api.example.com".to_owned(), timeout: Duration::from_secs(10) })
}

/// Tokens and the two clocks.
struct Bench {
    grant: Example,
    tokens: Tokens,
    now: Instant,
    wall: Timestamp,
}

impl Bench {
    fn new(grant: Example) -> Self {
        let (now, wall) = (crate::clock::now(), Timestamp::constant(1_700_000_000, 0));
        Self { tokens: Tokens::new(&grant, None, now, wall), grant, now, wall }
    }

    fn holding(grant: Example, name: &str) -> Self {
        let mut bench = Self::new(grant);
        assert_eq!(bench.fetch(&token(name, HOUR)), TokenOutcome::Token);
        bench
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.wall = later(self.wall, by);
    }

    fn advance_secs(&mut self, by: u64) {
        self.advance(Duration::from_secs(by));
    }

    fn need(&self) -> Need {
        self.tokens.need(self.now, self.wall)
    }

    fn bearer(&self) -> Bearer {
        match self.need() {
            Need::Ready(bearer) => bearer,
            other @ (Need::Fetch | Need::Busy | Need::NotBefore(_)) => {
                panic!("{other:?}, {}", self.tokens.why(self.now))
            }
        }
    }

    fn header(&self) -> String {
        self.bearer().header.to_str().unwrap().to_owned()
    }

    fn request(&mut self) -> Option<Request<Bytes>> {
        self.tokens.request(&self.grant, self.now)
    }

    fn answered(&mut self, answer: &Result<Reply, Trouble>) -> TokenOutcome {
        self.tokens.answered(&self.grant, answer.as_ref(), self.now, self.wall)
    }

    fn fetch(&mut self, answer: &Result<Reply, Trouble>) -> TokenOutcome {
        self.request().expect("a call for a token");
        self.answered(answer)
    }

    /// How long until the next call, in whole seconds; 0: now.
    fn wait(&self) -> u64 {
        match self.need() {
            Need::NotBefore(until) => until.duration_since(self.now).as_secs(),
            Need::Fetch => 0,
            other @ (Need::Ready(_) | Need::Busy) => panic!("{other:?}"),
        }
    }

    fn restart(&mut self) {
        let stored = self.tokens.stored(self.now, self.wall);
        self.tokens = Tokens::new(&self.grant, Some(stored), self.now, self.wall);
    }
}

fn body(request: &Request<Bytes>) -> &str {
    std::str::from_utf8(request.body()).unwrap()
}

#[test]
fn one_call_is_in_flight_at_a_time() {
    let mut bench = Bench::new(Example::with_password());
    assert!(matches!(bench.need(), Need::Fetch));
    assert!(bench.request().is_some());
    assert!(matches!(bench.need(), Need::Busy));
    assert!(bench.request().is_none());
    assert_eq!(bench.answered(&token("one", HOUR)), TokenOutcome::Token);
    assert_eq!(bench.header(), "Bearer one");
}

#[test]
fn a_token_is_replaced_ahead_of_its_end_while_requests_go_on_with_it() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    bench.advance_secs(HOUR - 361);
    assert!(!bench.tokens.due(bench.now, bench.wall));
    bench.advance_secs(2);
    assert!(bench.tokens.due(bench.now, bench.wall));
    assert_eq!(body(&bench.request().unwrap()), "grant_type=refresh_token&refresh_token=one-refresh");
    assert_eq!(bench.header(), "Bearer one");
    assert!(!bench.tokens.due(bench.now, bench.wall), "it is being fetched");
    bench.answered(&token("two", HOUR));
    assert_eq!(bench.header(), "Bearer two");
    assert!(!bench.tokens.due(bench.now, bench.wall));
}

#[test]
fn a_token_is_not_sent_in_its_last_moment() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    bench.advance_secs(HOUR - 6);
    bench.bearer();
    bench.advance_secs(2);
    assert!(matches!(bench.need(), Need::Fetch));
}

#[test]
fn a_short_life_is_used_before_it_is_replaced() {
    let mut bench = Bench::new(Example::with_password());
    bench.fetch(&token("one", 40));
    bench.advance_secs(29);
    assert!(!bench.tokens.due(bench.now, bench.wall));
    bench.advance_secs(2);
    assert!(bench.tokens.due(bench.now, bench.wall));
}

#[test]
fn whichever_clock_says_first_that_a_token_is_over_is_believed() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    bench.wall = later(bench.wall, Duration::from_secs(HOUR));
    assert!(matches!(bench.need(), Need::Fetch));
    let mut bench = Bench::holding(Example::with_password(), "one");
    bench.now += Duration::from_secs(HOUR);
    assert!(matches!(bench.need(), Need::Fetch));
}

#[test]
fn a_revoked_token_is_replaced_once_for_all_requests_that_carried_it() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    let old = bench.bearer().generation;
    bench.tokens.accepted(old);
    assert!(bench.tokens.refused(old, bench.now));
    assert!(matches!(bench.need(), Need::Fetch));
    assert!(bench.tokens.refused(old, bench.now), "another request with it");
    bench.fetch(&token("two", HOUR));
    assert!(bench.tokens.refused(old, bench.now), "a late one: it is sent again");
    assert_eq!(bench.header(), "Bearer two");
}

#[test]
fn a_new_token_that_is_refused_too_is_not_replaced_again_and_again() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    let first = bench.bearer().generation;
    assert!(!bench.tokens.refused(first, bench.now));
    assert_eq!(bench.header(), "Bearer one", "what a probe goes out with");
    bench.advance_secs(1_202);
    assert!(bench.tokens.refused(first, bench.now), "by now another one may be better");
    bench.fetch(&token("two", HOUR));
    let second = bench.bearer().generation;
    assert!(!bench.tokens.refused(second, bench.now));
    bench.tokens.retry_now();
    assert!(bench.tokens.refused(second, bench.now), "an operator wants it");
    bench.fetch(&token("three", HOUR));
    assert!(!bench.tokens.refused(bench.bearer().generation, bench.now), "once");
}

#[test]
fn a_refused_refresh_token_gives_way_to_the_password_at_once() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    bench.advance_secs(HOUR);
    let refused = reply(403, r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#);
    assert_eq!(bench.fetch(&refused), TokenOutcome::Again);
    assert!(matches!(bench.need(), Need::Fetch));
    assert!(body(&bench.request().unwrap()).starts_with("grant_type=password"));
    assert_eq!(bench.answered(&token("two", HOUR)), TokenOutcome::Token);
}

#[test]
fn an_outage_drops_no_refresh_token() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    bench.advance_secs(HOUR);
    for answer in [no_answer(), reply(503, ""), reply(429, "")] {
        bench.tokens.retry_now();
        bench.fetch(&answer);
    }
    bench.advance_secs(HOUR);
    assert!(body(&bench.request().unwrap()).ends_with("one-refresh"));
}

#[test]
fn the_configured_refresh_token_is_tried_when_the_stored_one_is_refused() {
    let mut bench = Bench::holding(Example::with_refresh_only(), "one");
    bench.advance_secs(HOUR);
    bench.grant.first_refresh = Some(SecretString::from("configured-anew"));
    bench.restart();
    assert!(body(&bench.request().unwrap()).ends_with("one-refresh"));
    assert_eq!(bench.answered(&wrong_password()), TokenOutcome::Again);
    assert!(body(&bench.request().unwrap()).ends_with("configured-anew"));
    assert!(matches!(bench.answered(&wrong_password()), TokenOutcome::Refused(_)));
}

#[test]
fn a_refused_sign_in_says_what_to_do_and_waits_for_a_person() {
    let mut bench = Bench::new(Example::with_password());
    let sentence = "Example refused the sign-in (invalid_grant): Wrong email or password.; check username and password, then resume";
    assert_eq!(bench.fetch(&wrong_password()), TokenOutcome::Refused(sentence.to_owned()));
    assert!(bench.tokens.is_refused());
    assert_eq!(bench.tokens.why(bench.now), sentence);
    assert!(bench.wait() >= 1_200, "the vendor may lock an account that tries too often");
    bench.tokens.retry_now();
    assert_eq!(bench.fetch(&token("one", HOUR)), TokenOutcome::Token);
    assert!(!bench.tokens.is_refused());
}

#[test]
fn a_grant_without_a_way_says_so() {
    let mut bench = Bench::new(Example { first_refresh: None, ..Example::with_refresh_only() });
    assert!(bench.request().is_none());
    assert!(bench.tokens.is_refused());
    assert!(bench.tokens.why(bench.now).contains("no refresh token"));
    assert!(bench.wait() > 0, "it does not ask in circles");
}

#[test]
fn secrets_are_masked_in_sentences() {
    let mut bench = Bench::new(Example::with_password());
    let echo =
        r#"{"error":"invalid_grant","error_description":"ann with correct horse, correct+horse at a@example.com"}"#;
    let TokenOutcome::Refused(sentence) = bench.fetch(&reply(400, echo)) else { panic!("it is refused") };
    assert!(sentence.contains("ann with ***, *** at ***@***"), "{sentence}");
    let bench = Bench::holding(Example::with_password(), "very-secret");
    assert!(bench.bearer().header.is_sensitive());
    assert!(!format!("{:?}{:?}", bench.tokens, bench.tokens.stored(bench.now, bench.wall)).contains("very-secret"));
}

#[test]
fn failures_pause_longer_and_longer_and_leave_a_call_for_the_operator() {
    let mut bench = Bench::new(Example::with_password());
    let mut calls = Vec::new();
    let start = bench.now;
    while calls.len() < 7 {
        if let Need::NotBefore(until) = bench.need() {
            bench.advance(until.duration_since(bench.now));
        }
        calls.push(bench.now.duration_since(start).as_secs());
        assert!(matches!(bench.fetch(&no_answer()), TokenOutcome::Unavailable(_)));
    }
    assert_eq!(calls, [0, 15, 315, 1_515, 3_601, 4_801, 6_001]);
}

#[test]
fn an_operator_gets_the_call_that_is_kept_back() {
    let mut bench = Bench::new(Example::with_password());
    for _ in 0..4 {
        let wait = bench.wait();
        bench.advance_secs(wait + 1);
        bench.fetch(&no_answer());
    }
    bench.advance_secs(1_300);
    assert!(bench.request().is_none());
    let why = bench.tokens.why(bench.now);
    assert!(why.contains("no answer from api.example.com") && why.contains("kept for a resume"), "{why}");
    bench.tokens.retry_now();
    bench.fetch(&no_answer());
    bench.tokens.retry_now();
    assert!(bench.request().is_none(), "five are five");
    assert!(!bench.tokens.why(bench.now).contains("kept for a resume"));
}

#[test]
fn a_resume_is_good_for_one_call() {
    let mut bench = Bench::new(Example::with_password());
    bench.tokens.retry_now();
    bench.fetch(&no_answer());
    assert_eq!(bench.wait(), 15);
}

#[test]
fn a_wait_that_the_vendor_asks_for_is_kept_even_for_an_operator() {
    let mut bench = Bench::new(Example::with_password());
    assert!(matches!(bench.fetch(&asking_to_wait(429, 120)), TokenOutcome::Throttled(_)));
    assert_eq!(bench.wait(), 120);
    bench.tokens.retry_now();
    assert_eq!(bench.wait(), 120);
}

#[test]
fn a_restart_goes_on_with_the_token_and_the_count() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    let first = bench.wall;
    bench.advance_secs(600);
    bench.restart();
    assert_eq!(bench.header(), "Bearer one");
    assert_eq!(bench.tokens.calls(bench.now, bench.wall), [first]);
    let generation = bench.bearer().generation;
    assert!(bench.tokens.refused(generation, bench.now), "it may have been revoked meanwhile");
    assert!(body(&bench.request().unwrap()).ends_with("one-refresh"));
    bench.restart();
    assert_eq!(bench.tokens.calls(bench.now, bench.wall).len(), 2, "counted before it was answered");
}

#[test]
fn what_is_stored_of_another_account_is_not_used_but_its_calls_count() {
    let bench = Bench::holding(Example::with_password(), "one");
    let stored = bench.tokens.stored(bench.now, bench.wall);
    assert!(stored.is_of(&bench.grant));
    let other = Example { username: "bob", ..Example::with_password() };
    assert!(!stored.is_of(&other));
    let tokens = Tokens::new(&other, Some(stored.clone()), bench.now, bench.wall);
    assert!(matches!(tokens.need(bench.now, bench.wall), Need::Fetch));
    assert_eq!(tokens.calls(bench.now, bench.wall).len(), 1);
    let new_password = Example { password: Some(SecretString::from("battery staple")), ..Example::with_password() };
    assert!(stored.is_of(&new_password), "a good refresh token outlives a changed password");
}

#[test]
fn a_clock_that_was_set_back_neither_frees_calls_nor_blocks_for_ever() {
    let mut bench = Bench::new(Example::with_password());
    let tomorrow = later(bench.wall, Duration::from_secs(24 * HOUR));
    let stored = Stored { calls: vec![tomorrow; 5], ..Stored::default() };
    bench.tokens = Tokens::new(&bench.grant, Some(stored), bench.now, bench.wall);
    assert!((HOUR..=HOUR + 1).contains(&bench.wait()));
}

#[test]
fn an_answer_without_a_refresh_token_keeps_the_one_there_is() {
    let mut bench = Bench::holding(Example::with_password(), "one");
    bench.advance_secs(HOUR);
    bench.fetch(&reply(200, r#"{"access_token":"two","expires_in":3600}"#));
    bench.advance_secs(HOUR);
    assert!(body(&bench.request().unwrap()).ends_with("one-refresh"));
}

#[test]
fn a_token_that_no_header_can_carry_is_trouble() {
    let mut bench = Bench::new(Example::with_password());
    assert!(matches!(bench.fetch(&reply(200, r#"{"access_token":"a\nb"}"#)), TokenOutcome::Unavailable(_)));
    assert!(bench.wait() > 0);
}

#[test]
fn a_request_for_a_token_tells_its_secrets() {
    let mut bench = Bench::new(Example::with_password());
    let request = bench.request().unwrap();
    assert!(request.extensions().get::<Secrets>().is_some());
}
