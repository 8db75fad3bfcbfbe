//! What is known of earlier requests for an event. Values only.

use std::time::Duration;

/// The attempts of an event before the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierAttempts {
    /// How long ago the first request was sent that the vendor may have taken without our seeing its answer.
    pub unanswered: Option<Duration>,
    /// The statuses that came since, in their order.
    pub statuses: Vec<u16>,
}
