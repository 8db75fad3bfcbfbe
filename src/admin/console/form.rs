//! Forms: what they say, what is wrong with it, and where a browser is led after one.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use crate::admin::auth;
use crate::admin::problem::Problem;

/// What a form says.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The field of that name, where it says something.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, value)| field == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Fields {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody read the form");
        parts.extensions.remove().ok_or_else(missing)
    }
}

/// What a form says.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Fields, Problem> {
    let kind = auth::text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split_once(';').map_or(kind, |(kind, _parameters)| kind).trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let detail = "a form is sent as application/x-www-form-urlencoded; programs use /api/v1";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(Fields(form_urlencoded::parse(body).into_owned().collect()))
}

/// What is wrong with what somebody gave, to be shown beside the field that it is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Wrong(Option<Problem>);

/// The attributes of a field: what describes it, whether it is wrong, and then that it has the focus.
#[derive(Debug, PartialEq, Template)]
#[template(
    ext = "html",
    source = "{% if !described_by.is_empty() %} aria-describedby=\"{{ described_by }}\"{% endif %}{% if is_wrong %} aria-invalid=\"true\" autofocus{% endif %}"
)]
pub(super) struct Marks {
    described_by: String,
    is_wrong: bool,
}

/// The sentence beside a field.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = "{% if let Some(said) = said %}<p class=\"wrong\" id=\"wrong-{{ field }}\">{{ said }}</p>{% endif %}"
)]
pub(super) struct Said<'a> {
    field: &'a str,
    said: Option<&'a str>,
}

// What they write is escaped already.
impl HtmlSafe for Marks {}
impl HtmlSafe for Said<'_> {}

impl From<Problem> for Wrong {
    fn from(problem: Problem) -> Self {
        Self(Some(problem))
    }
}

impl Wrong {
    /// What is wrong with that field.
    fn at(&self, field: &str) -> Option<&str> {
        let problem = self.0.as_ref().filter(|problem| problem.field() == Some(field))?;
        // The field is beside it: its name need not be said.
        let said = problem.detail();
        Some(said.strip_prefix(field).and_then(|said| said.strip_prefix(": ")).unwrap_or(said))
    }

    /// The attributes of a field; `hint` is the id of what describes it in any case, or nothing.
    pub fn marks(&self, field: &str, hint: &str) -> Marks {
        let is_wrong = self.at(field).is_some();
        let wrong = if is_wrong { format!("wrong-{field}") } else { String::new() };
        Marks { described_by: [wrong.as_str(), hint].join(" ").trim().to_owned(), is_wrong }
    }

    /// The sentence beside a field.
    pub fn said<'a>(&'a self, field: &'a str) -> Said<'a> {
        Said { field, said: self.at(field) }
    }

    /// What is wrong with none of these fields, for the top of the page.
    pub fn beyond(&self, fields: &[&str]) -> Option<&str> {
        let is_there = |problem: &&Problem| problem.field().is_some_and(|field| fields.contains(&field));
        self.0.as_ref().filter(|problem| !is_there(problem)).map(Problem::detail)
    }

    /// Whether it is about one of these fields.
    pub fn is_about(&self, fields: &[&str]) -> bool {
        fields.iter().any(|field| self.at(field).is_some())
    }

    /// The status of the page that shows it.
    pub fn status(&self) -> StatusCode {
        self.0.as_ref().map_or(StatusCode::OK, Problem::status)
    }
}

/// To another page, after something was done.
pub(super) fn see_other(place: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place.to_owned())]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_beside_its_field_or_at_the_top() {
        let wrong = Wrong::from(Problem::new(StatusCode::BAD_REQUEST, "jq: \"<\" is no jq expression").at("jq"));
        assert_eq!(
            wrong.marks("jq", "jq-hint").to_string(),
            " aria-describedby=\"wrong-jq jq-hint\" aria-invalid=\"true\" autofocus"
        );
        let said = "<p class=\"wrong\" id=\"wrong-jq\">&#34;&#60;&#34; is no jq expression</p>";
        assert_eq!(wrong.said("jq").to_string(), said);
        assert_eq!(
            (wrong.marks("type", "").to_string(), wrong.said("type").to_string()),
            (String::new(), String::new())
        );
        assert_eq!(wrong.marks("type", "hint").to_string(), " aria-describedby=\"hint\"");
        assert_eq!((wrong.beyond(&["jq"]), wrong.is_about(&["jq"])), (None, true));
        assert!(wrong.beyond(&["type"]).is_some(), "a field that the page does not show");
        let wrong = Wrong::from(Problem::new(StatusCode::BAD_REQUEST, "there is no parameter \"x\""));
        assert_eq!((wrong.beyond(&["jq"]), wrong.status().as_u16()), (Some("there is no parameter \"x\""), 400));
        assert_eq!((Wrong::default().beyond(&[]), Wrong::default().status().as_u16()), (None, 200));
    }
}
