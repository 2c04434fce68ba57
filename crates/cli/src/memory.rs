//! The machine's memory, for people.

pub use tintype_engine::native::memory::of_this_machine;

/// For people.
pub fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
