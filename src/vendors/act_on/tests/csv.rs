//! The CSV, read again by a strict reader that shares no code with what wrote it.

use proptest::prelude::*;

use super::*;

const SEPARATORS: [(&str, char); 4] = [("TAB", '\t'), ("COMMA", ','), ("SEMICOLON", ';'), ("SPACE", ' ')];
const QUOTES: [(&str, Option<char>); 3] = [("NONE", None), ("SINGLE_QUOTE", Some('\'')), ("DOUBLE_QUOTE", Some('"'))];

/// An upload as its form says it.
struct Upload {
    fields: Vec<(String, String)>,
    rows: Vec<Vec<String>>,
}

impl Upload {
    fn read(request: &Request<Bytes>) -> Self {
        let kind = request.headers()["content-type"].to_str().unwrap().to_owned();
        let body = text(request);
        let delimiter = format!("--{}", kind.strip_prefix("multipart/form-data; boundary=").unwrap());
        assert!(body.ends_with(&format!("\r\n{delimiter}--\r\n")));
        let inner = body.strip_prefix(&format!("{delimiter}\r\n")).unwrap();
        let inner = inner.strip_suffix(&format!("\r\n{delimiter}--\r\n")).unwrap();
        let mut fields: Vec<(String, String)> = inner
            .split(&format!("\r\n{delimiter}\r\n"))
            .map(|part| part.split_once("\r\n\r\n").unwrap())
            .map(|(head, value)| (head.split('"').nth(1).unwrap().to_owned(), value.to_owned()))
            .collect();
        let (name, file) = fields.pop().unwrap();
        assert_eq!(name, "file");
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
        let separator = SEPARATORS.iter().find(|(name, _)| *name == field("fieldseparator")).unwrap().1;
        let quote = QUOTES.iter().find(|(name, _)| *name == field("quotecharacter")).unwrap().1;
        let mut rows = read(&file, separator, quote);
        if field("firstrow") == "Y" {
            assert_eq!(rows.remove(0), ["id", "source", "email", "when", "title", "note"]);
        }
        Self { fields, rows }
    }

    fn field(&self, name: &str) -> &str {
        &self.fields.iter().find(|(field, _)| field == name).unwrap().1
    }

    /// A column by the form's word for its index.
    fn column(&self, index: &str) -> Vec<&str> {
        let index: usize = self.field(index).parse().unwrap();
        self.rows.iter().map(|row| row[index].as_str()).collect()
    }
}

/// Rows that end with CRLF, each of six fields: all in quotes, or none.
fn read(file: &str, separator: char, quote: Option<char>) -> Vec<Vec<String>> {
    let Some(quote) = quote else {
        let lines = file.strip_suffix("\r\n").unwrap().split("\r\n");
        return lines.map(|line| line.split(separator).map(str::to_owned).collect()).collect();
    };
    let (mut rows, mut row, mut rest) = (Vec::new(), Vec::new(), file);
    while !rest.is_empty() {
        rest = rest.strip_prefix(quote).expect("a field opens with a quote");
        let mut field = String::new();
        loop {
            let (before, after) = rest.split_once(quote).expect("a field closes with a quote");
            field.push_str(before);
            rest = after;
            let Some(after) = rest.strip_prefix(quote) else { break };
            field.push(quote);
            rest = after;
        }
        row.push(field);
        if let Some(after) = rest.strip_prefix("\r\n") {
            rows.push(std::mem::take(&mut row));
            rest = after;
        } else {
            rest = rest.strip_prefix(separator).expect("a separator or the line's end after a field");
        }
    }
    assert!(row.is_empty(), "the last line does not end");
    rows
}

/// Sends every title with every separator and quote, and reads them again: the same titles, in order, whichever CSVs they
/// travel in.
fn assert_carried(titles: &[String]) {
    for (separator, _) in SEPARATORS {
        for (quote, _) in QUOTES {
            for firstrow in [true, false] {
                let lines =
                    format!("mode = \"csv\"\nseparator = \"{separator}\"\nquote = \"{quote}\"\nfirstrow = {firstrow}");
                assert_carried_by(&lines, quote, titles);
            }
        }
    }
}

fn assert_carried_by(lines: &str, quote: &str, titles: &[String]) {
    let vendor = configured(lines);
    let items: Vec<Item> = titles
        .iter()
        .enumerate()
        .map(|(index, title)| {
            let mut data = data(title);
            data["note"] = json!(title);
            item(vendor.as_ref(), &index.to_string(), &data)
        })
        .collect();
    let mut carried = vec![None; titles.len()];
    for group in items.iter().map(|item| &item.group).collect::<std::collections::BTreeSet<_>>() {
        let together: Vec<&Item> = items.iter().filter(|item| item.group == *group).collect();
        let upload = Upload::read(&vendor.request(&together).unwrap());
        assert!(quote == upload.field("quotecharacter") || quote == "NONE");
        assert_eq!(upload.column("titlecolidx"), upload.column("notecolidx"), "{lines}");
        let distinct: std::collections::BTreeSet<_> = upload.column("titlecolidx").into_iter().collect();
        assert_eq!(upload.field("titlecount"), distinct.len().to_string());
        assert!(upload.column("emailcolidx").iter().all(|email| *email == "a@example.com"));
        assert!(upload.column("datecolidx").iter().all(|when| *when == "11/14/2023"));
        for (row, title) in upload.rows.iter().zip(upload.column("titlecolidx")) {
            carried[row[0].parse::<usize>().unwrap()] = Some(title.to_owned());
        }
    }
    assert_eq!(carried, titles.iter().cloned().map(Some).collect::<Vec<_>>(), "{lines}");
}

#[test]
fn hard_titles_arrive_unchanged_with_every_separator_and_quote() {
    let long = "é🎉".repeat(2500);
    let titles = [
        "plain",
        "plain",
        "a,b;c\td e",
        "'single' and \"double\"",
        "\"",
        "'",
        "''",
        "\"\"",
        "\n",
        "a\nb\r\nc\rd",
        " leading and trailing ",
        "\u{feff}begins with a byte order mark",
        "=SUM(A1)",
        "🎉 \u{200f}שלום\u{200f} \u{202e}x",
        "back\\slash \\\" \\n",
        "--sluice-0\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nx",
        "\u{b}\u{7f}\u{85}\u{2028}",
        long.as_str(),
    ];
    // A title has to have more than space in it.
    assert_carried(&titles.into_iter().filter(|title| !title.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn what_goes_without_quotes_stays_without_them() {
    let vendor = configured("quote = \"NONE\"\nseparator = \"SEMICOLON\"");
    let group = |title: &str| item(vendor.as_ref(), "1", &data(title)).group;
    assert_eq!(group("a, \"b\"\t'c'"), group("plain"));
    for broken in ["a;b", "a\nb", "a\rb"] {
        assert_ne!(group(broken), group("plain"));
        assert_eq!(group(broken), group("c;d"));
    }
}

#[test]
fn equal_events_give_equal_requests() {
    let vendor = configured("");
    let items = ["a", "b"].map(|title| item(vendor.as_ref(), title, &data(title)));
    let request = || vendor.request(&[&items[0], &items[1]]).unwrap();
    assert_eq!(request().headers(), request().headers());
    assert_eq!(request().body(), request().body());
    assert_ne!(request().headers()["content-type"], vendor.request(&[&items[0]]).unwrap().headers()["content-type"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_titles_arrive_unchanged(titles in prop::collection::vec("x[,;\t \r\n'\"\\\\=a\u{feff}\u{200f}🎉é-]{0,12}|\\PC{1,20}", 1..12)) {
        let titles: Vec<String> = titles.into_iter().filter(|title| !title.trim().is_empty() && !title.contains('\0')).collect();
        assert_carried(&titles);
    }
}
