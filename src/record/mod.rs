//! What Sluice writes into a message's headers: its history, who put it on its queue, why it died, and what became of a replay. Used by all
//! that handles deliveries or dead letters. Pure.

pub mod copy;
pub mod death;
mod event_values;
pub mod fingerprint;
pub mod fit;
pub mod history;
pub mod origin;
pub mod replay;
