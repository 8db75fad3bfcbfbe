//! What users and developers rely on, without any service: the borders between the parts, the vendors' contracts,
//! the whole pipeline over a broker in memory and a scripted vendor, the metrics, and the rules,
//! the dashboard and the runbook made of them, the HTTP client against servers that misbehave, and a worker with a bug.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod architecture;
mod bug;
mod conformance;
mod dashboard;
mod deploy;
mod metrics;
mod pages;
mod pipeline;
mod producers;
mod rules;
mod runbook;
mod supervision;
mod transport;
