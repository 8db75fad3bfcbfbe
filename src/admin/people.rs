//! `/api/v1/suppressed` and `/api/v1/erase`: people who must not be written to, and what is left of a person. People are named in bodies alone: an
//! address of a request stands in logs of others.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::auth::Who;
use super::dead::{PATIENCE, to_its_end};
use super::extract::{JsonBody, NoParams, Params};
use super::problem::{BadBody, BrokerAway, Conflict, Problem, Refusals, Unknown};
use crate::people::erase::{Erased, Erasure};
use crate::people::{NOT_SET, People, PeopleChanged, PersonKnown};
use crate::person::Digest;
use crate::suppression::{Act, Keeper, ReadError, WriteError};

/// People in one request at most.
const MOST: usize = 10_000;

/// Who follows the list in this worker.
pub(super) type FollowedPeople = OnceLock<Arc<Keeper>>;

/// Some of those who are suppressed.
#[derive(Serialize, ToSchema)]
pub(super) struct SuppressedList {
    /// How many there are in all.
    pub count: usize,
    /// The last first.
    pub people: Vec<PersonKnown>,
    /// Why nobody can say who they are: the key of `[suppression]` is another one than theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub trouble: Option<String>,
}

/// How many.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct SuppressedQuery {
    /// People at most.
    #[param(minimum = 1, maximum = 1000)]
    #[serde(default = "some")]
    pub limit: u16,
}

fn some() -> u16 {
    100
}

/// Who is meant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedPeople {
    /// Their keys: e-mail addresses, user ids. An e-mail address counts in lower case.
    #[schema(min_items = 1, max_items = 10000)]
    pub people: Vec<String>,
    /// Why, for whoever looks later; addresses in it are masked.
    #[serde(default)]
    pub note: String,
}

/// Who was asked about, in their order.
#[derive(Serialize, ToSchema)]
pub(super) struct KnownPeople {
    /// What is known of each.
    pub people: Vec<PersonKnown>,
}

/// Whom to erase.
#[derive(Deserialize, ToSchema)]
#[schema(as = Erase)]
#[serde(deny_unknown_fields)]
pub(super) struct EraseWish {
    /// The person's key.
    #[schema(min_length = 1)]
    pub person: String,
    /// Write to them no more, first of all.
    #[serde(default)]
    pub suppress: bool,
    /// Also what mentions the key without being about the person; always so of an e-mail address.
    #[serde(default)]
    pub anywhere: bool,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
}

/// Who must not be written to, by digest
#[utoipa::path(
    get, path = "/suppressed", operation_id = "list_suppressed", tag = "people", params(SuppressedQuery),
    responses((status = 200, description = "The last first", body = SuppressedList), Refusals, Unknown, Conflict, BrokerAway)
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Params(query): Params<SuppressedQuery>,
) -> Result<Json<SuppressedList>, Problem> {
    Ok(Json(listed(&admin, query.limit).await?))
}

pub(super) async fn listed(admin: &Admin, limit: u16) -> Result<SuppressedList, Problem> {
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "limit is from 1 to 1000"));
    }
    let entries = admin.people()?.stream.entries().await?;
    let first = entries.sorted().into_iter().take(usize::from(limit));
    let people = first.map(|(digest, _)| PersonKnown::of(digest, &entries)).collect();
    Ok(SuppressedList { count: entries.len(), people, trouble: entries.trouble })
}

/// Write to people no more
#[utoipa::path(
    post, path = "/suppressed", operation_id = "suppress", tag = "people", request_body = NamedPeople,
    responses((status = 200, description = "The broker has it; every worker heeds it within a second", body = PeopleChanged),
        Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn add(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(named): JsonBody<NamedPeople>,
) -> Result<Json<PeopleChanged>, Problem> {
    Ok(Json(change(&admin, who, Act::Add, named).await?))
}

/// Write to people again
#[utoipa::path(
    post, path = "/suppressed/remove", operation_id = "unsuppress", tag = "people", request_body = NamedPeople,
    responses((status = 200, description = "The broker has it; every worker heeds it within a second", body = PeopleChanged), Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(named): JsonBody<NamedPeople>,
) -> Result<Json<PeopleChanged>, Problem> {
    Ok(Json(change(&admin, who, Act::Remove, named).await?))
}

pub(super) async fn change(admin: &Admin, who: Who, act: Act, named: NamedPeople) -> Result<PeopleChanged, Problem> {
    let people = admin.people()?;
    let digests = digests(&people, &named.people)?;
    to_its_end(async move {
        let by = (who.name.as_str(), who.place);
        Ok(people.change(act, &digests, by, &named.note, |_| {}).await?)
    })
    .await
}

/// Whether people are suppressed
#[utoipa::path(
    post, path = "/suppressed/check", operation_id = "check_suppressed", tag = "people", request_body = NamedPeople,
    responses((status = 200, description = "What is known of each, in their order", body = KnownPeople),
        Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn check(
    State(admin): State<Arc<Admin>>,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(named): JsonBody<NamedPeople>,
) -> Result<Json<KnownPeople>, Problem> {
    Ok(Json(KnownPeople { people: known(&admin, &named.people).await? }))
}

pub(super) async fn known(admin: &Admin, named: &[String]) -> Result<Vec<PersonKnown>, Problem> {
    let people = admin.people()?;
    Ok(people.known(&digests(&people, named)?).await?)
}

/// Delete what lies at the broker about a person
#[utoipa::path(
    post, path = "/erase", operation_id = "erase", tag = "people", request_body = EraseWish,
    responses((status = 200, description = "What was found and, unless it was only counted, deleted", body = Erased),
        Refusals, Unknown, BadBody, Conflict, BrokerAway)
)]
pub(super) async fn erase(
    State(admin): State<Arc<Admin>>,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(wish): JsonBody<EraseWish>,
) -> Result<Json<Erased>, Problem> {
    Ok(Json(erased(&admin, who, wish).await?))
}

pub(super) async fn erased(admin: &Admin, who: Who, wish: EraseWish) -> Result<Erased, Problem> {
    let EraseWish { person, suppress, anywhere, dry_run } = wish;
    let wrong = |said: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, said).at("person");
    let destinations = admin.watch.destinations().into_iter().filter_map(|name| admin.destination(&name)).map(Arc::new);
    let key = admin.people.get().and_then(|keeper| keeper.list()).map(|list| list.key().clone());
    let erasure = Erasure::of(admin.reachable()?, destinations.collect(), key, &person, anywhere).map_err(wrong)?;
    let suppressing = if suppress && !dry_run {
        let people = admin.people()?;
        let digest = people.digest(&person).map_err(wrong)?;
        Some((people, digest))
    } else {
        None
    };
    to_its_end(async move {
        let by = (who.name.as_str(), who.place);
        if let Some((people, digest)) = suppressing {
            people.change(Act::Add, &[digest], by, "erased", |_| {}).await?;
        }
        let erased = if dry_run { erasure.count(PATIENCE).await } else { erasure.erase(by, PATIENCE).await };
        erased.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
    })
    .await
}

fn digests(people: &People, named: &[String]) -> Result<Vec<Digest>, Problem> {
    let wrong = |said: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, said).at("person");
    if named.is_empty() || named.len() > MOST {
        return Err(wrong(format!("people has {} of them; name 1 to {MOST}", named.len())));
    }
    named
        .iter()
        .enumerate()
        .map(|(at, person)| people.digest(person).map_err(|said| wrong(format!("people[{at}]: {said}"))))
        .collect()
}

impl Admin {
    /// Lets people be suppressed here.
    pub fn heed(&self, keeper: Arc<Keeper>) {
        // There is one for as long as the worker runs.
        drop(self.people.set(keeper));
    }

    /// Those who are suppressed, where the configuration says how.
    pub(super) fn people(&self) -> Result<People, Problem> {
        let broker = self.reachable()?;
        let stream = self.people.get().and_then(|keeper| keeper.stream());
        let stream = stream.ok_or_else(|| Problem::new(StatusCode::CONFLICT, NOT_SET))?;
        Ok(People { broker, stream })
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            ReadError::OtherKey(_) => StatusCode::CONFLICT,
            ReadError::Broken(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let status = match &error {
            WriteError::OtherKey(_) => StatusCode::CONFLICT,
            WriteError::Read(_) | WriteError::Publish(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}
