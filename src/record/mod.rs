//! What travels with a message beside its event, written down in Sluice's own headers: the way that it has gone, who put it on its queue, why
//! it died, and what became of a replay. Under everything that handles deliveries or dead letters. Pure.

pub mod copy;
pub mod death;
mod event_values;
pub mod fingerprint;
pub mod fit;
pub mod history;
pub mod origin;
pub mod replay;
