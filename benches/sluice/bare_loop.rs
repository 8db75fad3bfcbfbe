//! What Sluice is compared with: a queue in, one POST an event, an ack out, by the same client crates and nothing else.
//! Not naive: events are fetched ahead, requests run beside each other and acks are pipelined.

use futures_util::{Stream, StreamExt as _, stream};
use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use tokio::sync::mpsc;

use crate::Error;
use crate::stage::API_KEY;

/// As many as Sluice fetches ahead when its gate is wide open, unless twice the requests in flight are more.
const PREFETCH: u16 = 500;
/// Acks on their way to the broker at once.
const ACKS: usize = 64;

/// Where it takes from and where it sends to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The broker
    broker: String,
    /// The queue
    queue: String,
    /// The sink
    url: Url,
    /// Requests in flight at once
    concurrency: u16,
}

/// Consumes, posts and acks until the process is ended.
///
/// # Errors
/// Anything that Sluice would have survived.
pub async fn run(args: Args) -> Result<(), Error> {
    let connection = Connection::connect(&args.broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH.max(args.concurrency.saturating_mul(2)), BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(args.queue.into(), "bare".into(), options, FieldTable::default()).await?;
    let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let (done, acks) = mpsc::unbounded_channel::<Acker>();
    let acking = tokio::spawn(arriving(acks).for_each_concurrent(ACKS, async |acker| {
        // A lost connection ends the consumer too, which is where it is reported.
        drop(acker.ack(BasicAckOptions::default()).await);
    }));
    let posting = tokio::spawn(async move {
        let posts = consumer.map(|delivery| post(&client, &args.url, delivery));
        let mut posted = posts.buffer_unordered(args.concurrency.into());
        while let Some(acker) = posted.next().await {
            done.send(acker?)?;
        }
        Err::<(), Error>("the broker ended the consumer".into())
    });
    posting.await??;
    Ok(acking.await?)
}

async fn post(client: &Client, url: &Url, delivery: lapin::Result<lapin::message::Delivery>) -> Result<Acker, Error> {
    let delivery = delivery?;
    let response = client.post(url.clone()).headers(headers()).body(delivery.data).send().await?.error_for_status()?;
    // Read to the end, so that the connection is used again.
    drop(response.bytes().await?);
    Ok(delivery.acker)
}

fn headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    let key = (HeaderName::from_static("x-aptrinsic-api-key"), HeaderValue::from_static(API_KEY));
    HeaderMap::from_iter([(CONTENT_TYPE, json.clone()), (ACCEPT, json), key])
}

fn arriving<T>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> {
    stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|item| (item, receiver)))
}
