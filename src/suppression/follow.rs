//! Reads the stream of suppressed people into this process's list, and follows it for as long as the process runs.

use tokio_util::sync::CancellationToken;

use super::Suppressed;
use super::kept::Stream;
use crate::broker::{StreamEvent, StreamStart, StreamTrouble};
use crate::supervisor::Part;

/// What keeps a list as the stream has it.
pub(super) struct Follower {
    pub list: Suppressed,
    pub stream: Stream,
    pub stop: CancellationToken,
}

impl Part for Follower {
    /// Follows until `stop`. A run after one that failed begins at the beginning.
    async fn run(&mut self) -> Result<(), String> {
        self.list.begin();
        let mut events = self.stream.read(StreamStart::First);
        loop {
            let event = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                event = events.recv() => event,
            };
            let Some(event) = event else { break };
            let is_missing = matches!(&event, StreamEvent::Interrupted(StreamTrouble::Missing(_)));
            self.take(event);
            if is_missing {
                self.stream.make().await;
            }
        }
        self.list.fell_behind("the stream of suppressed people is not followed any more");
        // The broker is closed.
        self.stop.cancelled().await;
        Ok(())
    }
}

impl Follower {
    fn take(&self, event: StreamEvent) {
        match event {
            StreamEvent::Message(message) => self.list.apply_body(&message.message.body),
            StreamEvent::CaughtUp { .. } => {
                self.list.caught_up();
                let (people, unreadable) = (self.list.count(), self.list.unreadable());
                tracing::info!(people, "who must not be written to is known");
                if unreadable > 0 {
                    tracing::error!(
                        unreadable,
                        stream = self.stream.name(),
                        "the stream has messages that Sluice did not write"
                    );
                }
                if let Some(lacks) = self.list.lacks() {
                    tracing::error!("{lacks}");
                }
            }
            StreamEvent::Interrupted(trouble) => {
                // Before it was read it was not heeded, and nothing is new.
                if self.list.lacks().is_none() {
                    tracing::warn!(%trouble, "destinations that heed who is suppressed send nothing until the list is followed again");
                }
                self.list.fell_behind(&trouble.to_string());
            }
            StreamEvent::Renewed => {
                self.list.fell_behind("the stream of suppressed people is read anew");
                let people = self.list.made_anew();
                tracing::error!(
                    people,
                    stream = self.stream.name(),
                    "the stream of suppressed people was deleted and made anew: those whom this worker knows still count here, until it \
                     restarts; import them anew"
                );
            }
        }
    }
}
