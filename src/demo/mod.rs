//! Everything at once on one machine, for trying Sluice out. Never used by a worker in production.

pub mod node;
