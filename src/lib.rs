//! Sluice lets queued events through to marketing and customer-success vendors exactly as fast as each vendor allows.
//!
//! The path of one event: it comes in at a destination's intake, is mapped and checked, passes the [`gate`],
//! is delivered, judged and settled.

pub mod admin;
pub mod app;
pub mod audit;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod dead_letters;
pub mod delivery;
pub mod demo;
pub mod destination;
pub mod event;
pub mod explain;
pub mod fleet;
pub mod gate;
pub mod lint;
pub mod log;
pub mod mapping;
pub mod message;
pub mod metrics;
pub mod operator;
pub mod receipts;
pub mod record;
pub mod redact;
pub mod routing;
pub mod sandbox;
pub mod section;
pub mod supervisor;
pub mod traces;
pub mod vendors;
pub mod verdict;
pub mod watch;
