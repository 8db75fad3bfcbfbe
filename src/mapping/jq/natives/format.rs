//! `@csv`, `@uri` and the other formats. Pure.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};

use super::super::run::Stop;
use super::super::term::Format;
use super::super::value::Val;
use super::super::write;
use super::fail;

impl Format {
    pub(in crate::mapping::jq) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "json" => Self::Json,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "html" => Self::Html,
            "uri" => Self::Uri,
            "urid" => Self::UriDecoded,
            "sh" => Self::Sh,
            "base64" => Self::Base64,
            "base64d" => Self::Base64Decoded,
            "base32" => Self::Base32,
            "base32d" => Self::Base32Decoded,
            _ => return None,
        })
    }
}

/// As `tostring` writes it.
fn plain(value: &Val) -> String {
    match value {
        Val::Text(text) => text.to_string(),
        other => write::text(other),
    }
}

/// A value as a string of that format.
pub(in crate::mapping::jq) fn apply(format: Format, value: &Val) -> Result<Val, Stop> {
    value.charge_all();
    let text = match format {
        Format::Text => match value {
            Val::Text(_) => return Ok(value.clone()),
            other => write::text(other),
        },
        Format::Json => write::text(value),
        Format::Csv => row(value, ",", "csv", &|text| format!("\"{}\"", text.replace('"', "\"\"")))?,
        Format::Tsv => row(value, "\t", "tsv", &|text| {
            text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
        })?,
        Format::Html => html(&plain(value)),
        Format::Uri => uri(&plain(value)),
        Format::UriDecoded => return uri_decoded(value),
        Format::Sh => shell(value)?,
        Format::Base64 => STANDARD.encode(plain(value)),
        Format::Base64Decoded => return base64_decoded(value),
        Format::Base32 => base32(plain(value).as_bytes()),
        Format::Base32Decoded => return base32_decoded(value),
    };
    Ok(Val::text(text))
}

fn row(value: &Val, between: &str, name: &str, quoted: &dyn Fn(&str) -> String) -> Result<String, Stop> {
    let Val::Array(array) = value else {
        return fail(format!("{} cannot be {name}-formatted, only array", value.shown()));
    };
    let cell = |item: &Val| match item {
        Val::Null => Ok(String::new()),
        Val::Number(number) if number.as_f64().is_nan() => Ok(String::new()),
        Val::Bool(_) | Val::Number(_) => Ok(write::text(item)),
        Val::Text(text) => Ok(quoted(text)),
        Val::Array(_) | Val::Object(_) => fail(format!("{} is not valid in a csv row", item.shown())),
    };
    Ok(array.items.iter().map(cell).collect::<Result<Vec<_>, Stop>>()?.join(between))
}

fn html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

fn uri(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            // Writing into a string does not fail.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

fn uri_decoded(value: &Val) -> Result<Val, Stop> {
    let text = plain(value);
    let wrong = || fail(format!("{} is not a valid uri encoding", value.shown()));
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let hex = rest.get(..2).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let Some(byte) = hex else { return wrong() };
        bytes.push(byte);
        rest = rest.get(2..).unwrap_or(&[]);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Val::text(text)),
        Err(_) => wrong(),
    }
}

fn shell(value: &Val) -> Result<String, Stop> {
    let items = if let Val::Array(array) = value { array.items.as_slice() } else { std::slice::from_ref(value) };
    let word = |item: &Val| match item {
        Val::Null | Val::Bool(_) | Val::Number(_) => Ok(write::text(item)),
        Val::Text(text) => Ok(format!("'{}'", text.replace('\'', "'\\''"))),
        Val::Array(_) | Val::Object(_) => fail(format!("{} can not be escaped for shell", item.shown())),
    };
    Ok(items.iter().map(word).collect::<Result<Vec<_>, Stop>>()?.join(" "))
}

/// What is missing at the end is no fault.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn base64_decoded(value: &Val) -> Result<Val, Stop> {
    let text = plain(value);
    let digits = text.trim_end_matches('=');
    if digits.len() % 4 == 1 {
        return fail(format!("{} trailing base64 byte found", value.shown()));
    }
    match LENIENT.decode(digits) {
        Ok(bytes) => Ok(Val::text(String::from_utf8_lossy(&bytes).into_owned())),
        Err(_) => fail(format!("{} is not valid base64 data", value.shown())),
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    for five in bytes.chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte)) << (8 * (5 - five.len()));
        let digits = (five.len() * 8).div_ceil(5);
        for nth in 0..8 {
            let digit = usize::try_from((bits >> (35 - 5 * nth)) & 31).ok().and_then(|at| BASE32.get(at));
            out.push(if nth < digits { digit.map_or('=', |digit| char::from(*digit)) } else { '=' });
        }
    }
    out
}

fn base32_decoded(value: &Val) -> Result<Val, Stop> {
    let text = plain(value);
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0_u32);
    for digit in text.trim_end_matches('=').bytes() {
        let Some(at) = BASE32.iter().position(|known| *known == digit).and_then(|at| u32::try_from(at).ok()) else {
            return fail(format!("{} is not valid base32 data", value.shown()));
        };
        bits = ((bits << 5) | at) & 0xFFF;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.extend(u8::try_from((bits >> count) & 0xFF));
        }
    }
    Ok(Val::text(String::from_utf8_lossy(&bytes).into_owned()))
}
