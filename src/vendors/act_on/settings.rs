//! An Act-On destination's own keys.

use ::http::Uri;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret as _, SecretString};

use super::dates::DateFormat;
use super::table::{Quote, Separator};
use crate::section::Section;

/// `customeventaction`, as documented.
pub(super) const ACTIONS: [&str; 9] = [
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

/// One account: how events travel there, and what stands in for fields that they leave out.
#[derive(Debug)]
pub(super) struct Settings {
    /// The API's address, without `/` at its end.
    pub base: String,
    pub fact: Uri,
    pub csv: Uri,
    pub mode: Mode,
    pub separator: Separator,
    pub quote: Quote,
    /// Whether a CSV begins with a heading.
    pub firstrow: bool,
    /// Most events in one CSV.
    pub batch_max: usize,
    /// Whether jobs are watched; `None`: those of a CSV are.
    pub confirm: Option<Confirm>,
    pub defaults: Defaults,
}

/// What stands in for fields that an event leaves out.
#[derive(Debug)]
pub(super) struct Defaults {
    /// For the field `destination`: the custom event's name.
    pub custom_event: Option<String>,
    pub action: Option<&'static str>,
    pub dateformat: DateFormat,
    pub createlistingentry: Option<bool>,
    /// Where an event's time becomes a day.
    pub time_zone: TimeZone,
}

/// Which of the two forms events travel in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One event a request.
    Fact,
    /// CSV always.
    Csv,
    /// A fact alone, a CSV where several travel together.
    Auto,
}

/// When an accepted upload counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirm {
    /// When its job is done.
    Applied,
    /// At once.
    Accepted,
}

impl Settings {
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let base = base(section);
        let modes = [("auto", Mode::Auto), ("fact", Mode::Fact), ("csv", Mode::Csv)];
        let mode = section.choice("mode", &modes).unwrap_or(Mode::Auto);
        let separator = section.choice("separator", &Separator::ALL).unwrap_or(Separator::Comma);
        let quote = section.choice("quote", &Quote::ALL).unwrap_or(Quote::Double);
        let firstrow = section.boolean("firstrow").unwrap_or(true);
        let batch_max = section.integer("batch_max", 1..=100_000).and_then(|count| usize::try_from(count).ok());
        let confirm = section.choice("confirm", &[("applied", Confirm::Applied), ("accepted", Confirm::Accepted)]);
        let defaults = Defaults::read(section);
        let mut endpoint = |path: &str| match format!("{base}/api/1/{path}").parse::<Uri>() {
            Ok(uri) => Some(uri),
            Err(error) => {
                let mend = "write the API's address, such as \"https://api.actonsoftware.com\"";
                section.problem("base_url", format!("{error}; {mend}"));
                None
            }
        };
        let (fact, csv) = (endpoint("customevents/fact")?, endpoint("customevents")?);
        let batch_max = batch_max.unwrap_or(10_000);
        Some(Self { base, fact, csv, mode, separator, quote, firstrow, batch_max, confirm, defaults })
    }
}

impl Defaults {
    fn read(section: &mut Section<'_>) -> Self {
        let zone = section.text("time_zone");
        let time_zone = zone.and_then(|name| match TimeZone::get(&name) {
            Ok(zone) => Some(zone),
            Err(_) => {
                let shown = section.shown("time_zone", &name);
                section.problem(
                    "time_zone",
                    format!("{shown} is no time zone; write one as \"Europe/Stockholm\" or \"UTC\""),
                );
                None
            }
        });
        Self {
            custom_event: section.text("custom_event"),
            action: section.choice("customeventaction", &ACTIONS.map(|action| (action, action))),
            dateformat: section.choice("dateformat", &DateFormat::all()).unwrap_or(DateFormat::DEFAULT),
            createlistingentry: section.boolean("createlistingentry"),
            time_zone: time_zone.unwrap_or(TimeZone::UTC),
        }
    }
}

/// The API's address: both hosts lead to every account, the European one keeps the traffic in the EU.
fn base(section: &mut Section<'_>) -> String {
    let regions = [("us", "https://api.actonsoftware.com"), ("eu", "https://api-eu.actonsoftware.com")];
    let region = section.choice("region", &regions).unwrap_or(regions[0].1);
    let url = section.url("base_url");
    let base = url.as_ref().map_or(region, url::Url::as_str).trim_end_matches('/');
    base.strip_suffix("/api/1").unwrap_or(base).to_owned()
}

/// A secret as it goes into a form.
pub(super) fn credential(section: &mut Section<'_>, key: &str) -> Option<SecretString> {
    let secret = section.secret(key)?;
    if secret.expose_secret().contains(char::is_control) {
        section.problem(key, "has a control character, such as a line break; copy it again");
        return None;
    }
    Some(secret)
}
