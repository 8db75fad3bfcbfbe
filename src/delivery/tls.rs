//! How vendors' certificates are judged: by what this machine trusts, read once for all destinations.

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt as _;

/// One set of a machine's certificates takes about 100 kB, and each destination has a client.
static SHARED: OnceLock<ClientConfig> = OnceLock::new();

/// The settings of TLS for one client, which offer HTTP/2 before HTTP/1.1, or HTTP/1.1 alone. All share the certificates and the
/// sessions that can be resumed.
///
/// # Errors
/// When this machine has no certificates that can be used; they are read again the next time.
pub fn settings(http1_only: bool) -> Result<ClientConfig, rustls::Error> {
    let mut settings = match SHARED.get() {
        Some(shared) => shared.clone(),
        None => {
            let read = read()?;
            SHARED.get_or_init(|| read).clone()
        }
    };
    let protocols: &[&[u8]] = if http1_only { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
    settings.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(settings)
}

fn read() -> Result<ClientConfig, rustls::Error> {
    let settings = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(settings.with_safe_default_protocol_versions()?.with_platform_verifier()?.with_no_client_auth())
}
