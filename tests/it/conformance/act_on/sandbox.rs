//! What Sluice sends is taken by Act-On as the sandbox plays it: strictly, and with code of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sluice::delivery::Transport as _;
use sluice::delivery::http::HttpTransport;
use sluice::sandbox::{ActOnSettings, Latency, Limit, Sandbox, Settings};
use sluice::vendors::{Facts, Item, Job, Reply, Vendor};
use sluice::verdict::Verdict;

use super::super::{configured, event};
use super::{ACTIONS, DATES, with};

/// Act-On as the sandbox plays it, and a vendor's token for it.
struct Played {
    vendor: Arc<dyn Vendor>,
    transport: HttpTransport,
    token: String,
}

impl Played {
    async fn new(sandbox: &Sandbox, settings: &str) -> Self {
        let account =
            "client_id = \"sandbox\"\nclient_secret = \"sandbox\"\nusername = \"sandbox\"\npassword = \"sandbox\"";
        let base = format!("base_url = \"http://{}\"", sandbox.address());
        let vendor = configured("act-on", &format!("{account}\n{base}\n{settings}")).unwrap();
        let transport = HttpTransport::new(Duration::from_secs(10), None, false).unwrap();
        let grant = vendor.grant().unwrap();
        let answer = transport.send(&grant.request(None).unwrap(), &sluice::gate::WrittenAt::default()).await.unwrap();
        let token = grant.read(&answer, Timestamp::UNIX_EPOCH).unwrap().access.expose_secret().to_owned();
        Self { vendor, transport, token }
    }

    async fn send(&self, mut request: Request<Bytes>) -> Reply {
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        self.transport.send(&request, &sluice::gate::WrittenAt::default()).await.unwrap()
    }

    /// Uploads what may travel together in one request each, and sees every row applied.
    async fn upload(&self, events: &[Value]) {
        let of = |data| self.vendor.prepare(&event(data), &Facts::default()).unwrap();
        let items: Vec<Item> = events.iter().map(of).collect();
        for group in items.iter().map(|item| &item.group).collect::<BTreeSet<_>>() {
            let together: Vec<&Item> = items.iter().filter(|item| item.group == *group).collect();
            let answer = self.send(self.vendor.request(&together).unwrap()).await;
            assert_eq!(self.vendor.judge(&answer), Verdict::Accepted, "{answer:?}");
            let job = self.vendor.job(&answer, &together).unwrap();
            let state = self.send(self.vendor.job_status(&job).unwrap()).await;
            assert_eq!(self.vendor.judge(&state), Verdict::Delivered, "{state:?}");
            let rows = u64::try_from(together.len()).unwrap();
            let sentence = format!("job {job}: {rows} rows applied, 0 rejected");
            assert_eq!(self.vendor.judge_job(&job, &state), Job::Done { applied: rows, rejected: 0, sentence });
        }
    }
}

async fn sandbox() -> Sandbox {
    drop(rustls::crypto::ring::default_provider().install_default());
    let auth_limits = vec![Limit::per_second(1000)];
    let limits = vec![Limit::per_second(1000)];
    let act_on = ActOnSettings { limits, auth_limits, job_time: Duration::ZERO, ..ActOnSettings::default() };
    let latency = vec![Latency::NONE.into()];
    Sandbox::start(Settings { act_on, latency, ..Settings::default() }).await.unwrap()
}

/// A field of each event that the sandbox took, sorted.
fn taken(sandbox: &Sandbox, field: &str) -> Vec<String> {
    let events = sandbox.handle().events(Some("act-on"), 10_000);
    let event = |event: &Bytes| serde_json::from_slice::<Value>(event).unwrap()[field].as_str().unwrap().to_owned();
    let mut fields: Vec<String> = events.iter().map(event).collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn the_sandbox_takes_every_title_unchanged_with_every_separator_and_quote() {
    let mut titles: Vec<String> = [
        "plain",
        "a,b;c\td e",
        "'single' \"double\"",
        "\"",
        "'",
        "a\nb\r\nc\rd",
        " spaces around ",
        "\u{feff}=1+1",
        "🎉 \u{200f}שלום\u{200f}",
        "\\\" \\n",
    ]
    .map(str::to_owned)
    .into();
    titles.push("é🎉".repeat(2500));
    titles.sort();
    let events: Vec<Value> =
        titles.iter().map(|title| json!({"email": "a@test.com", "title": title, "note": title})).collect();
    for separator in ["TAB", "COMMA", "SEMICOLON", "SPACE"] {
        for quote in ["NONE", "SINGLE_QUOTE", "DOUBLE_QUOTE"] {
            for firstrow in [true, false] {
                let sandbox = sandbox().await;
                let settings = format!(
                    "mode = \"csv\"\nseparator = \"{separator}\"\nquote = \"{quote}\"\nfirstrow = {firstrow}\n\
                     custom_event = \"New\"\ncustomeventaction = \"CUSTOM_GENERAL\""
                );
                Played::new(&sandbox, &settings).await.upload(&events).await;
                assert_eq!(taken(&sandbox, "title"), titles, "{settings}");
                assert_eq!(taken(&sandbox, "note"), titles, "{settings}");
                assert_eq!(taken(&sandbox, "when"), vec!["11/14/2023"; titles.len()], "{settings}");
                sandbox.stop().await;
            }
        }
    }
}

#[tokio::test]
async fn the_sandbox_takes_every_date_format_and_action_as_a_fact() {
    let sandbox = sandbox().await;
    let played = Played::new(&sandbox, "mode = \"fact\"\nconfirm = \"applied\"").await;
    for (format, day, _) in DATES {
        let mut given = with("when", day);
        given["dateformat"] = json!(format);
        let mut by_default = given.clone();
        by_default["when"] = Value::Null;
        played.upload(&[given]).await;
        played.upload(&[by_default]).await;
    }
    for action in ACTIONS {
        played.upload(&[with("customeventaction", action)]).await;
    }
    assert_eq!(taken(&sandbox, "when").len(), DATES.len() * 2 + ACTIONS.len());
    let check = played.send(played.vendor.credentials_check().unwrap()).await;
    assert!(matches!(played.vendor.judge(&check), Verdict::Rejected(_)), "{check:?}");
    sandbox.stop().await;
}
