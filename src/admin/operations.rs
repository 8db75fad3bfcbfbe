//! `/api/v1/destinations/{name}/dead/operations` and `/api/v1/operations`: many letters acted on at once, as a resource with progress.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::auth::Who;
use super::dead::{PATIENCE, to_its_end};
use super::destinations::DestinationPath;
use super::extract::{JsonBody, NoParams, Params, Segment};
use super::letter_query::checked;
use super::problem::{BadBody, BrokerAway, Conflict, Problem, Refusals, Unknown};
use crate::config::Destination;
use crate::control::{self, Command, Signal};
use crate::dead_letters::acts::Act;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::look::no_progress;
use crate::dead_letters::operation::{self, CANARY, Counted, Foresight, OperationPlan, RAMP, SelectError, TOLD_WITHIN};
use crate::dead_letters::recheck::{Recheck, RecheckBound, Rechecked};
use crate::dead_letters::rewrite::{Rewrite, Rewriting, Rewritten};

/// Operations on one destination at a time: they take turns with each other and with whoever looks.
const AT_ONCE: usize = 2;
const CANARY_WAIT_SECONDS: u32 = 300;

/// A destination's name and an operation, in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OperationPath {
    /// The destination's name.
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "px-prod")]
    pub name: String,
    /// The operation's id.
    #[param(pattern = "^[0-9a-f]{12}$", example = "5f0c9b6e21aa")]
    pub operation: String,
}

/// What to do, and to which letters: a filter, or all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOperation)]
pub(super) struct NewOperation {
    /// What to do.
    act: Act,
    /// Which letters.
    #[serde(default)]
    filter: Filter,
    /// All that are there.
    #[serde(default)]
    all: bool,
    /// Letters a second; of a replay a fifth of the gate's pace unless given.
    #[schema(minimum = 0.0001, maximum = 100_000)]
    rate: Option<f64>,
    /// Of a replay: so many go first, the others only when the vendor has taken those. 5 unless given; 0 sends all at once.
    #[schema(minimum = 0, maximum = 100_000)]
    #[serde(default, deserialize_with = "whole")]
    canary: Option<u32>,
    /// Of a replay: instead of a canary go up in steps of 1, 5, 20 and 100, and then send the others.
    #[serde(default)]
    ramp: bool,
    /// How long the outcomes of the canary, or of each step, are waited for; 300 unless given.
    #[schema(minimum = 1, maximum = 86_400)]
    #[serde(default, deserialize_with = "whole")]
    canary_wait_seconds: Option<u32>,
    /// Of an edit, and needed there: a jq expression that makes the new body of the old one. `.` is the body as it was published: an
    /// envelope has its data at `.data`. A letter on which it fails is left as it is.
    #[schema(example = ".data.email |= ascii_downcase")]
    edit: Option<String>,
    /// Of an edit: also change letters that would still be invalid.
    #[serde(default)]
    force: bool,
    /// Only count; of a replay also check whether the letters would pass, of an edit show what it would change.
    #[serde(default)]
    dry_run: bool,
    /// `counted` of such a count: these letters and none that came since, or where they are not there as they were, nothing.
    #[schema(value_type = Option<String>, pattern = "^(0|[1-9][0-9]{0,18})-[0-9a-f]{32}$")]
    counted: Option<Counted>,
}

/// A whole number: to JSON, 5.0 is one.
pub(super) fn whole<'de, D: serde::Deserializer<'de>>(number: D) -> Result<Option<u32>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(number)?;
    let Some(number) = number else { return Ok(None) };
    let text = number.to_string();
    let whole = text.strip_suffix(".0").unwrap_or(&text).parse().map(Some);
    whole.map_err(|_| serde::de::Error::custom(format!("{number} is not a whole number from 0 to {}", u32::MAX)))
}

/// What an operation would mean.
#[derive(Serialize, ToSchema)]
#[schema(as = Foretold)]
pub(super) struct Estimate {
    /// How many letters there are.
    pub there: u32,
    /// How many of them are meant.
    pub selected: u64,
    /// Which they are, for who then acts on these and no others.
    #[schema(value_type = String, pattern = "^(0|[1-9][0-9]{0,18})-[0-9a-f]{32}$")]
    pub counted: Counted,
    /// Letters a second.
    #[schema(required)]
    pub rate: Option<f64>,
    /// Seconds that it would take.
    #[schema(required)]
    pub seconds: Option<f64>,
    /// What the filter could not do, where it failed.
    #[schema(required)]
    pub trouble: Option<String>,
    /// Of a replay: whether they would pass now. At most the first 1,000 are checked, and for a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub check: Option<Rechecked>,
    /// Of an edit: what it would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub edit: Option<Rewritten>,
}

/// Operations.
#[derive(Serialize, ToSchema)]
#[schema(as = Operations)]
pub(super) struct OperationList {
    /// The latest first.
    operations: Vec<operation::OperationState>,
}

/// Act on many letters
#[utoipa::path(
    post, path = "/destinations/{name}/dead/operations", operation_id = "begin_operation", tag = "operations",
    params(DestinationPath), request_body = NewOperation,
    responses((status = 200, description = "With `dry_run`: how many there are", body = Estimate),
        (status = 202, description = "It has begun; Location is where it is", body = operation::OperationState),
        Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn begin(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(start): JsonBody<NewOperation>,
) -> Result<Response, Problem> {
    admin.letters(&name)?;
    let filter = checked(start.filter)?;
    let NewOperation { act, rate, canary, ramp, canary_wait_seconds, edit, force, all, dry_run, counted, .. } = start;
    let wanted = OperationRequest { act, filter, rate, canary, ramp, canary_wait_seconds, edit, force, counted };
    wanted.check(all)?;
    if dry_run {
        return Ok(Json(wanted.estimate(&admin, &name).await?).into_response());
    }
    let state = wanted.begin(&admin, &name, who.name).await?;
    let place = format!("/api/v1/destinations/{name}/dead/operations/{}", state.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, place)], Json(state)).into_response())
}

/// What is to be done, as the API and the console ask for it.
pub(super) struct OperationRequest {
    pub act: Act,
    pub filter: Filter,
    pub rate: Option<f64>,
    pub canary: Option<u32>,
    pub ramp: bool,
    pub canary_wait_seconds: Option<u32>,
    /// The expression of an edit.
    pub edit: Option<String>,
    pub force: bool,
    /// What was counted for whoever wants it.
    pub counted: Option<Counted>,
}

impl OperationRequest {
    /// Whether it makes sense; `all` says that it means all letters.
    pub fn check(&self, all: bool) -> Result<(), Problem> {
        let rate = self.rate.is_none_or(|rate| (0.0001..=100_000.0).contains(&rate));
        let canary = self.canary.is_none_or(|canary| canary <= 100_000);
        let wait = self.canary_wait_seconds.is_none_or(|seconds| (1..=86_400).contains(&seconds));
        for (in_range, field, said) in [
            (rate, "rate", "rate is from 0.0001 to 100000 letters a second"),
            (canary, "canary", "canary is from 0 to 100000 letters"),
            (wait, "wait", "canary_wait_seconds is from 1 to 86400"),
        ] {
            if !in_range {
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, said).at(field));
            }
        }
        let conflict = if self.filter.is_empty() != all {
            Some("say which letters: give a filter, or \"all\": true without one")
        } else if self.ramp && self.canary.is_some() {
            Some("canary and ramp exclude each other: leave one out")
        } else if self.edit.is_some() != (self.act == Act::Edit) {
            Some("edit is the jq expression of the act \"edit\", which needs it, and of no other")
        } else {
            None
        };
        conflict.map_or(Ok(()), |detail| Err(Problem::new(StatusCode::CONFLICT, detail)))
    }

    /// Of a replay: so many first, then so many.
    pub fn steps(&self) -> Vec<u32> {
        match self.canary.unwrap_or(CANARY) {
            _ if self.act != Act::Replay => Vec::new(),
            _ if self.ramp => RAMP.to_vec(),
            0 => Vec::new(),
            canary => vec![canary],
        }
    }

    /// What an edit changes.
    fn rewrite(&self, admin: &Admin, destination: &Destination) -> Result<Option<Arc<Rewrite>>, Problem> {
        let Some(jq) = &self.edit else { return Ok(None) };
        match Rewrite::compile(jq, destination.clone(), admin.max_event_bytes, self.force) {
            Ok(rewrite) => Ok(Some(Arc::new(rewrite))),
            Err(said) => Err(Problem::new(StatusCode::CONFLICT, format!("edit: {said}"))),
        }
    }

    /// What it would mean now.
    pub async fn estimate(self, admin: &Admin, name: &str) -> Result<Estimate, Problem> {
        let (letters, destination) = admin.letters(name)?;
        let rate = letters.rate(self.act, self.rate, &destination.limits).await;
        let mut foresight = match self.rewrite(admin, &destination)? {
            Some(rewrite) => Foresight::Rewrite(Rewriting::new(rewrite)),
            None if self.act == Act::Replay => {
                Foresight::Recheck(Box::new(Recheck::new(destination, admin.max_event_bytes, RecheckBound::QUICK)))
            }
            None => Foresight::Count,
        };
        let selected = async move {
            let selected = letters.select(self.act, &self.filter, None, &mut foresight, PATIENCE, &no_progress).await?;
            Ok((selected, foresight))
        };
        let (selection, foresight) = to_its_end(selected).await?;
        Ok(Estimate {
            there: selection.seen.there,
            selected: selection.len(),
            counted: selection.counted(),
            rate,
            seconds: rate.map(|rate| operation::seconds(selection.len(), rate)),
            trouble: selection.seen.trouble,
            check: foresight.rechecked(),
            edit: foresight.rewritten(),
        })
    }

    /// Begins it, as an operation of this process.
    pub async fn begin(self, admin: &Admin, name: &str, by: String) -> Result<operation::OperationState, Problem> {
        let (letters, destination) = admin.letters(name)?;
        let rate = letters.rate(self.act, self.rate, &destination.limits).await;
        if admin.operations.at_work(name) >= AT_ONCE {
            let detail = format!(
                "{AT_ONCE} operations of {name} are at work here already: wait until one has ended, or cancel one"
            );
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        let canary_wait = Duration::from_secs(u64::from(self.canary_wait_seconds.unwrap_or(CANARY_WAIT_SECONDS)));
        let (steps, rewrite) = (self.steps(), self.rewrite(admin, &destination)?);
        let Self { act, filter, counted, .. } = self;
        let plan = OperationPlan { act, filter, rate, steps, canary_wait, rewrite, counted, by };
        Ok(admin.operations.add(letters.begin(plan, None)))
    }
}

/// Operations at work, and the last that ended
#[utoipa::path(
    get, path = "/destinations/{name}/dead/operations", operation_id = "list_operations", tag = "operations", params(DestinationPath),
    responses((status = 200, description = "In whichever process they run", body = OperationList), Refusals, Unknown)
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<OperationList>, Problem> {
    Ok(Json(OperationList { operations: everywhere(&admin, &name).await? }))
}

/// Those of every process, the latest first.
pub(super) async fn everywhere(admin: &Admin, name: &str) -> Result<Vec<operation::OperationState>, Problem> {
    admin.known(name)?;
    Ok(admin.operations.everywhere(&admin.broker, Some(name)).await)
}

/// Of all destinations or of one.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationsQuery {
    /// One destination's only; it may have been removed from the configuration.
    destination: Option<String>,
}

/// Operations of all destinations, at work and the last that ended
#[utoipa::path(
    get, path = "/operations", operation_id = "list_all_operations", tag = "operations", params(OperationsQuery),
    responses((status = 200, description = "In whichever process they run", body = OperationList), Refusals)
)]
pub(super) async fn all(
    State(admin): State<Arc<Admin>>,
    Params(OperationsQuery { destination }): Params<OperationsQuery>,
) -> Json<OperationList> {
    Json(OperationList { operations: admin.operations.everywhere(&admin.broker, destination.as_deref()).await })
}

/// One operation
#[utoipa::path(
    get, path = "/destinations/{name}/dead/operations/{operation}", operation_id = "show_operation", tag = "operations", params(OperationPath),
    responses((status = 200, description = "As it is now", body = operation::OperationState), Refusals, Unknown)
)]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Segment(of): Segment<OperationPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<operation::OperationState>, Problem> {
    find(&admin, &of).await.map(Json)
}

/// Act on nothing more for now
#[utoipa::path(
    post, path = "/destinations/{name}/dead/operations/{operation}/pause", operation_id = "pause_operation", tag = "operations", params(OperationPath),
    responses((status = 200, description = "It pauses within a moment", body = operation::OperationState), Refusals, Unknown, Conflict)
)]
pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    Segment(of): Segment<OperationPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<operation::OperationState>, Problem> {
    signal(&admin, &of, Signal::Pause).await
}

/// Go on after a pause
#[utoipa::path(
    post, path = "/destinations/{name}/dead/operations/{operation}/resume", operation_id = "resume_operation", tag = "operations", params(OperationPath),
    responses((status = 200, description = "It goes on within a moment", body = operation::OperationState), Refusals, Unknown, Conflict)
)]
pub(super) async fn resume(
    State(admin): State<Arc<Admin>>,
    Segment(of): Segment<OperationPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<operation::OperationState>, Problem> {
    signal(&admin, &of, Signal::Run).await
}

/// End it; what has been acted on stays so
#[utoipa::path(
    post, path = "/destinations/{name}/dead/operations/{operation}/cancel", operation_id = "cancel_operation", tag = "operations", params(OperationPath),
    responses((status = 200, description = "It ends within a moment", body = operation::OperationState), Refusals, Unknown, Conflict)
)]
pub(super) async fn cancel(
    State(admin): State<Arc<Admin>>,
    Segment(of): Segment<OperationPath>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Json<operation::OperationState>, Problem> {
    signal(&admin, &of, Signal::Cancel).await
}

/// It, in this process or in another.
pub(super) async fn find(admin: &Admin, of: &OperationPath) -> Result<operation::OperationState, Problem> {
    admin.known(&of.name)?;
    let is_it = |state: &operation::OperationState| state.id == of.operation && state.destination == of.name;
    if let Some(state) = admin.operations.state(&of.operation).filter(is_it) {
        return Ok(state);
    }
    let command = Command::Operations { destination: Some(of.name.clone()) };
    let others: Vec<Vec<operation::OperationState>> =
        control::ask(&admin.broker, &command, TOLD_WITHIN).await.unwrap_or_default();
    others.into_iter().flatten().find(is_it).ok_or_else(|| {
        let detail = format!("no process has an operation {:?} of {}", of.operation, of.name);
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}

pub(super) async fn signal(
    admin: &Admin,
    of: &OperationPath,
    signal: Signal,
) -> Result<Json<operation::OperationState>, Problem> {
    let state = find(admin, of).await?;
    let over = |state: &operation::OperationState| {
        let outcome = state.outcome.as_deref().unwrap_or_default();
        Problem::new(StatusCode::CONFLICT, format!("the operation is over: {outcome}"))
    };
    if state.phase.is_over() {
        return Err(over(&state));
    }
    if admin.operations.signal(&state.id, signal).is_none() {
        let command = Command::Operation { id: state.id.clone(), signal };
        // Whether it reached its process the state tells.
        let answers: Result<Vec<operation::OperationState>, _> =
            control::ask(&admin.broker, &command, TOLD_WITHIN).await;
        return answers.ok().and_then(|answers| answers.into_iter().next()).map(Json).ok_or_else(|| over(&state));
    }
    Ok(Json(admin.operations.state(&state.id).unwrap_or(state)))
}

impl From<SelectError> for Problem {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Filter(error) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).at(error.field)
            }
            SelectError::Look(error) => error.into(),
            SelectError::Rewrite(error) => Self::new(StatusCode::CONFLICT, error.to_string()),
        }
    }
}
