//! `/api/v1/destinations`: the status of each; pause, resume and limits.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::auth::Who;
use super::bulk::{BulkStatus, ClassParam, of_class};
use super::extract::{JsonBody, NoParams, OptionalBody, Params, Segment};
use super::problem::{BadBody, Problem, Refusals, Unknown};
use super::why;
use crate::clock;
use crate::control::{Command, CommandError};
use crate::destination::View;
use crate::gate::{Paused, later};
use crate::operator;
use crate::section::parse_lasting;

/// A destination's name, in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DestinationPath {
    /// The destination's name.
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "px-prod")]
    pub name: String,
}

/// A destination at work, with its depths at the broker.
#[derive(Serialize, ToSchema)]
#[schema(as = Destination)]
pub(super) struct DestinationStatus {
    /// Its name.
    #[schema(example = "px-prod")]
    pub name: String,
    /// Its vendor.
    pub vendor: String,
    /// The routing keys that it subscribes to.
    pub subscribe: Vec<String>,
    /// The limits in force.
    #[schema(example = json!(["200/s", "1000000/day"]))]
    pub limits: Vec<String>,
    /// Those of the configuration.
    #[schema(example = json!(["200/s", "1000000/day"]))]
    pub configured_limits: Vec<String>,
    /// Whether the worker that answers drives it.
    pub drives: bool,
    /// The worker that drives it elsewhere, as far as known: its host and process.
    #[schema(required)]
    pub driver: Option<String>,
    /// When that worker told of these figures; null where they are of the worker that answers.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Timestamp>,
    /// The gate's state: `open`, `throttled`, `paused`, `broken` or `parked`; `standby` where another worker drives it and has not told yet.
    #[schema(example = "open")]
    pub state: &'static str,
    /// Why, as a sentence: in the vendor's words where it had any, with how long ago they came and at which probe.
    #[schema(
        example = "the API answered 401: key revoked (12 s ago, 4th probe); check the key and that the account is on"
    )]
    pub why: String,
    /// When the vendor answered as `why` tells, or did not answer; null where it tells of no answer.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub answered_at: Option<Timestamp>,
    /// Who paused it: a token's name, or user@host of a command line; null where nobody did, or that is not known.
    #[schema(required, example = "night-shift")]
    pub paused_by: Option<String>,
    /// When it was paused; null where it is not.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub paused_at: Option<Timestamp>,
    /// When the pause ends by itself; null where it is not paused, or until somebody resumes.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Timestamp>,
    /// Why it was paused, in the operator's words.
    #[schema(required, example = "vendor maintenance")]
    pub pause_reason: Option<String>,
    /// When the gate came into that state; null where nobody saw it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When that may end by itself.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// When its quiet hours end (`send_between`): until then nothing is sent and events wait in their queue; null outside of them.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub quiet_until: Option<Timestamp>,
    /// Requests a second that the limits allow; null where nothing paces it.
    #[schema(required)]
    pub quota: Option<f64>,
    /// Requests a second that it lets through now; null where nothing paces it.
    #[schema(required)]
    pub rate: Option<f64>,
    /// The share of the quota that is used after repeated refusals, 0.05 to 1.
    pub learned: f64,
    /// Requests in flight.
    pub in_flight: usize,
    /// How many may be in flight at once: `concurrency` as it was set, or as the vendor's latency makes it.
    pub concurrency: usize,
    /// What holds the pace: closed, quota, learned, remaining, day_budget, concurrency, latency, or nothing_to_send.
    pub held_by: &'static str,
    /// The same in words.
    pub held_by_words: &'static str,
    /// Requests counted against the budget of the vendor's day.
    pub day_used: u64,
    /// The day budget, where there is one.
    #[schema(required)]
    pub day_limit: Option<u64>,
    /// When the vendor's day begins, such as `midnight UTC` or `06:30 Europe/Stockholm`.
    pub day_starts: String,
    /// Events that wait: `queue_ready`, `held`, `retrying`, `scheduled` and those of `bulk` together, as they were last counted at once; null as
    /// with `queue_ready`.
    #[schema(required)]
    pub waiting: Option<u64>,
    /// Deliveries held that wait for the gate, bulk events included.
    pub held: usize,
    /// Those of them that are hard to map, and those behind them: they are being mapped, or wait for it.
    pub being_mapped: usize,
    /// Deliveries whose vendor has accepted them and not yet told what became of them.
    pub unconfirmed: usize,
    /// Whether a consumer is registered at the broker.
    pub consuming: bool,
    /// Whether it consumes, or has no need to.
    pub ready: bool,
    /// Events delivered since this worker started.
    pub delivered: u64,
    /// Requests refused with 429 since this worker started.
    pub throttled: u64,
    /// Events put into a retry queue since this worker started.
    pub retried: u64,
    /// Retries and dead letters that the broker does not take for now: their deliveries wait aside, unsettled.
    pub copies_waiting: usize,
    /// Messages ready in its queue; null where the queue is missing or the broker away.
    #[schema(required)]
    pub queue_ready: Option<u32>,
    /// Messages ready in its dead-letter queue; null as with `queue_ready`.
    #[schema(required)]
    pub dead_letters_ready: Option<u32>,
    /// Events in its retry queues until their next attempt; null as with `queue_ready`.
    #[schema(required)]
    pub retrying: Option<u32>,
    /// Events put aside at the broker until they may be sent (`deliverafter`); null as with `queue_ready`.
    #[schema(required)]
    pub scheduled: Option<u32>,
    /// Messages ready in its trash; null as with `queue_ready`.
    #[schema(required)]
    pub trash_ready: Option<u32>,
    /// The time of the oldest event that waits in its queue, or when it might first be sent where that is later; null where none waits or none
    /// was seen yet, and in quiet hours.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub oldest_event: Option<Timestamp>,
    /// When its day budget is used up at the pace of the last minutes, if that is before the vendor's day ends.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub day_budget_runs_out: Option<Timestamp>,
    /// Seconds until its queue is empty, were nothing more to come; null where that is not known, or nothing gets through.
    #[schema(required)]
    pub drained_in_seconds: Option<f64>,
    /// Its events that may wait behind the others.
    pub bulk: BulkStatus,
}

/// All destinations at work.
#[derive(Serialize, ToSchema)]
#[schema(as = Destinations)]
pub(super) struct DestinationList {
    /// By name.
    destinations: Vec<DestinationStatus>,
}

/// Why a destination is paused, and for how long. Both may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Pause)]
pub(super) struct PauseRequest {
    /// Why, in a line; it is cut after 200 characters.
    #[schema(example = "vendor maintenance")]
    pub reason: Option<String>,
    /// After this time it ends by itself, such as `90m`, `2h` or `1d`; left out, it lasts until somebody resumes.
    #[serde(rename = "for")]
    #[schema(pattern = "^[1-9][0-9]{0,3}(s|m|h|d)$", example = "2h")]
    pub lasts: Option<String>,
}

impl PauseRequest {
    /// The pause of that destination, by whoever asks for it.
    pub fn command(self, destination: String, who: &Who) -> Result<Command, Problem> {
        let wall = clock::wall();
        let until = self.lasts.map(|text| {
            let wrong = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).at("for");
            parse_lasting(&text).map_err(wrong).map(|lasts| later(wall, lasts))
        });
        let how = Paused { by: Some(who.name.clone()), at: None, until: until.transpose()?, reason: self.reason };
        // The command's stamp says when.
        let how = Paused { at: None, ..how.given_at(wall) };
        Ok(Command::Pause { destination, how })
    }
}

/// New limits, on whichever worker drives, until the limits in its configuration change. Windows that are left out keep theirs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Each replaces that of its window; all hold at once: requests in a second, minute, hour or day.
    #[schema(min_items = 1, value_type = Vec<LimitText>)]
    limits: Vec<String>,
}

/// So many requests in a window of time.
#[derive(ToSchema)]
#[schema(as = Limit, pattern = "^[1-9][0-9]{0,8}/(s|min|h|day)$", example = "100/s")]
#[expect(dead_code, reason = "only described: the text is read where all limits are")]
struct LimitText(String);

/// Every destination at work
#[utoipa::path(
    get, path = "/destinations",
    operation_id = "list_destinations", tag = "destinations",
    responses((status = 200, description = "In the order of their names", body = DestinationList), Refusals)
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Params(NoParams {}): Params<NoParams>,
) -> Json<DestinationList> {
    let views = admin.roster.views(|_| true).await.into_iter();
    Json(DestinationList { destinations: views.map(|view| status_from(&admin, view)).collect() })
}

/// One destination
#[utoipa::path(
    get, path = "/destinations/{name}",
    operation_id = "show_destination", tag = "destinations", params(DestinationPath),
    responses((status = 200, description = "As it is now", body = DestinationStatus), Refusals, Unknown)
)]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<DestinationStatus>, Problem> {
    status_of(&admin, &name).await
}

/// Send nothing until resumed, or for a while
#[utoipa::path(
    post, path = "/destinations/{name}/pause",
    operation_id = "pause_destination", tag = "destinations", params(DestinationPath, ClassParam),
    request_body = Option<PauseRequest>,
    responses((status = 200, description = "As it is after that", body = DestinationStatus), Refusals, Unknown, BadBody)
)]
pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(class): Params<ClassParam>,
    OptionalBody(pause): OptionalBody<PauseRequest>,
) -> Result<Json<DestinationStatus>, Problem> {
    command(&admin, &who, of_class(pause.command(name, &who)?, &class)).await
}

/// Go on; a parked destination probes at once
#[utoipa::path(
    post, path = "/destinations/{name}/resume",
    operation_id = "resume_destination", tag = "destinations", params(DestinationPath, ClassParam),
    responses((status = 200, description = "As it is after that", body = DestinationStatus), Refusals, Unknown)
)]
pub(super) async fn resume(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(class): Params<ClassParam>,
) -> Result<Json<DestinationStatus>, Problem> {
    command(&admin, &who, of_class(Command::Resume { destination: name }, &class)).await
}

/// Hold to other limits
#[utoipa::path(
    put, path = "/destinations/{name}/limits",
    operation_id = "set_limits", tag = "destinations", params(DestinationPath, ClassParam),
    request_body = Limits,
    responses((status = 200, description = "As it is after that", body = DestinationStatus), Refusals, Unknown, BadBody)
)]
pub(super) async fn limits(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(class): Params<ClassParam>,
    JsonBody(Limits { limits }): JsonBody<Limits>,
) -> Result<Json<DestinationStatus>, Problem> {
    if class.is_bulk() && limits.is_empty() {
        // For bulk none would take the bound away, which is what DELETE is for.
        let empty = Command::Limits { destination: name, limits };
        return command(&admin, &who, empty).await;
    }
    command(&admin, &who, of_class(Command::Limits { destination: name, limits }, &class)).await
}

/// Hold to the limits of the configuration again
#[utoipa::path(
    delete, path = "/destinations/{name}/limits",
    operation_id = "reset_limits", tag = "destinations", params(DestinationPath, ClassParam),
    responses((status = 200, description = "As it is after that", body = DestinationStatus), Refusals, Unknown)
)]
pub(super) async fn reset_limits(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(class): Params<ClassParam>,
) -> Result<Json<DestinationStatus>, Problem> {
    command(&admin, &who, of_class(Command::ResetLimits { destination: name }, &class)).await
}

pub(super) async fn command(admin: &Admin, who: &Who, command: Command) -> Result<Json<DestinationStatus>, Problem> {
    let answer = operator::apply_everywhere(&admin.broker, &admin.roster, &command).await?;
    if let Some(entry) = operator::audited(&command, &answer, (&who.name, who.place)) {
        tracing::info!(who = who.name, place = who.place, act = entry.act, entry.destination, "carried out");
        admin.record(entry);
    }
    status_of(admin, &answer.destination).await
}

pub(super) async fn status_of(admin: &Admin, name: &str) -> Result<Json<DestinationStatus>, Problem> {
    let unknown = || Problem::from(CommandError::Unknown(name.to_owned()));
    let view = admin.roster.get(name).ok_or_else(unknown)?.view().await.map_err(|_| unknown())?;
    Ok(Json(status_from(admin, view)))
}

pub(super) fn status_from(admin: &Admin, view: View) -> DestinationStatus {
    let depths = admin.watch.depths_of(&view.name);
    let (state, paused) = (view.state_name(), view.paused.unwrap_or_default());
    let why = why::with_time(&view.why, view.answered, clock::wall());
    let why = why::with_retries(why, depths.retry.filter(|_| view.fails).unwrap_or(0));
    DestinationStatus {
        state,
        name: view.name,
        vendor: view.vendor,
        subscribe: view.subscribe,
        limits: view.limits,
        configured_limits: view.configured,
        drives: view.drives,
        driver: view.driver,
        as_of: view.as_of,
        why,
        answered_at: view.answered.map(|answered| answered.at),
        paused_by: paused.by,
        paused_at: paused.at,
        paused_until: paused.until,
        pause_reason: paused.reason,
        since: view.since,
        until: view.until,
        quiet_until: view.quiet_until,
        quota: view.quota,
        rate: view.rate,
        learned: view.learned,
        in_flight: view.in_flight,
        concurrency: view.concurrency,
        held_by: view.held.name(),
        held_by_words: view.held.words(),
        day_used: view.day_used,
        day_limit: view.day_limit,
        day_starts: view.day_starts,
        waiting: depths.waiting(view.held_here),
        held: view.held_here,
        being_mapped: view.being_mapped,
        unconfirmed: view.unconfirmed,
        consuming: view.consuming,
        ready: view.ready,
        delivered: view.delivered,
        throttled: view.throttled,
        retried: view.retried,
        copies_waiting: view.copies_waiting,
        queue_ready: depths.ready,
        dead_letters_ready: depths.dead,
        retrying: depths.retry,
        scheduled: depths.scheduled,
        trash_ready: depths.trash,
        oldest_event: depths.oldest,
        day_budget_runs_out: depths.budget_runs_out,
        drained_in_seconds: depths.drained_in.filter(|seconds| seconds.is_finite()),
        bulk: BulkStatus::of(view.bulk, depths.bulk),
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let status = match &error {
            CommandError::Unknown(_) => StatusCode::NOT_FOUND,
            CommandError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}
