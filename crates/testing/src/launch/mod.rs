//! Launchers of real servers: each on a port of its own, with its data and its log in a folder, ended when it is dropped
//! and when we are killed.

mod amqp;
mod components;
mod daprd;
mod http;
mod link;
mod password;
mod ports;
mod process;
mod rabbitmq;
mod redis;

pub use self::{
    amqp::{AmqpPublisher, Witness, lose_waiting, queue_length},
    components::{Rendered, Surroundings, render},
    daprd::{Daprd, DaprdConfig, DaprdPorts},
    http::status,
    link::{Flow, Link},
    ports::server_port,
    process::{Process, RIG_VARIABLE},
    rabbitmq::{RabbitMq, RabbitMqConfig},
    redis::{Redis, RedisConfig},
};
pub(crate) use self::{
    http::client,
    password::{secret, write_private},
    process::{PART_VARIABLE, tail},
};
