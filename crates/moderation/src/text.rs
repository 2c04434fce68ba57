//! From a text as it was written to the words that a reader may see in it. Rules and prompts take
//! the same way, so that they meet.

mod fold;
mod readings;

pub(crate) use fold::fold;
pub(crate) use readings::{Manner, Reading, Text, squeezed};
