//! What refusals for no reason leave of a quota, and how soon all of it is used again: three 429s every eight seconds.

use std::time::Duration;

use sluice::clock;

use crate::Error;
use crate::bench::Size;
use crate::report::{Report, Target, Unit};
use crate::stage::Stage;
use crate::trial::Trial;
use crate::vendor::{Latency, Plan};

const PER_SECOND: u32 = 200;
const REFUSED: u32 = 3;
const EVERY: u32 = 8;
/// Time before the first.
const BEFORE: u32 = 4;
/// So long after the last one the quota is used again,
const BACK: Duration = Duration::from_secs(20);
/// and is looked at for so long.
const LOOK: u32 = 5;

/// Measures two latencies beside each other.
///
/// # Errors
/// When an account gets no request.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let all = size.bursts * EVERY;
    report.say(&format!("three 429s every {EVERY} s: two vendors for {all} s and 25 s more"))?;
    let plan = |latency: Latency| {
        let row = format!("{PER_SECOND}/s, three 429s every {EVERY} s, {}", latency.name());
        (row, Plan { latency, retry_after: Some(1), ..Plan::plain(PER_SECOND) })
    };
    let plans = [Latency::ms(0), Latency::TYPICAL].map(plan);
    let trial = Trial::begin(stage, "bursts", plans.into(), PER_SECOND, BEFORE + all + 30).await?;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    for burst in 0..size.bursts {
        trial.last(seconds(BEFORE + burst * EVERY)).await;
        trial.accounts.iter().for_each(|account| account.vendor.refuse(REFUSED));
    }
    let last = seconds(BEFORE + (size.bursts - 1) * EVERY);
    trial.last(last + BACK + seconds(LOOK)).await;
    clock::sleep(Duration::from_millis(100)).await;
    for account in &trial.accounts {
        let journal = account.vendor.journal();
        let mut pace = |figure: &str, from: Duration, length: Duration, least: f64| {
            let pace = journal.within(account.first + from, length).pace();
            account.tell(figure, Unit::PerSecond, pace, Some(Target::AtLeast(least)), report);
        };
        pace("pace meanwhile", seconds(BEFORE), seconds(all), 100.0);
        pace("pace after the last burst", last, seconds(EVERY), 100.0);
        pace("pace 20 s after it", last + BACK, seconds(LOOK), 190.0);
    }
    trial.end(stage).await
}
