//! jq's filters that are written in jq: of all of them, those that an expression may use. Each compiled expression holds its
//! own copy, and a thousand destinations have many expressions. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jaq_core::load::parse::Def;

use super::natives;

struct Known {
    def: Def<&'static str>,
    /// Every word in it: among them all that it calls.
    words: BTreeSet<String>,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = natives::definitions().map(|def| Known { words: words(&format!("{:?}", def.body)), def });
    known.collect()
});

static BY_NAME: LazyLock<BTreeMap<&'static str, Vec<usize>>> = LazyLock::new(|| {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, known) in KNOWN.iter().enumerate() {
        by_name.entry(known.def.name).or_default().push(at);
    }
    by_name
});

/// The definitions that `text` may use, in their order.
pub(super) fn needed_by(text: &str) -> Vec<Def<&'static str>> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<usize> = named(&words(text));
    while let Some(at) = open.pop() {
        if needed.insert(at)
            && let Some(known) = KNOWN.get(at)
        {
            open.extend(named(&known.words));
        }
    }
    needed.into_iter().filter_map(|at| KNOWN.get(at)).map(|known| known.def.clone()).collect()
}

fn named(words: &BTreeSet<String>) -> Vec<usize> {
    words.iter().filter_map(|word| BY_NAME.get(word.as_str())).flatten().copied().collect()
}

fn words(text: &str) -> BTreeSet<String> {
    let of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '@');
    text.split(|c| !of_word(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
