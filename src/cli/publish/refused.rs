//! `<file>.refused`: the lines that were not published, each with its reason, in a form that can be mended and published.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use csv::ByteRecord;

use super::beside;
use super::input::Content;
use crate::cli::sanitize;

/// The columns that refused rows begin with: a row with a field too many or too few keeps its own after them.
pub(super) const LINE: &str = "refused_line";
pub(super) const BECAUSE: &str = "refused_because";

/// The file; it is made with the first refused line.
pub(super) struct Refused {
    path: PathBuf,
    form: Form,
    file: Option<File>,
    bytes: u64,
}

/// How lines are written.
pub(super) enum Form {
    Lines,
    Rows { names: Vec<String>, delimiter: u8 },
}

impl Refused {
    /// For the lines of `file`. A run that goes on keeps the `bytes` that were there when it was cut off.
    pub fn of(file: &Path, form: Form, bytes: u64) -> Self {
        Self { path: beside(file, ".refused"), form, file: None, bytes }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are in it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, line: u64, because: &str, content: &Content) -> io::Result<()> {
        let mut text = Vec::new();
        if self.bytes == 0 {
            self.heading(&mut text)?;
        }
        match content {
            Content::Line(event) => {
                writeln!(text, "# line {line}: {}", sanitize::line(because))?;
                text.extend_from_slice(event);
                text.push(b'\n');
            }
            Content::Row(fields) | Content::Torn(fields) => {
                let (line, because) = (line.to_string(), sanitize::line(because));
                self.row(&mut text, [line.as_bytes(), because.as_bytes()].into_iter().chain(fields))?;
            }
        }
        if self.file.is_none() {
            self.file = Some(self.open()?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&text)?;
        }
        self.bytes += u64::try_from(text.len()).unwrap_or(0);
        Ok(())
    }

    fn heading(&self, text: &mut Vec<u8>) -> io::Result<()> {
        match &self.form {
            Form::Lines => Ok(()),
            Form::Rows { names, .. } => {
                self.row(text, [LINE, BECAUSE].into_iter().chain(names.iter().map(String::as_str)).map(str::as_bytes))
            }
        }
    }

    fn row<'a>(&self, text: &mut Vec<u8>, fields: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let delimiter = match &self.form {
            Form::Lines => b',',
            Form::Rows { delimiter, .. } => *delimiter,
        };
        let row: ByteRecord = fields.collect();
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(text);
        writer.write_byte_record(&row)?;
        writer.flush()
    }

    /// One of an earlier run is kept: somebody may be mending it.
    fn open(&self) -> io::Result<File> {
        if self.bytes == 0 {
            if self.path.exists() {
                fs::rename(&self.path, beside(&self.path, ".old"))?;
            }
            return File::create(&self.path);
        }
        let mut file = File::options().write(true).open(&self.path)?;
        // What was refused since is refused again.
        file.set_len(self.bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_rows_stand_below_their_heading_with_their_line_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orders.csv");
        let form = || Form::Rows { names: vec!["no".to_owned(), "name; first".to_owned()], delimiter: b';' };
        let mut refused = Refused::of(&file, form(), 0);
        assert!(!refused.path().exists(), "nothing is refused");
        refused.add(3, "no \"time\"", &Content::Row(["7", "Åsa;\nB"].iter().collect())).unwrap();
        let bytes = refused.bytes();
        refused.add(9, "lost with the run", &Content::Row(["8"].iter().collect())).unwrap();
        let mut again = Refused::of(&file, form(), bytes);
        again.add(9, "the row has 1 field", &Content::Torn(["8"].iter().collect())).unwrap();
        let text = fs::read_to_string(again.path()).unwrap();
        let rows = "refused_line;refused_because;no;\"name; first\"\n3;\"no \"\"time\"\"\";7;\"Åsa;\nB\"\n9;the row has 1 field;8\n";
        assert_eq!(text, rows);
    }

    #[test]
    fn refused_lines_stay_as_they_were_below_a_comment_and_an_earlier_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.ndjson");
        for line in [&b"{\"id\": 5 }"[..], b"caf\xe9"] {
            let mut refused = Refused::of(&file, Form::Lines, 0);
            refused.add(2, "not\nUTF-8", &Content::Line(line.to_vec())).unwrap();
        }
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        assert_eq!(read("events.ndjson.refused"), b"# line 2: not\\nUTF-8\ncaf\xe9\n");
        assert_eq!(read("events.ndjson.refused.old"), b"# line 2: not\\nUTF-8\n{\"id\": 5 }\n");
    }
}
