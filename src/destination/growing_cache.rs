//! What was seen lately, in memory that grows with it: an idle destination keeps none.

use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;

/// A cache that forgets what was longest not asked for once it has `most`. Unlike one of [`LruCache::new`] it reserves nothing.
pub(super) fn growing_cache<K: Hash + Eq, V>(most: NonZeroUsize) -> LruCache<K, V> {
    let mut cache = LruCache::unbounded();
    cache.resize(most);
    cache
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_the_oldest_once_it_is_full() {
        let mut cache = growing_cache(NonZeroUsize::new(2).unwrap());
        for number in 1..=3 {
            cache.put(number, ());
        }
        assert_eq!((cache.len(), cache.contains(&1), cache.contains(&3)), (2, false, true));
    }
}
