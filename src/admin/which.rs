//! Which letters: a filter in a query, and in a body.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::dead::PileName;
use super::problem::Problem;
use crate::clock;
use crate::dead_letters::filter::{Filter, FilterError, Matcher};

/// A filter in a query. Lists are separated by commas: their values are alternatives, and all parameters must hold.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listed {
    /// Reasons.
    #[param(
        pattern = "^(malformed|invalid|rejected|too_large|partly_rejected|unconfirmed|expired|delivery_limit|unknown)(,(malformed|invalid|rejected|too_large|partly_rejected|unconfirmed|expired|delivery_limit|unknown))*$"
    )]
    pub reason: Option<String>,
    /// Groups.
    #[param(pattern = "^[0-9A-Fa-f]{16}(,[0-9A-Fa-f]{16})*$")]
    pub group: Option<String>,
    /// Event types; * stands for one word and # for any number.
    #[param(pattern = "^[^,]+(,[^,]+)*$")]
    pub r#type: Option<String>,
    /// Ids of events.
    #[param(pattern = "^[^,]+(,[^,]+)*$")]
    pub id: Option<String>,
    /// Ids of letters.
    #[param(pattern = "^[0-9A-Fa-f]{16}(,[0-9A-Fa-f]{16})*$")]
    pub letter: Option<String>,
    /// Died longer ago than this, or before this time.
    #[param(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    pub older_than: Option<String>,
    /// Died no longer ago than this, or since this time.
    #[param(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    pub newer_than: Option<String>,
    /// A jq expression over the event. One that cannot be read is a 409 that says why.
    pub jq: Option<String>,
    /// The dead letters, or the trash.
    #[param(inline)]
    pub pile: PileName,
}

/// How many letters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: read as a part of ListedPage")]
pub(super) struct Page {
    /// Letters at most; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// [`Listed`] and [`Page`] in one query: serde cannot flatten what refuses unknown fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListedPage {
    reason: Option<String>,
    group: Option<String>,
    r#type: Option<String>,
    id: Option<String>,
    letter: Option<String>,
    older_than: Option<String>,
    newer_than: Option<String>,
    jq: Option<String>,
    #[serde(default)]
    pile: PileName,
    limit: Option<u16>,
}

/// A filter in a body: values of one list are alternatives, and all must hold.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Filter)]
pub(super) struct InBody {
    /// Reasons.
    #[schema(value_type = Vec<ReasonName>)]
    reason: Vec<String>,
    /// Groups.
    #[schema(value_type = Vec<Id>)]
    group: Vec<String>,
    /// Event types; * stands for one word and # for any number.
    #[schema(value_type = Vec<TypePattern>)]
    r#type: Vec<String>,
    /// Ids of events.
    #[schema(value_type = Vec<EventId>)]
    id: Vec<String>,
    /// Ids of letters.
    #[schema(value_type = Vec<Id>)]
    letter: Vec<String>,
    /// Died longer ago than this, or before this time.
    #[schema(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    older_than: Option<String>,
    /// Died no longer ago than this, or since this time.
    #[schema(
        pattern = "^([1-9][0-9]{0,3}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
    )]
    newer_than: Option<String>,
    /// A jq expression over the event.
    jq: Option<String>,
}

/// A reason.
#[derive(ToSchema)]
#[schema(as = Reason, pattern = "^(malformed|invalid|rejected|too_large|partly_rejected|unconfirmed|expired|delivery_limit|unknown)$")]
#[expect(dead_code, reason = "only described")]
struct ReasonName(String);

/// The id of a letter or a group.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9A-Fa-f]{16}$")]
#[expect(dead_code, reason = "only described")]
struct Id(String);

/// A topic pattern.
#[derive(ToSchema)]
#[schema(min_length = 1)]
#[expect(dead_code, reason = "only described")]
struct TypePattern(String);

/// The id of an event.
#[derive(ToSchema)]
#[schema(min_length = 1)]
#[expect(dead_code, reason = "only described")]
struct EventId(String);

impl ListedPage {
    /// The filter, and how many letters at most.
    pub fn split(self) -> Result<(Listed, usize), Problem> {
        let Self { reason, group, r#type, id, letter, older_than, newer_than, jq, pile, limit } = self;
        let limit = limit.unwrap_or(100);
        if !(1..=1000).contains(&limit) {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "limit is from 1 to 1000"));
        }
        Ok((Listed { reason, group, r#type, id, letter, older_than, newer_than, jq, pile }, usize::from(limit)))
    }
}

impl Listed {
    /// What it means.
    ///
    /// # Errors
    /// A problem that says what is wrong with it.
    pub fn matcher(&self) -> Result<Matcher, Problem> {
        let filter = self.filter();
        filter.compile(clock::wall()).map_err(|error| problem(&filter, &error, StatusCode::BAD_REQUEST))
    }

    /// The filter that it is, not yet checked.
    pub fn filter(&self) -> Filter {
        let list = |text: &Option<String>| -> Vec<String> {
            text.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect()
        };
        Filter {
            reason: list(&self.reason),
            group: list(&self.group),
            kind: list(&self.r#type),
            id: list(&self.id),
            letter: list(&self.letter),
            older_than: self.older_than.clone(),
            newer_than: self.newer_than.clone(),
            jq: self.jq.clone(),
        }
    }
}

impl InBody {
    /// The filter that it is.
    ///
    /// # Errors
    /// A problem that says what is wrong with it.
    pub fn filter(self) -> Result<Filter, Problem> {
        let Self { reason, group, r#type: kind, id, letter, older_than, newer_than, jq } = self;
        let filter = Filter { reason, group, kind, id, letter, older_than, newer_than, jq };
        match filter.compile(clock::wall()) {
            Ok(_) => Ok(filter),
            Err(error) => Err(problem(&filter, &error, StatusCode::UNPROCESSABLE_ENTITY)),
        }
    }
}

/// What is wrong with a filter: `malformed` where a schema can say so, else 409.
fn problem(filter: &Filter, error: &FilterError, malformed: StatusCode) -> Problem {
    let status = if is_of_its_meaning(filter, error) { StatusCode::CONFLICT } else { malformed };
    Problem::new(status, error.to_string())
}

/// Whether each value is well formed, as far as a schema can say, and the trouble lies in what they mean.
fn is_of_its_meaning(filter: &Filter, error: &FilterError) -> bool {
    let alone = |filter: Filter| filter.compile(clock::wall()).is_ok();
    let exclude_each_other = || {
        alone(Filter { older_than: None, jq: None, ..filter.clone() })
            && alone(Filter { newer_than: None, jq: None, ..filter.clone() })
    };
    error.field == "jq" || exclude_each_other()
}
