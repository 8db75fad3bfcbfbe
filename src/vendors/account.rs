//! What two destinations may have in common at their vendor. Values only.

use secrecy::SecretString;

/// Something of an account's that has a quota, or gives out tokens.
#[derive(Clone, Debug)]
pub struct Account {
    /// What it is, as in "has the same … as".
    pub what: &'static str,
    /// Equal for what is the same.
    pub id: SecretString,
    /// Two destinations with it cannot work beside each other.
    pub exclusive: bool,
}
