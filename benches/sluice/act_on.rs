//! How fast Act-On's five calls a second clear a backlog, what it costs in calls and memory, and whether every event
//! arrives once and as it was published.

use std::time::Duration;

use serde_json::{Value, json};
use sluice::clock;
use sluice::sandbox::{ActOnSettings, Enforcement, Latency, Sandbox, SandboxHandle, Settings};

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, number};
use crate::stage::{Destination, Stage};

/// How long a job takes.
const JOB_TIME: Duration = Duration::from_secs(2);
/// What an event's note begins with: the vendor has no other field for an event's id.
const MARKER: &str = "bench-";
/// Over the target, before a backlog counts as not delivered.
const PATIENCE: Duration = Duration::from_secs(60);
const ACTIONS: [&str; 9] = [
    "CUSTOM_DOWNLOADED",
    "CUSTOM_REGISTERED",
    "CUSTOM_ATTENDED",
    "CUSTOM_GENERAL",
    "CUSTOM_GENERAL1",
    "CUSTOM_GENERAL2",
    "CUSTOM_GENERAL3",
    "CUSTOM_GENERAL4",
    "CUSTOM_GENERAL5",
];

/// Events that wait, and how long that may take.
#[derive(Clone, Copy)]
struct Backlog {
    what: &'static str,
    events: u32,
    enforcement: Enforcement,
    latency: Latency,
    at_most: Duration,
    /// The action and the title of the n-th.
    event: fn(u32) -> (&'static str, String),
}

/// Measures events that are all alike under a sliding window, answered at once and at 300 ms, then mixed ones under a fixed
/// window.
///
/// # Errors
/// When an event is not delivered.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let alike = Backlog {
        what: "alike",
        events: size.act_on_events,
        enforcement: Enforcement::Sliding,
        latency: Latency::NONE,
        at_most: Duration::from_secs(300),
        event: |_| ("CUSTOM_ATTENDED", "Webinar: an introduction".to_owned()),
    };
    let latency = Latency::exponential(Duration::from_millis(300));
    let late = Backlog { what: "alike, 300 ms", latency, ..alike };
    let mixed = Backlog {
        what: "mixed",
        events: size.act_on_events / 2,
        enforcement: Enforcement::Fixed,
        latency: Latency::NONE,
        at_most: Duration::from_secs(150),
        event: |n| (action(n), hard_title(n)),
    };
    for backlog in [alike, late, mixed] {
        backlog.measure(stage, report).await?;
    }
    Ok(())
}

impl Backlog {
    async fn measure(self, stage: &Stage, report: &mut Report) -> Result<(), Error> {
        let Self { what, events, .. } = self;
        let act_on = ActOnSettings {
            enforcement: self.enforcement,
            job_time: JOB_TIME,
            note_marker: Some(MARKER.to_owned()),
            ..ActOnSettings::default()
        };
        let latency = vec![self.latency.into()];
        let sandbox = Sandbox::start(Settings { act_on, latency, keep: usize::MAX, ..Settings::default() }).await?;
        let destination = Destination {
            name: format!("act-on-{}", what.replace(", ", "-").replace(' ', "-")),
            vendor: "act-on",
            base: format!("http://{}", sandbox.address()),
            limit: None,
            concurrency: None,
            more: "",
        };
        stage.declare(std::slice::from_ref(&destination)).await?;
        report.say(&format!("Act-On: publishing {events} events, {what}"))?;
        stage.publish_each(&destination, events, |n| self.body(n)).await?;
        report.say(&format!("Act-On: delivering {events} events, {what}"))?;
        let begun = clock::now();
        let worker = stage.sluice(std::slice::from_ref(&destination)).await?;
        worker.has_delivered(&destination, events, self.at_most + PATIENCE).await?;
        let seconds = clock::now().duration_since(begun).as_secs_f64();
        let memory = worker.process.resident()?;
        worker.process.stop().await?;

        let at_most = Target::AtMost(self.at_most.as_secs_f64());
        self.tell("time to deliver", Unit::Seconds, seconds, Some(at_most), report);
        self.tell("resident memory at most", Unit::Mebibytes, memory.peak, None, report);
        self.tell_arrivals(&sandbox.handle(), report)?;
        sandbox.stop().await;
        Ok(())
    }

    fn body(self, n: u32) -> String {
        let (action, title) = (self.event)(n);
        let body = json!({
            "destination": "Bench",
            "customeventaction": action,
            "email": format!("reader-{n}@example.com"),
            "title": title,
            "note": format!("{MARKER}{n}"),
        });
        body.to_string()
    }

    fn tell(self, figure: &str, unit: Unit, value: f64, target: Option<Target>, report: &mut Report) {
        let Self { what, events, .. } = self;
        let figure = Figure::alone(format!("{figure}, Act-On, {events} events {what}"), unit, value);
        report.add(match target {
            Some(target) => figure.with(target),
            None => figure,
        });
    }

    fn tell_arrivals(self, vendor: &SandboxHandle, report: &mut Report) -> Result<(), Error> {
        let mut stats = vendor.stats();
        let calls = stats.remove("act-on").ok_or("Act-On saw no call")?;
        let auth = stats.remove("act-on/auth").ok_or("Act-On saw no token call")?;
        let most = |most: u32| Some(Target::AtMost(f64::from(most)));
        let mut tell = |figure, count, target| self.tell(figure, Unit::Count, number(count), target, report);
        tell("calls", calls.received, None);
        tell("calls refused", calls.refused + auth.refused, most(0));
        tell("token calls", auth.received, most(5));
        let lost = u64::from(self.events).abs_diff(calls.distinct);
        tell("events lost, sent twice or changed", lost + calls.duplicates + self.changed(vendor)?, most(0));
        Ok(())
    }

    /// How many events did not arrive as they were published.
    fn changed(self, vendor: &SandboxHandle) -> Result<u64, Error> {
        let mut changed = 0;
        for event in vendor.events(Some("act-on"), usize::MAX) {
            let event: Value = serde_json::from_slice(&event)?;
            let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
            let n: u32 = text("note").trim_start_matches(MARKER).parse()?;
            let (action, title) = (self.event)(n);
            let same = text("customeventaction") == action && text("title") == title;
            changed += u64::from(!same || text("email") != format!("reader-{n}@example.com"));
        }
        Ok(changed)
    }
}

fn action(n: u32) -> &'static str {
    let place = usize::try_from(n).unwrap_or_default() % ACTIONS.len();
    ACTIONS.get(place).copied().unwrap_or_default()
}

/// A title that is hard to carry in a table.
fn hard_title(n: u32) -> String {
    match n % 8 {
        0 => format!("Webinar {n}"),
        1 => format!("Webinar {n}, part 1; then, \"part 2\""),
        2 => format!("\"{n}\""),
        3 => format!("it's {n}\tafter a tab\t'quoted'"),
        4 => format!("line {n}\nanother\r\nand a third"),
        5 => format!("{n} 🎉 👩‍💻 \u{200f}שלום\u{200f} \u{202e}rtl\u{202c}"),
        6 => format!("\\{n}\\n, \"\"\"\", ''''"),
        _ => format!("{n:06}{}", "long, \"é\" 🎉".chars().cycle().take(4_994).collect::<String>()),
    }
}
