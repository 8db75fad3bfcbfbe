//! What another worker, which drives a destination, tells of it. Pure.

use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::View;
use crate::gate::GateState;

/// What a worker that stands by knows of the workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// The driver, where another worker drives it.
    pub driver: Option<Elsewhere>,
    /// Why nobody drives it, where a worker that tried says so.
    pub why_nobody: Option<Hindrance>,
}

/// What keeps workers from driving a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hindrance {
    /// In a sentence, with what helps where that is known.
    pub why: String,
    /// It stays so until a person does something: nobody can use what lies in the lease queue.
    pub lasts: bool,
}

impl Hindrance {
    /// That nobody drives it, and why.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("no worker drives it: {}", self.why)
    }
}

impl Beside {
    /// What is shown of the destination in a worker that stands by. `own`: what that one knows; `commanded`: when it last heard a command.
    #[must_use]
    pub fn shown(&self, own: View, commanded: Option<Instant>) -> View {
        match (&self.driver, &self.why_nobody) {
            (Some(driver), _) => driver.shown(own, commanded),
            (None, Some(hindrance)) => {
                let is_paused = own.state == Some(GateState::Paused);
                let says = hindrance.sentence();
                let why = if is_paused { format!("{}; {says}", own.why) } else { says };
                View { why, hindered: Some(hindrance.clone()), ..own }
            }
            (None, None) => own,
        }
    }
}

/// A driver in another worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Elsewhere {
    /// The worker: its host and process.
    pub driver: String,
    /// What it told last, and when; nothing where it has not told yet.
    pub told: Option<Told>,
}

/// What a driver told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// How the destination was.
    pub view: View,
    /// When that came.
    pub at: Instant,
    /// The same by the calendar.
    pub wall: Timestamp,
}

impl Elsewhere {
    /// What is shown of it in a worker that stands by. `own`: what that one knows; `commanded`: when it last heard a command.
    #[must_use]
    pub fn shown(&self, own: View, commanded: Option<Instant>) -> View {
        let Some(told) = &self.told else {
            let why = format!("{} drives it; this worker stands by", self.driver);
            return View { driver: Some(self.driver.clone()), why, ready: true, ..own };
        };
        let mut view =
            View { drives: false, driver: Some(self.driver.clone()), as_of: Some(told.wall), ..told.view.clone() };
        // The driver has heard that command too, and tells of it in a moment.
        if commanded.is_some_and(|at| at > told.at) {
            (view.bulk.paused, view.bulk.limits) = (own.bulk.paused, own.bulk.limits);
            match (own.state, view.state) {
                (Some(GateState::Paused), _) => {
                    (view.state, view.why, view.answered, view.rate) = (own.state, own.why, None, Some(0.0));
                    (view.paused, view.until) = (own.paused, own.until);
                }
                (_, Some(GateState::Paused)) => {
                    (view.state, view.why, view.answered) = (Some(GateState::Open), "open".to_owned(), None);
                    (view.paused, view.until) = (None, None);
                }
                _ => {}
            }
        }
        view
    }
}
