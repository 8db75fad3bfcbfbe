//! What can be known of the broker from outside: for readiness, metrics and error messages.

use super::connection::ConnectError;

/// The connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerStatus {
    /// The connection that deliveries come over.
    pub consuming: LinkStatus,
    /// The connection that publications leave over.
    pub publishing: LinkStatus,
    /// The connection that leases are held over, where there are any.
    pub leasing: LinkStatus,
}

impl BrokerStatus {
    /// Both are up.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.consuming.connected && self.publishing.connected
    }

    /// Whether it takes publications now.
    #[must_use]
    pub fn takes_publications(&self) -> bool {
        self.publishing.connected && self.publishing.blocked.is_none()
    }

    /// What is missing for work, a sentence each.
    #[must_use]
    pub fn lacking(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        // Without destinations there are no leases.
        let leasing = Some(("leases", &self.leasing)).filter(|(_, link)| link.epochs > 0);
        for (name, link) in
            [("consuming", &self.consuming), ("publishing", &self.publishing)].into_iter().chain(leasing)
        {
            if !link.connected {
                let why = link.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                lacking.push(format!("no connection to the broker for {name}{why}"));
            }
        }
        lacking
    }

    /// What waits while deliveries go on, a sentence.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        let reason = self.publishing.blocked.as_ref()?;
        Some(format!(
            "the broker takes no messages for now (resource alarm: {reason}): deliveries go on, retries and dead letters wait"
        ))
    }

    /// Why there is no connection, where there is none.
    #[must_use]
    pub fn error(&self) -> Option<&ConnectError> {
        self.consuming.last_error.as_ref().or(self.publishing.last_error.as_ref())
    }
}

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// It is up.
    pub connected: bool,
    /// The broker's reason for taking no messages for now (memory or disk alarm).
    pub blocked: Option<String>,
    /// One, and one for each loss of it; every one after the first is a reconnect.
    pub epochs: u64,
    /// What went wrong last; none while it is up.
    pub last_error: Option<ConnectError>,
}
