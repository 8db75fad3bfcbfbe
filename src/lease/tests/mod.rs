//! The lease against a simulated broker: `simulation.rs` for what may happen, `cases.rs` for what must.

mod cases;
mod simulation;
