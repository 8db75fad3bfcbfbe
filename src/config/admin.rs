//! `[admin]`: where metrics, health, the API and the console are served, and who may come in.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::SecretString;

use super::Section;

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Asked of whoever acts through the API. Always there when `listen` is off loopback.
    pub token: Option<SecretString>,
}

impl Admin {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9464));
        let listen = match section.text("listen").map(|text| (text.parse(), text)) {
            None => default,
            Some((Ok(listen), _)) => listen,
            Some((Err(_), text)) => {
                let shown = section.shown("listen", &text);
                section.problem("listen", format!("{shown} is not an address and port; write one as \"{default}\""));
                default
            }
        };
        let given = section.has("token");
        let token = section.secret("token");
        if !listen.ip().is_loopback() && !given {
            let mend = "missing: a token is required off loopback; add token = { env = \"SLUICE_ADMIN_TOKEN\" }";
            section.problem("token", format!("{mend} under [admin], or listen on \"{default}\""));
        }
        Some(Self { listen, token })
    }
}
