//! A list of people out of a file: one a line, or a column of a CSV. Bad rows are named by their line and never shown.

use csv::{ByteRecord, ReaderBuilder};

use super::LONGEST_PERSON;

/// Separators of columns that files have.
const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// What of a file says who it is.
#[derive(Clone, Copy, Debug)]
pub struct ListForm<'a> {
    /// The column of a CSV with a heading; none: one person a line.
    pub column: Option<&'a str>,
    /// What separates columns; none: what the heading has most of.
    pub separator: Option<u8>,
}

/// A row that names nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its line in the file.
    pub line: u64,
    /// Why.
    pub why: String,
}

/// Gives each person of a file to `person`, and returns the rows that name none.
///
/// # Errors
/// A sentence, where the file is not what `form` says; then nobody was given.
pub fn read(bytes: &[u8], form: ListForm<'_>, mut person: impl FnMut(&str)) -> Result<Vec<BadRow>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("the file is UTF-16; save it as UTF-8".to_owned());
    }
    match form.column {
        Some(column) => column_of(bytes, column, form.separator, person),
        None => {
            let mut bad = Vec::new();
            let first = bytes.split(|byte| *byte == b'\n').find(|line| !matches!(one_of(line), Ok(None)));
            if let Some(separator) = first.and_then(separator_in) {
                return Err(format!(
                    "its first row has a {separator:?} in it: if this is a CSV, name its column: --column email"
                ));
            }
            for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
                match one_of(line) {
                    Ok(None) => {}
                    Ok(Some(one)) => person(one),
                    Err(why) => bad.push(BadRow { line: u64::try_from(at + 1).unwrap_or(u64::MAX), why }),
                }
            }
            Ok(bad)
        }
    }
}

/// Who stands on a line; nobody on an empty one, and on one that begins with #.
fn one_of(line: &[u8]) -> Result<Option<&str>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    match separator_in(line.as_bytes()) {
        Some(separator) => Err(format!("has a {separator:?} in it")),
        None => checked(line).map(Some),
    }
}

/// What separates columns in a line, where something does.
fn separator_in(line: &[u8]) -> Option<char> {
    SEPARATORS.into_iter().find(|separator| line.iter().any(|byte| char::from(*byte) == *separator))
}

fn checked(person: &str) -> Result<&str, String> {
    if person.len() > LONGEST_PERSON {
        return Err(format!("has {} bytes; a person's key has at most {LONGEST_PERSON}", person.len()));
    }
    Ok(person)
}

fn column_of(
    bytes: &[u8],
    column: &str,
    separator: Option<u8>,
    mut person: impl FnMut(&str),
) -> Result<Vec<BadRow>, String> {
    let separator = separator.unwrap_or_else(|| separator_of(bytes));
    let mut rows = ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(bytes);
    let (mut row, mut bad) = (ByteRecord::new(), Vec::new());
    let broken = |error: &csv::Error| format!("the file cannot be read as CSV: {error}");
    if !rows.read_byte_record(&mut row).map_err(|error| broken(&error))? {
        return Err("the file is empty; its first row has to be the heading with the names of the columns".to_owned());
    }
    let names: Vec<String> = row.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    let Some(at) = names.iter().position(|name| name == column) else {
        let same = names.iter().find(|name| name.eq_ignore_ascii_case(column));
        let mend = same.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
        return Err(format!("there is no column {column:?}; the heading has: {}{mend}", names.join(", ")));
    };
    let wants_address = column.to_lowercase().contains("mail");
    while rows.read_byte_record(&mut row).map_err(|error| broken(&error))? {
        let line = row.position().map_or(0, csv::Position::line);
        match cell(&row, at, names.len(), wants_address) {
            Ok(one) => person(one),
            Err(why) => bad.push(BadRow { line, why }),
        }
    }
    Ok(bad)
}

fn cell(row: &ByteRecord, at: usize, columns: usize, wants_address: bool) -> Result<&str, String> {
    if row.len() != columns {
        return Err(format!("has {} fields, the heading {columns}; is a quote or a separator missing?", row.len()));
    }
    let text = std::str::from_utf8(row.get(at).unwrap_or_default()).map_err(|_| "is not UTF-8".to_owned())?.trim();
    if text.is_empty() {
        return Err("has nothing in that column".to_owned());
    }
    if wants_address && !text.contains('@') {
        return Err("has no e-mail address in that column".to_owned());
    }
    checked(text)
}

/// What the heading has most of.
fn separator_of(bytes: &[u8]) -> u8 {
    let heading = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |separator: &u8| heading.iter().filter(|byte| *byte == separator).count();
    // The last of equals wins.
    b"|\t;,".iter().copied().max_by_key(count).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str, column: Option<&str>) -> Result<(Vec<String>, Vec<u64>), String> {
        let mut people = Vec::new();
        let bad = read(text.as_bytes(), ListForm { column, separator: None }, |one| people.push(one.to_owned()))?;
        Ok((people, bad.into_iter().map(|row| row.line).collect()))
    }

    #[test]
    fn a_file_has_one_person_a_line() {
        let (people, bad) = listed("\u{feff}# who left\nann@example.com\r\n\n u-1 \na,b\n", None).unwrap();
        assert_eq!((people, bad), (vec!["ann@example.com".to_owned(), "u-1".to_owned()], vec![5]));
        assert!(listed("\n# all\nname,email\nBob\n", None).unwrap_err().contains("--column email"));
    }

    #[test]
    fn a_csv_has_a_column_and_bad_rows_are_named() {
        let text = "name;email\nAnn;ann@example.com\nBob\nCid;\n\"Dan;Dee\";dan@example.com\nEve;none\n";
        let (people, bad) = listed(text, Some("email")).unwrap();
        assert_eq!((people, bad), (vec!["ann@example.com".to_owned(), "dan@example.com".to_owned()], vec![3, 4, 6]));
    }

    #[test]
    fn a_wrong_column_is_told_with_those_there_are() {
        let said = listed("name,E-Mail\nAnn,a@b.c\n", Some("mail")).unwrap_err();
        assert_eq!(said, "there is no column \"mail\"; the heading has: name, E-Mail");
        assert!(listed("name,Email\n", Some("email")).unwrap_err().ends_with("did you mean \"Email\"?"));
        assert!(listed("", Some("email")).unwrap_err().contains("is empty"));
        assert!(
            read(b"\xff\xfea\0", ListForm { column: None, separator: None }, |_| {}).unwrap_err().contains("UTF-16")
        );
    }
}
