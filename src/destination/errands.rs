//! Requests that carry no events, and what their answers change: a new access token, what had to be looked up, how a job is.

use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;

use super::attempt::{Errand, Exchange};
use super::intake::Held;
use super::judge::carrying_history;
use super::rule::{self, Next, Standing, Whose, age, delay};
use super::settle::unchecked;
use super::{Driver, doubt, hold, outcome};
use crate::clock;
use crate::config;
use crate::delivery::token::{Need, Outcome, Stored, Tokens};
use crate::delivery::token_file;
use crate::gate::{Answer, Hints, Permit, State, hints};
use crate::record::history::{Attempt, Watched};
use crate::vendors::{Before, Job};
use crate::verdict::{Reason, Settlement, Verdict};

/// The tokens of a destination, with what its token file or the driver before this one kept, and the file to keep them in from now on.
pub(super) fn tokens(
    settings: &config::Destination,
    before: Option<Stored>,
    now: Instant,
    wall: Timestamp,
) -> (Option<Tokens>, Option<PathBuf>) {
    let Some(grant) = settings.vendor.grant() else { return (None, None) };
    let (mut file, mut kept) = (grant.token_file().map(Path::to_owned), None);
    if let Some(path) = &file {
        match token_file::load(path) {
            Ok(stored) => kept = stored,
            Err(problem) => {
                tracing::error!(destination = settings.name, "{problem}; tokens are kept in memory alone");
                file = None;
            }
        }
    }
    let stored = before.filter(|before| before.is_of(grant)).or(kept);
    if stored.as_ref().is_some_and(|stored| !stored.is_of(grant)) {
        tracing::warn!(
            destination = settings.name,
            "the token that was kept is another account's; asking for a new one"
        );
    }
    (Some(Tokens::new(grant, stored, now, wall)), file)
}

/// Writes tokens to their file. A refresh token that is lost cannot be had again.
pub(super) async fn keep(destination: String, path: PathBuf, stored: Stored) {
    match tokio::task::spawn_blocking(move || token_file::save(&path, &stored)).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => tracing::error!(destination, "{problem}; after a restart it has to sign in anew"),
        Err(error) => tracing::error!(destination, %error, "the token file could not be written"),
    }
}

impl Driver {
    pub(super) fn token_answered(&mut self, permit: Permit, exchange: &Exchange) {
        let (now, wall) = (clock::now(), clock::wall());
        let vendor = self.settings.vendor.clone();
        let (Some(tokens), Some(grant)) = (self.tokens.as_mut(), vendor.grant()) else { return };
        let Some(result) = &exchange.result else { return };
        let outcome = match result {
            Ok(reply) => tokens.answered(grant, Ok(&reply.without_secrets(&exchange.request)), now, wall),
            Err(trouble) => tokens.answered(grant, Err(trouble), now, wall),
        };
        let hints = exchange.reply().map(|reply| hints(&reply.headers, wall)).unwrap_or_default();
        let told = match &outcome {
            Outcome::Token | Outcome::Again | Outcome::Refused(_) | Outcome::Unavailable(_) => Answer::Neutral,
            Outcome::Throttled(_) => Answer::Throttled,
        };
        // What came is kept before anything is sent with it.
        if let Some(path) = self.token_file.clone() {
            self.keeping.push(Box::pin(keep(self.settings.name.clone(), path, tokens.stored(now, wall))));
        }
        let before = self.gate.state(now);
        self.gate.finished(permit, told, &hints, now, wall);
        let destination = self.settings.name.as_str();
        match outcome {
            Outcome::Token => {
                tracing::info!(destination, ms = exchange.ms(), "a new access token");
            }
            Outcome::Again => tracing::warn!(destination, "the refresh token was refused; signing in anew"),
            Outcome::Throttled(said) => tracing::warn!(destination, said, "too many calls for an access token"),
            Outcome::Unavailable(said) => {
                let said = exchange.masked(&said);
                tracing::warn!(destination, said, "no access token yet");
                if let Need::NotBefore(until) = tokens.need(now, wall) {
                    self.gate.break_off(&said, until.saturating_duration_since(now), now);
                }
            }
            Outcome::Refused(said) => {
                let said = exchange.masked(&said);
                let wait = match tokens.need(now, wall) {
                    Need::NotBefore(until) => until.saturating_duration_since(now),
                    Need::Ready(_) | Need::Fetch | Need::Busy => hold::LONGEST_HOLD,
                };
                self.gate.park(&said, wait, now);
            }
        }
        self.gate_changed(before);
    }

    pub(super) fn lookup_answered(&mut self, name: &str, mut permit: Permit, exchange: &Exchange) {
        let (verdict, sentence, told) = self.verdict(exchange, false, &Before::default());
        let (learned, told) = match (told, exchange.reply()) {
            (Answer::Success, Some(reply)) => match self.settings.vendor.learn(name, reply) {
                // What was learned is not yet an event delivered.
                Ok(value) => (Some(Ok(value)), Answer::Neutral),
                Err(said) => (Some(Err(exchange.masked(&said))), Answer::Rejected),
            },
            (Answer::Rejected, _) => (Some(Err(sentence.clone())), told),
            _ => (None, told),
        };
        let parked = self.gate.state_beneath() == State::Parked;
        let key = doubt::key(name);
        permit.is_about(key);
        let mut whose = self.tell_of_trouble(permit, None, told, exchange);
        if told == Answer::Unauthorized {
            whose = self.whose_refusal(told, key);
        }
        let verdict = if told == Answer::Unauthorized { verdict } else { Verdict::Unavailable(sentence.clone()) };
        let record = || exchange.record(&verdict, &sentence);
        match learned {
            Some(Ok(value)) => self.learned(name, value),
            Some(Err(said)) if !parked => self.lookup_refused(name, &said),
            // Other requests go well: what waits for this one must not be in their way.
            None if matches!(told, Answer::Trouble | Answer::Unauthorized) && whose == Whose::Events => {
                self.put_off(name, &record());
            }
            None if self.gate.doubts(key) => {
                self.doubts.lookups.insert(name.to_owned(), record());
                self.lookups.unanswered(name, clock::now());
            }
            Some(Err(_)) | None => self.lookups.unanswered(name, clock::now()),
        }
    }

    /// The deliveries that wait for a lookup are tried again later, an attempt spent.
    pub(super) fn put_off(&mut self, name: &str, record: &Attempt) {
        let wall = clock::wall();
        for delivery in self.lookups.give_up(name) {
            let (mut history, tag) = unchecked(&delivery, wall);
            history.add(record.clone());
            let settlement = self.retry(&history, &record.excerpt, wall);
            if let Settlement::RetryLater(_) = settlement {
                history.spend(record.at);
            }
            self.settle_later(delivery, history, tag, settlement);
        }
    }

    /// What waited can be checked, and what was checked against something else is checked anew, in the order of arrival.
    fn learned(&mut self, name: &str, value: Value) {
        let changed = self.lookups.known(name).is_some_and(|before| *before != value);
        let mut deliveries = Vec::from(self.lookups.learned(name, value, clock::now()));
        if changed {
            let checked = self.line.take_out(|pending| pending.item.lookup.as_deref() == Some(name));
            deliveries.extend(checked.into_iter().map(|pending| carrying_history(*pending)));
        }
        deliveries.sort_by_key(|delivery| delivery.ticket.tag());
        deliveries.into_iter().for_each(|delivery| self.check(delivery));
    }

    fn lookup_refused(&mut self, name: &str, said: &str) {
        let Some(delivery) = self.lookups.refused(name, clock::now()) else { return };
        let (history, tag) = unchecked(&delivery, clock::wall());
        self.bury(delivery, history, tag, Reason::Invalid, format!("{name:?} could not be looked up: {said}"));
    }

    /// Nothing could be asked: the vendor's folder names no request for it.
    pub(super) fn no_request(&mut self, errand: Errand) {
        match errand {
            Errand::Lookup(name) => self.lookup_refused(&name, "the vendor has nothing of that name"),
            Errand::Job(id) => self.job_ended(&id, Job::Unknown(format!("job {id} cannot be asked about"))),
            Errand::Token => {
                let why = "no access token: without a refresh token the configured sign-in has no way to one";
                let before = self.gate.state(clock::now());
                self.gate.park(why, hold::LONGEST_HOLD, clock::now());
                self.gate_changed(before);
            }
            Errand::Events(_) | Errand::Credentials => {}
        }
    }

    /// The events' end is decided by a job: they stay unsettled until it is known.
    pub(super) fn watch(&mut self, job: &Watched, events: Vec<Held>, accepted: bool) {
        if let Some((end, events)) = self.jobs.watch(job, events, accepted, clock::now()) {
            self.settle_job(&end, events);
        }
    }

    pub(super) fn job_answered(&mut self, id: &str, mut permit: Permit, exchange: &Exchange) {
        let now = clock::now();
        let (_, _, told) = self.verdict(exchange, false, &Before::default());
        let decided = matches!(told, Answer::Success | Answer::Rejected);
        let job = match (decided, exchange.reply()) {
            (true, Some(reply)) => self.settings.vendor.judge_job(id, reply),
            _ => Job::Running,
        };
        let told = match &job {
            Job::Done { applied: 1.., .. } => Answer::Success,
            Job::Running | Job::Done { .. } | Job::Failed(_) | Job::Unknown(_) if decided => Answer::Undecided,
            Job::Running | Job::Done { .. } | Job::Failed(_) | Job::Unknown(_) => told,
        };
        let parked = self.gate.state_beneath() == State::Parked;
        permit.is_about(doubt::key(id));
        self.tell_gate(permit, told, exchange);
        match job {
            Job::Running => {
                self.jobs.is_known(id);
                self.jobs.goes_on(id, now);
            }
            Job::Unknown(_) if !self.jobs.is_unknown(id, now) => self.jobs.goes_on(id, now),
            Job::Done { applied: 0, rejected, ref sentence } if parked && rejected > 0 => {
                // As with events that are refused one by one: a parked destination loses no more.
                self.job_ended(id, Job::Failed(sentence.clone()));
            }
            end @ (Job::Done { .. } | Job::Failed(_) | Job::Unknown(_)) => self.job_ended(id, end),
        }
    }

    fn job_ended(&mut self, id: &str, end: Job) {
        let now = clock::now();
        if let Job::Done { applied: 0, rejected, .. } = end {
            let before = self.gate.state(now);
            self.gate.rejected(rejected, now);
            self.gate_changed(before);
        }
        let events = self.jobs.ended(id, end.clone(), now);
        self.settle_job(&end, events);
    }

    /// What a job's end means for its events.
    fn settle_job(&mut self, end: &Job, events: Vec<Held>) {
        let wall = clock::wall();
        for mut pending in events {
            let Some(job) = pending.history.job.take() else { continue };
            let settlement = match end {
                Job::Done { applied, rejected: 0, .. } if *applied >= job.rows => Settlement::Ack,
                Job::Done { applied: 0, sentence, .. } => Settlement::DeadLetter(Reason::Rejected, sentence.clone()),
                Job::Done { sentence, .. } => {
                    Settlement::DeadLetter(Reason::PartlyRejected, in_part(sentence, job.rows))
                }
                Job::Failed(sentence) => match self.retry(&pending.history, sentence, wall) {
                    Settlement::RetryLater(delay) => {
                        pending.history.spend(wall);
                        Settlement::RetryLater(delay)
                    }
                    settlement @ (Settlement::Ack | Settlement::DeadLetter(..) | Settlement::Release) => settlement,
                },
                Job::Unknown(sentence) => Settlement::DeadLetter(Reason::Unconfirmed, unknown(sentence)),
                // Not an end.
                Job::Running => Settlement::Release,
            };
            outcome::job(&mut self.recent, &self.settings.name, &pending.tag, &job.id, &settlement);
            if settlement == Settlement::Ack {
                self.delivered(&pending, wall);
            }
            self.settle(*pending, settlement);
        }
    }

    fn retry(&self, history: &super::History, sentence: &str, wall: Timestamp) -> Settlement {
        let verdict = Verdict::Unavailable(sentence.to_owned());
        let (retry, failing_since) = (&self.settings.retry, history.failing_since);
        let standing = Standing { whose: Whose::Events, parked: false, history, failing_since, retry, wall };
        match rule::next(&verdict, sentence, &standing) {
            Next::Settle(settlement) => settlement,
            Next::Wait { .. } => Settlement::RetryLater(delay(&retry.delays, history.retries)),
        }
    }

    /// Events whose job has to be asked about later wait at the broker, with the job's number. They are not sent again.
    pub(super) fn ask_later(&mut self, events: Vec<Held>) {
        let (wall, retry) = (clock::wall(), self.settings.retry.clone());
        for pending in events {
            let Some(job) = pending.history.job.clone() else { continue };
            let settlement = if wall.duration_since(job.since) >= age(retry.max_age) {
                let sentence = format!("job {} did not end within {:#}", job.id, age(retry.max_age));
                Settlement::DeadLetter(Reason::Unconfirmed, unknown(&sentence))
            } else {
                Settlement::RetryLater(delay(&retry.delays, 0))
            };
            self.settle(*pending, settlement);
        }
    }

    /// Tells the gate what became of a request, which was for the event of that `key`, where it was for one; whose trouble it is, if it is
    /// trouble.
    pub(super) fn tell_of_trouble(
        &mut self,
        permit: Permit,
        key: Option<u64>,
        told: Answer,
        exchange: &Exchange,
    ) -> Whose {
        let probe = permit.probe;
        self.tell_gate(permit, told, exchange);
        if matches!(told, Answer::Success | Answer::Rejected | Answer::Undecided) {
            self.went_well = Some(clock::wall());
        }
        let troubled = std::mem::replace(&mut self.troubled, (told == Answer::Trouble).then_some(key));
        // The same one twice says no more than once.
        let another = troubled.is_some_and(|before| before.is_none() || before != key);
        let vendors = another || probe || self.gate.state_beneath() == State::Broken;
        if vendors { Whose::Vendors } else { Whose::Events }
    }

    /// Tells the gate what became of a request, and the log where that changed the gate.
    pub(super) fn tell_gate(&mut self, permit: Permit, told: Answer, exchange: &Exchange) {
        let (now, wall) = (clock::now(), clock::wall());
        let hints: Hints = exchange.reply().map(|reply| hints(&reply.headers, wall)).unwrap_or_default();
        let before = self.gate.state(now);
        self.gate.finished(permit, told, &hints, now, wall);
        self.gate_changed(before);
    }

    /// Says a change of the gate's, once.
    pub(super) fn gate_changed(&mut self, before: State) {
        let (now, wall) = (clock::now(), clock::wall());
        if self.gate.state(now) != before {
            if matches!(before, State::Throttled | State::Broken) && self.gate.state(now) == State::Open {
                self.rest_few();
            }
            let status = self.gate.status(now, wall);
            outcome::gate_changed(&self.settings.name, before, &status);
            if status.state == State::Parked {
                self.desk.receipt_of_parking(&status.why);
            }
            self.recent.see(&status, wall);
        }
    }
}

fn in_part(sentence: &str, rows: u64) -> String {
    format!(
        "{sentence}; the vendor does not say which of the {rows} rows it rejected, so this one may have been applied: look before you replay it"
    )
}

fn unknown(sentence: &str) -> String {
    format!("{sentence}; the vendor had accepted it, so it may have been applied: look before you replay it")
}
