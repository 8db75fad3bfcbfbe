//! Act-On's custom touch points: one event as a fact, or many of one name and one action as a CSV, both as multipart forms.
//! Source: the vendor's pages "Upload Custom Event Fact" and "Upload Custom Touch Point".

use ::http::{HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;

use super::{Account, Batching, Facts, Grant, Item, Job, Kind, Refusal, Reply, Vendor, When};
use crate::event::{Event, Invalid};
use crate::section::Section;
use crate::verdict::Verdict;

mod dates;
mod fields;
mod form;
mod grant;
mod jobs;
mod replies;
mod settings;
mod table;

use fields::{Heading, Row};
use form::Part;
use grant::TokenGrant;
use settings::{Confirm, Mode, Settings};

/// The vendor's entry in the registry.
pub const KIND: Kind = Kind {
    name: "act-on",
    // "5 API calls / second", "30,000 requests / day"
    limits: &["5/s", "30000/day"],
    fields: &fields::FIELDS,
    person: &["email"],
    check: fields::check,
    configure,
};

fn configure(section: &mut Section<'_>) -> Option<Box<dyn Vendor>> {
    let settings = Settings::read(section);
    let base = settings.as_ref().map_or("", |settings| settings.base.as_str());
    let grant = TokenGrant::read(section, base);
    Some(Box::new(ActOn { settings: settings?, grant: grant? }))
}

/// The name of the file in the documented example.
const FILE_NAME: &str = "customEvent.csv";

/// Most bytes of contents in one CSV. Act-On takes 400 MB; this is uploaded well within a request's time and held in memory
/// a few times over, and is thousands of events with the longest titles.
const MAX_CSV_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug)]
struct ActOn {
    settings: Settings,
    grant: TokenGrant,
}

impl ActOn {
    fn is_csv(&self, items: &[&Item]) -> bool {
        self.settings.mode == Mode::Csv || items.len() > 1
    }

    /// One event, its fields in the order of the documented request.
    fn fact(&self, heading: &Heading<'_>, row: &Row<'_>) -> Result<Request<Bytes>, Invalid> {
        let field = Part::Field;
        let create = row.createlistingentry.as_deref().map(|answer| field("createlistingentry", answer));
        let note = row.note.as_deref().map(|note| field("note", note));
        let parts = [
            Some(field("destination", &heading.destination)),
            Some(field("dateformat", &heading.dateformat)),
            create,
            Some(field("customeventaction", &heading.customeventaction)),
            Some(field("email", &row.email)),
            Some(field("when", &row.when)),
            Some(field("title", &row.title)),
            note,
        ];
        post(&self.settings.fact, parts.into_iter().flatten().collect())
    }

    /// Several events of one heading, the fields in the order of the documented request.
    fn csv(&self, heading: &Heading<'_>, rows: &[Row<'_>]) -> Result<Request<Bytes>, Invalid> {
        let Settings { separator, firstrow, .. } = self.settings;
        let file = table::write(rows, separator, heading.quotecharacter, firstrow)?;
        let title_count = table::titles(rows).to_string();
        let parts = vec![
            Part::Field("destination", &heading.destination),
            Part::Field("fieldseparator", separator.name()),
            Part::Field("quotecharacter", heading.quotecharacter.name()),
            Part::Field("firstrow", if firstrow { "Y" } else { "N" }),
            Part::Field("customeventaction", &heading.customeventaction),
            Part::Field("emailcolidx", table::EMAIL),
            Part::Field("datecolidx", table::WHEN),
            Part::Field("titlecolidx", table::TITLE),
            Part::Field("dateformat", &heading.dateformat),
            Part::Field("filename", FILE_NAME),
            Part::Field("notecolidx", table::NOTE),
            Part::Field("titlecount", &title_count),
            Part::Csv("file", FILE_NAME, &file),
        ];
        post(&self.settings.csv, parts)
    }

    fn get(&self, path: &str) -> Option<Request<Bytes>> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = format!("{}{path}", self.settings.base).parse().ok()?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Some(request)
    }
}

fn post(uri: &Uri, parts: Vec<Part<'_>>) -> Result<Request<Bytes>, Invalid> {
    let (content_type, body) = form::write(&parts)?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(request)
}

impl Vendor for ActOn {
    fn accounts(&self) -> Vec<Account> {
        self.grant.accounts(&self.settings.base)
    }

    /// The group is what a CSV says once, the content what it says in a row.
    fn prepare(&self, event: &Event, _facts: &Facts) -> Result<Item, Refusal> {
        let (heading, row) = fields::row(event, &self.settings)?;
        let unwritable = |error| Refusal::Invalid(format!("the event cannot be written: {error}"));
        let group = serde_json::to_string(&heading).map_err(unwritable)?;
        let content = serde_json::to_vec(&row).map_err(unwritable)?.into();
        Ok(Item { group, content, ..Item::default() })
    }

    fn request(&self, items: &[&Item]) -> Result<Request<Bytes>, Invalid> {
        let unreadable = |error: serde_json::Error| Invalid(format!("what was prepared cannot be read: {error}"));
        let group = items.first().map(|item| item.group.as_str()).unwrap_or_default();
        let heading: Heading<'_> = serde_json::from_str(group).map_err(unreadable)?;
        let rows = items.iter().map(|item| serde_json::from_slice(&item.content));
        let rows: Vec<Row<'_>> = rows.collect::<Result<_, _>>().map_err(unreadable)?;
        match rows.as_slice() {
            [row] if !self.is_csv(items) => self.fact(&heading, row),
            rows => self.csv(&heading, rows),
        }
    }

    fn judge(&self, reply: &Reply) -> Verdict {
        replies::judge(reply)
    }

    /// Asks about a job that does not exist: "Invalid or expired Job Id" with a good token.
    fn credentials_check(&self) -> Option<Request<Bytes>> {
        self.get(&jobs::path("0"))
    }

    fn batching(&self) -> Batching {
        let together = |when| Batching { items: self.settings.batch_max, bytes: MAX_CSV_BYTES, when };
        match self.settings.mode {
            Mode::Fact => Batching::ALONE,
            Mode::Csv => together(When::Always),
            Mode::Auto => together(When::Scarce),
        }
    }

    fn grant(&self) -> Option<&dyn Grant> {
        Some(&self.grant)
    }

    /// Watched until it is done: the job of a CSV, or of every upload, as `confirm` says.
    fn job(&self, reply: &Reply, items: &[&Item]) -> Option<String> {
        let is_watched = match self.settings.confirm {
            Some(confirm) => confirm == Confirm::Applied,
            None => self.is_csv(items),
        };
        jobs::job(reply).filter(|_| is_watched)
    }

    fn job_status(&self, job: &str) -> Option<Request<Bytes>> {
        self.get(&jobs::path(job))
    }

    fn judge_job(&self, job: &str, reply: &Reply) -> Job {
        jobs::judge(job, reply)
    }
}

#[cfg(test)]
mod tests;
