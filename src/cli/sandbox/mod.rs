//! `sluice sandbox`: flags come in, a running sandbox and a summary at its end go out.

mod flags;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::sandbox::{
    ActOnSettings, ApsisSettings, EndpointStats, FaultRule, HookClient, LatencyOf, Sandbox, SandboxError, Settings,
};
use flags::{ActOnArgs, ApsisArgs, HookArgs, PolicingArgs, PxArgs};

const EXAMPLES: &str = r#"Examples:
  Gainsight PX, Act-On, APSIS One and any JSON hook as documented, on http://127.0.0.1:8481:
    sluice sandbox

  20 requests a second by token bucket, and a Retry-After on each refusal:
    sluice sandbox --limit 20/s --enforce bucket --retry-after seconds

  After 10 s an outage of 5 s, and a tenth of all connections reset:
    sluice sandbox --fault '{"fault":"status","status":503,"after":10,"seconds":5}' \
                   --fault '{"fault":"reset","share":0.1}'

  Act-On jobs that take a minute, and tokens that hold for ten:
    sluice sandbox --act-on-job-time 1m --act-on-token-life 10m

  An event type of your own for APSIS One:
    sluice sandbox --apsis-section usercreated.sections.shop-h4h3dpu3qi --apsis-event-type \
      '{"discriminator":"com.apsis1.events.order","versions":[{"id":"1","type":{"total":"double","paid":"boolean"}}]}'

  Hooks that ask for a bearer token:
    sluice sandbox --hook-oauth client:secret

  Nothing held to any limit, and everything answered at once:
    sluice sandbox --no-limits --latency 0

  Answers that take 300 ms on average and 2 s at most; Act-On always a second:
    sluice sandbox --latency exp:300ms:2s --latency act-on=1s

  While it runs:
    curl localhost:8481/sandbox/stats
    curl localhost:8481/sandbox/events?limit=5
    curl localhost:8481/sandbox/faults -d '{"fault":"status","status":429,"retry_after":7,"count":1}'
    curl -X DELETE localhost:8481/sandbox/faults
    curl localhost:8481/sandbox/latency -d '{"gainsight-px":"3s"}'
    curl -X POST 'localhost:8481/sandbox/revoke?vendor=act-on&tokens=access'

Faults: status, html, hang, reset, slow, bad-body, drop-after.
Their fields: status, body, retry_after, ms, share, count, after, seconds, path."#;

/// Play the vendors' APIs on this machine, with their checks, limits and faults
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8481")]
    listen: SocketAddr,

    /// How long answers take: 20ms, 0 for none, exp:300ms for an exponential time with that mean, exp:300ms:2s for one that
    /// is never longer, typical; act-on=1s for one vendor. May be repeated: the last that is said of a vendor holds [default:
    /// typical, exponential with a mean of 300 ms for gainsight-px, 600 for act-on, 250 for apsis-one, 100 for hook]
    #[arg(long, value_name = "[VENDOR=]TIME")]
    latency: Vec<LatencyOf>,

    /// A fault as JSON; may be repeated
    #[arg(long, value_name = "JSON")]
    fault: Vec<FaultRule>,

    /// Decides which requests a fault's share falls on; the same seed, the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many events are kept to be shown
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    keep: usize,

    /// Print JSON: one line at the start, one at the end
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    policing: PolicingArgs,

    #[command(flatten)]
    px: PxArgs,

    #[command(flatten)]
    act_on: ActOnArgs,

    #[command(flatten)]
    apsis: ApsisArgs,

    #[command(flatten)]
    hook: HookArgs,
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
    let settings = settings(args);
    let known = Known::of(&settings);
    let sandbox = Sandbox::start(settings).await?;
    let handle = sandbox.handle();
    print(&if json { greeting_json(sandbox.address()) } else { known.greeting(sandbox.address()) })?;

    stop.cancelled().await;
    sandbox.stop().await;
    let stats = handle.stats();
    print(&if json { json!({ "endpoints": stats }).to_string() } else { summary(&stats) })?;
    Ok(())
}

fn settings(args: Args) -> Settings {
    let policing = args.policing;
    Settings {
        listen: args.listen,
        px: args.px.settings(&policing),
        act_on: args.act_on.settings(&policing),
        apsis_one: args.apsis.settings(&policing),
        hook: args.hook.settings(&policing),
        latency: args.latency,
        faults: args.fault,
        seed: args.seed,
        keep: args.keep,
    }
}

/// What a configuration for this sandbox has to hold.
struct Known {
    px_key: String,
    act_on: ActOnSettings,
    apsis: ApsisSettings,
    hook: Option<HookClient>,
}

impl Known {
    fn of(settings: &Settings) -> Self {
        Self {
            px_key: settings.px.keys.first().map(|key| key.key.clone()).unwrap_or_default(),
            act_on: settings.act_on.clone(),
            apsis: settings.apsis_one.clone(),
            hook: settings.hook.oauth.clone(),
        }
    }

    fn greeting(&self, address: SocketAddr) -> String {
        let Self { px_key, act_on, apsis, hook } = self;
        let first = |names: &[String]| names.first().cloned().unwrap_or_default();
        let (keyspace, section) = (first(&apsis.keyspaces), apsis.sections.last().cloned().unwrap_or_default());
        let token = hook.as_ref().map_or(String::new(), |client| {
            format!("\nHooks ask for a token of http://{address}/hook-oauth/token for the client {:?}.\n", client.id)
        });
        format!(
            r#"The sandbox plays Gainsight PX, Act-On, APSIS One and any JSON hook on http://{address} until it is stopped.
{token}
To send events to it, put this in sluice.toml:

  [destinations.px-sandbox]
  vendor = "gainsight-px"
  base_url = "http://{address}"
  api_key = "{px_key}"
  property_key = "AP-XXXXXXXXXX-2"
  subscribe = ["product.#"]

  [destinations.acton-sandbox]
  vendor = "act-on"
  base_url = "http://{address}"
  client_id = "{}"
  client_secret = "{}"
  username = "{}"
  password = "{}"
  dateformat = "MM/dd/yyyy"
  subscribe = ["webinar.#"]

  [destinations.apsis-sandbox]
  vendor = "apsis-one"
  base_url = "http://{address}"
  client_id = "{}"
  client_secret = "{}"
  keyspace = "{keyspace}"
  section = "{section}"
  subscribe = ["shop.#"]

  [destinations.hook-sandbox]
  vendor = "http"
  method = "POST"
  url = "http://{address}/hook/sandbox"
  limits = ["10/s"]
  subscribe = ["order.#"]

What arrived: http://{address}/sandbox/stats and /sandbox/events"#,
            act_on.client_id,
            act_on.client_secret,
            act_on.username,
            act_on.password,
            apsis.client_id,
            apsis.client_secret,
        )
    }
}

fn greeting_json(address: SocketAddr) -> String {
    let url = format!("http://{address}");
    let base_urls = json!({ "gainsight-px": url, "act-on": url, "apsis-one": url, "hook": format!("{url}/hook/") });
    json!({ "address": address.to_string(), "url": url, "base_urls": base_urls }).to_string()
}

fn summary(stats: &BTreeMap<String, EndpointStats>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "endpoint",
        "received",
        "accepted",
        "events",
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
            stats.events,
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
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::sandbox::{Enforcement, Limit, PxKey};

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
    fn without_flags_every_vendor_is_played_as_documented() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8481");
        assert_eq!(settings.px.keys, [PxKey::new("sandbox")]);
        assert_eq!(settings.px.limits, ["200/s".parse().unwrap(), "1000000/day".parse().unwrap()]);
        assert!(settings.hook.limits.is_empty() && settings.hook.oauth.is_none() && settings.latency.is_empty());
        assert_eq!(format!("{:?}", settings.act_on), format!("{:?}", ActOnSettings::default()));
        assert_eq!(format!("{:?}", settings.apsis_one), format!("{:?}", ApsisSettings::default()));
    }

    #[test]
    fn flags_become_settings() {
        let fault = r#"{"fault":"status","status":429,"retry_after":7,"count":1}"#;
        let flags = ["--limit", "5/s", "--enforce", "fixed-from-first", "--key", "k", "--read-only-key", "r"];
        let more = ["--latency", "20ms", "--latency", "hook=0", "--fault", fault, "--retry-after", "date"];
        let settings = parse(&[&flags[..], &more[..]].concat()).unwrap();
        assert_eq!(settings.px.limits, [Limit::per_second(5)]);
        assert_eq!(settings.px.enforcement, Enforcement::FixedFromFirst);
        assert_eq!(settings.px.keys, [PxKey::new("k"), PxKey::read_only("r")]);
        assert_eq!(settings.latency, ["20ms".parse().unwrap(), "hook=0".parse().unwrap()]);
        assert_eq!(settings.faults, [fault.parse().unwrap()]);
    }

    #[test]
    fn flags_for_act_on_apsis_one_and_hooks_become_settings() {
        let event_type = r#"{"discriminator":"d","versions":[{"id":"1","type":{"f":"string"}}]}"#;
        let act_on =
            ["--act-on-limit", "9/s", "--act-on-job-time", "5s", "--act-on-user", "u", "--act-on-failing-jobs", "2"];
        let apsis = ["--apsis-section", "s", "--apsis-event-type", event_type, "--apsis-multi-status"];
        let hook = ["--hook-oauth", "id:secret", "--hook-token-life", "5m", "--keep", "7"];
        let settings = parse(&[&act_on[..], &apsis[..], &hook[..]].concat()).unwrap();
        assert_eq!(settings.act_on.limits, [Limit::per_second(9)]);
        assert_eq!((settings.act_on.job_time, settings.act_on.failing_jobs), (Duration::from_secs(5), 2));
        assert_eq!((settings.act_on.username.as_str(), settings.keep), ("u", 7));
        assert_eq!(settings.apsis_one.sections, ["s"]);
        assert_eq!(settings.apsis_one.event_types, [event_type.parse().unwrap()]);
        assert!(settings.apsis_one.multi_status);
        let client = settings.hook.oauth.unwrap();
        assert_eq!(
            (client.id.as_str(), client.secret.as_str(), client.token_life),
            ("id", "secret", Duration::from_mins(5))
        );
    }

    #[test]
    fn without_limits_no_vendor_has_any() {
        let Settings { px, act_on, apsis_one, hook, .. } = parse(&["--no-limits", "--act-on-limit", "1/s"]).unwrap();
        let all = [
            px.limits,
            act_on.limits,
            act_on.auth_limits,
            apsis_one.limits,
            apsis_one.profile_limits,
            apsis_one.auth_limits,
            hook.limits,
        ];
        assert!(all.iter().all(Vec::is_empty));
    }

    #[test]
    fn the_greeting_shows_how_to_reach_every_vendor() {
        let settings =
            parse(&["--act-on-client-id", "my-client", "--key", "k-1", "--hook-oauth", "id:secret"]).unwrap();
        let greeting = Known::of(&settings).greeting(settings.listen);
        let parts = [
            "gainsight-px",
            "act-on",
            "apsis-one",
            "vendor = \"http\"",
            "\"my-client\"",
            "\"k-1\"",
            "/hook-oauth/token",
        ];
        for part in parts {
            assert!(greeting.contains(part), "{part} is missing in {greeting}");
        }
    }

    #[test]
    fn the_greeting_shows_a_configuration_that_sluice_takes() {
        let settings = parse(&[]).unwrap();
        let greeting = Known::of(&settings).greeting(settings.listen);
        let lines = greeting.lines().filter_map(|line| line.strip_prefix("  ")).collect::<Vec<_>>().join("\n");
        let text = format!("[broker]\nurl = \"amqp://localhost\"\n{lines}");
        let config = crate::config::parse("sluice.toml", &text, &|_| None, &|_| Ok(String::new()));
        assert_eq!(config.unwrap().destinations.len(), 4);
    }

    #[test]
    fn a_wrong_flag_says_what_to_write() {
        for (flag, value, hint) in [
            ("--limit", "200", "200/s"),
            ("--fault", "{\"fault\":\"status\",\"share\":2}", "0 to 1"),
            ("--latency", "fast", "300ms"),
            ("--apsis-event-type", "{}", "\"discriminator\""),
            ("--hook-oauth", "id", "ID:SECRET"),
        ] {
            let error = parse(&[flag, value]).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
