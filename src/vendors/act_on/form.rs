//! A multipart form (RFC 7578): fields and a file come in, the content type and the body go out. Equal forms give equal bytes.

use crate::event::Invalid;
use ::http::HeaderValue;
use bytes::Bytes;
use uuid::Uuid;

/// Name space of the boundaries (UUID version 5).
const BOUNDARIES: Uuid = Uuid::from_u128(0x3d1a_94f7_0c52_5b8e_b6d3_7e20_a1f9_4c88);

/// One part. Names are the vendor's own words: nothing in them needs escaping.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// Name and text.
    Field(&'static str, &'a str),
    /// Name, file name and content of a CSV.
    Csv(&'static str, &'static str, &'a [u8]),
}

impl Part<'_> {
    fn head(&self) -> String {
        match self {
            Self::Field(name, _) => format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n"),
            Self::Csv(name, file, _) => format!(
                "Content-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: text/csv\r\n\r\n"
            ),
        }
    }

    fn content(&self) -> &[u8] {
        match self {
            Self::Field(_, text) => text.as_bytes(),
            Self::Csv(_, _, content) => content,
        }
    }
}

/// The content type, with its boundary, and the body.
///
/// # Errors
/// [`Invalid`] when the boundary cannot stand in a header.
pub(super) fn write(parts: &[Part<'_>]) -> Result<(HeaderValue, Bytes), Invalid> {
    // Made of a digest of the contents, the boundary cannot stand in them.
    let digest = parts.iter().fold(BOUNDARIES, |digest, part| Uuid::new_v5(&digest, part.content()));
    let boundary = format!("sluice-{}", digest.simple());
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.content().len() + 256).sum());
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{}", part.head()).as_bytes());
        body.extend_from_slice(part.content());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
        .map_err(|error| Invalid(format!("the form's content type cannot be written: {error}")))?;
    Ok((content_type, body.into()))
}
