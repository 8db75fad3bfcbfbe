//! APSIS One: the guide's example field by field, profile keys of every kind, each type right and wrong, and problem bodies.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sluice::delivery::Transport as _;
use sluice::delivery::http::HttpTransport;
use sluice::sandbox::{Latency, Sandbox, Settings};
use sluice::vendors::{Facts, Item};
use sluice::verdict::Verdict;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::{Answered, Body, Fixtures, Refused, Sent, answered, configured, event, request_for};

const HEADERS: &[(&str, &str)] = &[("content-type", "application/json"), ("accept", "application/json")];
const SECTION: &str = "usercreated.sections.my_section-h4h3dpu3qi";
const EVENT: &str = "com.apsis1.events.transaction.custom-my-transaction-l9ce3syo6t";
const OLD_EVENT: &str = "com.apsis1.events.signal.custom-old-a1b2c3d4e5";
const STEVE: &str = "https://api.apsis.one/audience/keyspaces/com.apsis1.keyspaces.email/profiles/steve%40apsis.com\
                     /sections/usercreated.sections.my_section-h4h3dpu3qi/events";

pub fn fixtures() -> Fixtures {
    Fixtures {
        vendor: "apsis-one",
        settings: "region = \"eu\"\nclient_id = \"apsis-id-0123456789\"\nclient_secret = \"apsis-secret-987654321\"\n\
                   keyspace = \"com.apsis1.keyspaces.email\"\nsection = \"usercreated.sections.my_section-h4h3dpu3qi\"\n\
                   profile_limit = \"10/s\"\nbatch_max = 100",
        secrets: &["apsis-id-0123456789", "apsis-secret-987654321"],
        lookups: vec![(SECTION, json!({"items": event_types()})), ("bare.section", event_types())],
        grants: vec![(None, grant())],
        requests: requests(),
        refused: refused(),
        answers: answers(),
    }
}

/// The guide's event type, with an earlier version, and one whose versions are all deprecated.
fn event_types() -> Value {
    let types = json!({
        "myNumberField": "integer", "myNumberWithDecimalField": "double", "myTextField": "string",
        "myTrueFalseField": "boolean", "source": "string",
    });
    json!([
        {
            "name": "my transaction", "discriminator": EVENT, "description": "",
            "versions": [
                {"id": "17", "type": {"source": "string"}, "deprecated_at": "2021-01-07T12:17:56.054Z",
                 "valid_from": "2020-01-07T12:17:56.054Z"},
                {"id": "2565266", "type": types, "deprecated_at": null, "valid_from": "2021-01-07T12:17:56.054Z"},
            ],
        },
        {
            "name": "old", "discriminator": OLD_EVENT,
            "versions": [{"id": "3", "type": {}, "deprecated_at": "2020-01-01T00:00:00Z", "valid_from": null}],
        },
    ])
}

fn grant() -> Sent {
    Sent {
        what: "client credentials",
        events: Vec::new(),
        method: "POST",
        url: "https://api.apsis.one/oauth/token",
        headers: HEADERS,
        body: Body::Json(json!({
            "grant_type": "client_credentials", "client_id": "apsis-id-0123456789", "client_secret": "apsis-secret-987654321",
        })),
    }
}

/// The guide's data.
fn documented() -> Value {
    json!({
        "myNumberField": 27183, "myNumberWithDecimalField": 213.21, "myTextField": "some transaction",
        "myTrueFalseField": false, "source": "some web shop",
    })
}

/// An event of the guide's profile with this data.
fn of(data: Value) -> Value {
    json!({"profile": "steve@apsis.com", "event": EVENT, "data": data})
}

/// The least, with one field set.
fn with(field: &str, value: Value) -> Value {
    let mut event = of(json!({"source": "x"}));
    event[field] = value;
    event
}

/// What becomes of it in `items`.
fn item(data: Value) -> Value {
    json!({"event_time": "2023-11-14T22:13:20.123Z", "version_id": 2_565_266, "data": data})
}

fn sent(what: &'static str, url: &'static str, events: Vec<Value>, items: Value) -> Sent {
    Sent { what, events, method: "POST", url, headers: HEADERS, body: Body::Json(json!({ "items": items })) }
}

fn requests() -> Vec<Sent> {
    let mut guides = of(documented());
    guides["event_time"] = json!("2020-10-14T09:43:34.471Z");
    let mut guides_item = item(documented());
    guides_item["event_time"] = json!("2020-10-14T09:43:34.471Z");
    let mut requests = vec![
        sent("the guide's example, field by field", STEVE, vec![guides.clone()], json!([guides_item])),
        sent(
            "events of one profile travel together, in order",
            STEVE,
            vec![guides, of(json!({"source": "é\n\"x\" 🎉"})), of(json!({}))],
            json!([guides_item, item(json!({"source": "é\n\"x\" 🎉"})), item(json!({}))]),
        ),
        sent(
            "a double takes a whole number, an integer one written with .0; a null is left out",
            STEVE,
            vec![of(json!({"myNumberWithDecimalField": 5, "myNumberField": -5.0, "source": null, "gone": null}))],
            json!([item(json!({"myNumberWithDecimalField": 5, "myNumberField": -5}))]),
        ),
        sent(
            "the largest and smallest whole numbers",
            STEVE,
            vec![of(json!({"myNumberField": u64::MAX})), of(json!({"myNumberField": i64::MIN}))],
            json!([item(json!({"myNumberField": u64::MAX})), item(json!({"myNumberField": i64::MIN}))]),
        ),
        sent(
            "nulls beside the data are left out",
            STEVE,
            vec![json!({"profile": "steve@apsis.com", "event": EVENT, "data": {}, "keyspace": null, "section": null,
                        "version_id": null, "event_time": null})],
            json!([item(json!({}))]),
        ),
        sent(
            "an event's own keyspace and section win",
            "https://api.apsis.one/audience/keyspaces/my%20keys%2Fown/profiles/steve%40apsis.com/sections/bare.section/events",
            vec![json!({"profile": "steve@apsis.com", "event": EVENT, "data": {"source": "x"},
                        "keyspace": "my keys/own", "section": "bare.section"})],
            json!([item(json!({"source": "x"}))]),
        ),
    ];
    requests.extend(keys());
    requests.extend(times_and_versions());
    requests
}

/// Profile keys of every kind, and the segment that each becomes.
fn keys() -> Vec<Sent> {
    [
        ("a/b?c%d+e f..", "a%2Fb%3Fc%25d%2Be%20f.."),
        ("..x", "..x"),
        ("...", "..."),
        ("%2e%2e", "%252e%252e"),
        ("+46701234567", "%2B46701234567"),
        (" a ", "%20a%20"),
        ("žluťoučký@kůň.cz", "%C5%BElu%C5%A5ou%C4%8Dk%C3%BD%40k%C5%AF%C5%88.cz"),
        ("🎉", "%F0%9F%8E%89"),
        ("a#b;c=d&e\\f\t\u{7f}", "a%23b%3Bc%3Dd%26e%5Cf%09%7F"),
        ("A-b_c.d~1", "A-b_c.d~1"),
    ]
    .map(|(key, url)| {
        let url = STEVE.replace("steve%40apsis.com", url).leak();
        let events = vec![with("profile", json!(key))];
        sent("a profile's key is one segment", url, events, json!([item(json!({"source": "x"}))]))
    })
    .into()
}

fn times_and_versions() -> Vec<Sent> {
    let mut requests = Vec::new();
    for (given, posted) in [
        ("2020-10-14T09:43:34Z", "2020-10-14T09:43:34Z"),
        ("2020-10-14T11:43:34.4719+02:00", "2020-10-14T09:43:34.4719Z"),
        ("2020-10-14T09:43:34.470000Z", "2020-10-14T09:43:34.470000Z"),
    ] {
        let mut item = item(json!({"source": "x"}));
        item["event_time"] = json!(posted);
        requests.push(sent("a given time, in UTC", STEVE, vec![with("event_time", json!(given))], json!([item])));
    }
    for version in [json!(2_565_266), json!("2565266"), json!("17"), json!(99)] {
        let mut item = item(json!({"source": "x"}));
        item["version_id"] = version.clone();
        let event = json!({"profile": "steve@apsis.com", "data": {"source": "x"}, "version_id": version});
        requests.push(sent("a given version goes as it is", STEVE, vec![event], json!([item])));
    }
    requests
}

fn refused() -> Vec<Refused> {
    let case = |what, event, says| Refused { what, event, says };
    let mut refused = vec![
        case("no profile", json!({"event": EVENT, "data": {}}), &["profile", "required"][..]),
        case("no event", json!({"profile": "x", "data": {}}), &["event", "required"]),
        case("no data", json!({"profile": "x", "event": EVENT}), &["data", "required", "{}"]),
        case("an unknown field", with("Profile", json!("x")), &["Profile", "profile"]),
        case("an empty profile", with("profile", json!("")), &["profile", "empty"]),
        case("a blank profile", with("profile", json!(" ")), &["profile", "empty"]),
        case("a profile that is a number", with("profile", json!(17)), &["profile", "a number", "a string"]),
        case("a profile that is a dot", with("profile", json!(".")), &["profile", "address"]),
        case("a profile that is two dots", with("profile", json!("..")), &["profile", "address"]),
        case("a profile that no address holds", with("profile", json!("x".repeat(70_000))), &["profile", "address"]),
        case("a keyspace that is two dots", with("keyspace", json!("..")), &["keyspace", "address"]),
        case("data that is a list", with("data", json!([1])), &["data", "an array", "an object"]),
        case("a time that is none", with("event_time", json!("yesterday")), &["event_time", "yesterday", "RFC 3339"]),
        case("a time of no time", with("event_time", json!("0001-01-01T00:00:00Z")), &["event_time", "in the year 1"]),
        case("a time without an offset", with("event_time", json!("2020-10-14T09:43:34")), &["event_time", "RFC 3339"]),
        case("a time that is a number", with("event_time", json!(1_602_668_614)), &["event_time", "a number"]),
        case("a version that is no number", with("version_id", json!("v2")), &["version_id", "v2", "whole number"]),
        case("a negative version", with("version_id", json!(-1)), &["version_id", "whole number"]),
        case("a version of another event", with("version_id", json!("3")), &["version_id", OLD_EVENT, EVENT]),
        case(
            "a misspelt event",
            with("event", json!(EVENT.replace("my-", "me-"))),
            &["event", SECTION, "did you mean", EVENT],
        ),
        case("another event", with("event", json!("x")), &["event", "\"x\"", EVENT, OLD_EVENT]),
        case("an event that is deprecated", with("event", json!(OLD_EVENT)), &[OLD_EVENT, "deprecated", "3"]),
        case("a misspelt data field", of(json!({"myTxtField": "x"})), &["myTxtField", "did you mean", "myTextField"]),
        case("an unknown data field", of(json!({"x": 1})), &["\"x\"", "2565266", EVENT, "myTextField", "source"]),
        case(
            "a fraction for an integer",
            of(json!({"myNumberField": 5.5})),
            &["myNumberField", "fraction", "an integer"],
        ),
        case("a huge number for an integer", of(json!({"myNumberField": 1e30})), &["myNumberField", "an integer"]),
        case("over 100 kB", of(json!({"source": "x".repeat(100_000)})), &["100000 bytes", "data"]),
    ];
    for (field, kind, wrong) in [
        ("myNumberField", "an integer", [json!("5"), json!(true), json!([5]), json!({})]),
        ("myNumberWithDecimalField", "a double", [json!("5.5"), json!(true), json!([5.5]), json!({})]),
        ("myTextField", "a string", [json!(5), json!(true), json!(["x"]), json!({})]),
        ("myTrueFalseField", "a boolean", [json!("true"), json!(1), json!([true]), json!({})]),
    ] {
        for value in wrong {
            let found = sluice::event::name_of(&value);
            let says = vec![field, "2565266", found, kind].leak();
            refused.push(case("a field of the wrong type", of(json!({field: value})), says));
        }
    }
    refused
}

fn answers() -> Vec<Answered> {
    let problem = |status: u16| json!({"title": "No", "status": status, "detail": "Not\n this one"}).to_string();
    let said = |status: u16, verdict, sentence| answered(status, problem(status), verdict, sentence);
    vec![
        answered(204, "", "delivered", ""),
        answered(200, "{}", "delivered", ""),
        answered(202, "", "delivered", ""),
        answered(302, "", "unavailable", "APSIS One answered 302"),
        said(400, "rejected", "APSIS One answered 400: No: Not this one"),
        said(401, "unauthorized", "APSIS One answered 401: No: Not this one"),
        said(403, "unauthorized", "APSIS One answered 403: No: Not this one"),
        said(404, "rejected", "APSIS One answered 404: No: Not this one"),
        said(408, "unavailable", "APSIS One answered 408: No: Not this one"),
        said(409, "rejected", "APSIS One answered 409: No: Not this one"),
        said(410, "rejected", "APSIS One answered 410: No: Not this one"),
        said(413, "too_large", "APSIS One answered 413: No: Not this one"),
        said(429, "throttled", "APSIS One answered 429: No: Not this one"),
        said(500, "unavailable", "APSIS One answered 500: No: Not this one"),
        said(501, "unavailable", "APSIS One answered 501: No: Not this one"),
        answered(
            503,
            r#"{"title":"Service unavailable","status":503,"detail":"Connection to database timed out"}"#,
            "unavailable",
            "APSIS One answered 503: Service unavailable: Connection to database timed out",
        ),
        answered(
            502,
            "<html><title>Bad Gateway</title>",
            "unavailable",
            "APSIS One answered 502: an HTML page, Bad Gateway",
        ),
        answered(
            400,
            r#"{"title":null,"detail":""}"#,
            "rejected",
            r#"APSIS One answered 400: {"title":null,"detail":""}"#,
        ),
        answered(400, "[]", "rejected", "APSIS One answered 400: []"),
    ]
}

/// The address of each request that comes to `listener`, as it stood on the wire.
async fn address_on_the_wire(listener: &TcpListener) -> String {
    let mut stream = BufReader::new(listener.accept().await.unwrap().0);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let mut header = String::new();
    while stream.read_line(&mut header).await.unwrap() > 2 {
        header.clear();
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

/// Proxies and clients like to tidy addresses: a profile's key must not be tidied.
#[tokio::test]
async fn every_profile_key_goes_over_the_wire_as_it_was_encoded() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixtures = fixtures();
    let base = format!("http://{}/prefix", listener.local_addr().unwrap());
    let vendor = configured(fixtures.vendor, &format!("{}\nbase_url = \"{base}\"", fixtures.settings)).unwrap();
    let transport = HttpTransport::new(Duration::from_secs(10), None, false).unwrap();
    for sent in &fixtures.requests {
        let request = request_for(vendor.as_ref(), &sent.events, &fixtures.facts()).unwrap();
        let written = sluice::gate::WrittenAt::default();
        let (address, answer) = tokio::join!(address_on_the_wire(&listener), transport.send(&request, &written));
        assert_eq!(address, sent.url.replace("https://api.apsis.one", "/prefix"), "{}", sent.what);
        assert_eq!(answer.unwrap().status, 204);
    }
}

/// Token, event types and events, from the first request to what the vendor has kept.
#[tokio::test]
async fn the_sandbox_takes_what_is_sent_and_tells_good_from_bad_in_a_207() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut settings = Settings { latency: vec![Latency::NONE.into()], ..Settings::default() };
    settings.apsis_one.multi_status = true;
    settings.apsis_one.require_all_fields = false;
    let sandbox = Sandbox::start(settings).await.unwrap();
    let vendor = format!(
        "client_id = \"sandbox\"\nclient_secret = \"sandbox\"\nsection = \"{SECTION}\"\nkeyspace = \"com.apsis1.keyspaces.email\""
    );
    let vendor = configured("apsis-one", &format!("{vendor}\nbase_url = \"http://{}\"", sandbox.address())).unwrap();
    let transport = HttpTransport::new(Duration::from_secs(10), None, false).unwrap();

    let grant = vendor.grant().unwrap();
    let answer = transport.send(&grant.request(None).unwrap(), &sluice::gate::WrittenAt::default()).await.unwrap();
    let token = grant.read(&answer, Timestamp::UNIX_EPOCH).unwrap();
    let bearer = format!("Bearer {}", token.access.expose_secret());
    let send = async |mut request: ::http::Request<bytes::Bytes>| {
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        transport.send(&request, &sluice::gate::WrittenAt::default()).await.unwrap()
    };

    let mut facts = Facts::default();
    facts.put(SECTION, vendor.learn(SECTION, &send(vendor.lookup(SECTION).unwrap()).await).unwrap());
    let keys = ["steve@apsis.com", "a/b?c%d+e f..", "..x", "žluťoučký@kůň.cz", "🎉"];
    for key in keys {
        let mut data = of(documented());
        data["profile"] = json!(key);
        let good = vendor.prepare(&event(&data), &facts).unwrap();
        let bad = Item { content: r#"{"event_time":"soon","version_id":1,"data":{}}"#.into(), ..good.clone() };
        let items = [&good, &bad];
        let answer = send(vendor.request(&items).unwrap()).await;
        assert_eq!(vendor.judge(&answer), Verdict::Delivered);
        let verdicts = vendor.judge_each(&answer, &items).unwrap();
        assert!(matches!(verdicts.as_slice(), [Verdict::Delivered, Verdict::Rejected(_)]), "{verdicts:?}");
    }
    let kept = sandbox.handle().events(Some("apsis-one"), usize::MAX);
    let kept: Vec<Value> = kept.iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
    assert_eq!(kept.iter().map(|event| event["profile"].as_str().unwrap()).collect::<Vec<_>>(), keys);
    assert!(kept.iter().all(|event| event["data"] == documented() && event["discriminator"] == EVENT));
    sandbox.stop().await;
}
