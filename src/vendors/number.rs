//! Whole numbers as JSON may write them: `5`, `5.0` and `5e0` are one number. Pure, and the same whether numbers keep their digits or not.

use serde_json::Value;

use crate::event::name_of;

/// Up to here every whole number is exact as a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The whole number that this is, where it is one of 64 bits.
pub(super) fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
        format!("{number:.0}").parse().ok()
    })
}

/// What a value is that is no such number.
pub(super) fn described(value: &Value) -> &'static str {
    match value.as_f64() {
        Some(number) if number.fract() != 0.0 => "a number with a fraction",
        Some(_) => "a whole number of more than 64 bits",
        None => name_of(value),
    }
}
