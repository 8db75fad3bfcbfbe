//! `[destinations.<name>]`: one vendor account. The vendor itself reads the keys that are its own.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;
use uuid::Uuid;

use super::{Retry, map, topic};
use crate::gate::{DayStart, DayStartError, Limit, SendHours, SendHoursError, Window};
use crate::mapping::Mapping;
use crate::section::Section;
use crate::vendors::{Kind, Vendor};

/// The largest `max_event_age`.
const LONGEST_AGE: Duration = Duration::from_hours(24 * 3_650);

/// One configured vendor account.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name, part of its queues' names.
    pub name: String,
    /// The vendor's name, as in the registry.
    pub vendor_name: &'static str,
    /// The vendor, with this account's settings.
    pub vendor: Arc<dyn Vendor>,
    /// Topic patterns of the events it wants, at least one.
    pub subscribe: Vec<String>,
    /// How its events become the vendor's fields.
    pub map: Mapping,
    /// Its quotas, at least one.
    pub limits: Vec<Limit>,
    /// Those that the vendor documents; none where it documents none.
    pub documented: Vec<Limit>,
    /// When the vendor's day begins, for budgets.
    pub day_starts: DayStart,
    /// The hours of each day in which it may send; none: all.
    pub send_between: Option<SendHours>,
    /// Most requests in flight at once.
    pub concurrency: Option<usize>,
    /// Longest time for one request.
    pub timeout: Duration,
    /// Parks after so many rejections in a row; 0: never.
    pub park_after_rejections: u32,
    /// When it tries again.
    pub retry: Retry,
    /// What is older is not sent.
    pub max_event_age: Option<Duration>,
    /// Whether what is not sent for its age is dropped, instead of becoming a dead letter.
    pub drops_expired: bool,
    /// The HTTP proxy to go through.
    pub proxy: Option<Url>,
    /// Never HTTP/2.
    pub http1_only: bool,
    /// A digest of all that was written for it, secrets resolved: differs when the destination changed.
    pub source: String,
}

impl Destination {
    /// When something might be sent that may be from then on.
    #[must_use]
    pub fn next_open(&self, from: Timestamp) -> Timestamp {
        self.send_between.as_ref().map_or(from, |hours| hours.next_open(from))
    }

    pub(super) fn read(section: &mut Section<'_>, registry: &[Kind], defaults: &Retry) -> Option<Self> {
        let name = section.name().to_owned();
        let written = section.written();
        if each_destination_has_one_name(section, &name) {
            return None;
        }
        let kind = vendor_kind(section, registry);
        let subscribe = subscriptions(section);
        let documented = documented(kind.as_ref());
        let limits = limits(section, kind.as_ref());
        let day_starts = day_starts(section, &limits);
        let send_between = send_between(section);
        let concurrency = section.count_if_any("concurrency", 1..=1000);
        let timeout = section.duration("timeout", Duration::from_millis(100)..=Duration::from_mins(5));
        let park_after_rejections = section.count("park_after_rejections", 0..=1_000_000, 20);
        let retry = section.within("retry", |retry| Retry::read(retry, defaults));
        let max_event_age = section.duration("max_event_age", Duration::from_secs(1)..=LONGEST_AGE);
        let drops_expired = section.choice("expired", &[("dead", false), ("drop", true)]).unwrap_or(false);
        let proxy = section.url("proxy");
        let Some(kind) = kind else {
            // Which of the other keys are right depends on the vendor.
            section.boolean("http1_only");
            section.ignore_the_rest();
            return None;
        };
        let map = map::read(section, &kind);
        let vendor = (kind.configure)(section);
        // A vendor may look at it.
        let http1_only = section.boolean("http1_only").unwrap_or(false);
        if vendor.is_none() && !section.failed() {
            section.problem("vendor", format!("{} refused its settings without saying why", kind.name));
        }
        let (vendor, retry) = (vendor?, retry?);
        let digest = format!("{written}{:?}{retry:?}", section.resolved());
        Some(Self {
            name,
            vendor_name: kind.name,
            vendor: Arc::from(vendor),
            subscribe,
            map,
            limits,
            documented,
            day_starts,
            send_between,
            concurrency,
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
            park_after_rejections,
            retry,
            max_event_age,
            drops_expired,
            proxy,
            http1_only,
            source: Uuid::new_v5(&Uuid::NAMESPACE_OID, digest.as_bytes()).to_string(),
        })
    }
}

/// `[destinations.a.b]` is a table in `a` to TOML, and was meant as a destination. Whether there is no more to `a` than those.
fn each_destination_has_one_name(section: &mut Section<'_>, name: &str) -> bool {
    let inner = section.take_tables_with(&["vendor", "subscribe"], &["headers", "oauth", "retry"]);
    for path in &inner {
        let other = format!("{name}-{}", path.replace('.', "-"));
        let key = path.split('.').next().unwrap_or_default();
        let mend = format!(
            "a destination's name cannot have a dot, here {:?}; write [destinations.{other}]",
            format!("{name}.{path}")
        );
        section.problem(key, mend);
    }
    !inner.is_empty() && section.keys().is_empty()
}

/// What is wrong with a destination's name. It becomes part of queue names, beside Sluice's own objects.
pub(super) fn name_mend(name: &str) -> Option<String> {
    let own = ["audit", "control", "events", "receipts", "replay", "unrouted"];
    if own.contains(&name) {
        return Some(format!("{name:?} is the name of one of Sluice's own objects; choose another"));
    }
    let mend = "a destination's name is 1 to 63 of a-z, 0-9, '-' and '_', and begins with a letter or digit";
    (!is_name(name)).then(|| mend.to_owned())
}

/// 1 to 63 of a-z, 0-9, '-' and '_', the first a letter or digit.
pub(super) fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
    first && rest && name.len() <= 63
}

fn vendor_kind(section: &mut Section<'_>, registry: &[Kind]) -> Option<Kind> {
    let names: Vec<_> = registry.iter().map(|kind| format!("{:?}", kind.name)).collect();
    section.must_have("vendor", &names.join(" or "));
    let choices: Vec<_> = registry.iter().map(|kind| (kind.name, *kind)).collect();
    section.choice("vendor", &choices)
}

fn subscriptions(section: &mut Section<'_>) -> Vec<String> {
    section.must_have("subscribe", "[\"#\"]");
    let Some(patterns) = section.texts("subscribe") else {
        return Vec::new();
    };
    if patterns.is_empty() {
        section.problem("subscribe", "is empty, so no event would come; write at least one pattern, as in [\"#\"]");
    }
    for (at, pattern) in patterns.iter().enumerate() {
        topic::check(section, "subscribe", pattern);
        if patterns.iter().take(at).any(|earlier| earlier == pattern) {
            let shown = section.shown("subscribe", pattern);
            section.problem("subscribe", format!("{shown} is there twice; remove one"));
        }
    }
    patterns
}

/// When the vendor's day begins: midnight UTC unless it says otherwise.
fn day_starts(section: &mut Section<'_>, limits: &[Limit]) -> DayStart {
    let Some(text) = section.text("day_starts") else { return DayStart::default() };
    if !limits.is_empty() && limits.iter().all(|limit| limit.window != Window::Day) {
        section.problem(
            "day_starts",
            "says when the day of a budget begins, and there is none; add one to limits, as in \"100000/day\"",
        );
    }
    text.parse().unwrap_or_else(|error: DayStartError| {
        section.problem("day_starts", error.to_string());
        DayStart::default()
    })
}

fn send_between(section: &mut Section<'_>) -> Option<SendHours> {
    let text = section.text("send_between")?;
    text.parse().map_err(|error: SendHoursError| section.problem("send_between", error.to_string())).ok()
}

fn documented(kind: Option<&Kind>) -> Vec<Limit> {
    kind.map(|kind| kind.limits.iter().filter_map(|text| text.parse().ok()).collect()).unwrap_or_default()
}

/// The limits that are set, else those that the vendor documents.
fn limits(section: &mut Section<'_>, kind: Option<&Kind>) -> Vec<Limit> {
    let documented = documented(kind);
    if kind.is_some() && documented.is_empty() {
        section.must_have("limits", "[\"10/s\"]");
    }
    let Some(texts) = section.texts("limits") else {
        return documented;
    };
    if texts.is_empty() {
        section.problem("limits", "is empty; write the account's limits, as in [\"10/s\"]");
    }
    let mut limits = Vec::new();
    for text in texts {
        match text.parse::<Limit>() {
            Ok(limit) => limits.push(limit),
            Err(error) => {
                let said = if section.is_referred("limits") {
                    "what it refers to is not a limit, such as \"200/s\"".to_owned()
                } else {
                    error.to_string()
                };
                section.problem("limits", said);
            }
        }
    }
    limits
}
