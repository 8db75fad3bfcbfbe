//! `/reload`: has workers read their configuration files again, and shows what each made of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::form::Fields;
use super::frame::{self, Frame};
use super::show::of;
use crate::admin::Admin;
use crate::admin::auth::{Who, forbidden};
use crate::admin::extract::{NoParams, Params};
use crate::admin::problem::Problem;
use crate::admin::reload::everywhere;
use crate::clock;
use crate::config::Role;
use crate::control::reload::{Outcome, Reloaded};

/// What a worker made of its file.
struct Shown {
    worker: String,
    file: String,
    outcome: &'static str,
    /// Whether the file is in force there.
    is_good: bool,
    sentences: Vec<String>,
}

#[derive(Template)]
#[template(path = "reload.html")]
struct Page {
    frame: Frame,
    /// This worker.
    me: String,
    /// All that are known.
    workers: BTreeSet<String>,
    /// None before anything was done.
    results: Option<Vec<Shown>>,
    summary: String,
    is_good: bool,
}

/// The workers, and the question which of them.
pub(super) async fn ask(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    if who.role == Role::Read {
        return Err(forbidden(&who));
    }
    Ok(shown(&admin, frame, None))
}

/// Does it: at the worker that the form names, or at all.
pub(super) async fn submit(
    State(admin): State<Arc<Admin>>,
    frame: Frame,
    who: Who,
    Params(NoParams {}): Params<NoParams>,
    fields: Fields,
) -> Result<Response, Problem> {
    let worker = fields.get("worker").map(str::to_owned);
    let reloaded = everywhere(&admin, who, worker).await?;
    Ok(shown(&admin, frame, Some(reloaded)))
}

fn shown(admin: &Admin, frame: Frame, reloaded: Option<Vec<Reloaded>>) -> Response {
    let peers = admin.roster.peers();
    let all = reloaded.as_ref().map_or(0, Vec::len);
    let results = reloaded.map(|reloaded| reloaded.into_iter().map(Shown::of).collect::<Vec<_>>());
    let good = results.iter().flatten().filter(|one| one.is_good).count();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let summary = match all - good {
        0 => format!("Reloaded by {}.", of(number(good), "worker", "workers")),
        _ => format!("Reloaded by {good} of {}.", of(number(all), "worker", "workers")),
    };
    frame::page(&Page {
        frame,
        me: peers.me().name.clone(),
        workers: peers.names(clock::now()),
        results,
        summary,
        is_good: good == all,
    })
}

impl Shown {
    fn of(reloaded: Reloaded) -> Self {
        let outcome = match reloaded.outcome {
            Outcome::Applied => "reloaded",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused: nothing changed there",
            Outcome::NoAnswer => "no answer",
        };
        let (sentences, is_good) = (reloaded.sentences(), reloaded.outcome == Outcome::Applied);
        Self { worker: reloaded.worker, file: reloaded.file, outcome, is_good, sentences }
    }
}
