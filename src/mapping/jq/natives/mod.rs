//! The filters that are written in Rust. Pure: nothing reaches the environment, the clock, files or logs.

pub(in crate::mapping::jq) mod collect;
pub(in crate::mapping::jq) mod format;
mod json;
pub(in crate::mapping::jq) mod math;
pub(in crate::mapping::jq) mod operator;
pub(in crate::mapping::jq) mod pattern;
pub(in crate::mapping::jq) mod search;
mod strftime;
mod text;
mod time;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::run::Stop;
use super::term::Control;
use super::value::Val;

/// A filter of values: its input and its arguments go in, one value comes out.
pub(in crate::mapping) struct Native {
    pub name: &'static str,
    arguments: usize,
    pub run: fn(&Val, &[Val]) -> Result<Val, Stop>,
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.arguments)
    }
}

const fn native(name: &'static str, arguments: usize, run: fn(&Val, &[Val]) -> Result<Val, Stop>) -> Native {
    Native { name, arguments, run }
}

fn fail<T>(said: impl AsRef<str>) -> Result<T, Stop> {
    Err(super::run::error(said))
}

/// An argument that the table promises.
fn argument(arguments: &[Val], nth: usize) -> &Val {
    arguments.get(nth).unwrap_or(&Val::Null)
}

const CONTROLS: [(&str, usize, Control); 12] = [
    ("empty", 0, Control::Empty),
    ("path", 1, Control::Path),
    ("getpath", 1, Control::GetPath),
    ("first", 1, Control::First),
    ("limit", 2, Control::Limit),
    ("until", 2, Control::Until),
    ("while", 2, Control::While),
    ("repeat", 1, Control::Repeat),
    ("recurse", 1, Control::Recurse),
    ("recurse", 0, Control::Recurse),
    ("range", 2, Control::Range),
    ("isempty", 1, Control::IsEmpty),
];

/// The one of that name with so many arguments.
pub(super) fn control(name: &str, arguments: usize) -> Option<Control> {
    CONTROLS.into_iter().find(|known| known.0 == name && known.1 == arguments).map(|known| known.2)
}

type Table = HashMap<(&'static str, usize), &'static Native>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let parts: [&'static [Native]; 7] = [
        collect::NATIVES,
        json::NATIVES,
        math::NATIVES,
        pattern::NATIVES,
        search::NATIVES,
        text::NATIVES,
        time::NATIVES,
    ];
    parts.into_iter().flatten().map(|native| ((native.name, native.arguments), native)).collect()
});

/// The one of that name with so many arguments.
pub(super) fn find(name: &str, arguments: usize) -> Option<&'static Native> {
    TABLE.get(&(name, arguments)).copied()
}

/// All names that a program may use, with how many arguments each takes.
fn names() -> impl Iterator<Item = String> {
    let rust = TABLE.keys().map(|(name, arguments)| (*name, *arguments));
    let controls = CONTROLS.into_iter().map(|(name, arguments, _)| (name, arguments));
    let all = rust.chain(controls).chain(super::prelude::names());
    all.filter(|(name, _)| !name.starts_with('_')).map(|(name, arguments)| format!("{name}/{arguments}"))
}
