//! The values that expressions work on: JSON, shared instead of copied, where each value knows its weight and depth. So what
//! looks small and would be huge when written out (`[., .]` over and over) is told as soon as it is made. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use indexmap::IndexMap;

use super::number::Number;
use crate::mapping::fuel::{self, Exceeded};

/// A JSON value.
#[derive(Clone, Debug)]
pub(in crate::mapping) enum Val {
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
    Array(Arc<Array>),
    Object(Arc<Object>),
}

/// Fields by name, in the order in which they were set.
pub(in crate::mapping) type Fields = IndexMap<Arc<str>, Val, foldhash::fast::RandomState>;

/// The elements, in order.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Array {
    pub items: Vec<Val>,
    pub size: Size,
}

/// The fields by name.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Object {
    pub fields: Fields,
    pub size: Size,
}

/// How large a value is when written out; no less than the truth.
#[derive(Clone, Copy, Debug)]
pub(in crate::mapping) struct Size {
    /// In pieces of [`PIECE`] bytes or single values.
    pub weight: usize,
    /// Arrays and objects inside one another.
    pub depth: usize,
}

/// Bytes of text that weigh as much as a value.
pub(in crate::mapping) const PIECE: usize = 16;

impl Size {
    const LEAF: Self = Self { weight: 1, depth: 0 };
    pub const NONE: Self = Self { weight: 0, depth: 0 };

    /// Of what holds these; fails the evaluation when it is too much.
    fn holding(sizes: impl Iterator<Item = Self>) -> Self {
        let sum = sizes.fold(Self::LEAF, |sum, size| Self {
            weight: sum.weight.saturating_add(size.weight),
            depth: sum.depth.max(size.depth),
        });
        Self { depth: sum.depth + 1, ..sum }.checked()
    }

    /// Of both together, as when one is added to the other.
    pub fn and(self, other: Self) -> Self {
        Self { weight: self.weight.saturating_add(other.weight), depth: self.depth.max(other.depth) }.checked()
    }

    /// Of what held something of size `before`, now of size `after`.
    pub fn with(self, before: Self, after: Self) -> Self {
        let weight = self.weight.saturating_sub(before.weight).saturating_add(after.weight);
        Self { weight, depth: self.depth.max(after.depth + 1) }.checked()
    }

    fn checked(self) -> Self {
        fuel::weigh(self.weight);
        if self.depth > fuel::deepest() {
            fuel::stop(Exceeded::Depth);
        }
        self
    }
}

pub(in crate::mapping) fn key_size(key: &str) -> Size {
    Size { weight: weight_of(key.len()), depth: 0 }
}

/// What a text of so many bytes weighs.
pub(in crate::mapping) fn weight_of(bytes: usize) -> usize {
    1 + bytes / PIECE
}

impl Val {
    pub const fn number(number: f64) -> Self {
        Self::Number(Number::Float(number))
    }

    pub fn count(count: usize) -> Self {
        Self::number(float(count))
    }

    pub fn text(text: impl Into<Arc<str>> + AsRef<str>) -> Self {
        let weight = key_size(text.as_ref()).weight;
        fuel::weigh(weight);
        fuel::charge(weight);
        Self::Text(text.into())
    }

    pub fn array(items: Vec<Self>) -> Self {
        fuel::charge(items.len());
        let size = Size::holding(items.iter().map(Self::size));
        Self::Array(Arc::new(Array { items, size }))
    }

    pub fn object(fields: Fields) -> Self {
        fuel::charge(fields.len().saturating_mul(2));
        let size = Size::holding(fields.iter().flat_map(|(key, value)| [key_size(key), value.size()]));
        Self::Object(Arc::new(Object { fields, size }))
    }

    /// An object of these fields.
    pub fn of<const N: usize>(fields: [(&str, Self); N]) -> Self {
        Self::object(fields.into_iter().map(|(key, value)| (Arc::from(key), value)).collect())
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

    pub fn is_true(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    /// Its type's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(number.as_f64()) } else { None }
    }

    pub fn as_text(&self) -> Option<&Arc<str>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// As an error's sentence shows it: its type, and the first of it.
    pub fn shown(&self) -> String {
        /// Bytes that are shown whole, and what is shown of more.
        const MOST: usize = 14;
        const CUT: usize = 11;
        let text = super::write::text(self);
        if text.len() <= MOST {
            return format!("{} ({text})", self.kind());
        }
        format!("{} ({}...)", self.kind(), &text[..text.floor_char_boundary(CUT)])
    }

    /// jq's order, `==`, `<` and the like: NaN is less than itself.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.charged(other, Ordering::Less)
    }

    /// The same as a sound order, to sort by.
    pub fn sorted(&self, other: &Self) -> Ordering {
        self.charged(other, Ordering::Equal)
    }

    fn charged(&self, other: &Self, both_nan: Ordering) -> Ordering {
        fuel::charge(self.size().weight.min(other.size().weight));
        self.order(other, both_nan)
    }

    /// null, false, true, numbers, strings, arrays, objects; objects by their names first.
    fn order(&self, other: &Self, both_nan: Ordering) -> Ordering {
        match (self, other) {
            (Self::Number(x), Self::Number(y)) => x.order(y, both_nan),
            (Self::Text(x), Self::Text(y)) => x.cmp(y),
            (Self::Array(x), Self::Array(y)) => sequence(x.items.iter(), y.items.iter(), both_nan),
            (Self::Object(x), Self::Object(y)) => {
                let (x, y) = (by_name(&x.fields), by_name(&y.fields));
                let names = x.iter().map(|(name, _)| name).cmp(y.iter().map(|(name, _)| name));
                names.then_with(|| sequence(x.iter().map(|(_, v)| *v), y.iter().map(|(_, v)| *v), both_nan))
            }
            (x, y) => x.rank().cmp(&y.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(false) => 1,
            Self::Bool(true) => 2,
            Self::Number(_) => 3,
            Self::Text(_) => 4,
            Self::Array(_) => 5,
            Self::Object(_) => 6,
        }
    }

    /// Whether both are one value, not two equal ones: as jq decides whether a path still leads to it.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(x), Self::Bool(y)) => x == y,
            (Self::Number(x), Self::Number(y)) => x.is_same(y),
            (Self::Text(x), Self::Text(y)) => Arc::ptr_eq(x, y),
            (Self::Array(x), Self::Array(y)) => Arc::ptr_eq(x, y),
            (Self::Object(x), Self::Object(y)) => Arc::ptr_eq(x, y),
            (_, _) => false,
        }
    }
}

/// Equal as jq's `==` sees it.
impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Equal
    }
}

#[expect(clippy::as_conversions, reason = "the nearest f64 is meant, as everywhere in jq")]
pub(in crate::mapping) fn float(count: usize) -> f64 {
    count as f64
}

/// An object's fields by their names' order.
pub(in crate::mapping) fn by_name(fields: &Fields) -> Vec<(&Arc<str>, &Val)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    fields
}

fn sequence<'a>(
    mut xs: impl Iterator<Item = &'a Val>,
    mut ys: impl Iterator<Item = &'a Val>,
    both_nan: Ordering,
) -> Ordering {
    loop {
        match (xs.next(), ys.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match x.order(y, both_nan) {
                Ordering::Equal => {}
                unequal @ (Ordering::Less | Ordering::Greater) => return unequal,
            },
        }
    }
}

/// Takes a shared value, or copies it, which is charged.
pub(in crate::mapping) fn own_items(array: Arc<Array>) -> Vec<Val> {
    match Arc::try_unwrap(array) {
        Ok(array) => array.items,
        Err(array) => {
            fuel::charge(array.items.len());
            array.items.clone()
        }
    }
}

/// The same for fields.
pub(in crate::mapping) fn own_fields(object: Arc<Object>) -> Fields {
    match Arc::try_unwrap(object) {
        Ok(object) => object.fields,
        Err(object) => {
            fuel::charge(object.fields.len().saturating_mul(2));
            object.fields.clone()
        }
    }
}
