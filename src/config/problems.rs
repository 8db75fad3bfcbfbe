//! What is wrong with a file, all of it at once.

use std::fmt;

use serde::Serialize;

use crate::section::ConfigProblem;

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// The file's name, as it was given.
    pub file: String,
    /// At least one problem.
    pub problems: Vec<ConfigProblem>,
}

impl Problems {
    /// The problems of `file`, sorted by line.
    #[must_use]
    pub fn new(file: &str, mut problems: Vec<ConfigProblem>) -> Self {
        problems.sort();
        Self { file: file.to_owned(), problems }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ConfigProblem { line, key, message }) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            let separator = if key.is_empty() { "" } else { ": " };
            write!(f, "{newline}{}:{line}: {key}{separator}{message}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
