//! Names that cannot be a segment of a path. Pure.

/// Whether a URL parser, or a server that looks at a name once it is decoded, takes it for a directory's `.` or `..`, or finds one in it.
pub(super) fn is_directory(name: &str) -> bool {
    // Some servers cut off a segment's parameters first.
    let parts = name.split(['/', '\\']).map(|part| part.split(';').next().unwrap_or_default());
    parts
        .map(|part| part.trim_matches(|c: char| c.is_whitespace() || c.is_control()))
        .any(|part| matches!(part, "." | ".."))
}
