//! Looking at a destination's dead letters: one pass over those that are there when it begins. Changes nothing.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;

use super::filter::Matcher;
use super::letter::Letter;
use super::{DeadLetters, Pile};
use crate::broker::{Order, Purpose, Reader, TurnError};
use crate::clock;
use crate::message::Message;

/// How long a broker that is away is waited for, from when it was lost.
const AWAY: Duration = Duration::from_secs(30);
/// Between tries to reach it.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// What a pass saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Letters that were there when it began: these and no others were looked at.
    pub there: u32,
    /// How many of them the filter meant, as far as the pass went.
    pub matched: u64,
    /// What the filter could not do, where it failed on letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Told from time to time: letters read, and how many there are.
pub type Progress<'a> = &'a (dyn Fn(u32, u32) + Send + Sync);

/// For whom progress does not matter.
pub fn no_progress(_: u32, _: u32) {}

/// What a pass shows to whoever looks.
#[derive(Debug)]
pub enum Shown<'a> {
    /// The pass begins, maybe once more: what was seen before counts no more.
    Anew,
    /// A letter that the filter means, and the message that it is.
    Letter(&'a Letter, &'a Message),
}

impl DeadLetters {
    /// Shows each letter that `matcher` means to `visit`, in order, until that breaks off. Where the broker is lost on the way, or the order
    /// had to be mended after a reader that was killed, the pass is made anew.
    ///
    /// # Errors
    /// [`TurnError`] when somebody else reads for all of `patience`, or the broker is away for long.
    pub async fn look(
        &self,
        pile: Pile,
        matcher: &Matcher,
        patience: Duration,
        progress: Progress<'_>,
        mut visit: impl FnMut(Shown<'_>) -> ControlFlow<()> + Send,
    ) -> Result<Seen, TurnError> {
        let mut lost_since = None;
        let mut mended = false;
        loop {
            if visit(Shown::Anew).is_break() {
                return Ok(Seen::default());
            }
            match self.pass(pile, matcher, patience, progress, &mut visit).await {
                Ok((_, Order::Mended)) if !mended => mended = true,
                Ok((seen, _)) => return Ok(seen),
                Err(error @ (TurnError::Missing(_) | TurnError::Busy { .. })) => return Err(error),
                Err(error @ (TurnError::Broken { .. } | TurnError::Connect(_))) => {
                    let since = *lost_since.get_or_insert_with(clock::now);
                    if clock::now().saturating_duration_since(since) > AWAY {
                        return Err(error);
                    }
                    clock::sleep(TRY_EVERY).await;
                }
            }
        }
    }

    async fn pass(
        &self,
        pile: Pile,
        matcher: &Matcher,
        patience: Duration,
        progress: Progress<'_>,
        visit: &mut (impl FnMut(Shown<'_>) -> ControlFlow<()> + Send),
    ) -> Result<(Seen, Order), TurnError> {
        let reader = self.broker.reader().await?;
        let passed = self.pass_with(&reader, pile, matcher, patience, progress, visit).await;
        reader.close().await;
        passed
    }

    async fn pass_with(
        &self,
        reader: &Reader,
        pile: Pile,
        matcher: &Matcher,
        patience: Duration,
        progress: Progress<'_>,
        visit: &mut (impl FnMut(Shown<'_>) -> ControlFlow<()> + Send),
    ) -> Result<(Seen, Order), TurnError> {
        let mut turn = reader.turn(&self.queue(pile), Purpose::Look, patience).await?;
        let mut seen = Seen { there: turn.count(), ..Seen::default() };
        let mut read = 0;
        progress(read, seen.there);
        while let Some(delivery) = turn.next().await? {
            read += 1;
            progress(read, seen.there);
            let letter = Letter::read(&delivery.message, &self.destination);
            let goes_on = if matcher.matches(&letter, &delivery.message) {
                seen.matched += 1;
                visit(Shown::Letter(&letter, &delivery.message))
            } else {
                ControlFlow::Continue(())
            };
            turn.keep(delivery);
            if goes_on.is_break() {
                break;
            }
        }
        let order = turn.end().await?;
        seen.trouble = matcher.trouble();
        Ok((seen, order))
    }
}
