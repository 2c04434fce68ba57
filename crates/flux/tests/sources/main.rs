//! Models out of single files: the same pictures as from the diffusers folder that they were made of,
//! and one clear sentence where something is wrong.

mod blocks;
mod eight_bits;
mod failures;
mod full_size;
mod full_size_files;
mod gguf;
mod inspection;
mod maker;
mod names;
mod noting;
mod pictures;
mod scene;
mod sparse;
