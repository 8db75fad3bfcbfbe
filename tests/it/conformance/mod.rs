//! What every vendor has to keep to, run over the registry: each has fixtures that say which event becomes exactly
//! which request, which answer means what, and which event is refused without a request.

mod act_on;
mod apsis_one;
mod gainsight_px;
mod http;

use std::collections::BTreeSet;
use std::sync::Arc;

use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use sluice::config::{self, Problems};
use sluice::event::Event;
use sluice::gate::Limit;
use sluice::vendors::{Facts, Item, REGISTRY, Refusal, Reply, Vendor, secrets_of};

/// One vendor's fixtures.
struct Fixtures {
    /// As in the registry.
    vendor: &'static str,
    /// The vendor's own keys of a destination, all of them.
    settings: &'static str,
    /// Secrets in those.
    secrets: &'static [&'static str],
    /// What the vendor answers to lookups, by their names.
    lookups: Vec<(&'static str, Value)>,
    /// The requests for a token, where the vendor wants one: the refresh token, and the request.
    grants: Vec<(Option<&'static str>, Sent)>,
    requests: Vec<Sent>,
    refused: Vec<Refused>,
    answers: Vec<Answered>,
}

/// Events that travel together, mostly one, and the request that they become.
struct Sent {
    what: &'static str,
    events: Vec<Value>,
    method: &'static str,
    url: &'static str,
    /// All of them, `Authorization: Bearer` with a token aside. Of a multipart content type without its boundary.
    headers: &'static [(&'static str, &'static str)],
    body: Body,
}

/// A request's body.
#[derive(Debug, PartialEq)]
enum Body {
    None,
    Json(Value),
    /// The form's fields in their order; a file's value is its text, its name is `field;filename`.
    Form(Vec<(String, String)>),
}

/// An event that breaks a rule of the vendor's, and the words that its sentence has to have.
struct Refused {
    what: &'static str,
    event: Value,
    says: &'static [&'static str],
}

/// An answer, the name of its verdict, and the sentence, where the verdict has one.
struct Answered {
    status: u16,
    body: String,
    verdict: &'static str,
    sentence: &'static str,
}

fn answered(status: u16, body: impl Into<String>, verdict: &'static str, sentence: &'static str) -> Answered {
    Answered { status, body: body.into(), verdict, sentence }
}

/// Every vendor's fixtures: a new vendor adds its own here.
fn all() -> Vec<Fixtures> {
    vec![act_on::fixtures(), apsis_one::fixtures(), gainsight_px::fixtures(), http::fixtures()]
}

/// When and as what every fixture's event happened.
const TIME: Timestamp = Timestamp::constant(1_700_000_000, 123_000_000);

fn event(data: &Value) -> Event {
    Event {
        id: "event-1".to_owned(),
        source: "shop".to_owned(),
        kind: "shop.order".to_owned(),
        time: TIME.into(),
        data: data.as_object().cloned().unwrap_or_default().into(),
        trace: None,
        expires: None,
        not_before: None,
        id_derived: false,
        original: None,
    }
}

/// A vendor with these settings in its destination's section.
fn configured(vendor: &str, settings: &str) -> Result<Arc<dyn Vendor>, Problems> {
    let text = format!(
        "[broker]\nurl = \"amqp://localhost\"\n[destinations.account]\nvendor = \"{vendor}\"\nsubscribe = [\"#\"]\n\
         limits = [\"10/s\"]\n{settings}\n"
    );
    let mut config = config::parse("test.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()))?;
    Ok(config.destinations.remove("account").unwrap().vendor)
}

impl Fixtures {
    fn configured(&self) -> Arc<dyn Vendor> {
        configured(self.vendor, self.settings).unwrap_or_else(|problems| panic!("{}: {problems}", self.vendor))
    }

    /// What the lookups teach.
    fn facts(&self) -> Facts {
        let (vendor, mut facts) = (self.configured(), Facts::default());
        for (name, answer) in &self.lookups {
            assert!(vendor.lookup(name).is_some(), "{}: {name} cannot be looked up", self.vendor);
            facts.put(name, vendor.learn(name, &reply(200, &answer.to_string())).unwrap());
        }
        facts
    }

    /// Every request in the fixtures.
    fn all_requests(&self) -> Vec<Request<Bytes>> {
        let (vendor, facts) = (self.configured(), self.facts());
        let mut requests: Vec<Request<Bytes>> =
            self.requests.iter().map(|sent| request_for(vendor.as_ref(), &sent.events, &facts).unwrap()).collect();
        requests.extend(vendor.credentials_check());
        requests.extend(self.lookups.iter().filter_map(|(name, _)| vendor.lookup(name)));
        requests.extend(vendor.job_status("17"));
        if let Some(grant) = vendor.grant() {
            let refresh = self.grants.iter().map(|(refresh, _)| refresh.map(SecretString::from));
            requests.extend(refresh.filter_map(|refresh| grant.request(refresh.as_ref())));
        }
        requests
    }

    #[track_caller]
    fn shows_no_secret(&self, text: &str) {
        let shown = self.secrets.iter().find(|secret| text.contains(**secret));
        assert!(shown.is_none(), "{}: a secret stands in {text}", self.vendor);
    }
}

fn body_of(request: &Request<Bytes>) -> Body {
    let body = String::from_utf8(request.body().to_vec()).unwrap();
    let kind = request.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap());
    if let Some(boundary) = kind.strip_prefix("multipart/form-data; boundary=") {
        return Body::Form(parts(&body, boundary));
    }
    match kind {
        "" => Body::None,
        "application/x-www-form-urlencoded" => {
            Body::Form(url::form_urlencoded::parse(body.as_bytes()).into_owned().collect())
        }
        _ => Body::Json(serde_json::from_str(&body).unwrap()),
    }
}

/// The parts of a multipart body (RFC 7578), read strictly.
fn parts(body: &str, boundary: &str) -> Vec<(String, String)> {
    let inner = body.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let inner = inner.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let part = |part: &str| {
        let (head, value) = part.split_once("\r\n\r\n").unwrap();
        let disposition = head.lines().next().unwrap();
        let named = disposition.strip_prefix("Content-Disposition: form-data; name=\"").unwrap();
        let name = named.strip_suffix('"').unwrap().replace("\"; filename=\"", ";");
        (name, value.to_owned())
    };
    inner.split(&format!("\r\n--{boundary}\r\n")).map(part).collect()
}

/// The request's headers as fixtures write them.
fn headers_of(request: &Request<Bytes>) -> BTreeSet<(String, String)> {
    let headers = request.headers().iter();
    let shown = |value: &str| {
        if value.starts_with("multipart/") { value.split(';').next().unwrap().to_owned() } else { value.to_owned() }
    };
    headers.map(|(name, value)| (name.to_string(), shown(value.to_str().unwrap()))).collect()
}

#[track_caller]
fn assert_is(request: &Request<Bytes>, sent: &Sent, what: &str) {
    assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), (sent.method, sent.url), "{what}");
    let headers = sent.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(headers_of(request), headers, "{what}");
    assert_eq!(body_of(request), sent.body, "{what}");
}

/// The request for events that travel together.
fn request_for(vendor: &dyn Vendor, events: &[Value], facts: &Facts) -> Result<Request<Bytes>, Refusal> {
    let items: Vec<Item> =
        events.iter().map(|data| vendor.prepare(&event(data), facts)).collect::<Result<_, Refusal>>()?;
    let together = items.iter().all(|item| item.group == items[0].group) && items.len() <= vendor.batching().items;
    assert!(together || items.len() == 1, "these may not travel together");
    Ok(vendor.request(&items.iter().collect::<Vec<_>>())?)
}

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn sentence(verdict: &sluice::verdict::Verdict) -> &str {
    use sluice::verdict::Verdict::{Accepted, Delivered, Rejected, Throttled, TooLarge, Unauthorized, Unavailable};
    match verdict {
        Unavailable(said) | Throttled(said) | Unauthorized(said) | TooLarge(said) | Rejected(said) => said,
        Delivered | Accepted => "",
    }
}

#[test]
fn every_registered_vendor_has_fixtures_of_every_kind() {
    let registered: BTreeSet<&str> = REGISTRY.iter().map(|kind| kind.name).collect();
    let covered: BTreeSet<&str> = all().iter().map(|fixtures| fixtures.vendor).collect();
    assert_eq!(registered, covered);
    for fixtures in all() {
        assert!(!fixtures.requests.is_empty() && !fixtures.answers.is_empty(), "{}", fixtures.vendor);
        assert!(!fixtures.secrets.is_empty(), "{}", fixtures.vendor);
    }
}

#[test]
fn each_event_becomes_exactly_its_request() {
    for fixtures in all() {
        let (vendor, facts) = (fixtures.configured(), fixtures.facts());
        for sent in &fixtures.requests {
            let what = format!("{}: {}", fixtures.vendor, sent.what);
            let request =
                request_for(vendor.as_ref(), &sent.events, &facts).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_is(&request, sent, &what);
        }
    }
}

#[test]
fn each_token_is_asked_for_as_documented() {
    for fixtures in all() {
        let vendor = fixtures.configured();
        assert_eq!(vendor.grant().is_some(), !fixtures.grants.is_empty(), "{}", fixtures.vendor);
        for (refresh, sent) in &fixtures.grants {
            let what = format!("{}: {}", fixtures.vendor, sent.what);
            let refresh = refresh.map(SecretString::from);
            let request = vendor.grant().unwrap().request(refresh.as_ref()).unwrap_or_else(|| panic!("{what}: no way"));
            assert_is(&request, sent, &what);
        }
    }
}

#[test]
fn looking_at_a_request_asks_the_vendor_nothing() {
    for fixtures in all() {
        let vendor = fixtures.configured();
        for event_data in fixtures.requests.iter().flat_map(|sent| &sent.events) {
            assert!(vendor.request_for(&event(event_data), &Facts::blind()).is_ok(), "{}", fixtures.vendor);
        }
    }
}

#[test]
fn each_broken_rule_is_told_in_a_sentence_that_names_the_field() {
    for fixtures in all() {
        let (vendor, facts) = (fixtures.configured(), fixtures.facts());
        for refused in &fixtures.refused {
            let what = format!("{}: {}", fixtures.vendor, refused.what);
            let Err(error) = vendor.request_for(&event(&refused.event), &facts) else {
                panic!("{what} was not refused")
            };
            let said = error.to_string();
            for word in refused.says {
                assert!(said.contains(word), "{what}: {said:?} does not say {word:?}");
            }
            fixtures.shows_no_secret(&said);
        }
    }
}

#[test]
fn each_answer_has_its_verdict_and_sentence() {
    for fixtures in all() {
        let vendor = fixtures.configured();
        for answered in &fixtures.answers {
            let verdict = vendor.judge(&reply(answered.status, &answered.body));
            let what = format!("{}: {} {}", fixtures.vendor, answered.status, answered.body);
            assert_eq!((verdict.name(), sentence(&verdict)), (answered.verdict, answered.sentence), "{what}");
        }
    }
}

#[test]
fn documented_limits_parse() {
    for kind in REGISTRY {
        assert!(kind.limits.iter().all(|limit| limit.parse::<Limit>().is_ok()), "{}: {:?}", kind.name, kind.limits);
    }
}

#[test]
fn secrets_are_marked_and_shown_nowhere() {
    for fixtures in all() {
        let vendor = fixtures.configured();
        fixtures.shows_no_secret(&format!("{vendor:?}"));
        let requests = fixtures.all_requests();
        for request in &requests {
            fixtures.shows_no_secret(&format!("{:?}", request.clone().map(|_body| ())));
            fixtures.shows_no_secret(&request.uri().to_string());
            let unmarked = request.headers().values().filter(|value| !value.is_sensitive());
            unmarked.for_each(|value| fixtures.shows_no_secret(value.to_str().unwrap()));
        }
        for secret in fixtures.secrets {
            let marked =
                requests.iter().any(|request| secrets_of(request).iter().any(|marked| marked.contains(secret)));
            assert!(marked, "{}: {secret} is not marked", fixtures.vendor);
        }
    }
}

#[test]
fn a_problem_in_the_settings_shows_no_secret() {
    for fixtures in all() {
        let problems = configured(fixtures.vendor, &format!("{}\nno_such_key = 1", fixtures.settings)).unwrap_err();
        fixtures.shows_no_secret(&problems.to_string());
        // The same settings, each secret with a character that no header can carry.
        let broken = fixtures.secrets.iter().fold(fixtures.settings.to_owned(), |settings, secret| {
            settings.replace(secret, &format!("{secret}\\u0007"))
        });
        fixtures.shows_no_secret(&configured(fixtures.vendor, &broken).unwrap_err().to_string());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,20}", inner, 0..6).prop_map(|map| Value::from(Map::from_iter(map))),
        ]
    })
}

/// Data near what the vendors want: a fixture's, with some fields replaced.
fn any_data() -> impl Strategy<Value = Value> {
    let fixtures: Vec<Value> = all()
        .into_iter()
        .flat_map(|fixtures| fixtures.requests)
        .flat_map(|sent| sent.events)
        .filter(Value::is_object)
        .collect();
    let near =
        (prop::sample::select(fixtures), prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..4));
    let near = near.prop_map(|(mut data, changes)| {
        let keys: Vec<String> = data.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default();
        for (index, value) in changes.into_iter().filter(|_| !keys.is_empty()) {
            data[index.get(&keys)] = value;
        }
        data
    });
    prop_oneof![
        near,
        any_json().prop_map(|value| if value.is_object() { value } else { json!({ "attributes": value }) })
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_makes_judging_panic(status in 100u16..1000, body in prop::collection::vec(any::<u8>(), 0..400)) {
        for fixtures in all() {
            let headers = HeaderMap::new();
            let answer = Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from(body.clone()) };
            let verdict = fixtures.configured().judge(&answer);
            prop_assert!(sentence(&verdict).chars().count() < 1000, "{verdict:?}");
        }
    }

    #[test]
    fn no_json_answer_makes_judging_panic(status in 200u16..600, body in any_json()) {
        for fixtures in all() {
            let verdict = fixtures.configured().judge(&reply(status, &body.to_string()));
            prop_assert!(sentence(&verdict).chars().count() < 1000, "{verdict:?}");
        }
    }

    #[test]
    fn no_event_makes_a_request_panic(data in any_data()) {
        for fixtures in all() {
            if let Err(error) = fixtures.configured().request_for(&event(&data), &fixtures.facts()) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
