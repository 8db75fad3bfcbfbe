//! What must not stand in logs, errors and dead letters: e-mail addresses and secrets, masked. Pure.

use std::sync::LazyLock;

use regex::Regex;

static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}._%+'&/=?^{|}~-]+(?:@|%40)[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+").ok());

/// Shortest secret worth masking: anything shorter would mask ordinary text.
const MIN_SECRET_BYTES: usize = 6;

/// `text` with e-mail addresses and each of `secrets` masked.
#[must_use]
pub fn masked(text: &str, secrets: &[&str]) -> String {
    let mut masked = text.to_owned();
    for secret in secrets {
        // "Bearer abc" is echoed by some vendors as "abc".
        for part in std::iter::once(*secret).chain(secret.split_whitespace()) {
            if part.len() >= MIN_SECRET_BYTES && masked.contains(part) && !is_scheme(part) {
                masked = masked.replace(part, "***");
            }
        }
    }
    match &*EMAIL {
        Some(email) if masked.contains('@') || masked.contains("%40") => {
            email.replace_all(&masked, "***@***").into_owned()
        }
        _ => masked,
    }
}

fn is_scheme(part: &str) -> bool {
    part.eq_ignore_ascii_case("bearer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_secrets_are_masked() {
        let text = "user anna.svensson+x@example.co.uk with key sk-123456 (Bearer tok-abcdef) and b%40example.com";
        assert_eq!(masked(text, &["sk-123456", "Bearer tok-abcdef"]), "user ***@*** with key *** (***) and ***@***");
    }

    #[test]
    fn the_token_of_a_bearer_header_is_masked_alone_too() {
        assert_eq!(masked("token tok-abcdef", &["Bearer tok-abcdef"]), "token ***");
    }

    #[test]
    fn short_secrets_do_not_mask_ordinary_text() {
        assert_eq!(masked("a b c", &["b"]), "a b c");
    }
}
