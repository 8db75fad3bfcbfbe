//! Why a command failed, and the exit code that says so.

use std::io;

use crate::config::Problems;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration has problems.
    #[error("the configuration has problems:\n{0}")]
    Config(Problems),
    /// Some of the input was refused, or something asked for is not there.
    #[error("{0}")]
    Refused(String),
    /// Anything else; the sentence says what to do.
    #[error("{0}")]
    Failed(String),
    /// Reading or writing failed.
    #[error("cannot read or write: {0}")]
    Io(#[from] io::Error),
    /// The worker could not run.
    #[error(transparent)]
    Run(#[from] crate::app::RunError),
    /// The sandbox could not run.
    #[error(transparent)]
    Sandbox(#[from] super::sandbox::Error),
}

impl Error {
    /// Whether nobody reads the output any more, as after `sluice dead list … | head`. Then there is nothing to tell, and nothing is wrong.
    #[must_use]
    pub fn is_of_closed_output(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code, as `--help` documents it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 3,
            Self::Refused(_) => 4,
            Self::Failed(_) | Self::Io(_) | Self::Run(_) | Self::Sandbox(_) => 1,
        }
    }
}
