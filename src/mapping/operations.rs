//! What the interpreter asks of a value: operators, access and updates, each charged for what it touches. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::ops::Math;
use jaq_core::val::Range;
use jaq_core::{Error, ValR};

use super::fuel;
use super::number::Number;
use super::value::{Array, Object, Size, Val, weight_of};

impl From<bool> for Val {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<isize> for Val {
    fn from(number: isize) -> Self {
        // Never out of range: a machine word is at most 64 bits.
        Self::Number(i128::try_from(number).map_or(Number::Float(f64::NAN), Number::Whole))
    }
}

impl From<usize> for Val {
    fn from(number: usize) -> Self {
        Self::Number(i128::try_from(number).map_or(Number::Float(f64::NAN), Number::Whole))
    }
}

impl From<f64> for Val {
    fn from(number: f64) -> Self {
        Self::Number(Number::calculated(number))
    }
}

impl From<String> for Val {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Range<Self>> for Val {
    fn from(range: Range<Self>) -> Self {
        let ends = [("start", range.start), ("end", range.end)];
        Self::object(ends.into_iter().filter_map(|(key, end)| Some((Rc::from(key), end?))).collect())
    }
}

impl FromIterator<Self> for Val {
    fn from_iter<I: IntoIterator<Item = Self>>(items: I) -> Self {
        Self::array(items.into_iter().inspect(|_| fuel::charge(1)).collect())
    }
}

/// Equal, by jq's order of values.
impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Val {}

/// As `<` and its like see it: NaN is less than everything, itself included.
#[expect(clippy::non_canonical_partial_ord_impl, reason = "in jq NaN is less than itself, which no sound order allows")]
impl PartialOrd for Val {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(x), Self::Number(y)) if x.is_nan() && y.is_nan() => Some(Ordering::Less),
            (x, y) => Some(x.cmp(y)),
        }
    }
}

impl Ord for Val {
    fn cmp(&self, other: &Self) -> Ordering {
        fuel::charge(self.size().weight.min(other.size().weight));
        self.order(other)
    }
}

/// Takes a shared value, or copies it, which is charged.
pub(super) fn own_items(array: Rc<Array>) -> Array {
    Rc::try_unwrap(array).unwrap_or_else(|array| {
        fuel::charge(array.items.len());
        Array { items: array.items.iter().map(Val::share).collect(), size: array.size }
    })
}

pub(super) fn own_fields(object: Rc<Object>) -> Object {
    Rc::try_unwrap(object).unwrap_or_else(|object| {
        fuel::charge(object.fields.len().saturating_mul(2));
        let fields = object.fields.iter().map(|(key, value)| (Rc::clone(key), value.share()));
        Object { fields: fields.collect(), size: object.size }
    })
}

impl Add for Val {
    type Output = ValR<Self>;

    fn add(self, other: Self) -> Self::Output {
        Ok(match (self, other) {
            (Self::Null, value) | (value, Self::Null) => value,
            (Self::Number(x), Self::Number(y)) => Self::Number(x.plus(y)),
            (Self::Text(x), Self::Text(y)) => {
                fuel::weigh(weight_of(x.len() + y.len()));
                Self::text([&*x, &*y].concat())
            }
            (Self::Array(x), Self::Array(y)) => {
                fuel::charge(y.items.len());
                let size = x.size.and(y.size);
                let mut items = own_items(x).items;
                items.extend(y.items.iter().map(Self::share));
                Self::Array(Rc::new(Array { items, size }))
            }
            (Self::Object(x), Self::Object(y)) => {
                fuel::charge(y.fields.len().saturating_mul(2));
                let Object { mut fields, mut size } = own_fields(x);
                for (key, value) in &y.fields {
                    size = put(&mut fields, size, Rc::clone(key), value.share());
                }
                Self::Object(Rc::new(Object { fields, size }))
            }
            (x, y) => return Err(Error::math(x, Math::Add, y)),
        })
    }
}

/// Sets a field; returns the object's new size.
fn put(fields: &mut BTreeMap<Rc<str>, Val>, size: Size, key: Rc<str>, value: Val) -> Size {
    let added = Size { depth: value.size().depth + 1, ..value.size() };
    let named = Size { weight: weight_of(key.len()), depth: 0 };
    match fields.insert(key, value) {
        Some(old) => Size { weight: size.weight.saturating_sub(old.size().weight), ..size }.and(added),
        None => size.and(added).and(named),
    }
}

impl Sub for Val {
    type Output = ValR<Self>;

    fn sub(self, other: Self) -> Self::Output {
        Ok(match (self, other) {
            (Self::Number(x), Self::Number(y)) => Self::Number(x.minus(y)),
            (Self::Array(x), Self::Array(y)) => {
                let taken: std::collections::BTreeSet<&Self> = y.items.iter().collect();
                Self::array(own_items(x).items.into_iter().filter(|item| !taken.contains(item)).collect())
            }
            (x, y) => return Err(Error::math(x, Math::Sub, y)),
        })
    }
}

impl Mul for Val {
    type Output = ValR<Self>;

    fn mul(self, other: Self) -> Self::Output {
        Ok(match (self, other) {
            (Self::Number(x), Self::Number(y)) => Self::Number(x.times(y)),
            (Self::Text(text), Self::Number(times)) | (Self::Number(times), Self::Text(text)) => {
                // As in jq: not once is null.
                let Some(times) =
                    times.as_index().and_then(|times| usize::try_from(times).ok()).filter(|times| *times > 0)
                else {
                    return Ok(Self::Null);
                };
                fuel::weigh(weight_of(text.len().saturating_mul(times)));
                Self::text(text.repeat(times))
            }
            (Self::Object(x), Self::Object(y)) => {
                let size = x.size.and(y.size);
                fuel::charge(size.weight);
                merge(x, &y)
            }
            (x, y) => return Err(Error::math(x, Math::Mul, y)),
        })
    }
}

/// Objects on both sides are merged, anything else is replaced.
fn merge(left: Rc<Object>, right: &Object) -> Val {
    let mut fields = own_fields(left).fields;
    for (key, value) in &right.fields {
        let merged = match (fields.remove(key), value) {
            (Some(Val::Object(x)), Val::Object(y)) => merge(x, y),
            (_, value) => value.share(),
        };
        fields.insert(Rc::clone(key), merged);
    }
    Val::object(fields)
}

impl Div for Val {
    type Output = ValR<Self>;

    fn div(self, other: Self) -> Self::Output {
        Ok(match (self, other) {
            (Self::Number(x), Self::Number(y)) => Self::Number(x.over(y)),
            (Self::Text(text), Self::Text(separator)) => {
                fuel::charge(text.len());
                match (&*text, &*separator) {
                    ("", _) => Self::array(Vec::new()),
                    (text, "") => text.chars().map(|c| Self::text(c.to_string())).collect(),
                    (text, separator) => text.split(separator).map(Self::text).collect(),
                }
            }
            (x, y) => return Err(Error::math(x, Math::Div, y)),
        })
    }
}

impl Rem for Val {
    type Output = ValR<Self>;

    fn rem(self, other: Self) -> Self::Output {
        if let (Self::Number(x), Self::Number(y)) = (&self, &other)
            && let Some(rest) = x.rest(*y)
        {
            return Ok(Self::Number(rest));
        }
        Err(Error::math(self, Math::Rem, other))
    }
}

impl Neg for Val {
    type Output = ValR<Self>;

    fn neg(self) -> Self::Output {
        let Self::Number(number) = self else { return Err(Error::typ(self, "number")) };
        Ok(Self::Number(Number::Whole(0).minus(number)))
    }
}
