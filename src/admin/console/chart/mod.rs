//! Charts as SVG paths, from samples. Pure.
//!
//! What is drawn is steps: each sample stands for the time up to it, and where there is none nothing happened.

use std::fmt::Write as _;
use std::time::Duration;

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::Timestamp;

use super::show;
use crate::destination::recent::{EVERY, GateChange, Sample};
use crate::gate::GateState;

#[cfg(test)]
mod tests;

/// A chart, ready to be drawn into a box of its width and height.
#[derive(Clone, Debug, Default, PartialEq, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    pub width: u16,
    pub height: u16,
    /// What it shows, in a sentence: for who cannot see it.
    pub says: String,
    /// Lines and areas: their class, and their path.
    pub paths: Vec<(&'static str, String)>,
    /// Times at which the gate was in another state than open, or at which nothing is known.
    pub bands: Vec<Band>,
    /// What it reaches.
    pub top: String,
    /// What lines stand for.
    pub labels: Vec<Label>,
    /// What went wrong, below it.
    pub strip: Option<Strip>,
    /// What it says at each time, for who points at it.
    pub points: Vec<Point>,
    /// How long ago it begins.
    pub began: String,
}

impl Chart {
    /// With what is below it.
    fn whole(&self) -> u16 {
        self.height + self.strip.as_ref().map_or(0, |strip| strip.gap + strip.height)
    }

    /// Where the strip begins.
    fn strip_at(&self) -> u16 {
        self.height + self.strip.as_ref().map_or(0, |strip| strip.gap)
    }
}

/// What went wrong, to a scale of its own: beside what went well it would be a line at the bottom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Strip {
    /// Between it and what is above, for its label where it has one.
    pub gap: u16,
    pub height: u16,
    pub path: String,
    pub label: String,
}

/// Some time of a chart, and what it says of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub x: String,
    pub width: String,
    pub text: String,
}

// What it writes is escaped already.
impl HtmlSafe for Chart {}

/// A text at a height.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label {
    pub y: String,
    pub text: String,
}

impl Label {
    /// Above a line, or below one that is at the upper edge.
    fn above(y: f64, text: String) -> Self {
        let y = if y < 16.0 { y + 13.0 } else { y - 4.0 };
        Self { y: format!("{y:.1}"), text }
    }
}

/// How the gate was.
#[derive(Clone, Debug)]
pub(super) struct Past {
    /// The latest first.
    pub changes: Vec<GateChange>,
    /// As it is now.
    pub state: &'static str,
    /// Before that nothing is known of it.
    pub since: Option<Timestamp>,
}

impl Past {
    /// The gate's state at that time.
    fn at(&self, time: Timestamp) -> &'static str {
        // The earliest of the later changes says what was before it.
        let later = self.changes.iter().take_while(|change| change.at > time);
        later.last().map_or(self.state, |change| change.from.name())
    }
}

/// A stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Band {
    pub x: String,
    pub width: String,
    pub state: &'static str,
}

/// Among states, for when nothing is known.
const UNKNOWN: &str = "unknown";
/// What is free above the highest, as a factor.
const HEADROOM: f64 = 1.05;
/// The same below a label.
const HEADROOM_OF_LABEL: f64 = 1.2;
/// A limit is drawn that is at most so many times as high as what is sent: what is sent has the scale.
const LIMIT_IN_SIGHT: f64 = 1.5;
/// The least height of what is more than nothing.
const LEAST: f64 = 3.0;
/// The shortest time that a chart shows.
const SHORTEST: Duration = Duration::from_mins(1);
/// Times of a chart that say what they show, at most.
const POINTS: u32 = 60;

/// What part of the past a chart shows, and how large it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot {
    pub width: u16,
    pub height: u16,
    pub now: Timestamp,
    pub span: Duration,
}

impl Plot {
    /// The same without the time of which nothing is known.
    pub fn known(self, samples: &[Sample], since: Option<Timestamp>) -> Self {
        let first = samples.first().and_then(|sample| sample.at.checked_sub(EVERY).ok());
        let Some(began) = since.into_iter().chain(first).min() else { return self };
        let known = self.now.duration_since(began).try_into().unwrap_or(self.span);
        Self { span: SHORTEST.max(known).min(self.span), ..self }
    }

    /// Times of equal length with their samples, the oldest first, as far as something is known of them.
    fn points(&self, samples: &[Sample], past: &Past, says: impl Fn(&[&Sample]) -> String) -> Vec<Point> {
        let each = EVERY.max(self.span / POINTS);
        let since = past.since.into_iter().chain(samples.first().map(|sample| sample.at)).min();
        let earliest = self.now.checked_sub(self.span).unwrap_or(Timestamp::MIN);
        let known = since.map_or(self.now, |since| since.max(earliest));
        // On even seconds, so that they stay the same while the chart moves on.
        let even = Duration::from_secs(self.now.as_second().unsigned_abs() % each.as_secs());
        let last = self.now.checked_sub(even).unwrap_or(self.now);
        let times = (0..=POINTS).rev().filter_map(|ago| last.checked_sub(each * ago).ok());
        let known = times.filter(|began| *began < self.now && *began + each > known);
        let point = |began: Timestamp| {
            let end = began + each;
            let seen: Vec<&Sample> = samples.iter().filter(|sample| sample.at > began && sample.at <= end).collect();
            let (state, left) = (past.at(end.min(self.now)), self.x(began));
            let gate = if state == GateState::Open.name() { String::new() } else { format!("; gate {state}") };
            Point {
                x: format!("{left:.1}"),
                width: format!("{:.1}", self.x(end) - left),
                text: format!("{} UTC: {}{gate}", began.strftime("%T"), says(&seen)),
            }
        };
        known.map(point).collect()
    }

    fn x(&self, at: Timestamp) -> f64 {
        let before = self.now.duration_since(at).as_secs_f64();
        ((1.0 - before / self.span.as_secs_f64()) * f64::from(self.width)).clamp(0.0, f64::from(self.width))
    }

    /// The highest is a little below the edge, so that its line is seen whole.
    fn y(&self, value: f64, top: f64) -> f64 {
        let height = f64::from(self.height);
        if top <= 0.0 { height } else { (height - value / top * (height - 1.0)).clamp(0.0, height) }
    }

    /// The samples of that time, each with its left and right edge.
    fn steps<'a>(&self, samples: &'a [Sample]) -> impl Iterator<Item = (f64, f64, &'a Sample)> {
        let (frame, since) = (*self, self.now.checked_sub(self.span).unwrap_or(Timestamp::MIN));
        let mut before: Option<Timestamp> = None;
        samples.iter().filter(move |sample| sample.at > since).map(move |sample| {
            // A sample that was a little late still begins where the one before it ended.
            let longest = EVERY + EVERY / 2;
            let began = before.filter(|before| sample.at.duration_since(*before).unsigned_abs() <= longest);
            let began = began.unwrap_or_else(|| sample.at.checked_sub(EVERY).unwrap_or(sample.at));
            before = Some(sample.at);
            (frame.x(began), frame.x(sample.at), sample)
        })
    }

    /// The area under a figure. What is more than nothing is seen, however little it is.
    fn area(&self, samples: &[Sample], top: f64, least: f64, figure: impl Fn(&Sample) -> f64) -> String {
        let mut path = String::new();
        let mut right = f64::NEG_INFINITY;
        for (from, to, sample) in self.steps(samples) {
            let value = figure(sample);
            let highest = f64::from(self.height) - if value > 0.0 { least } else { 0.0 };
            let y = self.y(value, top).min(highest);
            if from > right + 0.5 {
                close(&mut path, self.height);
                write(&mut path, format_args!("M{from:.1} {}V{y:.1}", self.height));
            } else {
                write(&mut path, format_args!("V{y:.1}"));
            }
            write(&mut path, format_args!("H{to:.1}"));
            right = to;
        }
        close(&mut path, self.height);
        path
    }

    /// A line along a figure, broken where there is none.
    fn line(&self, samples: &[Sample], top: f64, figure: impl Fn(&Sample) -> Option<f64>) -> String {
        let mut path = String::new();
        let mut right = f64::NEG_INFINITY;
        for (from, to, sample) in self.steps(samples) {
            let Some(value) = figure(sample) else { continue };
            let y = self.y(value, top);
            let verb = if from > right + 0.5 { format!("M{from:.1} {y:.1}") } else { format!("V{y:.1}") };
            write(&mut path, format_args!("{verb}H{to:.1}"));
            right = to;
        }
        path
    }

    fn bands(&self, past: &Past) -> Vec<Band> {
        let mut bands = Vec::new();
        let (mut end, mut now_is) = (self.now, past.state);
        // From the latest back.
        for change in &past.changes {
            self.band(&mut bands, change.at, end, now_is);
            (end, now_is) = (change.at, change.from.name());
        }
        let began = self.now.checked_sub(self.span).unwrap_or(Timestamp::MIN);
        let known = past.since.unwrap_or(self.now).clamp(began, self.now);
        self.band(&mut bands, known, end, now_is);
        self.band(&mut bands, began, known, UNKNOWN);
        bands
    }

    fn band(&self, bands: &mut Vec<Band>, from: Timestamp, to: Timestamp, state: &'static str) {
        let (left, right) = (self.x(from), self.x(to));
        if state != GateState::Open.name() && right > left {
            bands.push(Band { x: format!("{left:.1}"), width: format!("{:.1}", right - left), state });
        }
    }
}

fn close(path: &mut String, height: u16) {
    if !path.is_empty() {
        write(path, format_args!("V{height}Z"));
    }
}

fn write(path: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _written = path.write_fmt(part);
}

fn highest(samples: &[Sample], figure: impl Fn(&Sample) -> Option<f64>) -> f64 {
    samples.iter().filter_map(figure).filter(|value| value.is_finite()).fold(0.0, f64::max)
}

fn requests(sample: &Sample) -> f64 {
    f64::from(sample.requests)
}

fn allowed(sample: &Sample) -> Option<f64> {
    sample.allowed.map(f64::from)
}

/// What was sent in the last ten seconds, where that is not long ago.
pub(super) fn latest(samples: &[Sample], now: Timestamp) -> f64 {
    let recent = |sample: &&Sample| now.duration_since(sample.at).as_secs_f64() < 2.0 * EVERY.as_secs_f64();
    samples.last().filter(recent).map_or(0.0, requests)
}

/// Requests a second, and how many `limit` allows.
pub(super) fn rate(frame: Plot, samples: &[Sample], past: &Past, limit: Option<f64>) -> Chart {
    let most = most_sent(frame, samples);
    let limit = limit.filter(|limit| limit.is_finite() && *limit > 0.0);
    let seen = limit.filter(|limit| *limit <= most * LIMIT_IN_SIGHT);
    // A label at the upper edge has room of its own.
    let headroom = if limit.is_some() && seen.is_none() { HEADROOM_OF_LABEL } else { HEADROOM };
    let top = most.max(seen.unwrap_or(0.0)) * headroom;
    let label = limit.map(|limit| {
        let text = format!("limit {}/s", show::rate(limit));
        // Out of sight, it is told at the upper edge.
        if seen.is_some() { Label::above(frame.y(limit, top), text) } else { Label::above(0.0, text + ", above") }
    });
    let top_shown = if most > 0.0 { format!("highest {}/s", show::rate(most)) } else { "none sent".to_owned() };
    let allows = limit.map_or_else(String::new, |limit| format!("; the limits allow {}", show::rate(limit)));
    let strip = strip(frame, samples, 16, 24);
    let failed = strip.as_ref().map_or_else(String::new, |strip| format!("; {}", strip.label));
    let says = format!(
        "Requests a second over the last {}: {} now, {} at most{allows}{failed}",
        show::span(frame.span.as_secs_f64()),
        show::rate(latest(samples, frame.now)),
        show::rate(most),
    );
    let paths = sent(frame, samples, limit, top);
    let points = frame.points(samples, past, |seen| {
        let most = |figure: fn(&Sample) -> f64| seen.iter().map(|sample| figure(sample)).fold(0.0, f64::max);
        let (all, wrong) = (most(requests), most(bad));
        let wrong = if wrong > 0.0 { format!(", {}/s refused or failed", show::rate(wrong)) } else { String::new() };
        format!("{}/s{wrong}", show::rate(all))
    });
    let chart = chart(frame, says, paths, frame.bands(past), top_shown);
    Chart { labels: label.into_iter().collect(), strip, points, ..chart }
}

/// The same in a row among others.
pub(super) fn spark(frame: Plot, samples: &[Sample], limit: Option<f64>) -> Chart {
    let most = most_sent(frame, samples);
    let limit = limit.filter(|limit| limit.is_finite() && *limit > 0.0);
    let seen = limit.filter(|limit| *limit <= most * LIMIT_IN_SIGHT);
    let top = most.max(seen.unwrap_or(0.0)) * HEADROOM;
    let strip = strip(frame, samples, 2, 8);
    let failed = strip.as_ref().map_or_else(String::new, |strip| format!("; {}", strip.label));
    let span = show::span(frame.span.as_secs_f64());
    let says = format!("Requests over the last {span}: {}/s at most{failed}", show::rate(most));
    // Too small for a label.
    let strip = strip.map(|strip| Strip { label: String::new(), ..strip });
    Chart { strip, ..chart(frame, says, sent(frame, samples, limit, top), Vec::new(), String::new()) }
}

/// What went wrong in that time, where something did.
fn strip(frame: Plot, samples: &[Sample], gap: u16, height: u16) -> Option<Strip> {
    let most = frame.steps(samples).map(|(_, _, sample)| bad(sample)).fold(0.0, f64::max);
    let plot = Plot { height, ..frame };
    (most > 0.0).then(|| Strip {
        gap,
        height,
        path: plot.area(samples, most * HEADROOM, LEAST, bad),
        label: format!("refused or failed: {}/s at most", show::rate(most)),
    })
}

/// Refused or failed, a second.
fn bad(sample: &Sample) -> f64 {
    f64::from(sample.refused + sample.failed)
}

fn most_sent(frame: Plot, samples: &[Sample]) -> f64 {
    frame.steps(samples).map(|(_, _, sample)| requests(sample)).fold(0.0, f64::max)
}

fn sent(frame: Plot, samples: &[Sample], limit: Option<f64>, top: f64) -> Vec<(&'static str, String)> {
    let mut paths = vec![("chart-area", frame.area(samples, top, LEAST, requests))];
    let Some(limit) = limit else { return paths };
    if limit <= top {
        paths.push(("chart-limit", format!("M0 {:.1}H{}", frame.y(limit, top), frame.width)));
    }
    // Where the gate let less through than the limits: that too, as far as it is in sight.
    if samples.iter().filter_map(allowed).any(|allowed| allowed < limit * 0.99) {
        let in_sight = |sample: &Sample| allowed(sample).filter(|allowed| *allowed <= top);
        paths.push(("chart-allowed", frame.line(samples, top, in_sight)));
    }
    paths
}

/// How long requests took.
pub(super) fn latency(frame: Plot, samples: &[Sample], past: &Past) -> Chart {
    let slow = |sample: &Sample| sample.slowest_ms.map(f64::from);
    let half = |sample: &Sample| sample.median_ms.map(f64::from);
    let most = highest(samples, slow);
    let paths = vec![
        ("chart-slow", frame.line(samples, most * HEADROOM, slow)),
        ("chart-line", frame.line(samples, most * HEADROOM, half)),
    ];
    let last = samples.iter().rev().find_map(|sample| sample.median_ms.zip(sample.slowest_ms));
    let now = last.map_or_else(
        || "none was answered".to_owned(),
        |(half, slow)| format!("lately half of them {} at most, and 99 of 100 {}", ms(half), ms(slow)),
    );
    let span = show::span(frame.span.as_secs_f64());
    let says = format!("Time that requests took over the last {span}: {now}");
    let top = if most > 0.0 { format!("highest {}", duration(most)) } else { "none sent".to_owned() };
    let points = frame.points(samples, past, |seen| {
        let most = |figure: fn(&Sample) -> Option<u32>| seen.iter().filter_map(|sample| figure(sample)).max();
        let times = most(|sample| sample.median_ms).zip(most(|sample| sample.slowest_ms));
        let told = |(half, slow)| format!("half in {}, 99 of 100 in {}", ms(half), ms(slow));
        times.map_or_else(|| "none was answered".to_owned(), told)
    });
    Chart { points, ..chart(frame, says, paths, frame.bands(past), top) }
}

/// Events delivered a second.
pub(super) fn delivered(frame: Plot, samples: &[Sample], past: &Past) -> Chart {
    let events = |sample: &Sample| f64::from(sample.delivered);
    let most = highest(samples, |sample| Some(events(sample)));
    let paths = vec![("chart-area", frame.area(samples, most * HEADROOM, LEAST, events))];
    let says = format!(
        "Events delivered a second over the last {}: {} at most",
        show::span(frame.span.as_secs_f64()),
        show::rate(most)
    );
    let top = if most > 0.0 { format!("highest {}/s", show::rate(most)) } else { "none delivered".to_owned() };
    let points = frame.points(samples, past, |seen| {
        format!("{}/s", show::rate(seen.iter().map(|sample| events(sample)).fold(0.0, f64::max)))
    });
    Chart { points, ..chart(frame, says, paths, frame.bands(past), top) }
}

fn chart(frame: Plot, says: String, paths: Vec<(&'static str, String)>, bands: Vec<Band>, top: String) -> Chart {
    let paths = paths.into_iter().filter(|(_, path)| !path.is_empty()).collect();
    let began = format!("{} ago", show::span(frame.span.as_secs_f64()));
    Chart { width: frame.width, height: frame.height, says, paths, bands, top, began, ..Chart::default() }
}

pub(super) fn ms(ms: u32) -> String {
    duration(f64::from(ms))
}

fn duration(ms: f64) -> String {
    if ms < 1_000.0 { format!("{ms:.0} ms") } else { format!("{} s", show::rate(ms / 1_000.0)) }
}
