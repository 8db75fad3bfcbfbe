//! Types, conversions, and errors. Pure.

use super::super::term::Format;
use super::super::value::Val;
use super::super::{paths, read, write};
use super::{Native, argument, fail, format, names, native};
use crate::mapping::jq::run::Stop;

pub(super) const NATIVES: &[Native] = &[
    native("tojson", 0, |value, _| Ok(Val::text(write::text(value)))),
    native("fromjson", 0, |value, _| match value {
        Val::Text(text) if text.trim().is_empty() => fail("cannot parse as JSON: there is nothing in it"),
        Val::Text(text) => read::read(text).or_else(|said| fail(format!("cannot parse as JSON: {said}"))),
        other => fail(format!("{} only strings can be parsed", other.shown())),
    }),
    native("tostring", 0, |value, _| match value {
        Val::Text(_) => Ok(value.clone()),
        other => Ok(Val::text(write::text(other))),
    }),
    native("tonumber", 0, |value, _| match value {
        Val::Number(_) => Ok(value.clone()),
        Val::Text(text) => match read::read(text) {
            Ok(number @ Val::Number(_)) => Ok(number),
            Ok(_) | Err(_) => fail(format!("{} cannot be parsed as a number", value.shown())),
        },
        other => fail(format!("{} cannot be parsed as a number", other.shown())),
    }),
    native("toboolean", 0, |value, _| match value {
        Val::Bool(_) => Ok(value.clone()),
        Val::Text(text) if &**text == "true" => Ok(Val::Bool(true)),
        Val::Text(text) if &**text == "false" => Ok(Val::Bool(false)),
        other => fail(format!("{} cannot be parsed as a boolean", other.shown())),
    }),
    native("toarray", 0, |value, _| match value {
        Val::Array(_) => Ok(value.clone()),
        other => Ok(Val::array(vec![other.clone()])),
    }),
    native("format", 1, |value, name| match argument(name, 0) {
        Val::Text(name) => match Format::named(name) {
            Some(format) => format::apply(format, value),
            None => fail(format!("{name} is not a valid format")),
        },
        other => fail(format!("{} is not a valid format", other.shown())),
    }),
    native("type", 0, |value, _| Ok(Val::text(value.kind()))),
    native("not", 0, |value, _| Ok(Val::Bool(!value.is_true()))),
    native("error", 0, |value, _| Err(Stop::Error(value.clone()))),
    native("error", 1, |_, arguments| Err(Stop::Error(argument(arguments, 0).clone()))),
    native("setpath", 2, |value, arguments| match argument(arguments, 0) {
        Val::Array(path) => paths::set(value.clone(), &path.items, argument(arguments, 1)),
        _ => fail("Path must be specified as an array"),
    }),
    native("delpaths", 1, |value, arguments| {
        let Val::Array(found) = argument(arguments, 0) else { return fail("Paths must be specified as an array") };
        let keys = found.items.iter().map(|path| match path {
            Val::Array(path) => Ok(path.items.clone()),
            other => fail(format!("Path must be specified as array, not {}", other.kind())),
        });
        paths::delete(value.clone(), keys.collect::<Result<_, Stop>>()?)
    }),
    native("have_literal_numbers", 0, |_, _| Ok(Val::Bool(true))),
    native("have_decnum", 0, |_, _| Ok(Val::Bool(true))),
    native("builtins", 0, |_, _| Ok(Val::array(names().map(Val::text).collect()))),
];
