//! Whether and where something is in something: `has`, `contains`, `indices`. Pure.

use super::super::value::{PIECE, Val};
use super::{Native, argument, fail, native};
use crate::mapping::fuel;
use crate::mapping::jq::{paths, run::Stop};

pub(super) const NATIVES: &[Native] = &[
    native("has", 1, |value, key| match (value, argument(key, 0)) {
        (Val::Object(object), Val::Text(name)) => Ok(Val::Bool(object.fields.contains_key(name))),
        (Val::Array(array), Val::Number(number)) => {
            let at = number.as_f64();
            Ok(Val::Bool(at >= 0.0 && at < super::super::value::float(array.items.len())))
        }
        (Val::Null, Val::Text(_) | Val::Number(_)) => Ok(Val::Bool(false)),
        (value, key) => fail(format!("Cannot check whether {} has a {} key", value.kind(), key.kind())),
    }),
    native("contains", 1, |value, part| contains(value, argument(part, 0)).map(Val::Bool)),
    native("indices", 1, |value, part| indices(value, argument(part, 0))),
    native("index", 1, |value, part| end(indices(value, argument(part, 0))?, 0.0)),
    native("rindex", 1, |value, part| end(indices(value, argument(part, 0))?, -1.0)),
];

fn end(found: Val, at: f64) -> Result<Val, Stop> {
    paths::get(&found, &Val::number(at))
}

fn contains(whole: &Val, part: &Val) -> Result<bool, Stop> {
    fuel::charge(1);
    match (whole, part) {
        (Val::Text(whole), Val::Text(part)) => {
            fuel::charge((whole.len() + part.len()) / PIECE);
            Ok(whole.contains(&**part))
        }
        (Val::Array(whole), Val::Array(parts)) => {
            for part in &parts.items {
                let mut found = false;
                for item in &whole.items {
                    found = found || (item.kind() == part.kind() && contains(item, part)?);
                }
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Val::Object(whole), Val::Object(parts)) => {
            for (key, part) in &parts.fields {
                match whole.fields.get(key) {
                    Some(value) if value.kind() == part.kind() && contains(value, part)? => {}
                    Some(_) | None => return Ok(false),
                }
            }
            Ok(true)
        }
        (whole, part) if whole.kind() == part.kind() => Ok(whole == part),
        (whole, part) => fail(format!("{} and {} cannot have their containment checked", whole.shown(), part.shown())),
    }
}

fn indices(value: &Val, part: &Val) -> Result<Val, Stop> {
    match (value, part) {
        (Val::Null, _) => Ok(Val::Null),
        (Val::Text(text), Val::Text(part)) => {
            fuel::charge((text.len() / PIECE + 1).saturating_mul(1 + part.len() / PIECE));
            if part.is_empty() {
                return Ok(Val::array(Vec::new()));
            }
            let starts = text.char_indices().enumerate();
            let found = starts.filter(|(_, (byte, _))| text.get(*byte..).is_some_and(|rest| rest.starts_with(&**part)));
            Ok(Val::array(found.map(|(at, _)| Val::count(at)).collect()))
        }
        (Val::Array(array), Val::Array(part)) => Ok(positions(&array.items, &part.items)),
        (Val::Array(array), item) => Ok(positions(&array.items, std::slice::from_ref(item))),
        (value, part) => paths::get(value, part),
    }
}

/// Where `part` stands in `items`.
pub(in crate::mapping::jq) fn positions(items: &[Val], part: &[Val]) -> Val {
    if part.is_empty() {
        return Val::array(Vec::new());
    }
    let windows = items.windows(part.len()).enumerate();
    let found = windows.filter(|(_, window)| {
        fuel::charge(1);
        window.iter().zip(part).all(|(x, y)| x == y)
    });
    Val::array(found.map(|(at, _)| Val::count(at)).collect())
}
