//! Bulk events of a destination as the API shows them, and the commands that are for them alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::class::Class;
use crate::control::Command;
use crate::control::stamp::BulkChange;
use crate::destination::bulk::BulkView;
use crate::watch::BulkDepths;

/// Which events are meant.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ClassParam {
    /// `bulk`: only the events that may wait. Left out: all of the destination.
    #[param(value_type = Option<String>, pattern = "^(live|bulk)$", example = "bulk")]
    pub class: Option<Class>,
}

impl ClassParam {
    pub fn is_bulk(&self) -> bool {
        self.class == Some(Class::Bulk)
    }
}

/// A command for bulk events alone, where those are meant.
pub(super) fn of_class(command: Command, class: &ClassParam) -> Command {
    if !class.is_bulk() {
        return command;
    }
    match command {
        Command::Pause { destination, how } => Command::Bulk { destination, change: BulkChange::Pause { how } },
        Command::Resume { destination } => Command::Bulk { destination, change: BulkChange::Resume },
        Command::Limits { destination, limits } => Command::Bulk { destination, change: BulkChange::Limits { limits } },
        Command::ResetLimits { destination } => {
            Command::Bulk { destination, change: BulkChange::Limits { limits: Vec::new() } }
        }
        other @ (Command::Bulk { .. }
        | Command::Tell { .. }
        | Command::TellBulk { .. }
        | Command::Operations { .. }
        | Command::Fates { .. }
        | Command::Recent { .. }
        | Command::Operation { .. }
        | Command::Stamped { .. }
        | Command::Reload { .. }
        | Command::Tap { .. }
        | Command::Announce { .. }
        | Command::Audit { .. }) => other,
    }
}

/// A destination's events that may wait; its other figures include them unless they say otherwise.
#[derive(Serialize, ToSchema)]
#[schema(as = Bulk)]
pub(super) struct BulkStatus {
    /// Those that wait: `queue_ready`, `held` and `retrying` together; null as with `queue_ready`.
    #[schema(required)]
    pub waiting: Option<u64>,
    /// Messages ready in their queue; null where the queue is missing or the broker away.
    #[schema(required)]
    pub queue_ready: Option<u32>,
    /// Deliveries held that wait for the gate.
    pub held: usize,
    /// Those in their retry queues until their next attempt; null as with `queue_ready`.
    #[schema(required)]
    pub retrying: Option<u32>,
    /// The time of the oldest that waits; null where none waits or none was seen yet.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub oldest_event: Option<Timestamp>,
    /// Seconds until their queue is empty, were nothing more to come; null where that is not known, or nothing gets through.
    #[schema(required)]
    pub drained_in_seconds: Option<f64>,
    /// Those delivered since this worker drives.
    pub delivered: u64,
    /// The types that go there although they were published as live.
    #[schema(example = json!(["import.#"]))]
    pub types: Vec<String>,
    /// What they and replayed letters have of the gate at least while they wait.
    #[schema(example = "5%")]
    pub share: String,
    /// Bounds of their pace that an operator set.
    #[schema(example = json!(["50/s"]))]
    pub limits: Vec<String>,
    /// Whether an operator paused them.
    pub paused: bool,
    /// Who did; null where nobody did, or that is not known.
    #[schema(required, example = "night-shift")]
    pub paused_by: Option<String>,
    /// When they were paused; null where they are not.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub paused_at: Option<Timestamp>,
    /// When the pause ends by itself; null where they are not paused, or until somebody resumes.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Timestamp>,
    /// Why they were paused, in the operator's words.
    #[schema(required, example = "let the evening's mails through")]
    pub pause_reason: Option<String>,
}

impl BulkStatus {
    pub fn of(view: BulkView, depths: BulkDepths) -> Self {
        let (paused, how) = (view.paused.is_some(), view.paused.unwrap_or_default());
        Self {
            waiting: depths.waiting(view.held_here),
            queue_ready: depths.ready,
            held: view.held_here,
            retrying: depths.retry,
            oldest_event: depths.oldest,
            drained_in_seconds: depths.drained_in.filter(|seconds| seconds.is_finite()),
            delivered: view.delivered,
            types: view.types,
            share: view.share,
            limits: view.limits,
            paused,
            paused_by: how.by,
            paused_at: how.at,
            paused_until: how.until,
            pause_reason: how.reason,
        }
    }
}
