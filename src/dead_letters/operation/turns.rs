//! An operation's turns: the letters that are meant are copied and removed, the others kept; whoever waits to look gets a turn between.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::work::{End, PATIENCE, TICK, Work, cancelled, next_notice};
use crate::broker::port::{Delivery, PublishError};
use crate::broker::{LONGEST_TURN, Purpose, Reader, Turn, TurnError};
use crate::clock;
use crate::control::Signal;
use crate::dead_letters::acts::{self, Act};
use crate::dead_letters::{Pile, letter};
use crate::message::header::DEAD_LETTERED_AT;

/// Copies on their way to the broker at once.
const WINDOW: usize = 256;
/// Left between two turns for whoever waits for one.
const BETWEEN: Duration = Duration::from_millis(300);
/// Before what a broker that was lost does not have is taken to be gone.
const RECOVERING: Duration = Duration::from_secs(5);
/// Between tries while the broker is in trouble.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a turn ended.
enum Ended {
    /// So many letters as were wanted have been sent.
    Enough,
    /// All that were there have been read.
    AllRead,
    /// Somebody else wants a turn, or this one has lasted long.
    Yield,
    /// A person wants something else.
    Signal,
    /// The broker did not take a copy.
    Trouble(PublishError),
}

/// What became of a copy.
struct Moved {
    id: u64,
    letter: Delivery,
    result: Result<(), PublishError>,
}

/// What a turn has under way.
struct Desk {
    moving: FuturesUnordered<BoxFuture<'static, Moved>>,
    /// The next that may go.
    hand: Option<(u64, Delivery)>,
    sent: u64,
    /// So many are to be sent.
    limit: u64,
    /// Copies of so many were confirmed in a turn that broke off: they are still there, unless their acks arrived.
    unacked: usize,
    all_read: bool,
    trouble: Option<PublishError>,
}

impl Desk {
    fn is_enough(&self) -> bool {
        self.sent >= self.limit
    }
}

impl Work {
    /// Acts on up to `limit` letters, in as many turns as it takes.
    pub(super) async fn turns(&mut self, limit: u64) -> Result<(), End> {
        let (mut trouble_since, mut left) = (None, limit);
        while (!self.selection.is_empty() && left > 0) || !self.copied.is_empty() {
            self.wait_while_paused().await?;
            let before = self.state.borrow().moved;
            let broke = self.broke;
            let turned = self.one_turn(left).await;
            let moved = self.state.borrow().moved - before;
            left = left.saturating_sub(moved);
            if moved > 0 {
                trouble_since = None;
            }
            let error = match turned {
                Ok(Ended::Enough | Ended::Signal) => continue,
                // A broker that has just started may not have told of all that is there.
                Ok(Ended::AllRead) if broke => {
                    self.broke = false;
                    self.note(Some("the broker was lost on the way: looks once more for what is left".to_owned()));
                    self.wait(RECOVERING).await?;
                    continue;
                }
                Ok(Ended::AllRead) => {
                    let missing = self.selection.clear();
                    self.state.send_modify(|state| state.missing += missing);
                    continue;
                }
                Ok(Ended::Yield) => {
                    clock::sleep(BETWEEN).await;
                    continue;
                }
                Ok(Ended::Trouble(PublishError::Unroutable { routing_key, .. })) => {
                    return Err(End::Failed(format!("there is no queue {routing_key:?} to copy the letters to")));
                }
                Ok(Ended::Trouble(error)) => TurnError::Broken { queue: self.target(), why: error.to_string() },
                Err(error @ TurnError::Missing(_)) => return Err(End::Failed(error.to_string())),
                Err(
                    error @ (TurnError::Broken { .. }
                    | TurnError::Connect(_)
                    | TurnError::Busy { .. }
                    | TurnError::Shut(_)),
                ) => error,
            };
            self.note(Some(format!("{error}; trying again")));
            self.away_too_long(*trouble_since.get_or_insert_with(clock::now), &error)?;
            (self.broke, self.has_broken) = (true, true);
            self.wait(AGAIN).await?;
        }
        Ok(())
    }

    async fn wait(&mut self, time: Duration) -> Result<(), End> {
        tokio::select! {
            () = cancelled(&mut self.signals) => Err(End::Cancelled),
            () = clock::sleep(time) => Ok(()),
        }
    }

    async fn one_turn(&mut self, limit: u64) -> Result<Ended, TurnError> {
        let mut reader = self.letters.broker.reader().await?.expecting(self.expected);
        let turned = self.turn_with(&mut reader, limit).await;
        reader.close().await;
        turned
    }

    async fn turn_with(&mut self, reader: &mut Reader, limit: u64) -> Result<Ended, TurnError> {
        let queue = self.letters.queue(Pile::of(self.plan.act));
        let mut turn = tokio::select! {
            turn = reader.turn(&queue, Purpose::Act, PATIENCE) => turn?,
            () = cancelled(&mut self.signals) => return Ok(Ended::Signal),
        };
        self.note(None);
        self.yielding.has_the_turn(clock::now());
        self.expected = turn.count();
        let mut desk = Desk {
            moving: FuturesUnordered::new(),
            hand: None,
            sent: 0,
            limit,
            unacked: self.copied.len(),
            all_read: false,
            trouble: None,
        };
        let ended = self.go_through(&mut turn, &mut desk).await;
        if let Some((id, letter)) = desk.hand.take() {
            self.selection.put(id);
            turn.keep(letter);
        }
        // What is under way has an outcome within seconds.
        while let Some(moved) = desk.moving.next().await {
            self.moved(moved, &mut turn, &mut desk.trouble);
        }
        self.expected = turn.left();
        turn.end().await?;
        // Every ack has arrived, and all that is left is there again; a broker that has just started may not have told of all.
        if !(self.broke && desk.unacked > 0) {
            self.copied.clear();
        }
        self.expected = 0;
        match desk.trouble {
            Some(trouble) => ended.map(|_| Ended::Trouble(trouble)),
            None => ended,
        }
    }

    async fn go_through(&mut self, turn: &mut Turn, desk: &mut Desk) -> Result<Ended, TurnError> {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::from_std(clock::now() + TICK), TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let until = clock::now() + LONGEST_TURN;
        turn.shut(self.yielding.is_shut(turn.count(), clock::now()));
        loop {
            if desk.trouble.is_some() {
                // The caller has it.
                return Ok(Ended::Yield);
            }
            if *self.signals.borrow() != Signal::Run {
                return Ok(Ended::Signal);
            }
            let enough = desk.is_enough() && desk.unacked == 0;
            if desk.moving.is_empty() && desk.hand.is_none() && (enough || desk.all_read) {
                let done = (desk.is_enough() || self.selection.is_empty()) && !(self.broke && desk.unacked > 0);
                return Ok(if done { Ended::Enough } else { Ended::AllRead });
            }
            let now = clock::now();
            let may_send = desk.hand.is_some()
                && desk.moving.len() < WINDOW
                && (self.notices.is_none() || self.flow.is_open(self.outcomes.under_way(), now));
            let reads = desk.hand.is_none() && !desk.all_read && !enough && desk.moving.len() < WINDOW;
            tokio::select! {
                biased;
                changed = self.signals.changed() => if changed.is_err() { return Ok(Ended::Signal) },
                Some(moved) = desk.moving.next(), if !desk.moving.is_empty() => self.moved(moved, turn, &mut desk.trouble),
                notice = next_notice(&mut self.notices) => {
                    self.hear(notice);
                    self.show();
                }
                _ = ticks.tick() => {
                    let now = clock::now();
                    turn.shut(self.yielding.is_shut(turn.left(), now));
                    let lets_in = self.yielding.lets_in(now) && turn.is_wanted();
                    if now > until || lets_in {
                        self.yielding.gives_way(now);
                        return Ok(Ended::Yield);
                    }
                    self.look_after_flow().await;
                }
                () = clock::sleep_until(self.pace.due()), if may_send => self.send(desk).await,
                letter = turn.next(), if reads => match letter? {
                    Some(letter) => self.read(letter, turn, desk),
                    None => desk.all_read = true,
                },
            }
        }
    }

    fn read(&mut self, letter: Delivery, turn: &mut Turn, desk: &mut Desk) {
        let id = letter::identity(&letter.message);
        if self.copied.contains(&id) {
            desk.unacked = desk.unacked.saturating_sub(1);
            turn.remove(letter);
        } else if !desk.is_enough() && self.selection.take(id) {
            desk.hand = Some((id, letter));
        } else {
            turn.keep(letter);
            // Nothing more is meant: the rest need not be read.
            desk.all_read |= self.selection.is_empty() && desk.unacked == 0;
        }
    }

    /// Sends the copy of the letter in hand.
    async fn send(&mut self, desk: &mut Desk) {
        let Some((id, letter)) = desk.hand.take() else { return };
        let now = clock::now();
        self.pace.went(now);
        desk.sent += 1;
        let Some(copy) = self.copy(id, &letter) else {
            desk.moving.push(Box::pin(async move { Moved { id, letter, result: Ok(()) } }));
            return;
        };
        if self.notices.is_some() {
            self.outcomes.sent(id, now);
        }
        match self.letters.broker.publisher().submit("", &self.target(), copy).await {
            Ok(confirm) => desk.moving.push(Box::pin(async move { Moved { id, letter, result: confirm.await } })),
            Err(error) => desk.moving.push(Box::pin(async move { Moved { id, letter, result: Err(error) } })),
        }
    }

    /// What goes elsewhere in a letter's stead; nothing where it is to be gone.
    fn copy(&self, id: u64, letter: &Delivery) -> Option<crate::message::Message> {
        let wall = clock::wall();
        match self.plan.act {
            Act::Replay => {
                let outcomes = self.letters.broker.names().outcomes(&self.id);
                Some(acts::replayed(&letter.message, &format!("{id:016x}"), &self.id, &outcomes, wall))
            }
            Act::Discard => Some(acts::discarded(&letter.message, &self.plan.by, wall)),
            Act::Restore => Some(acts::restored(&letter.message)),
            Act::Purge => None,
        }
    }

    /// Where the copies go.
    fn target(&self) -> String {
        let (names, destination) = (self.letters.broker.names(), &self.letters.destination);
        match self.plan.act {
            Act::Replay => names.queue(destination),
            Act::Discard | Act::Purge => names.trash(destination),
            Act::Restore => names.dead(destination),
        }
    }

    /// A copy was confirmed, or was not.
    fn moved(&mut self, moved: Moved, turn: &mut Turn, trouble: &mut Option<PublishError>) {
        let Moved { id, letter, result } = moved;
        match result {
            Ok(()) => {
                // One that may be alike to another cannot be told from it: should the turn break off it goes once more rather than never.
                if !self.selection.was_alike(id) && letter.message.properties.headers.contains_key(DEAD_LETTERED_AT) {
                    self.copied.insert(id);
                }
                turn.remove(letter);
                self.state.send_modify(|state| state.moved += 1);
            }
            Err(PublishError::Unsendable(why)) => {
                self.outcomes.not_sent(id);
                self.state.send_modify(|state| {
                    state.refused += 1;
                    state.note = Some(format!("letter {id:016x} cannot be copied: {why}"));
                });
                turn.keep(letter);
            }
            Err(
                error @ (PublishError::Lost
                | PublishError::Refused
                | PublishError::Closed(_)
                | PublishError::TimedOut(_)
                | PublishError::Unroutable { .. }),
            ) => {
                self.outcomes.not_sent(id);
                self.selection.put(id);
                turn.keep(letter);
                trouble.get_or_insert(error);
            }
        }
    }
}
