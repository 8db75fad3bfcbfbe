//! `sluice waiting`: the events of a destination that are sent next.

use jiff::Timestamp;

use super::dead::Session;
use super::table::{Column, Table, figure, text, word};
use super::{Error, find, print, print_drawn, print_json};
use crate::config::ConfigFile;
use crate::waiting::{MOST_SHOWN, ORDERED, Place, Waiting};

const EXAMPLES: &str = "\
AMQP has no look that changes nothing. Each event that is shown is taken and given back at once, and the broker counts that
as one of the returns after which an event becomes a dead letter (delivery_limit under [broker]). One that has half of them
starts again behind the others. Where events keep an order there is no look into the queue.

Examples:
  sluice waiting px-prod                 the next 50 in its queue
  sluice waiting px-prod --retrying      those that wait for their next attempt
  sluice waiting px-prod --scheduled     those that may not be sent yet
  sluice waiting px-prod --limit 5 --json";

/// Look at the events of a destination that are sent next
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The destination's name
    destination: String,
    /// Those in its retry queues, until their next attempt
    #[arg(long)]
    retrying: bool,
    /// Those that may not be sent yet (`deliverafter`)
    #[arg(long, conflicts_with = "retrying")]
    scheduled: bool,
    /// Events at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=50))]
    limit: u8,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile) -> Result<(), Error> {
    let session = Session::open(file).await?;
    let done = look(&args, &session, file).await;
    session.close().await;
    done
}

const COLUMNS: [Column; 6] = [
    word("event"),
    word("type"),
    word("time").leaves(2),
    word("delay, or due").leaves(1),
    figure("attempts").leaves(3),
    text("last attempt, or data"),
];

async fn look(args: &Args, session: &Session, file: &ConfigFile) -> Result<(), Error> {
    let destination = find(&session.config, &args.destination, file)?;
    let place = match (args.retrying, args.scheduled) {
        (true, _) => Place::Retry,
        (false, true) => Place::Scheduled,
        (false, false) => Place::Queue,
    };
    if place == Place::Queue && destination.vendor.ordering_key_limit().is_some() {
        return Err(Error::Refused(ORDERED.to_owned()));
    }
    let waiting = Waiting {
        broker: session.broker.clone(),
        destination: args.destination.clone(),
        delays: destination.retry.delays.clone(),
        delivery_limit: session.config.broker.delivery_limit,
        max_event_bytes: session.config.broker.max_event_bytes,
    };
    let list = waiting.look(place, usize::from(args.limit).min(MOST_SHOWN)).await;
    let list = list.map_err(|error| Error::Failed(error.to_string()))?;
    if args.json {
        return print_json(&list);
    }
    if list.events.is_empty() {
        print("nothing waits there")?;
    } else {
        let rows = list.events.iter().map(|event| {
            let last = event.attempts.last().map(|attempt| {
                let status = attempt.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
                format!("{status} {}", attempt.excerpt)
            });
            [
                event.id.clone(),
                event.r#type.clone(),
                event.time.map_or_else(|| "-".to_owned(), second),
                event.due.map(second).or_else(|| event.delay.clone()).unwrap_or_else(|| "-".to_owned()),
                event.attempts.len().to_string(),
                event.problem.clone().or(last).unwrap_or_else(|| event.body.clone()),
            ]
        });
        print_drawn(&Table::new(&COLUMNS, rows))?;
    }
    Ok(())
}

/// To the second, as people write it.
fn second(at: Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}
