//! Warns of a `concurrency` that is too low to use the limits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Destination;
use crate::gate::rate;
use crate::section::{ConfigProblem, Section};

/// Vendors take some 300 ms; what needs faster answers than this is doubtful.
const USUAL: Duration = Duration::from_millis(500);

/// What is doubtful of each destination's `concurrency`.
pub(super) fn check(all: &Section<'_>, destinations: &BTreeMap<String, Destination>) -> Vec<ConfigProblem> {
    destinations.iter().filter_map(|(name, destination)| Some(all.warning(name, doubt(destination)?))).collect()
}

fn doubt(destination: &Destination) -> Option<String> {
    let concurrency = destination.concurrency?;
    // Little's law: so many in flight at that rate are answered within this.
    let within = f64::from(u32::try_from(concurrency).ok()?) / rate(&destination.limits)?;
    (within < USUAL.as_secs_f64()).then(|| {
        format!(
            "concurrency = {concurrency} lets all of its limits through only while the vendor answers within {:.0} ms; leave it out, and it \
             follows the vendor's latency",
            within * 1000.0
        )
    })
}
