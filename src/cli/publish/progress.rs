//! `<file>.progress`: how far a file was published, for `--resume`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::beside;
use super::input::Place;

/// How much of a file is looked at on either side, to know it again.
const LOOKED_AT: u64 = 4096;
/// Name space of the digests (UUID version 5).
const DIGESTS: Uuid = Uuid::from_u128(0x0b1e_7d62_5c8f_5f0a_9a5e_41c6_77d0_3e19);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Everything before this byte is published or refused.
    pub byte: u64,
    /// The line that begins there.
    pub line: u64,
    /// Bytes of `<file>.refused` that are of what is before.
    pub refused_bytes: u64,
    /// Whether the file was published to its end.
    pub done: bool,
    /// The options that make events of lines.
    pub options: String,
    /// Tells the file from another of its name.
    pub digest: Uuid,
}

/// A file, and how far it was published.
pub(super) struct Course {
    path: PathBuf,
    file: File,
    options: String,
}

impl Course {
    /// # Errors
    /// When the file cannot be read.
    pub fn of(file: &Path, options: String) -> io::Result<Self> {
        Ok(Self { path: beside(file, ".progress"), file: File::open(file)?, options })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far an earlier run came, where there was one and it was of this file.
    ///
    /// # Errors
    /// A sentence, where it cannot be read.
    pub fn earlier(&self) -> Result<Option<Progress>, String> {
        Ok(self.read()?.filter(|read| self.is_of_this_file(read)))
    }

    /// Where a run that goes on begins.
    ///
    /// # Errors
    /// A sentence, where it would not go on with the same events.
    pub fn resume(&self) -> Result<Option<Progress>, String> {
        let (path, now) = (self.path.display(), &self.options);
        match self.read()? {
            Some(read) if !self.is_of_this_file(&read) => {
                // Yesterday's export of the same name.
                if read.done {
                    return Ok(None);
                }
                Err(format!(
                    "{path} is about another file, or this one was changed before line {}: publish it without --resume",
                    read.line
                ))
            }
            Some(Progress { options, .. }) if options != *now => {
                Err(format!("{path} was begun with {options:?} and not with {now:?}: resume with the same options"))
            }
            read => Ok(read),
        }
    }

    fn read(&self) -> Result<Option<Progress>, String> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", self.path.display())),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            format!("{} cannot be read ({error}); without that file, everything is published anew", self.path.display())
        })
    }

    fn is_of_this_file(&self, progress: &Progress) -> bool {
        self.digest(progress.byte).is_ok_and(|digest| digest == progress.digest)
    }

    /// Writes how far it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, place: Place, refused_bytes: u64, done: bool) -> io::Result<()> {
        // A last line without an end is counted with one.
        let (byte, line) = (place.byte.min(self.file.metadata()?.len()), place.line);
        let (digest, options) = (self.digest(byte)?, self.options.clone());
        let text = serde_json::to_vec(&Progress { byte, line, refused_bytes, done, options, digest })?;
        let new = beside(&self.path, ".new");
        fs::write(&new, text)?;
        // At once: whoever is killed leaves the old or the new one.
        fs::rename(new, &self.path)
    }

    /// Of what the file begins with, and of what is right before `byte`.
    fn digest(&self, byte: u64) -> io::Result<Uuid> {
        let most = byte.min(LOOKED_AT);
        let mut looked_at = vec![0; usize::try_from(most * 2).unwrap_or_default()];
        let (beginning, end) = looked_at.split_at_mut(usize::try_from(most).unwrap_or_default());
        self.file.read_exact_at(beginning, 0)?;
        self.file.read_exact_at(end, byte - most)?;
        Ok(Uuid::new_v5(&DIGESTS, &looked_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_gone_on_with_only_in_the_same_file_and_with_the_same_options() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orders.csv");
        let course = |options: &str| Course::of(&file, options.to_owned()).unwrap();
        fs::write(&file, "a,b\n1,2\n3,4\n").unwrap();
        assert_eq!(course("x").resume(), Ok(None), "nothing was begun");
        course("x").note(Place { byte: 8, line: 3 }, 17, false).unwrap();
        let noted = course("x").resume().unwrap().unwrap();
        assert_eq!((noted.byte, noted.line, noted.refused_bytes, noted.done), (8, 3, 17, false));
        assert!(course("y").resume().unwrap_err().contains("begun with \"x\" and not with \"y\""));
        fs::write(&file, "a,b\n1,2\n3,4\n5,6\n").unwrap();
        assert!(course("x").resume().unwrap().is_some(), "it has grown");
        for other in ["a,b\n1,3\n3,4\n", "a,b\n"] {
            fs::write(&file, other).unwrap();
            assert_eq!(course("x").earlier(), Ok(None));
            assert!(course("x").resume().unwrap_err().contains("publish it without --resume"), "{other:?}");
        }
        course("x").note(Place { byte: 4, line: 2 }, 0, true).unwrap();
        fs::write(&file, "another\n").unwrap();
        assert_eq!(course("x").resume(), Ok(None), "the one before was published to its end");
        fs::write(course("x").path(), "{").unwrap();
        assert!(course("x").resume().unwrap_err().contains("cannot be read"));
    }
}
