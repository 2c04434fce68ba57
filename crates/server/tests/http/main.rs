//! The HTTP border with a real service and store behind it. No engine: a test that needs a
//! finished task finishes it through the store.

mod answers;
mod attempts;
mod authentication;
mod bodies;
mod files;
mod house;
mod idempotency;
mod isolation;
mod limits;
mod live;
mod moderation;
mod outlook;
mod reference;
mod sockets;
mod task_delete;
mod task_list;
mod task_races;
mod task_stop;
mod tools;
mod uploads;
mod upsampling;
mod webhook;
mod websocket;
