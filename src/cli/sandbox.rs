//! `sluice sandbox`: flags come in, a running sandbox and a summary at its end go out.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::sandbox::{
    EndpointStats, Enforcement, HookSettings, Limit, PxKey, PxSettings, QuotaHeaders, RetryAfterForm, Rule, Sandbox,
    SandboxError, Settings,
};

const EXAMPLES: &str = r#"Examples:
  Gainsight PX as documented, on http://127.0.0.1:8481:
    sluice sandbox

  20 requests a second by token bucket, and a Retry-After on each refusal:
    sluice sandbox --limit 20/s --enforce bucket --retry-after seconds

  After 10 s an outage of 5 s, and a tenth of all connections reset:
    sluice sandbox --fault '{"fault":"status","status":503,"after":10,"seconds":5}' \
                   --fault '{"fault":"reset","share":0.1}'

  While it runs:
    curl localhost:8481/sandbox/stats
    curl localhost:8481/sandbox/events?limit=5
    curl localhost:8481/sandbox/faults -d '{"fault":"status","status":429,"retry_after":7,"count":1}'
    curl -X DELETE localhost:8481/sandbox/faults

Faults: status, html, hang, reset, slow, bad-body, drop-after.
Their fields: status, body, retry_after, ms, share, count, after, seconds, path."#;

/// Plays the vendors' APIs on this machine, with their checks, limits and faults
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8481")]
    listen: SocketAddr,

    /// Limit of each Gainsight PX account; may be repeated [default: 200/s and 1000000/day]
    #[arg(long, value_name = "N/WINDOW")]
    limit: Vec<Limit>,

    /// How limits are counted
    #[arg(long, value_name = "KIND", value_enum, default_value_t)]
    enforce: Enforcement,

    /// Gainsight PX API key to accept; may be repeated, each is an account [default: sandbox]
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,

    /// Gainsight PX API key that may not write (answered with 403); may be repeated
    #[arg(long, value_name = "KEY")]
    read_only_key: Vec<String>,

    /// Event name that Gainsight PX refuses with 400; may be repeated
    #[arg(long, value_name = "NAME")]
    reject_name: Vec<String>,

    /// Limit of each path under /hook/; may be repeated [default: none]
    #[arg(long, value_name = "N/WINDOW")]
    hook_limit: Vec<Limit>,

    /// Retry-After on refused requests
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    retry_after: RetryAfterForm,

    /// Headers that tell what is left of the quota
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    quota_headers: QuotaHeaders,

    /// How long every answer takes, such as 20ms
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = clap::builder::StringValueParser::new().try_map(|text| read_time(&text)))]
    latency: Duration,

    /// A fault as JSON; may be repeated
    #[arg(long, value_name = "JSON")]
    fault: Vec<Rule>,

    /// Decides which requests a fault's share falls on; the same seed, the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Print JSON: one line at the start, one at the end
    #[arg(long)]
    json: bool,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sandbox did not start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Plays the vendors until `stop`; prints the address first and a summary last.
///
/// # Errors
/// [`Error`] when the address cannot be had or standard output is closed.
pub async fn run(args: Args, stop: CancellationToken) -> Result<(), Error> {
    let json = args.json;
    let key = args.key.first().cloned().unwrap_or_else(|| "sandbox".to_owned());
    let sandbox = Sandbox::start(settings(args)).await?;
    let handle = sandbox.handle();
    print(&if json { greeting_json(sandbox.address()) } else { greeting(sandbox.address(), &key) })?;

    stop.cancelled().await;
    sandbox.stop().await;
    let stats = handle.stats();
    print(&if json { json!({ "endpoints": stats }).to_string() } else { summary(&stats) })?;
    Ok(())
}

fn settings(args: Args) -> Settings {
    let px = PxSettings::default();
    let keys = args.key.into_iter().map(PxKey::new).chain(args.read_only_key.into_iter().map(PxKey::read_only));
    let keys: Vec<PxKey> = keys.collect();
    Settings {
        listen: args.listen,
        px: PxSettings {
            keys: if keys.iter().all(|key| key.read_only) { px.keys.into_iter().chain(keys).collect() } else { keys },
            limits: if args.limit.is_empty() { px.limits } else { args.limit },
            enforcement: args.enforce,
            retry_after: args.retry_after,
            quota_headers: args.quota_headers,
            reject_names: args.reject_name,
        },
        hook: HookSettings {
            limits: args.hook_limit,
            enforcement: args.enforce,
            retry_after: args.retry_after,
            oauth: None,
        },
        latency: args.latency,
        faults: args.fault,
        seed: args.seed,
        ..Settings::default()
    }
}

fn read_time(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| format!("{text:?} is not a time, such as 20ms or 1s"))?;
    Duration::try_from(span).map_err(|_| "a time cannot be negative".to_owned())
}

fn greeting(address: SocketAddr, key: &str) -> String {
    format!(
        r#"The sandbox plays Gainsight PX and any JSON hook on http://{address} until it is stopped.

To send events to it, put this in sluice.toml:

  [destinations.px-sandbox]
  vendor = "gainsight-px"
  base_url = "http://{address}"
  api_key = "{key}"
  property_key = "AP-XXXXXXXXXX-2"
  subscribe = ["product.#"]

  [destinations.hook-sandbox]
  vendor = "http"
  method = "POST"
  url = "http://{address}/hook/sandbox"
  subscribe = ["product.#"]

What arrived: http://{address}/sandbox/stats and /sandbox/events"#
    )
}

fn greeting_json(address: SocketAddr) -> String {
    json!({ "address": address.to_string(), "url": format!("http://{address}") }).to_string()
}

fn summary(stats: &BTreeMap<String, EndpointStats>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "endpoint",
        "received",
        "accepted",
        "refused",
        "invalid",
        "unauthorized",
        "faulted",
        "duplicates",
        "busiest s",
        "quota used",
    ]);
    for (endpoint, stats) in stats {
        let counts = [
            stats.received,
            stats.accepted,
            stats.refused,
            stats.invalid,
            stats.unauthorized,
            stats.faulted,
            stats.duplicates,
        ];
        let quota = stats.quota_use.filter(|_| stats.received > 0).map(|used| format!("{:.1} %", used * 100.0));
        let figures = counts.iter().map(u64::to_string).chain([stats.busiest_second.to_string()]);
        table.add_row(std::iter::once(endpoint.clone()).chain(figures).chain([quota.unwrap_or_default()]));
    }
    format!("\nWhat arrived:\n{table}")
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(flags: &[&str]) -> Result<Settings, clap::Error> {
        Command::try_parse_from(std::iter::once("sandbox").chain(flags.iter().copied()))
            .map(|command| settings(command.args))
    }

    #[test]
    fn the_flags_hold_together() {
        Command::command().debug_assert();
    }

    #[test]
    fn without_flags_px_is_played_as_documented() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8481");
        assert_eq!(settings.px.keys, [PxKey::new("sandbox")]);
        assert_eq!(settings.px.limits, ["200/s".parse().unwrap(), "1000000/day".parse().unwrap()]);
        assert!(settings.hook.limits.is_empty() && settings.latency.is_zero());
    }

    #[test]
    fn flags_become_settings() {
        let fault = r#"{"fault":"status","status":429,"retry_after":7,"count":1}"#;
        let flags = ["--limit", "5/s", "--enforce", "fixed-from-first", "--key", "k", "--read-only-key", "r"];
        let more = ["--latency", "20ms", "--fault", fault, "--retry-after", "date"];
        let settings = parse(&[&flags[..], &more[..]].concat()).unwrap();
        assert_eq!(settings.px.limits, [Limit::per_second(5)]);
        assert_eq!(settings.px.enforcement, Enforcement::FixedFromFirst);
        assert_eq!(settings.px.keys, [PxKey::new("k"), PxKey::read_only("r")]);
        assert_eq!(settings.latency, Duration::from_millis(20));
        assert_eq!(settings.faults, [fault.parse().unwrap()]);
    }

    #[test]
    fn a_wrong_flag_says_what_to_write() {
        for (flag, value, hint) in [
            ("--limit", "200", "200/s"),
            ("--fault", "{\"fault\":\"status\",\"share\":2}", "0 to 1"),
            ("--latency", "fast", "20ms"),
        ] {
            let error = parse(&[flag, value]).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
