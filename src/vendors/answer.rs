//! Reading answers: what a status means where a vendor says nothing of its own, and a short text of a body.

use ::http::{StatusCode, Uri, header};

use super::Reply;
use crate::redact;
use crate::verdict::Verdict;

/// Longest text of a body that goes into a sentence, in characters.
const EXCERPT_CHARS: usize = 300;

/// What a status means by RFC 9110 and RFC 6585. An unknown 4xx is rejected, an unknown 5xx is trouble; a redirect is
/// trouble too, since following one would turn a POST into a GET. Any 2xx is delivered.
pub(super) fn by_status(status: StatusCode, sentence: impl FnOnce() -> String) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        401 | 403 => Verdict::Unauthorized(sentence()),
        // The proxy's own credentials, a slow request, a replayed TLS early request: none of them says anything of the event.
        407 | 408 | 425 => Verdict::Unavailable(sentence()),
        413 => Verdict::TooLarge(sentence()),
        429 => Verdict::Throttled(sentence()),
        400..=499 => Verdict::Rejected(sentence()),
        _ => Verdict::Unavailable(sentence()),
    }
}

/// Longest address that is shown of where a redirect leads, in characters.
const LOCATION_CHARS: usize = 200;

/// The sentence for a whole answer: as [`sentence`], and of a redirect where it leads.
pub(super) fn of_reply(name: &str, reply: &Reply, text: &str) -> String {
    led(name, reply, text, redirect(reply))
}

/// The same for an answer from an address that is a secret, and may be one again where the redirect leads: only its host is told.
pub(super) fn of_secret_reply(name: &str, reply: &Reply, text: &str) -> String {
    let host = |location: String| match location.parse::<Uri>().ok().and_then(|uri| Some(uri.host()?.to_owned())) {
        Some(host) => format!("another address at {host}"),
        None => "another address".to_owned(),
    };
    led(name, reply, text, redirect(reply).map(host))
}

fn led(name: &str, reply: &Reply, text: &str, to: Option<String>) -> String {
    let Some(to) = to else { return sentence(name, reply.status, text) };
    let sentence = format!("{}, a redirect to {to}, which is not followed", sentence(name, reply.status, ""));
    if text.is_empty() { sentence } else { format!("{sentence}: {text}") }
}

/// Where an answer redirects to: without credentials and without the query, which may hold some.
pub(super) fn redirect(reply: &Reply) -> Option<String> {
    let location = reply.headers.get(header::LOCATION).filter(|_| reply.status.is_redirection())?;
    let location = String::from_utf8_lossy(location.as_bytes());
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let shown = match path.split_once("//") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}//{host}{path}")
        }
        None => path.to_owned(),
    };
    let shown: String = cut(&shown).chars().take(LOCATION_CHARS).collect();
    (!shown.is_empty()).then_some(shown)
}

/// "NAME answered 400: TEXT", or without the text where there is none.
pub(super) fn sentence(name: &str, status: StatusCode, text: &str) -> String {
    let status = status.as_u16();
    if text.is_empty() { format!("{name} answered {status}") } else { format!("{name} answered {status}: {text}") }
}

/// A short text of a body: one line, cut; of an HTML page only its title.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let start = text.trim_start().chars().take(15).collect::<String>().to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return title(&text).map_or_else(|| "an HTML page".to_owned(), |title| format!("an HTML page, {}", cut(title)));
    }
    cut(&text)
}

fn title(html: &str) -> Option<&str> {
    let start = html.find("<title>")? + "<title>".len();
    let end = html.get(start..)?.find("</title>")?;
    html.get(start..start + end)
}

/// One line of at most [`EXCERPT_CHARS`]. Masked before it is cut: half an address could not be told from other text.
pub(super) fn cut(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = redact::masked(&words.collect::<Vec<_>>().join(" "), &[]);
    match line.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_verdict_of_its_kind() {
        for (status, name) in [
            (200, "delivered"),
            (204, "delivered"),
            (301, "unavailable"),
            (400, "rejected"),
            (401, "unauthorized"),
            (403, "unauthorized"),
            (404, "rejected"),
            (408, "unavailable"),
            (413, "too_large"),
            (418, "rejected"),
            (429, "throttled"),
            (500, "unavailable"),
            (503, "unavailable"),
            (599, "unavailable"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(by_status(status, String::new).name(), name, "{status}");
        }
    }

    #[test]
    fn an_html_page_is_told_by_its_title() {
        let page = b"<!doctype html><html><head><title>403 Forbidden</title></head></html>";
        assert_eq!(excerpt(page), "an HTML page, 403 Forbidden");
        assert_eq!(excerpt(b"<html>"), "an HTML page");
        assert_eq!(excerpt(b" a\n  b "), "a b");
        assert_eq!(excerpt("é".repeat(400).as_bytes()).chars().count(), 301);
    }

    #[test]
    fn an_address_that_is_cut_in_two_is_masked_all_the_same() {
        let body = |at: &str| format!("{}anna.svensson{at}mail.example.com is not known", " no".repeat(95));
        for at in ["@", "%40", "&#64;"] {
            let said = excerpt(body(at).as_bytes());
            assert!(!said.contains("anna") && said.contains("***@*"), "{said}");
        }
        let page = format!("<html><title>{}</title>", body("@"));
        assert!(!excerpt(page.as_bytes()).contains("anna"));
    }

    fn redirected(status: u16, to: &str) -> Reply {
        let headers = ::http::HeaderMap::from_iter([(header::LOCATION, to.parse().unwrap())]);
        Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: bytes::Bytes::new() }
    }

    #[test]
    fn a_redirect_says_where_it_leads_and_nothing_secret() {
        for (to, shown) in [
            ("https://user:pw@other.example.com:8443/v2/x?key=s3cret#top", "https://other.example.com:8443/v2/x"),
            ("https://other.example.com?key=s3cret", "https://other.example.com"),
            ("//other.example.com/x", "//other.example.com/x"),
            ("/login?next=/v1", "/login"),
        ] {
            let said = of_reply("Example", &redirected(301, to), "");
            assert_eq!(said, format!("Example answered 301, a redirect to {shown}, which is not followed"));
        }
        let said = of_reply("Example", &redirected(308, "/x"), "Moved");
        assert_eq!(said, "Example answered 308, a redirect to /x, which is not followed: Moved");
        assert_eq!(of_reply("Example", &redirected(201, "/x/1"), ""), "Example answered 201");
        let secret = of_secret_reply("hooks", &redirected(301, "https://hooks.example.com/T0/s3cret"), "");
        assert_eq!(
            secret,
            "hooks answered 301, a redirect to another address at hooks.example.com, which is not followed"
        );
    }

    #[test]
    fn control_characters_do_not_get_into_a_sentence() {
        assert_eq!(excerpt(b"a\x1b[31m\x00b"), "a [31m b");
    }
}
