//! Which letters: the filters that all commands share.

use crate::cli::Error;
use crate::dead_letters::filter::Filter;

/// Filters. Several values of one are alternatives; different ones must all hold.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which letters")]
pub(super) struct Which {
    /// By reason: malformed, invalid, rejected, too_large, partly_rejected, unconfirmed, expired, delivery_limit, unknown
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// By group, as `sluice dead groups` shows it
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// By event type; * stands for one word and # for any number
    #[arg(long = "type", value_name = "TYPE")]
    kind: Vec<String>,
    /// By the event's id
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// By the letter's own id, 16 hex digits
    #[arg(long, value_name = "LETTER")]
    letter: Vec<String>,
    /// Died before: an age as 90m, 2h, 3d, or a time as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "AGE|TIME")]
    older_than: Option<String>,
    /// Died since: an age as 90m, 2h, 3d, or a time
    #[arg(long, value_name = "AGE|TIME")]
    newer_than: Option<String>,
    /// By a jq expression over the event: . is its data, $event the whole of it
    #[arg(long, value_name = "JQ")]
    jq: Option<String>,
}

impl Which {
    pub fn filter(&self) -> Filter {
        Filter {
            reason: self.reason.clone(),
            group: self.group.clone(),
            kind: self.kind.clone(),
            id: self.id.clone(),
            letter: self.letter.clone(),
            older_than: self.older_than.clone(),
            newer_than: self.newer_than.clone(),
            jq: self.jq.clone(),
        }
    }

    /// The filter of an act, which never means all letters by mere omission.
    pub fn for_act(&self, all: bool) -> Result<Filter, Error> {
        let filter = self.filter();
        match (filter.is_empty(), all) {
            (true, false) => {
                Err(Error::Refused("say which letters: give a filter, or --all for all of them".to_owned()))
            }
            (false, true) => Err(Error::Refused("--all and a filter exclude each other: leave one out".to_owned())),
            (true, true) | (false, false) => Ok(filter),
        }
    }
}
