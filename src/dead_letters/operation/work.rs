//! One operation from its beginning to its end.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::fates::Fates;
use super::flow::{GateView, ReplayFlow};
use super::outcomes::Outcomes;
use super::pace::Pace;
use super::selection::Selection;
use super::state::{OperationState, Phase};
use super::yielding::Yielding;
use super::{Foresight, OperationPlan};
use crate::audit;
use crate::broker::{LONGEST_READ, ReadError};
use crate::clock;
use crate::control::Signal;
use crate::dead_letters::DeadLetters;
use crate::dead_letters::acts::Act;
use crate::words;

/// How long the read lock is waited for while others look or act.
pub(super) const PATIENCE: Duration = LONGEST_READ.saturating_mul(2);
/// How long the last outcomes are waited for when all has been sent, since the last one came.
const LAST_OUTCOMES: Duration = Duration::from_secs(3);
/// How long the queue for outcomes may take to come into being.
const LISTENING_WITHIN: Duration = Duration::from_secs(10);
/// What is under way for so long at an open gate with an empty queue: its outcomes have been lost.
const LOST: Duration = Duration::from_secs(10);
/// How long the operation waits for a broker that is away.
const AWAY: Duration = Duration::from_mins(5);
/// How often an operation checks whether somebody waits for the lock, and what keeps its letters.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// How an operation ended.
#[derive(Debug)]
pub(super) enum End {
    Done,
    Stopped(String),
    Cancelled,
    Failed(String),
}

/// An operation at work.
pub(super) struct Work {
    pub letters: DeadLetters,
    pub plan: OperationPlan,
    pub id: String,
    pub signals: watch::Receiver<Signal>,
    pub state: watch::Sender<OperationState>,
    pub selection: Selection,
    /// Letters whose copies are confirmed, and which may still be there since their round broke off.
    pub copied: HashSet<u64>,
    /// Letters whose originals are in the trash already, and whose edited copies the broker did not take.
    pub in_trash: HashSet<u64>,
    /// The last round broke off, and left so many letters.
    pub expected: u32,
    /// A round has broken off since all that was there was last read.
    pub broke: bool,
    /// A round has broken off.
    pub has_broken: bool,
    pub pace: Pace,
    pub flow: ReplayFlow,
    pub yielding: Yielding,
    pub outcomes: Outcomes,
    pub fates: Fates,
    pub notices: Option<mpsc::Receiver<Bytes>>,
}

impl Work {
    /// An operation that has yet to run, and how it is from then on.
    pub fn new(
        letters: DeadLetters,
        plan: OperationPlan,
        id: String,
        signals: watch::Receiver<Signal>,
    ) -> (Self, watch::Receiver<OperationState>) {
        let state = OperationState {
            id: id.clone(),
            act: plan.act,
            destination: letters.destination.clone(),
            filter: which(&plan),
            by: plan.by.clone(),
            started: clock::wall(),
            ended: None,
            phase: Phase::Counting,
            there: 0,
            selected: 0,
            moved: 0,
            delivered: 0,
            dead_again: 0,
            suppressed: 0,
            retrying: 0,
            missing: 0,
            refused: 0,
            rate: plan.rate,
            canary: plan.steps.first().copied(),
            ramp: if plan.steps.len() > 1 { plan.steps.clone() } else { Vec::new() },
            deaths: Vec::new(),
            note: None,
            outcome: None,
        };
        let (state, watching) = watch::channel(state);
        let (pace, flow) = (Pace::new(plan.rate, clock::now()), ReplayFlow::new(plan.rate));
        let work = Self {
            letters,
            plan,
            id,
            signals,
            state,
            selection: Selection::default(),
            copied: HashSet::new(),
            in_trash: HashSet::new(),
            expected: 0,
            broke: false,
            has_broken: false,
            pace,
            flow,
            yielding: Yielding::default(),
            outcomes: Outcomes::default(),
            fates: Fates::default(),
            notices: None,
        };
        (work, watching)
    }

    /// Does it, and tells the audit.
    pub async fn run(mut self, selection: Option<Selection>) {
        let end = self.work(selection).await.err().unwrap_or(End::Done);
        self.show();
        let state = self.state.borrow().clone();
        let (phase, mut outcome) = told(&end, &state, &self.outcomes.deaths_said());
        // Says which letters were left out.
        self.selection.seen.trouble.iter().for_each(|trouble| outcome = format!("{outcome}; {trouble}"));
        let entry = self.entry(Some(outcome.clone()));
        // Where not even the beginning could be written there is nothing to end.
        if state.selected > 0
            && let Err(error) = self.letters.record(&entry).await
        {
            tracing::warn!(operation = self.id, %error, outcome, "the end of an operation is not in the audit");
        }
        self.state.send_modify(|state| {
            (state.phase, state.outcome, state.ended) = (phase, Some(outcome), Some(clock::wall()));
            state.note = None;
        });
    }

    async fn work(&mut self, selection: Option<Selection>) -> Result<(), End> {
        self.selection = match selection {
            Some(selection) => selection,
            None => self.count().await?,
        };
        let (there, selected) = (self.selection.seen.there, self.selection.len());
        self.yielding = Yielding::new(there, self.selection.seen.took);
        if let Some(counted) = self.plan.counted.filter(|counted| *counted != self.selection.counted()) {
            return Err(End::Failed(format!(
                "the letters that were counted are not all there any more, or others came before them ({} counted, {selected} \
                 match now): nothing was done; count again",
                counted.letters()
            )));
        }
        let trouble = self.selection.seen.trouble.clone();
        self.state.send_modify(|state| (state.there, state.selected, state.note) = (there, selected, trouble));
        if selected == 0 {
            return Ok(());
        }
        let entry = self.entry(None);
        self.letters.record(&entry).await.map_err(|error| {
            End::Failed(format!("the audit cannot be written ({error}), and nothing is done that it does not tell"))
        })?;
        if self.plan.act == Act::Replay {
            self.listen().await?;
        }
        self.pace.anew(clock::now());
        for step in self.plan.steps.clone() {
            if self.selection.is_empty() {
                break;
            }
            self.phase(Phase::Canary);
            self.state.send_modify(|state| state.canary = Some(step));
            let before = self.state.borrow().moved;
            self.rounds(u64::from(step)).await?;
            self.canary(before).await?;
        }
        self.phase(Phase::Working);
        self.rounds(u64::MAX).await?;
        self.last_outcomes().await?;
        match self.state.borrow().missing {
            missing if missing > 0 && self.has_broken => Err(End::Failed(format!(
                "the broker was lost on the way, and {} {} not there when it was back: run the same once more",
                words::letters(missing),
                if missing == 1 { "was" } else { "were" }
            ))),
            _ => Ok(()),
        }
    }

    async fn count(&mut self) -> Result<Selection, End> {
        let state = &self.state;
        let progress = |_: u32, there: u32| {
            state.send_if_modified(|state| std::mem::replace(&mut state.there, there) != there);
        };
        let (OperationPlan { act, filter, counted, .. }, mut foresight) = (&self.plan, Foresight::of(&self.plan));
        let counting = self.letters.select(*act, filter, *counted, &mut foresight, PATIENCE, &progress);
        let mut selection = tokio::select! {
            counted = counting => counted.map_err(|error| End::Failed(error.to_string()))?,
            () = cancelled(&mut self.signals) => return Err(End::Cancelled),
        };
        if let Foresight::Rewrite(rewriting) = &foresight {
            selection.seen.add(rewriting.left());
        }
        Ok(selection)
    }

    /// Begins to listen for outcomes.
    async fn listen(&mut self) -> Result<(), End> {
        let (notices, mut listening) = self.letters.broker.replies(&self.letters.broker.names().outcomes(&self.id));
        self.notices = Some(notices);
        let listening = tokio::time::timeout(LISTENING_WITHIN, listening.wait_for(|listening| *listening)).await;
        match listening {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Failed("no queue for the outcomes could be made at the broker".to_owned())),
        }
    }

    /// Waits for what becomes of the letters that went first, after the `earlier` ones of a ramp.
    async fn canary(&mut self, earlier: u64) -> Result<(), End> {
        let mut until = clock::now() + self.plan.canary_wait;
        let mut ticks = tokio::time::interval(TICK);
        loop {
            let before = clock::now();
            self.wait_while_paused().await?;
            // A pause does not count.
            until += clock::now().saturating_duration_since(before);
            self.show();
            let sent = self.state.borrow().moved;
            if self.outcomes.dead_again > 0 {
                self.others_of_canary().await;
                let (dead, step) = (self.outcomes.dead_again, sent - earlier);
                let which = if earlier > 0 {
                    format!("the {step} of this step")
                } else {
                    format!("the {step} that went first")
                };
                return Err(End::Stopped(format!("{dead} of {which} died again")));
            }
            if self.outcomes.under_way() + self.outcomes.retrying() == 0 {
                return Ok(());
            }
            tokio::select! {
                changed = self.signals.changed() => if changed.is_err() { return Err(End::Cancelled) },
                notice = next_notice(&mut self.notices) => self.hear(notice),
                _ = ticks.tick() => {
                    let note = self.ask().await;
                    self.note(note);
                }
                () = clock::sleep_until(until) => {
                    let unknown = self.outcomes.under_way() + self.outcomes.retrying();
                    let note = self.state.borrow().note.clone().map(|note| format!(" ({note})")).unwrap_or_default();
                    return Err(End::Stopped(format!(
                        "{unknown} of the {sent} that went first have not come through within {:?}{note}", self.plan.canary_wait
                    )));
                }
            }
        }
    }

    /// One died again: waits a moment for the outcomes of the others under way.
    async fn others_of_canary(&mut self) {
        let until = clock::now() + LAST_OUTCOMES;
        while self.outcomes.under_way() > 0 {
            tokio::select! {
                notice = next_notice(&mut self.notices) => self.hear(notice),
                () = clock::sleep_until(until) => break,
            }
        }
        self.show();
    }

    /// Asks how the gate is, for a note.
    async fn ask(&mut self) -> Option<String> {
        let gate = self.letters.ask_gate().await;
        Some(self.flow.learn(&gate, &self.letters.destination, clock::now()))
    }

    /// Finds out what keeps the letters under way, when nothing has been heard of them.
    pub(super) async fn look_after_flow(&mut self) {
        let now = clock::now();
        let (under_way, oldest) = (self.outcomes.under_way(), self.outcomes.oldest());
        if !self.flow.should_ask(under_way, oldest, self.outcomes.last_heard, now) {
            return;
        }
        let gate = self.letters.ask_gate().await;
        let overdue = oldest.is_some_and(|oldest| now.saturating_duration_since(oldest) > LOST);
        if overdue && gate == GateView::Other("open".to_owned()) && self.letters.is_drained().await {
            self.outcomes.give_up();
        }
        let note = self.flow.learn(&gate, &self.letters.destination, now);
        self.note(Some(note));
    }

    /// All has been sent: waits for the last outcomes, but not for long.
    async fn last_outcomes(&mut self) -> Result<(), End> {
        self.phase(Phase::Finishing);
        while self.outcomes.under_way() > 0 {
            tokio::select! {
                () = cancelled(&mut self.signals) => return Ok(()),
                notice = next_notice(&mut self.notices) => self.hear(notice),
                () = clock::sleep(LAST_OUTCOMES) => return Ok(()),
            }
            self.show();
        }
        Ok(())
    }

    /// Waits until a person lets it go on.
    pub(super) async fn wait_while_paused(&mut self) -> Result<(), End> {
        let before = self.state.borrow().phase;
        loop {
            let signal = *self.signals.borrow_and_update();
            match signal {
                Signal::Run => break,
                Signal::Cancel => return Err(End::Cancelled),
                Signal::Pause => self.phase(Phase::Paused),
            }
            tokio::select! {
                changed = self.signals.changed() => if changed.is_err() { return Err(End::Cancelled) },
                notice = next_notice(&mut self.notices) => self.hear(notice),
            }
            self.show();
        }
        if self.state.borrow().phase == Phase::Paused {
            self.pace.anew(clock::now());
            self.phase(before);
        }
        Ok(())
    }

    /// Whether trouble at the broker has lasted too long.
    pub(super) fn away_too_long(&self, since: std::time::Instant, error: &ReadError) -> Result<(), End> {
        if clock::now().saturating_duration_since(since) < AWAY {
            return Ok(());
        }
        Err(End::Failed(format!("{error}; given up after {AWAY:?}")))
    }

    pub(super) fn hear(&mut self, notice: Option<Bytes>) {
        match notice {
            Some(notice) => match serde_json::from_slice(&notice) {
                Ok(notice) => {
                    self.fates.hear(&notice);
                    self.outcomes.hear(notice, clock::now());
                }
                Err(error) => tracing::debug!(%error, "an outcome cannot be read"),
            },
            None => self.notices = None,
        }
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    pub(super) fn note(&self, note: Option<String>) {
        self.state.send_if_modified(|state| std::mem::replace(&mut state.note, note.clone()) != note);
    }

    /// Shows what is known of outcomes.
    pub(super) fn show(&self) {
        let retrying = u64::try_from(self.outcomes.retrying()).unwrap_or(u64::MAX);
        let now = (self.outcomes.delivered, self.outcomes.dead_again, retrying, self.outcomes.suppressed);
        self.state.send_if_modified(|state| {
            let before = (state.delivered, state.dead_again, state.retrying, state.suppressed);
            if before.1 != now.1 {
                state.deaths = self.outcomes.deaths();
            }
            (state.delivered, state.dead_again, state.retrying, state.suppressed) = now;
            before != now
        });
    }

    fn entry(&self, outcome: Option<String>) -> audit::Entry {
        audit::Entry {
            at: clock::wall(),
            operation: self.id.clone(),
            by: self.plan.by.clone(),
            place: None,
            destination: self.letters.destination.clone(),
            act: self.plan.act.name().to_owned(),
            filter: which(&self.plan),
            count: self.state.borrow().selected,
            outcome,
            mark: None,
        }
    }
}

/// Which letters, and of an edit what is changed.
fn which(plan: &OperationPlan) -> String {
    let rewrite = plan.rewrite.as_ref().map(|rewrite| format!(" edited by {:?}", rewrite.shown()));
    format!("{}{}", plan.filter, rewrite.unwrap_or_default())
}

/// The next outcome; never where none are listened for.
pub(super) async fn next_notice(notices: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match notices {
        Some(notices) => notices.recv().await,
        None => std::future::pending().await,
    }
}

/// When a person wants it to end.
pub(super) async fn cancelled(signals: &mut watch::Receiver<Signal>) {
    // Where the sender is gone nobody can let it go on: that counts as cancelled, too.
    drop(signals.wait_for(|signal| *signal == Signal::Cancel).await);
}

const REFUSED: &str = "could not be copied and are still there";

/// So many, with the verb.
fn is_are(number: u64) -> String {
    format!("{number} {}", if number == 1 { "is" } else { "are" })
}

/// How it ended, for people.
fn told(end: &End, state: &OperationState, deaths: &str) -> (Phase, String) {
    let done = state.act.done();
    let letters = if state.selected == 1 { "letter" } else { "letters" };
    let mut parts = vec![format!("{} of {} {letters} {done}", state.moved, state.selected)];
    let known = state.delivered + state.dead_again + state.retrying + state.suppressed;
    let unknown = if state.act == Act::Replay { state.moved.saturating_sub(known) } else { 0 };
    for (count, what) in [
        (state.delivered, "delivered"),
        (state.dead_again, "died again"),
        (state.suppressed, "not sent since their person is suppressed"),
        (state.retrying, "waiting for another try"),
        (unknown, "on their way or without news"),
        (state.missing, "not there any more"),
        (state.refused, if state.refused == 1 { "could not be copied and is still there" } else { REFUSED }),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let why = if deaths.is_empty() { String::new() } else { format!("; died again with: {deaths}") };
    let counts = parts.join(", ") + &why;
    let still = if state.left() > 0 { format!("; {} still there", is_are(state.left())) } else { String::new() };
    match end {
        End::Done => (Phase::Done, counts),
        End::Stopped(why) => (Phase::Stopped, format!("stopped: {why}; {counts}{still}")),
        End::Cancelled => (Phase::Cancelled, format!("cancelled: {counts}{still}")),
        End::Failed(why) => (Phase::Failed, format!("failed: {why}; {counts}{still}")),
    }
}
