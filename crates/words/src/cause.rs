//! Errors and what lies under them.

use std::error::Error;
use std::iter;

/// An error and all its causes as one sentence.
pub fn sentence(error: &dyn Error) -> String {
    let causes = iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The sentence of the last error in the chain, such as `No space left on device (os error 28)`: what a
/// person can act on. The sentences above it name places of this machine, which are no client's business.
pub fn root_cause(error: &dyn Error) -> String {
    cause(error).unwrap_or_else(|| error.to_string())
}

/// The same of what lies under an error, whose own sentence is not wanted: that of an HTTP client holds the
/// whole address. `None` if nothing does.
pub fn cause(error: &dyn Error) -> Option<String> {
    let causes = iter::successors(error.source(), |&cause| cause.source());
    causes.last().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fmt;

    use super::{cause, root_cause, sentence};

    #[derive(Debug)]
    struct Under(&'static str, Option<Box<Under>>);

    impl fmt::Display for Under {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Under {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|error| error as &dyn Error)
        }
    }

    #[test]
    fn a_chain_is_read_to_its_end() {
        let disk = Under("the disk is full", None);
        assert_eq!(sentence(&disk), "the disk is full");
        assert_eq!(root_cause(&disk), "the disk is full");
        assert_eq!(cause(&disk), None);
        let write = Under("cannot write", Some(Box::new(disk)));
        let model = Under("no model", Some(Box::new(write)));
        assert_eq!(sentence(&model), "no model: cannot write: the disk is full");
        assert_eq!(root_cause(&model), "the disk is full");
        assert_eq!(cause(&model).as_deref(), Some("the disk is full"));
    }
}
