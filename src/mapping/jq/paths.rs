//! What stands at a key or path of a value, and changing it: `.[k]`, `.[a:b]`, `setpath`, `delpaths`. Pure.

use std::sync::Arc;

use super::run::Stop;
use super::value::{Array, Fields, Object, PIECE, Size, Val, float, key_size, own_fields, own_items};
use crate::mapping::fuel;

fn error(said: impl AsRef<str>) -> Stop {
    Stop::Error(Val::text(said.as_ref()))
}

fn cannot_index(value: &Val, key: &Val) -> Stop {
    error(match key {
        Val::Text(name) => format!("Cannot index {} with string \"{name}\"", value.kind()),
        key => format!("Cannot index {} with {}", value.kind(), key.kind()),
    })
}

/// What stands there: null where nothing does.
pub(in crate::mapping::jq) fn get(value: &Val, key: &Val) -> Result<Val, Stop> {
    Ok(match (value, key) {
        (Val::Object(object), Val::Text(name)) => {
            fuel::charge(1 + name.len() / PIECE);
            object.fields.get(name).cloned().unwrap_or(Val::Null)
        }
        (Val::Array(array), Val::Number(number)) => {
            let at = place(number.as_f64(), array.items.len());
            at.and_then(|at| array.items.get(at)).cloned().unwrap_or(Val::Null)
        }
        (Val::Null, Val::Text(_) | Val::Number(_) | Val::Object(_)) => Val::Null,
        (Val::Array(_) | Val::Text(_), Val::Object(range)) => slice(value, &range.fields)?,
        (Val::Array(array), Val::Array(part)) => super::natives::search::positions(&array.items, &part.items),
        (value, key) => return Err(cannot_index(value, key)),
    })
}

/// The element that a number means, where there may be one.
fn place(index: f64, length: usize) -> Option<usize> {
    let index = index.trunc();
    let at = if index < 0.0 { index + float(length) } else { index };
    (at >= 0.0 && at < float(length)).then(|| whole(at))
}

#[expect(clippy::as_conversions, reason = "cuts what is behind the point, and saturates")]
pub(in crate::mapping::jq) fn whole(number: f64) -> usize {
    number as usize
}

/// From which element to which: jq rounds the start down and the end up, and counts negative ends from behind.
fn bounds(range: &Fields, length: usize) -> Result<(usize, usize), Stop> {
    let wrong = || error("Array/string slice indices must be integers");
    let end = |name: &str, missing: f64| match range.get(name) {
        None | Some(Val::Null) => Ok(missing),
        Some(Val::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(wrong()),
    };
    if !range.contains_key("start") && !range.contains_key("end") {
        return Err(wrong());
    }
    let length = float(length);
    let (start, end) = (end("start", 0.0)?, end("end", length)?);
    let from_behind = |end: f64| if end < 0.0 { end + length } else { end };
    let start = if start.is_nan() { 0.0 } else { from_behind(start).clamp(0.0, length).floor() };
    let end = if end.is_nan() { length } else { from_behind(end).clamp(0.0, length).ceil().max(start) };
    Ok((whole(start), whole(end)))
}

fn slice(value: &Val, range: &Fields) -> Result<Val, Stop> {
    match value {
        Val::Text(text) => {
            fuel::charge(text.len() / PIECE);
            let (start, end) = bounds(range, text.chars().count())?;
            let byte = |nth: usize| text.char_indices().nth(nth).map_or(text.len(), |(at, _)| at);
            Ok(Val::text(text.get(byte(start)..byte(end)).unwrap_or("")))
        }
        Val::Array(array) => {
            let (start, end) = bounds(range, array.items.len())?;
            Ok(Val::array(array.items.get(start..end).unwrap_or(&[]).to_vec()))
        }
        other => Ok(other.clone()),
    }
}

/// What stands at the end of a path.
pub(in crate::mapping::jq) fn walk(value: &Val, path: &[Val]) -> Result<Val, Stop> {
    path.iter().try_fold(value.clone(), |value, key| match value {
        Val::Null => Ok(Val::Null),
        value => get(&value, key),
    })
}

/// What is done with a value in its place.
type Then<'t> = &'t mut dyn FnMut(&mut Val) -> Result<(), Stop>;

/// The value with something set at a path.
pub(in crate::mapping::jq) fn set(mut value: Val, path: &[Val], new: &Val) -> Result<Val, Stop> {
    modify(&mut value, path, &mut |slot| {
        *slot = new.clone();
        Ok(())
    })?;
    Ok(value)
}

/// Takes what stands at a path, so that it can be changed without a copy. Null is left there.
pub(in crate::mapping::jq) fn take(value: &mut Val, path: &[Val]) -> Result<Val, Stop> {
    let old = walk(value, path)?;
    let is_whole = !path.iter().any(|key| matches!(key, Val::Object(_) | Val::Array(_)));
    if is_whole && matches!(old, Val::Array(_) | Val::Object(_)) {
        modify(value, path, &mut |slot| {
            *slot = Val::Null;
            Ok(())
        })?;
    }
    Ok(old)
}

/// Changes what stands at a path, in its place; what is missing on the way is made.
pub(in crate::mapping::jq) fn modify(value: &mut Val, path: &[Val], then: Then<'_>) -> Result<(), Stop> {
    let Some((key, rest)) = path.split_first() else { return then(value) };
    match (&mut *value, key) {
        (Val::Null, Val::Text(_)) => *value = Val::object(Fields::default()),
        (Val::Null, Val::Number(_)) => *value = Val::array(Vec::new()),
        (_, _) => {}
    }
    match (value, key) {
        (Val::Object(object), Val::Text(name)) => field(object, name, rest, then),
        (Val::Array(array), Val::Number(number)) => element(array, number.as_f64(), rest, then),
        (value @ (Val::Null | Val::Array(_)), Val::Object(range)) => part(value, &range.fields, rest, then),
        (Val::Text(_), Val::Object(_)) => Err(error("Cannot update string slices")),
        (Val::Array(_), Val::Array(_)) => Err(error("Cannot update field at array index of array")),
        (value, key) => Err(cannot_index(value, key)),
    }
}

fn field(object: &mut Arc<Object>, name: &Arc<str>, rest: &[Val], then: Then<'_>) -> Result<(), Stop> {
    if Arc::strong_count(object) > 1 {
        fuel::charge(object.fields.len().saturating_mul(2));
    }
    let object = Arc::make_mut(object);
    if let Some(slot) = object.fields.get_mut(name) {
        let before = slot.size();
        modify(slot, rest, then)?;
        object.size = object.size.with(before, slot.size());
        return Ok(());
    }
    let mut new = Val::Null;
    modify(&mut new, rest, then)?;
    object.size = object.size.with(Size::NONE, key_size(name)).with(Size::NONE, new.size());
    object.fields.insert(Arc::clone(name), new);
    Ok(())
}

fn element(array: &mut Arc<Array>, index: f64, rest: &[Val], then: Then<'_>) -> Result<(), Stop> {
    if index.is_nan() {
        return Err(error("Cannot set array element at NaN index"));
    }
    let index = if index < 0.0 { index.trunc() + float(array.items.len()) } else { index };
    if index < 0.0 {
        // What is wrong further on is told first, as jq does.
        modify(&mut Val::Null, rest, then)?;
        return Err(error("Out of bounds negative array index"));
    }
    if Arc::strong_count(array) > 1 {
        fuel::charge(array.items.len());
    }
    let (at, array) = (whole(index), Arc::make_mut(array));
    if at >= array.items.len() {
        fuel::weigh(at);
        let added = at + 1 - array.items.len();
        fuel::charge(added);
        array.size = array.size.with(Size::NONE, Size { weight: added, depth: 0 });
        array.items.resize(at + 1, Val::Null);
    }
    let Some(slot) = array.items.get_mut(at) else { return Ok(()) };
    let before = slot.size();
    modify(slot, rest, then)?;
    array.size = array.size.with(before, slot.size());
    Ok(())
}

fn part(value: &mut Val, range: &Fields, rest: &[Val], then: Then<'_>) -> Result<(), Stop> {
    let mut new = if matches!(value, Val::Null) { Val::Null } else { slice(value, range)? };
    modify(&mut new, rest, then)?;
    let Val::Array(new) = new else { return Err(error("A slice of an array can only be assigned another array")) };
    let old = std::mem::replace(value, Val::Null);
    let mut items = if let Val::Array(array) = old { own_items(array) } else { Vec::new() };
    let (start, end) = bounds(range, items.len())?;
    items.splice(start..end, new.items.iter().cloned());
    *value = Val::array(items);
    Ok(())
}

/// The value without what stands at these paths.
pub(in crate::mapping::jq) fn delete(value: Val, paths: Vec<Vec<Val>>) -> Result<Val, Stop> {
    if paths.iter().any(Vec::is_empty) {
        return Ok(Val::Null);
    }
    let mut paths = paths;
    paths.sort_by(|x, y| Val::array(x.clone()).sorted(&Val::array(y.clone())));
    without(value, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Paths in order, none of them empty.
fn without(mut value: Val, paths: &[&[Val]]) -> Result<Val, Stop> {
    let mut gone: Vec<&Val> = Vec::new();
    let mut at = 0;
    while let Some((key, rest)) = paths.get(at).and_then(|path| path.split_first()) {
        let same = |path: &&&[Val]| path.first().is_some_and(|other| other == key);
        let count = paths.iter().skip(at).take_while(same).count().max(1);
        let below: Vec<&[Val]> = paths.iter().skip(at).take(count).filter_map(|path| path.get(1..)).collect();
        at += count;
        if rest.is_empty() || below.iter().any(|below| below.is_empty()) {
            gone.push(key);
        } else {
            value = within(value, key, &below)?;
        }
    }
    if gone.is_empty() { Ok(value) } else { removed(value, &gone) }
}

/// Deletes below a key, where there is something.
fn within(mut value: Val, key: &Val, below: &[&[Val]]) -> Result<Val, Stop> {
    if matches!(get(&value, key)?, Val::Null) {
        return Ok(value);
    }
    modify(&mut value, std::slice::from_ref(key), &mut |slot| {
        let old = std::mem::replace(slot, Val::Null);
        *slot = without(old, below)?;
        Ok(())
    })?;
    Ok(value)
}

/// Deletes keys of one value at once, all meant as it stands before.
fn removed(value: Val, keys: &[&Val]) -> Result<Val, Stop> {
    match value {
        Val::Null => Ok(Val::Null),
        Val::Object(object) => {
            let mut fields = own_fields(object);
            for key in keys {
                let Val::Text(name) = key else {
                    return Err(error(format!("Cannot delete field at object index of {}", key.kind())));
                };
                if keys.len() == 1 {
                    fields.shift_remove(name);
                }
            }
            if keys.len() > 1 {
                let names: std::collections::BTreeSet<&str> =
                    keys.iter().filter_map(|key| key.as_text()).map(|name| &**name).collect();
                fields.retain(|name, _| !names.contains(&**name));
            }
            Ok(Val::object(fields))
        }
        Val::Array(array) => {
            let mut items: Vec<Option<Val>> = own_items(array).into_iter().map(Some).collect();
            for key in keys {
                let (start, end) = match key {
                    Val::Number(number) => match place(number.as_f64(), items.len()) {
                        Some(at) => (at, at + 1),
                        None => continue,
                    },
                    Val::Object(range) => bounds(&range.fields, items.len())?,
                    Val::Text(_) => return Err(error("Cannot delete field at object index of array")),
                    other => return Err(error(format!("Cannot delete field at array index of {}", other.kind()))),
                };
                items.get_mut(start..end).unwrap_or(&mut []).fill(None);
            }
            Ok(Val::array(items.into_iter().flatten().collect()))
        }
        other => Err(error(format!("Cannot delete fields from {}", other.kind()))),
    }
}
