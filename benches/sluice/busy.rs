//! What is refused where the machine is busy: threads that only count take the cores beside Sluice.

use std::hint::black_box;
use std::time::Duration;

use sluice::clock;

use crate::Error;
use crate::bench::Size;
use crate::child::Child;
use crate::report::{Report, Target, Unit};
use crate::stage::Stage;
use crate::trial::Trial;
use crate::vendor::counting::Counting;
use crate::vendor::{Latency, Plan};

const PER_SECOND: u32 = 200;
/// Threads for each core: a load of eight on two of them.
const THREADS_A_CORE: usize = 4;
/// They end by then, whatever becomes of the bench.
const LONGEST: Duration = Duration::from_secs(120);

/// How many threads count.
#[derive(Debug, clap::Args)]
pub struct Args {
    threads: usize,
}

/// Measures all ways of counting beside each other.
///
/// # Errors
/// When an account gets no request.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    let threads = THREADS_A_CORE * std::thread::available_parallelism()?.get();
    let seconds = size.quota_seconds;
    report.say(&format!("a busy machine: {threads} threads beside two vendors for {seconds} s"))?;
    let plan = |(counting, latency): (Counting, Latency)| {
        let row = format!("{PER_SECOND}/s, {}, {}, {threads} busy threads", counting.name(), latency.name());
        (row, Plan { counting, latency, ..Plan::plain(PER_SECOND) })
    };
    let plans = [(Counting::Sliding, Latency::ms(0)), (Counting::Sliding, Latency::TYPICAL)].map(plan);
    let trial = Trial::begin(stage, "busy", plans.into(), PER_SECOND, seconds + 10).await?;
    let busy = Child::start(&std::env::current_exe()?, &["spin", &threads.to_string()], &stage.log("spin"))?;
    let from: Vec<Duration> = trial.accounts.iter().map(|account| account.vendor.now()).collect();
    let length = Duration::from_secs(seconds.into());
    clock::sleep(length).await;
    busy.stop().await?;
    for (account, from) in trial.accounts.iter().zip(from) {
        let seen = account.vendor.journal().within(from, length);
        account.tell("quota used", Unit::Percent, seen.used(PER_SECOND), None, report);
        account.tell("refused", Unit::Percent, seen.refused(), Some(Target::AtMost(0.1)), report);
    }
    trial.end(stage).await
}

/// Counts on so many threads until the process is ended.
pub fn spin(args: &Args) {
    let until = clock::now() + LONGEST;
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                while clock::now() < until {
                    for n in 0..100_000_u32 {
                        black_box(n);
                    }
                }
            });
        }
    });
}
