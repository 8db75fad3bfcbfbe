//! `+ - * / %`, comparisons and the sign. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::run::Stop;
use super::super::term::Operator;
use super::super::value::{Array, Fields, Object, Val, own_fields, own_items, weight_of};
use super::fail;
use crate::mapping::fuel;
use crate::mapping::jq::paths::whole;

pub(in crate::mapping::jq) fn apply(operator: Operator, left: Val, right: Val) -> Result<Val, Stop> {
    let ordered = |fits: fn(Ordering) -> bool| Ok(Val::Bool(fits(left.compare(&right))));
    match operator {
        Operator::Add => add(left, right),
        Operator::Subtract => subtract(left, right),
        Operator::Multiply => multiply(left, right),
        Operator::Divide => divide(&left, &right),
        Operator::Remainder => remainder(&left, &right),
        Operator::Equal => ordered(Ordering::is_eq),
        Operator::Unequal => ordered(Ordering::is_ne),
        Operator::Less => ordered(Ordering::is_lt),
        Operator::LessOrEqual => ordered(Ordering::is_le),
        Operator::Greater => ordered(Ordering::is_gt),
        Operator::GreaterOrEqual => ordered(Ordering::is_ge),
    }
}

pub(in crate::mapping::jq) fn cannot<T>(left: &Val, right: &Val, what: &str) -> Result<T, Stop> {
    fail(format!("{} and {} cannot be {what}", left.shown(), right.shown()))
}

pub(in crate::mapping::jq) fn negate(value: &Val) -> Result<Val, Stop> {
    match value.as_f64() {
        Some(number) => Ok(Val::number(-number)),
        None => fail(format!("{} cannot be negated", value.shown())),
    }
}

pub(in crate::mapping::jq) fn add(left: Val, right: Val) -> Result<Val, Stop> {
    Ok(match (left, right) {
        (Val::Null, value) | (value, Val::Null) => value,
        (Val::Number(x), Val::Number(y)) => Val::number(x.as_f64() + y.as_f64()),
        (Val::Text(x), Val::Text(y)) => {
            fuel::weigh(weight_of(x.len() + y.len()));
            Val::text([&*x, &*y].concat())
        }
        (Val::Array(x), Val::Array(y)) => {
            fuel::charge(y.items.len());
            let size = x.size.and(y.size);
            let mut items = own_items(x);
            items.extend(y.items.iter().cloned());
            Val::Array(Arc::new(Array { items, size }))
        }
        (Val::Object(x), Val::Object(y)) => {
            fuel::charge(y.fields.len().saturating_mul(2));
            // No less than the truth: a field that both have is counted twice.
            let size = x.size.and(y.size);
            let mut fields = own_fields(x);
            fields.extend(y.fields.iter().map(|(key, value)| (Arc::clone(key), value.clone())));
            Val::Object(Arc::new(Object { fields, size }))
        }
        (x, y) => return cannot(&x, &y, "added"),
    })
}

fn subtract(left: Val, right: Val) -> Result<Val, Stop> {
    Ok(match (left, right) {
        (Val::Number(x), Val::Number(y)) => Val::number(x.as_f64() - y.as_f64()),
        (Val::Array(x), Val::Array(y)) => {
            let mut taken: Vec<&Val> = y.items.iter().collect();
            taken.sort_by(|x, y| x.sorted(y));
            // NaN is found among its like and equals none of them.
            let found = |item: &Val| taken.get(taken.binary_search_by(|other| other.sorted(item)).ok()?);
            let is_taken = |item: &Val| found(item).is_some_and(|found| *found == item);
            Val::array(own_items(x).into_iter().filter(|item| !is_taken(item)).collect())
        }
        (x, y) => return cannot(&x, &y, "subtracted"),
    })
}

fn multiply(left: Val, right: Val) -> Result<Val, Stop> {
    Ok(match (left, right) {
        (Val::Number(x), Val::Number(y)) => Val::number(x.as_f64() * y.as_f64()),
        (Val::Text(text), Val::Number(times)) | (Val::Number(times), Val::Text(text)) => {
            let times = times.as_f64();
            // As in jq 1.7: less than never is null, and what is behind the point is cut.
            if times.is_nan() || times < 0.0 {
                return Ok(Val::Null);
            }
            let times = whole(times);
            fuel::weigh(weight_of(text.len().saturating_mul(times)));
            Val::text(text.repeat(times))
        }
        (Val::Object(x), Val::Object(y)) => {
            fuel::charge(x.size.and(y.size).weight);
            merge(x, &y)
        }
        (x, y) => return cannot(&x, &y, "multiplied"),
    })
}

/// Objects on both sides are merged, anything else is replaced.
fn merge(left: Arc<Object>, right: &Object) -> Val {
    let mut fields: Fields = own_fields(left);
    for (key, value) in &right.fields {
        let slot = fields.entry(Arc::clone(key)).or_insert(Val::Null);
        *slot = match (std::mem::replace(slot, Val::Null), value) {
            (Val::Object(x), Val::Object(y)) => merge(x, y),
            (_, value) => value.clone(),
        };
    }
    Val::object(fields)
}

fn divide(left: &Val, right: &Val) -> Result<Val, Stop> {
    match (left, right) {
        (Val::Number(x), Val::Number(y)) if y.as_f64() == 0.0 => {
            let _ = x;
            cannot(left, right, "divided because the divisor is zero")
        }
        (Val::Number(x), Val::Number(y)) => Ok(Val::number(x.as_f64() / y.as_f64())),
        (Val::Text(text), Val::Text(separator)) => Ok(super::text::split(text, separator)),
        _ => cannot(left, right, "divided"),
    }
}

/// Of whole numbers, as jq cuts both.
fn remainder(left: &Val, right: &Val) -> Result<Val, Stop> {
    let (Some(x), Some(y)) = (left.as_f64(), right.as_f64()) else {
        return cannot(left, right, "divided");
    };
    if x.is_nan() || y.is_nan() {
        return Ok(Val::number(f64::NAN));
    }
    let (x, y) = (cut(x), cut(y));
    if y == 0 {
        return cannot(left, right, "divided (remainder) because the divisor is zero");
    }
    let rest = x.unsigned_abs() % y.unsigned_abs();
    let rest = super::math::of_whole(rest);
    Ok(Val::number(if x < 0 && rest != 0.0 { -rest } else { rest }))
}

#[expect(clippy::as_conversions, reason = "cuts what is behind the point, and saturates")]
fn cut(number: f64) -> i64 {
    number as i64
}
