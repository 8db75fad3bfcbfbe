//! Addresses on the web: what may be written as one, and which names cannot be a segment of its path. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::Url;

/// How often a segment may be encoded over and over: proxies on the way may decode it as often.
const MOST_DECODED: usize = 4;

/// An http or https URL without credentials in it.
///
/// # Errors
/// What to fix, without the text: it may hold a password.
pub fn web_address(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Err(error) => Err(format!("not a URL ({error}); write one as \"https://api.example.com\"")),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => Err("must begin with http:// or https://".to_owned()),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err("must not contain credentials; remove the part before the @".to_owned())
        }
        Ok(_) if has_directory(path_of(text)) => Err(
            "has \".\" or \"..\" as a segment of its path, which means a directory: requests would go elsewhere; write the path that is meant"
                .to_owned(),
        ),
        Ok(url) => Ok(url),
    }
}

/// As it is written: what a parser gives is folded.
fn path_of(address: &str) -> &str {
    let (_, rest) = address.split_once("//").unwrap_or_default();
    let (rest, _) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    rest.split_once(['/', '\\']).map_or("", |(_, path)| path)
}

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
pub fn is_directory(name: &str) -> bool {
    // Some drop such characters wherever they stand.
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    // Some servers cut off first what a decoded name seems to carry: parameters, a query, a fragment.
    let parts = name.split(['/', '\\']).map(|part| part.split([';', '?', '#']).next().unwrap_or_default());
    parts.map(str::trim).any(|part| matches!(part, "." | ".."))
}
