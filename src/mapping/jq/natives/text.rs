//! Strings: cutting, trimming, cases, code points. Pure.

use super::super::value::Val;
use super::{Native, argument, fail, native};
use crate::mapping::fuel;
use crate::mapping::jq::run::Stop;

pub(super) const NATIVES: &[Native] = &[
    native("utf8bytelength", 0, |value, _| match value {
        Val::Text(text) => Ok(Val::count(text.len())),
        other => fail(format!("{} only strings have UTF-8 byte length", other.shown())),
    }),
    native("startswith", 1, |value, part| match (value, argument(part, 0)) {
        (Val::Text(text), Val::Text(part)) => Ok(Val::Bool(text.starts_with(&**part))),
        _ => fail("startswith() requires string inputs"),
    }),
    native("endswith", 1, |value, part| match (value, argument(part, 0)) {
        (Val::Text(text), Val::Text(part)) => Ok(Val::Bool(text.ends_with(&**part))),
        _ => fail("endswith() requires string inputs"),
    }),
    native("ltrimstr", 1, |value, part| Ok(without(value, argument(part, 0), true, false))),
    native("rtrimstr", 1, |value, part| Ok(without(value, argument(part, 0), false, true))),
    native("trimstr", 1, |value, part| Ok(without(value, argument(part, 0), true, true))),
    native("trim", 0, |value, _| trimmed(value, |text| text.trim_matches(is_space))),
    native("ltrim", 0, |value, _| trimmed(value, |text| text.trim_start_matches(is_space))),
    native("rtrim", 0, |value, _| trimmed(value, |text| text.trim_end_matches(is_space))),
    native("ascii_downcase", 0, |value, _| cased(value, str::to_ascii_lowercase)),
    native("ascii_upcase", 0, |value, _| cased(value, str::to_ascii_uppercase)),
    native("explode", 0, |value, _| match value {
        Val::Text(text) => Ok(Val::array(text.chars().map(|c| Val::number(f64::from(u32::from(c)))).collect())),
        other => fail(format!("{} cannot be exploded: explode input must be a string", other.shown())),
    }),
    native("implode", 0, implode),
    native("split", 1, |value, separator| match (value, argument(separator, 0)) {
        (Val::Text(text), Val::Text(separator)) => Ok(split(text, separator)),
        _ => fail("split input and separator must be strings"),
    }),
    native("ascii", 0, |value, _| implode(&Val::array(vec![value.clone()]), &[])),
];

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Anything that is no string, or has no such end, stays as it is.
fn without(value: &Val, part: &Val, start: bool, end: bool) -> Val {
    let (Val::Text(text), Val::Text(part)) = (value, part) else { return value.clone() };
    let rest = text.strip_prefix(&**part).filter(|_| start).unwrap_or(text);
    Val::text(rest.strip_suffix(&**part).filter(|_| end).unwrap_or(rest))
}

fn trimmed(value: &Val, trim: fn(&str) -> &str) -> Result<Val, Stop> {
    match value {
        Val::Text(text) => Ok(Val::text(trim(text))),
        other => fail(format!("{} cannot be trimmed: trim input must be a string", other.shown())),
    }
}

fn cased(value: &Val, change: fn(&str) -> String) -> Result<Val, Stop> {
    match value {
        Val::Text(text) => Ok(Val::text(change(text))),
        _ => fail("explode input must be a string"),
    }
}

fn implode(value: &Val, _: &[Val]) -> Result<Val, Stop> {
    let Val::Array(codes) = value else { return fail("implode input must be an array") };
    fuel::charge(codes.items.len());
    let character = |code: &Val| {
        let number = code.as_f64().filter(|number| !number.is_nan());
        let number = number.ok_or_else(|| {
            super::super::run::error(format!(
                "{} can't be imploded, unicode codepoint needs to be numeric",
                code.shown()
            ))
        })?;
        let point = if number < 0.0 { None } else { u32::try_from(crate::mapping::jq::paths::whole(number)).ok() };
        Ok(point.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER))
    };
    Ok(Val::text(codes.items.iter().map(character).collect::<Result<String, Stop>>()?))
}

/// At each separator; without one between all characters.
pub(super) fn split(text: &str, separator: &str) -> Val {
    fuel::charge(text.len());
    match (text, separator) {
        ("", _) => Val::array(Vec::new()),
        (text, "") => Val::array(text.chars().map(|c| Val::text(c.to_string())).collect()),
        (text, separator) => Val::array(text.split(separator).map(Val::text).collect()),
    }
}
