//! `sluice dead show`: one letter with everything.

use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Session, not_seen, pile, within_session};
use crate::class::Class;
use crate::cli::{Error, print, print_json, print_lines};
use crate::config::ConfigFile;
use crate::dead_letters::letter::Details;
use crate::dead_letters::{DeadLetters, Pile};
use crate::message::Message;

/// Show one letter: why it died, every attempt, and the event as it was published
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  sluice dead show px-prod 0123456789abcdef\n  sluice dead show px-prod order-4711 --json"
)]
pub(super) struct Args {
    /// The destination's name
    destination: String,
    /// The letter's id (16 hex digits) or the event's
    #[arg(value_name = "LETTER|ID")]
    id: String,
    /// A letter in the trash instead
    #[arg(long)]
    trash: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    let session = Session::open(file).await?;
    within_session(session, &stop, async |session| {
        let letters = session.letters(&args.destination, file)?;
        let letter = one(&letters, pile(args.trash), &args.id).await?;
        let details = Details::read(&letter, &args.destination);
        if args.json { print_json(&details) } else { tell(&details) }
    })
    .await
}

/// The one letter of that id, its own or its event's.
pub(super) async fn one(letters: &DeadLetters, pile: Pile, id: &str) -> Result<Message, Error> {
    let found = letters.find(pile, id, PATIENCE).await.map_err(|error| not_seen(&error))?;
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(letter), None) => Ok(letter),
        (Some(_), Some(_)) => Err(Error::Refused(format!(
            "several letters belong to the event {id:?}: `sluice dead list {} --id {id}` shows them; name one by its own id",
            letters.destination
        ))),
        (None, _) => Err(Error::Refused(format!("there is no letter {id:?}, and none of an event with that id"))),
    }
}

fn tell(details: &Details) -> Result<(), Error> {
    let letter = &details.letter;
    let mut rows: Vec<(&str, String)> = vec![
        ("letter", letter.id.clone()),
        ("reason", letter.reason.name().to_owned()),
        ("sentence", letter.sentence.clone()),
        ("destination", letter.destination.clone()),
        ("event id", letter.event_id.clone().unwrap_or_else(|| "-".to_owned())),
        ("event type", letter.event_type.clone()),
        ("class", letter.class.map_or("-", Class::name).to_owned()),
        ("group", letter.group.clone()),
        ("replays", letter.replays.to_string()),
    ];
    let times = [
        ("received", details.received),
        ("first attempt", letter.first_attempt),
        ("last attempt", letter.last_attempt),
        ("died", letter.dead_lettered_at),
        ("discarded", letter.discarded_at),
    ];
    rows.extend(times.into_iter().filter_map(|(name, at)| Some((name, at?.to_string()))));
    let texts = [
        ("discarded by", &letter.discarded_by),
        ("worker", &letter.worker),
        ("replayed by", &letter.replayed_by),
        ("edited from", &letter.edited_from),
        ("edited to", &letter.edited_to),
        ("routing key", &details.routing_key),
    ];
    rows.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))));
    rows.iter().try_for_each(|(name, value)| print(&format!("{name:<14} {value}")))?;
    for (number, attempt) in details.attempts.iter().enumerate() {
        let status = attempt.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        print(&format!(
            "attempt {:<6} {} {status} {} ms {}: {}",
            number + 1,
            attempt.at,
            attempt.ms,
            attempt.verdict,
            attempt.excerpt
        ))?;
    }
    if details.attempts_omitted > 0 {
        print(&format!("               and {} between them that were left out", details.attempts_omitted))?;
    }
    for (name, values) in [("property", &details.properties), ("header", &details.headers)] {
        values.iter().try_for_each(|(key, value)| print(&format!("{name:<14} {key}: {value}")))?;
    }
    let body = details.body.as_ref().map(|body| ("body", body));
    let body = body.or(details.body_base64.as_ref().map(|body| ("body, base64", body)));
    // The last, so that nothing of Sluice's follows that its lines could pass for.
    body.map_or(Ok(()), |(name, body)| Ok(print_lines(&format!("{name}:\n{body}"))?))
}
