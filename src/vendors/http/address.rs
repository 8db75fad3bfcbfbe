//! An address that is put together of what the destination says and of an event's words: parts come in, the address goes out, or why
//! a word cannot stand where it is. A word stays in its place: it adds no segment, parameter or fragment, and changes nothing of where
//! the request goes. Pure.

use std::borrow::Cow;

use ::http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

use crate::mapping::Piece;
use crate::section::web_address::{has_directory, web_address};
use crate::vendors::answer;

/// What separates nothing and cannot stand in an address as it is.
const ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'\'').add(b'<').add(b'>').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// Where in an address a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Scheme,
    /// With `whole`, nothing else of the host is written beside it.
    Host {
        whole: bool,
    },
    Port,
    /// With `whole`, it is all of its segment.
    Path {
        whole: bool,
    },
    /// A parameter's name; with `value`, its value.
    Query {
        value: bool,
    },
    Fragment,
}

/// The address that these parts make, as a URL parser writes it.
///
/// # Errors
/// A sentence that begins with what is wrong.
pub(super) fn of(pieces: &[Piece]) -> Result<String, String> {
    let mut address = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        let next = match pieces.get(at + 1) {
            Some(Piece::Text(text)) => text.as_str(),
            Some(Piece::Word(_)) | None => "",
        };
        match piece {
            // The destination leaves it to the event where the request goes.
            Piece::Word(base) if at == 0 && !next.starts_with("://") => address.push_str(base),
            Piece::Text(text) => address.push_str(text),
            Piece::Word(word) => {
                let place = Place::after(&address, next);
                let chooses_host = matches!(place, Place::Host { whole: false })
                    && !is_below_a_domain(pieces, at)
                    && !is_last_of_ipv4(&address);
                let fitting = if chooses_host { Err(CHOOSES_HOST) } else { place.take(word) };
                let fitting = fitting.map_err(|why| format!("the word {:?} {why}", answer::cut(word)))?;
                address.push_str(&fitting);
            }
        }
    }
    as_written(&address)?;
    let parsed = web_address(&address).map_err(|mend| format!("{:?} is wrong: {mend}", answer::cut(&address)))?;
    if !pieces.first().is_some_and(has_authority) && authority(&parsed) != written_authority(&address) {
        return Err(format!("{:?} leads to {}; write it as that", answer::cut(&address), authority(&parsed)));
    }
    if parsed.port() == Some(0) {
        return Err(format!("{:?} has port 0, which nothing listens on", answer::cut(&address)));
    }
    // As `url` writes it: what a URI cannot carry is percent-encoded.
    let parsed = String::from(parsed);
    match parsed.parse::<Uri>() {
        Ok(_) => Ok(parsed),
        Err(error) => Err(format!("{:?} is wrong: {error}", answer::cut(&address))),
    }
}

const CHOOSES_HOST: &str = "would choose another host: in a host's name a word is followed by a dot and the rest of the name, as in \
    eu-\\(.region).example.com; before a path write /";

/// Whether the host of these parts ends in a domain that is written behind the word which stands there: by a dot right behind it, or,
/// where something is glued to it, by a dot and a name of two labels.
fn is_below_a_domain(pieces: &[Piece], at: usize) -> bool {
    let behind = pieces.iter().skip(at + 1).map(|piece| match piece {
        Piece::Text(text) => text.as_str(),
        Piece::Word(_) => "x",
    });
    let behind: String = behind.collect();
    let host = behind.split(['/', '?', '#', ':', '@']).next().unwrap_or_default();
    host.split_once('.').is_some_and(|(glued, domain)| {
        let labels = domain.split('.').filter(|label| !label.is_empty()).count();
        labels >= if glued.is_empty() { 1 } else { 2 }
    })
}

/// Whether the number that follows is the last of an IPv4 address.
fn is_last_of_ipv4(before: &str) -> bool {
    let host = before.split_once("://").unwrap_or_default().1;
    host.ends_with('.') && host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Whether the destination's own text says where the request goes, to the end of the port.
fn has_authority(first: &Piece) -> bool {
    let Piece::Text(text) = first else { return false };
    text.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#']))
}

/// Where a URL parser finds the host and port.
fn authority(url: &Url) -> String {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    format!("{host}:{port}")
}

/// Host and port as they stand in an address; a parser may only change the case of letters. It reads `010.1` as 8.0.0.1 and `。` as a dot.
fn written_authority(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or_default();
    let written = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    // The colons of an IPv6 address stand in its brackets.
    let has_port = written.rsplit(']').next().is_some_and(|behind| behind.contains(':'));
    let usual = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    if has_port { written } else { format!("{written}:{usual}") }
}

impl Place {
    /// Where a word stands after that much of an address and before `next`.
    fn after(before: &str, next: &str) -> Self {
        let Some((_, rest)) = before.split_once("://") else { return Self::Scheme };
        if rest.contains('#') {
            return Self::Fragment;
        }
        if let Some((_, query)) = rest.split_once('?') {
            let parameter = query.rsplit('&').next().unwrap_or_default();
            return Self::Query { value: parameter.contains('=') };
        }
        let ends = |more: &[char]| next.is_empty() || next.starts_with(more);
        if rest.contains('/') {
            return Self::Path { whole: rest.ends_with('/') && ends(&['/', '?', '#']) };
        }
        if rest.contains(':') {
            return Self::Port;
        }
        Self::Host { whole: rest.is_empty() && ends(&[':', '/', '?', '#']) }
    }

    /// The word as it can stand here, or why it cannot.
    fn take(self, word: &str) -> Result<Cow<'_, str>, &'static str> {
        let of_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label = |word: &str| !word.is_empty() && word.bytes().all(of_label);
        let fault = match self {
            Self::Scheme if !word.bytes().all(|byte| byte.is_ascii_alphabetic()) => "must be http or https",
            Self::Host { whole: true } if !word.split('.').all(is_label) => {
                "is no host: write letters, digits, - and _, joined by dots"
            }
            Self::Host { whole: false } if !is_label(word) => {
                "cannot be part of a host's name: only letters, digits, - and _ can"
            }
            Self::Port if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) => {
                "is no port: write a number"
            }
            Self::Path { whole: true } if word.is_empty() => {
                "is empty, and without its segment the address leads elsewhere"
            }
            Self::Path { .. } if word.contains(['/', '\\', '?', '#']) => {
                "has a character that ends a segment of the path (/ \\ ? #); write it with | @uri"
            }
            Self::Query { value: false } if word.contains(['&', '#', '=']) => {
                "has a character that ends a parameter's name (& = #); write it with | @uri"
            }
            Self::Query { value: true } if word.contains(['&', '#']) => {
                "has a character that ends a parameter (& #); write it with | @uri"
            }
            Self::Path { .. } | Self::Query { .. } | Self::Fragment => return encoded(word),
            Self::Scheme | Self::Host { .. } | Self::Port => return Ok(word.into()),
        };
        Err(fault)
    }
}

/// What is encoded already stays as it is.
fn encoded(word: &str) -> Result<Cow<'_, str>, &'static str> {
    let mut after_percent = word.split('%').skip(1).map(|rest| rest.bytes().take(2));
    if !after_percent.all(|two| two.len() == 2 && two.clone().all(|byte| byte.is_ascii_hexdigit())) {
        return Err("has a % that encodes nothing; write it with | @uri");
    }
    if word.contains(|c: char| c.is_control()) {
        return Err("has a control character; write it with | @uri");
    }
    Ok(utf8_percent_encode(word, ENCODED).into())
}

/// Nothing in the address may be read otherwise than it is written: URL parsers drop some characters and take out some segments.
fn as_written(address: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{:?} {why}", answer::cut(address)));
    if address.contains(|c: char| c.is_control()) || address.trim() != address {
        return wrong("has a control character, or a space at an end, which would be dropped");
    }
    let Some((_, rest)) = address.split_once("://") else { return wrong("is not a URL with http:// or https://") };
    let (rest, _) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() || rest.contains('\\') {
        return wrong("is not a URL: write a host, and / for \\");
    }
    if authority.contains('@') {
        return wrong("must not contain credentials; remove the part before the @");
    }
    if has_directory(path) {
        return wrong(
            "has \".\" or \"..\" as a segment of its path, which means a directory: the request would go elsewhere",
        );
    }
    Ok(())
}
