//! Which of the waiting events travel together: what may is the vendor's rule, when to stop waiting is the gate's. Pure.
//!
//! An event never waits for others to travel with. A request takes what is ready when the gate gives a place. The scarcer the places, the
//! more is ready.

use crate::vendors::{Batching, Item, When};

/// Most calls that are spent on finding the bad events of one batch.
const MOST_SPLIT_CALLS: u32 = 1_000;

/// Whether several should travel together, with so many waiting and so many single calls to spare.
pub(super) fn together(batching: &Batching, waiting: usize, spare: impl FnOnce() -> usize) -> bool {
    match batching.when {
        _ if batching.items <= 1 => false,
        When::Always => true,
        // A batch costs two calls at least where its job has to be watched.
        When::Scarce => waiting > 2 && waiting > spare(),
    }
}

/// The places of the items that travel with the first one, its own included, in their order: those of its group and its ordering key.
pub(super) fn choose<'a, P>(mut items: impl Iterator<Item = (P, &'a Item)>, batching: &Batching) -> Vec<P> {
    let Some((place, first)) = items.next() else { return Vec::new() };
    let (mut chosen, mut bytes) = (vec![place], first.content.len());
    for (place, item) in items {
        if chosen.len() >= batching.items {
            break;
        }
        if item.group != first.group || item.ordering_key != first.ordering_key {
            // Nothing overtakes events of its ordering key.
            if item.ordering_key.is_some() && item.ordering_key == first.ordering_key {
                break;
            }
            continue;
        }
        bytes = bytes.saturating_add(item.content.len() + 1);
        if bytes > batching.bytes {
            break;
        }
        chosen.push(place);
    }
    chosen
}

/// How many calls may be spent on a batch of so many that was refused as a whole: enough to find every bad one, and no more than
/// a vendor can be asked to bear.
pub(super) fn calls_to_split(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX).saturating_mul(2).min(MOST_SPLIT_CALLS)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn item(group: u8, ordering_key: Option<u8>, bytes: usize) -> Item {
        let content = Bytes::from(vec![b'x'; bytes]);
        Item {
            group: group.to_string(),
            ordering_key: ordering_key.map(|ordering_key| ordering_key.to_string()),
            content,
            lookup: None,
        }
    }

    const RULE: Batching = Batching { items: 4, bytes: 100, when: When::Scarce };

    #[test]
    fn single_calls_are_made_while_there_are_enough_of_them() {
        assert!(!together(&RULE, 10, || 10));
        assert!(together(&RULE, 11, || 10));
        assert!(!together(&RULE, 2, || 0));
        assert!(together(&Batching { when: When::Always, ..RULE }, 2, || 10));
        assert!(!together(&Batching::ALONE, 1_000, || 0));
    }

    #[test]
    fn what_shares_a_group_travels_together_up_to_the_bounds() {
        let items = [item(1, None, 10), item(2, None, 10), item(1, None, 10), item(1, None, 90), item(1, None, 1)];
        assert_eq!(choose(items.iter().enumerate(), &RULE), [0, 2]);
        let many: Vec<Item> = (0..9).map(|_| item(1, None, 1)).collect();
        assert_eq!(choose(many.iter().enumerate(), &RULE), [0, 1, 2, 3]);
        assert_eq!(choose([item(1, None, 1_000)].iter().enumerate(), &RULE), [0]);
    }

    #[test]
    fn nothing_overtakes_in_its_own_ordering_key() {
        let items =
            [item(1, Some(1), 1), item(2, Some(2), 1), item(1, Some(1), 1), item(3, Some(1), 1), item(1, Some(1), 1)];
        assert_eq!(choose(items.iter().enumerate(), &RULE), [0, 2]);
    }

    #[test]
    fn splitting_is_bounded() {
        assert_eq!((calls_to_split(50), calls_to_split(10_000)), (100, 1_000));
    }

    proptest! {
        #[test]
        fn a_batch_never_breaks_the_vendors_rule(
            items in prop::collection::vec((0u8..3, prop::option::of(0u8..2), 0usize..60), 1..40),
            most in 1usize..10, bytes in 1usize..200,
        ) {
            let items: Vec<Item> = items.into_iter().map(|(group, ordering_key, bytes)| item(group, ordering_key, bytes)).collect();
            let rule = Batching { items: most, bytes, when: When::Always };
            let chosen = choose(items.iter().enumerate(), &rule);
            prop_assert_eq!(chosen[0], 0);
            prop_assert!(chosen.len() <= most && chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|at| items[*at].group == items[0].group && items[*at].ordering_key == items[0].ordering_key));
            let size: usize = chosen.iter().map(|at| items[*at].content.len() + 1).sum();
            prop_assert!(chosen.len() == 1 || size <= bytes + 1);
        }
    }
}
