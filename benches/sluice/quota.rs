//! How much of a vendor's quota is used under a backlog, and how much is refused, however the vendor counts.

use std::time::Duration;

use futures_util::future::try_join_all;
use sluice::clock;
use sluice::sandbox::{EndpointStats, Enforcement, Limit, PxSettings, Sandbox, Settings};

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, number};
use crate::stage::{Destination, Stage};

const FAST: u32 = 200;
const SLOW: u32 = 5;
/// Time over what the quota needs before a vendor counts as unreached.
const PATIENCE: Duration = Duration::from_secs(60);

/// A vendor that counts in one way, and the destination that is held to its limit.
struct Account {
    counts: &'static str,
    per_second: u32,
    sandbox: Sandbox,
    destination: Destination,
}

/// Measures three ways of counting at two limits, in one worker: the slow ones beside each other, the fast ones one
/// after another beside them.
///
/// # Errors
/// When an event does not arrive.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let (fast, slow) = (accounts(FAST).await?, accounts(SLOW).await?);
    let destinations: Vec<_> = fast.iter().chain(&slow).map(|account| account.destination.clone()).collect();
    let worker = stage.sluice(&destinations).await?;
    report.say("use of the quota: three ways of counting, at 200/s one after another and at 5/s together")?;
    let at_once = try_join_all(slow.iter().map(|account| account.fill(stage, size.slow_quota_seconds)));
    let in_turn = async {
        for account in &fast {
            account.fill(stage, size.quota_seconds).await?;
        }
        Ok(())
    };
    tokio::try_join!(at_once, in_turn)?;
    worker.process.stop().await?;
    for account in fast {
        account.tell(98.0, 0.1, report).await;
    }
    for account in slow {
        account.tell(97.0, 0.0, report).await;
    }
    Ok(())
}

async fn accounts(per_second: u32) -> Result<Vec<Account>, Error> {
    let kinds = [
        ("sliding window", Enforcement::Sliding),
        ("fixed window", Enforcement::Fixed),
        ("token bucket", Enforcement::Bucket),
    ];
    let mut accounts = Vec::new();
    for (counts, enforcement) in kinds {
        let px = PxSettings { limits: vec![Limit::per_second(per_second)], enforcement, ..PxSettings::default() };
        let sandbox = Sandbox::start(Settings { px, ..Settings::default() }).await?;
        let destination = Destination {
            name: format!("{}-{per_second}", counts.replace(' ', "-")),
            vendor: "gainsight-px",
            base: format!("http://{}", sandbox.address()),
            limit: Some(format!("{per_second}/s")),
        };
        accounts.push(Account { counts, per_second, sandbox, destination });
    }
    Ok(accounts)
}

impl Account {
    /// Publishes what takes that many seconds at the limit, all at once, and waits until it has arrived.
    async fn fill(&self, stage: &Stage, seconds: u32) -> Result<(), Error> {
        let events = self.per_second * seconds;
        stage.publish(&self.destination, events).await?;
        let patience = Duration::from_secs(seconds.into()) + PATIENCE;
        let deadline = clock::now() + patience;
        while self.stats().is_none_or(|stats| stats.distinct < u64::from(events)) {
            if clock::now() > deadline {
                return Err(format!("{events} events did not arrive at {} within {patience:?}", self.counts).into());
            }
            clock::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn tell(self, used_at_least: f64, refused_at_most: f64, report: &mut Report) {
        let Self { counts, per_second, .. } = self;
        if let Some(stats) = self.stats() {
            let name = format!("{per_second}/s, {counts}");
            let used = 100.0 * stats.quota_use.unwrap_or(0.0);
            report.add(
                Figure::alone(format!("quota used, {name}"), Unit::Percent, used).with(Target::AtLeast(used_at_least)),
            );
            let refused = 100.0 * number(stats.refused) / number(stats.received).max(1.0);
            let figure = Figure::alone(format!("refused, {name}"), Unit::Percent, refused);
            report.add(figure.with(Target::AtMost(refused_at_most)));
        }
        self.sandbox.stop().await;
    }

    fn stats(&self) -> Option<EndpointStats> {
        self.sandbox.handle().stats().remove("gainsight-px")
    }
}
