//! How APSIS One's limits of account and profile are used under a backlog, and whether every event arrives once and in
//! order.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use sluice::clock;
use sluice::sandbox::{ApsisEventType, ApsisSettings, Enforcement, Latency, Sandbox, SandboxHandle, Settings};

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, number};
use crate::stage::{Destination, Stage};
use crate::worker::Worker;

const PATIENCE: Duration = Duration::from_secs(180);
/// The sandbox tells events apart by this field of their data.
const ID_FIELD: &str = "myTextField";
/// What profiles' keys end in: all that is hard to carry in a path.
const HARD: [&str; 8] = ["/../x", "?a=b", "%2F", "+tag@example.com", " a b", "..", "é-ß-東京", "#;,:@&="];

/// An account with a backlog of so many profiles.
struct Account {
    counts: &'static str,
    events: u32,
    profiles: u32,
    sandbox: Sandbox,
    destination: Destination,
}

/// Measures accounts beside each other in one worker: with few profiles their limit binds, with many the account's. One
/// takes 300 ms to answer.
///
/// # Errors
/// When an event is not delivered.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let events = size.apsis_one_events;
    let (at_once, late) = (Latency::NONE, Latency::exponential(Duration::from_millis(300)));
    let accounts = [
        Account::open("sliding window", Enforcement::Sliding, at_once, events, 8).await?,
        Account::open("sliding window", Enforcement::Sliding, at_once, events, events / 2).await?,
        Account::open("fixed window", Enforcement::Fixed, at_once, events, events / 2).await?,
        Account::open("sliding window, 300 ms", Enforcement::Sliding, late, events, events / 2).await?,
    ];
    let destinations: Vec<_> = accounts.iter().map(|account| account.destination.clone()).collect();
    let worker = stage.sluice(&destinations).await?;
    report.say(&format!("APSIS One: four accounts with {events} events each"))?;
    let seconds = try_join_all(accounts.iter().map(|account| account.deliver(stage, &worker))).await?;
    worker.process.stop().await?;
    for (account, seconds) in accounts.into_iter().zip(seconds) {
        account.tell(seconds, report)?;
        account.sandbox.stop().await;
    }
    Ok(())
}

impl Account {
    async fn open(
        counts: &'static str,
        enforcement: Enforcement,
        latency: Latency,
        events: u32,
        profiles: u32,
    ) -> Result<Self, Error> {
        let apsis_one = ApsisSettings { enforcement, id_field: Some(ID_FIELD.to_owned()), ..ApsisSettings::default() };
        let latency = vec![latency.into()];
        let sandbox = Sandbox::start(Settings { apsis_one, latency, ..Settings::default() }).await?;
        let destination = Destination {
            name: format!("apsis-{}-{profiles}", counts.replace(", ", "-").replace(' ', "-")),
            vendor: "apsis-one",
            base: format!("http://{}", sandbox.address()),
            limit: None,
            concurrency: None,
            more: "",
        };
        Ok(Self { counts, events, profiles, sandbox, destination })
    }

    fn body(&self, n: u32) -> String {
        let profile = n % self.profiles;
        let hard = HARD.get(usize::try_from(profile).unwrap_or_default() % HARD.len()).copied().unwrap_or_default();
        let body = json!({
            "profile": format!("{profile}{hard}"),
            "keyspace": "com.apsis1.keyspaces.crm-id",
            "section": "usercreated.sections.my_section-h4h3dpu3qi",
            "event": ApsisEventType::documented().discriminator,
            "data": {
                "myNumberField": n,
                "myNumberWithDecimalField": 1.5,
                ID_FIELD: n.to_string(),
                "myTrueFalseField": true,
                "source": "bench",
            },
        });
        body.to_string()
    }

    /// Publishes the events all at once and waits until they are delivered; how many seconds that took. One before them is
    /// not counted: a new gate begins drained, and the event types have to be looked up.
    async fn deliver(&self, stage: &Stage, worker: &Worker) -> Result<f64, Error> {
        let Self { destination, events, .. } = self;
        stage.publish_each(destination, 1, |_| self.body(*events)).await?;
        worker.has_delivered(destination, 1, PATIENCE).await?;
        self.sandbox.handle().forget();
        let begun = clock::now();
        stage.publish_each(destination, *events, |n| self.body(n)).await?;
        worker.has_delivered(destination, events + 1, PATIENCE).await?;
        Ok(clock::now().duration_since(begun).as_secs_f64())
    }

    fn tell(&self, seconds: f64, report: &mut Report) -> Result<(), Error> {
        let Self { counts, events, profiles, .. } = self;
        let vendor = self.sandbox.handle();
        let mut stats = vendor.stats();
        let calls = stats.remove("apsis-one").ok_or("APSIS One saw no call")?;
        let mut tell = |what: &str, unit, value, target: Option<Target>| {
            let name = format!("{what}, APSIS One, {events} events of {profiles} profiles, {counts}");
            let figure = Figure::alone(name, unit, value);
            report.add(match target {
                Some(target) => figure.with(target),
                None => figure,
            });
        };
        let most = |most: u32| Some(Target::AtMost(f64::from(most)));
        tell("time to deliver", Unit::Seconds, seconds, None);
        tell("requests", Unit::Count, number(calls.received), None);
        tell("requests refused", Unit::Count, number(calls.refused), most(0));
        let busiest = calls.figures.get("busiest_second_of_a_profile").copied().unwrap_or_default();
        tell("busiest second of a profile", Unit::Count, number(busiest), most(10));
        // Eight profiles may have 80 requests a second, and need few of them: their limit binds, not the account's.
        if *profiles > 8 {
            let used = 100.0 * calls.quota_use.unwrap_or_default();
            tell("quota used", Unit::Percent, used, Some(Target::AtLeast(98.0)));
        }
        let lost = u64::from(*events).abs_diff(calls.distinct);
        let wrong = lost + calls.duplicates + out_of_order(&vendor)?;
        tell("events lost, sent twice or out of order", Unit::Count, number(wrong), most(0));
        Ok(())
    }
}

/// How many events came before one of their profile that was published earlier.
fn out_of_order(vendor: &SandboxHandle) -> Result<u64, Error> {
    let mut latest: BTreeMap<String, u64> = BTreeMap::new();
    let mut wrong = 0;
    for event in vendor.events(Some("apsis-one"), usize::MAX) {
        let event: Value = serde_json::from_slice(&event)?;
        let profile = event.get("profile").and_then(Value::as_str).unwrap_or_default();
        let n = event.pointer("/data/myNumberField").and_then(Value::as_u64).ok_or("an event has no number")?;
        let before = latest.insert(profile.to_owned(), n);
        wrong += u64::from(before.is_some_and(|before| before > n));
    }
    Ok(wrong)
}
