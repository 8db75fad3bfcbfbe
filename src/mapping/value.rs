//! The values that expressions work on: JSON, shared instead of copied, where each value knows its weight and depth. So what
//! looks small and would be huge when written out (`[., .]` over and over) is told as soon as it is made. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::fuel::{self, Stop};
use super::number::{self, Number};

/// A JSON value.
#[derive(Debug)]
pub(super) enum Val {
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    Array(Rc<Array>),
    Object(Rc<Object>),
}

/// The elements, in order.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub items: Vec<Val>,
    pub size: Size,
}

/// The fields by name.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub fields: BTreeMap<Rc<str>, Val>,
    pub size: Size,
}

/// How large a value is when written out; no less than the truth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// In pieces of [`PIECE`] bytes or single values.
    pub weight: usize,
    /// Arrays and objects inside one another.
    pub depth: usize,
}

/// Bytes of text that weigh as much as a value.
pub(super) const PIECE: usize = 16;
/// Deeper values are refused: they are compared, written and freed recursively. Events are less deep than 128.
const DEEPEST: usize = 256;

impl Size {
    const LEAF: Self = Self { weight: 1, depth: 0 };

    /// Of what holds these; fails the evaluation when it is too much.
    fn holding(sizes: impl Iterator<Item = Self>) -> Self {
        let none = Self { weight: 1, depth: 0 };
        let sum = sizes.fold(none, |sum, size| Self {
            weight: sum.weight.saturating_add(size.weight),
            depth: sum.depth.max(size.depth),
        });
        Self { depth: sum.depth + 1, ..sum }.checked()
    }

    /// Of both together, as when one is added to the other.
    pub fn and(self, other: Self) -> Self {
        Self { weight: self.weight.saturating_add(other.weight), depth: self.depth.max(other.depth) }.checked()
    }

    fn checked(self) -> Self {
        fuel::weigh(self.weight);
        if self.depth > DEEPEST {
            fuel::stop(Stop::Depth);
        }
        self
    }
}

fn key_size(key: &str) -> Size {
    Size { weight: weight_of(key.len()), depth: 0 }
}

/// What a text of so many bytes weighs.
pub(super) fn weight_of(bytes: usize) -> usize {
    1 + bytes / PIECE
}

impl Val {
    pub fn text(text: impl Into<Rc<str>> + AsRef<str>) -> Self {
        let weight = key_size(text.as_ref()).weight;
        fuel::weigh(weight);
        fuel::charge(weight);
        Self::Text(text.into())
    }

    pub fn array(items: Vec<Self>) -> Self {
        let size = Size::holding(items.iter().map(Self::size));
        Self::Array(Rc::new(Array { items, size }))
    }

    pub fn object(fields: BTreeMap<Rc<str>, Self>) -> Self {
        let size = Size::holding(fields.iter().flat_map(|(key, value)| [key_size(key), value.size()]));
        Self::Object(Rc::new(Object { fields, size }))
    }

    pub fn size(&self) -> Size {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => Size::LEAF,
            Self::Text(text) => key_size(text),
            Self::Array(array) => array.size,
            Self::Object(object) => object.size,
        }
    }

    /// What it costs to look at all of it.
    pub fn charge_all(&self) {
        fuel::charge(self.size().weight);
    }

    /// A copy that costs nothing: for use inside an operation that was charged.
    pub fn share(&self) -> Self {
        match self {
            Self::Null => Self::Null,
            Self::Bool(flag) => Self::Bool(*flag),
            Self::Number(number) => Self::Number(*number),
            Self::Text(text) => Self::Text(Rc::clone(text)),
            Self::Array(array) => Self::Array(Rc::clone(array)),
            Self::Object(object) => Self::Object(Rc::clone(object)),
        }
    }

    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => {
                let whole = number.as_i128();
                Self::Number(whole.map_or_else(|| Number::Float(number.as_f64().unwrap_or(f64::NAN)), Number::Whole))
            }
            Value::String(text) => Self::text(text.as_str()),
            Value::Array(items) => Self::array(items.iter().map(Self::of).collect()),
            Value::Object(fields) => Self::of_fields(fields),
        }
    }

    pub fn of_fields(fields: &Map<String, Value>) -> Self {
        Self::object(fields.iter().map(|(key, value)| (Rc::from(key.as_str()), Self::of(value))).collect())
    }

    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(Number::Whole(whole)) => {
                let exact = serde_json::Number::from_i128(*whole).map(Value::Number);
                exact.unwrap_or_else(|| Value::from(Number::Whole(*whole).as_f64()))
            }
            Self::Number(Number::Float(float)) => Value::from(number::finite(*float)),
            Self::Text(text) => Value::from(&**text),
            Self::Array(array) => array.items.iter().map(Self::to_value).collect(),
            Self::Object(object) => {
                let fields = object.fields.iter().map(|(key, value)| (key.to_string(), value.to_value()));
                Value::Object(fields.collect())
            }
        }
    }

    /// jq's order: null, false, true, numbers, strings, arrays, objects; objects by their names first.
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(x), Self::Bool(y)) => x.cmp(y),
            (Self::Number(x), Self::Number(y)) => x.order(*y),
            (Self::Text(x), Self::Text(y)) => x.cmp(y),
            (Self::Array(x), Self::Array(y)) => sequence(x.items.iter(), y.items.iter()),
            (Self::Object(x), Self::Object(y)) => {
                let names = x.fields.keys().cmp(y.fields.keys());
                names.then_with(|| sequence(x.fields.values(), y.fields.values()))
            }
            (x, y) => x.rank().cmp(&y.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::Array(_) => 4,
            Self::Object(_) => 5,
        }
    }
}

fn sequence<'a>(mut xs: impl Iterator<Item = &'a Val>, mut ys: impl Iterator<Item = &'a Val>) -> Ordering {
    loop {
        match (xs.next(), ys.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match x.order(y) {
                Ordering::Equal => {}
                unequal @ (Ordering::Less | Ordering::Greater) => return unequal,
            },
        }
    }
}

impl Clone for Val {
    fn clone(&self) -> Self {
        fuel::charge(1);
        self.share()
    }
}

impl fmt::Display for Val {
    /// As compact JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.charge_all();
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::Array(_) | Self::Object(_) => self.to_value().fmt(f),
        }
    }
}
