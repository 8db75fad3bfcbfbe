//! What a reload changes: two configurations in, the names of what differs out.

use super::Config;

/// What differs between two configurations. Destinations by name, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Destinations that are new.
    pub added: Vec<String>,
    /// Destinations that are gone.
    pub removed: Vec<String>,
    /// Destinations that are written differently, or resolve to other secrets.
    pub changed: Vec<String>,
    /// Sections that differ and take effect only at a restart.
    pub restart_needed: Vec<&'static str>,
}

impl Config {
    /// What `new` changes.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        for (name, destination) in &new.destinations {
            match self.destinations.get(name) {
                None => changes.added.push(name.clone()),
                Some(old) if old.source != destination.source => changes.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        changes.removed =
            self.destinations.keys().filter(|name| !new.destinations.contains_key(*name)).cloned().collect();
        let address = |config: &Self| config.ingest.as_ref().map(|ingest| ingest.listen);
        let most = |config: &Self| config.ingest.as_ref().map(|ingest| ingest.max_body_bytes);
        let sections = [
            ("broker", self.broker.same_as(&new.broker)),
            ("admin.listen", self.admin.listen == new.admin.listen),
            ("ingest.listen", address(self) == address(new)),
            ("ingest.max_body_bytes", self.ingest.is_none() || new.ingest.is_none() || most(self) == most(new)),
            ("history", self.history == new.history),
            ("log", self.log == new.log),
        ];
        changes.restart_needed = sections.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
        changes
    }
}
