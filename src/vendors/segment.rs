//! Names that cannot be a segment of a path. Pure.

/// Whether a URL parser, or a server that looks at a name once it is decoded, takes it for a directory's `.` or `..`, or finds one in it.
pub(super) fn is_directory(name: &str) -> bool {
    // Some drop such characters wherever they stand.
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    // Some servers cut off first what a decoded name seems to carry: parameters, a query, a fragment.
    let parts = name.split(['/', '\\']).map(|part| part.split([';', '?', '#']).next().unwrap_or_default());
    parts.map(str::trim).any(|part| matches!(part, "." | ".."))
}
