//! What can be known of the broker from outside: for readiness, metrics and error messages.

use jiff::Timestamp;

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

    /// How many connections were opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.consuming.epochs + self.publishing.epochs
    }

    /// Whether it takes publications now.
    #[must_use]
    pub fn takes_publications(&self) -> bool {
        self.publishing.connected && self.publishing.blocked.is_none()
    }

    /// What is missing for work, a sentence each: connections that lack the same are in one.
    #[must_use]
    pub fn lacking(&self) -> Vec<String> {
        let missing: Vec<_> = self.links().filter(|(_, link)| !link.connected).collect();
        let is_all = missing.len() == self.links().count();
        let mut causes: Vec<(String, Vec<&str>)> = Vec::new();
        for (name, link) in missing {
            let why = link.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            match causes.iter_mut().find(|(known, _)| *known == why) {
                Some((_, names)) => names.push(name),
                None => causes.push((why, vec![name])),
            }
        }
        let one_cause = causes.len() == 1;
        let sentence = |(why, names): (String, Vec<&str>)| {
            let names = if is_all && one_cause { String::new() } else { format!(" for {}", names.join(" and ")) };
            format!("no connection to the broker{names}{why}")
        };
        causes.into_iter().map(sentence).collect()
    }

    /// The connections that there are, by what they are for.
    fn links(&self) -> impl Iterator<Item = (&'static str, &LinkStatus)> {
        // Without destinations there are no leases.
        let leasing = Some(("leases", &self.leasing)).filter(|(_, link)| link.epochs > 0);
        [("consuming", &self.consuming), ("publishing", &self.publishing)].into_iter().chain(leasing)
    }

    /// That it is away, where a connection is missing: for what (nothing where that is all of them), since when, and why.
    #[must_use]
    pub fn away(&self) -> Option<Away> {
        let links: Vec<(&str, &LinkStatus)> = self.links().collect();
        let missing: Vec<_> = links.iter().filter(|(_, link)| !link.connected).collect();
        let partly = missing.len() < links.len();
        (!missing.is_empty()).then(|| Away {
            side: partly.then(|| missing.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" and ")),
            since: missing.iter().filter_map(|(_, link)| link.since).min(),
            why: missing.iter().find_map(|(_, link)| link.last_error.as_ref()).map(ToString::to_string),
        })
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

/// How the broker is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// What the missing connections are for, where others are there.
    pub side: Option<String>,
    /// From when on.
    pub since: Option<Timestamp>,
    /// What went wrong last.
    pub why: Option<String>,
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
    /// From when on it is not up; none while it is.
    pub since: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_told_once_with_its_earliest_loss() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let lost = |second| LinkStatus { epochs: 1, since: at(second), ..LinkStatus::default() };
        let up = LinkStatus { connected: true, epochs: 1, ..LinkStatus::default() };
        let all = BrokerStatus { consuming: lost(20), publishing: lost(10), leasing: lost(30) };
        assert_eq!(all.away(), Some(Away { side: None, since: at(10), why: None }));
        let some = BrokerStatus { consuming: lost(20), publishing: up.clone(), leasing: lost(30) };
        assert_eq!(some.away().unwrap().side.as_deref(), Some("consuming and leases"));
        let none = BrokerStatus { consuming: up.clone(), publishing: up, leasing: LinkStatus::default() };
        assert_eq!(none.away(), None, "without destinations there are no leases");
    }

    #[test]
    fn connections_that_lack_the_same_are_told_in_one_sentence() {
        let down = |last_error| LinkStatus { last_error, epochs: 1, ..LinkStatus::default() };
        let silent = || Some(ConnectError::Slow(std::time::Duration::from_secs(5)));
        let up = LinkStatus { connected: true, epochs: 1, ..LinkStatus::default() };
        let lacking = |consuming, publishing, leasing| BrokerStatus { consuming, publishing, leasing }.lacking();
        let all = lacking(down(silent()), down(silent()), LinkStatus::default());
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].starts_with("no connection to the broker: "), "{all:?}");
        let some = lacking(down(silent()), up.clone(), down(silent()));
        assert!(some.len() == 1 && some[0].starts_with("no connection to the broker for consuming and leases: "));
        assert_eq!(lacking(down(silent()), up.clone(), down(None)).len(), 2, "for two causes");
        assert_eq!(lacking(up.clone(), up.clone(), up), [""; 0]);
    }
}
