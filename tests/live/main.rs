//! Broker facts and the worker as a black box, against real RabbitMQ nodes that these tests start and kill themselves.
//! With `SLUICE_TEST_AMQP_URL` set, those that kill nothing use that broker (give it a throw-away virtual host).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and real processes live by the real clock and environment"
)]

#[path = "../it/bug.rs"]
mod bug;
mod cluster;
mod cluster_failures;
mod console;
mod consuming;
mod control;
mod failover;
mod kills;
mod producers;
mod prometheus;
mod publishing;
mod read_lock;
mod silent;
mod stream;
mod supervision;
mod support;
mod topology;
mod tutorial;
mod wear;
mod wires;
mod worker;
