//! Figures in; a table for people and a JSON file for programs out. Judges each figure by its target and no run by its figures.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};
use sluice::clock;

use crate::Error;
use crate::compare::Earlier;

/// 2^20 bytes.
pub const MEBIBYTE: f64 = 1_048_576.0;

/// What a figure counts.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Of processor time.
    Microseconds,
    /// Of latency.
    Milliseconds,
    /// Of time.
    Seconds,
    /// Events.
    PerSecond,
    /// Of events or requests, whole.
    Count,
    /// Of memory; the figure itself is in bytes.
    Mebibytes,
    /// Of a quota, or of requests.
    Percent,
    /// Of another figure of Sluice's own.
    Times,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// So many times the bare loop's.
    RatioAtMost(f64),
    /// In the figure's own unit.
    AtMost(f64),
    /// In the figure's own unit.
    AtLeast(f64),
}

/// One measured figure.
#[derive(Clone, Debug)]
pub struct Figure {
    what: String,
    unit: Unit,
    bare: Vec<f64>,
    sluice: Vec<f64>,
    target: Option<Target>,
}

/// The report of one run.
#[derive(Debug)]
pub struct Report {
    figures: Vec<Figure>,
    quick: bool,
    load_before: String,
    begun: jiff::Timestamp,
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Microseconds => format!("{figure:.1} µs"),
            Self::Milliseconds => format!("{figure:.2} ms"),
            Self::Seconds => format!("{figure:.1} s"),
            Self::PerSecond => format!("{figure:.0} /s"),
            Self::Count => format!("{figure:.0}"),
            Self::Mebibytes => format!("{:.1} MiB", figure / MEBIBYTE),
            Self::Percent => format!("{figure:.2} %"),
            Self::Times => format!("{figure:.2} ×"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "microseconds",
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::PerSecond => "events_per_second",
            Self::Count => "count",
            Self::Mebibytes => "bytes",
            Self::Percent => "percent",
            Self::Times => "times",
        }
    }
}

impl Figure {
    /// Sluice's rounds beside those of the bare loop, pair by pair.
    pub fn compared(what: String, unit: Unit, bare: &[f64], sluice: &[f64]) -> Self {
        Self { what, unit, bare: bare.to_vec(), sluice: sluice.to_vec(), target: None }
    }

    /// A figure that only Sluice has.
    pub fn alone(what: String, unit: Unit, figure: f64) -> Self {
        Self { what, unit, bare: Vec::new(), sluice: vec![figure], target: None }
    }

    /// The figure with what it should be.
    pub fn with(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// The median of the pairs' ratios.
    fn ratio(&self) -> Option<f64> {
        (!self.bare.is_empty()).then(|| ratio(&self.sluice, &self.bare))
    }

    fn met(&self) -> Option<bool> {
        let sluice = median(&self.sluice);
        Some(match self.target? {
            Target::RatioAtMost(most) => self.ratio()? <= most,
            Target::AtMost(most) => sluice <= most,
            Target::AtLeast(least) => sluice >= least,
        })
    }

    fn target(&self) -> String {
        match self.target {
            None => String::new(),
            Some(Target::RatioAtMost(most)) => format!("≤ {most} ×"),
            Some(Target::AtMost(most)) => format!("≤ {}", self.unit.show(most)),
            Some(Target::AtLeast(least)) => format!("≥ {}", self.unit.show(least)),
        }
    }

    fn row(&self) -> Vec<Cell> {
        let bare = if self.bare.is_empty() { String::new() } else { self.unit.show(median(&self.bare)) };
        let ratio = self.ratio().map_or(String::new(), |ratio| format!("{ratio:.2} ×"));
        let met = self.met().map_or("", |met| if met { "met" } else { "MISSED" });
        let figures = [bare, self.unit.show(median(&self.sluice)), ratio, self.target()];
        let figures = figures.into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        std::iter::once(Cell::new(&self.what)).chain(figures).chain([Cell::new(met)]).collect()
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what,
            "unit": self.unit.name(),
            "bare_loop": (!self.bare.is_empty()).then(|| median(&self.bare)),
            "sluice": median(&self.sluice),
            "ratio": self.ratio(),
            "target": self.target.map(|_| self.target()),
            "met": self.met(),
            "rounds": { "bare_loop": self.bare, "sluice": self.sluice },
        })
    }
}

impl Report {
    /// An empty report.
    ///
    /// # Errors
    /// When the system does not tell its load.
    pub fn begin(quick: bool) -> Result<Self, Error> {
        Ok(Self { figures: Vec::new(), quick, load_before: load()?, begun: clock::wall() })
    }

    /// Adds a figure.
    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Tells what is going on.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn say(&self, sentence: &str) -> Result<(), Error> {
        let since = clock::wall().duration_since(self.begun).as_secs();
        Ok(writeln!(io::stderr(), "{since:>4} s  {sentence}")?)
    }

    /// Prints the table, and another one beside an earlier run where there is one, and writes the file.
    ///
    /// # Errors
    /// When either cannot be written.
    pub fn end(self, earlier: Option<&Earlier>) -> Result<(), Error> {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["figure", "bare loop", "Sluice", "ratio", "target", ""]);
        table.add_rows(self.figures.iter().map(Figure::row));
        let report = self.json()?;
        let file = self.write(&report)?;
        let judged: Vec<bool> = self.figures.iter().filter_map(Figure::met).collect();
        let (met, targets) = (judged.iter().filter(|met| **met).count(), judged.len());
        let mut out = io::stdout().lock();
        writeln!(out, "\n{table}\n")?;
        writeln!(out, "Medians of the rounds; the ratio is the median of the pairs' ratios.")?;
        writeln!(out, "{met} of {targets} targets met.")?;
        writeln!(out, "Every round is in {}", file.display())?;
        if let Some(earlier) = earlier {
            writeln!(out, "\n{}", earlier.beside(&report))?;
        }
        Ok(())
    }

    fn write(&self, report: &Value) -> Result<PathBuf, Error> {
        let folder = Path::new("bench-results");
        std::fs::create_dir_all(folder)?;
        let file = folder.join(format!("{}.json", self.begun.strftime("%Y-%m-%dT%H-%M-%SZ")));
        std::fs::write(&file, serde_json::to_vec_pretty(report)?)?;
        Ok(file)
    }

    fn json(&self) -> Result<Value, Error> {
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "begun": self.begun,
            "seconds": clock::wall().duration_since(self.begun).as_secs(),
            "quick": self.quick,
            "cores": std::thread::available_parallelism()?,
            "load_average": { "before": self.load_before, "after": load()? },
            "figures": self.figures.iter().map(Figure::json).collect::<Vec<_>>(),
        }))
    }
}

/// The median of the ratios, pair by pair.
pub fn ratio(of: &[f64], than: &[f64]) -> f64 {
    median(&of.iter().zip(than).map(|(of, than)| of / than).collect::<Vec<_>>())
}

/// What that share of `delays`, in per mille, does not reach, in milliseconds; they are in order of size.
///
/// # Errors
/// When there are none.
pub fn quantile(delays: &[std::time::Duration], per_mille: usize) -> Result<f64, Error> {
    let delay = delays.get(delays.len() * per_mille / 1_000).ok_or("no event told when it was sent")?;
    Ok(delay.as_secs_f64() * 1e3)
}

/// The middle of `figures`, or between the two in the middle.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle.saturating_sub(1)), sorted.get(middle)) {
        (0, Some(below), Some(above)) => f64::midpoint(*below, *above),
        (_, _, Some(middle)) => *middle,
        (_, _, None) => f64::NAN,
    }
}

/// A count as a figure.
pub fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Says why there is no report.
pub fn failed(error: &dyn std::error::Error) -> ExitCode {
    // Nowhere is left to say it if this fails too.
    drop(writeln!(io::stderr(), "the bench could not be finished: {error}"));
    ExitCode::FAILURE
}

fn load() -> Result<String, Error> {
    Ok(std::fs::read_to_string("/proc/loadavg")?.trim().to_owned())
}
