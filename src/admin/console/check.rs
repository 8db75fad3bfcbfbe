//! Whether letters would pass now, as a page tells it.

use super::show::count;
use crate::dead_letters::causes::Cause;
use crate::dead_letters::recheck::Rechecked;

/// Causes that a page names.
const NAMED: usize = 5;

/// A cause, and one of its letters.
pub(super) struct ShownCause {
    pub count: String,
    pub sentence: String,
    pub href: String,
}

/// Whether they would pass.
pub(super) struct Check {
    /// As `11 of 12 would still be invalid`; nothing where none would.
    pub invalid: Option<String>,
    pub invalid_causes: Vec<ShownCause>,
    /// As `1 would be sent`.
    pub sent: String,
    /// Of these: how many the vendor refused before.
    pub again: Option<String>,
    pub again_causes: Vec<ShownCause>,
    /// Of these: of how many nothing sure can be told.
    pub unsure: Option<String>,
    pub unsure_causes: Vec<ShownCause>,
    /// As `the first 1,000 of 20,000`, where not all were checked.
    pub some: Option<String>,
}

impl Check {
    pub fn of(check: Rechecked, name: &str) -> Self {
        let shown = |causes: &[Cause], edit: &str| {
            let of = |cause: &Cause| ShownCause {
                count: count(cause.count),
                sentence: cause.sentence.clone(),
                href: format!("/destinations/{name}/dead/letters/{}{edit}", cause.letter),
            };
            causes.iter().take(NAMED).map(of).collect()
        };
        let (invalid, checked) = (check.invalid, check.checked);
        let fresh = check.would_be_sent - check.refused_before - check.unsure;
        Self {
            invalid: (invalid > 0).then(|| format!("{} of {} would still be invalid", count(invalid), count(checked))),
            invalid_causes: shown(&check.invalid_causes, "/edit"),
            sent: format!("{}{} would be sent", if fresh == checked && fresh > 1 { "All " } else { "" }, count(fresh)),
            again: (check.refused_before > 0)
                .then(|| format!("{} would be sent again; the vendor refused", count(check.refused_before))),
            again_causes: shown(&check.refused_before_causes, ""),
            unsure: (check.unsure > 0).then(|| format!("{} may pass", count(check.unsure))),
            unsure_causes: shown(&check.unsure_causes, ""),
            some: (checked < check.meant)
                .then(|| format!("the first {} of {} were checked", count(checked), count(check.meant))),
        }
    }

    /// Whether it says how many would be sent that were never refused.
    pub fn says_sent(&self) -> bool {
        !self.sent.starts_with("0 ")
    }
}
