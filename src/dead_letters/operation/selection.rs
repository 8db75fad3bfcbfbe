//! The letters that an operation means, by id: pinned once, and taken out one by one. Pure.

use std::collections::{HashMap, HashSet};

use super::Counted;
use crate::dead_letters::letter::Letter;
use crate::dead_letters::look::LookSummary;

/// Those that were there and matched when the operation began.
#[derive(Debug, Default)]
pub struct Selection {
    /// What the pass saw.
    pub seen: LookSummary,
    counted: Counted,
    ids: HashSet<u64>,
    /// Letters alike to the last byte: how many there are of each.
    several: HashMap<u64, u64>,
    /// Letters of which there were several.
    alike: HashSet<u64>,
    /// Letters that were made of others by hand.
    edited: HashSet<u64>,
}

impl Extend<u64> for Selection {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, ids: I) {
        for id in ids {
            self.counted.add(id);
            self.put(id);
        }
    }
}

impl Selection {
    /// How many letters are left in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        let ids = u64::try_from(self.ids.len()).unwrap_or(u64::MAX);
        ids + self.several.values().map(|count| count - 1).sum::<u64>()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Takes note of a letter that was made of another.
    pub(super) fn has_edit_of(&mut self, letter: &Letter) {
        if letter.edited_from.is_some() {
            self.edited.extend(u64::from_str_radix(&letter.id, 16));
        }
    }

    /// Whether that letter was there, made of another: whoever made it died before the other was gone.
    #[must_use]
    pub fn was_edited_to(&self, id: &str) -> bool {
        u64::from_str_radix(id, 16).is_ok_and(|id| self.edited.contains(&id))
    }

    /// All that were selected, also those that have been taken out since.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.counted
    }

    /// Puts a letter back.
    pub fn put(&mut self, id: u64) {
        if !self.ids.insert(id) {
            *self.several.entry(id).or_insert(1) += 1;
            self.alike.insert(id);
        }
    }

    /// Whether there were others that cannot be told from it.
    #[must_use]
    pub fn was_alike(&self, id: u64) -> bool {
        self.alike.contains(&id)
    }

    /// Takes a letter out. False where it is not, or no longer, meant.
    pub fn take(&mut self, id: u64) -> bool {
        match self.several.get_mut(&id) {
            Some(count) if *count > 2 => *count -= 1,
            Some(_) => drop(self.several.remove(&id)),
            None => return self.ids.remove(&id),
        }
        true
    }

    /// Forgets all that are left; says how many.
    pub fn clear(&mut self) -> u64 {
        let left = self.len();
        self.ids.clear();
        self.several.clear();
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_are_alike_are_taken_as_often_as_they_were_there() {
        let mut selection = Selection::default();
        selection.extend([1, 2, 2, 2, 3, 3]);
        assert_eq!(selection.len(), 6);
        assert!(selection.take(2) && selection.take(2) && selection.take(2) && !selection.take(2));
        assert!(selection.take(1) && !selection.take(1) && !selection.take(9));
        selection.put(1);
        assert_eq!((selection.len(), selection.clear(), selection.is_empty()), (3, 3, true));
        assert_eq!(selection.counted().letters(), 6);
    }
}
