//! A file's lines or rows, one after the other, each with its place; read on a thread of its own, since standard input may keep it
//! waiting for ever.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use csv::{ByteRecord, Terminator};
use tokio::sync::mpsc;

use super::rows::Heading;
use super::window::WINDOW;
use crate::cli::Error;

/// A row that takes more ends the run: a quote that is never closed would take the rest of the file into memory.
const MOST_ROW_BYTES: u64 = 16 * 1024 * 1024;

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes before it.
    pub byte: u64,
    /// Its line, from 1.
    pub line: u64,
}

impl Place {
    pub const START: Self = Self { byte: 0, line: 1 };
}

/// One line of NDJSON, or one row.
#[derive(Debug)]
pub(super) struct Record {
    /// The line that it begins on.
    pub line: u64,
    /// The line that it had in the file that it was refused from; else its own.
    pub origin: u64,
    /// Where the next one begins.
    pub end: Place,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Line(Vec<u8>),
    Row(ByteRecord),
    /// A row whose last field is opened by a quote that is never closed.
    Torn(ByteRecord),
}

pub(super) type Records = mpsc::Receiver<std::io::Result<Record>>;

/// The lines of NDJSON from a place on. Empty lines and comments are left out; a comment as `# line 7: …` tells where the next line was.
pub(super) fn lines(path: &Path, from: Place) -> Result<Records, Error> {
    let mut input = BufReader::new(open(path, from)?);
    let (mut place, mut origin) = (from, None);
    Ok(on_a_thread(move || {
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            let here = place.line;
            place = Place { byte: place.byte + wide(read), line: here + 1 };
            if line.ends_with(b"\n") {
                line.pop();
            }
            let text = line.trim_ascii();
            if let Some(comment) = text.strip_prefix(b"#") {
                origin = told_line(comment);
            } else if !text.is_empty() {
                let origin = origin.take().unwrap_or(here);
                return Ok(Some(Record { line: here, origin, end: place, content: Content::Line(line) }));
            }
        }
    }))
}

/// The rows of a CSV file, and its heading. They begin behind the heading, or at `from`.
pub(super) fn rows(path: &Path, from: Option<Place>, delimiter: u8) -> Result<(Arc<Heading>, Records), Error> {
    let place = |line: u64| format!("{}:{line}", path.display());
    let mut rows = Rows::new(open(path, Place::START)?, Place::START, delimiter);
    let Some(Row { fields, line, .. }) = rows.next_row()? else {
        return Err(Error::Refused(format!("{} is empty: a CSV file begins with a heading row", path.display())));
    };
    let heading =
        Heading::read(&fields, delimiter).map_err(|said| Error::Refused(format!("{}: {said}", place(line))))?;
    let heading = Arc::new(heading);
    if let Some(from) = from.filter(|from| *from != Place::START) {
        rows = Rows::new(open(path, from)?, from, delimiter);
    }
    let told = Arc::clone(&heading);
    Ok((heading, on_a_thread(move || Ok(rows.next_row()?.map(|row| rows.record(row, &told))))))
}

fn on_a_thread(mut next: impl FnMut() -> std::io::Result<Option<Record>> + Send + 'static) -> Records {
    let (sender, receiver) = mpsc::channel(WINDOW);
    std::thread::spawn(move || {
        while let Some(record) = next().transpose() {
            let failed = record.is_err();
            if sender.blocking_send(record).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn open(path: &Path, from: Place) -> Result<Box<dyn Read + Send>, Error> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let failed = |error: std::io::Error| Error::Failed(format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    file.seek(SeekFrom::Start(from.byte)).map_err(failed)?;
    Ok(Box::new(file))
}

/// The number in ` line 7: …`.
fn told_line(comment: &[u8]) -> Option<u64> {
    let (number, _) = std::str::from_utf8(comment).ok()?.trim_start().strip_prefix("line ")?.split_once(':')?;
    number.parse().ok()
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A CSV reader that knows on which line a row begins: the crate's own position is that before empty lines, and of half an end of line.
struct Rows {
    csv: csv::Reader<Bounded>,
    from: Place,
}

/// A row as it was read, and the line that it begins on.
struct Row {
    fields: ByteRecord,
    line: u64,
    torn: bool,
}

/// What the file has, and an end of line, so that every row has one; no more than a row may take.
struct Bounded {
    input: std::io::Chain<Box<dyn Read + Send>, &'static [u8]>,
    left: u64,
    ended: bool,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(std::io::Error::other("the row is too long"));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.input.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= wide(read);
        self.ended = read == 0;
        Ok(read)
    }
}

impl Rows {
    fn new(input: Box<dyn Read + Send>, from: Place, delimiter: u8) -> Self {
        let bounded = Bounded { input: input.chain(&b"\n"[..]), left: MOST_ROW_BYTES, ended: false };
        let mut csv = csv::ReaderBuilder::new();
        // With the default terminator a row ends before its `\n`, which is then counted with the next.
        csv.has_headers(false).flexible(true).delimiter(delimiter).terminator(Terminator::Any(b'\n'));
        Self { csv: csv.from_reader(bounded), from }
    }

    /// The next row that is not empty.
    fn next_row(&mut self) -> std::io::Result<Option<Row>> {
        loop {
            let mut row = ByteRecord::new();
            self.csv.get_mut().left = MOST_ROW_BYTES;
            let before = self.place().line;
            if !self.csv.read_byte_record(&mut row).map_err(|error| self.failure(&error, before))? {
                return Ok(None);
            }
            let within = wide(row.iter().flatten().filter(|byte| **byte == b'\n').count());
            // It looked for more behind the last end of line.
            let torn = self.csv.get_ref().ended;
            let line = self.place().line.saturating_sub(within + u64::from(!torn));
            let fields = without_return(row);
            if torn || fields.len() != 1 || fields.get(0) != Some(b"") {
                return Ok(Some(Row { fields, line, torn }));
            }
        }
    }

    fn record(&self, row: Row, heading: &Heading) -> Record {
        let Row { fields, line, torn } = row;
        let (fields, origin) = heading.without_ours(fields);
        let content = if torn { Content::Torn(fields) } else { Content::Row(fields) };
        Record { line, origin: origin.unwrap_or(line), end: self.place(), content }
    }

    /// Where the next row begins.
    fn place(&self) -> Place {
        let position = self.csv.position();
        Place { byte: self.from.byte + position.byte(), line: self.from.line + position.line() - 1 }
    }

    fn failure(&self, error: &csv::Error, line: u64) -> std::io::Error {
        if self.csv.get_ref().left > 0 {
            return std::io::Error::other(error.to_string());
        }
        let most = MOST_ROW_BYTES / 1024 / 1024;
        std::io::Error::other(format!(
            "the row that begins on line {line} has over {most} MB; is a quote opened there and never closed?"
        ))
    }
}

/// Without the `\r` of an end of line `\r\n`.
fn without_return(row: ByteRecord) -> ByteRecord {
    let Some(last) = row.len().checked_sub(1).and_then(|at| row.get(at)?.strip_suffix(b"\r")) else { return row };
    let mut mended: ByteRecord = row.iter().take(row.len() - 1).collect();
    mended.push_field(last);
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that rows begin on, and their fields.
    fn read(text: &str) -> Vec<(u64, Vec<String>)> {
        let bytes = text.as_bytes().to_vec();
        let mut rows = Rows::new(Box::new(std::io::Cursor::new(bytes)), Place::START, b',');
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        let next = || rows.next_row().unwrap().map(|row| (row.line, row.fields.iter().map(text).collect()));
        std::iter::from_fn(next).collect()
    }

    fn row(line: u64, fields: &[&str]) -> (u64, Vec<String>) {
        (line, fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn a_row_is_told_by_the_line_that_it_begins_on_whatever_ends_lines() {
        for end in ["\n", "\r\n"] {
            let text = "\u{feff}a,b~1,\"x~y\"~~~2,\"q\"~3,z".replace('~', end);
            let broken = format!("x{end}y");
            let rows = [row(1, &["a", "b"]), row(2, &["1", &broken]), row(6, &["2", "q"]), row(7, &["3", "z"])];
            assert_eq!(read(&text), rows, "{end:?}");
            assert_eq!(read(&(text + end)), rows, "{end:?}");
        }
    }

    #[test]
    fn reading_goes_on_at_any_rows_end() {
        let text = b"\xef\xbb\xbfa,b\r\n1,\"x\r\ny\"\r\n\r\n2,q\r\n3,z";
        let all = |from: Place| {
            let rest = text[usize::try_from(from.byte).unwrap()..].to_vec();
            let mut rows = Rows::new(Box::new(std::io::Cursor::new(rest)), from, b',');
            let next = || rows.next_row().unwrap().map(|row| (row.line, row.fields, rows.place()));
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        let whole = all(Place::START);
        assert_eq!(whole.len(), 4);
        for (read, (_, _, end)) in whole.iter().enumerate().take(3) {
            assert_eq!(all(*end), whole[read + 1..], "from {end:?}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_tears_its_row_and_a_huge_one_ends_the_run() {
        let open = |text: String| Rows::new(Box::new(std::io::Cursor::new(text.into_bytes())), Place::START, b',');
        let mut rows = open("a,b\n1,\"x\n2,y\n".to_owned());
        assert!(!rows.next_row().unwrap().unwrap().torn);
        let torn = rows.next_row().unwrap().unwrap();
        assert!(torn.torn && torn.line == 2);
        assert!(rows.next_row().unwrap().is_none());
        let mut rows = open("a,b\n1,\"".to_owned() + &"x\n".repeat(9_000_000));
        rows.next_row().unwrap();
        let said = rows.next_row().err().unwrap().to_string();
        assert!(said.contains("begins on line 2 has over 16 MB"), "{said}");
    }

    #[test]
    fn a_comment_of_a_refused_line_tells_where_that_was() {
        assert_eq!(told_line(b" line 17: the body is empty"), Some(17));
        assert_eq!([told_line(b" a note"), told_line(b" line x: y"), told_line(b"")], [None, None, None]);
    }
}
