//! What was wrong when somebody last looked, and since when. Pure; the time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What is over is kept in mind for this long: then an old mark may count for it once more.
const KEPT: Duration = Duration::from_hours(24 * 7);

#[derive(Debug)]
struct Spell {
    began: Instant,
    /// None of what was there at the first look of all.
    first: Option<Timestamp>,
    is_there: bool,
    /// When it was last found to be over.
    over: Option<Timestamp>,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    spells: BTreeMap<String, Spell>,
    has_looked: bool,
}

impl Seen {
    /// A look begins.
    pub fn begin(&mut self) {
        self.spells.values_mut().for_each(|spell| spell.is_there = false);
    }

    /// It is wrong. Tells since when, if that is known; nothing at all until it has lasted for as long as it has to.
    pub fn again(&mut self, id: &str, settles: Duration, now: Instant, wall: Timestamp) -> Option<Option<Timestamp>> {
        let first = self.has_looked.then_some(wall);
        let spell = self.spells.entry(id.to_owned());
        let spell = spell.or_insert(Spell { began: now, first, is_there: false, over: None });
        if spell.over > spell.first {
            // It was over in between.
            (spell.began, spell.first) = (now, Some(wall));
        }
        spell.is_there = true;
        (now.saturating_duration_since(spell.began) >= settles).then_some(spell.first)
    }

    /// A look ends: what was not seen again is over, but for what is `unknown`.
    pub fn end(&mut self, wall: Timestamp, unknown: impl Fn(&str) -> bool) {
        self.has_looked = true;
        for (id, spell) in &mut self.spells {
            if !spell.is_there && spell.over <= spell.first && !unknown(id) {
                spell.over = Some(wall);
            }
        }
        let old = wall.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        self.spells.retain(|_, spell| spell.is_there || spell.over.is_none_or(|over| over > old));
    }

    /// When it was last found to be over.
    pub fn was_over(&self, id: &str) -> Option<Timestamp> {
        self.spells.get(id)?.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    struct Looks(Seen, Instant);

    impl Looks {
        /// A look at that second, at which those are wrong; tells since when.
        fn look(&mut self, second: u64, wrong: &[&str], settles: u64) -> Vec<Option<Option<i64>>> {
            let (now, wall) = (self.1 + Duration::from_secs(second), at(i64::try_from(second).unwrap()));
            self.0.begin();
            let told = wrong.iter().map(|id| {
                let first = self.0.again(id, Duration::from_secs(settles), now, wall);
                first.map(|first| first.map(|at| at.as_second()))
            });
            let told = told.collect();
            self.0.end(wall, |id| id == "unknown");
            told
        }
    }

    #[test]
    fn since_when_something_is_wrong_is_known_unless_it_was_so_at_the_first_look() {
        let mut looks = Looks(Seen::default(), crate::clock::now());
        assert_eq!(looks.look(1, &["a"], 0), [Some(None)]);
        assert_eq!(looks.look(2, &["a", "b"], 0), [Some(None), Some(Some(2))]);
        assert_eq!(looks.look(3, &["b"], 0), [Some(Some(2))]);
        assert_eq!(looks.0.was_over("a"), Some(at(3)));
        assert_eq!(looks.look(4, &["a", "b"], 0), [Some(Some(4)), Some(Some(2))], "it came again");
    }

    #[test]
    fn what_has_to_last_is_told_when_it_has() {
        let mut looks = Looks(Seen::default(), crate::clock::now());
        assert_eq!(looks.look(0, &[], 30), []);
        assert_eq!(looks.look(5, &["a"], 30), [None]);
        assert_eq!(looks.look(34, &["a"], 30), [None]);
        assert_eq!(looks.look(35, &["a"], 30), [Some(Some(5))]);
        assert_eq!(looks.look(36, &[], 30), []);
        assert_eq!(looks.look(37, &["a"], 30), [None], "it came again");
    }

    #[test]
    fn what_is_not_known_is_not_over() {
        let mut looks = Looks(Seen::default(), crate::clock::now());
        looks.look(0, &[], 0);
        assert_eq!(looks.look(1, &["unknown"], 0), [Some(Some(1))]);
        looks.look(2, &[], 0);
        assert_eq!(looks.look(3, &["unknown"], 0), [Some(Some(1))]);
    }
}
