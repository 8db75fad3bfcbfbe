//! Whether a vendor that works on few requests at once is asked no more than it can do: more in flight would only make it
//! slower.

use std::time::Duration;

use crate::Error;
use crate::bench::Size;
use crate::report::{Report, Target, Unit, median};
use crate::stage::Stage;
use crate::trial::Trial;
use crate::vendor::{Latency, Plan};

/// More than either can do.
const PER_SECOND: u32 = 200;
/// How many requests it works on at once, how long one takes, and how many it does in a second therefore.
const VENDORS: [(usize, Latency, u32); 2] = [(16, Latency::ms(100), 160), (32, Latency::TYPICAL, 107)];

/// Measures vendors that are slower than their limit.
///
/// # Errors
/// When an account gets no request.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let seconds = size.crowded_seconds;
    report.say(&format!("vendors that work on few requests at once: two for {seconds} s"))?;
    let plan = |(at_once, latency, _): (usize, Latency, u32)| {
        let row = format!("a vendor that works on {at_once} at once, {}", latency.name());
        (row, Plan { latency, at_once, ..Plan::plain(PER_SECOND) })
    };
    let trial = Trial::begin(stage, "crowded", VENDORS.map(plan).into(), PER_SECOND, seconds + 6).await?;
    let length = Duration::from_secs(seconds.into());
    trial.last(length).await;
    for (account, (_, latency, most)) in trial.accounts.iter().zip(VENDORS) {
        let journal = account.vendor.journal();
        // It finds its bound in the first half.
        let late = journal.took.iter().skip(journal.took.len() / 2);
        let took: Vec<f64> = late.map(Duration::as_secs_f64).collect();
        let pace = journal.within(account.first + length / 2, length / 2).pace();
        let done = 100.0 * pace / f64::from(most);
        account.tell("throughput, of what it can do", Unit::Percent, done, Some(Target::AtLeast(95.0)), report);
        let alone = median(&took) / latency.median().as_secs_f64();
        account.tell("time to answer, of that of one alone", Unit::Times, alone, Some(Target::AtMost(3.0)), report);
    }
    trial.end(stage).await
}
