//! Why letters are left out or would die again, counted by cause. Pure, in bounded memory.

use serde::Serialize;
use utoipa::ToSchema;

/// Most causes that are told apart.
const MOST: usize = 50;
/// Longest sentence that is shown as it is, in bytes.
const LONGEST: usize = 300;
/// Characters of a sentence beside others.
const MOST_NAMED: usize = 120;

/// A cause, and how many letters have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CountedCause)]
pub struct Cause {
    /// The sentence, without ids and addresses where these differ.
    pub sentence: String,
    /// How many letters.
    pub count: u64,
    /// The id of one of them.
    pub letter: String,
    #[serde(skip)]
    cause: String,
}

/// The causes of some letters, in the order in which they were met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    known: Vec<Cause>,
    /// Letters with other causes than those.
    others: u64,
}

impl Causes {
    /// Counts a letter to its cause; `cause` is `sentence` without what differs between letters.
    pub fn add(&mut self, sentence: &str, cause: String, letter: &str) {
        if let Some(known) = self.known.iter_mut().find(|known| known.cause == cause) {
            known.count += 1;
            if known.sentence != sentence {
                known.sentence.clone_from(&known.cause);
            }
        } else if self.known.len() < MOST {
            let sentence = if sentence.len() > LONGEST { cause.clone() } else { sentence.to_owned() };
            self.known.push(Cause { sentence, count: 1, letter: letter.to_owned(), cause });
        } else {
            self.others += 1;
        }
    }

    /// How many letters.
    #[must_use]
    pub fn letters(&self) -> u64 {
        self.others + self.known.iter().map(|known| known.count).sum::<u64>()
    }

    /// Those with most letters first; the others than [`MOST`] are not among them.
    #[must_use]
    pub fn sorted(&self) -> Vec<Cause> {
        let mut sorted = self.known.clone();
        sorted.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        sorted
    }

    /// The first of them in one line, as `no such user (8), no e-mail address (3)`; the rest as a number.
    #[must_use]
    pub fn said(&self, most: usize) -> String {
        let sorted = self.sorted();
        let shown = sorted.iter().take(most);
        let mut parts: Vec<String> =
            shown.clone().map(|cause| format!("{} ({})", cut(&cause.sentence), cause.count)).collect();
        let rest = self.letters() - shown.map(|cause| cause.count).sum::<u64>();
        if rest > 0 {
            parts.push(format!("other causes ({rest})"));
        }
        parts.join(", ")
    }
}

/// For a line that names several.
fn cut(sentence: &str) -> String {
    match sentence.char_indices().nth(MOST_NAMED) {
        Some((end, _)) => format!("{}…", &sentence[..end]),
        None => sentence.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_one_cause_are_one_and_the_largest_comes_first() {
        let mut causes = Causes::default();
        causes.add("no e-mail address", "no e-mail address".into(), "1");
        for user in ["ann", "bob", "bob"] {
            causes.add(&format!("user {user} is unknown"), "user # is unknown".into(), user);
        }
        causes.add("late", "late".into(), "5");
        assert_eq!(causes.said(5), "user # is unknown (3), no e-mail address (1), late (1)");
        assert_eq!(causes.said(1), "user # is unknown (3), other causes (2)");
        assert_eq!((causes.sorted()[0].letter.as_str(), causes.letters()), ("ann", 5));
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted_all_the_same() {
        let mut causes = Causes::default();
        (0..MOST + 7).for_each(|number| causes.add("s", number.to_string(), "1"));
        assert_eq!((causes.sorted().len(), causes.letters()), (MOST, 57));
        assert!(causes.said(MOST).ends_with("other causes (7)"));
    }
}
