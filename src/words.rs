//! Counts, nouns and JSON as people read them. Pure.

/// A number with its thousands apart.
#[must_use]
pub fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A count with its noun.
#[must_use]
pub fn of(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

/// So many letters.
#[must_use]
pub fn letters(number: impl Into<u64>) -> String {
    of(number.into(), "letter", "letters")
}

/// JSON laid out for people: the same text with other white space, so that no number and no order changes. None where it is no JSON.
#[must_use]
pub fn pretty(json: &str) -> Option<String> {
    laid_out(json, true)
}

/// The same JSON without white space. None where it is no JSON.
#[must_use]
pub fn compact(json: &str) -> Option<String> {
    laid_out(json, false)
}

/// What is nested deeply grows a hundredfold: then it is better read as it is.
const MOST_LAID_OUT: usize = 1024 * 1024;

fn laid_out(json: &str, lines: bool) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut quoted, mut escaped, mut empty) = (0_usize, false, false, false);
    let line = |out: &mut String, depth: usize| {
        if lines {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    for c in json.chars() {
        if lines && out.len() > MOST_LAID_OUT {
            return None;
        }
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // A break after what opens, and before what closes, unless there is nothing between.
        if empty != closes {
            line(&mut out, depth);
        }
        empty = matches!(c, '{' | '[');
        out.push(c);
        match c {
            '{' | '[' => depth += 1,
            ',' => line(&mut out, depth),
            ':' if lines => out.push(' '),
            '"' => quoted = true,
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_has_its_thousands_apart_and_the_right_noun() {
        assert_eq!([0_u32, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((of(1, "letter", "letters"), of(2, "letter", "letters")), ("1 letter".into(), "2 letters".into()));
        assert_eq!(letters(0_u64), "0 letters");
    }

    #[test]
    fn json_is_laid_out_without_changing_a_value_or_the_order() {
        let compact_ = r#"{"z":1.0,"a":[],"b":[1,{"c":"x, \"{y}\" \\"}],"n":12345678901234567890123,"e":{}}"#;
        let laid = "{\n  \"z\": 1.0,\n  \"a\": [],\n  \"b\": [\n    1,\n    {\n      \"c\": \"x, \\\"{y}\\\" \\\\\"\n    }\n  ],\n  \"n\": 12345678901234567890123,\n  \"e\": {}\n}";
        assert_eq!(pretty(compact_).as_deref(), Some(laid));
        assert_eq!(compact(laid).as_deref(), Some(compact_));
        assert_eq!((pretty("[[]]").as_deref(), pretty("5").as_deref()), (Some("[\n  []\n]"), Some("5")));
        assert_eq!((pretty("{"), pretty("")), (None, None));
    }
}
