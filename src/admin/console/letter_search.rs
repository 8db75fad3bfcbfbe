//! Which letters a page is about: a filter in its address, under the names that the API has, so that it can be shared.

use url::form_urlencoded;

use crate::admin::letter_query::{LetterQuery, unreadable};
use crate::admin::problem::Problem;
use crate::clock;
use crate::dead_letters::Pile;
use crate::dead_letters::filter::{Filter, Matcher};
use crate::dead_letters::page::{Cursor, Window};

/// Letters on a page unless asked for otherwise.
const SOME: usize = 50;
const MOST: usize = 500;

/// What a page's address, or a form, asks for.
#[derive(Clone, Debug)]
pub(super) struct LetterSearch {
    pub query: LetterQuery,
    /// Which of them are on the page.
    pub window: Window,
    /// Letters on a page.
    pub limit: usize,
}

impl LetterSearch {
    /// Reads fields; one that says nothing counts as not there. `also` are the names of further fields.
    pub fn read(fields: impl IntoIterator<Item = (String, String)>, also: &[&str]) -> Result<Self, Problem> {
        let fields = fields.into_iter().map(|(name, text)| (name, text.trim().to_owned()));
        let own = ["after", "before", "limit"];
        let query = LetterQuery::read(fields.filter(|(_, text)| !text.is_empty()), &[also, &own].concat())?;
        let place = |name: &str| {
            let read = |text: &str| text.parse::<Cursor>().map_err(|error| unreadable(format!("{name}: {error}")));
            query.also(name).map(read).transpose()
        };
        let window = match (place("after")?, place("before")?) {
            (Some(_), Some(_)) => return Err(unreadable("after and before exclude each other".to_owned())),
            (Some(place), None) => Window::After(place),
            (None, Some(place)) => Window::Before(place),
            (None, None) => Window::First,
        };
        Ok(Self { window, limit: query.number("limit", SOME, MOST)?, query })
    }

    /// Reads what can be read of the fields, and says what is wrong with the rest.
    pub fn as_far_as_possible(fields: Vec<(String, String)>) -> (Self, Option<Problem>) {
        let problem = match Self::read(fields.clone(), &[]) {
            Ok(search) => return (search, None),
            Err(problem) => problem,
        };
        let is_known = |name: &str| Filter::default().add(name, "") || name == "pile";
        let filter: Vec<_> = fields.into_iter().filter(|(name, _)| is_known(name)).collect();
        let is_filter = |(name, _): &(String, String)| name != "pile";
        let search = Self::read(filter.clone(), &[])
            .or_else(|_| Self::read(filter.into_iter().filter(is_filter), &[]))
            .unwrap_or_else(|_| Self { query: LetterQuery::default(), window: Window::First, limit: SOME });
        (search, Some(problem))
    }

    /// The filter's fields that say something.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        self.query.filter.pairs()
    }

    /// What a field of the filter says.
    pub fn text(&self, name: &str) -> String {
        self.pairs().into_iter().find(|(field, _)| *field == name).map(|(_, text)| text).unwrap_or_default()
    }

    /// Whether every letter is meant.
    pub fn is_all(&self) -> bool {
        self.query.filter.is_empty()
    }

    /// What the filter means. One that cannot be read is a bad request here, whatever is wrong with it.
    pub fn matcher(&self) -> Result<Matcher, Problem> {
        self.query.filter.compile(clock::wall()).map_err(|error| unreadable(error.to_string()).at(error.field))
    }

    /// The query of this page, with some fields of the filter set otherwise (to nothing: left out).
    pub fn with(&self, changes: &[(&str, &str)]) -> String {
        let mut filter = Filter::default();
        for (name, text) in self.pairs().iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name)) {
            filter.add(name, text);
        }
        for (name, text) in changes.iter().filter(|(_, text)| !text.is_empty()) {
            filter.add(name, text);
        }
        let mut pairs = filter.pairs();
        if self.query.pile == Pile::Trash {
            pairs.push(("pile", "trash".to_owned()));
        }
        if self.limit != SOME {
            pairs.push(("limit", self.limit.to_string()));
        }
        query_string(&pairs)
    }

    /// The query of this page itself.
    pub fn here(&self) -> String {
        match self.window {
            Window::First => self.with(&[]),
            Window::After(place) => self.at_place("after", place),
            Window::Before(place) => self.at_place("before", place),
        }
    }

    /// The query of the page `after` a place, or `before` it.
    pub fn at_place(&self, name: &str, place: Cursor) -> String {
        let rest = self.with(&[]);
        format!("{}{name}={place}", if rest.is_empty() { "?".to_owned() } else { rest + "&" })
    }
}

/// `?a=b&c=d`; nothing where there are none.
pub(super) fn query_string<'a, V: AsRef<str> + 'a>(pairs: impl IntoIterator<Item = &'a (&'a str, V)>) -> String {
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn searched(text: &str) -> Result<LetterSearch, Problem> {
        LetterSearch::read(form_urlencoded::parse(text.as_bytes()).into_owned(), &["rate"])
    }

    #[test]
    fn an_address_is_read_and_written_alike() {
        let text = "reason=rejected%2Ctoo_large&type=shop.%23&jq=.a+%3D%3D+%22%26%22&pile=trash&limit=10";
        let search = searched(text).unwrap();
        assert_eq!(search.with(&[]), format!("?{text}"));
        let place = "17_0123456789abcdef";
        let after = searched(&format!("{text}&after={place}")).unwrap();
        assert_eq!((after.window, after.with(&[])), (Window::After(place.parse().unwrap()), format!("?{text}")));
        assert_eq!(search.at_place("after", place.parse().unwrap()), format!("?{text}&after={place}"));
        assert_eq!(searched("").unwrap().at_place("before", place.parse().unwrap()), format!("?before={place}"));
        assert_eq!(
            searched("group=a&after=_0123456789abcdef").unwrap().with(&[("group", "b"), ("reason", "expired")]),
            "?reason=expired&group=b"
        );
    }

    #[test]
    fn fields_that_say_nothing_are_not_there_and_several_of_a_list_are_one() {
        let search = searched("reason=&type=+&letter=aa&letter=bb&jq=").unwrap();
        assert_eq!(search.pairs(), [("letter", "aa,bb".to_owned())]);
        assert!(searched("rate=5/s").unwrap().is_all());
        assert_eq!(searched("rate=5/s").unwrap().query.also_number::<f64>("rate").unwrap(), Some(5.0));
    }

    #[test]
    fn what_is_not_heeded_is_refused() {
        for text in ["reasons=rejected", "pile=other", "after=7", "page=2", "limit=501", "limit=x"] {
            assert!(searched(text).is_err(), "{text}");
        }
        for text in ["jq=.%5B", "reason=nonsense", "older_than=1h&newer_than=2m"] {
            assert_eq!(searched(text).unwrap().matcher().unwrap_err().status(), StatusCode::BAD_REQUEST, "{text}");
        }
        assert!(searched("rate=much").unwrap().query.also_number::<f64>("rate").is_err());
    }
}
