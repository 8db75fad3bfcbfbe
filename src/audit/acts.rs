//! What operators do that is about no letters, each with its name in the audit: whoever records such an act names it by this list. Pure.

/// What an operator does with a destination, a worker, an issue or people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAct {
    /// Nothing is sent until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// Other limits.
    Limits,
    /// The same of bulk events alone.
    PauseBulk,
    /// Likewise.
    ResumeBulk,
    /// Likewise.
    LimitsBulk,
    /// Workers read their configuration again.
    Reload,
    /// The ledger of a destination starts again.
    LeaseReset,
    /// Somebody came into the console.
    SignIn,
    /// An issue is looked after.
    Acknowledge,
    /// An issue is not shown for a while.
    Ignore,
    /// Something is said of an issue.
    Note,
    /// An issue is open again.
    Reopen,
    /// People must not be written to.
    Suppress,
    /// They may be again.
    Unsuppress,
    /// Everybody may be.
    SuppressClear,
    /// A person is erased.
    Erase,
}

impl OperatorAct {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Pause,
        Self::Resume,
        Self::Limits,
        Self::PauseBulk,
        Self::ResumeBulk,
        Self::LimitsBulk,
        Self::Reload,
        Self::LeaseReset,
        Self::SignIn,
        Self::Acknowledge,
        Self::Ignore,
        Self::Note,
        Self::Reopen,
        Self::Suppress,
        Self::Unsuppress,
        Self::SuppressClear,
        Self::Erase,
    ];

    /// Its name in the audit.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Limits => "limits",
            Self::PauseBulk => "pause bulk",
            Self::ResumeBulk => "resume bulk",
            Self::LimitsBulk => "limits bulk",
            Self::Reload => "reload",
            Self::LeaseReset => "lease_reset",
            Self::SignIn => "sign_in",
            Self::Acknowledge => "acknowledge",
            Self::Ignore => "ignore",
            Self::Note => "note",
            Self::Reopen => "reopen",
            Self::Suppress => "suppress",
            Self::Unsuppress => "unsuppress",
            Self::SuppressClear => "suppress_clear",
            Self::Erase => "erase",
        }
    }
}
