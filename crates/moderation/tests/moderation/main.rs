//! The rules for texts and the table of thresholds, as operators and their clients meet them.

mod builtin;
mod files;
mod properties;
mod thresholds;
