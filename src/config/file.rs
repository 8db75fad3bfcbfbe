//! The configuration file on disk: the one place that reads it, the environment, and the files that secrets are in.

use std::path::{Path, PathBuf};

use super::{Admin, Config, ConfigProblem, Problems, parse, parse_admin, parse_for_commands};

/// A configuration file, read whenever it is asked for.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
}

impl ConfigFile {
    /// The file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it now.
    ///
    /// # Errors
    /// Every problem there is; a file that cannot be read is one.
    pub fn load(&self) -> Result<Config, Problems> {
        let (name, text) = self.text()?;
        parse(&name, &text, &environment, &|path| std::fs::read_to_string(path))
    }

    /// Reads it for a command that sends nothing to vendors: their secrets need not be there.
    ///
    /// # Errors
    /// As [`ConfigFile::load`].
    pub fn load_for_command(&self) -> Result<Config, Problems> {
        let (name, text) = self.text()?;
        parse_for_commands(&name, &text, &environment, &|path| std::fs::read_to_string(path))
    }

    /// Reads `[admin]` alone, which is enough to ask a worker: no other secret is needed.
    ///
    /// # Errors
    /// As [`ConfigFile::load`], of what was read.
    pub fn load_admin(&self) -> Result<Admin, Problems> {
        let (name, text) = self.text()?;
        parse_admin(&name, &text, &environment, &|path| std::fs::read_to_string(path))
    }

    fn text(&self) -> Result<(String, String), Problems> {
        let name = self.path.display().to_string();
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok((name, text)),
            Err(error) => {
                let message = format!("cannot be read: {error}; name another file with --config");
                Err(Problems::new(&name, vec![ConfigProblem { line: 0, key: String::new(), message }]))
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment for the configuration")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
