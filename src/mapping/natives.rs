//! The filters that are written in Rust: those of the jq crate without the ones that reach outside (environment, time zone,
//! clock, logs), and those that need to know how values are made. Pure.

use jaq_core::load::parse::Def;
use jaq_core::native::{Fun, bome, run, unary, v};
use jaq_core::{Bind, Error, ValR};
use jaq_std::ValT;
use jiff::fmt::strtime;
use serde_json::Value;

use super::expression::Jq;
use super::fuel;
use super::number::Number;
use super::operations::own_items;
use super::pattern;
use super::value::{Array, PIECE, Val};

/// What reaches outside, would end the process, or is done here instead.
const LEFT_OUT: [&str; 14] = [
    "env",
    "now",
    "localtime",
    "strflocaltime",
    "halt",
    "halt_error",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
    "matches",
    "split_matches",
    "split_",
    "strptime",
];

/// Definitions in jq that the crates above rely on the value's own crate for.
const OWN: &str = r#"
def totype(p; e): if p then . else fromjson | if p then . else e end end;
def tonumber: totype(isnumber; error("cannot parse as number"));
def toboolean: totype(isboolean; error("cannot parse as boolean"));
def transpose: [range([.[] | length] | max) as $i | [.[][$i]]];
def in(xs): . as $x | xs | has($x);
def inside(xs): . as $x | xs | contains($x);
def index($i): indices($i)[0];
def rindex($i): indices($i)[-1];
def ascii: [.] | implode;
def @json: tojson;
def @csv: [.[] | if isstring then "\"" + gsub("\""; "\"\"") + "\"" elif . == null then "" else tostring end] | join(",");
def @tsv: [.[] | if isstring then gsub("\\\\"; "\\\\") | gsub("\t"; "\\t") | gsub("\n"; "\\n") | gsub("\r"; "\\r") elif . == null then "" else tostring end] | join("\t");
"#;

/// Every definition in jq.
pub(super) fn definitions() -> impl Iterator<Item = Def<&'static str>> {
    let own = jaq_core::load::parse(OWN, |parser| parser.defs()).unwrap_or_default();
    jaq_core::defs().chain(jaq_std::defs()).filter(|def| !LEFT_OUT.contains(&def.name)).chain(own)
}

/// Every filter in Rust.
pub(super) fn functions() -> impl Iterator<Item = Fun<Jq>> {
    let others = jaq_core::funs::<Jq>().chain(jaq_std::funs::<Jq>());
    others.filter(|(name, _, _)| !LEFT_OUT.contains(name)).chain(own())
}

fn own() -> impl Iterator<Item = Fun<Jq>> {
    let text_and_flags = || [Bind::Var(()), Bind::Var(())].into();
    [
        run::<Jq>(("tojson", v(0), |cv| bome(Ok(Val::text(cv.1.to_string()))))),
        run(("fromjson", v(0), |cv| bome(from_json(&cv.1)))),
        run(("length", v(0), |cv| bome(length(cv.1)))),
        run(("contains", v(1), |cv| unary(cv, |whole, part| Ok(Val::Bool(contains(&whole, &part)))))),
        run(("has", v(1), |cv| unary(cv, has))),
        run(("indices", v(1), |cv| unary(cv, indices))),
        run(("strptime", v(1), |cv| unary(cv, |text, format| parsed_time(&text, &format)))),
        run(("matches", text_and_flags(), |cv| bome(pattern::matches(cv, false, true)))),
        run(("split_matches", text_and_flags(), |cv| bome(pattern::matches(cv, true, true)))),
        run(("split_", text_and_flags(), |cv| bome(pattern::matches(cv, true, false)))),
    ]
    .into_iter()
}

fn from_json(value: &Val) -> ValR<Val> {
    let Val::Text(text) = value else { return Err(Error::typ(value.share(), "string")) };
    fuel::charge(text.len());
    match serde_json::from_str::<Value>(text) {
        Ok(value) => Ok(Val::of(&value)),
        Err(error) => Err(Error::str(format_args!("cannot parse as JSON: {error}"))),
    }
}

/// Broken down as jq does: year, month from 0, day, hour, minute, second, day of the week from Sunday, day of the year from 0.
/// Without an offset in the text it is UTC. A zone's name would have to be looked up in a file.
fn parsed_time(text: &Val, format: &Val) -> ValR<Val> {
    let (Val::Text(text), Val::Text(format)) = (text, format) else {
        return Err(Error::str("strptime takes a string and a format"));
    };
    if format.contains('Q') {
        return Err(Error::str("strptime reads no names of time zones"));
    }
    let mut parts = strtime::parse(&**format, &**text).map_err(Error::str)?;
    if parts.offset().is_none() {
        parts.set_offset(Some(jiff::tz::Offset::UTC));
    }
    let time = parts.to_zoned().map_err(Error::str)?;
    let numbers =
        [time.year(), i16::from(time.month()) - 1, time.day().into(), time.hour().into(), time.minute().into()];
    let last = [time.second().into(), time.weekday().to_sunday_zero_offset().into(), time.day_of_year() - 1];
    Ok(numbers.into_iter().chain(last).map(|number| Val::Number(Number::Whole(number.into()))).collect())
}

fn length(value: Val) -> ValR<Val> {
    match &value {
        Val::Null => Ok(Val::from(0_usize)),
        Val::Number(number) if number.as_f64() < 0.0 => Ok(Val::Number(Number::Whole(0).minus(*number))),
        Val::Number(_) => Ok(value),
        Val::Text(text) => {
            value.charge_all();
            Ok(Val::from(text.chars().count()))
        }
        Val::Array(array) => Ok(Val::from(array.items.len())),
        Val::Object(object) => Ok(Val::from(object.fields.len())),
        Val::Bool(_) => Err(Error::str(format_args!("{value} has no length"))),
    }
}

fn contains(whole: &Val, part: &Val) -> bool {
    match (whole, part) {
        (Val::Text(whole), Val::Text(part)) => {
            fuel::charge((whole.len() + part.len()) / PIECE);
            whole.contains(&**part)
        }
        (Val::Array(whole), Val::Array(parts)) => parts.items.iter().all(|part| {
            fuel::charge(1);
            whole.items.iter().any(|item| contains(item, part))
        }),
        (Val::Object(whole), Val::Object(parts)) => parts.fields.iter().all(|(key, part)| {
            fuel::charge(1);
            whole.fields.get(key).is_some_and(|value| contains(value, part))
        }),
        (whole, part) => whole == part,
    }
}

fn has(value: Val, key: Val) -> ValR<Val> {
    match value.at(&key) {
        Some(found) => Ok(Val::Bool(found.is_some())),
        None => Err(Error::index(value, key)),
    }
}

fn indices(value: Val, part: Val) -> ValR<Val> {
    match (&value, &part) {
        (Val::Null, _) => Ok(Val::Null),
        (Val::Text(text), Val::Text(part)) => {
            fuel::charge(text.len().saturating_mul(1 + part.len() / PIECE));
            if part.is_empty() {
                return Ok(Val::array(Vec::new()));
            }
            let starts = text.char_indices().enumerate();
            let found = starts.filter(|(_, (byte, _))| text.get(*byte..).is_some_and(|rest| rest.starts_with(&**part)));
            Ok(found.map(|(at, _)| Val::from(at)).collect())
        }
        (Val::Array(array), Val::Array(part)) => Ok(positions(array, part)),
        (Val::Array(array), item) => {
            Ok(array.items.iter().enumerate().filter(|(_, x)| *x == item).map(|(at, _)| Val::from(at)).collect())
        }
        _ => Err(Error::index(value, part)),
    }
}

/// Where `part` stands in `array`.
pub(super) fn positions(array: &Array, part: &Array) -> Val {
    if part.items.is_empty() {
        return Val::array(Vec::new());
    }
    let windows = array.items.windows(part.items.len()).enumerate();
    windows.filter(|(_, window)| *window == part.items).map(|(at, _)| Val::from(at)).collect()
}

impl ValT for Val {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        let Self::Array(array) = self else { return Err(self) };
        Ok(own_items(array).items.into_iter().inspect(|_| fuel::charge(1)).collect())
    }

    fn is_int(&self) -> bool {
        matches!(self, Self::Number(Number::Whole(_)))
    }

    fn as_isize(&self) -> Option<isize> {
        // The crate counts times in millionths of a second without looking whether they fit: larger numbers are dealt with as floats.
        let Self::Number(Number::Whole(whole)) = self else { return None };
        isize::try_from(*whole).ok().filter(|whole| whole.checked_mul(1_000_000).is_some())
    }

    fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(number.as_f64()) } else { None }
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        let Self::Text(text) = self else { return None };
        self.charge_all();
        Some(text.as_bytes())
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        Self::text(String::from_utf8_lossy(part))
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::text(String::from_utf8_lossy(bytes.as_ref()))
    }
}
