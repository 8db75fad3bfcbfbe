//! `[admin]`: where metrics, health, the API and the console are served, and who may come in.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::destination::is_name;
use crate::section::Section;

/// The name of the token of `[admin]` itself.
const ADMIN: &str = "admin";
/// The name for anyone, if there is no token.
const LOCAL: &str = "local";
/// A token that is shorter can be guessed.
pub(super) const SHORTEST_BYTES: usize = 16;
/// The target of the alerts that come with Sluice.
const LATE_AFTER: Duration = Duration::from_mins(15);
const SHORTEST_LATE: Duration = Duration::from_secs(1);
const LONGEST_LATE: Duration = Duration::from_hours(24 * 30);

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// One of them is asked of whoever uses the API; none: anyone may. At least one when `listen` is off loopback.
    /// That of `[admin]` comes first, then those of `[admin.tokens.<name>]` by name.
    pub tokens: Vec<AdminToken>,
    /// An event that has waited for longer is an issue.
    pub late_after: Duration,
}

/// A token, and who holds it.
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// Who acts with it, for logs.
    pub name: String,
    /// What it is good for.
    pub role: Role,
    /// What is sent.
    pub secret: SecretString,
}

/// What whoever comes in may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look at everything.
    Read,
    /// Look, and act.
    Act,
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
        let mut given = section.has("token");
        let own = section.secret("token").map(|secret| AdminToken { name: ADMIN.to_owned(), role: Role::Act, secret });
        if let Some(own) = &own {
            must_be_sendable(section, &own.secret);
        }
        let mut tokens = Vec::from_iter(own);
        section.optional("tokens", |all| {
            for name in all.keys() {
                given = true;
                if let Some(mend) = name_mend(&name) {
                    all.problem(&name, mend);
                }
                tokens.extend(all.within(&name, |section| AdminToken::read(section, &tokens)));
            }
            Some(())
        });
        if !listen.ip().is_loopback() && !given {
            let mend = "missing: a token is required off loopback; add token = { env = \"SLUICE_ADMIN_TOKEN\" }";
            section.problem("token", format!("{mend} under [admin], or listen on \"{default}\""));
        }
        let late_after = section.duration("late_after", SHORTEST_LATE..=LONGEST_LATE).unwrap_or(LATE_AFTER);
        Some(Self { listen, tokens, late_after })
    }
}

impl AdminToken {
    fn read(section: &mut Section<'_>, others: &[Self]) -> Option<Self> {
        let name = section.name().to_owned();
        section.must_have("role", "\"read\" or \"act\"");
        let role = section.choice("role", &[("read", Role::Read), ("act", Role::Act)]);
        let secret = section.required_secret("token")?;
        if let Some(other) = others.iter().find(|other| other.secret.expose_secret() == secret.expose_secret()) {
            section.problem("token", format!("is the same as that of {:?}; give each its own", other.name));
        }
        let token = Self { name, role: role?, secret };
        if token.is_guessable() {
            section.problem("token", format!("is shorter than {SHORTEST_BYTES} bytes; choose a longer one"));
        } else {
            must_be_sendable(section, &token.secret);
        }
        Some(token)
    }

    /// Whether two lists let in the same, as the same.
    pub(super) fn are_same(some: &[Self], others: &[Self]) -> bool {
        let all = |tokens: &[Self]| -> Vec<(String, Role, String)> {
            tokens.iter().map(|it| (it.name.clone(), it.role, it.secret.expose_secret().to_owned())).collect()
        };
        all(some) == all(others)
    }

    /// Whether it is too short, since whoever guesses is not slowed down. That of `[admin]` itself may be: there are some from the
    /// time before the rule.
    #[must_use]
    pub fn is_guessable(&self) -> bool {
        self.secret.expose_secret().len() < SHORTEST_BYTES
    }
}

pub(super) fn must_be_sendable(section: &mut Section<'_>, secret: &SecretString) {
    if !secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        section.problem("token", "cannot be sent in a header; choose one of visible ASCII characters");
    }
}

fn name_mend(name: &str) -> Option<String> {
    if [ADMIN, LOCAL].contains(&name) {
        return Some(format!("{name:?} is a name that Sluice uses itself; choose another"));
    }
    let mend = "a token's name is 1 to 63 of a-z, 0-9, '-' and '_', and begins with a letter or digit";
    (!is_name(name)).then(|| mend.to_owned())
}
