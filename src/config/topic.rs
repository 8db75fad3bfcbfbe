//! Topic patterns in the configuration: which event types are subscribed to, or mapped.

use crate::section::Section;

/// Longest topic pattern.
const MOST_PATTERN_BYTES: usize = 255;
/// Most `#` in one: each multiplies the work of matching, and newer brokers refuse more.
const MOST_HASHES: usize = 2;

/// One topic pattern; every type where it is absent.
pub(super) fn pattern(section: &mut Section<'_>, key: &str) -> String {
    let pattern = section.text(key).unwrap_or_else(|| "#".to_owned());
    check(section, key, &pattern);
    pattern
}

pub(super) fn check(section: &mut Section<'_>, key: &str, pattern: &str) {
    if let Some(why) = fault(pattern) {
        let shown = section.shown(key, pattern);
        section.problem(key, format!("{shown} is not a topic pattern{why}"));
    }
}

/// What is wrong with a pattern of words of a routing key, `*` and `#`, joined by dots. It becomes the key of a binding: at most 255 bytes,
/// AMQP 0-9-1's short string.
fn fault(pattern: &str) -> Option<String> {
    let is_word = |word: &str| {
        matches!(word, "*" | "#")
            || !word.is_empty()
                && !word.contains(|c: char| matches!(c, '*' | '#') || c.is_whitespace() || c.is_control())
    };
    if pattern.len() > MOST_PATTERN_BYTES {
        let bytes = pattern.len();
        return Some(format!(
            " that a broker takes: it has {bytes} bytes, and {MOST_PATTERN_BYTES} are allowed; shorten it"
        ));
    }
    let words: Vec<&str> = pattern.split('.').collect();
    if !words.iter().all(|word| is_word(word)) {
        return Some("; write words joined by dots, where * stands for one word and # for any number".to_owned());
    }
    let hashes = words.iter().filter(|word| **word == "#").count();
    (hashes > MOST_HASHES).then(|| {
        format!(
            " that every broker takes: it has {hashes} #, and RabbitMQ from 4.3.5 on refuses more than {MOST_HASHES}; \
             write one # for several side by side, or several patterns"
        )
    })
}
