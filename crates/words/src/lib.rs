//! What people are told, whichever part of the program tells them: names near a mistyped one, what lies
//! under an error, amounts of memory. It knows nothing of what it speaks about.

mod amount;
mod cause;
mod near;

pub use amount::Bytes;
pub use cause::{cause, root_cause, sentence};
pub use near::near;
