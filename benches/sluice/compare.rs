//! This run's figures beside those of an earlier one, from the JSON file that it wrote.

use std::fmt::Write as _;
use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table};
use serde_json::Value;

use crate::Error;

/// A change of less than this is what two runs of the same code differ by.
const NOISE_PERCENT: f64 = 5.0;

/// An earlier run.
#[derive(Debug)]
pub struct Earlier(Value);

impl Earlier {
    /// Reads the file of an earlier run.
    ///
    /// # Errors
    /// When it cannot be read or is no report.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let shown = file.display();
        let text = std::fs::read(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let report: Value = serde_json::from_slice(&text).map_err(|error| format!("{shown} is no JSON: {error}"))?;
        if !report["figures"].is_array() {
            return Err(format!("{shown} is no report of `make bench`: it has no list \"figures\"").into());
        }
        Ok(Self(report))
    }

    /// A table: each figure that both runs have, before and now. Of figures with a bare loop the ratios are compared, since two runs
    /// may have found the machine in different moods; of others the figures themselves.
    #[must_use]
    pub fn beside(&self, now: &Value) -> String {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["figure", "of", "before", "now", "change", ""]);
        let (mut compared, mut missing) = (0_u32, Vec::new());
        for figure in list(now) {
            let Some(before) = self.find(figure) else {
                missing.push(figure["what"].as_str().unwrap_or_default());
                continue;
            };
            let of = if before["ratio"].is_number() && figure["ratio"].is_number() { "ratio" } else { "sluice" };
            if let (Some(before), Some(after)) = (before[of].as_f64(), figure[of].as_f64()) {
                compared += 1;
                table.add_row(row(figure, of, before, after));
            }
        }
        let mut told = format!("Compared with the run of {} ({compared} figures):\n\n", text(&self.0, "begun"));
        if self.0["quick"] != now["quick"] {
            told.push_str("One of the runs was quick, the other was not: their figures differ by that alone.\n\n");
        }
        // Writing to a string does not fail.
        write!(told, "{table}\n\nChanges within {NOISE_PERCENT} % are noise.\n").ok();
        if !missing.is_empty() {
            writeln!(told, "Not in the earlier run: {}.", missing.join("; ")).ok();
        }
        told
    }

    fn find(&self, figure: &Value) -> Option<&Value> {
        list(&self.0).iter().find(|earlier| earlier["what"] == figure["what"] && earlier["unit"] == figure["unit"])
    }
}

fn row(figure: &Value, of: &str, before: f64, now: f64) -> Vec<Cell> {
    let change = (now / before - 1.0) * 100.0;
    let shown = if change.is_finite() { format!("{change:+.1} %") } else { String::new() };
    let mark = if change.abs() > NOISE_PERCENT { "changed" } else { "" };
    let unit = if of == "ratio" { "× the bare loop" } else { figure["unit"].as_str().unwrap_or_default() };
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    vec![
        Cell::new(text(figure, "what")),
        Cell::new(unit),
        right(format!("{before:.3}")),
        right(format!("{now:.3}")),
        right(shown),
        Cell::new(mark),
    ]
}

fn list(report: &Value) -> &[Value] {
    report["figures"].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
