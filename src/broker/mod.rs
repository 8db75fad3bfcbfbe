//! RabbitMQ: the only code that names an AMQP client crate.

pub mod port;
