//! What it costs to find the event that goes next and to take it, with so many others held: an answer comes, an event comes in the place of the
//! one that was answered, the next goes out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::Criterion;
use sluice::broker::port::{Delivery, Ticket};
use sluice::class::Class;
use sluice::clock;
use sluice::config::{Config, Destination};
use sluice::destination::ready_events::ReadyEvents;
use sluice::message::{Message, Properties};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How many are held beside the one that goes.
const HELD: [u32; 3] = [0, 500, 1_000];

/// The ready queue of one destination, and its clock.
struct Bench {
    events: ReadyEvents,
    now: Instant,
}

impl Bench {
    fn new(settings: &Destination) -> Self {
        let (begun, wall) = (clock::now(), clock::wall());
        // A new driver lets no ordering key through at first.
        let now = begun + Duration::from_secs(60);
        Self { events: ReadyEvents::new(settings.clone(), begun, wall), now }
    }

    /// An event of that profile comes.
    fn come(&mut self, profile: u32) {
        self.events.come(delivery(profile), self.now, clock::wall());
    }

    /// What may go next goes out, and is not answered.
    fn send(&mut self) {
        drop(self.events.send(self.now));
    }

    /// Whether something went.
    fn turn(&mut self) -> bool {
        // Later than any limit of an ordering key allows.
        self.now += Duration::from_millis(200);
        let sent = self.events.send(self.now);
        let went = sent.is_some();
        sent.into_iter().for_each(|sent| self.events.answered(sent));
        went
    }
}

fn delivery(profile: u32) -> Delivery {
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        message_id: Some(profile.to_string()),
        ..Properties::default()
    };
    let data = r#"{"orderNumber":"A-1042","amount":199.5,"currency":"SEK"}"#;
    let event = "com.apsis1.events.transaction.order";
    let body = format!(r#"{{"profile":"person-{profile}@example.com","event":"{event}","data":{data}}}"#);
    let epoch = CancellationToken::new();
    // Nothing is settled here, and nothing says so.
    epoch.cancel();
    Delivery {
        message: Message { body: Bytes::from(body), properties },
        class: Class::Live,
        routing_key: "shop.order".to_owned(),
        redelivered: false,
        returns: 0,
        ticket: Ticket::new(u64::from(profile), epoch, mpsc::unbounded_channel().0),
    }
}

/// So many that may all go.
fn all_free(settings: &Destination, held: u32) -> Bench {
    let mut bench = Bench::new(settings);
    (0..=held).for_each(|profile| bench.come(profile));
    bench
}

/// So many profiles whose requests are out, with an event each that waits, and behind them one that may go.
fn each_blocked(settings: &Destination, held: u32) -> Bench {
    let mut bench = Bench::new(settings);
    (0..held).for_each(|profile| bench.come(profile));
    (0..held).for_each(|_| bench.send());
    (0..=held).for_each(|profile| bench.come(profile));
    bench
}

/// So many events of one profile whose request is out, and behind them one that may go.
fn one_blocked(settings: &Destination, held: u32) -> Bench {
    let mut bench = Bench::new(settings);
    bench.come(0);
    bench.send();
    (0..held).for_each(|_| bench.come(0));
    bench.come(1);
    bench
}

/// Times the queue of a vendor without ordering keys, and of one with them.
///
/// # Errors
/// When nothing goes.
pub fn measure(criterion: &mut Criterion, config: &Config) -> Result<(), Error> {
    let destination = |name| config.destinations.get(name).ok_or("the configuration lacks a destination");
    let (without, with) = (destination("hook")?, destination("apsis")?);
    let mut group = criterion.benchmark_group("ready queue");
    for held in HELD {
        let benches = [
            ("no ordering keys", all_free(without, held)),
            ("a key each", all_free(with, held)),
            ("a key each, all busy but one", each_blocked(with, held)),
            ("one key, which is busy", one_blocked(with, held)),
        ];
        for (name, mut bench) in benches {
            if !bench.turn() {
                return Err(format!("{name}, {held} held: nothing goes").into());
            }
            group.bench_function(format!("{name}, {held} held"), |bencher| bencher.iter(|| bench.turn()));
        }
    }
    group.finish();
    Ok(())
}
