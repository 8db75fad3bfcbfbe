//! `/`: every destination in a row, those in trouble first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;

use super::chart::{self, Chart};
use super::destination::lately;
use super::figures::Figures;
use super::frame::{self, Frame};
use super::letter_search::query_string;
use super::show::{count, of, rate, span};
use crate::admin::Admin;
use crate::admin::destinations::status_from;
use crate::admin::extract::Params;
use crate::admin::problem::Problem;
use crate::clock;
use crate::destination::recent::{Recent, Sample};
use crate::gate::GateState;

/// Rows on a page.
const ROWS: usize = 100;
/// What a row's chart shows of the past.
const SPARK: Duration = Duration::from_mins(10);
/// The name, among states, for all that have dead letters.
const DEAD: &str = "dead";

/// Which destinations.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OverviewFilter {
    /// A part of the name or of the vendor's.
    q: String,
    /// A state of the gate, or [`DEAD`].
    state: String,
    /// `name`, or those in trouble first.
    sort: String,
    /// From 1.
    page: Option<usize>,
}

impl OverviewFilter {
    fn matches(&self, figures: &Figures) -> bool {
        let part = self.q.trim().to_lowercase();
        figures.name.contains(&part) || figures.vendor.contains(&part)
    }

    fn has_state(&self, figures: &Figures) -> bool {
        match self.state.as_str() {
            "" => true,
            DEAD => figures.dead.is_some_and(|dead| dead > 0),
            state => figures.state == state,
        }
    }

    fn with(&self, state: &str, sort: &str, page: usize) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        let pairs = [("q", self.q.trim()), ("state", state), ("sort", sort), ("page", page.as_str())];
        let said: Vec<(&str, &str)> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        format!("/{}", query_string(&said))
    }
}

/// A choice of rows.
struct Choice {
    label: String,
    count: String,
    href: String,
    is_chosen: bool,
    state: &'static str,
}

struct Row {
    figures: Figures,
    /// What is sent now.
    sent: String,
    spark: Chart,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    filter: OverviewFilter,
    choices: Vec<Choice>,
    rows: Vec<Row>,
    /// How many there are in all.
    total: String,
    summary: String,
    /// What the rows' charts show of the past, as `10 min`.
    charted: String,
    unrouted: Option<String>,
    by_trouble: String,
    by_name: String,
    earlier: Option<String>,
    later: Option<String>,
    /// As `1–100 of 1,000`.
    range: Option<String>,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Params(filter): Params<OverviewFilter>,
) -> Result<Response, Problem> {
    let now = clock::wall();
    let all = figures(&admin, now).await;
    let total = all.len();
    let mut chosen: Vec<Figures> = all.into_iter().filter(|figures| filter.matches(figures)).collect();
    let choices = choices(&filter, &chosen);
    chosen.retain(|figures| filter.has_state(figures));
    if filter.sort != "name" {
        chosen.sort_by_key(urgency);
    }
    let pages = chosen.len().div_ceil(ROWS).max(1);
    let page = filter.page.unwrap_or(1).clamp(1, pages);
    let count_chosen = chosen.len();
    let first = (page - 1) * ROWS;
    let shown: Vec<Figures> = chosen.into_iter().skip(first).take(ROWS).collect();
    let (rows, plot) = rows(&admin, shown, now).await;
    let unrouted = u64::try_from(admin.metrics.unrouted_ready.get()).unwrap_or(0);
    let link = |page: usize| filter.with(&filter.state, &filter.sort, page);
    let shown = Page {
        frame,
        choices,
        total: count(total),
        summary: of(u64::try_from(count_chosen).unwrap_or(u64::MAX), "destination", "destinations"),
        charted: span(plot.span.as_secs_f64()),
        unrouted: (unrouted > 0).then(|| of(unrouted, "event", "events")),
        by_trouble: filter.with(&filter.state, "", 1),
        by_name: filter.with(&filter.state, "name", 1),
        earlier: (page > 1).then(|| link(page - 1)),
        later: (page < pages).then(|| link(page + 1)),
        range: (pages > 1)
            .then(|| format!("{}–{} of {}", count(first + 1), count(first + rows.len()), count(count_chosen))),
        rows,
        filter,
    };
    Ok(frame::page(&shown))
}

/// What those destinations sent lately.
pub(super) async fn sparks(admin: &Admin, names: BTreeSet<String>, now: Timestamp) -> BTreeMap<String, Chart> {
    let all = figures(admin, now).await;
    let chosen: Vec<Figures> = all.into_iter().filter(|figures| names.contains(&figures.name)).collect();
    let (rows, _) = rows(admin, chosen, now).await;
    rows.into_iter().map(|row| (row.figures.name, row.spark)).collect()
}

/// Each with its chart, all of the same time.
async fn rows(admin: &Admin, shown: Vec<Figures>, now: Timestamp) -> (Vec<Row>, chart::Plot) {
    let elsewhere = shown.iter().filter(|figures| figures.driver.is_some()).map(|figures| figures.name.clone());
    let elsewhere: BTreeSet<String> = elsewhere.collect();
    let lately = if elsewhere.is_empty() { BTreeMap::new() } else { lately(admin, elsewhere).await };
    let samples = join_all(shown.iter().map(|figures| samples(admin, figures, &lately))).await;
    let plot = plot(admin, &samples, now);
    let rows = shown.into_iter().zip(samples).map(|(figures, samples)| row(figures, &samples, plot));
    (rows.collect(), plot)
}

/// All destinations at work here, by name.
async fn figures(admin: &Admin, now: Timestamp) -> Vec<Figures> {
    let late_after = admin.issues.late_after();
    let figures = admin.roster.views(|_| true).await.into_iter().map(|view| {
        let figures = Figures::of(status_from(admin, view), now);
        figures.late_after(late_after, now)
    });
    figures.collect()
}

async fn samples(admin: &Admin, figures: &Figures, lately: &BTreeMap<String, Recent>) -> Vec<Sample> {
    match (lately.get(&figures.name), admin.roster.get(&figures.name)) {
        (Some(recent), _) => recent.samples(),
        (None, Some(handle)) => handle.samples().await.unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

/// The same time in all rows: as far back as something is known of any.
fn plot(admin: &Admin, samples: &[Vec<Sample>], now: Timestamp) -> chart::Plot {
    let first: Vec<Sample> = samples.iter().filter_map(|samples| samples.first().copied()).collect();
    let earliest = first.iter().min_by_key(|sample| sample.at).copied();
    chart::Plot { width: 120, height: 28, now, span: SPARK }.known(earliest.as_slice(), Some(admin.console.began))
}

fn row(figures: Figures, samples: &[Sample], plot: chart::Plot) -> Row {
    let sent = format!("{}/s", rate(chart::latest(samples, plot.now)));
    Row { spark: chart::spark(plot, samples, figures.quota), sent, figures }
}

/// What hurts most comes first: where a person is needed, then where events are late or dead, then where something holds the pace.
fn urgency(figures: &Figures) -> (u8, u8) {
    let is = |state: GateState| state.name() == figures.state;
    let has_dead = figures.dead.is_some_and(|dead| dead > 0);
    let budget_is_out = figures.day.as_ref().is_some_and(|day| day.is_spent || day.runs_out.is_some());
    let state = match () {
        () if is(GateState::Parked) => 0,
        () if is(GateState::Broken) => 2,
        () if is(GateState::Throttled) => 5,
        () if is(GateState::Paused) => 6,
        () => 8,
    };
    let trouble = [
        (!figures.is_ready && !is(GateState::Paused), 1),
        (figures.is_late, 3),
        (has_dead, 4),
        (figures.slowed().is_some() || budget_is_out, 7),
    ];
    let worst = trouble.into_iter().filter(|(is, _)| *is).map(|(_, place)| place).min();
    (worst.map_or(state, |worst| worst.min(state)), state)
}

/// One for each state that some are in.
fn choices(filter: &OverviewFilter, all: &[Figures]) -> Vec<Choice> {
    let choice = |state: &'static str, label: &str| {
        let counted = OverviewFilter { state: state.to_owned(), ..OverviewFilter::default() };
        let number = all.iter().filter(|figures| counted.has_state(figures)).count();
        let is_chosen = filter.state == state;
        let href = filter.with(state, &filter.sort, 1);
        (number > 0 || is_chosen || state.is_empty()).then(|| Choice {
            label: label.to_owned(),
            count: count(number),
            href,
            is_chosen,
            state,
        })
    };
    let states = [GateState::Parked, GateState::Broken, GateState::Paused, GateState::Throttled, GateState::Open]
        .map(GateState::name);
    let by_state = states.into_iter().filter_map(|state| choice(state, state));
    choice("", "all").into_iter().chain(by_state).chain(choice(DEAD, "with dead letters")).collect()
}
