//! What users and developers rely on, without any service: the borders between the parts, the vendors' contracts,
//! the whole pipeline over a broker in memory and a scripted vendor, and the metrics.

mod architecture;
mod conformance;
mod metrics;
mod pipeline;
