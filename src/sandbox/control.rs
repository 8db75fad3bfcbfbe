//! The sandbox's own paths, `/healthz` and those under `/sandbox`: figures and events go out, faults, latencies and revocations
//! come in.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::api::{self, Answer, Call, Revoked};
use super::fault::FaultRule;
use super::latency::{Latency, LatencyOf};
use super::world::World;

const EVENTS: usize = 100;

/// Whether `path` is the sandbox's own.
pub(super) fn owns(path: &str) -> bool {
    path == "/healthz" || path == "/sandbox" || path.starts_with("/sandbox/")
}

/// Does what was asked.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    match (call.uri().path(), call.method()) {
        ("/healthz", &Method::GET) => ok(&json!({ "alive": true })),
        ("/sandbox/stats", &Method::GET) => ok(&json!({ "endpoints": world.stats() })),
        ("/sandbox/events", &Method::GET) => events(world, call.uri().query().unwrap_or_default()),
        ("/sandbox/events", &Method::DELETE) => {
            world.forget();
            ok(&json!({ "forgotten": true }))
        }
        ("/sandbox/faults", &Method::GET) => ok(&json!(world.faults())),
        ("/sandbox/faults", &Method::POST) => add_faults(world, call.body()),
        ("/sandbox/faults", &Method::DELETE) => {
            world.clear_faults();
            ok(&json!(world.faults()))
        }
        ("/sandbox/latency", &Method::GET) => ok(&json!(world.latencies())),
        ("/sandbox/latency", &Method::POST) => set_latencies(world, call.body()),
        ("/sandbox/revoke", &Method::POST) => revoke(world, call.uri().query().unwrap_or_default()),
        _ => api::error(
            StatusCode::NOT_FOUND,
            "the sandbox knows GET /healthz and /sandbox/stats, GET and DELETE /sandbox/events, \
             GET, POST and DELETE /sandbox/faults, GET and POST /sandbox/latency, POST /sandbox/revoke",
        ),
    }
}

fn ok(body: &Value) -> Answer {
    api::json(StatusCode::OK, body.to_string())
}

/// One rule, or several that are all added or all refused.
#[derive(Deserialize)]
#[serde(untagged)]
enum FaultRules {
    Several(Vec<Value>),
    One(Value),
}

fn add_faults(world: &World, body: &Bytes) -> Answer {
    let refuse = |sentence: String| api::error(StatusCode::BAD_REQUEST, &sentence);
    let rules = match serde_json::from_slice(body) {
        Ok(FaultRules::Several(rules)) => rules,
        Ok(FaultRules::One(rule)) => vec![rule],
        Err(error) => return refuse(format!("the body is not JSON: {error}")),
    };
    // By text, so that a rule is read and refused with the same words as on the command line.
    let rules: Result<Vec<FaultRule>, _> = rules.iter().map(|rule| rule.to_string().parse()).collect();
    match rules.and_then(|rules| rules.into_iter().try_for_each(|rule| world.add_fault(rule))) {
        Ok(()) => ok(&json!(world.faults())),
        Err(error) => refuse(error.to_string()),
    }
}

/// Every vendor's latency, or those of some.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    All(String),
    Some(BTreeMap<String, String>),
}

fn set_latencies(world: &World, body: &Bytes) -> Answer {
    let refuse = |sentence: String| api::error(StatusCode::BAD_REQUEST, &sentence);
    let asked = match serde_json::from_slice(body) {
        Ok(Asked::All(latency)) => latency.parse::<Latency>().map(|latency| vec![latency.into()]),
        Ok(Asked::Some(vendors)) => {
            let of =
                |(vendor, latency): (String, String)| Ok(LatencyOf { vendor: Some(vendor), latency: latency.parse()? });
            vendors.into_iter().map(of).collect()
        }
        Err(_) => return refuse(r#"write "300ms" for all vendors, or {"act-on":"300ms"} for some"#.to_owned()),
    };
    match asked.and_then(|asked| world.set_latencies(&asked)) {
        Ok(()) => ok(&json!(world.latencies())),
        Err(error) => refuse(error.to_string()),
    }
}

/// Ends the tokens of one `vendor` or of all; with `tokens=access`, refresh tokens hold.
fn revoke(world: &World, query: &str) -> Answer {
    let mut tokens = Revoked::All;
    let mut vendor = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("vendor", _) => vendor = Some(value),
            ("tokens", "access") => tokens = Revoked::Access,
            ("tokens", "all") => tokens = Revoked::All,
            _ => {
                return api::error(StatusCode::BAD_REQUEST, "ask with vendor=<a name> and tokens=access or tokens=all");
            }
        }
    }
    if world.revoke(vendor.as_deref(), tokens) {
        ok(&json!({ "revoked": true }))
    } else {
        api::error(StatusCode::NOT_FOUND, "the sandbox plays no vendor of this name")
    }
}

/// The last `limit` bodies taken (100 by default), of one `endpoint` or of all, oldest first.
fn events(world: &World, query: &str) -> Answer {
    let mut limit = EVENTS;
    let mut endpoint = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, value.parse()) {
            ("limit", Ok(number)) => limit = number,
            ("endpoint", _) => endpoint = Some(value),
            _ => return api::error(StatusCode::BAD_REQUEST, "ask with limit=<a number> and endpoint=<a name>"),
        }
    }
    let bodies = world.events(endpoint.as_deref(), limit);
    let bodies: Vec<&RawValue> = bodies.iter().filter_map(|body| serde_json::from_slice(body).ok()).collect();
    match serde_json::to_string(&bodies) {
        Ok(body) => api::json(StatusCode::OK, body),
        Err(error) => api::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
