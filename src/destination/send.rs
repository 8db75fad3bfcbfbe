//! Sends what is ready: each request takes one place of the gate, whatever it is for.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, Request, header};
use jiff::Timestamp;

use super::attempt::Purpose;
use super::dispatch::{NextRequest, Turn};
use super::lines::Spot;
use super::open_hours::Quiet;
use super::ready_queue::{Batch, Ready};
use super::sender::Outgoing;
use super::{Driver, demand};
use crate::class::Class;
use crate::clock;
use crate::delivery::Keep;
use crate::delivery::token::Need;
use crate::gate::{Doubt, GateState, Pass, Permit};
use crate::redact;
use crate::traces::{self, Leg, Span};
use crate::vendors::{Item, Job, Secrets};
use crate::verdict::Reason;

impl Driver {
    /// Sends what the gate lets through.
    pub(super) fn send_ready(&mut self) {
        if self.dispatch.is_resting(clock::now()) || !self.knows_suppressed() {
            return;
        }
        self.dispatch.look_now();
        loop {
            let (now, wall) = (clock::now(), clock::wall());
            if let Some(until) = self.dispatch.machine.rests_until(self.sender.has_room(), now) {
                return self.dispatch.look_at([Some(until)]);
            }
            let quiet = self.hours.quiet(now, wall);
            let next = self.next(quiet, now, wall);
            if !self.is_proven(next.as_ref(), now) {
                return;
            }
            self.keeping.is_waiting = false;
            let Some(next) = next else { return };
            if !self.may_send() {
                return;
            }
            self.book();
            match self.dispatch.gate.pass(now, wall) {
                Pass::Go(permit) => self.send(next, permit, now, wall),
                Pass::Wait(until) => return self.dispatch.no_place_before(until),
                Pass::Full | Pass::Shut => return,
            }
        }
    }

    /// Whether what is next may be sent as far as the broker goes: where a channel may be dead, its events come again to somebody else.
    fn is_proven(&mut self, next: Option<&NextRequest>, now: Instant) -> bool {
        let dispatch = &mut self.dispatch;
        dispatch.is_unproven = false;
        if matches!(next, Some(NextRequest::Events(_))) && dispatch.gate.state(now) == GateState::Open {
            let age = demand::unproven(dispatch.gate.pace());
            self.inbox.proof.want(Some(age));
            dispatch.is_unproven = !self.inbox.proof.is_fresh(age, now);
        }
        !dispatch.is_unproven
    }

    /// What should be sent next; where there is nothing yet, the dispatch knows when to look again.
    fn next(&mut self, quiet: Option<Quiet>, now: Instant, wall: Timestamp) -> Option<NextRequest> {
        self.pass_over_settled();
        let mut next = if let Some(quiet) = quiet { self.in_quiet_hours(quiet, now) } else { self.waiting(now) };
        if quiet.is_none() && matches!(self.dispatch.gate.doubt(), Doubt::Few | Doubt::Alone) {
            let can_try = self.settings.vendor.credentials_check().is_some();
            next = self.dispatch.next_in_doubt(next, self.sender.in_flight(), can_try, now);
        }
        let next = next?;
        if self.side.tokens.is_saving() {
            return None;
        }
        match self.side.tokens.get().map(|tokens| (tokens.need(now, wall), tokens.due(now, wall))) {
            None | Some((Need::Ready(_), false)) => Some(next),
            Some((Need::Busy, _)) => None,
            Some((Need::Ready(_), true) | (Need::Fetch, _)) => Some(NextRequest::Token),
            Some((Need::NotBefore(at), _)) => {
                self.without_token_until(at, now);
                None
            }
        }
    }

    /// Outside of its hours nothing goes to the vendor but questions about what it has already.
    fn in_quiet_hours(&mut self, quiet: Quiet, now: Instant) -> Option<NextRequest> {
        let job = self.side.jobs.due(now).map(|job| NextRequest::Job(job.to_owned()));
        if job.is_none() {
            self.dispatch.look_at([Some(quiet.at), self.side.jobs.next()]);
        }
        job
    }

    /// What waits, without regard to tokens and doubts.
    fn waiting(&mut self, now: Instant) -> Option<NextRequest> {
        if let Some(name) = self.side.lookups.due(now) {
            return Some(NextRequest::Lookup(name.to_owned()));
        }
        let [live, bulk] = Class::ALL.map(|class| self.side.jobs.due_of(class, now));
        let due = |class| match class {
            Class::Live => live,
            Class::Bulk => bulk,
        };
        let soon = match self.dispatch.next_turn(|class| due(class).is_some(), now) {
            Turn::Question(class) => return due(class).map(|job| NextRequest::Job(job.to_owned())),
            Turn::Events(Ready::Now(place)) => return Some(NextRequest::Events(place)),
            Turn::Events(Ready::At(at)) => Some(at),
            Turn::Events(Ready::Nothing) => None,
        };
        self.dispatch.look_at([soon, self.side.next()]);
        None
    }

    /// No token may be asked for before then: the vendor allows only so many calls.
    fn without_token_until(&mut self, at: Instant, now: Instant) {
        if self.dispatch.gate.state_beneath() == GateState::Open
            && let Some(tokens) = self.side.tokens.get()
        {
            let (why, wait) = (tokens.why(now), at.saturating_duration_since(now));
            if tokens.is_refused() {
                self.dispatch.gate.park(&why, wait, now);
            } else {
                self.dispatch.gate.break_off(&why, wait, now);
            }
        }
        self.dispatch.look_at([Some(at)]);
    }

    /// Passes over what need not be sent any more: its channel has gone, or the request for its first copy was answered while
    /// this one waited.
    fn pass_over_settled(&mut self) {
        for class in Class::ALL {
            if self.dispatch.ready.of(class).is_empty() {
                continue;
            }
            let ready = self.dispatch.ready.of_mut(class);
            ready.forget_dead_parts();
            while ready.remove_first_if(|pending| !pending.delivery.ticket.is_live()).is_some() {}
            while self.dispatch.ready.of(class).first().is_some_and(|pending| self.settlements.was_delivered(pending)) {
                let known = self.dispatch.ready.of_mut(class).pop_first();
                known.into_iter().for_each(|pending| self.acknowledge(*pending));
            }
            while let Some(why) = self.dispatch.ready.of(class).first().and_then(|pending| pending.is_too_old()) {
                let Some(pending) = self.dispatch.ready.of_mut(class).pop_first() else { break };
                self.end_too_old((pending.delivery, pending.history, pending.tag), pending.replay, why);
            }
        }
    }

    fn send(&mut self, next: NextRequest, permit: Permit, now: Instant, wall: Timestamp) {
        let vendor = Arc::clone(&self.settings.vendor);
        let (purpose, request) = match next {
            NextRequest::Events(place) => return self.send_events(place, permit, now, wall),
            NextRequest::Token => {
                let tokens = self.side.tokens.get_mut().zip(vendor.grant());
                (Purpose::Token, tokens.and_then(|(tokens, grant)| tokens.request(grant, now)))
            }
            NextRequest::Lookup(name) => {
                self.side.lookups.sent(&name);
                let request = vendor.lookup(&name);
                (Purpose::Lookup(name), request)
            }
            NextRequest::Job(job) => {
                self.dispatch.asked(self.side.jobs.class_of(&job), now);
                self.side.jobs.sent(&job);
                let request = vendor.job_status(&job);
                (Purpose::Job(job), request)
            }
            NextRequest::Credentials => (Purpose::Credentials, vendor.credentials_check()),
        };
        match request {
            Some(request) => self.launch(purpose, request, Span::none(), permit),
            None => {
                self.dispatch.give_up(permit);
                self.no_request(purpose);
            }
        }
    }

    fn send_events(&mut self, place: Spot, mut permit: Permit, now: Instant, wall: Timestamp) {
        let Some(batch) = self.batch_at(place, &permit, now, wall) else { return self.dispatch.give_up(permit) };
        permit.is_about(batch.key());
        let items: Vec<&Item> = batch.events.iter().map(|pending| &pending.item).collect();
        match self.settings.vendor.request(&items) {
            Ok(mut request) => {
                Secrets::add(&mut request, &self.settings.map.secrets());
                self.dispatch.gate.carries(&permit, request.body().len());
                self.dispatch.sent(&batch, now);
                let span = self.trace(&batch, &mut request);
                self.launch(Purpose::Events(batch), request, span, permit);
            }
            Err(invalid) => {
                self.dispatch.give_up(permit);
                let sentence = redact::masked(&invalid.0, &self.settings.map.secrets());
                for pending in batch.events {
                    self.dead_letter(pending.delivery, pending.history, pending.tag, Reason::Invalid, sentence.clone());
                }
            }
        }
    }

    /// The events that travel next, without those that need not be sent any more.
    fn batch_at(&mut self, place: Spot, permit: &Permit, now: Instant, wall: Timestamp) -> Option<Batch> {
        let mut batch = self.dispatch.take(place, permit, now, wall)?;
        for pending in
            batch.events.extract_if(.., |pending| self.settlements.was_delivered(pending)).collect::<Vec<_>>()
        {
            self.acknowledge(*pending);
        }
        for pending in batch.events.extract_if(.., |pending| pending.is_too_old().is_some()).collect::<Vec<_>>() {
            let why = pending.is_too_old().unwrap_or_default();
            self.end_too_old((pending.delivery, pending.history, pending.tag), pending.replay, why);
        }
        if self.suppressing.is_some() {
            for pending in batch.events.extract_if(.., |pending| self.is_suppressed(pending)).collect::<Vec<_>>() {
                self.end_suppressed(pending.delivery, pending.history, pending.tag);
            }
        }
        batch.events.retain(|pending| pending.delivery.ticket.is_live());
        (!batch.events.is_empty()).then_some(batch)
    }

    /// The spans of a request for events, which then carries the trace on: as the spans say, or as its event came.
    fn trace(&self, batch: &Batch, request: &mut Request<Bytes>) -> Span {
        let legs = batch.events.iter().map(|pending| Leg {
            id: pending.tag.id.as_deref(),
            kind: &pending.tag.kind,
            traceparent: pending.trace.as_ref().map(|trace| &trace.parent),
            taken: pending.taken,
        });
        let span = traces::request(&self.settings.name, request, legs);
        let own = if let [pending] = &batch.events[..] { pending.trace.as_ref() } else { None };
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
    fn launch(&mut self, purpose: Purpose, mut request: Request<Bytes>, span: Span, permit: Permit) {
        let mut generation = None;
        if let Some(tokens) = self.side.tokens.get().filter(|_| !matches!(purpose, Purpose::Token)) {
            let Need::Ready(bearer) = tokens.need(clock::now(), clock::wall()) else {
                // It ended while the request was made.
                return self.take_back(purpose, permit);
            };
            generation = Some(bearer.generation);
            request.headers_mut().insert(header::AUTHORIZATION, bearer.header);
        }
        let metrics = &self.report.metrics;
        metrics.requests.inc();
        let keep = match &purpose {
            Purpose::Events(batch) => {
                metrics.batch_events.observe(f64::from(u32::try_from(batch.events.len()).unwrap_or(u32::MAX)));
                self.settings.vendor.answer_bytes(batch.events.len())
            }
            Purpose::Token => Keep::TOKEN.0,
            Purpose::Lookup(_) | Purpose::Credentials => Keep::LOOKUP.0,
            Purpose::Job(_) => Keep::JOB.0,
        };
        request.extensions_mut().insert(Keep(keep));
        // The call for a token counts though this worker may be killed before it is answered.
        let first =
            if matches!(purpose, Purpose::Token) { self.tokens_kept(clock::now(), clock::wall()) } else { None };
        request.extensions_mut().insert(self.keeping.lease.fence().clone());
        if let Purpose::Events(batch) = &purpose
            && batch.class() == Class::Bulk
        {
            self.bulk.in_flight += 1;
            self.settlements.bulk.sent(batch.events.len());
        }
        self.sender.send(Outgoing { purpose, request, generation, permit, span }, first);
    }

    /// Nothing could be asked: the vendor's folder names no request for it.
    pub(super) fn no_request(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Lookup(name) => self.lookup_refused(&name, "the vendor has nothing of that name"),
            Purpose::Job(id) => self.job_ended(&id, Job::Unknown(format!("job {id} cannot be asked about"))),
            Purpose::Token => {
                let why = "no access token: the configured sign-in needs a refresh token, and there is none";
                self.dispatch.gate.park(why, demand::LONGEST_HOLD, clock::now());
            }
            Purpose::Events(_) | Purpose::Credentials => {}
        }
    }
}
