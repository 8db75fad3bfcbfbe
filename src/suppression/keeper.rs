//! The list that this worker follows, as its configuration has it now.

use std::sync::{PoisonError, RwLock};

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::Suppressed;
use super::follow::Follower;
use super::kept::Stream;
use crate::broker::Broker;
use crate::person::PersonKey;
use crate::supervisor::Supervisor;

/// What begins and ends the following of lists.
#[derive(Debug)]
pub struct Keeper {
    broker: Broker,
    supervisor: Supervisor,
    tasks: TaskTracker,
    ending: CancellationToken,
    now: RwLock<Option<Followed>>,
}

#[derive(Debug)]
struct Followed {
    list: Suppressed,
    stream: Stream,
    stop: DropGuard,
}

/// Lists that are followed until this is dropped: what still drives by them may finish.
#[derive(Debug)]
#[must_use = "the list of before ends when this is dropped"]
pub struct Before(Option<Followed>);

impl Before {
    /// Those who drove by it have ended.
    pub fn end(self) {
        if let Some(Followed { stop, .. }) = self.0 {
            drop(stop);
        }
    }
}

impl Keeper {
    /// One that follows nothing yet.
    #[must_use]
    pub fn new(broker: Broker, supervisor: Supervisor, tasks: TaskTracker, ending: CancellationToken) -> Self {
        Self { broker, supervisor, tasks, ending, now: RwLock::default() }
    }

    /// Follows the list that is made with `key` from now on; nothing where there is none. The one of before goes on until what is returned
    /// is ended.
    pub fn follow(&self, key: Option<&PersonKey>) -> Before {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref().map(|followed| followed.list.key()) == key {
            return Before(None);
        }
        if let (Some(_), Some(_)) = (now.as_ref(), key) {
            tracing::error!(
                "the key of [suppression] is another one: nobody who was suppressed with the one of before can be told by it; destinations send \
                 nothing until it is put back, or all are forgotten (sluice suppress clear) and imported anew"
            );
        }
        let next = key.map(|key| {
            let (list, stream) = (Suppressed::new(key.clone()), Stream::new(&self.broker, key));
            let stop = self.ending.child_token();
            let follower = Follower { list: list.clone(), stream: stream.clone(), stop: stop.clone() };
            self.tasks.spawn(self.supervisor.keep_trying("suppressed people", &stop, follower));
            Followed { list, stream, stop: stop.drop_guard() }
        });
        Before(std::mem::replace(&mut *now, next))
    }

    /// Who must not be written to; none where nobody asked for that.
    #[must_use]
    pub fn list(&self) -> Option<Suppressed> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|followed| followed.list.clone())
    }

    /// Where they are kept.
    #[must_use]
    pub fn stream(&self) -> Option<Stream> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|followed| followed.stream.clone())
    }
}
