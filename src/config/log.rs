//! `[log]`: how much is logged, and for whom it is written.

use tracing_subscriber::EnvFilter;

use crate::section::Section;

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for programs.
    pub format: Format,
    /// A level, or tracing's filter directives, checked.
    pub level: String,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Log {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let format = section.choice("format", &[("text", Format::Text), ("json", Format::Json)]);
        let level = section.text("level").unwrap_or_else(|| "info".to_owned());
        if let Err(error) = EnvFilter::builder().parse(&level) {
            let mend =
                "write \"error\", \"warn\", \"info\", \"debug\", \"trace\", or directives as \"info,sluice=debug\"";
            let shown = section.shown("level", &level);
            section.problem("level", format!("{shown} is not a filter ({error}); {mend}"));
        }
        Some(Self { format: format.unwrap_or(Format::Text), level })
    }
}
