//! `[ingest]`: where events are taken over HTTP, and from whom.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::admin::{SHORTEST_BYTES, must_be_sendable};
use super::destination::is_name;
use super::topic;
use crate::gate::Limit;
use crate::section::Section;

/// What a metric and the log call whoever comes without a token, where none is set, and whoever was not let in.
const OURS: [&str; 2] = ["local", "none"];
const MOST_BODY_BYTES: usize = 4 * 1024 * 1024;
/// What a secret of Standard Webhooks begins with, before its base64.
const SECRET_PREFIX: &str = "whsec_";

/// `[ingest]`.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The largest body of a request with several events.
    pub max_body_bytes: usize,
    /// Who may publish, by name; none: anyone, on loopback only.
    pub tokens: Vec<IngestToken>,
}

/// `[ingest.tokens.<name>]`: a producer, and what it may publish.
#[derive(Clone, Debug)]
pub struct IngestToken {
    /// Its name, for metrics and the log, and in the path of its webhooks.
    pub name: String,
    /// What it sends as its bearer token.
    pub token: Option<SecretString>,
    /// What it signs with: base64, as Standard Webhooks has it.
    pub secret: Option<SecretString>,
    /// Topic patterns of the types that it may publish.
    pub types: Vec<String>,
    /// The sources that it may publish from; none: all.
    pub sources: Vec<String>,
    /// Events a second.
    pub rate: Option<f64>,
}

impl Ingest {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        section.must_have("listen", "\"127.0.0.1:9465\"");
        let text = section.text("listen");
        let listen = text.as_ref().and_then(|text| text.parse::<SocketAddr>().ok());
        if let (Some(text), None) = (&text, listen) {
            let shown = section.shown("listen", text);
            section.problem("listen", format!("{shown} is not an address and port; write one as \"127.0.0.1:9465\""));
        }
        let max_body_bytes = section.count("max_body_bytes", 1024..=64 * 1024 * 1024, MOST_BODY_BYTES);
        let mut tokens = Vec::new();
        let mut given = false;
        section.optional("tokens", |all| {
            for name in all.keys() {
                given = true;
                if OURS.contains(&name.as_str()) {
                    all.problem(&name, format!("{name:?} is a name that Sluice uses itself; choose another"));
                } else if !is_name(&name) {
                    let mend = "a token's name is 1 to 63 of a-z, 0-9, '-' and '_', and begins with a letter or digit";
                    all.problem(&name, mend);
                }
                tokens.extend(all.within(&name, |section| IngestToken::read(section, &tokens)));
            }
            Some(())
        });
        if listen.is_some_and(|listen| !listen.ip().is_loopback()) && !given {
            let mend =
                "missing: a token is required off loopback; add [ingest.tokens.<name>] with token = { env = \"…\" }";
            section.problem("tokens", format!("{mend}, or listen on \"127.0.0.1:9465\""));
        }
        Some(Self { listen: listen?, max_body_bytes, tokens })
    }
}

impl IngestToken {
    fn read(section: &mut Section<'_>, others: &[Self]) -> Option<Self> {
        let name = section.name().to_owned();
        if !section.has("token") && !section.has("secret") {
            let variable = format!("SLUICE_INGEST_{name}").to_uppercase().replace('-', "_");
            section.problem(
                "token",
                format!("missing: write token = {{ env = \"{variable}\" }}, or secret for signed webhooks"),
            );
        }
        let token = section.secret("token");
        if let Some(token) = &token {
            let same =
                |other: &&Self| other.token.as_ref().is_some_and(|it| it.expose_secret() == token.expose_secret());
            if let Some(other) = others.iter().find(same) {
                section.problem("token", format!("is the same as that of {:?}; give each its own", other.name));
            }
            if token.expose_secret().len() < SHORTEST_BYTES {
                section.problem("token", format!("is shorter than {SHORTEST_BYTES} bytes; choose a longer one"));
            } else {
                must_be_sendable(section, token);
            }
        }
        let secret = section.secret("secret").map(|secret| {
            let key = secret.expose_secret().trim_start_matches(SECRET_PREFIX);
            if STANDARD.decode(key).is_ok_and(|key| key.len() >= SHORTEST_BYTES) {
                return SecretString::from(key);
            }
            let mend = format!(
                "is no secret of Standard Webhooks: \"{SECRET_PREFIX}\" and base64 of {SHORTEST_BYTES} bytes or more"
            );
            section.problem("secret", mend);
            secret
        });
        let types = section.texts("types");
        for pattern in types.iter().flatten() {
            topic::check(section, "types", pattern);
        }
        let sources = section.texts("sources");
        for (key, list) in [("types", &types), ("sources", &sources)] {
            if list.as_ref().is_some_and(Vec::is_empty) {
                section.problem(key, "is empty, so that nothing may be published; leave it out to allow all");
            }
        }
        let rate = section.text("rate").and_then(|text| match text.parse::<Limit>() {
            Ok(limit) => Some(f64::from(limit.count) / limit.window.length().as_secs_f64()),
            Err(error) => {
                section.problem("rate", error.to_string());
                None
            }
        });
        let types = types.unwrap_or_else(|| vec!["#".to_owned()]);
        Some(Self { name, token, secret, types, sources: sources.unwrap_or_default(), rate })
    }

    /// Whether two lists let in the same, as the same.
    pub(super) fn are_same(some: &[Self], others: &[Self]) -> bool {
        let shown = |secret: &Option<SecretString>| secret.as_ref().map(|it| it.expose_secret().to_owned());
        let is_same = |(one, other): (&Self, &Self)| {
            one.name == other.name
                && shown(&one.token) == shown(&other.token)
                && shown(&one.secret) == shown(&other.secret)
                && one.types == other.types
                && one.sources == other.sources
                && one.rate == other.rate
        };
        some.len() == others.len() && some.iter().zip(others).all(is_same)
    }

    /// The key of its signatures.
    #[must_use]
    pub fn key(&self) -> Option<Vec<u8>> {
        // It was checked when it was read.
        STANDARD.decode(self.secret.as_ref()?.expose_secret()).ok()
    }
}
