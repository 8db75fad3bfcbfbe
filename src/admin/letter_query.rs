//! Reads from a query, a form or a body which letters are meant, with the names that [`Filter`] has everywhere.

use std::str::FromStr;

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::clock;
use crate::dead_letters::Pile;
use crate::dead_letters::filter::{Filter, FilterError, Matcher};

/// How many letters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: read by [`LetterQuery::number`]")]
pub(super) struct PageSize {
    /// Letters at most; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// A filter and a pile, read from a query or a form. Lists are separated by commas: their values are alternatives, and all fields must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct LetterQuery {
    pub filter: Filter,
    pub pile: Pile,
    /// Further fields by name.
    rest: Vec<(String, String)>,
}

impl LetterQuery {
    /// Reads fields; `also` are the names of fields beside the filter and the pile.
    ///
    /// # Errors
    /// A problem for a field of another name: if it were ignored, too many letters would be meant.
    pub fn read(fields: impl IntoIterator<Item = (String, String)>, also: &[&str]) -> Result<Self, Problem> {
        let mut which = Self::default();
        for (name, text) in fields {
            if name == "pile" {
                which.pile = pile(&text)?;
            } else if also.contains(&name.as_str()) {
                which.rest.push((name, text));
            } else if !which.filter.add(&name, &text) {
                return Err(unreadable(format!(
                    "there is no parameter {name:?} here; if it were ignored, too much would be shown"
                )));
            }
        }
        Ok(which)
    }

    /// As [`Self::read`], for programs: no field may be given twice.
    pub fn once(fields: Vec<(String, String)>, also: &[&str]) -> Result<Self, Problem> {
        let is_twice =
            |(place, (name, _)): &(usize, &(String, String))| fields[..*place].iter().any(|(n, _)| n == name);
        match fields.iter().enumerate().find(is_twice) {
            Some((_, (name, _))) => Err(unreadable(format!("the parameter {name:?} is given twice"))),
            None => Self::read(fields, also),
        }
    }

    /// A further field.
    pub fn also(&self, name: &str) -> Option<&str> {
        self.rest.iter().find(|(field, _)| field == name).map(|(_, text)| text.as_str())
    }

    /// A further field that is a number.
    pub fn also_number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let wrong = |text: &str| unreadable(format!("{name} is {text:?}, which is not a number, or is too large"));
        let number = |text: &str| text.trim_end_matches("/s").parse().map_err(|_| wrong(text).at(name));
        self.also(name).map(number).transpose()
    }

    /// A further field that is a number from 1 to `most`; `unless` given, this.
    pub fn number(&self, name: &str, unless: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.also(name) else { return Ok(unless) };
        let wrong = || unreadable(format!("{name} is {text:?}; it is a number from 1 to {most}")).at(name);
        text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(wrong)
    }

    /// What the filter means.
    ///
    /// # Errors
    /// A problem that says what is wrong with it.
    pub fn matcher(&self) -> Result<Matcher, Problem> {
        let compiled = self.filter.compile(clock::wall());
        compiled.map_err(|error| problem(&self.filter, &error, StatusCode::BAD_REQUEST))
    }
}

/// The filter of a body, where it can be read.
///
/// # Errors
/// A problem that says what is wrong with it.
pub(super) fn checked(filter: Filter) -> Result<Filter, Problem> {
    match filter.compile(clock::wall()) {
        Ok(_) => Ok(filter),
        Err(error) => Err(problem(&filter, &error, StatusCode::UNPROCESSABLE_ENTITY)),
    }
}

fn pile(text: &str) -> Result<Pile, Problem> {
    match text {
        "dead" => Ok(Pile::Dead),
        "trash" => Ok(Pile::Trash),
        _ => Err(unreadable(format!("pile is {text:?}; it is \"dead\" or \"trash\""))),
    }
}

pub(super) fn unreadable(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// What is wrong with a filter: `malformed` where a schema can say so, else 409.
fn problem(filter: &Filter, error: &FilterError, malformed: StatusCode) -> Problem {
    let status = if is_of_its_meaning(filter, error) { StatusCode::CONFLICT } else { malformed };
    Problem::new(status, error.to_string()).at(error.field)
}

/// Whether each value is well formed, as far as a schema can say, and the problem is in their meaning.
fn is_of_its_meaning(filter: &Filter, error: &FilterError) -> bool {
    let alone = |filter: Filter| filter.compile(clock::wall()).is_ok();
    let exclude_each_other = || {
        alone(Filter { older_than: None, jq: None, ..filter.clone() })
            && alone(Filter { newer_than: None, jq: None, ..filter.clone() })
    };
    error.field == "jq" || exclude_each_other()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(text: &str) -> Result<LetterQuery, Problem> {
        LetterQuery::once(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect(), &["limit"])
    }

    #[test]
    fn a_program_names_letters_as_a_filter_does_and_says_nothing_twice() {
        let which = once("reason=rejected,expired&type=shop.%23&jq=.a,.b&pile=trash&limit=7").unwrap();
        let filter = serde_json::json!({ "reason": ["rejected", "expired"], "type": ["shop.#"], "jq": ".a,.b" });
        assert_eq!((which.filter.clone(), which.pile), (serde_json::from_value(filter).unwrap(), Pile::Trash));
        assert_eq!(which.number("limit", 100, 1000).unwrap(), 7);
        assert_eq!(once("").unwrap().number("limit", 100, 1000).unwrap(), 100);
        for text in ["reason=expired&reason=expired", "jq=.a&jq=.b", "limit=1&limit=1", "reasons=x", "page=2", "pile="]
        {
            assert_eq!(once(text).unwrap_err().status(), StatusCode::BAD_REQUEST, "{text}");
        }
        for (text, status) in
            [("reason=", 400), ("group=x", 400), ("jq=.%5B", 409), ("older_than=1h&newer_than=2m", 409)]
        {
            assert_eq!(once(text).unwrap().matcher().unwrap_err().status().as_u16(), status, "{text}");
        }
        assert!(once("limit=0").unwrap().number("limit", 100, 1000).is_err());
    }
}
