//! The library against a stand-in of a hub: good days, bad days, and what is left on the disk.

mod disk;
mod hostile;
mod pulling;
mod resuming;
mod scene;
