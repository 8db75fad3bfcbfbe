//! An operation's rounds. In each it holds the read lock, copies and removes the letters that are meant, and keeps the others; between
//! two rounds whoever waits to look may do so.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;

use super::work::{End, PATIENCE, TICK, Work, cancelled, next_notice};
use crate::broker::port::{Delivery, PublishError};
use crate::broker::{LONGEST_READ, LockedRead, ReadError, ReadPurpose, Reader};
use crate::clock;
use crate::control::Signal;
use crate::dead_letters::acts::{self, Act};
use crate::dead_letters::edit::in_its_place;
use crate::dead_letters::{Pile, letter};
use crate::history::About;
use crate::history::about::operation_said;
use crate::message::Message;
use crate::message::header::DEAD_LETTERED_AT;

/// Copies on their way to the broker at once.
const WINDOW: usize = 256;
/// Between two rounds, for whoever waits for the read lock.
const BETWEEN: Duration = Duration::from_millis(300);
/// Before letters that a broker does not show after it was lost are taken to be gone.
const RECOVERING: Duration = Duration::from_secs(5);
/// Between tries while the broker is in trouble.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a round ended.
enum RoundEnd {
    /// So many letters as were wanted have been sent.
    Enough,
    /// All that were there have been read.
    AllRead,
    /// Somebody else waits for the lock, or the round has lasted long.
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
    /// Of an edit that failed: the original is in the trash already.
    in_trash: bool,
    /// What the history says of it, where one is kept.
    deed: Option<Deed>,
}

/// What is done with a letter, for the history.
struct Deed {
    about: About,
    said: String,
}

impl Moved {
    fn of(id: u64, letter: Delivery, result: Result<(), PublishError>) -> Self {
        Self { id, letter, result, in_trash: false, deed: None }
    }
}

/// What goes elsewhere in a letter's stead.
enum Copies {
    /// Nothing: the letter is to be gone.
    None,
    /// This one.
    One(Box<Message>),
    /// These, one after the other, for the edited letter of that id.
    Edit(String, Box<[(Pile, Message); 2]>),
    /// They cannot be made.
    Impossible(String),
}

/// What a round has under way.
struct Round {
    moving: FuturesUnordered<BoxFuture<'static, Moved>>,
    /// The next that may go.
    next: Option<(u64, Delivery)>,
    sent: u64,
    /// So many are to be sent.
    limit: u64,
    /// Copies of so many were confirmed in a round that broke off: they are still there, unless their acks arrived.
    unacked: usize,
    all_read: bool,
    trouble: Option<PublishError>,
}

impl Round {
    fn is_enough(&self) -> bool {
        self.sent >= self.limit
    }
}

impl Work {
    /// Acts on up to `limit` letters, in as many rounds as it takes.
    pub(super) async fn rounds(&mut self, limit: u64) -> Result<(), End> {
        let (mut trouble_since, mut left) = (None, limit);
        while (!self.selection.is_empty() && left > 0) || !self.copied.is_empty() {
            self.wait_while_paused().await?;
            let before = self.state.borrow().moved;
            let broke = self.broke;
            let ended = self.round(left).await;
            let moved = self.state.borrow().moved - before;
            left = left.saturating_sub(moved);
            if moved > 0 {
                trouble_since = None;
            }
            let error = match ended {
                Ok(RoundEnd::Enough | RoundEnd::Signal) => continue,
                // A broker that has just started may not have told of all that is there.
                Ok(RoundEnd::AllRead) if broke => {
                    self.broke = false;
                    self.note(Some("the broker was lost on the way: looks once more for what is left".to_owned()));
                    self.wait(RECOVERING).await?;
                    continue;
                }
                Ok(RoundEnd::AllRead) => {
                    let missing = self.selection.clear();
                    self.state.send_modify(|state| state.missing += missing);
                    continue;
                }
                Ok(RoundEnd::Yield) => {
                    clock::sleep(BETWEEN).await;
                    continue;
                }
                Ok(RoundEnd::Trouble(PublishError::Unroutable { routing_key, .. })) => {
                    return Err(End::Failed(format!("there is no queue {routing_key:?} to copy the letters to")));
                }
                Ok(RoundEnd::Trouble(error)) => ReadError::Broken { queue: self.target(), why: error.to_string() },
                Err(error @ ReadError::Missing(_)) => return Err(End::Failed(error.to_string())),
                Err(
                    error @ (ReadError::Broken { .. }
                    | ReadError::Connect(_)
                    | ReadError::Busy { .. }
                    | ReadError::Closed(_)),
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

    async fn round(&mut self, limit: u64) -> Result<RoundEnd, ReadError> {
        let mut reader = self.letters.broker.reader().await?.expecting(self.expected);
        let ended = self.round_with(&mut reader, limit).await;
        reader.close().await;
        ended
    }

    async fn round_with(&mut self, reader: &mut Reader, limit: u64) -> Result<RoundEnd, ReadError> {
        let queue = self.letters.queue(Pile::of(self.plan.act));
        let mut locked = tokio::select! {
            locked = reader.lock(&queue, ReadPurpose::Act, PATIENCE) => locked?,
            () = cancelled(&mut self.signals) => return Ok(RoundEnd::Signal),
        };
        self.note(None);
        self.yielding.has_the_lock(clock::now());
        self.expected = locked.count();
        let mut round = Round {
            moving: FuturesUnordered::new(),
            next: None,
            sent: 0,
            limit,
            unacked: self.copied.len(),
            all_read: false,
            trouble: None,
        };
        let ended = self.go_through(&mut locked, &mut round).await;
        if let Some((id, letter)) = round.next.take() {
            self.selection.put(id);
            locked.keep(letter);
        }
        // What is under way has an outcome within seconds.
        while let Some(moved) = round.moving.next().await {
            self.moved(moved, &mut locked, &mut round.trouble);
        }
        self.expected = locked.left();
        locked.end().await?;
        // Every ack has arrived, and all that is left is there again; a broker that has just started may not have told of all.
        if !(self.broke && round.unacked > 0) {
            self.copied.clear();
        }
        self.expected = 0;
        match round.trouble {
            Some(trouble) => ended.map(|_| RoundEnd::Trouble(trouble)),
            None => ended,
        }
    }

    async fn go_through(&mut self, locked: &mut LockedRead, round: &mut Round) -> Result<RoundEnd, ReadError> {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::from_std(clock::now() + TICK), TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let until = clock::now() + LONGEST_READ;
        locked.set_closed(self.yielding.is_closed(locked.count(), clock::now()));
        loop {
            if round.trouble.is_some() {
                // The caller has it.
                return Ok(RoundEnd::Yield);
            }
            if *self.signals.borrow() != Signal::Run {
                return Ok(RoundEnd::Signal);
            }
            let enough = round.is_enough() && round.unacked == 0;
            if round.moving.is_empty() && round.next.is_none() && (enough || round.all_read) {
                let done = (round.is_enough() || self.selection.is_empty()) && !(self.broke && round.unacked > 0);
                return Ok(if done { RoundEnd::Enough } else { RoundEnd::AllRead });
            }
            let now = clock::now();
            let may_send = round.next.is_some()
                && round.moving.len() < WINDOW
                && (self.notices.is_none() || self.flow.is_open(self.outcomes.under_way(), now));
            let reads = round.next.is_none() && !round.all_read && !enough && round.moving.len() < WINDOW;
            tokio::select! {
                biased;
                changed = self.signals.changed() => if changed.is_err() { return Ok(RoundEnd::Signal) },
                Some(moved) = round.moving.next(), if !round.moving.is_empty() => self.moved(moved, locked, &mut round.trouble),
                notice = next_notice(&mut self.notices) => {
                    self.hear(notice);
                    self.show();
                }
                _ = ticks.tick() => {
                    let now = clock::now();
                    locked.set_closed(self.yielding.is_closed(locked.left(), now));
                    let lets_in = self.yielding.lets_in(now) && locked.is_waited_for();
                    if now > until || lets_in {
                        self.yielding.gives_way(now);
                        return Ok(RoundEnd::Yield);
                    }
                    self.look_after_flow().await;
                }
                () = clock::sleep_until(self.pace.due()), if may_send => self.send(round).await,
                letter = locked.next(), if reads => match letter? {
                    Some(letter) => self.read(letter, locked, round),
                    None => round.all_read = true,
                },
            }
        }
    }

    fn read(&mut self, letter: Delivery, locked: &mut LockedRead, round: &mut Round) {
        let id = letter::identity(&letter.message);
        if self.copied.contains(&id) {
            round.unacked = round.unacked.saturating_sub(1);
            locked.remove(letter);
        } else if !round.is_enough() && self.selection.take(id) {
            round.next = Some((id, letter));
        } else {
            locked.keep(letter);
            // Nothing more is meant: the rest need not be read.
            round.all_read |= self.selection.is_empty() && round.unacked == 0;
        }
    }

    /// Sends the copy of the next letter.
    async fn send(&mut self, round: &mut Round) {
        let Some((id, letter)) = round.next.take() else { return };
        let now = clock::now();
        self.pace.went(now);
        round.sent += 1;
        let wall = clock::wall();
        let copies = self.copies(id, &letter, wall).await;
        let deed = self.deed(&letter, &copies, wall);
        let copy = match copies {
            Copies::One(copy) => *copy,
            Copies::Edit(_, copies) => return self.edit(round, (id, letter, deed), *copies),
            Copies::None => {
                round.moving.push(Box::pin(async move { Moved { deed, ..Moved::of(id, letter, Ok(())) } }));
                return;
            }
            Copies::Impossible(why) => {
                let result = Err(PublishError::Unsendable(why));
                round.moving.push(Box::pin(async move { Moved::of(id, letter, result) }));
                return;
            }
        };
        if self.notices.is_some() {
            self.outcomes.sent(id, now);
        }
        match self.letters.broker.publisher().submit("", &self.target(), copy).await {
            Ok(confirm) => {
                round.moving.push(Box::pin(async move { Moved { deed, ..Moved::of(id, letter, confirm.await) } }));
            }
            Err(error) => round.moving.push(Box::pin(async move { Moved::of(id, letter, Err(error)) })),
        }
    }

    /// Publishes the copies of an edited letter: the second once the first is confirmed.
    fn edit(&self, round: &mut Round, (id, letter, deed): (u64, Delivery, Option<Deed>), copies: [(Pile, Message); 2]) {
        let publisher = self.letters.broker.publisher();
        let is_in_trash = self.in_trash.contains(&id);
        let copies: Vec<(Pile, String, Message)> = copies
            .into_iter()
            .filter(|(pile, _)| !(is_in_trash && *pile == Pile::Trash))
            .map(|(pile, copy)| (pile, self.letters.queue(pile), copy))
            .collect();
        round.moving.push(Box::pin(async move {
            let mut in_trash = is_in_trash;
            for (pile, queue, copy) in copies {
                if let Err(error) = publisher.publish("", &queue, copy).await {
                    return Moved { in_trash, ..Moved::of(id, letter, Err(error)) };
                }
                in_trash |= pile == Pile::Trash;
            }
            Moved { deed, ..Moved::of(id, letter, Ok(())) }
        }));
    }

    /// What is told of a letter once it is done.
    fn deed(&self, letter: &Delivery, copies: &Copies, wall: Timestamp) -> Option<Deed> {
        let said = match copies {
            Copies::One(_) => operation_said(&self.id),
            Copies::Edit(to, _) => in_its_place(to),
            Copies::None if self.plan.act == Act::Purge => operation_said(&self.id),
            // Whoever edited it told so.
            Copies::None | Copies::Impossible(_) => return None,
        };
        Some(Deed { about: self.letters.about(&letter.message, wall)?, said })
    }

    async fn copies(&self, id: u64, letter: &Delivery, wall: Timestamp) -> Copies {
        match self.plan.act {
            Act::Replay => {
                let outcomes = self.letters.broker.names().outcomes(&self.id);
                Copies::One(Box::new(acts::replayed(&letter.message, &format!("{id:016x}"), &self.id, &outcomes, wall)))
            }
            Act::Edit => self.edited(letter, wall).await,
            Act::Discard => Copies::One(Box::new(acts::discarded(&letter.message, &self.plan.by, wall))),
            Act::Restore => Copies::One(Box::new(acts::restored(&letter.message))),
            Act::Purge => Copies::None,
        }
    }

    async fn edited(&self, letter: &Delivery, wall: Timestamp) -> Copies {
        let Some(rewrite) = &self.plan.rewrite else {
            return Copies::Impossible("no expression says how to change it".to_owned());
        };
        match rewrite.edit_beside(&letter.message).await {
            // Whoever made that died before the letter was gone: both copies are there.
            Ok(edit) if self.selection.was_edited_to(&edit.to.id) => Copies::None,
            Ok(edit) => {
                let copies = edit.copies(&self.plan.by, wall);
                Copies::Edit(edit.to.id, Box::new(copies))
            }
            Err(left) => Copies::Impossible(left.to_string()),
        }
    }

    /// Where the copies go.
    fn target(&self) -> String {
        let (names, destination) = (self.letters.broker.names(), &self.letters.destination);
        match self.plan.act {
            Act::Replay => names.queue(destination),
            Act::Discard | Act::Purge => names.trash(destination),
            Act::Edit | Act::Restore => names.dead(destination),
        }
    }

    /// A copy was confirmed, or was not.
    fn moved(&mut self, moved: Moved, locked: &mut LockedRead, trouble: &mut Option<PublishError>) {
        let Moved { id, letter, result, in_trash, deed } = moved;
        if in_trash {
            self.in_trash.insert(id);
        }
        match result {
            Ok(()) => {
                // One that may be alike to another cannot be told from it: should the round break off it goes once more rather than never.
                if !self.selection.was_alike(id) && letter.message.properties.headers.contains_key(DEAD_LETTERED_AT) {
                    self.copied.insert(id);
                }
                locked.remove(letter);
                if let Some(Deed { about, said }) = &deed {
                    self.letters.tell(Some(about), self.plan.act.step(), &self.plan.by, said);
                }
                self.fates.acted(id);
                self.state.send_modify(|state| state.moved += 1);
            }
            Err(PublishError::Unsendable(why)) => {
                self.outcomes.not_sent(id);
                self.state.send_modify(|state| {
                    state.refused += 1;
                    state.note = Some(format!("letter {id:016x} cannot be copied: {why}"));
                });
                locked.keep(letter);
            }
            Err(
                error @ (PublishError::Lost
                | PublishError::Refused
                | PublishError::Closed(_)
                | PublishError::TimedOut(_)
                | PublishError::NotMade { .. }
                | PublishError::Unroutable { .. }),
            ) => {
                self.outcomes.not_sent(id);
                self.selection.put(id);
                locked.keep(letter);
                trouble.get_or_insert(error);
            }
        }
    }
}
