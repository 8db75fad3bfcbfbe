//! Which headers a destination may set: those that say something of its events. What frames a message, belongs to one connection or
//! says what this worker can read is the worker's own. Pure.

use ::http::HeaderName;

/// What is wrong with a header's name, beside the `names` that came before it, and what to do.
pub(super) fn mend(text: &str, never_http2: bool, names: &mut Vec<(HeaderName, String)>) -> Option<String> {
    let Ok(name) = text.parse::<HeaderName>() else { return Some("is not a header name".to_owned()) };
    if let Some((_, other)) = names.iter().find(|(known, _)| *known == name) {
        return Some(format!("is the same header as {other:?}: names differ by case alone; remove one of them"));
    }
    let mend = reserved(name.as_str(), never_http2);
    names.push((name, text.to_owned()));
    mend.map(|why| format!("cannot be set: {why}"))
}

fn reserved(name: &str, never_http2: bool) -> Option<&'static str> {
    Some(match name {
        "content-length" | "transfer-encoding" | "trailer" => {
            "it frames the body, and a wrong one cuts the body or joins it to the next request; Sluice sends the right one, so remove it"
        }
        "connection" | "keep-alive" | "upgrade" | "te" | "http2-settings" | "alt-used" | "close" => {
            "it belongs to one connection, which Sluice looks after; remove it"
        }
        "expect" => "the body is sent at once; remove it",
        name if name.starts_with("proxy-") => {
            "it is for a proxy, not for the API; remove it, and write `proxy` for one"
        }
        "host" if !never_http2 => {
            "`url` says the host, and HTTP/2 has no such header; for another host than that of `url` add http1_only = true"
        }
        "content-encoding" => "the body is sent as it is, not compressed; remove it",
        "accept-encoding" => "Sluice says itself which answers it can read; remove it",
        _ => return None,
    })
}
