//! Sluice against a bare loop of the same crates, in one run on one broker and one sink: a table and a JSON file come out.
//! Reports figures and marks those that miss their target; a figure never fails the run.

mod act_on;
mod apsis_one;
mod backlog;
mod bare_loop;
mod bench;
mod bulk;
mod bursts;
mod busy;
mod child;
mod compare;
mod cost;
mod crowded;
mod dead;
mod failover;
mod idle;
mod isolation;
mod latency;
mod latency_change;
mod metrics;
mod quota;
mod receipts;
mod refusals;
mod report;
mod scale;
mod shared;
mod sink;
mod stage;
mod trial;
mod vendor;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What can go wrong on the way to a figure; a sentence for whoever runs the bench.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Sluice against a bare loop of the same crates
#[derive(Debug, Parser)]
struct Args {
    /// A few seconds a figure, while working on the bench or on Sluice; the figures are rough
    #[arg(long)]
    quick: bool,
    /// 1,000,000 events wait in the memory figure instead of 100,000
    #[arg(long)]
    million: bool,
    /// Only this part; may be repeated
    #[arg(long, value_enum)]
    only: Vec<bench::Part>,
    /// The JSON file of an earlier run: each figure is shown beside what it was then
    #[arg(long, value_name = "JSON")]
    compare: Option<PathBuf>,
    /// What the worker logs: a level or tracing's filter directives
    #[arg(long, default_value = "info")]
    log_level: String,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, clap::Subcommand)]
enum Role {
    /// The process that Sluice is compared with
    #[command(hide = true)]
    BareLoop(bare_loop::Args),
    /// What keeps the machine busy
    #[command(hide = true)]
    Spin(busy::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Only a second call could fail.
    drop(rustls::crypto::ring::default_provider().install_default());
    let done =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::from).and_then(|runtime| {
            runtime.block_on(async {
                match args.role {
                    Some(Role::BareLoop(role)) => bare_loop::run(role).await,
                    Some(Role::Spin(role)) => {
                        busy::spin(&role);
                        Ok(())
                    }
                    None => bench::run(&args).await,
                }
            })
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failed(error.as_ref()),
    }
}
