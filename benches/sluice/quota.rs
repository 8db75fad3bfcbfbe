//! How much of a vendor's quota is used under a backlog, and how much is refused, however the vendor counts and however
//! long it takes to answer.

use std::time::Duration;

use crate::Error;
use crate::bench::Size;
use crate::report::Report;
use crate::stage::Stage;
use crate::trial::Trial;
use crate::vendor::counting::Counting;
use crate::vendor::{Latency, Plan};

const FAST: u32 = 200;
const SLOW: u32 = 5;
const LATENCIES: [Latency; 5] =
    [Latency::ms(0), Latency::ms(50), Latency::ms(400), Latency::ms(1_500), Latency::TYPICAL];
/// Seconds over the measured ones for which there is a backlog.
const SPARE: u32 = 6;

/// Measures 200/s: one way of counting after another, all latencies beside each other.
///
/// # Errors
/// When an account gets no request.
pub async fn fast(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    for counting in Counting::ALL {
        let plans = LATENCIES.map(|latency| plan(FAST, counting, latency));
        measure(stage, FAST, plans.into(), size.quota_seconds, (98.0, 0.1), report).await?;
    }
    Ok(())
}

/// Measures 5/s, all beside each other.
///
/// # Errors
/// As [`fast`].
pub async fn slow(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let plans = Counting::ALL.map(|counting| LATENCIES.map(|latency| plan(SLOW, counting, latency)));
    measure(stage, SLOW, plans.concat(), size.slow_quota_seconds, (97.0, 0.0), report).await
}

fn plan(per_second: u32, counting: Counting, latency: Latency) -> (String, Plan) {
    let row = format!("{per_second}/s, {}, {}", counting.name(), latency.name());
    (row, Plan { counting, latency, ..Plan::plain(per_second) })
}

async fn measure(
    stage: &Stage,
    per_second: u32,
    plans: Vec<(String, Plan)>,
    seconds: u32,
    (used_at_least, refused_at_most): (f64, f64),
    report: &mut Report,
) -> Result<(), Error> {
    report.say(&format!("use of the quota: {per_second}/s, {} vendors for {seconds} s", plans.len()))?;
    let length = Duration::from_secs(seconds.into());
    let trial = Trial::begin(stage, "quota", plans, per_second, seconds + SPARE).await?;
    trial.last(length).await;
    for account in &trial.accounts {
        account.tell_use(length, used_at_least, refused_at_most, report);
    }
    trial.end(stage).await
}
