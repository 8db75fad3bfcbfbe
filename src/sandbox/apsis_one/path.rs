//! What a path asks for: raw path in, decoded names out. Pure.
//! Strict, since a profile key that is encoded wrongly would become another profile.

use percent_encoding::percent_decode_str;

/// What may stand in a segment as it is (RFC 3986, `pchar`), letters and digits aside.
const PLAIN: &str = "-._~!$&'()*+,;=:@";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApsisCall {
    /// The event types of a section.
    Types {
        /// The section.
        section: String,
    },
    /// To add events to a profile.
    Events(Target),
}

/// Whose events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The keyspace.
    pub keyspace: String,
    /// The profile's key in it.
    pub profile: String,
    /// The section.
    pub section: String,
}

/// Why a path asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There is no such path.
    Unknown,
    /// A segment is empty or not encoded as it must be.
    Encoding,
}

/// Reads a path.
///
/// # Errors
/// [`Wrong`].
pub(super) fn read(path: &str) -> Result<ApsisCall, Wrong> {
    let segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        ["", "audience", "sections", section, "events"] => Ok(ApsisCall::Types { section: decode(section)? }),
        ["", "audience", "keyspaces", keyspace, "profiles", profile, "sections", section, "events"] => {
            Ok(ApsisCall::Events(Target {
                keyspace: decode(keyspace)?,
                profile: decode(profile)?,
                section: decode(section)?,
            }))
        }
        _ => Err(Wrong::Unknown),
    }
}

fn decode(segment: &str) -> Result<String, Wrong> {
    let mut parts = segment.split('%');
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c));
    let first = parts.next().is_some_and(plain);
    let encoded =
        |part: &str| part.get(..2).is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit())) && plain(&part[2..]);
    if !first || !parts.all(encoded) || segment.is_empty() {
        return Err(Wrong::Encoding);
    }
    percent_decode_str(segment).decode_utf8().map(Into::into).map_err(|_| Wrong::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(segment: &str) -> Result<String, Wrong> {
        match read(&format!("/audience/keyspaces/k/profiles/{segment}/sections/s/events"))? {
            ApsisCall::Events(target) => Ok(target.profile),
            ApsisCall::Types { .. } => Err(Wrong::Unknown),
        }
    }

    #[test]
    fn a_profile_key_is_decoded_once() {
        for (segment, key) in [
            ("steve%40apsis.com", "steve@apsis.com"),
            ("steve@apsis.com", "steve@apsis.com"),
            ("a%2Fb%3Fc%25d", "a/b?c%d"),
            ("a%252Fb", "a%2Fb"),
            ("a+b%20c", "a+b c"),
            ("%C3%A5%F0%9F%8E%89", "å🎉"),
            ("a..b", "a..b"),
        ] {
            assert_eq!(profile(segment).as_deref(), Ok(key), "{segment}");
        }
    }

    #[test]
    fn what_is_encoded_wrongly_is_refused() {
        for segment in ["", "a%", "a%4", "a%4g", "%FF", "å", "a b", "a\"b", "%%40"] {
            assert_eq!(profile(segment), Err(Wrong::Encoding), "{segment}");
        }
        for path in
            ["/audience", "/audience/sections/s", "/audience/sections/s/events/", "/audience/sections/a/b/events"]
        {
            assert_eq!(read(path), Err(Wrong::Unknown), "{path}");
        }
        assert_eq!(profile("a/b"), Err(Wrong::Unknown));
    }
}
