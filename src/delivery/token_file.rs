//! A destination's token file: what outlives a worker goes in and comes out. Never leaves half a file, never lets others
//! read it.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::token::{Access, Stored};

/// Its owner reads and writes it, and nobody else.
const MODE: u32 = 0o600;
/// No token file is larger: a path to something else is not read to its end.
const MOST_BYTES: u64 = 256 * 1024;

/// What stands in the file. A key that is not here marks a file of something else.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// What the file is, for a person who opens it.
    sluice_token_file: u8,
    account: String,
    access: Option<AccessContent>,
    refresh_token: Option<String>,
    calls: Vec<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessContent {
    token: String,
    since: Timestamp,
    expires: Timestamp,
}

/// The number in [`Content::sluice_token_file`]: the form of the content.
const FORM: u8 = 1;

/// What the file holds; `None` when there is none yet, or an empty one. Blocks on the disk, shortly.
///
/// # Errors
/// A sentence with the path when the file cannot be read, or is not a token file: it is left as it is.
pub fn load(path: &Path) -> Result<Option<Stored>, String> {
    let failed = |error: std::io::Error| format!("cannot read the token file {}: {error}", path.display());
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            folder_of(path)?;
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    if !metadata.is_file() {
        return Err(format!("the token file {} is not a file; set token_file to a path of its own", path.display()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(), mode = format!("{mode:o}"),
            "others may read the token file: chmod 600 it; or wait for the next token, which is saved with the right mode"
        );
    }
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text)).map_err(failed)?;
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    // The parser's own words may repeat what stands in the file: only the place is told.
    let content: Content =
        serde_json::from_slice(&text).map_err(|error| foreign(path, &format!("see line {}", error.line())))?;
    if content.sluice_token_file != FORM {
        return Err(foreign(path, &format!("its form is {}, not {FORM}", content.sluice_token_file)));
    }
    Ok(Some(Stored {
        account: content.account,
        access: content.access.map(|access| Access {
            token: SecretString::from(access.token),
            since: access.since,
            expires: access.expires,
        }),
        refresh: content.refresh_token.map(SecretString::from),
        calls: content.calls,
    }))
}

/// Replaces the file in one step: it is written beside it, flushed to the disk and renamed, mode 0600. Only for a
/// path that [`load`] had no error with, so that nothing foreign is overwritten. Blocks on the disk, shortly.
///
/// # Errors
/// A sentence with the path; the file is then whole, as before or as it should be.
pub fn save(path: &Path, stored: &Stored) -> Result<(), String> {
    // A link stays a link: the file that it leads to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&target)?;
    write(&target, &folder, stored).map_err(|error| {
        format!(
            "cannot write the token file {}: {error}; check the space and the permissions of its folder",
            path.display()
        )
    })
}

fn write(target: &Path, folder: &Path, stored: &Stored) -> std::io::Result<()> {
    let content = Content {
        sluice_token_file: FORM,
        account: stored.account.clone(),
        access: stored.access.as_ref().map(|access| AccessContent {
            token: access.token.expose_secret().to_owned(),
            since: access.since,
            expires: access.expires,
        }),
        refresh_token: stored.refresh.as_ref().map(|token| token.expose_secret().to_owned()),
        calls: stored.calls.clone(),
    };
    let mut file =
        tempfile::Builder::new().prefix(".token-").permissions(Permissions::from_mode(MODE)).tempfile_in(folder)?;
    serde_json::to_writer_pretty(&mut file, &content)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    // The new name lasts through a power cut only when the folder is flushed too.
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> Result<PathBuf, String> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Err(format!("token_file {} is not a file's path", path.display())),
    };
    if folder.is_dir() {
        return Ok(folder.to_owned());
    }
    Err(format!("the folder of the token file {} does not exist: create it", path.display()))
}

fn foreign(path: &Path, why: &str) -> String {
    format!(
        "{} is not a token file that Sluice wrote ({why}): move it away, or set token_file to another path",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let at = Timestamp::constant(1_700_000_000, 5);
        Stored {
            account: "one".to_owned(),
            access: Some(Access { token: SecretString::from("acc\"ess"), since: at, expires: Timestamp::MAX }),
            refresh: Some(SecretString::from("refresh")),
            calls: vec![at],
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_saved_is_loaded_again_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        assert!(load(&path).unwrap().is_none());
        save(&path, &stored()).unwrap();
        assert_eq!(mode(&path), 0o600);
        let loaded = load(&path).unwrap().unwrap();
        assert_eq!((loaded.account.as_str(), &loaded.calls), ("one", &stored().calls));
        let access = loaded.access.unwrap();
        assert_eq!(access.token.expose_secret(), "acc\"ess");
        assert_eq!((access.since, access.expires), (stored().calls[0], Timestamp::MAX));
        assert_eq!(loaded.refresh.unwrap().expose_secret(), "refresh");
        save(&path, &Stored::default()).unwrap();
        assert!(load(&path).unwrap().unwrap().refresh.is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left lying about");
    }

    #[test]
    fn a_file_that_others_may_read_is_read_and_closed_at_the_next_save() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        save(&path, &stored()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(load(&path).unwrap().is_some());
        save(&path, &stored()).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn an_empty_file_is_a_place_for_the_first_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(load(file.path()).unwrap().is_none());
    }

    #[test]
    fn a_file_of_something_else_is_an_error_without_its_content_and_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.json");
        let newer = r#"{"sluice_token_file":2,"account":"a","access":null,"refresh_token":null,"calls":[]}"#;
        for text in ["not json s3cret", r#"{"s3cret":1}"#, r#"{"sluice_token_file":"s3cret"}"#, "[]", "\u{0}", newer] {
            fs::write(&path, text).unwrap();
            let sentence = load(&path).unwrap_err();
            assert!(sentence.contains("other.json") && sentence.contains("token_file"), "{sentence}");
            assert!(!sentence.contains("s3cret"), "{sentence}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_folder_that_is_missing_or_a_path_to_a_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/token.json");
        for sentence in [load(&path).unwrap_err(), save(&path, &stored()).unwrap_err()] {
            assert!(sentence.contains("missing/token.json does not exist: create it"), "{sentence}");
        }
        assert!(load(folder.path()).unwrap_err().contains("is not a file"));
        assert!(save(folder.path(), &stored()).unwrap_err().contains("cannot write"));
        assert!(save(Path::new("/"), &stored()).is_err());
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("real.json"), folder.path().join("link.json"));
        save(&path, &Stored::default()).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        save(&link, &stored()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(load(&path).unwrap().unwrap().refresh.is_some());
    }
}
