//! Whether the quota is used again a second after a vendor's latency has changed by ten.

use std::time::Duration;

use crate::Error;
use crate::report::{Report, Target, Unit};
use crate::stage::Stage;
use crate::trial::{Account, Trial};
use crate::vendor::{Latency, Plan};

const PER_SECOND: u32 = 200;
/// From and to, in milliseconds.
const CHANGES: [(u64, u64); 4] = [(40, 400), (400, 40), (150, 1_500), (1_500, 150)];
const BEFORE: Duration = Duration::from_secs(8);
/// By then the change is over.
const FOUND: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(5);

/// Measures the changes beside each other.
///
/// # Errors
/// When an account gets no request.
pub async fn measure(stage: &Stage, report: &mut Report) -> Result<(), Error> {
    report.say("latency that changes by ten: four vendors for 14 s")?;
    let plan = |(from, to)| {
        let row = format!("{PER_SECOND}/s, from 1 s after {from} ms became {to} ms");
        (row, Plan { latency: Latency::ms(from), ..Plan::plain(PER_SECOND) })
    };
    let trial = Trial::begin(stage, "change", CHANGES.map(plan).into(), PER_SECOND, 22).await?;
    trial.last(BEFORE).await;
    let change = |(account, (_, to)): (&Account, (u64, u64))| {
        account.vendor.set_latency(Latency::ms(to));
        account.vendor.now()
    };
    let changed: Vec<Duration> = trial.accounts.iter().zip(CHANGES).map(change).collect();
    trial.last(BEFORE + FOUND + AFTER + Duration::from_millis(500)).await;
    for (account, changed) in trial.accounts.iter().zip(changed) {
        let seen = account.vendor.journal().within(changed + FOUND, AFTER);
        let used = seen.used(PER_SECOND);
        account.tell("quota used", Unit::Percent, used, Some(Target::AtLeast(98.0)), report);
        account.tell("refused", Unit::Percent, seen.refused(), Some(Target::AtMost(0.1)), report);
    }
    trial.end(stage).await
}
