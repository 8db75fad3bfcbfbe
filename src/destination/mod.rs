//! One destination at work: deliveries come in (`intake`), wait (`line`) for the gate (`admit`), travel, are judged and settled.
//!
//! One task drives it all, so that the gate needs no lock; requests and publications run beside each other inside it.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use lru::LruCache;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::broker::Names;
use crate::broker::port::{Appetite, Delivery, Inbox, Publisher};
use crate::clock;
use crate::config;
use crate::delivery::Transport;
use crate::delivery::token::Tokens;
use crate::gate::{Gate, Lanes, Policy, State};
use crate::metrics::DestinationMetrics;
use crate::receipts::Receipts;
use crate::vendors::Batching;
use crate::verdict::Settlement;

mod admit;
mod attempt;
mod batch;
mod before;
mod command;
mod doubt;
mod errands;
mod handover;
mod hold;
mod intake;
mod invalid;
mod jobs;
mod judge;
mod line;
mod lookups;
mod machine;
mod notice;
mod outcome;
pub mod recent;
mod rule;
mod settle;
mod settling;
mod stop;
mod taking;

pub use command::{Command, Handle, Ordered, View};
pub use handover::Handover;

use crate::control::stamp::Orders;
use crate::record::history::History;
use attempt::Attempted;
use doubt::Doubts;
use hold::{Aside, Mood, Outlook, Room};
use intake::Pending;
use invalid::Invalids;
use jobs::Jobs;
use line::Line;
use lookups::Lookups;
use machine::Machine;
use notice::{Notices, Word};
use recent::Recent;
use settle::Desk;

/// Time for requests in flight to finish when the worker stops: of the ten seconds that there are, two are for what then has to reach
/// the broker.
pub const STOP_WITHIN: Duration = Duration::from_secs(8);
/// Deliveries that are taken, and answers that are judged, before anything else is looked at.
const TAKEN_AT_ONCE: usize = 32;
/// How often gauges are set and old deliveries looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How many events just delivered are remembered, in case the broker lost their acks and sends them again.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// What a destination works with.
pub struct Parts {
    /// Its section of the configuration.
    pub settings: config::Destination,
    /// What is at the broker under which name.
    pub names: Names,
    /// The largest body accepted, in bytes.
    pub max_event_bytes: usize,
    /// How often the broker gives a message back before it dead-letters it.
    pub delivery_limit: u32,
    /// Its queue.
    pub inbox: Inbox,
    /// Where retries and dead letters go.
    pub publisher: Publisher,
    /// How requests are sent.
    pub transport: Arc<dyn Transport>,
    /// Where it counts.
    pub metrics: DestinationMetrics,
    /// Where it tells what became of events, if anywhere.
    pub receipts: Option<Receipts>,
    /// Pause, resume, limits, status.
    pub commands: mpsc::Receiver<Command>,
    /// Cancelled to stop.
    pub stop: CancellationToken,
    /// Cancelled when the whole worker stops: then what is in flight gets [`STOP_WITHIN`], else as long as a request may take.
    pub ending: CancellationToken,
}

/// Drives a destination until it is stopped; returns what its successor has to know.
pub async fn drive(parts: Parts, before: Handover) -> Handover {
    let mut driver = Driver::new(parts, before);
    let driven = AssertUnwindSafe(async {
        driver.run().await;
        driver.finish().await;
    });
    // Whoever starts it again must not forget a pause or what was spent of the day.
    if driven.catch_unwind().await.is_err() {
        tracing::error!(destination = driver.settings.name, "a destination failed; this is a bug in Sluice");
    }
    let (now, wall) = (clock::now(), clock::wall());
    Handover {
        ledger: driver.gate.ledger(now, wall),
        tokens: driver.tokens.as_ref().map(|tokens| tokens.stored(now, wall)),
        recent: driver.recent,
        orders: driver.orders,
    }
}

struct Driver {
    settings: config::Destination,
    max_event_bytes: usize,
    inbox: Inbox,
    transport: Arc<dyn Transport>,
    metrics: DestinationMetrics,
    recent: Recent,
    orders: Orders,
    commands: mpsc::Receiver<Command>,
    stop: CancellationToken,
    ending: CancellationToken,
    desk: Arc<Desk>,
    gate: Gate,
    batching: Batching,
    lanes: Lanes,
    /// None where the vendor wants no access tokens.
    tokens: Option<Tokens>,
    /// Where they are kept. None where there is no such file, or where what lies there could not be read.
    token_file: Option<PathBuf>,
    /// A new token on its way to its file: nothing is sent before.
    keeping: FuturesUnordered<BoxFuture<'static, ()>>,
    lookups: Lookups,
    invalids: Invalids,
    jobs: Jobs,
    /// Whether the place before this one went to a question about a job.
    asked_about_job: bool,
    line: Line,
    attempts: FuturesUnordered<BoxFuture<'static, Attempted>>,
    /// What is on its way to the broker, with the bytes that it holds.
    settling: FuturesUnordered<BoxFuture<'static, (usize, Option<Word>)>>,
    aside: Aside,
    /// Whether a request waits for proof that the broker is still there.
    is_unproven: bool,
    /// Word on its way to whoever replayed an event.
    notices: Notices,
    delivered: LruCache<u64, ()>,
    /// Whether the answer before said that the vendor is in trouble, and for which event it was.
    troubled: Option<Option<u64>>,
    doubts: Doubts,
    /// When a request last went well or was rejected for what was in it.
    went_well: Option<Timestamp>,
    /// What this machine lacks, if anything.
    machine: Machine,
    /// When the gate said to ask again.
    next_place: Option<Instant>,
    /// When something beside the gate may let a request through.
    next_turn: Option<Instant>,
    /// The oldest of what was given back to the queue, as long as nothing is taken from it again.
    left_behind: Option<Timestamp>,
    /// Nothing is held before then: the next place is far away.
    resting_until: Option<Instant>,
    mood: Mood,
    /// Cancelled when requests in flight must not be waited for any longer.
    hurry: CancellationToken,
    room: Room,
    swept: Instant,
    /// What the appetite was last worked out for.
    held_for: Option<(Mood, Option<f64>, usize, u16, bool, u16)>,
    /// How many deliveries are held at most while none has to be put aside.
    usual: u16,
}

impl Driver {
    fn new(parts: Parts, before: Handover) -> Self {
        let (now, wall) = (clock::now(), clock::wall());
        let settings = parts.settings;
        let batching = settings.vendor.batching();
        let (tokens, token_file) = errands::tokens(&settings, before.tokens, now, wall);
        let notices = Notices::new(parts.publisher.clone());
        let desk = Desk {
            destination: settings.name.clone(),
            names: parts.names,
            publisher: parts.publisher,
            metrics: parts.metrics.clone(),
            receipts: parts.receipts,
            delivery_limit: parts.delivery_limit,
            leaving: CancellationToken::new(),
            trouble: Mutex::default(),
        };
        Self {
            gate: Gate::new(&settings.limits, policy(&settings, batching), &before.ledger, now, wall),
            batching,
            lanes: Lanes::new(settings.vendor.lane_limit(), now),
            tokens,
            token_file,
            keeping: FuturesUnordered::new(),
            lookups: Lookups::default(),
            invalids: Invalids::default(),
            jobs: Jobs::default(),
            asked_about_job: false,
            settings,
            max_event_bytes: parts.max_event_bytes,
            inbox: parts.inbox,
            transport: parts.transport,
            metrics: parts.metrics,
            recent: before.recent,
            orders: before.orders,
            commands: parts.commands,
            stop: parts.stop,
            ending: parts.ending,
            desk: Arc::new(desk),
            line: Line::default(),
            attempts: FuturesUnordered::new(),
            settling: FuturesUnordered::new(),
            aside: Aside::default(),
            is_unproven: false,
            notices,
            delivered: LruCache::new(REMEMBERED.max(two_of(batching))),
            troubled: None,
            doubts: Doubts::default(),
            went_well: None,
            machine: Machine::default(),
            next_place: None,
            next_turn: None,
            left_behind: None,
            resting_until: None,
            mood: Mood::Open,
            hurry: CancellationToken::new(),
            room: Room::new(batching.items),
            swept: now,
            held_for: None,
            usual: 0,
        }
    }

    async fn run(&mut self) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        let mut stopped = std::pin::pin!(stop.cancelled());
        loop {
            self.admit();
            self.hold();
            let next = self.next_place.or(self.next_turn);
            tokio::select! {
                biased;
                () = &mut stopped => return,
                Some(attempted) = self.attempts.next(), if !self.attempts.is_empty() => self.judge_with_others(attempted),
                Some(settled) = self.settling.next(), if !self.settling.is_empty() => self.settled(settled),
                Some(()) = self.keeping.next(), if !self.keeping.is_empty() => {}
                () = wait_until(next), if next.is_some() => (self.next_place, self.next_turn) = (None, None),
                () = self.notices.sent(), if !self.notices.is_empty() => {}
                _ = housekeeping.tick() => self.sweep(),
                Ok(()) = self.inbox.consuming.changed() => {}
                () = self.inbox.proof.renewed(), if self.is_unproven => {}
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                delivery = self.inbox.deliveries.recv() => match delivery {
                    Some(delivery) => self.take_with_others(delivery),
                    None => return,
                },
            }
        }
    }

    /// An answer, and those that came with it.
    fn judge_with_others(&mut self, attempted: Attempted) {
        self.judge(attempted);
        for _ in 1..TAKEN_AT_ONCE {
            match self.attempts.next().now_or_never() {
                Some(Some(attempted)) => self.judge(attempted),
                Some(None) | None => return,
            }
        }
    }

    /// Holds as many deliveries as the gate can use, and gives the others back.
    fn hold(&mut self) {
        let now = clock::now();
        let far =
            [self.next_place, self.gate.opens_at(now)].into_iter().flatten().filter_map(|at| hold::rest(at, now)).max();
        self.resting_until = far.or(self.resting_until.filter(|until| *until > now));
        let outlook = Outlook {
            open: self.gate.state(now) == State::Open,
            paused: self.gate.is_paused(),
            closed_for_long: self.gate.closed_for_long(now),
            resting_until: self.resting_until,
        };
        self.mood = self.mood.next(outlook, now);
        let (mood, pace, concurrency) = (self.mood, self.gate.pace_about(), self.gate.concurrency_soon());
        // While the consumer is there, the broker would send at once what is given back. And what is out may come back, and then it is
        // before the rest of its lane.
        let consuming = *self.inbox.consuming.borrow();
        if mood != Mood::Open && !consuming && !self.lanes.is_busy() {
            self.release_beyond(mood.keeps());
        }
        let room = match *self.inbox.appetite.borrow() {
            Appetite::Prefetch(_) if self.batching.items > 1 => self.room.adapt(self.held(), self.usual),
            Appetite::Prefetch(_) | Appetite::None => 0,
        };
        // What was refused tells nothing: there has to be a place for what may.
        let refused = if mood == Mood::Closed { self.line.refused() } else { 0 };
        let enough = mood.is_enough(self.waits() + self.attempts.len() - refused);
        let aside = self.aside.adapt(self.usual).saturating_add(u16::try_from(refused).unwrap_or(u16::MAX));
        if self.held_for == Some((mood, pace, concurrency, room, enough, aside)) {
            return;
        }
        self.held_for = Some((mood, pace, concurrency, room, enough, aside));
        let mut appetite = if enough { Appetite::None } else { mood.appetite(pace, concurrency, &self.room) };
        if let Appetite::Prefetch(usual) = &mut appetite {
            self.usual = *usual;
            *usual = usual.saturating_add(aside);
        }
        self.inbox.appetite.send_if_modified(|current| std::mem::replace(current, appetite) != appetite);
    }

    /// Deliveries not yet settled, about: those on their way are counted as one a request.
    fn held(&self) -> usize {
        self.waits() + self.jobs.held() + self.attempts.len()
    }

    /// Gives back all but so many that wait. The first are kept, so that none is overtaken in its lane.
    fn release_beyond(&mut self, keeps: usize) {
        if self.line.len() > keeps {
            self.left_behind = self.oldest();
        }
        let unread = self.lookups.beyond(keeps).into_iter().chain(self.invalids.beyond(keeps)).collect::<Vec<_>>();
        unread.into_iter().for_each(|delivery| self.give_back(delivery));
        if self.line.len() > keeps {
            self.line.beyond(keeps).into_iter().for_each(|pending| self.settle(*pending, Settlement::Release));
        }
    }

    /// The time of the oldest event that waits here, or in the queue as far as is known.
    fn oldest(&self) -> Option<Timestamp> {
        [self.line.oldest(), self.left_behind].into_iter().flatten().min()
    }

    fn give_back(&mut self, delivery: Delivery) {
        let (history, tag) = settle::unchecked(&delivery, clock::wall());
        self.settle_later(delivery, history, tag, Settlement::Release);
    }

    /// Shows gauges, and gives back what was held too long.
    fn sweep(&mut self) {
        let (now, wall) = (clock::now(), clock::wall());
        let status = self.gate.status(now, wall);
        if status.state != State::Open {
            self.metrics.closed_seconds.inc_by(now.saturating_duration_since(self.swept).as_secs_f64());
        }
        self.swept = now;
        self.recent.see(&status, wall);
        self.recent.sample(&status, self.metrics.delivered.get(), now, wall);
        self.metrics.show(&status, self.attempts.len(), self.waits());
        self.metrics.show_copies(self.copies_waiting());
        if self.line.len() == 0 || status.state != State::Open {
            self.inbox.proof.want(None);
        }
        self.metrics.show_token(self.tokens.as_ref().and_then(|tokens| tokens.age(wall)));
        let too_long = |pending: &Pending| now.saturating_duration_since(pending.taken) > hold::LONGEST_HOLD;
        for pending in self.line.remove_if(too_long) {
            self.settle(*pending, Settlement::Release);
        }
        let unread = self.lookups.sweep(now).into_iter().chain(self.invalids.sweep(now)).collect::<Vec<_>>();
        unread.into_iter().for_each(|delivery| self.give_back(delivery));
        self.check_invalid_again();
        let unsettled = |pending: &Pending| now.saturating_duration_since(pending.taken) > hold::LONGEST_UNSETTLED;
        let overdue = self.jobs.overdue(|pending| unsettled(pending) || !pending.delivery.ticket.is_live());
        self.ask_later(overdue);
        self.lanes.sweep(now);
    }
}

/// As many events as two requests carry.
fn two_of(batching: Batching) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(batching.items.saturating_mul(2))
}

/// How the gate treats the vendor.
fn policy(settings: &config::Destination, batching: Batching) -> Policy {
    Policy {
        concurrency: settings.concurrency,
        park_after_rejections: settings.park_after_rejections,
        carry_much: batching.items > 1,
        ..Policy::default()
    }
}

async fn wait_until(until: Option<Instant>) {
    match until {
        Some(until) => clock::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("destination", &self.settings.name).finish_non_exhaustive()
    }
}
