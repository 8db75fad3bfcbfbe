//! `sluice status`: the status of each destination, from a worker's admin API; once, or again and again.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::screen::Screen;
use super::source::Source;
use super::table::{Cell, Column, Table, Tint, cut, figure, text, word};
use super::{Error, load_admin, print, print_drawn, print_exactly, print_json};
use crate::clock;
use crate::config::ConfigFile;
use crate::section::parse_duration;

const EXAMPLES: &str = "\
Examples:
  sluice status
  sluice status --state parked,broken
  sluice status --watch --interval 5s
  sluice status --watch --json >> status.ndjson
  sluice status --url http://sluice.internal:9464
  sluice status --json | jq '.destinations[] | select(.state != \"open\")'";

/// The states that a destination can be in, those first that need a person.
pub(super) const STATES: [&str; 6] = ["parked", "broken", "paused", "throttled", "open", "standby"];

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Show the status of each destination, those in trouble first
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The worker's admin address, instead of `[admin] listen`
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Only destinations in these states, with commas between
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = STATES)]
    state: Vec<String>,
    /// Show it again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How often, such as 500ms, 2s or 1m; 2s unless given
    #[arg(long, value_name = "TIME", requires = "watch", value_parser = interval)]
    interval: Option<Duration>,
    /// Print JSON; with --watch a line each time
    #[arg(long)]
    json: bool,
}

/// An interval between two looks.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text).filter(|interval| *interval >= LEAST_INTERVAL);
    interval.ok_or_else(|| format!("{text:?} is no such time; write one of 100ms or more, such as 500ms, 2s or 1m"))
}

pub(super) async fn run(args: &Args, file: &ConfigFile) -> Result<(), Error> {
    let source = Source::new(args.url.as_ref(), &load_admin(file)?)?;
    let shown = chosen(source.destinations().await?, &args.state);
    if args.watch {
        return watch(args, &source, shown).await;
    }
    if args.json {
        return print_json(&shown);
    }
    Ok(print_drawn(&table(&shown).of_whole_texts())?)
}

/// Shows what was asked for first, and then how it is, for ever. Where no worker answers later on that is shown, and it goes on.
async fn watch(args: &Args, source: &Source, first: Value) -> Result<(), Error> {
    let mut asked = Ok(first);
    loop {
        show(args, asked, clock::wall())?;
        clock::sleep(args.interval.unwrap_or(INTERVAL)).await;
        asked = source.destinations().await.map(|shown| chosen(shown, &args.state));
    }
}

fn show(args: &Args, asked: Result<Value, Error>, at: Timestamp) -> Result<(), Error> {
    let screen = Screen::now();
    let time = at.strftime("%F %T UTC").to_string();
    let shown = match asked {
        Ok(shown) => shown,
        Err(error) if screen.height.is_none() || args.json => {
            // It may answer again: nothing ends by that.
            let _goes_on = super::report(&error.to_string(), error.exit_code());
            return Ok(());
        }
        Err(error) => return Ok(screen.redraw(&[time, said(&error, screen)])?),
    };
    if args.json {
        let mut line = serde_json::json!({ "at": at });
        if let (Value::Object(line), Value::Object(shown)) = (&mut line, shown) {
            line.extend(shown);
        }
        return Ok(print_exactly(&line.to_string())?);
    }
    if screen.height.is_some() {
        let (lines, _) = table(&shown).drawn(screen);
        return Ok(screen.redraw(&[vec![time], lines].concat())?);
    }
    print(&time)?;
    print_drawn(&table(&shown))?;
    Ok(print_exactly("")?)
}

/// An error as a line of the screen.
fn said(error: &Error, screen: Screen) -> String {
    let line = super::sanitize::line(&error.to_string());
    screen.width.map_or_else(|| line.clone(), |width| cut(&line, width))
}

/// Only what is in one of these states; everything where none is named.
fn chosen(mut shown: Value, states: &[String]) -> Value {
    if let Some(Value::Array(destinations)) = shown.get_mut("destinations") {
        destinations
            .retain(|destination| states.is_empty() || states.iter().any(|state| state == state_of(destination)));
    }
    shown
}

/// The state of a destination.
pub(super) fn state_of(destination: &Value) -> &str {
    destination.get("state").and_then(Value::as_str).unwrap_or_default()
}

/// Whether some worker drives a destination, as far as the one knows that was asked.
pub(super) fn is_driven(destination: &Value) -> bool {
    destination.get("drives") != Some(&Value::Bool(false)) || destination.get("driver") != Some(&Value::Null)
}

/// Where a destination stands among those in trouble: first what nobody drives, then by its state, then those with dead letters.
pub(super) fn urgency(is_driven: bool, state: &str, dead: u64) -> (bool, usize, bool) {
    (is_driven, STATES.iter().position(|known| *known == state).unwrap_or(STATES.len()), dead == 0)
}

fn table(shown: &Value) -> Table<'static> {
    let mut destinations: Vec<&Value> =
        shown.get("destinations").and_then(Value::as_array).into_iter().flatten().collect();
    let dead = |destination: &Value| destination.get("dead_letters_ready").and_then(Value::as_u64).unwrap_or(0);
    destinations.sort_by_key(|destination| urgency(is_driven(destination), state_of(destination), dead(destination)));
    Table::new(&COLUMNS, destinations.into_iter().map(row))
}

/// In the words of `/readyz` and of the console.
const NOT_AT_WORK: &str = "no consumer at the broker";

const COLUMNS: [Column; 14] = [
    word("destination"),
    word("vendor").leaves(5),
    word("state"),
    figure("rate/s").leaves(2),
    word("held by").leaves(6),
    figure("waiting"),
    figure("of it bulk").leaves(1),
    figure("scheduled").leaves(9),
    figure("dead"),
    figure("delivered").leaves(3),
    figure("429s").leaves(7),
    figure("retried").leaves(8),
    figure("today").leaves(4),
    text("why"),
];

/// A field as people read it.
pub(super) fn shown(destination: &Value, key: &str) -> String {
    match destination.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => {
            number.as_f64().filter(|n| n.fract() != 0.0).map_or(number.to_string(), |n| format!("{n:.1}"))
        }
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => "-".to_owned(),
    }
}

/// Why a destination is as it is; empty where all is well.
pub(super) fn why(destination: &Value) -> String {
    let gate = shown(destination, "why");
    let says_more = gate != "open" || state_of(destination) != "open";
    // Where nobody drives it, the sentence says why.
    let is_idle = destination.get("ready") == Some(&Value::Bool(false)) && is_driven(destination);
    let copies = destination.get("copies_waiting").and_then(Value::as_u64).unwrap_or(0);
    let copy = if copies == 1 { "retry or dead letter" } else { "retries or dead letters" };
    let aside = format!("{copies} {copy} that the broker does not take");
    let bulk = destination.get("bulk");
    let is_bulk_paused = bulk.and_then(|bulk| bulk.get("paused")) == Some(&Value::Bool(true));
    let parts = [
        (says_more, gate.as_str()),
        (is_idle, NOT_AT_WORK),
        (copies > 0, aside.as_str()),
        (is_bulk_paused, "bulk events are paused"),
    ];
    parts.iter().filter(|(is, _)| *is).map(|(_, why)| *why).collect::<Vec<_>>().join("; ")
}

fn row(destination: &Value) -> [Cell; 14] {
    let text = |key: &str| shown(destination, key);
    let today = match destination.get("day_limit").and_then(Value::as_u64) {
        Some(limit) => format!("{}/{limit}", text("day_used")),
        None => text("day_used"),
    };
    let dead = text("dead_letters_ready");
    let is_dead = dead != "0" && dead != "-";
    let state = if is_driven(destination) { Tint::of_state(state_of(destination)) } else { Some(Tint::Bad) };
    [
        text("name").into(),
        text("vendor").into(),
        Cell::tinted(text("state"), state),
        text("rate").into(),
        text("held_by").replace('_', " ").into(),
        text("waiting").into(),
        destination.get("bulk").map_or_else(|| "-".to_owned(), |bulk| shown(bulk, "waiting")).into(),
        text("scheduled").into(),
        Cell::tinted(dead, is_dead.then_some(Tint::Bad)),
        text("delivered").into(),
        text("throttled").into(),
        text("retried").into(),
        today.into(),
        why(destination).into(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(state: &str, sentence: &str, ready: bool) -> String {
        why(&json!({ "name": "px", "state": state, "why": sentence, "ready": ready, "consuming": false }))
    }

    #[test]
    fn a_destination_that_is_not_at_work_says_so_whatever_its_gate() {
        assert_eq!(told("open", "open", true), "");
        assert_eq!(told("open", "open", false), "no consumer at the broker");
        assert_eq!(told("broken", "503", false), "503; no consumer at the broker");
        assert_eq!(told("paused", "paused by an operator", true), "paused by an operator");
        let nobody = json!({ "state": "standby", "why": "no worker drives it", "ready": false, "drives": false, "driver": null });
        assert_eq!(why(&nobody), "no worker drives it");
        let one = json!({ "state": "open", "why": "open", "copies_waiting": 1 });
        assert_eq!(why(&one), "1 retry or dead letter that the broker does not take");
    }

    fn some() -> Value {
        let one = |name: &str, state: &str, dead: u64| json!({ "name": name, "state": state, "why": state, "ready": true, "dead_letters_ready": dead });
        let all = [
            one("a", "open", 0),
            one("b", "standby", 0),
            one("c", "parked", 0),
            one("d", "throttled", 0),
            one("e", "open", 3),
            one("f", "broken", 0),
            one("g", "paused", 0),
            json!({ "name": "h", "state": "standby", "drives": false, "driver": "pod-2" }),
            json!({ "name": "i", "state": "standby", "drives": false, "driver": null }),
        ];
        json!({ "destinations": all })
    }

    #[test]
    fn those_in_trouble_stand_first() {
        let pipe = Screen { width: None, height: None, colour: false };
        let (lines, _) = table(&some()).drawn(pipe);
        let names: String = lines.iter().skip(1).filter_map(|line| line.chars().next()).collect();
        assert_eq!(names, "icfgdeabh", "first what nobody drives");
    }

    #[test]
    fn only_the_states_that_are_asked_for_are_shown() {
        let names = |states: &[&str]| {
            let states: Vec<String> = states.iter().map(ToString::to_string).collect();
            let chosen = chosen(some(), &states);
            let all = chosen["destinations"].as_array().unwrap().iter();
            all.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["parked", "broken"]), ["c", "f"]);
        assert_eq!(names(&[]).len(), 9);
    }
}
