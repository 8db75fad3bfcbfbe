//! Logging: set up once, to standard error, by a thread of its own.

use std::io::{self, BufWriter, IsTerminal as _, Stderr, Write};
use std::time::Duration;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::config::{Format, Log};

/// How long lines gather after a write. A thread that is woken for each line costs more than making the line.
const GATHER: Duration = Duration::from_millis(5);

/// Standard error in few writes: a line that comes alone at once, more of them together.
struct Batches(BufWriter<Stderr>);

impl Write for Batches {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Called by the thread when no line waits.
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        std::thread::sleep(GATHER);
        Ok(())
    }
}

/// Starts logging as `[log]` says. Keep the guard until the end: it writes out what is still buffered.
pub fn start(log: &Log) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        // A line that cannot be written at once waits: an outcome that nobody can look up is worse than a slow disk.
        .lossy(false)
        .finish(Batches(BufWriter::new(io::stderr())));
    // Checked when the configuration was read.
    // The AMQP client logs returned messages whole, with what producers put into them. What is asked for later wins.
    let directives = format!("lapin=off,{}", log.level);
    let filter = EnvFilter::builder().parse(&directives).unwrap_or_else(|_| EnvFilter::new("info,lapin=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match log.format {
        Format::Text => builder.with_target(false).with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).with_target(false).with_current_span(false).try_init(),
    };
    // Only a second start fails, and then the first one goes on.
    drop(started);
    guard
}
