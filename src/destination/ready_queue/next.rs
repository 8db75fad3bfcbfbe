//! Which of those that wait goes next.

use std::time::Instant;

use super::{QueuePlace, ReadyQueue};
use crate::destination::check::{Held, Pending};
use crate::gate::Free;

/// Which event to pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::destination) enum Pick {
    /// The first.
    First,
    /// The first of those that are replays, or follow one in their ordering key.
    Replayed,
    /// The last of those whose credentials were not refused, replays after others: they tell whether the account's are, and what stands
    /// far from the first is more likely to be of another kind.
    Others,
    /// To find out whether a vendor is still in trouble: one that met with the least trouble before. Those that the vendor always
    /// chokes on would tell nothing.
    Probe,
}

/// What can be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::destination) enum Ready<Place = QueuePlace> {
    /// Something to send now.
    Now(Place),
    /// Something from then on.
    At(Instant),
    /// Nothing: it is empty, or every ordering key waits for an answer.
    Nothing,
}

impl ReadyQueue {
    /// The first that `wanted` asks for and that may be sent, where `free` tells of each ordering key whether it lets one through; else from when on
    /// anything may be. Before `free` tells that an ordering key is free sooner than it told, [`ReadyQueue::look_at_key`] has to be called.
    pub fn next(&mut self, wanted: Pick, now: Instant, free: impl Fn(&str) -> Free) -> Ready {
        match wanted {
            Pick::First => self.next_from(QueuePlace::FIRST, now, free),
            Pick::Replayed => self.next_from(QueuePlace::FIRST_REPLAYED, now, free),
            Pick::Others => self.next_of_others(now, free),
            Pick::Probe => self.next_probe(now, free),
        }
    }

    fn next_from(&mut self, from: QueuePlace, now: Instant, free: impl Fn(&str) -> Free) -> Ready {
        while let Some(place) = self.heads.first_open(from, now) {
            let Some(event) = self.event(place) else { return Ready::Nothing };
            match may_go(event, now, &free) {
                Free::Now => return Ready::Now(place),
                Free::At(until) => self.heads.close(place, Some(until)),
                Free::Busy => self.heads.close(place, None),
            }
        }
        self.heads.next_time().map_or(Ready::Nothing, Ready::At)
    }

    /// Looks at all that have a turn, from the last on: few are held for long where that is asked for.
    fn next_of_others(&self, now: Instant, free: impl Fn(&str) -> Free) -> Ready {
        let (mut at, mut replay) = (None, None);
        for (place, event) in self.with_turn().rev().filter(|(_, event)| !event.refused) {
            match may_go(event, now, &free) {
                Free::Now if event.replay => replay = replay.or(Some(place)),
                Free::Now => return Ready::Now(place),
                Free::At(until) => at = at.into_iter().chain([until]).min(),
                Free::Busy => {}
            }
        }
        replay.map_or_else(|| at.map_or(Ready::Nothing, Ready::At), Ready::Now)
    }

    /// Looks at all that have a turn, up to the first that met with no trouble.
    fn next_probe(&self, now: Instant, free: impl Fn(&str) -> Free) -> Ready {
        let mut best: Option<((bool, bool, u32), QueuePlace)> = None;
        let mut at = None;
        for (place, event) in self.with_turn() {
            match key_is_free(event, &free) {
                Free::Now => {
                    let trouble = (event.refused, event.rests_until.is_some_and(|until| until > now), event.troubles);
                    if trouble == (false, false, 0) {
                        return Ready::Now(place);
                    }
                    if best.is_none_or(|(least, _)| trouble < least) {
                        best = Some((trouble, place));
                    }
                }
                Free::At(until) => at = at.into_iter().chain([until]).min(),
                Free::Busy => {}
            }
        }
        best.map_or_else(|| at.map_or(Ready::Nothing, Ready::At), |(_, place)| Ready::Now(place))
    }

    /// What has a turn, in its order: of a part the first event.
    fn with_turn(&self) -> impl DoubleEndedIterator<Item = (QueuePlace, &Held)> {
        let parts = self.parts.iter().filter_map(|(place, part)| Some((*place, part.events.first()?)));
        let singles = self.singles.iter().map(|(place, event)| (*place, event));
        parts.chain(singles).filter(|(place, _)| self.heads.has_turn(*place))
    }

    /// An ordering key may be free sooner than was told of it.
    pub fn look_at_key(&mut self, ordering_key: &str) {
        self.heads.look_at_key(ordering_key);
    }
}

/// Whether an event may go that has a turn.
fn may_go(event: &Pending, now: Instant, free: impl Fn(&str) -> Free) -> Free {
    match (key_is_free(event, free), event.rests_until) {
        (Free::Now, Some(until)) if until > now => Free::At(until),
        (free, _) => free,
    }
}

fn key_is_free(event: &Pending, free: impl Fn(&str) -> Free) -> Free {
    event.item.ordering_key.as_deref().map_or(Free::Now, free)
}
