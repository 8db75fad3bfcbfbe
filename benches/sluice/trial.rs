//! Accounts of strict vendors, under one worker that finds a backlog for each of them.

use std::time::Duration;

use futures_util::future::try_join_all;
use sluice::clock;

use crate::Error;
use crate::report::{Figure, Report, Target, Unit};
use crate::stage::{Destination, Stage};
use crate::vendor::{Plan, Vendor};
use crate::worker::Worker;

/// A worker that starts has sent its first request within that.
const PATIENCE: Duration = Duration::from_secs(60);

/// An account that is tried.
pub struct Account {
    /// What its figures are called.
    pub row: String,
    /// What the vendor is like.
    pub plan: Plan,
    /// The vendor.
    pub vendor: Vendor,
    /// When it let its first request in, since the Unix epoch.
    pub first: Duration,
    destination: Destination,
}

/// Accounts and the worker that serves them.
pub struct Trial {
    /// The accounts, in the order in which they were asked for.
    pub accounts: Vec<Account>,
    worker: Worker,
}

impl Trial {
    /// Plays these vendors, publishes what each takes in `seconds` at its `limit` a second, by which its destination is held,
    /// and starts a worker with the default concurrency. Every account has got its first request by then.
    ///
    /// # Errors
    /// When the broker does not take the events or an account gets no request.
    pub async fn begin(
        stage: &Stage,
        scene: &str,
        plans: Vec<(String, Plan)>,
        limit: u32,
        seconds: u32,
    ) -> Result<Self, Error> {
        let opened = plans.into_iter().enumerate().map(async |(number, (row, plan))| {
            let vendor = Vendor::start(plan).await?;
            let destination = Destination {
                name: format!("{scene}-{number}"),
                vendor: "gainsight-px",
                base: vendor.url(),
                limit: Some(format!("{limit}/s")),
                concurrency: None,
                more: "",
            };
            Ok::<_, Error>(Account { row, plan, vendor, first: Duration::ZERO, destination })
        });
        let mut accounts = try_join_all(opened).await?;
        let destinations: Vec<_> = accounts.iter().map(|account| account.destination.clone()).collect();
        stage.declare(&destinations).await?;
        for destination in &destinations {
            stage.publish(destination, limit * seconds).await?;
        }
        let worker = stage.sluice(&destinations).await?;
        for account in &mut accounts {
            account.first = account.vendor.first(PATIENCE).await?;
        }
        Ok(Self { accounts, worker })
    }

    /// Goes on until each account has had so much time since its first request.
    pub async fn last(&self, length: Duration) {
        for account in &self.accounts {
            let since = account.vendor.now().saturating_sub(account.first);
            clock::sleep(length.saturating_sub(since)).await;
        }
    }

    /// Ends the worker and deletes the queues.
    ///
    /// # Errors
    /// When the worker does not end or the broker does not delete.
    pub async fn end(self, stage: &Stage) -> Result<(), Error> {
        self.worker.process.stop().await?;
        for account in &self.accounts {
            stage.remove(&account.destination).await?;
        }
        Ok(())
    }
}

impl Account {
    /// Adds a figure of this account.
    pub fn tell(&self, figure: &str, unit: Unit, value: f64, target: Option<Target>, report: &mut Report) {
        let figure = Figure::alone(format!("{figure}, {}", self.row), unit, value);
        report.add(match target {
            Some(target) => figure.with(target),
            None => figure,
        });
    }

    /// Adds what was used and what was refused, in per cent, of what came for `length` from the first request on.
    pub fn tell_use(&self, length: Duration, used_at_least: f64, refused_at_most: f64, report: &mut Report) {
        let seen = self.vendor.journal().within(self.first, length);
        let used = seen.used(self.plan.per_second);
        self.tell("quota used", Unit::Percent, used, Some(Target::AtLeast(used_at_least)), report);
        self.tell("refused", Unit::Percent, seen.refused(), Some(Target::AtMost(refused_at_most)), report);
    }
}
