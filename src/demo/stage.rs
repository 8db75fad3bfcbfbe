//! What the demo starts, in order, and how it ends, in the reverse order: broker, sandbox, worker, producer's connection.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::collect::KEPT;
use super::events::{purchases, reports};
use super::home::{Home, last_lines};
use super::node::{Node, NodeError, Options};
use super::worker::{SECRET, Worker};
use super::{Audience, Error};
use crate::broker::{Broker, BrokerSettings, Declare};
use crate::clock;
use crate::sandbox::{
    self, ActOnSettings, ApsisSettings, Enforcement, HookClient, HookSettings, PxKey, PxSettings, RetryAfterForm,
    Sandbox,
};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
const LOG_LINES: usize = 8;

/// What runs. Dropping it ends everything, ungently.
#[derive(Debug, Default)]
pub(super) struct Stage {
    broker: Option<Broker>,
    worker: Option<Worker>,
    sandbox: Option<Sandbox>,
    node: Option<Node>,
}

/// Everything that the story needs.
#[derive(Debug)]
pub(super) struct Cast<'a> {
    pub broker: &'a Broker,
    pub worker: &'a mut Worker,
    pub sandbox: sandbox::SandboxHandle,
}

/// Where everything is while a demo stays up.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// The broker's URL.
    pub broker: String,
    /// The worker's admin address.
    pub admin: String,
    /// The sandbox.
    pub sandbox: String,
    /// The worker's configuration.
    pub config: PathBuf,
    /// The worker's log.
    pub log: PathBuf,
}

impl Stage {
    /// Starts everything.
    pub async fn set(&mut self, home: &mut Home, audience: &mut dyn Audience) -> Result<Cast<'_>, Error> {
        let began = clock::now();
        let folder = home.join("rabbitmq");
        let node = Node::start(&folder, Options::default()).await.map_err(with_log)?;
        let took = clock::now().duration_since(began).as_secs_f64();
        audience.tell(&format!("a private RabbitMQ is up ({took:.1} s)"));
        let url = node.url();
        self.node = Some(node);

        let sandbox = Sandbox::start(vendors()).await?;
        let (address, handle) = (format!("http://{}", sandbox.address()), sandbox.handle());
        self.sandbox = Some(sandbox);

        let worker = self.worker.insert(Worker::start(home, &url, &address).await?);
        worker.ready().await?;
        audience.tell(&format!("the console is at {}/ while this runs", worker.admin));
        audience
            .tell("a worker (sluice run) consumes; the sandbox plays its vendors, which take 100 to 600 ms to answer");

        let settings = BrokerSettings {
            url: url.into(),
            prefix: "sluice".to_owned(),
            // The worker has declared everything.
            declare: Declare::Never,
            delivery_limit: 20,
            name: "sluice demo".to_owned(),
        };
        let broker = self.broker.insert(Broker::start(settings, CancellationToken::new()));
        broker.wait_ready(CONNECT_WITHIN).await?;
        Ok(Cast { broker, worker, sandbox: handle })
    }

    /// Where everything is; empty for what is not up.
    pub fn addresses(&self) -> Addresses {
        let worker = self.worker.as_ref();
        Addresses {
            broker: self.node.as_ref().map(Node::url).unwrap_or_default(),
            admin: worker.map(|worker| worker.admin.clone()).unwrap_or_default(),
            sandbox: self.sandbox.as_ref().map(|sandbox| format!("http://{}", sandbox.address())).unwrap_or_default(),
            config: worker.map(|worker| worker.config.clone()).unwrap_or_default(),
            log: worker.map(|worker| worker.log.clone()).unwrap_or_default(),
        }
    }

    /// Returns when the worker has ended by itself.
    pub async fn worker_gone(&mut self) -> Error {
        match &mut self.worker {
            Some(worker) => worker.gone().await,
            None => std::future::pending().await,
        }
    }

    /// Ends everything, gently where that is possible in time; the first thing that went wrong is told.
    pub async fn strike(self) -> Result<(), Error> {
        let worker = match self.worker {
            Some(worker) => worker.stop().await,
            None => Ok(()),
        };
        if let Some(broker) = self.broker {
            broker.close(CLOSE_WITHIN).await;
        }
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        let node = match self.node {
            Some(node) => node.stop().await.map_err(with_log),
            None => Ok(()),
        };
        worker.and(node)
    }
}

/// The vendors as documented, with what the story needs of them: a name to refuse, a job that fails, the event type.
fn vendors() -> sandbox::Settings {
    let secret = || SECRET.to_owned();
    let px = PxSettings {
        keys: vec![PxKey::new(SECRET)],
        // On a busy machine requests are held up and arrive in bunches. A bucket lets those in, and counts the pace all the same.
        enforcement: Enforcement::Bucket,
        retry_after: RetryAfterForm::Seconds,
        reject_names: vec![reports::REFUSED_NAME.to_owned()],
        ..PxSettings::default()
    };
    let act_on = ActOnSettings {
        client_id: secret(),
        client_secret: secret(),
        username: secret(),
        password: secret(),
        failing_jobs: 1,
        note_marker: Some("seat-".to_owned()),
        ..ActOnSettings::default()
    };
    let apsis_one = ApsisSettings {
        client_id: secret(),
        client_secret: secret(),
        event_types: vec![purchases::event_type()],
        refuse_deprecated: true,
        id_field: Some("order".to_owned()),
        ..ApsisSettings::default()
    };
    let hook = HookSettings { oauth: Some(HookClient::new(SECRET, SECRET)), ..HookSettings::default() };
    sandbox::Settings { px, act_on, apsis_one, hook, keep: KEPT, ..sandbox::Settings::default() }
}

/// With the last lines of the log, which will be gone.
fn with_log(error: NodeError) -> Error {
    let lines = match &error {
        NodeError::Ended { log, .. } | NodeError::TooSlow(log) => last_lines(log, LOG_LINES),
        NodeError::NotInstalled(_) | NodeError::Io { .. } | NodeError::Refused { .. } => String::new(),
    };
    Error::Node(error, lines)
}
