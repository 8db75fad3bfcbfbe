//! Letters a page at a time, the oldest death first: in an order that no act and no reader changes. Pure.
//!
//! A place in the queue would not do: letters are taken out of it, come back to its end, and a reader that is killed changes the order.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::letter::{Letter, is_id};

/// A place between letters, right behind the one that died then and has that id. As text `1700000000123456789_0123456789abcdef`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    died: Option<Timestamp>,
    letter: u64,
}

/// Why a text is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cursor; take the one that an earlier answer gave")]
pub struct NotACursor(String);

/// Which letters a page has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// The first.
    #[default]
    First,
    /// The first behind a place.
    After(Cursor),
    /// The last before a letter, which is not among them.
    Before(Cursor),
}

/// The letters of a page, while all that are meant come by.
#[derive(Debug)]
pub struct Page {
    window: Window,
    limit: usize,
    /// Each with a number, since letters may be alike.
    kept: BTreeMap<(Cursor, u64), Letter>,
    matched: u64,
    /// Those on the other side of the window's place.
    beyond: u64,
}

/// A page.
#[derive(Debug, Default)]
pub struct Paged {
    /// Its letters.
    pub letters: Vec<Letter>,
    /// How many are before them.
    pub before: u64,
    /// How many are meant in all.
    pub matched: u64,
    /// Where the next page begins, where there is one.
    pub next: Option<Cursor>,
    /// What the page before ends with, where there is one.
    pub previous: Option<Cursor>,
}

impl Cursor {
    fn of(letter: &Letter) -> Self {
        Self { died: letter.dead_lettered_at, letter: u64::from_str_radix(&letter.id, 16).unwrap_or(0) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(died) = self.died {
            write!(f, "{}", died.as_nanosecond())?;
        }
        write!(f, "_{:016x}", self.letter)
    }
}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let read = || {
            let (died, letter) = text.split_once('_').filter(|(_, letter)| is_id(letter))?;
            let died = match died {
                "" => None,
                nanoseconds => Some(Timestamp::from_nanosecond(nanoseconds.parse().ok()?).ok()?),
            };
            Some(Self { died, letter: u64::from_str_radix(letter, 16).ok()? })
        };
        // Only as it is written.
        read().filter(|cursor| cursor.to_string() == text).ok_or_else(|| NotACursor(text.to_owned()))
    }
}

impl Page {
    /// No letter came by yet; at most `limit` are kept.
    #[must_use]
    pub fn new(window: Window, limit: usize) -> Self {
        Self { window, limit, kept: BTreeMap::new(), matched: 0, beyond: 0 }
    }

    /// A pass begins, maybe once more: what was seen before counts no more.
    pub fn anew(&mut self) {
        *self = Self::new(self.window, self.limit);
    }

    /// The next letter that is meant.
    pub fn add(&mut self, letter: &Letter) {
        self.matched += 1;
        let key = (Cursor::of(letter), self.matched);
        let is_full = self.kept.len() >= self.limit;
        let (is_beyond, is_late) = match self.window {
            Window::First => (false, self.kept.last_key_value().is_some_and(|(last, _)| key > *last)),
            Window::After(place) => (key.0 <= place, self.kept.last_key_value().is_some_and(|(last, _)| key > *last)),
            Window::Before(place) => {
                (key.0 >= place, self.kept.first_key_value().is_some_and(|(first, _)| key < *first))
            }
        };
        self.beyond += u64::from(is_beyond);
        if is_beyond || (is_full && is_late) {
            return;
        }
        self.kept.insert(key, letter.clone());
        if self.kept.len() > self.limit {
            match self.window {
                Window::First | Window::After(_) => drop(self.kept.pop_last()),
                Window::Before(_) => drop(self.kept.pop_first()),
            }
        }
    }

    /// The page, once all have come by.
    #[must_use]
    pub fn finish(self) -> Paged {
        let shown = u64::try_from(self.kept.len()).unwrap_or(u64::MAX);
        let before = match self.window {
            Window::First | Window::After(_) => self.beyond,
            Window::Before(_) => self.matched - self.beyond - shown,
        };
        let end = |key: Option<&(Cursor, u64)>, there: bool| key.filter(|_| there).map(|(cursor, _)| *cursor);
        let next = end(self.kept.keys().next_back(), before + shown < self.matched);
        let previous = end(self.kept.keys().next(), before > 0);
        Paged { letters: self.kept.into_values().collect(), before, matched: self.matched, next, previous }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn letter(died: i64, id: u64) -> Letter {
        let mut letter = Letter::read(&Message::default(), "px");
        (letter.id, letter.dead_lettered_at) = (format!("{id:016x}"), Timestamp::from_second(died).ok());
        letter
    }

    fn page(letters: &[Letter], window: Window, limit: usize) -> Paged {
        let mut page = Page::new(window, limit);
        letters.iter().for_each(|letter| page.add(letter));
        page.finish()
    }

    fn ids(page: &Paged) -> Vec<u64> {
        page.letters.iter().map(|letter| u64::from_str_radix(&letter.id, 16).unwrap()).collect()
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        for letter in [letter(1_700_000_000, 0xab), letter(-5, 1), Letter { dead_lettered_at: None, ..letter(0, 7) }] {
            let cursor = Cursor::of(&letter);
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        let text = "1700000000000000000_00000000000000ab";
        assert_eq!(Cursor::of(&letter(1_700_000_000, 0xab)).to_string(), text);
        for wrong in ["", "_", "7", "07_00000000000000ab", "+7_00000000000000ab", "7_AB", "x_00000000000000ab"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_letter_is_on_one_page_though_the_queue_changes_between_them() {
        let mut letters: Vec<Letter> =
            (0..10).map(|number| letter(100 + i64::try_from(number / 2).unwrap(), number)).collect();
        letters[3].dead_lettered_at = None;
        letters.reverse();
        let first = page(&letters, Window::First, 4);
        assert_eq!((ids(&first), first.before, first.matched), (vec![3, 0, 1, 2], 0, 10));
        assert!(first.previous.is_none());
        // Some are gone, one has come, and the order is another.
        letters.retain(|letter| !matches!(letter.id.as_bytes().last(), Some(b'0' | b'2' | b'5')));
        letters.push(letter(500, 0xff));
        letters.rotate_left(3);
        let second = page(&letters, Window::After(first.next.unwrap()), 4);
        assert_eq!((ids(&second), second.before), (vec![4, 6, 7, 8], 2));
        let third = page(&letters, Window::After(second.next.unwrap()), 4);
        assert_eq!((ids(&third), third.next), (vec![9, 0xff], None));
        let back = page(&letters, Window::Before(third.previous.unwrap()), 4);
        assert_eq!((ids(&back), back.before, back.next), (ids(&second), 2, second.next));
        let start = page(&letters, Window::Before(back.previous.unwrap()), 4);
        assert_eq!((ids(&start), start.previous), (vec![3, 1], None));
    }

    #[test]
    fn letters_that_are_alike_are_all_counted() {
        let letters = [letter(1, 1), letter(1, 1), letter(2, 2)];
        let page = page(&letters, Window::First, 2);
        assert_eq!((ids(&page), page.matched, page.next.is_some()), (vec![1, 1], 3, true));
    }
}
