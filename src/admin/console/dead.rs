//! `/destinations/{name}/dead`: the letters of a destination, by cause and one by one, in one pass over them.

use std::ops::ControlFlow;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;

use super::check::Check;
use super::form::see_other;
use super::frame::{self, Frame};
use super::letter_search::LetterSearch;
use super::operations::{self, ShownOperation};
use super::show::{Moment, count, of};
use crate::admin::Admin;
use crate::admin::dead::{look, to_its_end};
use crate::admin::destinations::DestinationPath;
use crate::admin::extract::Segment;
use crate::admin::problem::Problem;
use crate::clock;
use crate::dead_letters::Pile;
use crate::dead_letters::groups::{Group, Groups};
use crate::dead_letters::letter::Letter;
use crate::dead_letters::look::{LookStep, LookSummary};
use crate::dead_letters::page::{Page as LetterPage, Paged, Window};
use crate::dead_letters::recheck::{Recheck, RecheckBound, Rechecked};
use crate::verdict::Reason;

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

#[derive(Template)]
#[template(path = "dead.html")]
struct Page {
    frame: Frame,
    name: String,
    search: LetterSearch,
    is_trash: bool,
    reasons: Vec<(&'static str, bool)>,
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
    search: LetterSearch,
) -> Result<Response, Problem> {
    let found = find(&admin, &name, &search).await?;
    let page = found.page;
    if page.letters.is_empty() && search.window != Window::First {
        return Ok(see_other(&format!("/destinations/{name}/dead{}", search.with(&[]))));
    }
    let now = clock::wall();
    let there = found.seen.there;
    let shown = Page {
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
        operations: ShownOperation::of_this_process(&admin, &name, now),
        operations_at: operations::recent_of(&name),
        frame,
        search,
        name,
    };
    Ok(frame::page(&shown))
}

/// One pass: groups of all that are meant, the letters of one page, and of a single group whether they would pass.
async fn find(admin: &Admin, name: &str, search: &LetterSearch) -> Result<Found, Problem> {
    let (letters, destination) = admin.letters(name)?;
    let matcher = search.matcher()?;
    let (pile, mut page) = (search.query.pile, LetterPage::new(search.window, search.limit));
    let is_group = pile == Pile::Dead && search.query.filter.group.len() == 1;
    let mut recheck = is_group.then(|| Recheck::new(destination, admin.max_event_bytes, RecheckBound::QUICK));
    to_its_end(async move {
        let mut groups = Groups::default();
        let seen = look(&letters, pile, &matcher, |shown| {
            match shown {
                LookStep::Anew => {
                    groups = Groups::default();
                    page.anew();
                    recheck.iter_mut().for_each(Recheck::anew);
                }
                LookStep::Letter(letter, message) => {
                    groups.add(letter);
                    page.add(letter);
                    recheck.iter_mut().for_each(|recheck| recheck.add(letter, message));
                }
            }
            ControlFlow::Continue(())
        });
        let seen = seen.await?;
        let check = recheck.as_ref().map(Recheck::finish);
        Ok(Found { seen, groups: groups.finish(), page: page.finish(), check })
    })
    .await
}

fn reasons(search: &LetterSearch) -> Vec<(&'static str, bool)> {
    Reason::ALL.map(|reason| (reason.name(), search.query.filter.reason == [reason.name()])).to_vec()
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
