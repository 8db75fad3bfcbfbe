//! `/unrouted`: events that no destination subscribed to, by routing key; published again or deleted.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::bars::Bars;
use super::form::Fields;
use super::frame::{self, Frame};
use super::letter_search::query_string;
use super::show::{Moment, count, of, pretty};
use crate::admin::Admin;
use crate::admin::auth::{Who, forbidden};
use crate::admin::extract::{NoParams, Params};
use crate::admin::problem::Problem;
use crate::admin::unrouted::{self, UnroutedChoice, UnroutedQuery};
use crate::clock;
use crate::config::Role;
use crate::routing;
use crate::unrouted::{UnroutedAct, UnroutedDone};

/// Events that are shown of a routing key.
const SHOWN: u16 = 20;
/// Longest body that is shown, in bytes.
const LONGEST_BODY: usize = 4_000;

/// Which events are shown one by one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UnroutedFilter {
    routing_key: String,
}

/// What is to be done with which.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ActFilter {
    act: String,
    /// None means all.
    routing_key: String,
}

struct Group {
    routing_key: String,
    count: String,
    first: Option<Moment>,
    last: Option<Moment>,
    source: String,
    bars: Option<Bars>,
    /// Whether a destination subscribes to it now.
    is_subscribed: bool,
    open: String,
    publish: String,
    discard: String,
}

struct Event {
    id: String,
    source: String,
    time: Option<Moment>,
    problem: Option<String>,
    body: String,
    is_cut: bool,
}

#[derive(Template)]
#[template(path = "unrouted.html")]
struct Page {
    frame: Frame,
    groups: Vec<Group>,
    others: Option<String>,
    total: String,
    chosen: String,
    events: Vec<Event>,
    done: Option<String>,
    is_good: bool,
    any_subscribed: bool,
}

#[derive(Template)]
#[template(path = "unrouted_act.html")]
struct Sure {
    frame: Frame,
    is_publish: bool,
    routing_key: String,
    /// As `12 events`.
    events: String,
    count: u64,
    /// Those of them that somebody subscribes to now.
    subscribed: u64,
    still: u64,
}

pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    Params(UnroutedFilter { routing_key }): Params<UnroutedFilter>,
) -> Result<Response, Problem> {
    shown(&admin, frame, routing_key, None).await
}

async fn shown(
    admin: &Arc<Admin>,
    frame: Frame,
    chosen: String,
    done: Option<(UnroutedAct, UnroutedDone)>,
) -> Result<Response, Problem> {
    let now = clock::wall();
    let list = unrouted::grouped(admin).await?;
    let (patterns, mut total) = (admin.watch.subscriptions(), list.others);
    let groups = list.groups.iter().map(|group| {
        total += group.count;
        let key = group.routing_key.as_str();
        let act = |act: &str| format!("/unrouted/act{}", query_string(&[("act", act), ("routing_key", key)]));
        Group {
            routing_key: key.to_owned(),
            count: count(group.count),
            first: Moment::maybe(group.first_seen, now),
            last: Moment::maybe(group.last_seen, now),
            source: group.source.clone(),
            bars: Bars::of(&group.by_hour(now)),
            is_subscribed: routing::subscribes(&patterns, key),
            open: format!("/unrouted{}", query_string(&[("routing_key", key)])),
            publish: act("publish"),
            discard: act("discard"),
        }
    });
    let groups: Vec<Group> = groups.collect();
    let events = if chosen.is_empty() {
        Vec::new()
    } else {
        let query = UnroutedQuery { routing_key: Some(chosen.clone()), limit: SHOWN };
        unrouted::listed(admin, query).await?.events
    };
    let events = events.into_iter().map(|event| {
        let body = pretty(&event.body).unwrap_or(event.body);
        let end = body.floor_char_boundary(LONGEST_BODY);
        Event {
            id: event.id,
            source: event.source,
            time: Moment::maybe(event.time, now),
            problem: event.problem,
            is_cut: end < body.len(),
            body: body.get(..end).unwrap_or_default().to_owned(),
        }
    });
    let page = Page {
        frame,
        any_subscribed: groups.iter().any(|group| group.is_subscribed),
        groups,
        others: (list.others > 0).then(|| of(list.others, "event", "events")),
        total: of(total, "event", "events"),
        events: events.collect(),
        chosen,
        is_good: done.as_ref().is_some_and(|(_, done)| done.trouble.is_none()),
        done: done.map(|(act, done)| told(act, &done)),
    };
    Ok(frame::page(&page))
}

/// What was done, in a sentence.
fn told(act: UnroutedAct, done: &UnroutedDone) -> String {
    let what = match act {
        UnroutedAct::Publish => "published again",
        UnroutedAct::Discard => "deleted",
    };
    let mut said = format!("{} {what}", of(done.done, "event", "events"));
    if done.not_subscribed > 0 {
        said.push_str(&format!("; {} stay, since nobody subscribes to them", count(done.not_subscribed)));
    }
    done.trouble.iter().for_each(|trouble| said.push_str(&format!("; {trouble}")));
    said.push('.');
    said
}

/// The question whether to do it.
pub(super) async fn ask(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Params(ActFilter { act, routing_key }): Params<ActFilter>,
) -> Result<Response, Problem> {
    if who.role == Role::Read {
        return Err(forbidden(&who));
    }
    let act = named(&act)?;
    let list = unrouted::grouped(&admin).await?;
    let patterns = admin.watch.subscriptions();
    let meant = list.groups.iter().filter(|group| routing_key.is_empty() || group.routing_key == routing_key);
    let (mut count, mut subscribed) = (if routing_key.is_empty() { list.others } else { 0 }, 0);
    for group in meant {
        count += group.count;
        if routing::subscribes(&patterns, &group.routing_key) {
            subscribed += group.count;
        }
    }
    let page = Sure {
        frame,
        is_publish: act == UnroutedAct::Publish,
        routing_key,
        events: of(count, "event", "events"),
        count,
        subscribed,
        still: count - subscribed,
    };
    Ok(frame::page(&page))
}

pub(super) async fn act(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    let act = named(fields.get("act").unwrap_or_default())?;
    let routing_keys = fields.get("routing_key").map(str::to_owned).into_iter().collect();
    let all = fields.get("routing_key").is_none();
    let done = unrouted::act(&admin, &who, act, UnroutedChoice { routing_keys, all }).await?;
    shown(&admin, frame, String::new(), Some((act, done))).await
}

fn named(act: &str) -> Result<UnroutedAct, Problem> {
    match act {
        "publish" => Ok(UnroutedAct::Publish),
        "discard" => Ok(UnroutedAct::Discard),
        other => {
            let detail = format!("act is {other:?}; it is publish or discard");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}
