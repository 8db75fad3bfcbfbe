//! Logging: set up once, written to standard error by a thread of its own. If nobody reads the log, deliveries go on.

mod line;

use std::io::{self, BufWriter, IsTerminal as _, Stderr, Write};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use self::line::{JsonLine, TextLine};
use crate::clock;
use crate::config::{Format, Log};
use crate::redact;
use crate::supervisor::Part;

/// How long lines gather after a write. A thread that is woken for each line costs more than making the line.
const GATHER: Duration = Duration::from_millis(5);
/// Lines that wait for the thread, at most; what comes then is dropped and counted. Some 4 MB, and 16 s of a busy worker.
const BUFFERED: usize = 8_192;
/// How often to look for dropped lines.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time at the end for what is buffered.
const FLUSH_WITHIN: Duration = Duration::from_millis(1_200);

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

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

/// Writes out what is still buffered when it is dropped, as far as someone takes it.
#[must_use = "what is buffered when the process ends is lost without it"]
pub struct Guard(Option<WorkerGuard>);

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, waits) = mpsc::channel();
        let guard = self.0.take();
        // The crate complains on standard output when the thread is stuck, and that may be the same full pipe.
        std::thread::spawn(move || {
            drop(guard);
            done.send(())
        });
        waits.recv_timeout(FLUSH_WITHIN).ok();
    }
}

/// Starts logging as `[log]` says. Keep the guard until the end.
pub fn start(log: &Log) -> Guard {
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED)
        .lossy(true)
        .finish(Batches(BufWriter::new(io::stderr())));
    let counter = writer.error_counter();
    // Checked when the configuration was read.
    // The AMQP client logs returned messages whole, with what producers put into them. What is asked for later wins.
    let directives = format!("lapin=off,{}", log.level);
    let filter = EnvFilter::builder().parse(&directives).unwrap_or_else(|_| EnvFilter::new("info,lapin=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match log.format {
        // With colours; nobody reads that fast.
        Format::Text if io::stderr().is_terminal() => builder.with_target(false).try_init(),
        Format::Text => builder.with_ansi(false).event_format(TextLine).try_init(),
        Format::Json => builder.with_ansi(false).event_format(JsonLine).try_init(),
    };
    // Only a second start fails, and then the first one goes on.
    if started.is_ok() && DROPPED.set(counter).is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let said = redact::masked(panic.payload_as_str().unwrap_or("it does not say why"), &[]);
            tracing::error!(place, said, "a part of Sluice panicked");
        }));
    }
    Guard(Some(guard))
}

/// What makes a line of everything that is logged and hands it to `writer`, as [`start`] does where nobody watches.
pub fn lines<W>(format: Format, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_ansi(false).with_writer(writer);
    match format {
        Format::Text => Box::new(builder.event_format(TextLine).finish()),
        Format::Json => Box::new(builder.event_format(JsonLine).finish()),
    }
}

/// How many lines have been dropped.
pub fn dropped() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    u64::try_from(dropped).unwrap_or(u64::MAX)
}

/// What says in the log how many lines it lacks, once it is read again; until `ending`.
pub fn teller(ending: CancellationToken) -> impl Part {
    move || {
        let ending = ending.clone();
        async move { ending.run_until_cancelled(tell_of_dropped()).await.unwrap_or(Ok(())) }
    }
}

async fn tell_of_dropped() -> Result<(), String> {
    let mut told = 0;
    loop {
        clock::sleep(LOOK_EVERY).await;
        // What says so may be dropped too: then there are more the next time.
        let now = dropped();
        if now > told {
            tracing::warn!(lines = now - told, "lines of this log were dropped: nobody took them in time");
            told = now;
        }
    }
}
