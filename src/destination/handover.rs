//! What one task of a destination hands to the next when the configuration changes.

use super::ledger::Limits;
use super::recent::Recent;
use crate::control::stamp::LatestCommands;
use crate::delivery::token::Stored;
use crate::gate::{Ledger, Limit, Paused};

/// What a destination leaves to its successor in the same worker.
#[derive(Clone, Debug, Default)]
pub struct Handover {
    /// What the gate remembers.
    pub ledger: Ledger,
    /// The access token with what the next one can be had with, where there is no file that keeps it.
    pub tokens: Option<Stored>,
    /// What happened lately.
    pub recent: Recent,
    /// The latest commands.
    pub commands: LatestCommands,
    /// The limits that an operator set.
    pub limits: Option<Limits>,
    /// What an operator wants of bulk events.
    pub bulk: BulkOrders,
}

/// What an operator wants of bulk events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BulkOrders {
    /// The pause, where they are paused.
    pub paused: Option<Paused>,
    /// Bounds of their pace.
    pub limits: Vec<Limit>,
}

impl From<Ledger> for Handover {
    fn from(ledger: Ledger) -> Self {
        Self { ledger, ..Self::default() }
    }
}
