//! Whether Sluice finds what an account has left: beside another user of it, under a real limit that is lower than the
//! documented one, and once the other user has gone.

use std::time::Duration;

use crate::Error;
use crate::bench::Size;
use crate::report::{Report, Target, Unit};
use crate::stage::Stage;
use crate::trial::{Account, Trial};
use crate::vendor::others::Usage;
use crate::vendor::{Latency, Plan};

/// The documented limit.
const PER_SECOND: u32 = 200;
/// Seconds in which it may learn before it is looked at.
const LEARNING: u32 = 10;
/// So long after the other user has gone everything is used again,
const BACK: Duration = Duration::from_secs(30);
/// and is looked at for so long.
const LOOK: Duration = Duration::from_secs(8);
const WAVES: Usage = Usage::Waves(Duration::from_secs(40));

/// What the other user does, as a sentence; how the vendor is.
type Kind = (&'static str, Usage, Option<u32>, Latency);

const KINDS: [Kind; 6] = [
    ("10 %", Usage::Steady(0.1), None, Latency::ms(0)),
    ("50 %", Usage::Steady(0.5), None, Latency::ms(0)),
    ("90 %", Usage::Steady(0.9), None, Latency::ms(0)),
    ("10 to 90 % in waves of 40 s", WAVES, None, Latency::ms(0)),
    ("50 %, Retry-After: 1", Usage::Steady(0.5), Some(1), Latency::ms(0)),
    ("50 %", Usage::Steady(0.5), None, Latency::TYPICAL),
];

/// Measures all users beside each other.
///
/// # Errors
/// When an account gets no request.
pub async fn others(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let seconds = LEARNING + size.learning_seconds;
    report.say(&format!("another user of the account: {} accounts for {seconds} s and 38 s more", KINDS.len()))?;
    let plan = |(taken, _, retry_after, latency): Kind| {
        let row = format!("{PER_SECOND}/s, another user takes {taken}, {}", latency.name());
        (row, Plan { latency, retry_after, ..Plan::plain(PER_SECOND) })
    };
    let trial = Trial::begin(stage, "others", KINDS.map(plan).into(), PER_SECOND, seconds + 45).await?;
    for (account, (_, usage, _, _)) in trial.accounts.iter().zip(KINDS) {
        account.vendor.share_with(usage);
    }
    let beside = Duration::from_secs(seconds.into());
    trial.last(beside).await;
    trial.accounts.iter().for_each(|account| account.vendor.share_with(Usage::None));
    trial.last(beside + BACK + LOOK).await;
    for account in &trial.accounts {
        tell(account, size, report);
        let seen = account.vendor.journal().within(account.first + beside + BACK, LOOK);
        let used = seen.used(PER_SECOND);
        account.tell("quota used 30 s after it has gone", Unit::Percent, used, Some(Target::AtLeast(98.0)), report);
    }
    trial.end(stage).await
}

/// Measures a half and a tenth of the documented limit beside each other.
///
/// # Errors
/// As [`others`].
pub async fn lower_limit(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let seconds = LEARNING + size.learning_seconds;
    report.say(&format!("a limit that is lower than documented: three vendors for {seconds} s"))?;
    let kinds = [(2, Latency::ms(0)), (10, Latency::ms(0)), (2, Latency::TYPICAL)];
    let plans = kinds.map(|(part, latency)| {
        let real = PER_SECOND / part;
        let row = format!("{real}/s where {PER_SECOND}/s are documented, {}", latency.name());
        (row, Plan { latency, ..Plan::plain(real) })
    });
    let trial = Trial::begin(stage, "lower", plans.into(), PER_SECOND, seconds).await?;
    trial.last(Duration::from_secs(seconds.into())).await;
    trial.accounts.iter().for_each(|account| tell(account, size, report));
    trial.end(stage).await
}

fn tell(account: &Account, size: Size, report: &mut Report) {
    let length = Duration::from_secs(size.learning_seconds.into());
    let seen = account.vendor.journal().within(account.first + Duration::from_secs(LEARNING.into()), length);
    let used = seen.used(account.plan.per_second);
    account.tell("quota used of what is left", Unit::Percent, used, Some(Target::AtLeast(90.0)), report);
    account.tell("refused", Unit::Percent, seen.refused(), Some(Target::AtMost(1.0)), report);
}
