//! The gate: what lets a destination's requests through. Pure; time is an argument.

pub mod quota;
