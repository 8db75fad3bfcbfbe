//! Secrets sealed for the broker, where whoever may read a queue reads its messages: XChaCha20-Poly1305, with a random nonce for each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Generate as _};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret as _, SecretString};

const NONCE_BYTES: usize = 24;

/// Seals and opens with a key that all workers share. Cheap to clone.
#[derive(Clone)]
pub struct Seal(XChaCha20Poly1305);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

/// What is no key, or was not sealed with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key.
    #[error("must be 32 bytes in base64; make a key with: openssl rand -base64 32")]
    NoKey,
    /// Sealed with another key, or changed since.
    #[error("sealed with another key, or damaged")]
    Other,
}

impl Seal {
    /// Of a key of 32 bytes in base64.
    ///
    /// # Errors
    /// [`SealError::NoKey`].
    pub fn new(key: &SecretString) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(key.expose_secret().trim()).map_err(|_| SealError::NoKey)?;
        let key = Key::try_from(bytes.as_slice()).map_err(|_| SealError::NoKey)?;
        Ok(Self(XChaCha20Poly1305::new(&key)))
    }

    /// Whether both have the same key.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.open(&other.close(b"key")).is_ok()
    }

    /// Seals bytes, as text.
    #[must_use]
    pub fn close(&self, plain: &[u8]) -> String {
        let nonce = XNonce::generate();
        // Only what is longer than 256 GB cannot be sealed.
        let sealed = self.0.encrypt(&nonce, plain).unwrap_or_default();
        STANDARD.encode([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed.
    ///
    /// # Errors
    /// [`SealError::Other`].
    pub fn open(&self, sealed: &str) -> Result<Vec<u8>, SealError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| SealError::Other)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(SealError::Other)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| SealError::Other)?;
        self.0.decrypt(&nonce, sealed).map_err(|_| SealError::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::new(&SecretString::from(STANDARD.encode([byte; 32]))).unwrap()
    }

    #[test]
    fn what_is_sealed_does_not_show_and_is_opened_with_the_same_key() {
        let sealed = seal(1).close(b"refresh-1");
        assert!(!String::from_utf8_lossy(&STANDARD.decode(&sealed).unwrap()).contains("refresh"));
        assert_eq!(seal(1).open(&sealed).unwrap(), b"refresh-1");
        assert_ne!(sealed, seal(1).close(b"refresh-1"), "each has a nonce of its own");
    }

    #[test]
    fn another_key_a_changed_text_and_what_is_no_key_are_told() {
        let sealed = seal(1).close(b"refresh-1");
        assert_eq!(seal(2).open(&sealed), Err(SealError::Other));
        assert_eq!(seal(1).open(&sealed[4..]), Err(SealError::Other));
        assert_eq!(seal(1).open(""), Err(SealError::Other));
        assert_eq!(Seal::new(&SecretString::from("secret")).unwrap_err(), SealError::NoKey);
    }
}
