//! A problem in the configuration file: its line, its key and how to fix it. Never the value of a secret.

use serde::Serialize;

/// One thing to fix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ConfigProblem {
    /// Line in the file, from 1.
    pub line: usize,
    /// The key with its tables, as in `broker.url`; empty when the text is not TOML.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}
