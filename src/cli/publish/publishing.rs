//! Lines in, publications out: what goes wrong with a line refuses it, and what goes wrong with the broker ends the run where it can be
//! gone on with.

use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::Summary;
use super::input::{Place, Record, Records};
use super::progress::Course;
use super::reading::{Read, Reading, To};
use super::refused::Refused;
use super::window::{End, WINDOW, Window};
use crate::broker::port::{PublishError, Publisher};
use crate::clock;
use crate::dead_letters::operation::Pace;
use crate::history::{About, Recorder, StepKind};
use crate::message::Message;

/// Lines after which the progress is noted.
const NOTED_EVERY: usize = 64;
/// How often a line is sent again whose confirm was lost with the connection.
const TRIES: u32 = 5;

/// What is written beside a file.
pub(super) struct Files {
    course: Course,
    refused: Refused,
    /// What is before has ended.
    ended: Place,
    /// Lines that have ended since the progress was noted.
    unnoted: usize,
    /// Whether there is something to go on from.
    is_noted: bool,
    failed: bool,
}

impl Files {
    pub fn new(course: Course, refused: Refused, from: Option<Place>) -> Self {
        let ended = from.unwrap_or(Place::START);
        let is_noted = from.is_some() || course.path().exists();
        Self { course, refused, ended, unnoted: 0, is_noted, failed: false }
    }

    /// Notes how far it came. A folder that cannot be written to costs the way to go on, no event.
    fn note(&mut self, done: bool) -> Option<String> {
        self.unnoted = 0;
        if self.failed {
            return None;
        }
        self.is_noted = true;
        let noted = self.course.note(self.ended, self.refused.bytes(), done);
        let error = noted.err()?;
        self.failed = true;
        Some(format!(
            "{} cannot be written, so --resume will not know how far it came: {error}",
            self.course.path().display()
        ))
    }
}

type UnderWay = FuturesUnordered<BoxFuture<'static, (u64, Result<(To, Option<About>), PublishError>)>>;

/// A run.
pub(super) struct Publishing<'a> {
    reading: Reading<'a>,
    publisher: Option<Publisher>,
    /// Where is told what was published.
    history: Option<Recorder>,
    files: Option<Files>,
    window: Window,
    under_way: UnderWay,
    outcome: Summary,
}

impl<'a> Publishing<'a> {
    /// Without a publisher everything is only read. Files are those of a file's; standard input has none.
    pub fn new(
        reading: Reading<'a>,
        (publisher, history): (Option<Publisher>, Option<Recorder>),
        files: Option<Files>,
    ) -> Self {
        let (window, under_way, outcome) = (Window::default(), UnderWay::new(), Summary::default());
        Self { reading, publisher, history, files, window, under_way, outcome }
    }

    pub async fn run(
        mut self,
        mut records: Records,
        rate: Option<f64>,
        bar: &ProgressBar,
        stop: &CancellationToken,
    ) -> Summary {
        let mut pace = Pace::new(rate, clock::now());
        let mut done = false;
        while self.outcome.ended_early.is_none() && !done {
            // A line may be long in coming: what was read before is published meanwhile.
            tokio::select! {
                () = stop.cancelled() => self.end_early("stopped before the end of the input"),
                Some((number, confirmed)) = self.under_way.next() => self.confirmed(number, confirmed),
                record = next(&mut records, pace.due()), if self.has_room() => match record {
                    Some(Ok(record)) => {
                        bar.set_position(record.end.byte);
                        if self.take(record).await {
                            pace.went(clock::now());
                        }
                    }
                    Some(Err(error)) => self.end_early(error.to_string()),
                    None => done = true,
                },
            }
            self.move_on();
        }
        while let Some((number, confirmed)) = self.under_way.next().await {
            self.confirmed(number, confirmed);
            self.move_on();
        }
        self.finish()
    }

    /// What would be published twice by a run that goes on is bounded.
    fn has_room(&self) -> bool {
        self.window.len() + self.files.as_ref().map_or(0, |files| files.unnoted) < WINDOW
    }

    /// Publishes a line; whether something was sent.
    async fn take(&mut self, record: Record) -> bool {
        let read = self.reading.read(&record);
        let number = self.window.take(record);
        match read {
            Ok(Read { message, to }) => {
                let (exchange, key) = self.reading.way(&to);
                let Some(publisher) = self.publisher.clone() else {
                    self.window.end(number, End::Published(to));
                    return true;
                };
                let about = self.about(&message, &to);
                // One after the other, so that they arrive in the file's order; only the confirms are waited for together.
                let submitted = publisher.submit(&exchange, &key, message.clone()).await;
                self.under_way.push(Box::pin(async move {
                    let first = match submitted {
                        Ok(confirmed) => confirmed.await,
                        Err(error) => Err(error),
                    };
                    (number, again_where_lost(first, &publisher, &exchange, &key, &message).await.map(|()| (to, about)))
                }));
                true
            }
            Err(problem) => {
                self.window.end(number, End::Refused(problem));
                false
            }
        }
    }

    /// Which event is about to be published; nothing of a letter that is put back, or where no history is kept.
    fn about(&self, message: &Message, to: &To) -> Option<About> {
        let (recorder, To::Destinations(kind, _)) = (self.history.as_ref()?, to) else { return None };
        Some(About::message(message, kind, recorder.keeps_subject(), clock::wall()))
    }

    fn confirmed(&mut self, number: u64, confirmed: Result<(To, Option<About>), PublishError>) {
        match confirmed {
            Ok((to, about)) => {
                if let (Some(recorder), Some(about)) = (&self.history, about) {
                    recorder.tell(&about.step(StepKind::Published));
                }
                self.window.end(number, End::Published(to));
            }
            Err(error) if self.files.is_none() || is_of_the_line(&error) => {
                self.window.end(number, End::Refused(format!("not published: {error}")));
            }
            // The same would befall every line after it. It stays under way, so that a run that goes on begins with it.
            Err(error) => {
                let line = self.window.line(number).map_or(0, |record| record.line);
                self.end_early(format!("line {line} was not published: {error}"));
            }
        }
    }

    fn end_early(&mut self, why: impl Into<String>) {
        self.outcome.ended_early.get_or_insert_with(|| why.into());
    }

    /// Tells of the lines up to the first that has not ended.
    fn move_on(&mut self) {
        while let Some((record, end)) = self.window.next_ended() {
            match end {
                End::Published(to) => {
                    self.outcome.published += 1;
                    self.outcome.goes(&to, self.reading.config);
                }
                End::Refused(why) => {
                    self.refuse(&record, &why);
                    self.outcome.refuse(record.line, why);
                }
            }
            if let Some(files) = &mut self.files {
                files.ended = record.end;
                files.unnoted += 1;
            }
        }
        if let Some(files) = self.files.as_mut().filter(|files| files.unnoted >= NOTED_EVERY) {
            self.outcome.warnings.extend(files.note(false));
        }
    }

    fn refuse(&mut self, record: &Record, why: &str) {
        let Some(Files { refused, .. }) = &mut self.files else { return };
        let warnings = &mut self.outcome.warnings;
        match refused.add(record.origin, why, &record.content) {
            Ok(()) => self.outcome.refused_file = Some(refused.path().to_owned()),
            Err(error) => {
                let told = format!("{} cannot be written: {error}", refused.path().display());
                if !warnings.contains(&told) {
                    warnings.push(told);
                }
            }
        }
    }

    fn finish(mut self) -> Summary {
        let done = self.outcome.ended_early.is_none();
        if let Some(files) = &mut self.files {
            // A short file that was published without trouble leaves nothing behind.
            if files.is_noted || !done || self.outcome.refused > 0 {
                self.outcome.warnings.extend(files.note(done));
            }
        }
        self.outcome
    }
}

/// Whether another line could fare better.
fn is_of_the_line(error: &PublishError) -> bool {
    match error {
        PublishError::Unroutable { .. } | PublishError::Unsendable(_) => true,
        PublishError::Refused
        | PublishError::Lost
        | PublishError::Closed(_)
        | PublishError::NotMade { .. }
        | PublishError::TimedOut(_) => false,
    }
}

/// A confirm that was lost with the connection is asked for again: the event may come twice then, with one id.
async fn again_where_lost(
    first: Result<(), PublishError>,
    publisher: &Publisher,
    exchange: &str,
    key: &str,
    message: &Message,
) -> Result<(), PublishError> {
    let mut outcome = first;
    for _ in 0..TRIES {
        if outcome != Err(PublishError::Lost) {
            break;
        }
        outcome = publisher.publish(exchange, key, message.clone()).await;
    }
    outcome
}

/// The next line, once it is due.
async fn next(records: &mut Records, due: Instant) -> Option<std::io::Result<Record>> {
    if due > clock::now() {
        clock::sleep_until(due).await;
    }
    records.recv().await
}
