//! What is wrong with a request, in the API's own words: an error of serde goes in, a sentence that names the field comes out. Pure.

use serde::de::IgnoredAny;
use serde_json::error::Category;

/// Why a body cannot be read: whether it is JSON at all, and a sentence.
pub(super) fn body(error: &serde_path_to_error::Error<serde_json::Error>, body: &[u8]) -> (bool, String) {
    let said = error.inner();
    let at = format!(" at line {} column {}", said.line(), said.column());
    match said.classify() {
        Category::Data => {
            let path = error.path().to_string();
            let place = if path == "." { "" } else { path.as_str() };
            let text = said.to_string();
            (true, in_words(place, text.strip_suffix(&at).unwrap_or(&text), None))
        }
        // A value of another kind than a name's is taken for bad syntax.
        Category::Syntax if serde_json::from_slice::<IgnoredAny>(body).is_ok() => (
            true,
            format!(
                "{:?} is of the wrong kind; it has to be a text that is one of its names",
                error.path().to_string()
            ),
        ),
        Category::Eof | Category::Syntax | Category::Io => (false, not_json(said)),
    }
}

/// Where a body is not JSON.
pub(super) fn not_json(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof => "the body is not JSON: it ends too early".to_owned(),
        Category::Syntax | Category::Io | Category::Data => {
            format!("the body is not JSON: see line {}, column {}", error.line(), error.column())
        }
    }
}

/// Why parameters cannot be read; `given` are those of the request.
pub(super) fn parameters(said: &str, given: &[(String, String)]) -> String {
    let named = given.iter().find_map(|(name, text)| Some((name, text, said.strip_prefix(name)?.strip_prefix(": ")?)));
    let said = match named {
        Some((name, text, said)) => in_words(name, said, Some(text)),
        None => in_words("", said, None),
    };
    for start in ["there is no ", "the "] {
        if let Some(rest) = said.strip_prefix(start).and_then(|rest| rest.strip_prefix("field ")) {
            return format!("{start}parameter {rest}");
        }
    }
    said
}

/// The sentence for what serde says of the field at `place` (nothing: of all), which is `given`.
fn in_words(place: &str, said: &str, given: Option<&str>) -> String {
    let rest = |start: &str| said.strip_prefix(start);
    let what = if place.is_empty() { "the request".to_owned() } else { format!("{place:?}") };
    if let Some(rest) = rest("unknown field `") {
        let (field, expected) = rest.split_once('`').unwrap_or((rest, ""));
        // The path ends with the field itself.
        let within = place.strip_suffix(field).unwrap_or(place).trim_end_matches('.');
        let within = if within.is_empty() { String::new() } else { format!(" in {within:?}") };
        let known = names(expected);
        let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are: {known}") };
        return format!("there is no field {field:?}{within} here; {known}");
    }
    if let Some(field) = rest("missing field `") {
        let within = if place.is_empty() { String::new() } else { format!(" in {place:?}") };
        return format!("the field {:?}{within} is missing", field.trim_end_matches('`'));
    }
    if let Some(field) = rest("duplicate field `") {
        return format!("the field {:?} is given twice", field.trim_end_matches('`'));
    }
    if let Some(rest) = rest("unknown variant `") {
        let (value, expected) = rest.split_once('`').unwrap_or((rest, ""));
        return format!("{what} is {value:?}; it has to be one of: {}", names(expected));
    }
    if let Some((found, expected)) =
        rest("invalid type: ").or(rest("invalid value: ")).and_then(|rest| rest.split_once(", expected "))
    {
        return format!("{what} is {}; it has to be {}", found_in_words(found), expected_in_words(expected));
    }
    if let Some(given) = given {
        let wanted = match said {
            "provided string was not `true` or `false`" => "true or false",
            _ => "a whole number, not too large",
        };
        return format!("{what} is {given:?}; it has to be {wanted}");
    }
    // A sentence of our own.
    if place.is_empty() { said.to_owned() } else { format!("{place:?}: {said}") }
}

/// The names in ", expected one of `a`, `b`".
fn names(expected: &str) -> String {
    expected.split('`').skip(1).step_by(2).collect::<Vec<_>>().join(", ")
}

/// What was found, as serde names it.
fn found_in_words(found: &str) -> String {
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    let quoted = found.split('`').nth(1);
    match (found.split(' ').next().unwrap_or_default(), quoted) {
        ("boolean" | "integer" | "floating" | "number", Some(value)) => value.to_owned(),
        ("map", _) => "an object".to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("null" | "unit" | "Option", _) => "null".to_owned(),
        ("number" | "integer" | "floating", _) => "a number".to_owned(),
        _ => "something else".to_owned(),
    }
}

/// What was expected, as serde names it.
fn expected_in_words(expected: &str) -> String {
    let known = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" | "a JSON number" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" | "a borrowed string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        // Only names are read so.
        _ => "a text that is one of its names",
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Outer {
        act: Act,
        inner: Option<Inner>,
        count: Option<u32>,
        rate: Option<f64>,
        yes: Option<bool>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        list: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Act {
        Replay,
        Discard,
    }

    fn said(text: &str) -> (bool, String) {
        let mut json = serde_json::Deserializer::from_str(text);
        body(&serde_path_to_error::deserialize::<_, Outer>(&mut json).unwrap_err(), text.as_bytes())
    }

    #[test]
    fn a_body_that_is_wrong_is_told_by_its_field_and_without_words_of_the_program() {
        for (text, expected) in [
            (r#"{"acts":"x"}"#, r#"there is no field "acts" here; there are: act, inner, count, rate, yes"#),
            (
                r#"{"act":"replay","inner":{"lists":1}}"#,
                r#"there is no field "lists" in "inner" here; there are: list"#,
            ),
            (r#"{}"#, r#"the field "act" is missing"#),
            (r#"{"act":"replay","inner":{}}"#, r#"the field "list" in "inner" is missing"#),
            (r#"{"act":"replay","act":"replay"}"#, r#"the field "act" is given twice"#),
            (r#"{"act":"reply"}"#, r#""act" is "reply"; it has to be one of: replay, discard"#),
            (r#"{"act":7}"#, r#""act" is of the wrong kind; it has to be a text that is one of its names"#),
            (r#"{"act":"replay","count":"many"}"#, r#""count" is the text "many"; it has to be a whole number from 0"#),
            (r#"{"act":"replay","count":-1}"#, r#""count" is -1; it has to be a whole number from 0"#),
            (r#"{"act":"replay","rate":[]}"#, r#""rate" is a list; it has to be a number"#),
            (r#"{"act":"replay","yes":"no"}"#, r#""yes" is the text "no"; it has to be true or false"#),
            (r#"{"act":"replay","inner":7}"#, r#""inner" is 7; it has to be an object"#),
            (r#"{"act":"replay","inner":{"list":["a",{}]}}"#, r#""inner.list[1]" is an object; it has to be a text"#),
        ] {
            assert_eq!(said(text), (true, expected.to_owned()), "{text}");
        }
        assert_eq!(said("{\"act\": \n replay}"), (false, "the body is not JSON: see line 2, column 2".to_owned()));
        assert_eq!(said("{\"act\":"), (false, "the body is not JSON: it ends too early".to_owned()));
    }

    #[test]
    fn a_parameter_that_is_wrong_is_told_with_what_was_given() {
        let given = [
            ("limit".to_owned(), "x".to_owned()),
            ("recent".to_owned(), "1".to_owned()),
            ("page".to_owned(), "2".to_owned()),
        ];
        for (said, expected) in [
            ("limit: invalid digit found in string", r#""limit" is "x"; it has to be a whole number, not too large"#),
            ("recent: provided string was not `true` or `false`", r#""recent" is "1"; it has to be true or false"#),
            ("page: unknown field `page`, there are no fields", r#"there is no parameter "page" here; there is none"#),
            ("duplicate field `limit`", r#"the parameter "limit" is given twice"#),
            (
                "limit: unknown variant `x`, expected `dead` or `trash`",
                r#""limit" is "x"; it has to be one of: dead, trash"#,
            ),
        ] {
            assert_eq!(parameters(said, &given), expected);
        }
    }
}
