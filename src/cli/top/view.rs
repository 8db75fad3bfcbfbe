//! What `sluice top` shows: rows from the API and keys in, lines out. The time and the size of the screen are arguments.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::sanitize;
use crate::cli::screen::Screen;
use crate::cli::status::{STATES, is_driven, shown, state_of, urgency, why};
use crate::cli::table::{Cell, Column, Table, Tint, cut, figure, text, word};
use crate::words::of;

/// Lines above and below the rows: title, header, footer, and the last one, which stays free.
const AROUND: usize = 4;

/// A destination.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    name: String,
    vendor: String,
    state: String,
    is_driven: bool,
    why: String,
    /// Requests a second that the gate lets through.
    pace: Option<f64>,
    /// Events delivered a second, between the last two looks.
    sent: Option<f64>,
    waiting: Option<u64>,
    dead: Option<u64>,
    delivered: u64,
    refused: u64,
    retried: u64,
}

impl Row {
    fn read(destination: &Value) -> Self {
        let number = |key: &str| destination.get(key).and_then(Value::as_u64);
        Self {
            name: shown(destination, "name"),
            vendor: shown(destination, "vendor"),
            state: state_of(destination).to_owned(),
            is_driven: is_driven(destination),
            why: why(destination),
            pace: destination.get("rate").and_then(Value::as_f64),
            sent: None,
            waiting: number("waiting"),
            dead: number("dead_letters_ready"),
            delivered: number("delivered").unwrap_or(0),
            refused: number("throttled").unwrap_or(0),
            retried: number("retried").unwrap_or(0),
        }
    }
}

/// By what rows are sorted: each with its key, and whether the largest stand first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Trouble,
    Name,
    Sent,
    Pace,
    Waiting,
    Dead,
    Refused,
    Retried,
}

impl Sort {
    const ALL: [(Self, char, &'static str); 8] = [
        (Self::Trouble, 't', "trouble"),
        (Self::Name, 'n', "name"),
        (Self::Sent, 'e', "events/s"),
        (Self::Pace, 'p', "pace/s"),
        (Self::Waiting, 'w', "waiting"),
        (Self::Dead, 'd', "dead"),
        (Self::Refused, '4', "429s"),
        (Self::Retried, 'y', "retried"),
    ];

    fn by_key(key: char) -> Option<Self> {
        Self::ALL.iter().find(|(_, own, _)| *own == key).map(|(sort, _, _)| *sort)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(sort, _, _)| *sort == self).map_or("", |(_, _, name)| name)
    }

    fn next(self) -> Self {
        let place = Self::ALL.iter().position(|(sort, _, _)| *sort == self).unwrap_or(0);
        Self::ALL.iter().cycle().nth(place + 1).map_or(self, |(sort, _, _)| *sort)
    }

    fn apply(self, rows: &mut [&Row]) {
        let figure = |figure: Option<f64>| Reverse(thousandths(figure));
        match self {
            Self::Trouble => rows.sort_by_key(|row| urgency(row.is_driven, &row.state, row.dead.unwrap_or(0))),
            Self::Name => rows.sort_by(|one, other| one.name.cmp(&other.name)),
            Self::Sent => rows.sort_by_key(|row| figure(row.sent)),
            Self::Pace => rows.sort_by_key(|row| figure(row.pace)),
            Self::Waiting => rows.sort_by_key(|row| Reverse(row.waiting)),
            Self::Dead => rows.sort_by_key(|row| Reverse(row.dead)),
            Self::Refused => rows.sort_by_key(|row| Reverse(row.refused)),
            Self::Retried => rows.sort_by_key(|row| Reverse(row.retried)),
        }
    }
}

#[expect(clippy::as_conversions, reason = "a figure to sort by: cut to what fits, as `as` does")]
fn thousandths(figure: Option<f64>) -> Option<i64> {
    figure.map(|figure| (figure * 1_000.0).round() as i64)
}

/// Everything that is shown, and what the keys have made of it.
pub(super) struct View {
    base: String,
    /// In the order of their names.
    rows: Vec<Row>,
    at: Timestamp,
    /// Why the worker did not answer last.
    trouble: Option<String>,
    /// Only these states, as the command line has them.
    states: Vec<String>,
    /// Only this state, as a key chose it.
    state: Option<&'static str>,
    sort: Sort,
    turned: bool,
    filter: String,
    is_typing: bool,
    helps: bool,
    /// Rows that are scrolled away.
    above: usize,
}

impl View {
    pub(super) fn new(base: &str, states: Vec<String>) -> Self {
        Self {
            base: base.to_owned(),
            rows: Vec::new(),
            at: Timestamp::UNIX_EPOCH,
            trouble: None,
            states,
            state: None,
            sort: Sort::Trouble,
            turned: false,
            filter: String::new(),
            is_typing: false,
            helps: false,
            above: 0,
        }
    }

    /// What the worker told, or why it did not.
    pub(super) fn take(&mut self, told: Result<Value, String>, at: Timestamp) {
        let told = match told {
            Ok(told) => told,
            Err(trouble) => {
                self.trouble = Some(trouble);
                return;
            }
        };
        let took = at.duration_since(self.at).as_secs_f64();
        let before: BTreeMap<&str, u64> = self.rows.iter().map(|row| (row.name.as_str(), row.delivered)).collect();
        let sent = |row: &Row| {
            // Another worker that drives it counts anew.
            let delivered = row.delivered.checked_sub(*before.get(row.name.as_str())?)?;
            (took > 0.0).then(|| f64::from(u32::try_from(delivered).unwrap_or(u32::MAX)) / took)
        };
        let destinations = told.get("destinations").and_then(Value::as_array).into_iter().flatten();
        let rows = destinations.map(Row::read).map(|row| Row { sent: sent(&row), ..row });
        self.rows = rows.collect();
        (self.at, self.trouble) = (at, None);
    }

    /// A key was pressed; says whether that ends it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of all the keys that there are, few mean something")]
    pub(super) fn press(&mut self, key: KeyEvent, screen: Screen) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return true;
        }
        if self.is_typing {
            self.type_in(key.code);
            return false;
        }
        if std::mem::take(&mut self.helps) {
            return key.code == KeyCode::Char('q');
        }
        let page = screen.height.unwrap_or(usize::MAX).saturating_sub(AROUND).max(1);
        match key.code {
            KeyCode::Char('q') => return true,
            KeyCode::Esc if self.filter.is_empty() && self.state.is_none() => return true,
            KeyCode::Esc => (self.filter, self.state) = (String::new(), None),
            KeyCode::Char('?' | 'h') => self.helps = true,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => (self.sort, self.turned) = (self.sort.next(), false),
            KeyCode::Char('r') => self.turned = !self.turned,
            KeyCode::Char('f') => self.next_state(),
            KeyCode::Char('j') | KeyCode::Down => self.above += 1,
            KeyCode::Char('k') | KeyCode::Up => self.above = self.above.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.above += page,
            KeyCode::PageUp => self.above = self.above.saturating_sub(page),
            KeyCode::Home => self.above = 0,
            KeyCode::End => self.above = usize::MAX,
            KeyCode::Char(other) => {
                if let Some(sort) = Sort::by_key(other) {
                    (self.sort, self.turned, self.above) = (sort, false, 0);
                }
            }
            _ => {}
        }
        self.above = self.above.min(self.chosen().len().saturating_sub(page));
        false
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of all the keys that there are, few mean something")]
    fn type_in(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) => self.filter.push(c),
            _ => {}
        }
        self.above = 0;
    }

    /// The next of the states that some are in; after the last all again.
    fn next_state(&mut self) {
        let place = self.state.and_then(|state| STATES.iter().position(|known| *known == state));
        let rest = STATES.iter().skip(place.map_or(0, |place| place + 1));
        self.state = rest.copied().find(|state| self.rows.iter().any(|row| row.state == *state));
        self.above = 0;
    }

    /// The rows that are to be seen, in their order.
    fn chosen(&self) -> Vec<&Row> {
        let part = self.filter.trim().to_lowercase();
        let has_part =
            |row: &&Row| [&row.name, &row.vendor, &row.why].iter().any(|text| text.to_lowercase().contains(&part));
        let has_state = |row: &&Row| {
            (self.states.is_empty() || self.states.contains(&row.state))
                && self.state.is_none_or(|state| row.state == state)
        };
        let mut rows: Vec<&Row> = self.rows.iter().filter(has_state).filter(has_part).collect();
        self.sort.apply(&mut rows);
        if self.turned {
            rows.reverse();
        }
        rows
    }

    /// All lines of the screen.
    pub(super) fn lines(&self, screen: Screen) -> Vec<String> {
        let (width, height) = (screen.width.unwrap_or(usize::MAX), screen.height.unwrap_or(usize::MAX));
        let room = height.saturating_sub(AROUND);
        let chosen = self.chosen();
        let above = self.above.min(chosen.len().saturating_sub(room));
        let mut lines = vec![self.title(chosen.len(), screen)];
        if self.helps {
            lines.extend(help().iter().take(room).map(|line| cut(line, width)));
        } else {
            let rows = chosen.iter().skip(above).take(room).map(|row| cells(row));
            // All columns are as wide as all rows need, so that they do not jump while it is scrolled.
            lines.extend(Table::new(&COLUMNS, rows).of_single_lines().drawn(screen).0);
            if chosen.is_empty() {
                lines.push("no destination is like that".to_owned());
            }
        }
        lines.push(cut(&self.footer(above, room, chosen.len()), width));
        lines
    }

    fn title(&self, shown: usize, screen: Screen) -> String {
        let width = screen.width.unwrap_or(usize::MAX);
        if let Some(trouble) = &self.trouble {
            let line = cut(&sanitize::line(&format!("as of {}: {trouble}", self.at.strftime("%T"))), width);
            return if screen.colour { Tint::Bad.paint(&line) } else { line };
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let all = of(count(self.rows.len()), "destination", "destinations");
        let states = STATES.iter().filter_map(|state| {
            let number = self.rows.iter().filter(|row| row.state == *state).count();
            (number > 0).then(|| format!("{number} {state}"))
        });
        let states = states.collect::<Vec<_>>().join(", ");
        let only = if shown == self.rows.len() { String::new() } else { format!("{shown} of ") };
        cut(&format!("{} UTC  {only}{all}: {states}  {}", self.at.strftime("%T"), self.base), width)
    }

    fn footer(&self, above: usize, room: usize, all: usize) -> String {
        if self.is_typing {
            return format!("filter: {}_   Enter keeps it, Esc drops it", sanitize::line(&self.filter));
        }
        let mut parts = vec![format!("by {}{}", self.sort.name(), if self.turned { ", turned" } else { "" })];
        if let Some(state) = self.state {
            parts.push(format!("only {state}"));
        }
        if !self.filter.is_empty() {
            parts.push(format!("only {:?}", sanitize::line(&self.filter)));
        }
        if all > room {
            parts.push(format!("{}–{} of {all}", above + 1, (above + room).min(all)));
        }
        format!("q quit  s sort  r turn  / filter  f state  ? keys   {}", parts.join(", "))
    }
}

const COLUMNS: [Column; 10] = [
    word("destination"),
    word("state"),
    figure("events/s").leaves(2),
    figure("pace/s").leaves(3),
    figure("waiting"),
    figure("dead"),
    figure("429s").leaves(4),
    figure("retried").leaves(5),
    word("vendor").leaves(6),
    text("why"),
];

fn cells(row: &Row) -> [Cell; 10] {
    let figure = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1}"));
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    [
        row.name.clone().into(),
        Cell::tinted(row.state.clone(), if row.is_driven { Tint::of_state(&row.state) } else { Some(Tint::Bad) }),
        figure(row.sent).into(),
        figure(row.pace).into(),
        number(row.waiting).into(),
        Cell::tinted(number(row.dead), row.dead.filter(|dead| *dead > 0).map(|_| Tint::Bad)),
        row.refused.to_string().into(),
        row.retried.to_string().into(),
        row.vendor.clone().into(),
        row.why.clone().into(),
    ]
}

fn help() -> Vec<String> {
    let mut lines = vec!["Sort by".to_owned()];
    lines.extend(Sort::ALL.iter().map(|(_, key, name)| format!("  {key}  {name}")));
    lines.extend(
        [
            "  s  the next of these      r  the other way round",
            "Show only",
            "  /  a part of the name, of the vendor or of why",
            "  f  a state: the next of those that there are",
            "Scroll",
            "  ↑ ↓ k j, PgUp PgDn, Home End",
            "q or Ctrl-C end it; Esc too, once nothing is filtered. Any key closes this.",
        ]
        .map(str::to_owned),
    );
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    const WIDE: Screen = Screen { width: Some(80), height: Some(24), colour: false };

    fn told(delivered: u64) -> Value {
        let one = |name: &str, state: &str, waiting: u64, dead: u64| {
            json!({ "name": name, "vendor": "http", "state": state, "why": format!("is {state}"), "ready": true, "rate": 10.0,
                "waiting": waiting, "dead_letters_ready": dead, "delivered": delivered, "throttled": 0, "retried": 0 })
        };
        json!({ "destinations": [one("a", "open", 5, 0), one("b", "parked", 70, 0), one("c", "open", 1, 2), one("d", "broken", 9, 1)] })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn view() -> View {
        let mut view = View::new("http://127.0.0.1:9464", Vec::new());
        view.take(Ok(told(100)), at(0));
        view
    }

    fn names(view: &View) -> String {
        view.chosen().iter().map(|row| row.name.as_str()).collect()
    }

    fn press(view: &mut View, keys: &str) -> bool {
        keys.chars().any(|key| {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            view.press(KeyEvent::new(code, KeyModifiers::NONE), WIDE)
        })
    }

    #[test]
    fn those_in_trouble_stand_first_until_a_key_sorts_otherwise() {
        let mut view = view();
        assert_eq!(names(&view), "bdca");
        for (key, expected) in
            [("n", "abcd"), ("w", "bdac"), ("d", "cdab"), ("r", "badc"), ("t", "bdca"), ("s", "abcd")]
        {
            press(&mut view, key);
            assert_eq!(names(&view), expected, "{key}");
        }
    }

    #[test]
    fn a_filter_by_text_and_one_by_state_leave_what_matches() {
        let mut view = view();
        press(&mut view, "/PARK\n");
        assert_eq!(names(&view), "b", "by what stands in why, whatever the case");
        assert!(view.footer(0, 20, 1).contains("only \"PARK\""));
        press(&mut view, "/");
        assert!(!view.press(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), WIDE), "it only drops the filter");
        assert_eq!(names(&view), "bdca");
        let mut seen = Vec::new();
        for _ in 0..4 {
            press(&mut view, "f");
            seen.push(names(&view));
        }
        assert_eq!(seen, ["b", "d", "ca", "bdca"]);
        view.states = vec!["open".to_owned()];
        assert_eq!(names(&view), "ca");
    }

    #[test]
    fn it_ends_on_q_escape_and_control_c() {
        assert!(press(&mut view(), "q"));
        assert!(!press(&mut view(), "/q"), "that is typed");
        assert!(!press(&mut view(), "?n") && press(&mut view(), "?nq"));
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(view().press(control, WIDE));
        assert!(view().press(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), WIDE));
    }

    #[test]
    fn how_many_events_a_second_were_delivered_is_told_between_two_looks() {
        let mut view = view();
        assert_eq!(view.rows[0].sent, None);
        view.take(Ok(told(150)), at(2));
        assert_eq!(view.rows[0].sent, Some(25.0));
        view.take(Ok(told(3)), at(3));
        assert_eq!(view.rows[0].sent, None, "another worker drives it, and counts anew");
    }

    #[test]
    fn every_line_fits_the_screen_and_what_is_scrolled_away_is_said() {
        let mut view = view();
        let mut many = told(0);
        if let Some(destinations) = many["destinations"].as_array_mut() {
            let more = (0..40)
                .map(|number| json!({ "name": format!("more-{number:02}"), "state": "open", "why": "x".repeat(200) }));
            destinations.extend(more);
        }
        view.take(Ok(many), at(1));
        for (width, height) in [(20, 5), (40, 10), (80, 24), (200, 60)] {
            let screen = Screen { width: Some(width), height: Some(height), colour: false };
            let lines = view.lines(screen);
            assert!(
                lines.len() < height && lines.iter().all(|line| line.width() <= width),
                "{width}×{height}: {lines:#?}"
            );
        }
        let lines = view.lines(WIDE);
        assert!(lines[2].starts_with("b ") && lines.last().unwrap().contains("1–20 of 44"), "{lines:#?}");
        view.press(KeyEvent::new(KeyCode::End, KeyModifiers::NONE), WIDE);
        assert!(view.lines(WIDE).last().unwrap().contains("25–44 of 44"));
    }

    #[test]
    fn a_worker_that_does_not_answer_is_said_and_what_was_known_stays() {
        let mut view = view();
        view.take(Err("no worker answers".to_owned()), at(9));
        let lines = view.lines(WIDE);
        assert!(
            lines[0].contains("no worker answers") && lines.iter().any(|line| line.starts_with("b ")),
            "{lines:#?}"
        );
    }
}
