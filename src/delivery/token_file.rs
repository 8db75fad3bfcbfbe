//! A destination's token file: what outlives a worker goes in and comes out. Never leaves half a file, never overwrites
//! one that it did not write, never lets others read it.

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
            "others may read the token file: chmod 600 it; the next token that is saved mends it"
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

/// Replaces the file in one step: it is written beside it, flushed to the disk and renamed, mode 0600. Blocks on the disk, shortly.
///
/// # Errors
/// A sentence with the path; the file is then as it was.
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
    Err(format!("the folder of the token file {} does not exist: create it, mode 700", path.display()))
}

fn foreign(path: &Path, why: &str) -> String {
    format!(
        "{} is not a token file that Sluice wrote ({why}): move it away, or set token_file to another path",
        path.display()
    )
}
