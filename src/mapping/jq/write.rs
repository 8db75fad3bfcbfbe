//! Values as compact JSON. Pure.

use super::number::Number;
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
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let escaped = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\0'..='\u{1f}' | '\u{7f}' => &format!("\\u{:04x}", u32::from(c)),
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or(""));
        out.push_str(escaped);
        from = at + c.len_utf8();
    }
    out.push_str(text.get(from..).unwrap_or(""));
    out.push('"');
}
