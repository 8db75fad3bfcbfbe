//! jq's numbers: an `f64`, or a literal that keeps its digits until something is calculated with it. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

/// A number.
#[derive(Clone, Debug)]
pub(in crate::mapping) enum Number {
    Float(f64),
    /// Written so that an `f64` would not be written the same.
    Literal(Arc<Literal>),
}

/// A number as it was written.
#[derive(Debug)]
pub(in crate::mapping) struct Literal {
    float: f64,
    text: Box<str>,
}

/// Whole numbers of fewer digits are written by an `f64` as they were read.
const SHORT: usize = 15;
/// The first with more digits.
const SHORT_END: f64 = 1e15;

impl Number {
    /// As JSON writes it, and as jq reads it beyond that: `.5`, `5.`, `012`, `nan`, `Infinity`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.len() <= SHORT && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(Self::Float);
        }
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        if let Some(float) = not_finite(digits) {
            return Some(Self::Float(if text.starts_with('-') { -float } else { float }));
        }
        let known = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let float: f64 = if known { text.parse().ok()? } else { return None };
        let long = digits.bytes().filter(u8::is_ascii_digit).count() > SHORT;
        let kept = is_json(digits) && (long || digits.contains(['e', 'E']) || written(float) != text);
        Some(if kept { Self::Literal(Arc::new(Literal { float, text: text.into() })) } else { Self::Float(float) })
    }

    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Float(float) => *float,
            Self::Literal(literal) => literal.float,
        }
    }

    /// Whether it stands for one number: a literal does, however large.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Float(float) => float.is_finite(),
            Self::Literal(_) => true,
        }
    }

    /// With the digits that it came with.
    pub fn as_it_came(&self) -> String {
        match self {
            Self::Float(float) => written(*float),
            Self::Literal(literal) => literal.text.to_string(),
        }
    }

    /// As `tojson` and `tostring` write it: a literal's exponent is written as decimal arithmetic does.
    pub fn as_text(&self) -> String {
        match self {
            Self::Float(float) => written(*float),
            Self::Literal(literal) => Decimal::of(&literal.text).map_or_else(|| literal.text.to_string(), |d| d.text()),
        }
    }

    /// jq's order: NaN before all numbers. Two NaN compare as `both_nan` says.
    pub fn order(&self, other: &Self, both_nan: Ordering) -> Ordering {
        if let (Self::Literal(x), Self::Literal(y)) = (self, other)
            && let (Some(x), Some(y)) = (Decimal::of(&x.text), Decimal::of(&y.text))
        {
            return x.order(&y);
        }
        let (x, y) = (self.as_f64(), other.as_f64());
        x.partial_cmp(&y).unwrap_or_else(|| match (x.is_nan(), y.is_nan()) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (true, true) | (false, false) => both_nan,
        })
    }

    /// Whether jq would take both for the same value without looking at digits.
    pub fn is_same(&self, other: &Self) -> bool {
        self.as_f64().to_bits() == other.as_f64().to_bits()
    }
}

impl From<f64> for Number {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

/// What decimal arithmetic reads, whatever its case and with a payload after `nan`.
fn not_finite(text: &str) -> Option<f64> {
    let text = text.to_ascii_lowercase();
    if let Some(payload) = text.strip_prefix("nan") {
        return payload.bytes().all(|byte| byte.is_ascii_digit()).then_some(f64::NAN);
    }
    (text == "infinity" || text == "inf").then_some(f64::INFINITY)
}

/// Whether it may be sent as it is: JSON knows neither `012` nor `.5`.
fn is_json(digits: &str) -> bool {
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(end);
    let fraction = rest.strip_prefix('.').map(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    !whole.is_empty() && (whole == "0" || !whole.starts_with('0')) && fraction != Some(false)
}

/// What was calculated, as jq writes it: the fewest digits that give the same `f64` again.
pub(in crate::mapping) fn written(float: f64) -> String {
    if float.is_nan() {
        return "null".to_owned();
    }
    // Nearly all are such.
    if float.fract() == 0.0 && float.abs() < SHORT_END {
        return float.to_string();
    }
    let float = float.clamp(f64::MIN, f64::MAX);
    let scientific = format!("{:e}", float.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = mantissa.replace('.', "");
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let sign = if float.is_sign_negative() { "-" } else { "" };
    if float == 0.0 { format!("{sign}0") } else { format!("{sign}{}", placed(&digits, point)) }
}

/// Digits with the point behind the first `point` of them.
fn placed(digits: &str, point: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if point <= -4 || point > count.saturating_add(15) {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let exponent = point - 1;
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{first}{dot}{rest}e{sign}{:02}", exponent.unsigned_abs());
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    if point <= 0 {
        format!("0.{}{digits}", zeros(-point))
    } else if point >= count {
        format!("{digits}{}", zeros(point - count))
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        format!("{whole}.{fraction}")
    }
}

/// A decimal number: its digits, and the power of ten of the last one.
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let negative = text.starts_with('-');
        let text = text.trim_start_matches(['-', '+']);
        let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let exponent: i64 = exponent.parse().ok().filter(|exponent: &i64| exponent.abs() < i64::MAX / 4)?;
        let digits = format!("{whole}{fraction}");
        let digits = match digits.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        };
        Some(Self { negative, digits, exponent: exponent - i64::try_from(fraction.len()).ok()? })
    }

    /// The power of ten of the first digit.
    fn adjusted(&self) -> i64 {
        self.exponent + i64::try_from(self.digits.len()).unwrap_or(0) - 1
    }

    fn text(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        let adjusted = self.adjusted();
        if self.exponent <= 0 && adjusted >= -6 {
            let places = usize::try_from(-self.exponent).unwrap_or(0);
            if places == 0 {
                return format!("{sign}{}", self.digits);
            }
            let padded = format!("{:0>width$}", self.digits, width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            return format!("{sign}{whole}.{fraction}");
        }
        let (first, rest) = self.digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{dot}{rest}E{adjusted:+}")
    }

    fn order(&self, other: &Self) -> Ordering {
        let sign = |it: &Self| if it.digits == "0" { 0 } else { i8::from(!it.negative) * 2 - 1 };
        let magnitudes = || {
            let (x, y) = (self.digits.trim_end_matches('0'), other.digits.trim_end_matches('0'));
            self.adjusted().cmp(&other.adjusted()).then_with(|| x.cmp(y))
        };
        match (sign(self), sign(other)) {
            (1, 1) => magnitudes(),
            (-1, -1) => magnitudes().reverse(),
            (x, y) => x.cmp(&y),
        }
    }
}
