//! Whole numbers as JSON may write them: `5`, `5.0` and `5e0` are one number. Read digit by digit, since a float
//! would round a fraction away. Pure.

use serde_json::Value;

use crate::event::name_of;

/// No number of 64 bits has so many digits.
const MOST_DIGITS: usize = 20;

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One of 64 bits.
    Whole(i64),
    /// A whole one of more.
    Large,
    Fraction,
}

/// The whole number that this is, where it is one of 64 bits.
pub(super) fn whole(value: &Value) -> Option<i64> {
    if let Some(Kind::Whole(whole)) = kind(value) { Some(whole) } else { None }
}

/// Whether it is a whole number, however large.
pub(super) fn is_whole(value: &Value) -> bool {
    matches!(kind(value), Some(Kind::Whole(_) | Kind::Large))
}

pub(super) fn is_negative(value: &Value) -> bool {
    value.as_number().is_some_and(|number| number.as_str().starts_with('-'))
}

/// What a value is that is no such number.
pub(super) fn described(value: &Value) -> &'static str {
    match kind(value) {
        Some(Kind::Fraction) => "a number with a fraction",
        Some(Kind::Whole(_) | Kind::Large) => "a whole number of more than 64 bits",
        None => name_of(value),
    }
}

fn kind(value: &Value) -> Option<Kind> {
    let text = value.as_number()?.as_str();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{before}{after}");
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Kind::Whole(0));
    }
    // Beyond this the exponent alone decides.
    let exponent = exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { -1_000_000 } else { 1_000_000 });
    let zeros = exponent.saturating_sub(i64::try_from(after.len()).ok()?);
    let kept = significant.trim_end_matches('0');
    let zeros = zeros.saturating_add(i64::try_from(significant.len() - kept.len()).ok()?);
    let Ok(zeros) = usize::try_from(zeros) else { return Some(Kind::Fraction) };
    if kept.len().saturating_add(zeros) > MOST_DIGITS {
        return Some(Kind::Large);
    }
    Some(format!("{sign}{kept}{}", "0".repeat(zeros)).parse().map_or(Kind::Large, Kind::Whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_by_its_digits_and_not_by_a_float() {
        for (json, expected) in [
            ("5", Some(Kind::Whole(5))),
            ("5.0", Some(Kind::Whole(5))),
            ("50e-1", Some(Kind::Whole(5))),
            ("-1.5e1", Some(Kind::Whole(-15))),
            ("-0.0", Some(Kind::Whole(0))),
            ("0e999999999999999999999", Some(Kind::Whole(0))),
            ("9223372036854775807", Some(Kind::Whole(i64::MAX))),
            ("-9223372036854775808", Some(Kind::Whole(i64::MIN))),
            ("9223372036854775808", Some(Kind::Large)),
            ("1e400", Some(Kind::Large)),
            ("1e99999999999999999999", Some(Kind::Large)),
            ("5.0000000000000000000001", Some(Kind::Fraction)),
            ("1767323045120.9999999999", Some(Kind::Fraction)),
            ("1e-400", Some(Kind::Fraction)),
            ("\"5\"", None),
        ] {
            assert_eq!(kind(&serde_json::from_str(json).unwrap()), expected, "{json}");
        }
    }
}
