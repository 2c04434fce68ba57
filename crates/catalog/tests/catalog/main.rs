//! The catalogue as outsiders see it.

mod catalogue;
mod search;
