//! What a destination's next driver has to know, as the lease's note carries it. Secrets in it are sealed, or not kept.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Handover;
use super::handover::BulkOrders;
use crate::control::stamp::{BulkCommands, LatestCommands};
use crate::delivery::token::{Access, Stored};
use crate::gate::{self, Limit, Paused};
use crate::lease::NoteError;
use crate::seal::Seal;

/// What stands in a note. What a newer version adds is passed over; what is missing is as when fresh.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    gate: gate::Ledger,
    commands: LatestCommands,
    /// The limits that an operator set, and those of the configuration that they were set against.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_ins: Option<SignIns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bulk: Option<Bulk>,
}

/// What an operator wants of bulk events, with the latest commands to that. Their stamps are not among the others, which a version without
/// bulk events could then not read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Bulk {
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<String>,
    commands: BulkCommands,
}

/// An operator's limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The configuration's: with others these are past.
    configured: Vec<String>,
    in_force: Vec<String>,
}

/// What is kept of an account's sign-ins.
#[derive(Debug, Serialize, Deserialize)]
struct SignIns {
    /// Whose, as a digest.
    account: String,
    /// When the calls for a token of the last window were made.
    calls: Vec<Timestamp>,
    /// The tokens, sealed; none without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Tokens {
    access: Option<AccessToken>,
    refresh: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct AccessToken {
    token: String,
    since: Timestamp,
    expires: Timestamp,
}

fn plain(tokens: &Stored) -> Vec<u8> {
    let access = tokens.access.as_ref().map(|access| AccessToken {
        token: access.token.expose_secret().to_owned(),
        since: access.since,
        expires: access.expires,
    });
    let refresh = tokens.refresh.as_ref().map(|refresh| refresh.expose_secret().to_owned());
    serde_json::to_vec(&Tokens { access, refresh }).unwrap_or_default()
}

fn opened(plain: &[u8]) -> Result<(Option<Access>, Option<SecretString>), NoteError> {
    // The parser's own words may repeat a token.
    let Tokens { access, refresh } =
        serde_json::from_slice(plain).map_err(|_| NoteError::Ledger("its sealed part is no tokens".into()))?;
    let access =
        access.map(|access| Access { token: access.token.into(), since: access.since, expires: access.expires });
    Ok((access, refresh.map(SecretString::from)))
}

impl Limits {
    /// Those in force beside the configured ones, where they differ.
    #[must_use]
    pub fn of(configured: &[Limit], in_force: &[Limit]) -> Option<Self> {
        let shown = |limits: &[Limit]| limits.iter().map(ToString::to_string).collect();
        (configured != in_force).then(|| Self { configured: shown(configured), in_force: shown(in_force) })
    }

    /// Those in force, where the configuration is as it was when they were set.
    #[must_use]
    pub fn in_force(&self, configured: &[Limit]) -> Option<Vec<Limit>> {
        let same = configured.iter().map(ToString::to_string).eq(self.configured.iter().cloned());
        same.then(|| self.in_force.iter().filter_map(|limit| limit.parse().ok()).collect())
    }
}

/// Seals tokens. The same ones read the same: what has not changed is not written again.
#[derive(Debug, Default)]
pub struct Sealer {
    seal: Option<Seal>,
    last: Mutex<Option<(Vec<u8>, String)>>,
}

impl Sealer {
    /// With that key, if there is one.
    #[must_use]
    pub fn new(seal: Option<Seal>) -> Self {
        Self { seal, last: Mutex::default() }
    }

    fn close(&self, plain: Vec<u8>) -> Option<String> {
        let seal = self.seal.as_ref()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, sealed) = match last.take() {
            Some(known) if known.0 == plain => last.insert(known),
            Some(_) | None => {
                let sealed = seal.close(&plain);
                last.insert((plain, sealed))
            }
        };
        Some(sealed.clone())
    }
}

/// Writes what a handover holds, with tokens where there is a key to seal them.
#[must_use]
pub fn write(handover: &Handover, sealer: &Sealer) -> Value {
    let sign_ins = handover.tokens.as_ref().map(|tokens| SignIns {
        account: tokens.account.clone(),
        calls: tokens.calls.clone(),
        sealed: sealer.close(plain(tokens)),
    });
    let stamps = handover.commands.bulk;
    let bulk = (stamps != BulkCommands::default()).then(|| Bulk {
        paused: handover.bulk.paused.clone(),
        limits: handover.bulk.limits.iter().map(ToString::to_string).collect(),
        commands: stamps,
    });
    let content = Content {
        gate: handover.ledger.clone(),
        commands: handover.commands.clone(),
        limits: handover.limits.clone(),
        sign_ins,
        bulk,
    };
    // String keys and finite numbers only: it can always be written.
    serde_json::to_value(&content).unwrap_or_default()
}

/// Reads what a note carries, into what this worker knows itself: of commands the latest count, whoever heard them.
///
/// # Errors
/// [`NoteError`]: then nobody may drive with it.
pub fn read(note: &Value, mut known: Handover, seal: Option<&Seal>) -> Result<Handover, NoteError> {
    if note.is_null() {
        return Ok(known);
    }
    let content: Content =
        serde_json::from_value(note.clone()).map_err(|error| NoteError::Ledger(error.to_string()))?;
    let (paused, pause) = if known.commands.flow_is_later_than(&content.commands) {
        (known.ledger.paused, known.ledger.pause.take())
    } else {
        (content.gate.paused, content.gate.pause.clone())
    };
    if !known.commands.limits_are_later_than(&content.commands) {
        known.limits = content.limits;
    }
    let bulk = content.bulk.unwrap_or_default();
    if bulk.commands.flow > known.commands.bulk.flow {
        known.bulk.paused = bulk.paused;
    }
    if bulk.commands.limits > known.commands.bulk.limits {
        let limits = bulk.limits.iter().filter_map(|limit| limit.parse().ok()).collect();
        known.bulk = BulkOrders { limits, ..known.bulk };
    }
    known.commands.bulk.merge(bulk.commands);
    known.commands.merge(content.commands);
    known.ledger = gate::Ledger { paused, pause, ..content.gate };
    if let Some(sign_ins) = content.sign_ins {
        let opened = match (sign_ins.sealed, seal) {
            (Some(sealed), Some(seal)) => Some(opened(&seal.open(&sealed).map_err(|_| NoteError::OtherKey)?)?),
            (Some(_) | None, _) => None,
        };
        known.tokens = Some(match opened {
            Some((access, refresh)) => Stored { account: sign_ins.account, access, refresh, calls: sign_ins.calls },
            // What this worker still has of its own is as good.
            None => match known.tokens.take().filter(|tokens| tokens.account == sign_ins.account) {
                Some(tokens) => Stored { calls: sign_ins.calls, ..tokens },
                None => Stored { account: sign_ins.account, access: None, refresh: None, calls: sign_ins.calls },
            },
        });
    }
    Ok(known)
}
