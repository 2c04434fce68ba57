//! The service at the boundary that its callers see, over the real embedded store.

mod authentication;
mod bench;
mod control;
mod crash;
mod faults;
mod files;
mod inputs;
mod janitor;
mod janitor_lives;
mod life;
mod moderation;
mod projects;
mod sampling;
mod stepping;
mod stopping;
mod submit;
mod tools;
mod trouble;
mod upsampling;
mod upsampling_endpoint;
mod webhook_faults;
mod webhooks;
