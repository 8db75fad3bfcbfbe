//! Looks at the dead letters and the trash of every destination, and at unrouted events. Does not disturb an operation at work: where that lets
//! nobody look, it is said.

use std::ops::ControlFlow;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use super::{Bounds, Finder, Search};
use crate::broker::ReadError;
use crate::clock;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::letter::{Letter, routing_key};
use crate::dead_letters::look::{LookError, LookStep, no_progress};
use crate::dead_letters::{DeadLetters, Pile};
use crate::event::{self, Glance};
use crate::message::{Field, Message, header};
use crate::record::history::History;
use crate::unrouted::{Unrouted, UnroutedEvent};

/// Piles that are looked at at once: each look has a connection of its own.
const AT_ONCE: usize = 4;
/// Letters of one pile that are told.
const MOST: usize = 200;

/// A letter that is meant.
#[derive(Clone, Debug)]
pub(super) struct FoundLetter {
    pub letter: Letter,
    pub is_trash: bool,
    pub id: String,
    pub source: String,
    /// What was tried, and how many attempts in their middle were left out.
    pub history: History,
    /// When a worker took it first, where that is known.
    pub received: Option<Timestamp>,
}

/// What lies there.
#[derive(Debug, Default)]
pub(super) struct Piles {
    pub letters: Vec<FoundLetter>,
    pub unrouted: Vec<UnroutedEvent>,
    pub notes: Vec<String>,
    pub is_complete: bool,
}

impl Finder {
    /// Looks at all of them, until that time at most.
    pub(super) async fn look_at_piles(&self, search: &Search, bounds: Bounds, until: Instant) -> Piles {
        let mut piles = Piles { is_complete: true, ..Piles::default() };
        let both = |name: &String| [(name.clone(), Pile::Dead), (name.clone(), Pile::Trash)];
        let all: Vec<(DeadLetters, Pile)> = self
            .destinations
            .keys()
            .flat_map(both)
            .map(|(destination, pile)| (DeadLetters { broker: self.broker.clone(), destination, history: None }, pile))
            .collect();
        let queues: Vec<String> = all.iter().map(|(letters, pile)| letters.queue(*pile)).collect();
        let depths = match self.broker.depths(&queues).await {
            Ok(depths) => depths,
            Err(error) => {
                piles.fail(format!("no dead letters could be looked at: {error}"));
                return piles;
            }
        };
        let (finder, wanted) = (self.clone(), search.clone());
        let unrouted = tokio::spawn(async move { finder.look_at_unrouted(&wanted, bounds).await });
        let looks = all.into_iter().zip(depths).map(async |((letters, pile), depth)| {
            // What somebody reads at the moment is not ready.
            let is_empty = match depth {
                None => true,
                Some(0) => !self.broker.is_read(&letters.queue(pile)).await.unwrap_or(true),
                Some(_) => false,
            };
            let destination = letters.destination.clone();
            if is_empty {
                return (destination, pile, Ok(Vec::new()));
            }
            // On its own: a pass that is dropped half way leaves the letters in another order.
            let (finder, search) = (self.clone(), search.clone());
            let look = tokio::spawn(async move { finder.look_at(&letters, pile, &search, bounds).await });
            (destination, pile, look.await.unwrap_or_else(|failed| Err(failed.to_string())))
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        let all_looks = async {
            while let Some((destination, pile, found)) = looks.next().await {
                match found {
                    Ok(letters) => piles.letters.extend(letters),
                    Err(why) => piles.fail(format!("{} of {destination}: {why}", name(pile))),
                }
            }
        };
        let in_time = tokio::time::timeout_at(until.into(), async { tokio::join!(all_looks, unrouted) }).await;
        match in_time {
            Ok(((), Ok(Ok(unrouted)))) => piles.unrouted = unrouted,
            Ok(((), Ok(Err(ReadError::Missing(_))))) => {}
            Ok(((), Ok(Err(error)))) => piles.fail(format!("unrouted events: {error}")),
            Ok(((), Err(failed))) => piles.fail(format!("unrouted events: {failed}")),
            Err(_) => piles.fail("not all dead letters and unrouted events could be looked at in time".to_owned()),
        }
        piles
    }

    async fn look_at(
        &self,
        letters: &DeadLetters,
        pile: Pile,
        search: &Search,
        bounds: Bounds,
    ) -> Result<Vec<FoundLetter>, String> {
        let filter = Filter { id: search.ids.clone(), ..Filter::default() };
        let matcher = filter.compile(clock::wall()).map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        let looked = letters.look(pile, &matcher, bounds.patience, &no_progress, |step| {
            match step {
                LookStep::Anew => found.clear(),
                LookStep::Letter(letter, message) => found.extend(self.found(letter, pile, message, search)),
            }
            if found.len() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match looked.await {
            Ok(_) | Err(LookError::Read(ReadError::Missing(_))) => Ok(found),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The letter, where it is meant.
    fn found(&self, letter: &Letter, pile: Pile, message: &Message, search: &Search) -> Option<FoundLetter> {
        let key = routing_key(message).unwrap_or_default();
        let glance = Glance::at(message, &key, usize::MAX);
        let id = letter.event_id.clone().unwrap_or(glance.id);
        let died_since = search.since.is_none_or(|since| letter.dead_lettered_at.is_none_or(|at| at >= since));
        if !died_since || !search.means(&id, &glance.source, || event::subject(message)) {
            return None;
        }
        let received = message.properties.headers.get(header::RECEIVED).and_then(Field::as_str);
        Some(FoundLetter {
            letter: letter.clone(),
            is_trash: pile == Pile::Trash,
            id,
            source: glance.source,
            history: History::read(message, &key, clock::wall()),
            received: received.and_then(|time| time.parse().ok()),
        })
    }

    async fn look_at_unrouted(&self, search: &Search, bounds: Bounds) -> Result<Vec<UnroutedEvent>, ReadError> {
        let unrouted = Unrouted { broker: self.broker.clone(), max_event_bytes: self.max_event_bytes, history: None };
        if self.broker.depths(&[unrouted.queue()]).await.is_ok_and(|depths| depths == [Some(0)])
            && !self.broker.is_read(&unrouted.queue()).await.unwrap_or(true)
        {
            return Ok(Vec::new());
        }
        let means = |event: &UnroutedEvent, message: &Message| {
            search.means(&event.id, &event.source, || event::subject(message))
        };
        unrouted.find(means, MOST, bounds.patience).await
    }
}

impl Piles {
    fn fail(&mut self, why: String) {
        self.is_complete = false;
        self.notes.push(why);
    }
}

fn name(pile: Pile) -> &'static str {
    match pile {
        Pile::Dead => "dead letters",
        Pile::Trash => "trash",
    }
}
