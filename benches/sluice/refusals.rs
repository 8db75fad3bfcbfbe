//! What single refusals for no reason cost beside the pauses that they ask for: a share of all requests is refused at random.

use std::time::Duration;

use crate::Error;
use crate::bench::Size;
use crate::report::{Report, Target, Unit};
use crate::stage::Stage;
use crate::trial::Trial;
use crate::vendor::{Latency, Plan};

const PER_SECOND: u32 = 200;
/// The share in per cent, the `Retry-After`, and the latency.
const KINDS: [(f64, Option<u32>, Latency); 5] = [
    (0.01, Some(1), Latency::ms(0)),
    (0.1, Some(1), Latency::ms(0)),
    (1.0, Some(1), Latency::ms(0)),
    (0.1, None, Latency::ms(0)),
    (0.1, Some(1), Latency::TYPICAL),
];
/// The pause after a 429 that asks for none.
const UNASKED: Duration = Duration::from_millis(250);

/// Measures the kinds beside each other.
///
/// # Errors
/// When an account gets no request.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let seconds = size.learning_seconds;
    report.say(&format!("refusals at random: {} vendors for {seconds} s", KINDS.len()))?;
    let plan = |(percent, retry_after, latency): (f64, Option<u32>, Latency)| {
        let told = if retry_after.is_some() { "Retry-After: 1" } else { "no Retry-After" };
        let row = format!("{PER_SECOND}/s, {percent} % refused at random, {told}, {}", latency.name());
        (row, Plan { latency, retry_after, refused_share: percent / 100.0, ..Plan::plain(PER_SECOND) })
    };
    let trial = Trial::begin(stage, "refusals", KINDS.map(plan).into(), PER_SECOND, seconds + 6).await?;
    let length = Duration::from_secs(seconds.into());
    trial.last(length).await;
    for (account, (_, retry_after, _)) in trial.accounts.iter().zip(KINDS) {
        let journal = account.vendor.journal();
        let pause = retry_after.map_or(UNASKED, |seconds| Duration::from_secs(seconds.into()));
        let open = journal.open_seconds(account.first, length, pause);
        let seen = journal.within(account.first, length);
        let used = 100.0 * seen.accepted / (f64::from(PER_SECOND) * open);
        account.tell("quota used beside the pauses", Unit::Percent, used, Some(Target::AtLeast(95.0)), report);
        account.tell("requests refused", Unit::Count, seen.refused, None, report);
    }
    trial.end(stage).await
}
