//! What goes out next, and its going out: one place of the gate's for each request, whatever it is for.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, Request, header};
use jiff::Timestamp;

use super::attempt::{self, Errand};
use super::line::{Load, Place, Ready, Wanted};
use super::{Driver, batch, errands, hold};
use crate::clock;
use crate::delivery::Keep;
use crate::delivery::token::Need;
use crate::gate::{Answer, Doubt, Hints, Pass, Permit, State};
use crate::redact;
use crate::traces::{self, Leg, Span};
use crate::vendors::{Item, Secrets};
use crate::verdict::Reason;

/// What is next, not yet taken from where it waits.
#[derive(Debug)]
pub(super) enum Next {
    Token,
    Lookup(String),
    Job(String),
    Events(Place),
    Credentials,
}

impl Driver {
    /// Sends what the gate lets through.
    pub(super) fn admit(&mut self) {
        // Parked since there was nothing else to ask, what comes now is asked at once.
        if self.next_place.is_some_and(|next| next > clock::now()) && self.gate.doubt() != Doubt::Alone {
            return;
        }
        (self.next_place, self.next_turn) = (None, None);
        loop {
            let (now, wall) = (clock::now(), clock::wall());
            if let Some(until) = self.machine.rests_until(self.transport.has_room(), now) {
                self.next_turn = Some(until);
                return;
            }
            let next = self.next(now, wall);
            if !self.is_proven(next.as_ref(), now) {
                return;
            }
            let Some(next) = next else { return };
            match self.gate.pass(now, wall) {
                Pass::Go(permit) => self.send(next, permit, now, wall),
                Pass::Wait(until) => {
                    self.next_place = Some(until);
                    return;
                }
                Pass::Full | Pass::Shut => return,
            }
        }
    }

    /// Whether what is next may be sent as far as the broker goes: where a channel may be dead, its events come again to somebody else.
    fn is_proven(&mut self, next: Option<&Next>, now: Instant) -> bool {
        self.is_unproven = false;
        if matches!(next, Some(Next::Events(_))) && self.gate.state(now) == State::Open {
            let age = hold::unproven(self.gate.pace());
            self.inbox.proof.want(Some(age));
            self.is_unproven = !self.inbox.proof.is_fresh(age, now);
        }
        !self.is_unproven
    }

    /// What should be sent next; where there is nothing yet, `next_turn` says when to look again.
    fn next(&mut self, now: Instant, wall: Timestamp) -> Option<Next> {
        self.pass_over_settled();
        let next = match self.waiting(now) {
            next if !matches!(self.gate.doubt(), Doubt::Few | Doubt::Alone) => next,
            next => self.next_in_doubt(next, now),
        }?;
        if !self.keeping.is_empty() {
            return None;
        }
        match self.tokens.as_ref().map(|tokens| (tokens.need(now, wall), tokens.due(now, wall))) {
            None | Some((Need::Ready(_), false)) => Some(next),
            Some((Need::Busy, _)) => None,
            Some((Need::Ready(_), true) | (Need::Fetch, _)) => Some(Next::Token),
            Some((Need::NotBefore(at), _)) => self.without_token_until(at, now),
        }
    }

    /// What waits, without regard to tokens and doubts.
    fn waiting(&mut self, now: Instant) -> Option<Next> {
        if let Some(name) = self.lookups.due(now) {
            return Some(Next::Lookup(name.to_owned()));
        }
        let wanted = match self.gate.doubt() {
            Doubt::Few => Wanted::Others,
            Doubt::Alone | Doubt::Account => Wanted::Probe,
            Doubt::None => match self.gate.state_beneath() {
                State::Broken | State::Throttled => Wanted::Probe,
                State::Open | State::Paused | State::Parked => Wanted::First,
            },
        };
        let lanes = &self.lanes;
        match (self.line.ready(wanted, now, |lane| lanes.free(lane, now)), self.jobs.due(now)) {
            (Ready::Now(place), Some(_)) if self.asked_about_job => Some(Next::Events(place)),
            (_, Some(job)) => Some(Next::Job(job.to_owned())),
            (Ready::Now(place), None) => Some(Next::Events(place)),
            (Ready::At(at), None) => self.wait_for([Some(at), self.jobs.next(), self.lookups.next()]),
            (Ready::Nothing, None) => self.wait_for([None, self.jobs.next(), self.lookups.next()]),
        }
    }

    fn wait_for(&mut self, times: [Option<Instant>; 3]) -> Option<Next> {
        self.next_turn = times.into_iter().flatten().min();
        None
    }

    /// No token may be asked for before then: the vendor allows only so many calls.
    fn without_token_until(&mut self, at: Instant, now: Instant) -> Option<Next> {
        if self.gate.state_beneath() == State::Open
            && let Some(tokens) = &self.tokens
        {
            let (why, wait) = (tokens.why(now), at.saturating_duration_since(now));
            if tokens.is_refused() {
                self.gate.park(&why, wait, now);
            } else {
                self.gate.break_off(&why, wait, now);
            }
            self.gate_changed(State::Open);
        }
        self.wait_for([Some(at), None, None])
    }

    /// Passes over what need not be sent any more: its channel has gone, or the request for its first copy was answered while
    /// this one waited.
    fn pass_over_settled(&mut self) {
        self.line.forget_dead_parts();
        while self.line.remove_first_if(|pending| !pending.delivery.ticket.is_live()).is_some() {}
        while self.line.first().is_some_and(|pending| self.was_delivered(pending)) {
            self.line.pop_first().into_iter().for_each(|pending| self.acknowledge(*pending));
        }
    }

    fn send(&mut self, next: Next, mut permit: Permit, now: Instant, wall: Timestamp) {
        self.asked_about_job = matches!(next, Next::Job(_));
        let vendor = Arc::clone(&self.settings.vendor);
        let (errand, request) = match next {
            Next::Events(place) => match self.load(place, &permit, now, wall) {
                Some(load) => {
                    permit.is_about(load.key());
                    return self.send_load(load, permit);
                }
                None => return self.give_up(permit),
            },
            Next::Token => {
                let tokens = self.tokens.as_mut().zip(vendor.grant());
                (Errand::Token, tokens.and_then(|(tokens, grant)| tokens.request(grant, now)))
            }
            Next::Lookup(name) => {
                self.lookups.sent(&name);
                let request = vendor.lookup(&name);
                (Errand::Lookup(name), request)
            }
            Next::Job(job) => {
                self.jobs.sent(&job);
                let request = vendor.job_status(&job);
                (Errand::Job(job), request)
            }
            Next::Credentials => (Errand::Credentials, vendor.credentials_check()),
        };
        match request {
            Some(request) => self.launch(errand, request, Span::none(), permit),
            None => {
                self.give_up(permit);
                self.no_request(errand);
            }
        }
    }

    /// The events that travel next, without those that need not be sent any more.
    fn load(&mut self, place: Place, permit: &Permit, now: Instant, wall: Timestamp) -> Option<Load> {
        // A probe risks one event, not many.
        let mut load = if permit.probe {
            self.line.take_one(place)?
        } else {
            let together = batch::together(&self.batching, self.line.len(), || self.gate.spare(now, wall));
            self.line.take(place, &self.batching, together.then_some(now))?
        };
        for pending in load.events.extract_if(.., |pending| self.was_delivered(pending)).collect::<Vec<_>>() {
            self.acknowledge(*pending);
        }
        load.events.retain(|pending| pending.delivery.ticket.is_live());
        (!load.events.is_empty()).then_some(load)
    }

    fn send_load(&mut self, load: Load, permit: Permit) {
        let items: Vec<&Item> = load.events.iter().map(|pending| &pending.item).collect();
        match self.settings.vendor.request(&items) {
            Ok(mut request) => {
                Secrets::add(&mut request, &self.settings.map.secrets());
                self.gate.carries(&permit, request.body().len());
                if let Some(lane) = load.lane() {
                    self.lanes.take(lane);
                }
                let span = self.trace(&load, &mut request);
                self.launch(Errand::Events(load), request, span, permit);
            }
            Err(invalid) => {
                self.give_up(permit);
                let sentence = redact::masked(&invalid.0, &self.settings.map.secrets());
                for pending in load.events {
                    self.bury(pending.delivery, pending.history, pending.tag, Reason::Invalid, sentence.clone());
                }
            }
        }
    }

    /// The spans of a request for events, which then carries the trace on: as the spans say, or as its event came.
    fn trace(&self, load: &Load, request: &mut Request<Bytes>) -> Span {
        let legs = load.events.iter().map(|pending| Leg {
            id: pending.tag.id.as_deref(),
            kind: &pending.tag.kind,
            traceparent: pending.trace.as_ref().map(|trace| &trace.parent),
            taken: pending.taken,
        });
        let span = traces::request(&self.settings.name, request, legs);
        let own = if let [pending] = &load.events[..] { pending.trace.as_ref() } else { None };
        if let Some(parent) = span.traceparent().or_else(|| own.map(|trace| trace.parent.clone())) {
            request.headers_mut().insert(HeaderName::from_static("traceparent"), parent);
        }
        // The spans of a single event go on with its trace.
        if let Some(state) = own.and_then(|trace| trace.state.clone()) {
            request.headers_mut().insert(HeaderName::from_static("tracestate"), state);
        }
        span
    }

    /// Sends a request, with the access token where there is one.
    fn launch(&mut self, errand: Errand, mut request: Request<Bytes>, span: Span, permit: Permit) {
        let mut generation = None;
        if let Some(tokens) = self.tokens.as_ref().filter(|_| !matches!(errand, Errand::Token)) {
            let Need::Ready(bearer) = tokens.need(clock::now(), clock::wall()) else {
                // It ended while the request was made.
                return self.take_back(errand, permit);
            };
            generation = Some(bearer.generation);
            request.headers_mut().insert(header::AUTHORIZATION, bearer.header);
        }
        self.metrics.places.inc();
        if let Errand::Events(load) = &errand {
            self.metrics.batch_events.observe(f64::from(u32::try_from(load.events.len()).unwrap_or(u32::MAX)));
        }
        let keep = match &errand {
            Errand::Events(load) => self.settings.vendor.answer_bytes(load.events.len()),
            Errand::Token => Keep::TOKEN.0,
            Errand::Lookup(_) | Errand::Credentials => Keep::LOOKUP.0,
            Errand::Job(_) => Keep::JOB.0,
        };
        request.extensions_mut().insert(Keep(keep));
        let transport = Arc::clone(&self.transport);
        let hurry = self.hurry.clone();
        let (token_file, tokens) = (self.token_file.clone(), self.tokens.as_ref());
        let kept = token_file.zip(tokens).filter(|_| matches!(errand, Errand::Token));
        let attempt = attempt::make(transport, errand, request, generation, permit, span, hurry);
        let Some((path, tokens)) = kept else { return self.attempts.push(Box::pin(attempt)) };
        // The call counts though this worker may be killed before it is answered.
        let keeping = errands::keep(self.settings.name.clone(), path, tokens.stored(clock::now(), clock::wall()));
        self.attempts.push(Box::pin(async move {
            keeping.await;
            attempt.await
        }));
    }

    /// Gives a permit back that was not used.
    pub(super) fn give_up(&mut self, permit: Permit) {
        self.gate.finished(permit, Answer::Neutral, &Hints::default(), clock::now(), clock::wall());
    }
}
