//! jq's numbers: whole ones exact over the whole range of 64 bits and beyond, others as `f64`. Pure.

use std::cmp::Ordering;
use std::fmt;

/// A number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i128),
    Float(f64),
}

/// Up to here every whole `f64` is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// What a calculation gave: whole where it is, as jq shows it.
    pub fn calculated(number: f64) -> Self {
        if number.fract() == 0.0 && number.abs() <= EXACT && !(number == 0.0 && number.is_sign_negative()) {
            Self::Whole(truncated(number))
        } else {
            Self::Float(number)
        }
    }

    /// As JSON writes it.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(whole) => Some(Self::Whole(whole)),
            Err(_) => text.parse().ok().map(Self::Float),
        }
    }

    #[expect(clippy::as_conversions, reason = "the nearest f64 is meant, as everywhere in jq")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }

    /// An index: jq cuts what is behind the point.
    pub fn as_index(self) -> Option<isize> {
        match self {
            Self::Whole(whole) => isize::try_from(whole).ok(),
            Self::Float(float) if float.is_finite() => isize::try_from(truncated(float.floor())).ok(),
            Self::Float(_) => None,
        }
    }

    pub fn is_nan(self) -> bool {
        matches!(self, Self::Float(float) if float.is_nan())
    }

    pub fn plus(self, other: Self) -> Self {
        self.exactly(other, i128::checked_add, |x, y| x + y)
    }

    pub fn minus(self, other: Self) -> Self {
        self.exactly(other, i128::checked_sub, |x, y| x - y)
    }

    pub fn times(self, other: Self) -> Self {
        self.exactly(other, i128::checked_mul, |x, y| x * y)
    }

    pub fn over(self, other: Self) -> Self {
        let exact = |x: i128, y: i128| if x.checked_rem(y) == Some(0) { x.checked_div(y) } else { None };
        self.exactly(other, exact, |x, y| x / y)
    }

    /// `None` for a whole number over zero.
    pub fn rest(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Whole(_), Self::Whole(0)) => None,
            (x, y) => Some(x.exactly(y, i128::checked_rem, |x, y| x % y)),
        }
    }

    fn exactly(
        self,
        other: Self,
        whole: impl FnOnce(i128, i128) -> Option<i128>,
        float: impl FnOnce(f64, f64) -> f64,
    ) -> Self {
        if let (Self::Whole(x), Self::Whole(y)) = (self, other)
            && let Some(exact) = whole(x, y)
        {
            return Self::Whole(exact);
        }
        Self::calculated(float(self.as_f64(), other.as_f64()))
    }

    /// A total order: NaN first and equal to itself, so that sorting is sound.
    pub fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(x), Self::Whole(y)) => x.cmp(&y),
            (Self::Float(x), Self::Float(y)) => floats(x, y),
            (Self::Whole(x), Self::Float(y)) => mixed(x, y),
            (Self::Float(x), Self::Whole(y)) => mixed(y, x).reverse(),
        }
    }
}

fn floats(x: f64, y: f64) -> Ordering {
    x.partial_cmp(&y).unwrap_or_else(|| y.is_nan().cmp(&x.is_nan()))
}

fn mixed(whole: i128, float: f64) -> Ordering {
    if !float.is_finite() {
        return floats(0.0, float);
    }
    whole.cmp(&truncated(float)).then_with(|| floats(0.0, float.fract()))
}

#[expect(clippy::as_conversions, reason = "cuts what is behind the point, and saturates")]
fn truncated(number: f64) -> i128 {
    number as i128
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => write!(f, "{whole}"),
            Self::Float(float) => serde_json::Value::from(finite(*float)).fmt(f),
        }
    }
}

/// JSON has neither NaN nor infinity: jq writes null, and the largest number.
pub(super) fn finite(number: f64) -> Option<f64> {
    (!number.is_nan()).then(|| number.clamp(f64::MIN, f64::MAX))
}
