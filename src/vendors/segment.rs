//! Names that cannot be a segment of a path. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// How often a segment may be encoded over and over: proxies on the way may decode it as often.
const MOST_DECODED: usize = 4;

/// Whether a segment of a path means a directory, to a URL parser or to a proxy that decodes before it looks.
pub fn has_directory(path: &str) -> bool {
    path.split('/').any(|segment| {
        let mut segment = Cow::from(segment);
        for _ in 0..MOST_DECODED {
            let decoded = percent_decode_str(&segment).decode_utf8_lossy().into_owned();
            if decoded == segment {
                break;
            }
            segment = decoded.into();
        }
        is_directory(&segment)
    })
}

/// Whether a URL parser, or a server that looks at a name once it is decoded, takes it for a directory's `.` or `..`, or finds one in it.
pub(super) fn is_directory(name: &str) -> bool {
    // Some drop such characters wherever they stand.
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    // Some servers cut off first what a decoded name seems to carry: parameters, a query, a fragment.
    let parts = name.split(['/', '\\']).map(|part| part.split([';', '?', '#']).next().unwrap_or_default());
    parts.map(str::trim).any(|part| matches!(part, "." | ".."))
}
