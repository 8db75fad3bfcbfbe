//! The whole worker as a black box: the built program between a real RabbitMQ and the sandbox.

mod alarm;
pub mod client;
mod commands;
mod contract;
pub mod dead;
mod dead_api;
mod events;
mod files;
mod gate;
mod health;
mod ingest;
mod issues;
pub mod lease;
mod limits;
mod machine;
mod mend;
mod on_call;
mod operators;
mod pauses;
mod receipts;
mod reload;
pub mod stage;
mod survival;
mod tls;
mod traces;
mod waiting;
mod words;
