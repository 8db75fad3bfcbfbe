//! A separated text read strictly: text, separator and quote come in, rows of fields go out, or what is wrong. Pure.
//! Written by hand, since readers in use forgive stray quotes, and the sandbox is there to find them.

/// The rows of `text` by RFC 4180, with this `separator` and `quote`; no quote: a field ends with the next separator.
/// Lines end with LF or CRLF, the last one with or without.
///
/// # Errors
/// Row, column and what is wrong: a stray, open or early closed quote, or a carriage return on its own.
pub(super) fn read(text: &str, separator: char, quote: Option<char>) -> Result<Vec<Vec<String>>, String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut row = Vec::new();
        loop {
            let place = |wrong| format!("row {}, column {}: {wrong}", rows.len() + 1, row.len() + 1);
            let (value, after) = field(rest, separator, quote).map_err(place)?;
            row.push(value);
            rest = after;
            match rest.strip_prefix(separator) {
                Some(after) => rest = after,
                None => break,
            }
        }
        rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
        rows.push(row);
    }
    Ok(rows)
}

/// The field that `text` begins with, and what comes after it: a separator, the end of the line, or nothing.
fn field(text: &str, separator: char, quote: Option<char>) -> Result<(String, &str), &'static str> {
    let Some(inside) = quote.and_then(|quote| text.strip_prefix(quote)) else {
        return bare(text, separator, quote);
    };
    let (value, rest) = quoted(inside, quote.unwrap_or_default())?;
    if rest.is_empty() || rest.starts_with(separator) || rest.starts_with('\n') || rest.starts_with("\r\n") {
        Ok((value, rest))
    } else {
        Err("something stands between the closing quote and the next separator")
    }
}

/// A field up to its closing quote; within it, two quotes stand for one.
fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (inside, after) = rest.split_once(quote).ok_or("a quote is never closed")?;
        value.push_str(inside);
        match after.strip_prefix(quote) {
            Some(after) => {
                value.push(quote);
                rest = after;
            }
            None => return Ok((value, after)),
        }
    }
}

fn bare(text: &str, separator: char, quote: Option<char>) -> Result<(String, &str), &'static str> {
    let end = text.find([separator, '\n']).unwrap_or(text.len());
    let value = &text[..end];
    let value = if text[end..].starts_with('\n') { value.strip_suffix('\r').unwrap_or(value) } else { value };
    if quote.is_some_and(|quote| value.contains(quote)) {
        return Err("a quote stands inside a field that does not begin with one");
    }
    if value.contains('\r') {
        return Err("a carriage return stands outside quotes and does not end the line");
    }
    Ok((value.to_owned(), &text[value.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_by_the_declared_separator_and_quote() {
        for (text, separator, quote, rows) in [
            ("a,b\nc,d\n", ',', None, vec![vec!["a", "b"], vec!["c", "d"]]),
            ("a\tb\r\n\tc", '\t', None, vec![vec!["a", "b"], vec!["", "c"]]),
            ("\"a, \"\"b\"\"\",\"c\nd\"\n", ',', Some('"'), vec![vec!["a, \"b\"", "c\nd"]]),
            ("'it''s';\"x\"", ';', Some('\''), vec![vec!["it's", "\"x\""]]),
            ("a \"\"", ' ', Some('"'), vec![vec!["a", ""]]),
            ("a,\"b\",", ',', None, vec![vec!["a", "\"b\"", ""]]),
            ("\"a\r\nb\"\r\n", ',', Some('"'), vec![vec!["a\r\nb"]]),
            ("a\n\nb", ',', None, vec![vec!["a"], vec![""], vec!["b"]]),
        ] {
            assert_eq!(read(text, separator, quote).unwrap(), rows, "{text:?}");
        }
        assert!(read("", ',', None).unwrap().is_empty());
    }

    #[test]
    fn a_stray_quote_or_carriage_return_is_named_with_its_place() {
        for (text, hint) in [
            ("a,b\"c", "row 1, column 2: a quote stands inside"),
            ("a\n\"b", "row 2, column 1: a quote is never closed"),
            ("\"a\"b,c", "row 1, column 1: something stands between"),
            ("\"a\" ,c", "row 1, column 1: something stands between"),
            ("a\rb,c", "row 1, column 1: a carriage return"),
        ] {
            let wrong = read(text, ',', Some('"')).unwrap_err();
            assert!(wrong.starts_with(hint), "{text:?}: {wrong}");
        }
    }
}
