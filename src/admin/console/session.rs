//! The console's sessions: in memory, limited in number and time. Pure; the time is an argument.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::admin::auth::{self, Who};
use crate::config::AdminToken;

/// How long a session lasts: a shift.
pub(super) const LASTS: Duration = Duration::from_hours(12);
/// Sessions at once. The one that was unused for longest makes room.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// Whoever a page is for.
#[derive(Clone, Debug)]
pub(super) struct Viewer {
    pub who: Who,
    /// What every form has to carry.
    pub csrf: String,
    /// Whether there is a session to end.
    pub signed_in: bool,
}

#[derive(Debug)]
struct Session {
    /// The token that it was begun with: it lasts no longer than that.
    token: SecretString,
    csrf: String,
    ends: Instant,
}

/// The sessions of this worker.
#[derive(Debug)]
pub(super) struct Sessions {
    sessions: Mutex<LruCache<String, Session>>,
    /// What forms carry where no token is set, and so no session is.
    local: String,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { sessions: Mutex::new(LruCache::new(MOST)), local: random() }
    }
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, LruCache<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session for whoever holds `token`; returns its id, which nobody else may learn.
    pub fn begin(&self, token: &AdminToken, now: Instant) -> String {
        let id = random();
        let session = Session { token: token.secret.clone(), csrf: random(), ends: now + LASTS };
        self.all().put(id.clone(), session);
        id
    }

    /// Whose session it is, as long as it lasts and its token is among `tokens`; with the name and the role that the token has now.
    pub fn find(&self, id: &str, tokens: &[AdminToken], now: Instant) -> Option<Viewer> {
        let mut sessions = self.all();
        let session = sessions.get(id)?;
        let token = auth::holder(tokens, session.token.expose_secret()).filter(|_| session.ends > now);
        let viewer = token.map(|token| Viewer {
            who: Who::from(token).at_console(),
            csrf: session.csrf.clone(),
            signed_in: true,
        });
        if viewer.is_none() {
            sessions.pop(id);
        }
        viewer
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.all().pop(id);
    }

    /// Whoever comes where no token is set.
    pub fn local(&self) -> Viewer {
        Viewer { who: Who::local().at_console(), csrf: self.local.clone(), signed_in: false }
    }
}

/// 244 random bits.
fn random() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;

    fn token(secret: &str, role: Role) -> AdminToken {
        AdminToken { name: "night-shift".to_owned(), role, secret: secret.into() }
    }

    #[test]
    fn a_session_lasts_for_its_time_and_no_longer_than_its_token() {
        let (sessions, now) = (Sessions::default(), crate::clock::now());
        let tokens = [token("first-secret", Role::Read), token("second-secret", Role::Act)];
        let (first, second) = (sessions.begin(&tokens[0], now), sessions.begin(&tokens[1], now));
        assert_ne!(first, second);
        let found = |id: &str, tokens: &[AdminToken], now| sessions.find(id, tokens, now).map(|viewer| viewer.who.role);
        assert_eq!(found(&first, &tokens, now), Some(Role::Read));
        assert_eq!(found(&first, &[token("first-secret", Role::Act)], now), Some(Role::Act), "as the token is now");
        assert_eq!(found(&second, &tokens[..1], now), None, "its token was replaced");
        assert_eq!(found(&second, &tokens, now), None, "it does not come back");
        assert_eq!(found(&first, &tokens, now + LASTS), None);
        assert_eq!(found(&first, &tokens, now), None);
        let third = sessions.begin(&tokens[0], now);
        sessions.end(&third);
        assert_eq!(found(&third, &tokens, now), None);
    }

    #[test]
    fn only_so_many_sessions_are_kept() {
        let (sessions, now) = (Sessions::default(), crate::clock::now());
        let tokens = [token("first-secret", Role::Read)];
        let first = sessions.begin(&tokens[0], now);
        let used = sessions.begin(&tokens[0], now);
        for _ in 2..=MOST.get() {
            assert!(sessions.find(&used, &tokens, now).is_some());
            sessions.begin(&tokens[0], now);
        }
        assert!(sessions.find(&first, &tokens, now).is_none() && sessions.find(&used, &tokens, now).is_some());
    }
}
