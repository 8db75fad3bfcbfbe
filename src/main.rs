//! `sluice`: parse, run one command, map its error to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use sluice::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    sluice::delivery::machine::raise_open_files();
    // TLS by ring everywhere; only a second call could fail, and then one is installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return sluice::cli::report(&error.to_string(), 1),
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_of_closed_output() => ExitCode::SUCCESS,
        Err(error) => sluice::cli::report(&error.to_string(), error.exit_code()),
    }
}
