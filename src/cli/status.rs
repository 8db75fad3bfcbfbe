//! `sluice status`: the status of each destination, from a worker's admin API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::Url;

use super::{Error, load, print_json, print_table};
use crate::config::{Admin, ConfigFile};
use crate::delivery::cause;

const EXAMPLES: &str = "\
Examples:
  sluice status
  sluice status --url http://sluice.internal:9464
  sluice status --json | jq '.destinations[] | select(.state != \"open\")'";

/// Show the status of each destination
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The worker's admin address, instead of `[admin] listen`
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, file: &ConfigFile) -> Result<(), Error> {
    let admin = load(file)?.admin;
    let base = args.url.as_ref().map_or_else(|| at(admin.listen), base);
    let shown = ask(&base, &admin, "/api/v1/destinations").await?;
    if args.json {
        return print_json(&shown);
    }
    let destinations = shown.get("destinations").and_then(Value::as_array).into_iter().flatten();
    Ok(print_table(HEADER, destinations.map(row))?)
}

/// What paths are appended to, for an address given by hand.
pub(super) fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// The same for what `[admin]` listens on: a worker that listens on every address is reached on this machine's own.
pub(super) fn at(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => listen.ip(),
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// Why there is no answer: of a time-out the innermost error would say nothing.
pub(super) fn cause_of(error: &reqwest::Error) -> String {
    if error.is_timeout() { "no answer in time".to_owned() } else { cause::sentence(error) }
}

/// What a worker's API answers there.
pub(super) async fn ask(base: &str, admin: &Admin, path: &str) -> Result<Value, Error> {
    let failed = |cause: reqwest::Error| {
        let cause = cause_of(&cause);
        Error::Failed(format!("no worker answers at {base} ({cause}); is it running? name another with --url"))
    };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build().map_err(failed)?;
    let mut request = client.get(format!("{base}{path}"));
    // Any may read.
    if let Some(token) = admin.tokens.first() {
        request = request.bearer_auth(token.secret.expose_secret());
    }
    let reply = request.send().await.map_err(failed)?;
    if !reply.status().is_success() {
        let (status, text) = (reply.status(), reply.text().await.unwrap_or_default());
        return Err(Error::Failed(format!("{base} answered {status}: {text}")));
    }
    reply.json().await.map_err(failed)
}

/// In the words of `/readyz` and of the console.
const NOT_AT_WORK: &str = "no consumer at the broker";

const HEADER: [&str; 12] = [
    "destination",
    "vendor",
    "state",
    "rate/s",
    "held by",
    "waiting",
    "dead",
    "delivered",
    "429s",
    "retried",
    "today",
    "why",
];

fn row(destination: &Value) -> [String; 12] {
    let text = |key: &str| match destination.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => {
            number.as_f64().filter(|n| n.fract() != 0.0).map_or(number.to_string(), |n| format!("{n:.1}"))
        }
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => "-".to_owned(),
    };
    let today = match destination.get("day_limit").and_then(Value::as_u64) {
        Some(limit) => format!("{}/{limit}", text("day_used")),
        None => text("day_used"),
    };
    let gate = text("why");
    let says_more = gate != "open" || text("state") != "open";
    let is_idle = destination.get("ready") == Some(&Value::Bool(false));
    let copies = destination.get("copies_waiting").and_then(Value::as_u64).unwrap_or(0);
    let aside = format!("{copies} retries or dead letters that the broker does not take");
    let why: Vec<&str> = [(says_more, gate.as_str()), (is_idle, NOT_AT_WORK), (copies > 0, aside.as_str())]
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, why)| *why)
        .collect();
    [
        text("name"),
        text("vendor"),
        text("state"),
        text("rate"),
        text("held_by").replace('_', " "),
        text("waiting"),
        text("dead_letters_ready"),
        text("delivered"),
        text("throttled"),
        text("retried"),
        today,
        why.join("; "),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(state: &str, why: &str, ready: bool) -> String {
        let [.., why] = row(&json!({ "name": "px", "state": state, "why": why, "ready": ready, "consuming": false }));
        why
    }

    #[test]
    fn a_destination_that_is_not_at_work_says_so_whatever_its_gate() {
        assert_eq!(why("open", "open", true), "");
        assert_eq!(why("open", "open", false), "no consumer at the broker");
        assert_eq!(why("broken", "503", false), "503; no consumer at the broker");
        assert_eq!(why("paused", "paused by an operator", true), "paused by an operator");
    }
}
