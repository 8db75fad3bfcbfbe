//! `/api/v1/destinations/{name}/dead/letters`: one letter looked at and changed; and the audit.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::auth::Who;
use super::extract::{JsonBody, NoParams, Params, Segment};
use super::problem::{BadBody, BrokerAway, Conflict, Problem, Refusals, Unknown};
use crate::audit;
use crate::broker::{Broker, ReadError};
use crate::clock;
use crate::config::Destination;
use crate::control::CommandError;
use crate::dead_letters::edit::{Edit, EditError};
use crate::dead_letters::filter::Matcher;
use crate::dead_letters::letter::Details;
use crate::dead_letters::look::{LookError, LookStep, LookSummary, no_progress};
use crate::dead_letters::{DeadLetters, Pile};
use crate::message::Message;
use crate::threads::NoThread;

/// How long a request waits while others read the same letters.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// A destination's name and a letter, in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct LetterPath {
    /// The destination's name.
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "px-prod")]
    pub name: String,
    /// The letter's id, or its event's.
    #[param(example = "0123456789abcdef")]
    pub letter: String,
}

/// Which of the two queues.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PileQuery {
    /// The dead letters, or the trash.
    #[param(inline)]
    #[serde(default)]
    pub pile: Pile,
}

/// A letter's new body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Edit)]
pub(super) struct NewBody {
    /// The event's body.
    body: String,
    /// Only tell what would change.
    #[serde(default)]
    dry_run: bool,
    /// Also where it would be a dead letter again.
    #[serde(default)]
    force: bool,
}

/// What an edit changes.
#[derive(Serialize, ToSchema)]
pub(super) struct Edited {
    /// The letter's id before.
    from: String,
    /// The edited letter's.
    to: String,
    /// Whether it was put in its place.
    edited: bool,
    /// A unified diff of the bodies.
    diff: String,
    /// The request that it would make, secrets masked, or a `problem`.
    #[schema(value_type = Object)]
    explained: serde_json::Value,
}

/// Of whom, and how many.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// One destination's only.
    destination: Option<String>,
    /// Entries at most: the last.
    #[param(minimum = 1, maximum = 10_000)]
    #[serde(default = "some")]
    limit: u16,
}

fn some() -> u16 {
    200
}

/// The audit.
#[derive(Serialize, ToSchema)]
pub(super) struct Audit {
    /// The oldest first. An operation has two entries: one when it began, and one when it ended.
    entries: Vec<audit::Entry>,
}

/// One letter with everything
#[utoipa::path(
    get, path = "/destinations/{name}/dead/letters/{letter}", operation_id = "show_dead_letter", tag = "dead letters",
    params(LetterPath, PileQuery),
    responses((status = 200, description = "With every attempt, and the event as it was published", body = Details), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Segment(LetterPath { name, letter }): Segment<LetterPath>,
    Params(PileQuery { pile }): Params<PileQuery>,
) -> Result<Json<Details>, Problem> {
    let (letters, _) = admin.letters(&name)?;
    let message = one(letters, pile, letter).await?;
    Ok(Json(Details::read(&message, &name)))
}

/// Change a letter's event
#[utoipa::path(
    post, path = "/destinations/{name}/dead/letters/{letter}/edit", operation_id = "edit_dead_letter", tag = "dead letters",
    params(LetterPath), request_body = NewBody,
    responses((status = 200, description = "The edited letter is among the dead ones, the original in the trash", body = Edited),
        Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn edit(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(LetterPath { name, letter }): Segment<LetterPath>,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(new): JsonBody<NewBody>,
) -> Result<Json<Edited>, Problem> {
    let (letters, destination) = admin.letters(&name)?;
    let message = one(letters.clone(), Pile::Dead, letter).await?;
    let edit =
        Edit::beside(&message, Bytes::from(new.body), &destination, admin.max_event_bytes, clock::wall()).await?;
    if edit.is_empty() {
        return Err(Problem::new(StatusCode::CONFLICT, "nothing is changed: the body is the same"));
    }
    if let Some(problem) = edit.problem().filter(|_| !new.force && !new.dry_run) {
        let detail = format!("it would be a dead letter again: {problem}; \"force\": true edits it anyway");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let edited = !new.dry_run;
    let shown = Edited {
        from: edit.from.id.clone(),
        to: edit.to.id.clone(),
        edited,
        diff: edit.diff.clone(),
        explained: edit.explained.clone(),
    };
    if edited {
        to_its_end(async move { Ok(letters.replace(&edit, &who.name, PATIENCE, clock::wall()).await?) }).await?;
    }
    Ok(Json(shown))
}

/// Who did what, with dead letters and with destinations
#[utoipa::path(
    get, path = "/dead/audit", operation_id = "audit_dead_letters", tag = "dead letters", params(AuditQuery),
    responses((status = 200, description = "Every act, and how it ended", body = Audit), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn audit(
    State(admin): State<Arc<Admin>>,
    Params(AuditQuery { destination, limit }): Params<AuditQuery>,
) -> Result<Json<Audit>, Problem> {
    if !(1..=10_000).contains(&limit) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "limit is from 1 to 10000"));
    }
    let broker = admin.reachable()?;
    let entries =
        to_its_end(
            async move { Ok(audit::read(&broker, destination.as_deref(), usize::from(limit), PATIENCE).await?) },
        );
    Ok(Json(Audit { entries: entries.await? }))
}

pub(super) async fn look(
    letters: &DeadLetters,
    pile: Pile,
    matcher: &Matcher,
    visit: impl FnMut(LookStep<'_>) -> ControlFlow<()> + Send,
) -> Result<LookSummary, LookError> {
    letters.look(pile, matcher, PATIENCE, &no_progress, visit).await
}

pub(super) async fn one(letters: DeadLetters, pile: Pile, id: String) -> Result<Message, Problem> {
    let wanted = id.clone();
    let found = to_its_end(async move { Ok(letters.find(pile, &wanted, PATIENCE).await?) }).await?;
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(letter), None) => Ok(letter),
        (Some(_), Some(_)) => {
            let detail = format!("several letters belong to the event {id:?}; name one by its own id");
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        (None, _) => {
            let detail = format!("there is no letter {id:?}, and none of an event with that id");
            Err(Problem::new(StatusCode::NOT_FOUND, detail))
        }
    }
}

/// Goes on if the client disconnects: a pass that is dropped half way would leave the letters out of order.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request failed; this is a bug in Sluice");
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a bug in Sluice; its log says more"))
    })
}

impl Admin {
    /// The letters of a destination of the configuration, where the broker is there.
    pub(super) fn letters(&self, name: &str) -> Result<(DeadLetters, Destination), Problem> {
        let destination = self.known(name)?;
        let letters =
            DeadLetters { broker: self.reachable()?, destination: name.to_owned(), history: self.recorder.clone() };
        Ok((letters, destination))
    }

    /// A destination of the configuration.
    pub(super) fn known(&self, name: &str) -> Result<Destination, Problem> {
        self.destination(name).ok_or_else(|| Problem::from(CommandError::Unknown(name.to_owned())))
    }

    /// The broker, unless this worker knows already that it is away: nobody waits for that.
    pub(super) fn reachable(&self) -> Result<Broker, Problem> {
        let lacking = self.broker.status().borrow().lacking();
        match lacking.first() {
            None => Ok(self.broker.clone()),
            Some(lacking) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, lacking.as_str())),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            ReadError::Missing(_) => StatusCode::NOT_FOUND,
            ReadError::Busy { .. } | ReadError::Closed(_) => StatusCode::CONFLICT,
            ReadError::Connect(_) | ReadError::Broken { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<LookError> for Problem {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Read(error) => error.into(),
            LookError::Machine(error) => error.into(),
            LookError::TooSlow(error) => Self::new(StatusCode::CONFLICT, error.to_string()).at("jq"),
        }
    }
}

impl From<NoThread> for Problem {
    fn from(lack: NoThread) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, lack.to_string())
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Read(error) => error.into(),
            EditError::Gone(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            EditError::Publish { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}
