//! What lies at the bottom of an error.

use std::error::Error;

/// The sentence of the last error in the chain, such as `No space left on device (os error 28)`:
/// what a person can act on. The sentences above it name places of this machine, which are no
/// client's business.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
