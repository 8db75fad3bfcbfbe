//! The closed lists of outcomes. Each has one name, the same in logs, metrics and headers.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a vendor's answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The vendor took it and is done.
    Delivered,
    /// The vendor took it and works on it.
    Accepted,
    /// Too many requests: the gate closes, the event waits, no attempt is spent; the sentence says what was answered.
    Throttled(String),
    /// The vendor cannot be reached or is in trouble; the sentence says what was seen.
    Unavailable(String),
    /// The key is wrong or the account is off: the destination is parked, the event waits.
    Unauthorized(String),
    /// The body is over the vendor's limit.
    TooLarge(String),
    /// The vendor will never take this event; the sentence says what it answered.
    Rejected(String),
}

impl Verdict {
    /// The name in logs, metrics and headers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Accepted => "accepted",
            Self::Throttled(_) => "throttled",
            Self::Unavailable(_) => "unavailable",
            Self::Unauthorized(_) => "unauthorized",
            Self::TooLarge(_) => "too_large",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// Why an event became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The message is not an event.
    Malformed,
    /// The event lacks what the vendor requires, or carries it in the wrong type; no request was spent.
    Invalid,
    /// The vendor refused it for good.
    Rejected,
    /// The body is over the vendor's limit.
    TooLarge,
    /// The vendor took it together with others and then rejected some of them, without saying which.
    PartlyRejected,
    /// The vendor took it, and does not tell whether it came through.
    Unconfirmed,
    /// Retried until `max_age`.
    Expired,
    /// Its time was over before it was sent: `expirytime`, `max_event_age`, or AMQP's `expiration`. No request was spent for that.
    TooOld,
    /// Taken and never settled too often: it crashes workers. Set by the broker's delivery limit.
    DeliveryLimit,
    /// Put there by something other than Sluice.
    Unknown,
}

impl Reason {
    /// Every reason, for metrics and filters.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Invalid,
        Self::Rejected,
        Self::TooLarge,
        Self::PartlyRejected,
        Self::Unconfirmed,
        Self::Expired,
        Self::TooOld,
        Self::DeliveryLimit,
        Self::Unknown,
    ];

    /// The name in logs, metrics and headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::PartlyRejected => "partly_rejected",
            Self::Unconfirmed => "unconfirmed",
            Self::Expired => "expired",
            Self::TooOld => "too_old",
            Self::DeliveryLimit => "delivery_limit",
            Self::Unknown => "unknown",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::by_name(name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("{name:?} is no reason; write one of {known}")
        })
    }
}

/// What becomes of a delivery at the broker. There is no error case: every path ends in one of these.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Acked: the vendor took it.
    Ack,
    /// A copy goes to the retry queue for `delay`; then the original is acked. An attempt is spent.
    RetryLater(Duration),
    /// A copy waits in the queues for what may not be sent yet, until then; the original is acked. No attempt is spent.
    Later(jiff::Timestamp),
    /// A copy goes to the dead-letter queue; then the original is acked.
    DeadLetter(Reason, String),
    /// Acked without having been sent, since the configuration says so; the sentence says why.
    Drop(String),
    /// Back to the broker, no attempt spent.
    Release,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_name_everywhere() {
        for reason in Reason::ALL {
            assert_eq!(reason.name().parse(), Ok(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
            assert_eq!(serde_json::from_value::<Reason>(reason.name().into()).unwrap(), reason);
        }
        let said = "reject".parse::<Reason>().unwrap_err();
        assert!(said.contains("\"reject\"") && said.contains("rejected, too_large"), "{said}");
    }
}
