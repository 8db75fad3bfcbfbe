//! What an event costs from a destination's inbox to its ack, without a broker and without a network: with many held whose ordering keys are
//! all different, and without ordering keys.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use http::{HeaderMap, Request, StatusCode};
use sluice::broker::Names;
use sluice::broker::port::{Delivery, Disposition, Feed, FeedEnds, Inbox, Proof, Publisher, Ticket, Witness};
use sluice::class::Class;
use sluice::clock;
use sluice::config::{Config, Destination};
use sluice::delivery::{Transport, Trouble};
use sluice::destination::{self, Beside, Handle, Handover, Parts};
use sluice::gate::WrittenAt;
use sluice::lease::port::DriverEnd;
use sluice::message::{Message, Properties};
use sluice::metrics::Metrics;
use sluice::threads::Threads;
use sluice::vendors::Reply;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{Error, data};

/// How many are held beside those in flight.
const HELD: [u64; 2] = [100, 1_000];
/// As `concurrency` in the configuration.
const IN_FLIGHT: u64 = 16;

/// Takes every event, and answers in the runtime's next round.
struct Vendor;

impl Transport for Vendor {
    fn send<'a>(
        &'a self,
        request: &'a Request<Bytes>,
        written: &'a WrittenAt,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Trouble>> + Send + 'a>> {
        let (status, body) = match request.uri().path() {
            "/oauth/token" => (StatusCode::OK, r#"{"access_token":"bench","expires_in":86400}"#),
            path if path.starts_with("/audience/sections/") => (
                StatusCode::OK,
                r#"{"items":[{"discriminator":"com.apsis1.events.transaction.order","versions":[{"id":"1","type":{"eventName":"string"}}]}]}"#,
            ),
            _ => (StatusCode::CREATED, ""),
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            written.mark(clock::now());
            Ok(Reply { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) })
        })
    }
}

/// The body of an event of that profile.
type Body = fn(u64) -> String;

/// A destination at work, and the broker's end of it: each event that is acked makes room for the next.
struct Stage {
    deliveries: mpsc::Sender<Box<Delivery>>,
    acks: mpsc::UnboundedReceiver<(u64, Disposition)>,
    settle: mpsc::UnboundedSender<(u64, Disposition)>,
    epoch: CancellationToken,
    body: Body,
    profiles: u64,
    sent: u64,
    /// They end the destination when they are dropped.
    _ends: (Handle, FeedEnds, FeedEnds, mpsc::Sender<Box<Delivery>>),
}

impl Stage {
    /// One that holds so many, with the destination at work in this runtime.
    fn open(settings: Destination, body: Body, held: u64) -> Result<Self, Error> {
        let (deliveries, inbox_deliveries) = mpsc::channel(2_048);
        let (bulk, bulk_deliveries) = mpsc::channel(1);
        let ((live, live_ends), (feed, bulk_ends), (proof, witness)) = (Feed::new(), Feed::new(), Proof::new());
        live_ends.consuming.send_replace(true);
        let (handle, calls) = Handle::new();
        let (settle, acks) = mpsc::unbounded_channel();
        let parts = Parts {
            lease: DriverEnd::alone(clock::now()),
            beside: watch::channel(Beside::default()).1,
            seal: None,
            metrics: Metrics::new()?.destination(&settings.name),
            settings,
            names: Names::new("sluice"),
            max_event_bytes: 256 * 1024,
            delivery_limit: 20,
            inbox: Inbox { deliveries: inbox_deliveries, bulk_deliveries, live, bulk: feed, proof },
            publisher: Publisher::new(mpsc::channel(1).0),
            transport: Arc::new(Vendor),
            threads: Threads::shared(),
            history: None,
            receipts: None,
            suppressed: None,
            calls,
            ending: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        tokio::spawn(destination::drive(parts, Handover::default()));
        tokio::spawn(vouch(witness));
        let epoch = CancellationToken::new();
        let (profiles, ends) = (held + IN_FLIGHT, (handle, live_ends, bulk_ends, bulk));
        let mut stage = Self { deliveries, acks, settle, epoch, body, profiles, sent: 0, _ends: ends };
        (0..profiles).try_for_each(|_| stage.deliver())?;
        Ok(stage)
    }

    fn deliver(&mut self) -> Result<(), Error> {
        let properties = Properties {
            content_type: Some("application/json".to_owned()),
            message_id: Some(self.sent.to_string()),
            ..Properties::default()
        };
        let body = Bytes::from((self.body)(self.sent % self.profiles));
        self.sent += 1;
        self.deliveries.try_send(Box::new(Delivery {
            message: Message { body, properties },
            class: Class::Live,
            routing_key: "product.report.exported".to_owned(),
            redelivered: false,
            returns: 0,
            ticket: Ticket::new(self.sent, self.epoch.clone(), self.settle.clone()),
        }))?;
        Ok(())
    }

    /// Until so many more are acked.
    async fn work(&mut self, events: u64) -> Result<(), Error> {
        for _ in 0..events {
            let (_, disposition) = self.acks.recv().await.ok_or("the destination has ended")?;
            if disposition != Disposition::Ack {
                return Err("an event was given back".into());
            }
            self.deliver()?;
        }
        Ok(())
    }
}

/// Tells again and again that the broker is there.
async fn vouch(witness: Witness) {
    loop {
        witness.heard(clock::now());
        clock::sleep(Duration::from_millis(10)).await;
    }
}

fn as_it_is(_: u64) -> String {
    data()
}

fn of_profile(profile: u64) -> String {
    let name = "x".repeat(800);
    let event = "com.apsis1.events.transaction.order";
    format!(r#"{{"profile":"person-{profile}@example.com","event":"{event}","data":{{"eventName":"{name}"}}}}"#)
}

/// Times a vendor without ordering keys, and one with them.
///
/// # Errors
/// When an event is not delivered.
pub fn measure(criterion: &mut Criterion, config: &Config) -> Result<(), Error> {
    let bodies: [(&str, Body); 2] = [("px", as_it_is), ("apsis", of_profile)];
    let mut group = criterion.benchmark_group("destination");
    for (name, body) in bodies {
        let settings = config.destinations.get(name).ok_or("the configuration lacks a destination")?;
        for held in HELD {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let mut stage = runtime.block_on(async { Stage::open(settings.clone(), body, held) })?;
            // A new driver lets no ordering key through at first, and asks for a token.
            runtime.block_on(stage.work(held * 2))?;
            group.bench_function(format!("{}, {held} held", settings.vendor_name), |bencher| {
                bencher.iter_custom(|events| {
                    let begun = clock::now();
                    runtime.block_on(stage.work(events)).map_or(Duration::MAX, |()| clock::now() - begun)
                });
            });
        }
    }
    group.finish();
    Ok(())
}
