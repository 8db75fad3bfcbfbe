//! How expressions reach into values and change what is there: `.[k]`, `.[a:b]`, `.[]` and their updates. Pure.

use std::collections::BTreeMap;
use std::rc::Rc;

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{Error, Exn, ValR, ValT, ValX};

use super::fuel;
use super::number::Number;
use super::operations::{own_fields, own_items};
use super::value::{PIECE, Val};

type Failure = Error<Val>;

impl ValT for Val {
    fn from_num(text: &str) -> ValR<Self> {
        Number::parse(text).map(Self::Number).ok_or_else(|| Error::str(format_args!("{text:?} is not a number")))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(fields: I) -> ValR<Self> {
        let fields = fields.into_iter().inspect(|_| fuel::charge(2)).map(|(key, value)| Ok((key.into_key()?, value)));
        Ok(Self::object(fields.collect::<Result<BTreeMap<_, _>, Failure>>()?))
    }

    fn key_values(self) -> BoxIter<'static, ValR<(Self, Self), Self>> {
        match self {
            Self::Array(array) => {
                Box::new(own_items(array).items.into_iter().enumerate().map(|(at, item)| Ok((Self::from(at), item))))
            }
            Self::Object(object) => Box::new(
                own_fields(object).fields.into_iter().map(|(key, value)| Ok((Self::Text(key), value))).inspect(paid),
            ),
            other @ (Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_)) => {
                box_once(Err(not_iterable(other)))
            }
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        match self {
            Self::Array(array) => Box::new(own_items(array).items.into_iter().map(Ok).inspect(paid)),
            Self::Object(object) => Box::new(own_fields(object).fields.into_values().map(Ok).inspect(paid)),
            other @ (Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_)) => {
                box_once(Err(not_iterable(other)))
            }
        }
    }

    fn index(self, index: &Self) -> ValR<Self> {
        match (&self, index) {
            (Self::Text(_) | Self::Array(_), Self::Object(range)) => {
                self.share().range(range.fields.get("start")..range.fields.get("end"))
            }
            (Self::Array(array), Self::Array(part)) => Ok(super::natives::positions(array, part)),
            (value, index) => match value.at(index) {
                Some(found) => Ok(found.unwrap_or(Self::Null)),
                None => Err(Error::index(self, index.clone())),
            },
        }
    }

    fn range(self, range: Range<&Self>) -> ValR<Self> {
        let (start, end) = (bound(range.start)?, bound(range.end)?);
        self.charge_all();
        match &self {
            Self::Text(text) => {
                let (skip, take) = cut(start, end, text.chars().count());
                Ok(Self::text(text.chars().skip(skip).take(take).collect::<String>()))
            }
            Self::Array(array) => {
                let (skip, take) = cut(start, end, array.items.len());
                Ok(array.items.iter().skip(skip).take(take).map(Self::share).collect())
            }
            Self::Null => Ok(Self::Null),
            Self::Bool(_) | Self::Number(_) | Self::Object(_) => Err(Error::typ(self, "array or string")),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        match self {
            Self::Array(array) => own_items(array).items.into_iter().flat_map(f).collect(),
            Self::Object(object) => {
                let fields = own_fields(object).fields.into_iter();
                let kept = fields.filter_map(|(key, value)| f(value).next().map(|value| Ok((key, value?))));
                Ok(Self::object(kept.collect::<Result<_, Exn<'a, Self>>>()?))
            }
            other @ (Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_)) => {
                opt.fail(other, |other| Exn::from(not_iterable(other)))
            }
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match (self, index) {
            (value @ (Self::Text(_) | Self::Array(_)), Self::Object(range)) => {
                value.map_range(range.fields.get("start")..range.fields.get("end"), opt, f)
            }
            (Self::Null, Self::Text(_)) => Self::object(BTreeMap::new()).map_index(index, opt, f),
            (Self::Object(object), Self::Text(key)) => {
                let mut fields = own_fields(object).fields;
                let old = fields.remove(key).unwrap_or(Self::Null);
                if let Some(new) = f(old).next().transpose()? {
                    fields.insert(Rc::clone(key), new);
                }
                fuel::charge(fields.len());
                Ok(Self::object(fields))
            }
            (Self::Array(array), Self::Number(number)) => {
                let Some(at) = number.as_index().and_then(|at| wrapped(at, array.items.len())) else {
                    let whole = Self::Array(array);
                    return opt.fail(whole, |_| Exn::from(Error::str(format_args!("index {number} out of bounds"))));
                };
                let mut items = own_items(array).items;
                let old = items.remove(at);
                if let Some(new) = f(old).next().transpose()? {
                    items.insert(at, new);
                }
                fuel::charge(items.len());
                Ok(Self::array(items))
            }
            (other, index) => opt.fail(other, |other| Exn::from(Error::index(other, index.share()))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        let ends = bound(range.start).and_then(|start| Ok((start, bound(range.end)?)));
        match (self, ends) {
            (Self::Array(array), Ok((start, end))) => {
                let (skip, take) = cut(start, end, array.items.len());
                let part = array.items.iter().skip(skip).take(take).map(Self::share).collect();
                let new = match f(part).next().transpose()? {
                    None => Vec::new(),
                    Some(Self::Array(new)) => own_items(new).items,
                    Some(other) => return Err(Exn::from(Error::typ(other, "array"))),
                };
                let mut items = own_items(array).items;
                items.splice(skip..skip + take, new);
                fuel::charge(items.len());
                Ok(Self::array(items))
            }
            (value, Ok(_)) => opt.fail(value, |value| Exn::from(Error::typ(value, "array"))),
            (value, Err(error)) => opt.fail(value, |_| Exn::from(error)),
        }
    }

    fn as_bool(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    fn into_string(self) -> Self {
        if let Self::Text(_) = self { self } else { Self::text(self.to_string()) }
    }
}

fn paid<T>(_: &T) {
    fuel::charge(1);
}

impl Val {
    /// What stands at an index: `None` where there can be nothing, `Some(None)` where there is nothing.
    pub fn at(&self, index: &Self) -> Option<Option<Self>> {
        match (self, index) {
            (Self::Null, Self::Null | Self::Text(_) | Self::Number(_) | Self::Object(_)) => Some(None),
            (Self::Object(object), Self::Text(key)) => {
                fuel::charge(1 + key.len() / PIECE);
                Some(object.fields.get(key).map(Self::share))
            }
            (Self::Array(array), Self::Number(number)) => {
                let at = number.as_index().and_then(|at| wrapped(at, array.items.len()));
                Some(at.and_then(|at| array.items.get(at)).map(Self::share))
            }
            (_, _) => None,
        }
    }

    fn into_key(self) -> Result<Rc<str>, Failure> {
        if let Self::Text(key) = self { Ok(key) } else { Err(Error::typ(self, "object key")) }
    }
}

fn not_iterable(value: Val) -> Failure {
    Error::typ(value, "iterable (array or object)")
}

/// One end of a range, where it is given.
fn bound(end: Option<&Val>) -> Result<Option<isize>, Failure> {
    match end {
        None | Some(Val::Null) => Ok(None),
        Some(Val::Number(number)) => {
            // Past either end is the end.
            Ok(Some(number.as_index().unwrap_or(if number.as_f64() < 0.0 { isize::MIN } else { isize::MAX })))
        }
        Some(other) => Err(Error::typ(other.share(), "integer")),
    }
}

/// How many to skip and to take of `length`; a negative end counts from behind.
fn cut(start: Option<isize>, end: Option<isize>, length: usize) -> (usize, usize) {
    let from = |end: isize| {
        let far = end.unsigned_abs();
        if end < 0 { length.saturating_sub(far) } else { far.min(length) }
    };
    let start = start.map_or(0, from);
    (start, end.map_or(length, from).saturating_sub(start))
}

/// The position that an index means, where there is one.
fn wrapped(index: isize, length: usize) -> Option<usize> {
    let far = index.unsigned_abs();
    let at = if index < 0 { length.checked_sub(far) } else { Some(far) };
    at.filter(|at| *at < length)
}
