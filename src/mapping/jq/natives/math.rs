//! Mathematics. Pure.

use super::super::value::Val;
use super::{Native, argument, fail, native};
use crate::mapping::jq::run::Stop;

type Inputs<'a> = (&'a Val, &'a [Val]);

fn one((value, _): Inputs<'_>, name: &str, of: fn(f64) -> f64) -> Result<Val, Stop> {
    match value.as_f64() {
        Some(number) => Ok(Val::number(of(number))),
        None => fail(format!("{} number required for {name}", value.shown())),
    }
}

fn two((_, arguments): Inputs<'_>, name: &str, of: fn(f64, f64) -> f64) -> Result<Val, Stop> {
    let (x, y) = (argument(arguments, 0), argument(arguments, 1));
    match (x.as_f64(), y.as_f64()) {
        (Some(a), Some(b)) => Ok(Val::number(of(a, b))),
        (None, _) => fail(format!("{} number required for {name}", x.shown())),
        (_, None) => fail(format!("{} number required for {name}", y.shown())),
    }
}

macro_rules! one {
    ($name:literal, $of:expr) => {
        native($name, 0, |value, arguments| one((value, arguments), $name, $of))
    };
}

macro_rules! two {
    ($name:literal, $of:expr) => {
        native($name, 2, |value, arguments| two((value, arguments), $name, $of))
    };
}

pub(super) const NATIVES: &[Native] = &[
    native("infinite", 0, |_, _| Ok(Val::number(f64::INFINITY))),
    native("nan", 0, |_, _| Ok(Val::number(f64::NAN))),
    native("isinfinite", 0, |value, _| is(value, "isinfinite", f64::is_infinite)),
    native("isnan", 0, |value, _| is(value, "isnan", f64::is_nan)),
    native("isnormal", 0, |value, _| is(value, "isnormal", f64::is_normal)),
    native("abs", 0, |value, _| match value {
        Val::Number(number) if number.as_f64() < 0.0 => Ok(Val::number(-number.as_f64())),
        Val::Number(number) if number.as_f64() == 0.0 => Ok(Val::number(0.0)),
        Val::Null | Val::Bool(_) => fail(format!("{} cannot be negated", value.shown())),
        other => Ok(other.clone()),
    }),
    one!("floor", f64::floor),
    one!("ceil", f64::ceil),
    one!("round", f64::round),
    one!("trunc", f64::trunc),
    one!("rint", libm::rint),
    one!("nearbyint", libm::rint),
    one!("sqrt", f64::sqrt),
    one!("cbrt", f64::cbrt),
    one!("fabs", f64::abs),
    one!("exp", f64::exp),
    one!("exp2", f64::exp2),
    one!("exp10", libm::exp10),
    one!("pow10", libm::exp10),
    one!("expm1", f64::exp_m1),
    one!("log", f64::ln),
    one!("log2", libm::log2),
    one!("log10", f64::log10),
    one!("log1p", f64::ln_1p),
    one!("logb", logb),
    one!("significand", significand),
    one!("gamma", libm::lgamma),
    one!("lgamma", libm::lgamma),
    one!("lgamma_r", libm::lgamma),
    one!("tgamma", libm::tgamma),
    one!("erf", libm::erf),
    one!("erfc", libm::erfc),
    one!("sin", f64::sin),
    one!("cos", f64::cos),
    one!("tan", f64::tan),
    one!("asin", f64::asin),
    one!("acos", f64::acos),
    one!("atan", f64::atan),
    one!("sinh", f64::sinh),
    one!("cosh", f64::cosh),
    one!("tanh", f64::tanh),
    one!("asinh", f64::asinh),
    one!("acosh", f64::acosh),
    one!("atanh", f64::atanh),
    one!("j0", libm::j0),
    one!("j1", libm::j1),
    one!("y0", libm::y0),
    one!("y1", libm::y1),
    two!("pow", f64::powf),
    two!("atan2", f64::atan2),
    two!("fmod", |x, y| x % y),
    two!("fmin", f64::min),
    two!("fmax", f64::max),
    two!("fdim", libm::fdim),
    two!("hypot", f64::hypot),
    two!("copysign", f64::copysign),
    two!("drem", libm::remainder),
    two!("remainder", libm::remainder),
    two!("nextafter", libm::nextafter),
    two!("nexttoward", libm::nextafter),
    two!("jn", |order, x| libm::jn(cut(order), x)),
    two!("yn", |order, x| libm::yn(cut(order), x)),
    two!("ldexp", scaled),
    two!("scalb", scaled),
    two!("scalbln", scaled),
    native("fma", 3, |_, arguments| {
        let at = |nth| argument(arguments, nth).as_f64();
        match (at(0), at(1), at(2)) {
            (Some(x), Some(y), Some(z)) => Ok(Val::number(x.mul_add(y, z))),
            _ => fail("fma takes three numbers"),
        }
    }),
    native("frexp", 0, |value, _| {
        let Some(number) = value.as_f64() else { return fail(format!("{} number required for frexp", value.shown())) };
        let (mantissa, exponent) = libm::frexp(number);
        let exponent = if number.is_finite() { exponent } else { 0 };
        Ok(Val::array(vec![Val::number(mantissa), Val::number(f64::from(exponent))]))
    }),
    native("modf", 0, |value, _| {
        let Some(number) = value.as_f64() else { return fail(format!("{} number required for modf", value.shown())) };
        let (fraction, whole) = libm::modf(number);
        Ok(Val::array(vec![Val::number(fraction), Val::number(whole)]))
    }),
];

fn is(value: &Val, name: &str, of: fn(f64) -> bool) -> Result<Val, Stop> {
    match value.as_f64() {
        Some(number) => Ok(Val::Bool(of(number))),
        None => fail(format!("{} number required for {name}", value.shown())),
    }
}

fn logb(number: f64) -> f64 {
    if number == 0.0 {
        f64::NEG_INFINITY
    } else if number.is_infinite() {
        f64::INFINITY
    } else if number.is_nan() {
        number
    } else {
        f64::from(libm::ilogb(number))
    }
}

fn significand(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() { number } else { libm::scalbn(number, -libm::ilogb(number)) }
}

fn scaled(number: f64, exponent: f64) -> f64 {
    libm::scalbn(number, cut(exponent))
}

#[expect(clippy::as_conversions, reason = "cuts what is behind the point, and saturates")]
fn cut(number: f64) -> i32 {
    number as i32
}

/// What a remainder is as a number.
#[expect(clippy::as_conversions, reason = "the nearest f64 is meant, as everywhere in jq")]
pub(super) fn of_whole(whole: u64) -> f64 {
    whole as f64
}

#[expect(clippy::as_conversions, reason = "the nearest f64 is meant, as everywhere in jq")]
pub(super) fn of_signed(whole: i64) -> f64 {
    whole as f64
}
