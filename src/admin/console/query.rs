//! Which letters a page is about: a filter in its address, under the names that the API has, so that it can be shared.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use url::form_urlencoded;

use super::guard::Fields;
use crate::admin::dead::PileName;
use crate::admin::problem::Problem;
use crate::admin::which::Listed;
use crate::clock;
use crate::dead_letters::filter::Matcher;

/// Letters on a page unless asked for otherwise.
const SOME: usize = 50;
const MOST: usize = 500;
/// What lists hold: several fields of that name are one list.
const LISTS: [&str; 5] = ["reason", "group", "type", "id", "letter"];

/// What a page's address, or a form, asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub listed: Listed,
    /// From 1.
    pub page: usize,
    /// Letters on a page.
    pub limit: usize,
    /// Whatever else was asked for, by name.
    rest: Fields,
}

impl Asked {
    /// Reads fields; one that says nothing counts as not there. `also` are the names of further fields.
    pub fn read(fields: impl IntoIterator<Item = (String, String)>, also: &[&str]) -> Result<Self, Problem> {
        let mut asked = Self { page: 1, limit: SOME, ..Self::default() };
        for (name, value) in fields {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            if let Some(place) = place(&mut asked.listed, &name) {
                *place = match place.take().filter(|_| LISTS.contains(&name.as_str())) {
                    Some(before) => Some(format!("{before},{value}")),
                    None => Some(value.to_owned()),
                };
                continue;
            }
            match name.as_str() {
                "pile" => asked.listed.pile = pile(value)?,
                "page" => asked.page = number(&name, value, 1_000_000)?,
                "limit" => asked.limit = number(&name, value, MOST)?,
                _ if also.contains(&name.as_str()) => asked.rest.0.push((name, value.to_owned())),
                _ => {
                    return Err(unreadable(format!(
                        "there is no parameter {name:?} here; one that is not heeded would show too much"
                    )));
                }
            }
        }
        Ok(asked)
    }

    /// A further field.
    pub fn also(&self, name: &str) -> Option<&str> {
        self.rest.get(name)
    }

    /// A further field that is a number.
    pub fn also_number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let wrong =
            |value: &str| unreadable(format!("{name} is {value:?}, which is no number, or one that is too large"));
        self.also(name).map(|value| value.trim_end_matches("/s").parse().map_err(|_| wrong(value))).transpose()
    }

    /// The filter's fields that say something.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        pairs(&self.listed)
    }

    /// Whether every letter is meant.
    pub fn is_all(&self) -> bool {
        self.listed.filter().is_empty()
    }

    /// What the filter means. One that cannot be read is a bad request here, whatever is wrong with it.
    pub fn matcher(&self) -> Result<Matcher, Problem> {
        self.listed.filter().compile(clock::wall()).map_err(|error| unreadable(error.to_string()))
    }

    /// The query of this page, with some fields of the filter set otherwise (to nothing: left out).
    pub fn with(&self, changes: &[(&str, &str)]) -> String {
        let mut other = self.clone();
        for (name, value) in changes {
            if let Some(place) = place(&mut other.listed, name) {
                *place = (!value.is_empty()).then(|| (*value).to_owned());
            }
        }
        let mut pairs = other.pairs();
        if self.listed.pile == PileName::Trash {
            pairs.push(("pile", "trash".to_owned()));
        }
        if self.limit != SOME {
            pairs.push(("limit", self.limit.to_string()));
        }
        query(&pairs)
    }

    /// The same page further on.
    pub fn on_page(&self, page: usize) -> String {
        let rest = self.with(&[]);
        if page <= 1 {
            rest
        } else {
            format!("{}page={page}", if rest.is_empty() { "?".to_owned() } else { rest + "&" })
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(in_address(parts), &[])
    }
}

/// The fields of a page's address.
pub(super) fn in_address(parts: &Parts) -> Vec<(String, String)> {
    form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

/// `?a=b&c=d`; nothing where there are none.
pub(super) fn query<'a, V: AsRef<str> + 'a>(pairs: impl IntoIterator<Item = &'a (&'a str, V)>) -> String {
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

fn pairs(listed: &Listed) -> Vec<(&'static str, String)> {
    let Listed { reason, group, r#type, id, letter, older_than, newer_than, jq, pile: _ } = listed.clone();
    let all = [
        ("reason", reason),
        ("group", group),
        ("type", r#type),
        ("id", id),
        ("letter", letter),
        ("older_than", older_than),
        ("newer_than", newer_than),
        ("jq", jq),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn place<'a>(listed: &'a mut Listed, name: &str) -> Option<&'a mut Option<String>> {
    Some(match name {
        "reason" => &mut listed.reason,
        "group" => &mut listed.group,
        "type" => &mut listed.r#type,
        "id" => &mut listed.id,
        "letter" => &mut listed.letter,
        "older_than" => &mut listed.older_than,
        "newer_than" => &mut listed.newer_than,
        "jq" => &mut listed.jq,
        _ => return None,
    })
}

fn pile(value: &str) -> Result<PileName, Problem> {
    match value {
        "dead" => Ok(PileName::Dead),
        "trash" => Ok(PileName::Trash),
        _ => Err(unreadable(format!("pile is {value:?}; it is \"dead\" or \"trash\""))),
    }
}

fn number(name: &str, value: &str, most: usize) -> Result<usize, Problem> {
    let said = || unreadable(format!("{name} is {value:?}; it is a number from 1 to {most}"));
    value.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(said)
}

fn unreadable(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Asked, Problem> {
        Asked::read(form_urlencoded::parse(text.as_bytes()).into_owned(), &["rate"])
    }

    #[test]
    fn an_address_is_read_and_written_alike() {
        let text = "reason=rejected%2Ctoo_large&type=shop.%23&jq=.a+%3D%3D+%22%26%22&pile=trash&limit=10";
        let asked_ = asked(text).unwrap();
        assert_eq!(asked_.with(&[]), format!("?{text}"));
        assert_eq!(asked_.on_page(3), format!("?{text}&page=3"));
        assert_eq!(asked("").unwrap().on_page(1), "");
        assert_eq!(asked("").unwrap().on_page(2), "?page=2");
        assert_eq!(
            asked("group=a&page=7").unwrap().with(&[("group", "b"), ("reason", "expired")]),
            "?reason=expired&group=b"
        );
    }

    #[test]
    fn fields_that_say_nothing_are_not_there_and_several_of_a_list_are_one() {
        let asked_ = asked("reason=&type=+&letter=aa&letter=bb&jq=").unwrap();
        assert_eq!(asked_.pairs(), [("letter", "aa,bb".to_owned())]);
        assert!(asked("rate=5/s").unwrap().is_all());
        assert_eq!(asked("rate=5/s").unwrap().also_number::<f64>("rate").unwrap(), Some(5.0));
    }

    #[test]
    fn what_is_not_heeded_is_refused() {
        for text in ["reasons=rejected", "pile=other", "page=0", "limit=501", "limit=x"] {
            assert!(asked(text).is_err(), "{text}");
        }
        for text in ["jq=.%5B", "reason=nonsense", "older_than=1h&newer_than=2m"] {
            assert_eq!(asked(text).unwrap().matcher().unwrap_err().status(), StatusCode::BAD_REQUEST, "{text}");
        }
        assert!(asked("rate=much").unwrap().also_number::<f64>("rate").is_err());
    }
}
