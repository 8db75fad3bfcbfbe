//! The digests of all who are suppressed. Pure.
//!
//! A digest is evenly distributed, so 4,096 sorted lists by its first bits have about the same length: 244 each of a million people. A look
//! is eight comparisons, a new one moves 4 kB at most, nothing is ever rebuilt, and a million take 16 MB and a quarter more.

use crate::person::{DIGEST_BYTES, Digest};

/// Lists.
const LISTS: usize = 4096;

/// Who is suppressed.
#[derive(Debug)]
pub struct Table {
    lists: Box<[Vec<Digest>]>,
    count: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { lists: (0..LISTS).map(|_| Vec::new()).collect(), count: 0 }
    }
}

impl Table {
    /// Adds one; false where it was there.
    pub fn add(&mut self, digest: Digest) -> bool {
        let list = self.list(digest);
        let Err(place) = list.binary_search(&digest) else { return false };
        if list.len() == list.capacity() {
            // Doubling would leave a third of a million's room unused.
            list.reserve_exact(8.max(list.len() / 8));
        }
        list.insert(place, digest);
        self.count += 1;
        true
    }

    /// Takes one out; false where it was not there.
    pub fn remove(&mut self, digest: Digest) -> bool {
        let list = self.list(digest);
        let Ok(place) = list.binary_search(&digest) else { return false };
        list.remove(place);
        self.count -= 1;
        true
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, digest: Digest) -> bool {
        self.lists.get(place(digest)).is_some_and(|list| list.binary_search(&digest).is_ok())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lists: usize = self.lists.iter().map(|list| list.capacity() * DIGEST_BYTES).sum();
        lists + LISTS * size_of::<Vec<Digest>>()
    }

    fn list(&mut self, digest: Digest) -> &mut Vec<Digest> {
        &mut self.lists[place(digest)]
    }
}

/// The list of a digest: its first twelve bits.
fn place(digest: Digest) -> usize {
    let [first, second, ..] = *digest.bytes();
    (usize::from(first) << 4) | usize::from(second >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::PersonKey;

    fn people(from: usize, to: usize) -> impl Iterator<Item = Digest> {
        let key = PersonKey::new("a secret of thirty-two bytes, or so");
        (from..to).map(move |number| key.digest(&format!("person-{number}@example.com")).unwrap())
    }

    #[test]
    fn whoever_was_added_is_there_until_taken_out() {
        let mut table = Table::default();
        assert!(people(0, 5000).all(|digest| table.add(digest)));
        assert!(people(0, 5000).all(|digest| !table.add(digest) && table.has(digest)));
        assert!(people(5000, 6000).all(|digest| !table.has(digest) && !table.remove(digest)));
        assert!(people(0, 2500).all(|digest| table.remove(digest) && !table.has(digest)));
        assert_eq!((table.len(), people(2500, 5000).all(|digest| table.has(digest))), (2500, true));
        table.clear();
        assert!(table.is_empty() && people(0, 5000).all(|digest| !table.has(digest)));
    }

    #[test]
    fn a_million_people_take_less_than_24_megabytes() {
        let mut table = Table::default();
        // Their digests are as good as random: the real ones take a while without optimisation.
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000_000 {
            assert!(table.add(Digest::new(random.u128(..).to_be_bytes())));
        }
        assert_eq!(table.len(), 1_000_000);
        assert!(table.bytes() < 24_000_000, "{}", table.bytes());
    }
}
