//! The whole worker as a black box: the built program between a real RabbitMQ and the sandbox.

pub mod client;
mod commands;
mod contract;
mod dead;
mod dead_api;
mod events;
mod gate;
mod health;
mod operators;
mod reload;
pub mod stage;
mod survival;
