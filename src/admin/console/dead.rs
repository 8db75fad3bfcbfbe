//! `/destinations/{name}/dead`: the letters of a destination, by cause and one by one, in one pass over them.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use url::form_urlencoded;

use super::check::Check;
use super::copy;
use super::form::{Wrong, see_other};
use super::frame::{self, Frame};
use super::letter_search::LetterSearch;
use super::operations::{self, ShownOperation};
use super::show::{Moment, count, of};
use crate::admin::Admin;
use crate::admin::dead::{PATIENCE, to_its_end};
use crate::admin::destinations::DestinationPath;
use crate::admin::extract::{Query, Segment};
use crate::admin::problem::Problem;
use crate::clock;
use crate::dead_letters::Pile;
use crate::dead_letters::groups::{Group, Groups};
use crate::dead_letters::letter::Letter;
use crate::dead_letters::look::{LookStep, LookSummary, Visit, no_progress};
use crate::dead_letters::page::{Page as LetterPage, Paged, Window};
use crate::dead_letters::recheck::{Recheck, RecheckBound, Rechecked};
use crate::verdict::Reason;

/// The field with the address that a form of chosen letters is on.
pub(super) const FROM: &str = "from";
/// Groups that a page shows.
const GROUPS: usize = 50;

struct ShownGroup {
    count: String,
    reason: &'static str,
    cause: String,
    types: String,
    first: Option<Moment>,
    last: Option<Moment>,
    /// This page with only that group; none where it stands for several.
    href: Option<String>,
}

pub(super) struct ShownLetter {
    pub id: String,
    pub reason: &'static str,
    pub sentence: String,
    pub event: String,
    pub kind: String,
    pub at: Option<Moment>,
    pub replays: u32,
    pub edited: bool,
    pub discarded_by: Option<String>,
}

/// A field of the filter that says something, with the page without it.
struct Chip {
    name: &'static str,
    value: String,
    without: String,
}

/// What somebody gave beside the filter, and what is wrong with that or with the filter.
#[derive(Default)]
struct Given {
    rate: String,
    canary: Option<String>,
    wrong: Wrong,
}

/// Fields of the page's filter.
const FILTER_FIELDS: [&str; 6] = ["reason", "type", "id", "newer_than", "older_than", "jq"];
/// Fields of its form for a replay, and the boxes of its letters.
const FIELDS_OF_ACTS: [&str; 3] = ["rate", "canary", "chosen"];

#[derive(Template)]
#[template(path = "dead.html")]
struct Page {
    frame: Frame,
    name: String,
    search: LetterSearch,
    given: Given,
    /// What is wrong beyond its fields.
    wrong_at_all: Option<String>,
    /// Whether the form for a replay is open.
    replays: bool,
    /// Whether the letters were looked at: not with a filter that cannot be read.
    is_read: bool,
    /// The filter as a command.
    as_command: String,
    /// This page, for forms that leave the filter out.
    here: String,
    is_trash: bool,
    reasons: Vec<(String, bool)>,
    chips: Vec<Chip>,
    /// As `40 of 120 letters`.
    summary: String,
    /// As `40 letters`.
    meant: String,
    all_there: String,
    matched: u64,
    there: u32,
    trouble: Option<String>,
    groups: Vec<ShownGroup>,
    more_groups: Option<String>,
    letters: Vec<ShownLetter>,
    range: Option<String>,
    earlier: Option<String>,
    later: Option<String>,
    operations: Vec<ShownOperation>,
    /// Where their list keeps itself up to date from.
    operations_at: String,
    /// Whether the letters of a group would pass now.
    check: Option<Check>,
}

/// What a pass found.
#[derive(Default)]
struct Found {
    seen: LookSummary,
    groups: Vec<Group>,
    page: Paged,
    check: Option<Rechecked>,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Segment(DestinationPath { name }): Segment<DestinationPath>,
    Query(fields): Query,
) -> Result<Response, Problem> {
    let (search, problem) = LetterSearch::as_far_as_possible(fields);
    let wrong = problem.map(Wrong::from).unwrap_or_default();
    shown(&admin, frame, name, search, Given { wrong, ..Given::default() }).await
}

/// The page once more for what one of its forms gave, with what is wrong with that.
pub(super) async fn again(
    admin: &Admin,
    frame: Frame,
    name: String,
    fields: Vec<(String, String)>,
    problem: Problem,
) -> Result<Response, Problem> {
    let given = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, text)| text.clone());
    let (rate, canary) = (given("rate").unwrap_or_default(), given("canary"));
    // The form of chosen letters has no filter, but where it was.
    let fields = match given(FROM) {
        Some(from) => form_urlencoded::parse(from.trim_start_matches('?').as_bytes()).into_owned().collect(),
        None => fields,
    };
    let (search, _) = LetterSearch::as_far_as_possible(fields);
    shown(admin, frame, name, search, Given { rate, canary, wrong: problem.into() }).await
}

async fn shown(
    admin: &Admin,
    frame: Frame,
    name: String,
    search: LetterSearch,
    mut given: Given,
) -> Result<Response, Problem> {
    let (found, is_read) = match find(admin, &name, &search).await {
        Ok(found) => (found, true),
        Err(problem) if problem.field().is_some() => {
            given.wrong = problem.into();
            (Found::default(), false)
        }
        Err(problem) => return Err(problem),
    };
    if found.page.letters.is_empty() && search.window != Window::First && is_read {
        return Ok(see_other(&format!("/destinations/{name}/dead{}", search.with(&[]))));
    }
    let now = clock::wall();
    let (there, page) = (found.seen.there, found.page);
    // Without letters there are no forms that act on them.
    let of_acts: &[&str] = if found.seen.matched > 0 { &FIELDS_OF_ACTS } else { &[] };
    let fields = [&FILTER_FIELDS[..], of_acts].concat();
    let (status, wrong_at_all) = (given.wrong.status(), given.wrong.beyond(&fields).map(str::to_owned));
    let shown = Page {
        wrong_at_all,
        replays: given.wrong.is_about(&["rate", "canary"]),
        is_read,
        as_command: copy::list(&name, &search.query.filter, search.query.pile),
        here: search.here(),
        given,
        is_trash: search.query.pile == Pile::Trash,
        reasons: reasons(&search),
        chips: chips(&search),
        summary: if search.is_all() {
            of(there.into(), "letter", "letters")
        } else {
            format!("{} of {}", count(found.seen.matched), of(there.into(), "letter", "letters"))
        },
        meant: of(found.seen.matched, "letter", "letters"),
        all_there: of(there.into(), "letter", "letters"),
        matched: found.seen.matched,
        there,
        trouble: found.seen.trouble,
        more_groups: found.groups.len().checked_sub(GROUPS).filter(|more| *more > 0).map(count),
        groups: found.groups.iter().take(GROUPS).map(|group| ShownGroup::of(group, &search, now)).collect(),
        range: (page.previous.is_some() || page.next.is_some()).then(|| {
            let (first, last) = (page.before + 1, page.before + u64::try_from(page.letters.len()).unwrap_or(0));
            format!("{}–{} of {}", count(first), count(last), count(page.matched))
        }),
        earlier: page.previous.map(|place| search.at_place("before", place)),
        later: page.next.map(|place| search.at_place("after", place)),
        letters: page.letters.iter().map(|letter| ShownLetter::of(letter, now)).collect(),
        check: found.check.map(|check| Check::of(check, &name)),
        operations: ShownOperation::of_this_process(admin, &name, now),
        operations_at: operations::recent_of(&name),
        frame,
        search,
        name,
    };
    Ok((status, frame::page(&shown)).into_response())
}

/// One pass: groups of all that are meant, the letters of one page, and of a single group whether they would pass.
async fn find(admin: &Admin, name: &str, search: &LetterSearch) -> Result<Found, Problem> {
    admin.known(name)?;
    let matcher = search.matcher()?;
    let (letters, destination) = admin.letters(name)?;
    let (pile, mut page) = (search.query.pile, LetterPage::new(search.window, search.limit));
    let is_group = pile == Pile::Dead && search.query.filter.group.len() == 1;
    let mut recheck = is_group.then(|| Recheck::new(destination, admin.max_event_bytes, RecheckBound::QUICK));
    to_its_end(async move {
        let mut groups = Groups::default();
        let seen = letters.look_and_ask(pile, &matcher, PATIENCE, &no_progress, |shown| {
            match shown {
                LookStep::Anew => {
                    groups = Groups::default();
                    page.anew();
                    recheck.iter_mut().for_each(Recheck::anew);
                }
                LookStep::Letter(letter, message) => {
                    // First: where that is hard, the letter is shown once more.
                    if let Some(Err(job)) = recheck.as_mut().map(|recheck| recheck.add(letter, message)) {
                        return Visit::Aside(job);
                    }
                    groups.add(letter);
                    page.add(letter);
                }
            }
            Visit::On
        });
        let seen = seen.await?;
        let check = recheck.as_ref().map(Recheck::finish);
        Ok(Found { seen, groups: groups.finish(), page: page.finish(), check })
    })
    .await
}

/// Every reason, and whether it is the one of the filter; then what the filter has beside them.
fn reasons(search: &LetterSearch) -> Vec<(String, bool)> {
    let chosen = search.text("reason");
    let mut reasons = Reason::ALL.map(|reason| (reason.name().to_owned(), chosen == reason.name())).to_vec();
    if !chosen.is_empty() && reasons.iter().all(|(_, is_chosen)| !is_chosen) {
        reasons.push((chosen, true));
    }
    reasons
}

fn chips(search: &LetterSearch) -> Vec<Chip> {
    let chip = |(name, value): (&'static str, String)| Chip { name, without: search.with(&[(name, "")]), value };
    search.pairs().into_iter().map(chip).collect()
}

impl ShownGroup {
    fn of(group: &Group, search: &LetterSearch, now: Timestamp) -> Self {
        let is_one = group.group.len() == 16;
        Self {
            count: count(group.count),
            reason: group.reason.name(),
            cause: group.cause.clone(),
            types: group.types.join(", "),
            first: Moment::maybe(group.first_seen, now),
            last: Moment::maybe(group.last_seen, now),
            href: is_one.then(|| search.with(&[("group", group.group.as_str())])),
        }
    }
}

impl ShownLetter {
    pub fn of(letter: &Letter, now: Timestamp) -> Self {
        Self {
            id: letter.id.clone(),
            reason: letter.reason.name(),
            sentence: letter.sentence.clone(),
            event: letter.event_id.clone().unwrap_or_default(),
            kind: letter.event_type.clone(),
            at: Moment::maybe(letter.dead_lettered_at, now),
            replays: letter.replays,
            edited: letter.edited_from.is_some() || letter.edited_to.is_some(),
            discarded_by: letter.discarded_by.clone(),
        }
    }
}
