//! Sluice lets queued events through to marketing and customer-success vendors exactly as fast as each vendor allows.
//!
//! The path of one event: it comes in at a destination's intake, is mapped and checked, passes the [`gate`],
//! is delivered, judged and settled.

pub mod broker;
pub mod clock;
pub mod config;
pub mod demo;
pub mod event;
pub mod gate;
pub mod message;
pub mod vendors;
pub mod verdict;
