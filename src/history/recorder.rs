//! Takes steps and writes them to the stream, many in a message. That never holds up a delivery: a step is a line in a buffer of bounded size,
//! and a task of its own publishes on a channel of its own. Where the buffer is full steps are counted and left out, and the stream says so
//! once it can.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use prometheus::{IntCounter, IntCounterVec};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::step::{Step, StepKind};
use crate::broker::port::{PublishError, Publisher};
use crate::clock;
use crate::message::{Message, Properties};
use crate::supervisor::Part;

/// Bytes that wait or are under way: some 50,000 steps.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// A message's size, about: larger ones would save little.
const BATCH_BYTES: usize = 32 * 1024;
/// Messages under way at a time.
const AT_ONCE: usize = 8;
/// How long steps are gathered for a message. A worker that is killed has not recorded what it did since. One by one they would cost half as much
/// again; a longer time saves little.
const GATHERED_FOR: Duration = Duration::from_millis(10);
/// Before a message that was not confirmed is published again.
const PAUSE: Duration = Duration::from_secs(1);

/// Where steps are told. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    buffer: Mutex<Buffer>,
    wake: Notify,
    recorded: IntCounter,
    dropped: IntCounter,
    keeps_subject: bool,
}

/// Lines that wait.
#[derive(Debug, Default)]
struct Buffer {
    open: Batch,
    full: VecDeque<Batch>,
    /// Of all of them, and of those under way.
    bytes: usize,
    lost: Option<Lost>,
}

/// The lines of a message.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    steps: u64,
}

/// Steps that found no room.
#[derive(Clone, Copy, Debug)]
struct Lost {
    since: Timestamp,
    until: Timestamp,
    steps: u64,
}

impl Recorder {
    /// Tells a step.
    pub fn tell(&self, step: &Step<'_>) {
        let shared = &*self.0;
        let mut buffer = shared.buffer();
        if buffer.bytes >= MOST_BYTES {
            let lost = buffer.lost.get_or_insert(Lost { since: step.at, until: step.at, steps: 0 });
            (lost.steps, lost.until) = (lost.steps + 1, lost.until.max(step.at));
            let is_first = lost.steps == 1;
            drop(buffer);
            shared.dropped.inc();
            if is_first {
                tracing::warn!(
                    "the broker does not take the history fast enough: steps are left out of it and counted"
                );
            }
            return;
        }
        let before = buffer.open.lines.len();
        step.write(&mut buffer.open.lines);
        buffer.bytes += buffer.open.lines.len() - before;
        buffer.open.steps += 1;
        let is_full = buffer.open.lines.len() >= BATCH_BYTES;
        if is_full {
            let batch = std::mem::take(&mut buffer.open);
            buffer.full.push_back(batch);
        }
        drop(buffer);
        if is_full || before == 0 {
            shared.wake.notify_one();
        }
    }

    /// How many steps could not be recorded so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.get()
    }

    /// Whether events' subjects are wanted.
    #[must_use]
    pub fn keeps_subject(&self) -> bool {
        self.0.keeps_subject
    }
}

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message, if there is a full one, or one that has waited long enough.
    fn next(&self, is_due: bool) -> Option<Batch> {
        let mut buffer = self.buffer();
        let mut batch = match buffer.full.pop_front() {
            Some(full) => full,
            None if is_due && buffer.open.steps > 0 => std::mem::take(&mut buffer.open),
            None => return None,
        };
        if let Some(Lost { since, until, steps }) = buffer.lost.take() {
            let before = batch.lines.len();
            Step { received: Some(since), attempt: steps, ..Step::new(StepKind::Lost, until) }.write(&mut batch.lines);
            buffer.bytes += batch.lines.len() - before;
        }
        Some(batch)
    }

    fn has_open(&self) -> bool {
        self.buffer().open.steps > 0
    }

    fn ended(&self, bytes: usize, steps: u64, is_recorded: bool) {
        let mut buffer = self.buffer();
        buffer.bytes = buffer.bytes.saturating_sub(bytes);
        drop(buffer);
        if is_recorded { &self.recorded } else { &self.dropped }.inc_by(steps);
    }
}

/// What writes them, for as long as the worker runs.
#[derive(Debug)]
pub struct RecorderTask {
    shared: Arc<Shared>,
    publisher: Publisher,
    stream: String,
    worker: String,
    ending: CancellationToken,
}

/// Where steps are told, and what then writes them to `stream` until `ending`: then what was told is still written, once. `counted` takes
/// what became of each.
#[must_use]
pub fn open(
    publisher: Publisher,
    stream: String,
    (worker, keeps_subject): (String, bool),
    counted: &IntCounterVec,
    ending: CancellationToken,
) -> (Recorder, RecorderTask) {
    let of = |outcome: &str| counted.with_label_values(&[outcome]);
    let (recorded, dropped) = (of("recorded"), of("dropped"));
    let shared = Arc::new(Shared { buffer: Mutex::default(), wake: Notify::new(), recorded, dropped, keeps_subject });
    let task = RecorderTask { shared: Arc::clone(&shared), publisher, stream, worker, ending };
    (Recorder(shared), task)
}

impl Part for RecorderTask {
    /// Writes until `ending`, and then what is left.
    async fn run(&mut self) -> Result<(), String> {
        let Self { shared, publisher, stream, worker, ending } = self;
        let (shared, publisher, ending) = (&**shared, &*publisher, &*ending);
        let mut under_way = FuturesUnordered::new();
        // When the lines that have been gathered are written, full or not.
        let mut due: Option<Instant> = None;
        loop {
            let is_ending = ending.is_cancelled();
            while under_way.len() < AT_ONCE {
                let is_due = is_ending || due.is_some_and(|due| due <= clock::now());
                let Some(batch) = shared.next(is_due) else { break };
                under_way.push(write(publisher, stream, worker, batch, ending));
            }
            let has_open = shared.has_open();
            due = if has_open {
                due.filter(|due| *due > clock::now()).or(Some(clock::now() + GATHERED_FOR))
            } else {
                None
            };
            if is_ending && under_way.is_empty() && !has_open {
                return Ok(());
            }
            tokio::select! {
                Some((bytes, steps, is_recorded)) = under_way.next(), if !under_way.is_empty() => {
                    shared.ended(bytes, steps, is_recorded);
                }
                () = shared.wake.notified() => {}
                () = until(due), if under_way.len() < AT_ONCE => {}
                () = ending.cancelled(), if !is_ending => {}
            }
        }
    }
}

/// Publishes until the broker has it, or the worker ends: its bytes and steps, and whether they are recorded.
async fn write(
    publisher: &Publisher,
    stream: &str,
    worker: &str,
    batch: Batch,
    ending: &CancellationToken,
) -> (usize, u64, bool) {
    let Batch { lines, steps } = batch;
    let (bytes, body) = (lines.len(), Bytes::from(lines));
    loop {
        let properties = Properties {
            content_type: Some("application/x-ndjson".to_owned()),
            app_id: Some(worker.to_owned()),
            ..Properties::default()
        };
        match publisher.publish("", stream, Message { body: body.clone(), properties }).await {
            Ok(()) => return (bytes, steps, true),
            Err(error @ PublishError::Unsendable(_)) => {
                tracing::warn!(%error, "steps of the history are left out");
                return (bytes, steps, false);
            }
            Err(_) if ending.is_cancelled() => return (bytes, steps, false),
            Err(error) => {
                tracing::debug!(%error, "a message of the history is published again");
                tokio::select! {
                    () = clock::sleep(PAUSE) => {}
                    () = ending.cancelled() => {}
                }
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => clock::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::broker::port::Publication;
    use crate::metrics::Metrics;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

    type Broker = mpsc::Receiver<Publication>;

    fn opened() -> (Recorder, RecorderTask, Broker, IntCounterVec, CancellationToken) {
        let (queue, broker) = mpsc::channel(64);
        let counted = Metrics::new().unwrap().history_steps_total;
        let ending = CancellationToken::new();
        let (worker, keeps_subject) = ("host/1".to_owned(), false);
        let publisher = Publisher::new(queue);
        let (recorder, task) =
            open(publisher, "sluice.history".into(), (worker, keeps_subject), &counted, ending.clone());
        (recorder, task, broker, counted, ending)
    }

    fn step(id: &str) -> Step<'_> {
        Step { id: id.into(), ..Step::new(StepKind::Delivered, NOW) }
    }

    fn kinds(publication: &Publication) -> Vec<StepKind> {
        let lines = publication.message.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter_map(Step::read).map(|step| step.kind).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn steps_of_a_moment_travel_together_and_again_where_the_broker_lost_them() {
        let (recorder, mut task, mut broker, counted, ending) = opened();
        let running = tokio::spawn(async move { task.run().await });
        ["a", "b", "c"].iter().for_each(|id| recorder.tell(&step(id)));
        for answer in [Err(PublishError::Lost), Ok(())] {
            let publication = broker.recv().await.unwrap();
            assert_eq!((publication.routing_key.as_str(), kinds(&publication).len()), ("sluice.history", 3));
            publication.outcome.send(answer).unwrap();
        }
        recorder.tell(&step("d"));
        ending.cancel();
        broker.recv().await.unwrap().outcome.send(Ok(())).unwrap();
        running.await.unwrap().unwrap();
        assert_eq!(counted.with_label_values(&["recorded"]).get(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_is_counted_and_the_stream_says_so() {
        let (recorder, mut task, mut broker, counted, ending) = opened();
        let long = "x".repeat(1_000);
        // Nobody writes yet, and nobody waits.
        for _ in 0..MOST_BYTES / 1_000 + 10 {
            recorder.tell(&step(&long));
        }
        let dropped = counted.with_label_values(&["dropped"]).get();
        assert!(dropped > 0);
        let running = tokio::spawn(async move { task.run().await });
        let first = broker.recv().await.unwrap();
        assert_eq!(kinds(&first).last(), Some(&StepKind::Lost));
        let last = first.message.body.split(|byte| *byte == b'\n').rev().nth(1).unwrap();
        assert_eq!(Step::read(last).unwrap().attempt, dropped);
        first.outcome.send(Ok(())).unwrap();
        ending.cancel();
        // A broker that takes nothing any more holds up no end.
        broker.close();
        while broker.recv().await.is_some() {}
        running.await.unwrap().unwrap();
    }
}
