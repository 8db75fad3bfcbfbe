//! What waits to be published and what is under way, and what goes next over which channel. Pure: time is an argument.
//!
//! A queue that has lost its majority confirms nothing. Worse, the first publication of a channel to it holds up that whole channel for five
//! seconds (the broker makes the channel known to the queue, and waits), and more than 32 that it has not confirmed hold up the whole
//! connection. So a target (a queue, or whatever is behind an exchange) gets one publication at a time until it has confirmed one on the
//! channel, and at most [`SHARE`] after that. A target that does not confirm is silent: the others go on over another main channel, and
//! what goes to silent targets is sent one at a time over a side channel, until it is confirmed. What is under way on a channel that was
//! left may still be confirmed there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use super::port::{Publication, PublishError};
use crate::backoff::{Backoff, Bounds};

/// From taking a publication over to its outcome.
pub(super) const ALLOWED: Duration = Duration::from_secs(10);
/// Unconfirmed publications at a time; the client crate walks all of them at every multiple confirm.
pub(super) const WINDOW: usize = 256;
/// SentTo these to one queue, or of receipts: with more, RabbitMQ holds the connection back (its `quorum_commands_soft_limit`).
pub(super) const SHARE: usize = 32;
/// Where the oldest publication on a channel is not confirmed for so long, its target is silent.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// First and longest pause between side channels: what is not confirmed on one is not waited for on the next, and may be there twice.
const RENEWALS: Bounds = Bounds::doubling(Duration::from_secs(15), Duration::from_mins(5), 0.0);

/// So many publications lie between two main channels that were replaced since a queue refused on one what it took on another.
const REPLACED_EVERY: i64 = 1_000;

/// The two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// For all that is confirmed.
    Main,
    /// For silent targets.
    Side,
}

/// What waits and what is under way.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Most that is under way at a time.
    window: usize,
    waiting: VecDeque<Waiting>,
    under_way: BTreeMap<i64, UnderWay>,
    targets: HashMap<u64, TargetState>,
    last_id: i64,
    main: Channel,
    side: Channel,
    renewal: Renewal,
    /// The last publication before a main channel was replaced since it refuses.
    replaced_at: Option<i64>,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    target: Target,
    publication: Publication,
}

/// Where a publication goes.
#[derive(Clone, Copy, Debug)]
struct Target {
    /// A hash of its name.
    id: u64,
    /// How many may be under way there.
    share: usize,
}

/// SentTo, and somebody waits for its outcome.
#[derive(Debug)]
struct UnderWay {
    due: Instant,
    publication: Publication,
}

/// Where a publication went and over which channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentTo {
    target: u64,
    way: Way,
    channel: u64,
}

impl SentTo {
    /// Over which of the channels.
    pub(super) fn way(self) -> Way {
        self.way
    }
}

/// What is known of a target.
#[derive(Debug, Default)]
struct TargetState {
    /// On the present channel of its way, whether somebody still waits for the outcome or not.
    unconfirmed: usize,
    health: TargetHealth,
    /// The number of the main channel beside which it took something on the side.
    taken_beside: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TargetHealth {
    /// It has confirmed nothing on this channel yet.
    #[default]
    New,
    /// It confirms.
    Good,
    /// It did not confirm, or refused.
    Silent,
}

/// One of the channels. Others replace it.
#[derive(Debug, Default)]
struct Channel {
    /// Counts them: an outcome on an earlier one says nothing of this one.
    number: u64,
    /// What the broker has not answered: when each was sent, and to which target.
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
            targets: HashMap::new(),
            last_id: 0,
            main: Channel::default(),
            side: Channel::default(),
            renewal: Renewal::default(),
            replaced_at: None,
        }
    }

    /// Takes a publication over; its outcome comes within [`ALLOWED`].
    pub(super) fn take(&mut self, publication: Publication, now: Instant) {
        let target = self.target(&publication);
        self.waiting.push_back(Waiting { due: now + ALLOWED, target, publication });
    }

    /// On the default exchange the target is a queue. Behind another exchange may be any number of queues, and only the window limits what is
    /// under way there.
    fn target(&self, publication: &Publication) -> Target {
        let mut hasher = DefaultHasher::new();
        publication.exchange.hash(&mut hasher);
        let share = if publication.exchange.is_empty() {
            publication.routing_key.hash(&mut hasher);
            self.window.min(SHARE)
        } else {
            self.window
        };
        Target { id: hasher.finish(), share }
    }

    /// The next that may be sent that way, and the number under which its confirm is to be told. One whose outcome nobody waits for any
    /// more is passed over.
    pub(super) fn next(&mut self, way: Way, now: Instant) -> Option<(i64, SentTo, &mut Publication)> {
        if way == Way::Main && self.main.is_doubtful {
            return None;
        }
        while self.under_way.len() < self.window {
            let index = self.waiting.iter().position(|waiting| self.may_go(waiting, way))?;
            let Waiting { due, target: Target { id: target, .. }, publication } = self.waiting.remove(index)?;
            if publication.outcome.is_closed() {
                continue;
            }
            self.last_id += 1;
            self.targets.entry(target).or_default().unconfirmed += 1;
            let id = self.last_id;
            let channel = self.channel(way);
            channel.unanswered.insert(id, (now, target));
            let sent_to = SentTo { target, way, channel: channel.number };
            if way == Way::Side {
                self.renewal.set(now);
            }
            let sent = self.under_way.entry(id).or_insert(UnderWay { due, publication });
            return Some((id, sent_to, &mut sent.publication));
        }
        None
    }

    fn may_go(&self, waiting: &Waiting, way: Way) -> bool {
        let Target { id, share } = waiting.target;
        let state = self.targets.get(&id);
        let (unconfirmed, health) = state.map_or((0, TargetHealth::New), |state| (state.unconfirmed, state.health));
        let (its_way, share) = match health {
            // Behind an exchange the window alone limits.
            TargetHealth::New if share > SHARE => (Way::Main, share),
            TargetHealth::New => (Way::Main, 1),
            TargetHealth::Good => (Way::Main, share),
            TargetHealth::Silent => (Way::Side, 1),
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

    /// The broker answered, in time or not; the publication where somebody still waits for its outcome. A channel whose first publication
    /// comes before a queue has its new leader may refuse whatever goes there, for ever (seen on 3.10.8): one that refuses again what was taken
    /// on the side is replaced.
    pub(super) fn answered(&mut self, id: i64, sent_to: SentTo, accepted: bool) -> Option<Publication> {
        if self.is_present(sent_to)
            && let Some(target) = self.targets.get_mut(&sent_to.target)
        {
            let beside = Some(self.main.number);
            match (accepted, sent_to.way) {
                (true, Way::Side) => target.taken_beside = beside,
                (false, Way::Main) if target.taken_beside == beside => {
                    let is_long_ago = self.replaced_at.is_none_or(|at| self.last_id - at >= REPLACED_EVERY);
                    if is_long_ago {
                        self.main.is_doubtful = true;
                        self.replaced_at = Some(self.last_id);
                    }
                }
                (true, Way::Main) | (false, Way::Main | Way::Side) => {}
            }
            target.health = match (accepted, sent_to.way) {
                (true, Way::Main) => TargetHealth::Good,
                (true, Way::Side) => TargetHealth::New,
                (false, Way::Main | Way::Side) => TargetHealth::Silent,
            };
        }
        self.lost(id, sent_to)
    }

    /// It could not be sent after all, or its channel ended before the broker answered.
    pub(super) fn lost(&mut self, id: i64, sent_to: SentTo) -> Option<Publication> {
        if self.is_present(sent_to) {
            self.channel(sent_to.way).unanswered.remove(&id);
            if let Some(target) = self.targets.get_mut(&sent_to.target) {
                target.unconfirmed = target.unconfirmed.saturating_sub(1);
            }
        }
        if !self.targets.values().any(|target| target.health == TargetHealth::Silent) {
            self.renewal = Renewal::default();
        }
        self.under_way.remove(&id).map(|sent| sent.publication)
    }

    /// Whether it went over a present channel.
    pub(super) fn is_present(&self, sent_to: SentTo) -> bool {
        match sent_to.way {
            Way::Main => sent_to.channel == self.main.number,
            Way::Side => sent_to.channel == self.side.number,
        }
    }

    /// What has run out of time. Where the oldest on the main channel is not answered its target is silent: whatever holds that up may
    /// hold up those behind it.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Publication> {
        let oldest = self.main.unanswered.first_key_value().map(|(_, sent)| *sent);
        if let Some((sent, target)) = oldest
            && !self.main.is_doubtful
            && sent + SILENT_AFTER <= now
        {
            self.main.is_doubtful = true;
            self.targets.entry(target).or_default().health = TargetHealth::Silent;
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

    /// When something runs out of time, or a target turns out to be silent.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.front().map(|waiting| waiting.due);
        // SentTo in another order than taken over, where a target had no room.
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

    /// Whether something that is not confirmed keeps more from going to a silent target.
    fn is_silence_held_up(&self) -> bool {
        let held_up = |target: &TargetState| target.health == TargetHealth::Silent && target.unconfirmed > 0;
        !self.side.unanswered.is_empty() || self.targets.values().any(held_up)
    }

    /// Another channel takes over. What is under way stays with the earlier one, which has until [`ALLOWED`] from now for it.
    pub(super) fn begin_channel(&mut self, way: Way) {
        let channel = self.channel(way);
        *channel = Channel { number: channel.number + 1, ..Channel::default() };
        if way == Way::Side {
            self.renewal.due = None;
        }
        self.targets.retain(|_, target| match (way, target.health) {
            (Way::Main, TargetHealth::Silent) | (Way::Side, TargetHealth::New | TargetHealth::Good) => true,
            (Way::Main, TargetHealth::New | TargetHealth::Good) => false,
            (Way::Side, TargetHealth::Silent) => {
                target.unconfirmed = 0;
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
