//! Arrays and objects as wholes: sorting, grouping, adding up, keys. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::value::{Val, by_name, float};
use super::operator::add;
use super::{Native, argument, fail, native};
use crate::mapping::fuel;
use crate::mapping::jq::run::Stop;

pub(super) const NATIVES: &[Native] = &[
    native("length", 0, length),
    native("keys", 0, |value, _| keys(value, true)),
    native("keys_unsorted", 0, |value, _| keys(value, false)),
    native("add", 0, |value, _| {
        values(value)?.into_iter().try_fold(Val::Null, |sum, item| {
            fuel::charge(1);
            add(sum, item)
        })
    }),
    native("reverse", 0, |value, _| match value {
        Val::Null => Ok(Val::array(Vec::new())),
        Val::Text(text) if text.is_empty() => Ok(Val::array(Vec::new())),
        Val::Object(object) if object.fields.is_empty() => Ok(Val::array(Vec::new())),
        Val::Array(array) => Ok(Val::array(array.items.iter().rev().cloned().collect())),
        other => fail(format!("Cannot index {} with number", other.kind())),
    }),
    native("sort", 0, |value, _| sorted(value, value).map(|pairs| Val::array(firsts(pairs)))),
    native("_sort_by", 1, |value, by| sorted(value, argument(by, 0)).map(|pairs| Val::array(firsts(pairs)))),
    native("_group_by", 1, |value, by| {
        Ok(Val::array(groups(sorted(value, argument(by, 0))?).into_iter().map(Val::array).collect()))
    }),
    native("unique", 0, |value, _| unique(sorted(value, value)?)),
    native("_unique_by", 1, |value, by| unique(sorted(value, argument(by, 0))?)),
    native("min", 0, |value, _| extreme(value, value, Ordering::is_lt)),
    native("max", 0, |value, _| extreme(value, value, Ordering::is_ge)),
    native("_min_by", 1, |value, by| extreme(value, argument(by, 0), Ordering::is_lt)),
    native("_max_by", 1, |value, by| extreme(value, argument(by, 0), Ordering::is_ge)),
    native("_flatten", 1, |value, depth| {
        let mut flat = Vec::new();
        flatten(&values(value)?, argument(depth, 0).as_f64().unwrap_or(0.0), &mut flat);
        Ok(Val::array(flat))
    }),
    native("to_entries", 0, |value, _| {
        let keys = keys(value, false)?;
        let items = values(value)?.into_iter();
        let pairs = keys_of(&keys).iter().cloned().zip(items);
        Ok(Val::array(pairs.map(|(key, value)| Val::of([("key", key), ("value", value)])).collect()))
    }),
    native("join", 1, |value, with| join(value, argument(with, 0))),
    native("transpose", 0, |value, _| transpose(value)),
];

fn keys_of(keys: &Val) -> &[Val] {
    if let Val::Array(array) = keys { &array.items } else { &[] }
}

fn length(value: &Val, _: &[Val]) -> Result<Val, Stop> {
    Ok(match value {
        Val::Null => Val::count(0),
        Val::Number(number) if number.as_f64() < 0.0 => Val::number(-number.as_f64()),
        Val::Number(_) => value.clone(),
        Val::Text(text) => {
            value.charge_all();
            Val::count(text.chars().count())
        }
        Val::Array(array) => Val::count(array.items.len()),
        Val::Object(object) => Val::count(object.fields.len()),
        Val::Bool(_) => return fail(format!("{} has no length", value.shown())),
    })
}

fn keys(value: &Val, sorted: bool) -> Result<Val, Stop> {
    Ok(match value {
        Val::Array(array) => Val::array((0..array.items.len()).map(Val::count).collect()),
        Val::Object(object) if sorted => {
            value.charge_all();
            Val::array(by_name(&object.fields).into_iter().map(|(key, _)| Val::Text(Arc::clone(key))).collect())
        }
        Val::Object(object) => Val::array(object.fields.keys().map(|key| Val::Text(Arc::clone(key))).collect()),
        other => return fail(format!("{} has no keys", other.shown())),
    })
}

/// What `.[]` gives.
fn values(value: &Val) -> Result<Vec<Val>, Stop> {
    match value {
        Val::Array(array) => {
            fuel::charge(array.items.len());
            Ok(array.items.clone())
        }
        Val::Object(object) => {
            fuel::charge(object.fields.len());
            Ok(object.fields.values().cloned().collect())
        }
        other => fail(format!("Cannot iterate over {}", other.shown())),
    }
}

/// The elements with what they are sorted by, sorted.
fn sorted(value: &Val, by: &Val) -> Result<Vec<(Val, Val)>, Stop> {
    let (Val::Array(items), Val::Array(by)) = (value, by) else {
        return fail(format!("{} cannot be sorted, as it is not an array", value.shown()));
    };
    let mut pairs: Vec<(Val, Val)> = items.items.iter().cloned().zip(by.items.iter().cloned()).collect();
    fuel::charge(pairs.len());
    pairs.sort_by(|(_, x), (_, y)| x.sorted(y));
    Ok(pairs)
}

fn firsts(pairs: Vec<(Val, Val)>) -> Vec<Val> {
    pairs.into_iter().map(|(item, _)| item).collect()
}

fn groups(pairs: Vec<(Val, Val)>) -> Vec<Vec<Val>> {
    let (mut groups, mut last): (Vec<Vec<Val>>, Option<Val>) = (Vec::new(), None);
    for (item, by) in pairs {
        match groups.last_mut().filter(|_| last.as_ref() == Some(&by)) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
        last = Some(by);
    }
    groups
}

fn unique(pairs: Vec<(Val, Val)>) -> Result<Val, Stop> {
    Ok(Val::array(groups(pairs).into_iter().filter_map(|group| group.into_iter().next()).collect()))
}

/// The first of the least, or the last of the greatest.
fn extreme(value: &Val, by: &Val, replaces: fn(Ordering) -> bool) -> Result<Val, Stop> {
    let (Val::Array(items), Val::Array(by)) = (value, by) else {
        return fail(format!("{} cannot be iterated over", value.shown()));
    };
    let mut pairs = items.items.iter().zip(&by.items);
    let Some(mut found) = pairs.next() else { return Ok(Val::Null) };
    for pair in pairs {
        if replaces(pair.1.compare(found.1)) {
            found = pair;
        }
    }
    Ok(found.0.clone())
}

fn flatten(items: &[Val], depth: f64, flat: &mut Vec<Val>) {
    for item in items {
        fuel::charge(1);
        match item {
            Val::Array(inner) if depth != 0.0 => flatten(&inner.items, depth - 1.0, flat),
            other => flat.push(other.clone()),
        }
    }
}

/// null is an empty text; numbers and booleans are written out; anything else is added, which fails.
fn join(value: &Val, with: &Val) -> Result<Val, Stop> {
    let items = values(value)?;
    let (Some(first), Val::Text(between)) = (items.first(), with) else {
        if items.is_empty() {
            return Ok(Val::text(""));
        }
        return slowly_joined(items, with);
    };
    let _ = first;
    let mut text = String::new();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push_str(between);
        }
        match item {
            Val::Null => {}
            Val::Text(item) => text.push_str(item),
            Val::Bool(_) | Val::Number(_) => text.push_str(&super::super::write::text(item)),
            other => return add(Val::text(text), other.clone()),
        }
        fuel::charge(between.len() / super::super::value::PIECE + 1);
        fuel::weigh(super::super::value::weight_of(text.len()));
    }
    Ok(Val::text(text))
}

/// By something that is no text: as jq adds it up.
fn slowly_joined(items: Vec<Val>, with: &Val) -> Result<Val, Stop> {
    let mut sum = Val::Null;
    for item in items {
        let item = match item {
            Val::Bool(_) | Val::Number(_) => Val::text(super::super::write::text(&item)),
            Val::Null => Val::text(""),
            other => other,
        };
        let before = if matches!(sum, Val::Null) { Val::text("") } else { add(sum, with.clone())? };
        sum = add(before, item)?;
    }
    Ok(sum)
}

fn transpose(value: &Val) -> Result<Val, Stop> {
    let rows = values(value)?;
    let mut width = 0;
    for row in &rows {
        let count = length(row, &[])?.as_f64().unwrap_or(0.0);
        width = width.max(crate::mapping::jq::paths::whole(count));
    }
    fuel::charge(width.saturating_mul(rows.len()));
    fuel::weigh(width.saturating_mul(rows.len()));
    let column = |at: usize| -> Result<Val, Stop> {
        let key = Val::number(float(at));
        let items = rows.iter().map(|row| crate::mapping::jq::paths::get(row, &key));
        Ok(Val::array(items.collect::<Result<_, Stop>>()?))
    };
    Ok(Val::array((0..width).map(column).collect::<Result<_, Stop>>()?))
}
