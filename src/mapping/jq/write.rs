//! Values as compact JSON. Pure.

use super::number::Number;
use super::plain::plain;
use super::value::Val;

/// As `tojson` writes it.
pub(in crate::mapping) fn text(value: &Val) -> String {
    value.charge_all();
    let mut out = String::new();
    write(value, &mut out, &mut |number| number.as_text());
    out
}

/// As it is sent: digits as they came. `None` when a number is not finite, which JSON cannot say.
pub(in crate::mapping) fn sent(value: &Val) -> Option<String> {
    value.charge_all();
    let (mut out, mut finite) = (String::new(), true);
    write(value, &mut out, &mut |number| {
        finite &= number.is_finite();
        number.as_it_came()
    });
    finite.then_some(out)
}

fn write(value: &Val, out: &mut String, number: &mut dyn FnMut(&Number) -> String) {
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(true) => out.push_str("true"),
        Val::Bool(false) => out.push_str("false"),
        Val::Number(it) => out.push_str(&number(it)),
        Val::Text(it) => quoted(it, out),
        Val::Array(array) => {
            out.push('[');
            for (at, item) in array.items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out, number);
            }
            out.push(']');
        }
        Val::Object(object) => {
            out.push('{');
            for (at, (key, item)) in object.fields.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quoted(key, out);
                out.push(':');
                write(item, out, number);
            }
            out.push('}');
        }
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    loop {
        // What ends it is ASCII.
        let (as_it_is, after) = rest.split_at(plain(rest.as_bytes(), is_escaped));
        out.push_str(as_it_is);
        let mut after = after.chars();
        let Some(c) = after.next() else { break };
        let escaped = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            c => &format!("\\u{:04x}", u32::from(c)),
        };
        out.push_str(escaped);
        rest = after.as_str();
    }
    out.push('"');
}

/// Whether jq writes it with an escape.
fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f | 0x7f)
}
