//! A row of a CSV file as the event that it becomes: its heading names the data's keys. Sentences say what is wrong with a row.

use csv::ByteRecord;
use uuid::Uuid;

use super::refused::{BECAUSE, LINE};
use crate::event::{Data, Event, Time, quoted};
use crate::mapping::{Expression, Input};

/// The heading row.
#[derive(Debug, PartialEq)]
pub(super) struct Heading {
    /// The columns' names, without Sluice's own.
    pub names: Vec<String>,
    /// Whether the file is one of refused rows, which begin with two columns of Sluice's.
    ours: bool,
}

impl Heading {
    pub fn read(row: &ByteRecord, delimiter: u8) -> Result<Self, String> {
        let mut names = Vec::with_capacity(row.len());
        for (at, name) in row.iter().enumerate() {
            let name = std::str::from_utf8(name)
                .map_err(|_| format!("the name of column {} is not UTF-8; save the file as UTF-8", at + 1))?;
            names.push(name.trim().to_owned());
        }
        if names.iter().any(|name| name.contains('\0')) {
            return Err("the heading has NUL characters; save the file as UTF-8".to_owned());
        }
        let ours = names.starts_with(&[LINE.to_owned(), BECAUSE.to_owned()]);
        if ours {
            names.drain(..2);
        }
        if let Some(at) = names.iter().position(String::is_empty) {
            return Err(format!("column {} has no name in the heading row", at + 1));
        }
        if let Some((at, name)) =
            names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|it| it == *name))
        {
            return Err(format!("two columns have the name {name:?}: the second is column {}", at + 1));
        }
        let mut others = [';', '\t', ',', '|'].into_iter().filter(|c| u32::from(*c) != u32::from(delimiter));
        match others.find(|c| matches!(names.as_slice(), [only] if only.contains(*c))) {
            Some('\t') => {
                Err("the heading is one column with tabs in it; are they the separator? --delimiter tab".to_owned())
            }
            Some(c) => {
                Err(format!("the heading is one column with {c:?} in it; is that the separator? --delimiter '{c}'"))
            }
            None => Ok(Self { names, ours }),
        }
    }

    /// A row without the columns of Sluice's, and the line that it had when it was refused.
    pub fn without_ours(&self, row: ByteRecord) -> (ByteRecord, Option<u64>) {
        if !self.ours {
            return (row, None);
        }
        let line = row.get(0).and_then(|line| std::str::from_utf8(line).ok()?.trim().parse().ok());
        (row.iter().skip(2).collect(), line)
    }

    fn column(&self, name: &str, option: &str) -> Result<usize, String> {
        self.names.iter().position(|it| it == name).ok_or_else(|| {
            format!("there is no column {name:?} for {option}; the heading has: {}", self.names.join(", "))
        })
    }
}

/// What the command line says of rows.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub kind: &'a str,
    pub source: String,
    pub id_column: Option<&'a str>,
    pub time_column: Option<&'a str>,
    pub map: Option<Expression>,
}

/// How rows become events.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    names: Vec<String>,
    /// The names as they are written in JSON.
    keys: Vec<String>,
    id: Option<usize>,
    time: Option<usize>,
    wanted: Wanted<'a>,
}

impl<'a> Reader<'a> {
    /// For rows below that heading.
    ///
    /// # Errors
    /// A sentence where a column that is asked for is not there.
    pub fn new(heading: &Heading, wanted: Wanted<'a>) -> Result<Self, String> {
        let column = |name: Option<&str>, option| name.map(|name| heading.column(name, option)).transpose();
        Ok(Self {
            names: heading.names.clone(),
            keys: heading.names.iter().map(|name| quoted(name)).collect(),
            id: column(wanted.id_column, "--id-column")?,
            time: column(wanted.time_column, "--time-column")?,
            wanted,
        })
    }

    /// The CloudEvents envelope for a row, and its id: that of its column, else `otherwise`.
    ///
    /// # Errors
    /// A sentence that names the column.
    pub fn event(&self, row: &ByteRecord, otherwise: impl FnOnce() -> Uuid) -> Result<(String, String), String> {
        if row.len() != self.names.len() {
            let (has, wants) = (row.len(), self.names.len());
            return Err(format!("the row has {has} fields, the heading {wants}; is a quote or a separator missing?"));
        }
        let cells = self.cells(row)?;
        let cell = |at: Option<usize>| at.and_then(|at| Some((*cells.get(at)?, self.names.get(at)?.as_str())));
        let id = match cell(self.id) {
            Some((id, name)) if id.trim().is_empty() => {
                return Err(format!("the column {name:?} is empty: it is the id"));
            }
            Some((id, _)) => id.to_owned(),
            None => otherwise().to_string(),
        };
        let time = match cell(self.time) {
            Some((time, name)) => {
                let read = time.trim().parse::<Time>();
                Some(read.map_err(|error| format!("the column {name:?} is {time:?}, {error}"))?)
            }
            None => None,
        };
        let data = self.data(&cells, &id, time)?;
        let Wanted { kind, source, .. } = &self.wanted;
        let time = time.map(|time| format!("\"time\":{},", quoted(&time.to_string()))).unwrap_or_default();
        let (id_json, source, kind) = (quoted(&id), quoted(source), quoted(kind));
        let envelope = format!(
            "{{\"specversion\":\"1.0\",\"id\":{id_json},\"source\":{source},\"type\":{kind},{time}\"data\":{data}}}"
        );
        Ok((envelope, id))
    }

    fn cells<'r>(&self, row: &'r ByteRecord) -> Result<Vec<&'r str>, String> {
        let text = |(cell, name): (&'r [u8], &String)| {
            std::str::from_utf8(cell).map_err(|error| {
                let at = error.valid_up_to();
                format!("the column {name:?} is not UTF-8: invalid byte at offset {at}; save the file as UTF-8")
            })
        };
        row.iter().zip(&self.names).map(text).collect()
    }

    fn data(&self, cells: &[&str], id: &str, time: Option<Time>) -> Result<String, String> {
        let fields: Vec<String> =
            self.keys.iter().zip(cells).map(|(key, cell)| format!("{key}:{}", quoted(cell))).collect();
        let row = format!("{{{}}}", fields.join(","));
        let Some(map) = &self.wanted.map else { return Ok(row) };
        let event = Event {
            id: id.to_owned(),
            source: self.wanted.source.clone(),
            kind: self.wanted.kind.to_owned(),
            time: time.unwrap_or_else(|| crate::clock::wall().into()),
            data: Data::read("the row", row.into())?,
            trace: None,
            expires: None,
            not_before: None,
            id_derived: false,
            original: None,
        };
        match map.json(&Input::of(&event)).map_err(|said| format!("--map fails on this row: {said}"))? {
            Some(data) if data.starts_with('{') => Ok(data),
            Some(_) => Err("--map gives no JSON object for this row, and an event's data is one".to_owned()),
            None => Err("--map gives nothing for this row, and an event's data is a JSON object".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(fields: &[&[u8]]) -> ByteRecord {
        fields.iter().collect()
    }

    fn heading(names: &str) -> Result<Heading, String> {
        Heading::read(&names.split(',').collect(), b',')
    }

    fn wanted(map: Option<&str>) -> Wanted<'_> {
        let map = map.map(|text| Expression::compile(text).unwrap());
        Wanted { kind: "shop.paid", source: "/shop".into(), id_column: Some("no"), time_column: Some("at"), map }
    }

    fn read(map: Option<&str>, fields: &[&[u8]]) -> Result<Value, String> {
        let reader = Reader::new(&heading("no,at,total").unwrap(), wanted(map)).unwrap();
        let (envelope, id) = reader.event(&record(fields), Uuid::nil)?;
        let read: Value = serde_json::from_str(&envelope).unwrap();
        assert_eq!(read["id"], id);
        Ok(read)
    }

    #[test]
    fn a_heading_names_the_datas_keys_and_columns_give_id_and_time() {
        let event = read(None, &[b"7", b"2026-01-02T03:04:05.25+01:00", b"1\"0\n"]).unwrap();
        let data = json!({ "no": "7", "at": "2026-01-02T03:04:05.25+01:00", "total": "1\"0\n" });
        let envelope = json!({ "specversion": "1.0", "id": "7", "source": "/shop", "type": "shop.paid",
            "time": "2026-01-02T02:04:05.25Z", "data": data });
        assert_eq!(event, envelope);
    }

    #[test]
    fn a_map_makes_the_data() {
        let map = "{order: .no, total: (.total | tonumber), id: $event.id}";
        let event = read(Some(map), &[b"7", b"2026-01-02T03:04:05Z", b"1.10"]).unwrap();
        assert_eq!(event["data"].to_string(), r#"{"id":"7","order":"7","total":1.10}"#);
        for (map, said) in [(".total", "no JSON object"), ("empty", "nothing"), (".total | tonumber", "--map fails")] {
            let wrong = read(Some(map), &[b"7", b"2026-01-02T03:04:05Z", b"x"]).unwrap_err();
            assert!(wrong.contains(said), "{map}: {wrong}");
        }
    }

    #[test]
    fn a_wrong_row_is_told_by_its_column() {
        let at: &[u8] = b"2026-01-02T03:04:05Z";
        for (fields, said) in [
            (vec![&b"7"[..], at], "the row has 2 fields, the heading 3; is a quote or a separator missing?"),
            (vec![b" ", at, b"1"], "the column \"no\" is empty: it is the id"),
            (
                vec![b"7", b"noon", b"1"],
                "the column \"at\" is \"noon\", not an RFC 3339 date and time as 2026-01-02T03:04:05Z",
            ),
            (
                vec![b"7", at, b"caf\xe9"],
                "the column \"total\" is not UTF-8: invalid byte at offset 3; save the file as UTF-8",
            ),
        ] {
            assert_eq!(read(None, &fields).unwrap_err(), said);
        }
    }

    #[test]
    fn a_wrong_heading_is_told_before_anything_is_published() {
        for (names, said) in [
            ("a,,b", "column 2 has no name in the heading row"),
            ("a,b,a", "two columns have the name \"a\": the second is column 3"),
            ("a;b", "the heading is one column with ';' in it; is that the separator? --delimiter ';'"),
            ("a\tb", "the heading is one column with tabs in it; are they the separator? --delimiter tab"),
        ] {
            assert_eq!(heading(names).unwrap_err(), said);
        }
        let said = Reader::new(&heading("a,b").unwrap(), wanted(None)).unwrap_err();
        assert_eq!(said, "there is no column \"no\" for --id-column; the heading has: a, b");
    }

    #[test]
    fn refused_rows_are_read_again_without_what_was_added() {
        let heading = heading("refused_line,refused_because,no,at").unwrap();
        assert_eq!(heading.names, ["no", "at"]);
        let (row, line) = heading.without_ours(record(&[b"12", b"why", b"7", b"x"]));
        assert_eq!((row, line), (record(&[b"7", b"x"]), Some(12)));
    }
}
