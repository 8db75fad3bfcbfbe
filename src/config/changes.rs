//! What a reload changes: two configurations in, the names of what differs out.

use super::{AdminToken, Config, IngestToken};

/// What differs between two configurations. Destinations by name, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Destinations that are new.
    pub added: Vec<String>,
    /// Destinations that are gone.
    pub removed: Vec<String>,
    /// Destinations that are written differently, or resolve to other secrets.
    pub changed: Vec<String>,
    /// What differs beside destinations, and holds from now on.
    pub also_changed: Vec<&'static str>,
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
        self.note_the_rest(new, &mut changes);
        changes
    }

    /// What holds without a restart; the last token is never dropped while the worker runs.
    fn note_the_rest(&self, new: &Self, changes: &mut Changes) {
        let (admins, admins_now) = (&self.admin.tokens, &new.admin.tokens);
        let (senders, senders_now) = (self.senders(), new.senders());
        let both_take = self.ingest.is_some() && new.ingest.is_some();
        let admins_gone = admins_now.is_empty() && !admins.is_empty();
        let senders_gone = both_take && senders_now.is_empty() && !senders.is_empty();
        let gone = [("admin.tokens", admins_gone), ("ingest.tokens", senders_gone)];
        changes.restart_needed.extend(gone.iter().filter(|(_, gone)| *gone).map(|(name, _)| *name));
        let differ = [
            ("admin.tokens", !admins_gone && !AdminToken::are_same(admins, admins_now)),
            ("admin.late_after", self.admin.late_after != new.admin.late_after),
            ("ingest.tokens", both_take && !senders_gone && !IngestToken::are_same(senders, senders_now)),
            ("suppression", self.suppression.is_some() != new.suppression.is_some()),
            ("notify", !self.notify.iter().map(|one| &one.source).eq(new.notify.iter().map(|one| &one.source))),
        ];
        changes.also_changed = differ.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    }

    fn senders(&self) -> &[IngestToken] {
        self.ingest.as_ref().map(|ingest| ingest.tokens.as_slice()).unwrap_or_default()
    }
}
