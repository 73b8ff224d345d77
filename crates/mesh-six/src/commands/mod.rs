//! One file a command.

pub(crate) mod agents;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod migrate;
pub(crate) mod partitions;
pub(crate) mod services;
pub(crate) mod submit;
pub(crate) mod task_view;
pub(crate) mod tasks;
pub(crate) mod trace;
pub(crate) mod verify;
