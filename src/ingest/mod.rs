//! Events over HTTP: CloudEvents' HTTP binding and plain JSON in, publications out. 202 is said only after the broker's confirm.

mod answer;
mod door;
mod forms;
mod openapi;
mod rates;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use self::answer::{AGAIN_AFTER, Outcome, Stop, Told, answer};
use self::door::{Caller, identify};
use self::forms::{Form, MOST_EVENTS, Wrong};
use self::rates::Rates;
use crate::broker::port::{PublishError, Publisher};
use crate::broker::{Broker, BrokerStatus, Names};
use crate::class::{Class, UnknownClass};
use crate::config::{Config, Ingest as Settings, IngestToken};
use crate::event::{Context, Event};
use crate::history::{About, Recorder, StepKind};
use crate::message::{Field, Message};
use crate::metrics::Metrics;
use crate::supervisor::Part;
use crate::{clock, lint, serving};

/// Where events are published. Signed webhooks add the name of their token.
const PATH: &str = "/v1/events";
/// Time for a body to come.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Time for the broker to confirm what came in one request.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
/// Time for requests to be answered when the worker stops.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// What the bodies of all requests may take together, in units of [`UNIT`].
const ROOM: usize = 1024;
/// The least that a request counts for, so that there are no more than [`ROOM`] at once. Bytes.
const UNIT: usize = 64 * 1024;
/// Who was not let in.
const NOBODY: &str = "none";

/// What takes events over HTTP.
#[derive(Debug)]
pub struct Ingest {
    publisher: Publisher,
    names: Names,
    status: watch::Receiver<BrokerStatus>,
    metrics: Metrics,
    history: Option<Recorder>,
    tokens: RwLock<Arc<[IngestToken]>>,
    max_event_bytes: usize,
    max_body_bytes: usize,
    rates: Rates,
    room: Semaphore,
}

impl Ingest {
    /// For what `[ingest]` says; none where it is not set.
    #[must_use]
    pub fn of(config: &Config, broker: &Broker, metrics: &Metrics, history: Option<Recorder>) -> Option<Arc<Self>> {
        let settings = config.ingest.as_ref()?;
        let ends = (broker.publisher(), broker.status());
        let told = (metrics.clone(), history);
        Some(Self::new(settings, config.broker.max_event_bytes, ends, (broker.names().clone(), told)))
    }

    fn new(
        settings: &Settings,
        max_event_bytes: usize,
        (publisher, status): (Publisher, watch::Receiver<BrokerStatus>),
        (names, (metrics, history)): (Names, (Metrics, Option<Recorder>)),
    ) -> Arc<Self> {
        Arc::new(Self {
            publisher,
            names,
            status,
            metrics,
            history,
            tokens: RwLock::new(settings.tokens.clone().into()),
            max_event_bytes,
            // A larger event than body would be allowed in vain.
            max_body_bytes: settings.max_body_bytes.max(max_event_bytes).min(ROOM * UNIT),
            rates: Rates::default(),
            room: Semaphore::new(ROOM),
        })
    }

    /// The tokens that count from now on. The last is never dropped, only replaced: the address that is listened on does not change at a
    /// reload, and may be off loopback.
    pub fn reloaded(&self, config: &Config) {
        if let Some(settings) = config.ingest.as_ref().filter(|settings| !settings.tokens.is_empty()) {
            *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = settings.tokens.clone().into();
        } else if !self.tokens().is_empty() {
            tracing::warn!(
                "the configuration has no [ingest.tokens] any more; those of before stay valid until the worker restarts"
            );
        }
    }

    fn tokens(&self) -> Arc<[IngestToken]> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a request, and counts it.
    async fn answered(&self, named: Option<String>, request: Request) -> Response {
        let tokens = self.tokens();
        let (parts, body) = request.into_parts();
        let (token, response) = match identify(&tokens, named.as_deref(), &parts.headers) {
            Ok(caller) => (caller.name(), self.taken(&caller, &parts, body).await.unwrap_or_else(Stop::into_response)),
            Err(stop) => (NOBODY, stop.into_response()),
        };
        let class = match response.status().as_u16() {
            200..=299 => "2xx",
            300..=499 => "4xx",
            _ => "5xx",
        };
        self.metrics.ingest_requests_total.with_label_values(&[token, class]).inc();
        response
    }

    async fn taken(&self, caller: &Caller<'_>, parts: &Parts, body: Body) -> Result<Response, Stop> {
        if let Some(wait) = self.rates.wait(caller.name(), clock::now()) {
            let said = format!("the token {:?} publishes more than its rate allows", caller.name());
            return Err(Stop::for_now(StatusCode::TOO_MANY_REQUESTS, said, wait));
        }
        self.ready()?;
        let headers = &parts.headers;
        let class = class_of(parts.uri.query())?;
        let form = Form::of(headers).map_err(|said| Stop::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, said))?;
        let most = if form.is_one() { self.max_event_bytes } else { self.max_body_bytes };
        let _room = self.room_for(headers, most)?;
        let body = read(body, most).await?;
        caller.check_signature(headers, &body, clock::wall())?;
        let messages = form.messages(headers, &body).map_err(|wrong| match wrong {
            Wrong::Unreadable(said) => Stop::new(StatusCode::BAD_REQUEST, said),
            Wrong::TooMany => Stop::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a request has at most {MOST_EVENTS} events; send several"),
            ),
        })?;
        let checked: Vec<_> = messages.into_iter().map(|message| self.checked(caller, headers, message)).collect();
        let good = checked.iter().filter(|one| one.is_ok()).count();
        if let Some(rate) = caller.token.and_then(|token| token.rate) {
            self.rates.count(caller.name(), rate, good, clock::now());
        }
        let told = self.published(class, checked).await;
        for one in &told {
            self.metrics.ingest_events_total.with_label_values(&[caller.name(), one.outcome.name()]).inc();
        }
        Ok(answer(&told))
    }

    /// Nobody waits for a broker that is known to take nothing.
    fn ready(&self) -> Result<(), Stop> {
        let status = self.status.borrow();
        if status.takes_publications() {
            return Ok(());
        }
        let why = if status.publishing.connected {
            "the broker takes no messages for now (a resource alarm)"
        } else {
            "the broker cannot be reached for now"
        };
        Err(Stop::for_now(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; send it again"), AGAIN_AFTER))
    }

    /// Room for a body as long as the request says, else for the longest.
    fn room_for(&self, headers: &HeaderMap, most: usize) -> Result<SemaphorePermit<'_>, Stop> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > most) {
            return Err(too_large(most));
        }
        let units = u32::try_from(length.unwrap_or(most).div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        self.room.try_acquire_many(units).map_err(|_| {
            let said = "too many requests are under way; send it again";
            Stop::for_now(StatusCode::SERVICE_UNAVAILABLE, said, Duration::from_secs(1))
        })
    }

    /// The event that a message is, if the caller may publish it.
    fn checked(
        &self,
        caller: &Caller<'_>,
        headers: &HeaderMap,
        mut message: Message,
    ) -> Result<(Event, Message), Told> {
        let context = Context { routing_key: "", received: clock::wall(), max_bytes: self.max_event_bytes };
        let is_large = message.body.len() > self.max_event_bytes;
        let event = lint::check(&message, context).map_err(|refused| {
            let status = if is_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            Told { id: refused.id, outcome: Outcome::wrong(status, refused.sentence) }
        })?;
        if let Err((problem, field)) = caller.may(&event.kind, &event.source) {
            let outcome = Outcome::Refused { status: StatusCode::FORBIDDEN, problem, field: Some(field) };
            return Err(Told { id: Some(event.id), outcome });
        }
        message.properties.message_id = lint::message_id(&event.id);
        // The event's own trace is where it happened; the request's is how it came here.
        if event.trace.is_none() {
            for name in ["traceparent", "tracestate"] {
                let value = headers.get(name).and_then(|value| value.to_str().ok());
                message.properties.headers.extend(value.map(|value| (name.to_owned(), Field::text(value))));
            }
        }
        Ok((event, message))
    }

    /// Publishes all that are good together, and waits for their confirms, but not for ever.
    async fn published(&self, class: Class, checked: Vec<Result<(Event, Message), Told>>) -> Vec<Told> {
        let until = clock::now() + CONFIRM_WITHIN;
        let exchange = self.names.exchange_of(class);
        let left = || until.saturating_duration_since(clock::now());
        let mut under_way = Vec::with_capacity(checked.len());
        for one in checked {
            under_way.push(match one {
                Ok((event, message)) => {
                    let about = self
                        .history
                        .as_ref()
                        .map(|recorder| About::event(&event, &message, recorder.keeps_subject(), clock::wall()));
                    let submitted = timeout(left(), self.publisher.submit(&exchange, &event.kind, message)).await;
                    Ok((event.id, about, submitted))
                }
                Err(told) => Err(told),
            });
        }
        let ended = under_way.into_iter().map(async |one| {
            let (id, about, submitted) = match one {
                Ok(submitted) => submitted,
                Err(told) => return told,
            };
            let confirmed = match submitted {
                Ok(Ok(confirmed)) => timeout(left(), confirmed).await,
                Ok(Err(error)) => Ok(Err(error)),
                Err(elapsed) => Err(elapsed),
            };
            let outcome = outcome(confirmed);
            if let (Outcome::Published, Some(recorder), Some(about)) = (&outcome, &self.history, &about) {
                recorder.tell(&about.step(StepKind::Published));
            }
            Told { id: Some(id), outcome }
        });
        join_all(ended).await
    }
}

/// The class of all events of a request, from its query: `?class=bulk`. Other parameters are a sender's own.
fn class_of(query: Option<&str>) -> Result<Class, Stop> {
    let given = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).find(|(name, _)| name == "class");
    let class = given.map_or(Ok(Class::Live), |(_, class)| class.parse());
    class.map_err(|error: UnknownClass| {
        Stop::new(StatusCode::BAD_REQUEST, format!("the query parameter class: {error}; nothing was published"))
    })
}

fn outcome(confirmed: Result<Result<(), PublishError>, tokio::time::error::Elapsed>) -> Outcome {
    match confirmed {
        Ok(Ok(())) => Outcome::Published,
        Ok(Err(PublishError::Unsendable(said))) => Outcome::wrong(StatusCode::BAD_REQUEST, said),
        Ok(Err(error)) => Outcome::Unconfirmed(error.to_string()),
        Err(_) => Outcome::Unconfirmed(format!("no confirm within {CONFIRM_WITHIN:?}")),
    }
}

async fn read(body: Body, most: usize) -> Result<Bytes, Stop> {
    match timeout(BODY_WITHIN, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_over(&error) => Err(too_large(most)),
        Ok(Err(error)) => Err(Stop::new(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}"))),
        Err(_) => {
            let said = format!("the body did not come within {BODY_WITHIN:?}");
            Err(Stop::new(StatusCode::REQUEST_TIMEOUT, said))
        }
    }
}

/// Whether a body was given up because it is too long.
fn is_over(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn too_large(most: usize) -> Stop {
    let said = format!("the body has over {most} bytes; send fewer events in a request, or smaller ones");
    Stop::new(StatusCode::PAYLOAD_TOO_LARGE, said)
}

/// What serves until `ending`.
pub fn server(listener: TcpListener, ingest: Arc<Ingest>, ending: CancellationToken) -> impl Part {
    serving::server(listener, ("ingest", router(ingest)), CLOSE_WITHIN, ending)
}

fn router(ingest: Arc<Ingest>) -> Router {
    Router::new()
        .route(PATH, post(at_events))
        .route("/v1/events/{token}", post(at_token))
        .route("/openapi.json", get(openapi::document))
        .method_not_allowed_fallback(async || Stop::new(StatusCode::METHOD_NOT_ALLOWED, "send events with POST"))
        .fallback(async || Stop::new(StatusCode::NOT_FOUND, "there is nothing here; see /v1/events and /openapi.json"))
        .with_state(ingest)
}

async fn at_events(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    ingest.answered(None, request).await
}

async fn at_token(State(ingest): State<Arc<Ingest>>, Path(token): Path<String>, request: Request) -> Response {
    ingest.answered(Some(token), request).await
}
