//! Logging: set up once, to standard error, by a thread of its own.

use std::io::IsTerminal as _;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::config::{Format, Log};

/// Starts logging as `[log]` says. Keep the guard until the end: it writes out what is still buffered.
pub fn start(log: &Log) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        // A line that cannot be written at once waits: an outcome that nobody can look up is worse than a slow disk.
        .lossy(false)
        // Written out whenever no line waits: at once, and in few writes when there are many.
        .finish(std::io::BufWriter::new(std::io::stderr()));
    // Checked when the configuration was read.
    // The AMQP client logs returned messages whole, with what producers put into them. What is asked for later wins.
    let directives = format!("lapin=off,{}", log.level);
    let filter = EnvFilter::builder().parse(&directives).unwrap_or_else(|_| EnvFilter::new("info,lapin=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match log.format {
        Format::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).with_target(false).with_current_span(false).try_init(),
    };
    // Only a second start fails, and then the first one goes on.
    drop(started);
    guard
}
