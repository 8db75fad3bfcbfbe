//! The history as a command tells it: what was published and what was done with dead letters. A command that ends waits a little for it, and
//! never fails for it.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::dead::who;
use super::say;
use crate::broker::Broker;
use crate::config::{Config, History};
use crate::history::{self, Recorder};
use crate::metrics::Metrics;
use crate::supervisor::Part as _;

/// Time for what was told last to be recorded.
const WITHIN: Duration = Duration::from_secs(3);

/// Where steps are told, once somebody does something: a look makes nothing at the broker.
pub(super) struct Recording {
    broker: Broker,
    settings: Option<History>,
    begun: OnceLock<Option<(Recorder, JoinHandle<()>)>>,
    ending: CancellationToken,
}

impl Recording {
    pub fn of(config: &Config, broker: &Broker) -> Self {
        let (broker, settings) = (broker.clone(), config.history.clone());
        Self { broker, settings, begun: OnceLock::new(), ending: CancellationToken::new() }
    }

    /// Where steps are told; nowhere where no history is kept.
    pub fn recorder(&self) -> Option<Recorder> {
        self.begun.get_or_init(|| self.begin()).as_ref().map(|(recorder, _)| recorder.clone())
    }

    fn begin(&self) -> Option<(Recorder, JoinHandle<()>)> {
        let settings = self.settings.as_ref()?;
        let counted = Metrics::new().ok()?.history_steps_total;
        let stream = history::stream(self.broker.names(), settings.keep, settings.max_bytes);
        let publisher = self.broker.stream_publisher(&stream);
        let told = (who(), settings.subject);
        let (recorder, mut task) = history::open(publisher, stream.name, told, &counted, self.ending.clone());
        let running = tokio::spawn(async move {
            // It ends well, or with the command.
            let _ended = task.run().await;
        });
        Some((recorder, running))
    }

    /// Waits until what was told is recorded, and not for long. What is not recorded is told to the person.
    pub async fn end(self) {
        self.ending.cancel();
        let Some(Some((recorder, mut task))) = self.begun.into_inner() else { return };
        let in_time = tokio::time::timeout(WITHIN, &mut task).await.is_ok();
        task.abort();
        if !in_time || recorder.dropped() > 0 {
            say("the broker did not take the history in time: `sluice find` may not tell all that this command did");
        }
    }
}
