//! Looking at a destination's dead letters: one pass over those that are there when it begins. Changes nothing.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::filter::{Matcher, TooSlow};
use super::letter::Letter;
use super::{DeadLetters, Pile};
use crate::broker::{ReadError, ReadPurpose, Reader};
use crate::clock;
use crate::message::Message;
use crate::threads::{self, Job, NoThread};
use crate::words::letters;

/// How long a broker that is away is waited for at most, from when it was lost.
const AWAY: Duration = Duration::from_mins(1);
/// Between tries to reach it.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// Why the letters could not be looked at. They are as they were.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookError {
    /// They cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The filter's jq expression takes too long.
    #[error(transparent)]
    TooSlow(#[from] TooSlow),
    /// The machine gives no thread for what is hard.
    #[error(transparent)]
    Machine(#[from] NoThread),
}

/// What a pass saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LookSummary {
    /// Letters that were there when it began: these and no others were looked at.
    pub there: u32,
    /// How many of them the filter meant, as far as the pass went.
    pub matched: u64,
    /// What the filter could not do, where it failed on letters, and what the broker lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How long all of them were out.
    #[serde(skip)]
    pub took: Duration,
}

impl LookSummary {
    /// Says that too.
    pub fn add(&mut self, trouble: Option<String>) {
        let Some(more) = trouble else { return };
        self.trouble = Some(self.trouble.take().map_or_else(|| more.clone(), |trouble| format!("{trouble}; {more}")));
    }

    /// Says so where there were more letters before the broker was lost.
    fn after(mut self, before: u32) -> Self {
        let there = self.there;
        if before > there {
            let fewer = format!(
                "the broker was lost on the way: {} before, and {there} now; unless others acted on them, look again when the \
                 broker has recovered",
                letters(before)
            );
            self.trouble = Some(self.trouble.map_or(fewer.clone(), |trouble| format!("{trouble}; {fewer}")));
        }
        self
    }
}

/// Told from time to time: letters read, and how many there are.
pub type Progress<'a> = &'a (dyn Fn(u32, u32) + Send + Sync);

/// Ignores it.
pub fn no_progress(_: u32, _: u32) {}

/// What a pass shows to whoever looks.
#[derive(Debug)]
pub enum LookStep<'a> {
    /// The pass begins, maybe once more: what was seen before counts no more.
    Anew,
    /// A letter that the filter means, and the message that it is.
    Letter(&'a Letter, &'a Message),
}

/// What whoever looks wants after a step.
#[derive(Default)]
pub enum Visit {
    /// The next.
    #[default]
    On,
    /// Nothing more.
    Enough,
    /// That this is done; then the same letter is shown once more. It is hard, and must not be done here.
    Aside(Job),
}

impl From<Result<(), Job>> for Visit {
    fn from(done: Result<(), Job>) -> Self {
        done.map_or_else(Self::Aside, |()| Self::On)
    }
}

impl From<ControlFlow<()>> for Visit {
    fn from(goes_on: ControlFlow<()>) -> Self {
        if goes_on.is_break() { Self::Enough } else { Self::On }
    }
}

/// A look, over as many passes as it takes.
struct Looking<'a> {
    pile: Pile,
    matcher: &'a Matcher,
    patience: Duration,
    progress: Progress<'a>,
    /// How many letters there were when a pass began, the most of all.
    there: u32,
    /// When the broker was last there, or else when the look began.
    reached: Instant,
    lost_since: Option<Instant>,
}

impl Looking<'_> {
    /// How many there must be after the broker was lost, unless others acted on some.
    fn expected(&self) -> u32 {
        if self.lost_since.is_some() { self.there } else { 0 }
    }
}

impl DeadLetters {
    /// Shows each letter that `matcher` means to `visit`, in order, until that breaks off. Where the broker is lost on the way
    /// the pass is made anew.
    ///
    /// # Errors
    /// [`LookError`] when somebody else reads for all of `patience`, when the broker is away for half of it or for a minute, when the
    /// filter takes too long, and when the machine lacks what that needs.
    pub async fn look(
        &self,
        pile: Pile,
        matcher: &Matcher,
        patience: Duration,
        progress: Progress<'_>,
        mut visit: impl FnMut(LookStep<'_>) -> ControlFlow<()> + Send,
    ) -> Result<LookSummary, LookError> {
        self.look_and_ask(pile, matcher, patience, progress, |shown| visit(shown).into()).await
    }

    /// The same for a `visit` that may have hard work.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn look_and_ask(
        &self,
        pile: Pile,
        matcher: &Matcher,
        patience: Duration,
        progress: Progress<'_>,
        mut visit: impl FnMut(LookStep<'_>) -> Visit + Send,
    ) -> Result<LookSummary, LookError> {
        let mut looking =
            Looking { pile, matcher, patience, progress, there: 0, reached: clock::now(), lost_since: None };
        loop {
            if let Visit::Enough = visit(LookStep::Anew) {
                return Ok(LookSummary::default());
            }
            match self.pass(&mut looking, &mut visit).await {
                Ok(seen) => return Ok(seen.after(looking.expected())),
                Err(error @ LookError::Read(ReadError::Broken { .. } | ReadError::Connect(_))) => {
                    let since = *looking.lost_since.get_or_insert(looking.reached);
                    if clock::now().saturating_duration_since(since) > AWAY.min(patience / 2) {
                        return Err(error);
                    }
                    clock::sleep(TRY_EVERY).await;
                }
                Err(
                    error @ LookError::Read(ReadError::Missing(_) | ReadError::Busy { .. } | ReadError::Closed(_))
                    | error @ (LookError::TooSlow(_) | LookError::Machine(_)),
                ) => return Err(error),
            }
        }
    }

    async fn pass(
        &self,
        looking: &mut Looking<'_>,
        visit: &mut (impl FnMut(LookStep<'_>) -> Visit + Send),
    ) -> Result<LookSummary, LookError> {
        let mut reader = self.broker.reader().await.map_err(ReadError::from)?.expecting(looking.expected());
        let passed = self.pass_with(&mut reader, looking, visit).await;
        looking.reached = clock::now();
        reader.close().await;
        passed
    }

    async fn pass_with(
        &self,
        reader: &mut Reader,
        looking: &mut Looking<'_>,
        visit: &mut (impl FnMut(LookStep<'_>) -> Visit + Send),
    ) -> Result<LookSummary, LookError> {
        let mut locked = reader.lock(&self.queue(looking.pile), ReadPurpose::Look, looking.patience).await?;
        looking.there = looking.expected().max(locked.count());
        let (matcher, progress, began) = (looking.matcher, looking.progress, clock::now());
        matcher.anew();
        let mut seen = LookSummary { there: locked.count(), ..LookSummary::default() };
        let (mut read, mut checked) = (0, Ok(()));
        progress(read, seen.there);
        while let Some(delivery) = locked.next().await? {
            read += 1;
            progress(read, seen.there);
            let letter = Letter::read(&delivery.message, &self.destination);
            let shown = show((&letter, &delivery.message), matcher, visit, &mut seen.matched).await;
            locked.keep(delivery);
            match shown {
                Ok(Visit::Enough) => break,
                Ok(Visit::On | Visit::Aside(_)) => checked = matcher.check(read, seen.there).map_err(LookError::from),
                Err(error) => checked = Err(error.into()),
            }
            if checked.is_err() {
                break;
            }
        }
        locked.end().await?;
        checked?;
        (seen.trouble, seen.took) = (matcher.trouble(), clock::now().saturating_duration_since(began));
        Ok(seen)
    }
}

/// Shows a letter that is meant, and does what is hard about it; whether to go on.
async fn show(
    (letter, message): (&Letter, &Message),
    matcher: &Matcher,
    visit: &mut (impl FnMut(LookStep<'_>) -> Visit + Send),
    matched: &mut u64,
) -> Result<Visit, NoThread> {
    if !matcher.means(letter, message).await? {
        return Ok(Visit::On);
    }
    *matched += 1;
    loop {
        match visit(LookStep::Letter(letter, message)) {
            // Where it panics, whoever looks learns of it by what is not there.
            Visit::Aside(job) => drop(threads::beside(job).await?),
            visited @ (Visit::On | Visit::Enough) => return Ok(visited),
        }
    }
}
