//! `sluice run`: a worker, until it is told to stop.

use tokio_util::sync::CancellationToken;

use super::{Error, load_whole};
use crate::config::{ConfigFile, Format};
use crate::{app, log, traces};

const EXAMPLES: &str = "\
`sluice reload` has it read the configuration again, and so does SIGHUP: destinations are added, removed and changed without losing
an event; a bad file changes nothing and says so. SIGTERM or Ctrl-C finishes what is in flight within 10 s and leaves the rest to the broker.

Examples:
  SLUICE_AMQP_URL=amqp://guest:guest@localhost:5672/%2f sluice run
  sluice run --config /etc/sluice/sluice.toml --log-format json";

/// Deliver events, until Ctrl-C or SIGTERM
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Log for people or for programs, instead of what [log] says
    #[arg(long, value_name = "FORM")]
    log_format: Option<LogFormat>,
    /// How much to log, instead of what [log] says: a level or tracing's filter directives
    #[arg(long, value_name = "LEVEL", value_parser = read_level)]
    log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn read_level(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            Err(format!("{error}; write a level such as \"debug\", or directives such as \"info,sluice=debug\""))
        }
    }
}

/// Exports traces where OpenTelemetry's own variables say where to. Deliveries do not depend on it, so a failure is told and no more.
#[expect(clippy::disallowed_methods, reason = "the variables are OpenTelemetry's own, and its crates read them too")]
fn export_traces() -> Option<traces::Export> {
    let wanted = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    if !wanted.iter().any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty())) {
        return None;
    }
    if std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let protocol = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    let protocol = protocol.iter().find_map(|name| std::env::var(name).ok()).filter(|protocol| !protocol.is_empty());
    if let Some(protocol) = protocol.filter(|protocol| protocol != "http/protobuf") {
        tracing::error!(protocol, "no traces are exported: OTEL_EXPORTER_OTLP_PROTOCOL can only be http/protobuf here");
        return None;
    }
    let service = std::env::var("OTEL_SERVICE_NAME").ok();
    traces::start(service.as_deref()).inspect_err(|error| tracing::error!(%error, "no traces are exported")).ok()
}

pub(super) async fn run(args: &Args, file: ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let config = load_whole(&file)?;
    let mut settings = config.log.clone();
    if let Some(format) = args.log_format {
        settings.format = match format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        };
    }
    if let Some(level) = &args.log_level {
        settings.level.clone_from(level);
    }
    let _flushed_at_the_end = log::start(&settings);
    let _exported_until_the_end = export_traces();
    Ok(app::run(config, file, stop).await?)
}
