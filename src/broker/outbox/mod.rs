//! What waits to be published and what is under way, and what goes next over which channel. Pure: time is an argument.
//!
//! A queue that has lost its majority confirms nothing. Worse, the first publication of a channel to it holds that whole channel up for five
//! seconds (the broker makes the channel known to the queue, and waits), and over 32 that it has not confirmed hold up the whole
//! connection. So a place gets one at a time until it has confirmed one on the channel, and at most [`SHARE`] after that. One that
//! does not confirm is silent: the others go on over another main channel, and what goes to silent places is sent one at a time over a
//! side channel, until it is confirmed. What is under way on a channel that was left may still be confirmed there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use super::port::{Publication, PublishError};
use crate::backoff::{Backoff, Bounds};

/// From taking a publication over to its outcome.
pub(super) const ALLOWED: Duration = Duration::from_secs(10);
/// Unconfirmed publications at a time; the client crate walks all of them at every multiple confirm.
pub(super) const WINDOW: usize = 256;
/// Of these to one queue, or of receipts: with more, RabbitMQ holds the connection back (its `quorum_commands_soft_limit`).
pub(super) const SHARE: usize = 32;
/// The oldest that is under way on a channel says after so long that its place is silent.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// First and longest pause between side channels: what is not confirmed on one is not waited for on the next, and may be there twice.
const RENEWALS: Bounds = Bounds::doubling(Duration::from_secs(15), Duration::from_mins(5), 0.0);

/// The two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// For all that is confirmed.
    Main,
    /// For places that are silent.
    Side,
}

/// What waits and what is under way.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Most that is under way at a time.
    window: usize,
    waiting: VecDeque<Waiting>,
    under_way: BTreeMap<i64, UnderWay>,
    places: HashMap<u64, Place>,
    last_id: i64,
    main: Channel,
    side: Channel,
    renewal: Renewal,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    to: To,
    publication: Publication,
}

/// A queue, or whatever is behind an exchange; and how many may be under way there.
#[derive(Clone, Copy, Debug)]
struct To {
    place: u64,
    share: usize,
}

/// Sent, and somebody waits for its outcome.
#[derive(Debug)]
struct UnderWay {
    due: Instant,
    publication: Publication,
}

/// Where a publication went and over which channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of {
    place: u64,
    way: Way,
    channel: u64,
}

impl Of {
    /// Over which of the channels.
    pub(super) fn way(self) -> Way {
        self.way
    }
}

/// What is known of where publications go.
#[derive(Debug, Default)]
struct Place {
    /// On the present channel of its way, whether somebody still waits for the outcome or not.
    unconfirmed: usize,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// It has confirmed nothing on this channel yet.
    #[default]
    New,
    /// It confirms.
    Good,
    /// It did not confirm, or refused.
    Silent,
}

/// One of the channels, which others replace.
#[derive(Debug, Default)]
struct Channel {
    /// Counts them: what is told of an earlier one says nothing of this one.
    number: u64,
    /// When each was sent, and to which place, of what the broker has not answered.
    unanswered: BTreeMap<i64, (Instant, u64)>,
    /// It may be held up: another is wanted.
    is_doubtful: bool,
}

/// When the side channel is to be replaced.
#[derive(Debug)]
struct Renewal {
    backoff: Backoff,
    due: Option<Instant>,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { backoff: Backoff::new(RENEWALS), due: None }
    }
}

impl Renewal {
    /// It is due after a pause, unless it is already to be.
    fn set(&mut self, now: Instant) {
        self.due.get_or_insert_with(|| now + self.backoff.pause());
    }
}

impl Outbox {
    pub(super) fn new(window: usize) -> Self {
        Self {
            window,
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            places: HashMap::new(),
            last_id: 0,
            main: Channel::default(),
            side: Channel::default(),
            renewal: Renewal::default(),
        }
    }

    /// Takes a publication over; its outcome comes within [`ALLOWED`].
    pub(super) fn take(&mut self, publication: Publication, now: Instant) {
        let to = self.to(&publication);
        self.waiting.push_back(Waiting { due: now + ALLOWED, to, publication });
    }

    /// On the default exchange the queue is known; behind another one may be any, and it is for the window to keep that to a measure.
    fn to(&self, publication: &Publication) -> To {
        let mut hasher = DefaultHasher::new();
        publication.exchange.hash(&mut hasher);
        let share = if publication.exchange.is_empty() {
            publication.routing_key.hash(&mut hasher);
            self.window.min(SHARE)
        } else {
            self.window
        };
        To { place: hasher.finish(), share }
    }

    /// The next that may be sent that way, and the number under which its confirm is to be told. Whoever gave up waiting for one is
    /// passed over.
    pub(super) fn next(&mut self, way: Way, now: Instant) -> Option<(i64, Of, &mut Publication)> {
        if way == Way::Main && self.main.is_doubtful {
            return None;
        }
        while self.under_way.len() < self.window {
            let index = self.waiting.iter().position(|waiting| self.may_go(waiting, way))?;
            let Waiting { due, to: To { place, .. }, publication } = self.waiting.remove(index)?;
            if publication.outcome.is_closed() {
                continue;
            }
            self.last_id += 1;
            self.places.entry(place).or_default().unconfirmed += 1;
            let id = self.last_id;
            let channel = self.channel(way);
            channel.unanswered.insert(id, (now, place));
            let of = Of { place, way, channel: channel.number };
            if way == Way::Side {
                self.renewal.set(now);
            }
            let sent = self.under_way.entry(id).or_insert(UnderWay { due, publication });
            return Some((id, of, &mut sent.publication));
        }
        None
    }

    fn may_go(&self, waiting: &Waiting, way: Way) -> bool {
        let place = self.places.get(&waiting.to.place);
        let (unconfirmed, standing) = place.map_or((0, Standing::New), |place| (place.unconfirmed, place.standing));
        let (its_way, share) = match standing {
            // What is behind an exchange is for the window.
            Standing::New if waiting.to.share > SHARE => (Way::Main, waiting.to.share),
            Standing::New => (Way::Main, 1),
            Standing::Good => (Way::Main, waiting.to.share),
            Standing::Silent => (Way::Side, 1),
        };
        way == its_way && (unconfirmed < share || waiting.publication.outcome.is_closed())
    }

    fn channel(&mut self, way: Way) -> &mut Channel {
        match way {
            Way::Main => &mut self.main,
            Way::Side => &mut self.side,
        }
    }

    /// Whether something waits for a side channel, where there is none.
    pub(super) fn wants_side(&self, now: Instant) -> bool {
        self.wants_channel(Way::Side, now) || self.waiting.iter().any(|waiting| self.may_go(waiting, Way::Side))
    }

    /// Takes one out that could not be sent after all.
    pub(super) fn unsent(&mut self, id: i64, of: Of) -> Option<Publication> {
        self.lost(id, of)
    }

    /// The broker answered, in time or not; the publication where somebody still waits for its outcome.
    pub(super) fn answered(&mut self, id: i64, of: Of, accepted: bool) -> Option<Publication> {
        if self.is_present(of)
            && let Some(place) = self.places.get_mut(&of.place)
        {
            place.standing = match (accepted, of.way) {
                (true, Way::Main) => Standing::Good,
                (true, Way::Side) => Standing::New,
                (false, Way::Main | Way::Side) => Standing::Silent,
            };
        }
        self.lost(id, of)
    }

    /// Its channel ended before the broker answered.
    pub(super) fn lost(&mut self, id: i64, of: Of) -> Option<Publication> {
        if self.is_present(of) {
            self.channel(of.way).unanswered.remove(&id);
            if let Some(place) = self.places.get_mut(&of.place) {
                place.unconfirmed = place.unconfirmed.saturating_sub(1);
            }
        }
        if !self.places.values().any(|place| place.standing == Standing::Silent) {
            self.renewal = Renewal::default();
        }
        self.under_way.remove(&id).map(|sent| sent.publication)
    }

    /// Whether `of` says something of a present channel.
    pub(super) fn is_present(&self, of: Of) -> bool {
        match of.way {
            Way::Main => of.channel == self.main.number,
            Way::Side => of.channel == self.side.number,
        }
    }

    /// What has run out of time. The oldest on the main channel that is not answered has a silent place: whatever holds that up may hold
    /// up those behind it.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Publication> {
        let oldest = self.main.unanswered.first_key_value().map(|(_, sent)| *sent);
        if let Some((sent, place)) = oldest
            && !self.main.is_doubtful
            && sent + SILENT_AFTER <= now
        {
            self.main.is_doubtful = true;
            self.places.entry(place).or_default().standing = Standing::Silent;
            // What is under way there is not waited for any longer than on a side channel.
            self.renewal.set(now);
        }
        let mut expired = Vec::new();
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.due <= now) {
            expired.push(waiting.publication);
        }
        expired.extend(self.under_way.extract_if(.., |_, sent| sent.due <= now).map(|(_, sent)| sent.publication));
        expired
    }

    /// When something runs out of time, or a place turns out to be silent.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.front().map(|waiting| waiting.due);
        // Sent in another order than taken over, where a place had no room.
        let under_way = self.under_way.values().map(|sent| sent.due).min();
        let oldest = self.main.unanswered.values().next().filter(|_| !self.main.is_doubtful);
        let renewal = self.renewal.due.filter(|at| *at > now && self.is_silence_held_up());
        [waiting, under_way, oldest.map(|(sent, _)| *sent + SILENT_AFTER), renewal].into_iter().flatten().min()
    }

    /// Whether another channel should take this one's place.
    pub(super) fn wants_channel(&self, way: Way, now: Instant) -> bool {
        match way {
            Way::Main => self.main.is_doubtful,
            Way::Side => self.is_silence_held_up() && self.renewal.due.is_some_and(|at| at <= now),
        }
    }

    /// Whether something that is not confirmed keeps more from going to a silent place.
    fn is_silence_held_up(&self) -> bool {
        let held_up = |place: &Place| place.standing == Standing::Silent && place.unconfirmed > 0;
        !self.side.unanswered.is_empty() || self.places.values().any(held_up)
    }

    /// Another channel takes over. What is under way stays with the earlier one, which has until [`ALLOWED`] from now for it.
    pub(super) fn begin_channel(&mut self, way: Way) {
        let channel = self.channel(way);
        *channel = Channel { number: channel.number + 1, ..Channel::default() };
        if way == Way::Side {
            self.renewal.due = None;
        }
        self.places.retain(|_, place| match (way, place.standing) {
            (Way::Main, Standing::Silent) | (Way::Side, Standing::New | Standing::Good) => true,
            (Way::Main, Standing::New | Standing::Good) => false,
            (Way::Side, Standing::Silent) => {
                place.unconfirmed = 0;
                true
            }
        });
    }

    /// Passes over what nobody waits for any more.
    pub(super) fn forget_unwanted(&mut self) {
        self.waiting.retain(|waiting| !waiting.publication.outcome.is_closed());
        self.under_way.retain(|_, sent| !sent.publication.outcome.is_closed());
    }

    /// All that was under way: it may be there or not.
    pub(super) fn lose_all(&mut self) -> impl Iterator<Item = Publication> + use<> {
        std::mem::take(&mut self.under_way).into_values().map(|sent| sent.publication)
    }

    /// Whether there is nothing left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }
}

/// The outcome of what has run out of time.
pub(super) fn timed_out() -> PublishError {
    PublishError::TimedOut(ALLOWED)
}

#[cfg(test)]
mod tests;
