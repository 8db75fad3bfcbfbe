//! jq's filters that are written in jq: compiled once, for all expressions. Pure.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::parse;
use super::term::Function;

struct Prelude {
    functions: Vec<Function>,
    by_name: HashMap<(String, usize), usize>,
}

static PRELUDE: LazyLock<Prelude> = LazyLock::new(|| {
    // A test sees to it that they can be read.
    let (names, functions) = parse::definitions(include_str!("prelude.jq")).unwrap_or_default();
    let by_name = names.into_iter().map(|(name, parameters, function)| ((name, parameters), function)).collect();
    Prelude { functions, by_name }
});

/// All of them.
pub(super) fn functions() -> &'static [Function] {
    &PRELUDE.functions
}

/// The number of the one of that name with so many parameters.
pub(super) fn find(name: &str, parameters: usize) -> Option<usize> {
    if name.starts_with('_') {
        return None;
    }
    PRELUDE.by_name.get(&(name.to_owned(), parameters)).copied()
}

/// Their names and how many parameters each has.
pub(super) fn names() -> impl Iterator<Item = (&'static str, usize)> {
    PRELUDE.by_name.keys().map(|(name, parameters)| (name.as_str(), *parameters))
}

#[cfg(test)]
mod tests {
    #[test]
    fn jqs_own_definitions_can_be_read() {
        assert_eq!(super::parse::definitions(include_str!("prelude.jq")).map(drop), Ok(()));
    }
}
