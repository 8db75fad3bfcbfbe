//! The notes that lie here unsettled, by their tags.

use super::note::Driven;

/// Which note of which term.
pub type Id = (Driven, u64);

/// Notes that are not acked, in the order of their arrival; none for what cannot be read.
#[derive(Debug, Default)]
pub struct InHand(Vec<(u64, Option<Id>)>);

impl InHand {
    pub fn push(&mut self, tag: u64, id: Option<Id>) {
        self.0.push((tag, id));
    }

    pub fn remove(&mut self, tag: u64) {
        self.0.retain(|(held, _)| *held != tag);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The last one that came has become this one.
    pub fn rename_last(&mut self, id: Id) {
        if let Some((_, last)) = self.0.last_mut() {
            *last = Some(id);
        }
    }

    /// That note has become this one.
    pub fn rename(&mut self, before: Id, id: Id) {
        self.0.iter_mut().filter(|(_, held)| *held == Some(before)).for_each(|(_, held)| *held = Some(id));
    }

    /// The tag of that note, where it is here.
    pub fn tag_of(&self, id: Id) -> Option<u64> {
        self.0.iter().rev().find(|(_, held)| *held == Some(id)).map(|(tag, _)| *tag)
    }

    /// Takes out all that can be read, but for one; returns their tags.
    pub fn take_but(&mut self, tag: u64) -> Vec<u64> {
        self.0.extract_if(.., |(held, id)| id.is_some() && *held != tag).map(|(tag, _)| tag).collect()
    }

    /// Takes out what cannot be read; returns the tags.
    pub fn take_unreadable(&mut self) -> Vec<u64> {
        self.0.extract_if(.., |(_, id)| id.is_none()).map(|(tag, _)| tag).collect()
    }
}
