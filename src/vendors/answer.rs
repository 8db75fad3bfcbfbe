//! Reading answers: what a status means where a vendor says nothing of its own, and a short text of a body.

use ::http::StatusCode;

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
        429 => Verdict::Throttled,
        400..=499 => Verdict::Rejected(sentence()),
        _ => Verdict::Unavailable(sentence()),
    }
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

    #[test]
    fn control_characters_do_not_get_into_a_sentence() {
        assert_eq!(excerpt(b"a\x1b[31m\x00b"), "a [31m b");
    }
}
