//! `/api/v1/issues`: what needs a person, over all destinations, and what operators say of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::auth::Who;
use super::dead::to_its_end;
use super::extract::{JsonBody, NoParams, OptionalBody, Params, Segment};
use super::problem::{BadBody, BrokerAway, Conflict, Problem, Refusals, Unknown};
use crate::audit::IssueState;
use crate::clock;
use crate::gate::later;
use crate::issues::{Issue, IssueList, LONGEST_IGNORED, Word};
use crate::section::parse_lasting;

/// Which issues.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IssueQuery {
    /// Only those in that state.
    #[param(inline, required = false)]
    pub state: Option<IssueState>,
    /// One destination's only.
    #[param(example = "px-prod")]
    pub destination: Option<String>,
}

/// An issue, in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct IssuePath {
    /// The issue's id.
    #[param(example = "px-prod.parked")]
    pub issue: String,
}

/// A note for whoever looks next.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Note {
    /// In a line; it is cut after 500 characters. The one before stays where this is left out.
    #[schema(example = "the vendor is on it, ticket 4711")]
    note: Option<String>,
}

/// A note, and nothing else.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteAlone {
    /// In a line; it is cut after 500 characters.
    #[schema(min_length = 1, example = "the vendor is on it, ticket 4711")]
    note: String,
}

/// Until when an issue is ignored: `for` or `until`, one of them.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ignore {
    /// For so long, such as `90m`, `2h` or `1d`.
    #[serde(rename = "for")]
    #[schema(pattern = "^[1-9][0-9]{0,3}(s|m|h|d)$", example = "2h")]
    pub lasts: Option<String>,
    /// Until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<String>,
    /// Why, in a line; it is cut after 500 characters.
    pub note: Option<String>,
}

impl Ignore {
    /// What that says of an issue.
    pub fn word(self) -> Result<Word, Problem> {
        let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let conflict = |detail: String| Problem::new(StatusCode::CONFLICT, detail);
        let wall = clock::wall();
        let until = match (self.lasts, self.until) {
            (Some(lasts), None) => later(wall, parse_lasting(&lasts).map_err(wrong)?),
            (None, Some(until)) => until
                .parse::<Timestamp>()
                .map_err(|_| wrong(format!("until = {until:?} is no time; write one as \"2026-03-01T08:00:00Z\"")))?,
            (Some(_), Some(_)) => return Err(conflict("give `for` or `until`, not both".to_owned())),
            (None, None) => {
                return Err(conflict("say for how long: `for`, such as \"2h\", or `until`, a time".to_owned()));
            }
        };
        if until > later(wall, LONGEST_IGNORED) {
            return Err(conflict("an issue is ignored for 90 days at most".to_owned()));
        }
        if until <= wall {
            return Err(conflict(format!("until = {until} is over already")));
        }
        Ok(Word { state: Some(IssueState::Ignored), until: Some(until), note: self.note })
    }
}

impl Word {
    fn plain(state: IssueState, note: Option<String>) -> Self {
        Self { state: Some(state), until: None, note }
    }
}

/// What needs a person
#[utoipa::path(
    get, path = "/issues", operation_id = "list_issues", tag = "issues", params(IssueQuery),
    responses((status = 200, description = "Those that are open first, the worst first", body = IssueList), Refusals)
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Params(IssueQuery { state, destination }): Params<IssueQuery>,
) -> Result<Json<IssueList>, Problem> {
    let mut list = all(&admin).await?;
    list.issues.retain(|issue| {
        state.is_none_or(|state| issue.state == state)
            && destination.as_ref().is_none_or(|name| issue.destination.as_ref() == Some(name))
    });
    Ok(Json(list))
}

/// Somebody looks after it; it opens again when it comes again
#[utoipa::path(
    post, path = "/issues/{issue}/acknowledge", operation_id = "acknowledge_issue", tag = "issues", params(IssuePath),
    request_body = Option<Note>,
    responses((status = 200, description = "As it is after that", body = Issue), Refusals, Unknown, BadBody, BrokerAway)
)]
pub(super) async fn acknowledge(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(IssuePath { issue }): Segment<IssuePath>,
    Params(NoParams {}): Params<NoParams>,
    OptionalBody(Note { note }): OptionalBody<Note>,
) -> Result<Json<Issue>, Problem> {
    say(&admin, &who, &issue, Word::plain(IssueState::Acknowledged, note)).await
}

/// Leave it out for a while
#[utoipa::path(
    post, path = "/issues/{issue}/ignore", operation_id = "ignore_issue", tag = "issues", params(IssuePath),
    request_body = Ignore,
    responses((status = 200, description = "As it is after that", body = Issue), Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn ignore(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(IssuePath { issue }): Segment<IssuePath>,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(ignore): JsonBody<Ignore>,
) -> Result<Json<Issue>, Problem> {
    say(&admin, &who, &issue, ignore.word()?).await
}

/// Leave a note
#[utoipa::path(
    post, path = "/issues/{issue}/note", operation_id = "note_issue", tag = "issues", params(IssuePath),
    request_body = NoteAlone,
    responses((status = 200, description = "As it is after that", body = Issue), Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn note(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(IssuePath { issue }): Segment<IssuePath>,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(NoteAlone { note }): JsonBody<NoteAlone>,
) -> Result<Json<Issue>, Problem> {
    if note.trim().is_empty() {
        return Err(Problem::new(StatusCode::CONFLICT, "the note is empty"));
    }
    say(&admin, &who, &issue, Word { state: None, until: None, note: Some(note) }).await
}

/// Open it again
#[utoipa::path(
    post, path = "/issues/{issue}/reopen", operation_id = "reopen_issue", tag = "issues", params(IssuePath),
    request_body = Option<Note>,
    responses((status = 200, description = "As it is after that", body = Issue), Refusals, Unknown, BadBody, BrokerAway)
)]
pub(super) async fn reopen(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Segment(IssuePath { issue }): Segment<IssuePath>,
    Params(NoParams {}): Params<NoParams>,
    OptionalBody(Note { note }): OptionalBody<Note>,
) -> Result<Json<Issue>, Problem> {
    say(&admin, &who, &issue, Word::plain(IssueState::Open, note)).await
}

/// Says something of an issue that is there.
pub(super) async fn say(admin: &Arc<Admin>, who: &Who, id: &str, word: Word) -> Result<Json<Issue>, Problem> {
    let issue = find(&all(admin).await?.issues, id)?;
    admin.reachable()?;
    let (admin_, who_) = (Arc::clone(admin), who.clone());
    let said = async move {
        let said = admin_.issues.say(&issue, word, (&who_.name, who_.place)).await;
        said.map_err(|error| {
            let detail = format!("the audit cannot be written, and nothing was done: {error}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    };
    to_its_end(said).await?;
    Ok(Json(find(&all(admin).await?.issues, id)?))
}

/// An issue that is there.
fn find(all: &[Issue], id: &str) -> Result<Issue, Problem> {
    all.iter().find(|issue| issue.id == id).cloned().ok_or_else(|| {
        let detail = format!("there is no issue {id:?} now: it may be over; the list has those that are there");
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}

/// All of them. A look that is dropped half way would leave letters out of order.
pub(super) async fn all(admin: &Arc<Admin>) -> Result<IssueList, Problem> {
    let admin = Arc::clone(admin);
    to_its_end(async move { Ok(admin.issues.list().await) }).await
}
