//! How fast the ops, blocks and models are on a device: `tintype bench linear|conv|attention|block|…`.
//!
//! Weights are random and of a given geometry, so that a block of FLUX.1's size is measured without
//! its files. This crate knows the numbers alone; what the service around them costs is
//! `tintype-bench`'s matter. Measured, never asserted: no test of the house depends on how fast a
//! machine is.

mod arguments;
mod cases;
mod clock;
mod device;
mod geometry;
mod measure;
mod random;
mod report;

pub use arguments::SpeedCommand;
