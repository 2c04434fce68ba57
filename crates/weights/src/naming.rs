//! Names: models ask for tensors by the names of diffusers and transformers; a file may call them
//! otherwise, join several in one, or keep a scale beside them.

use std::fmt;

use std::ops::Range;

/// Where a tensor that a model asks for lies: rows of stored tensors, one above the other. Nothing is
/// copied; in block formats rows are whole blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The stored tensor.
    pub tensor: String,
    /// Its rows, those of its first size; `None` for all of them.
    pub rows: Option<Range<usize>>,
    /// The stored tensor of one value by which these are multiplied, if there is one. Several parts may
    /// have the same.
    pub scale: Option<String>,
}

impl Part {
    /// All rows of a stored tensor.
    pub fn whole(tensor: impl Into<String>) -> Self {
        Self {
            tensor: tensor.into(),
            rows: None,
            scale: None,
        }
    }

    /// Some rows of a stored tensor.
    pub fn of_rows(tensor: impl Into<String>, rows: Range<usize>) -> Self {
        Self {
            rows: Some(rows),
            ..Self::whole(tensor)
        }
    }

    /// The same multiplied by the one value of another tensor.
    pub fn scaled_by(self, tensor: impl Into<String>) -> Self {
        Self {
            scale: Some(tensor.into()),
            ..self
        }
    }
}

/// Finds the parts of a tensor by the name that a model asks for.
type Find = dyn Fn(&str) -> Vec<Part> + Send + Sync;

/// How a file names what models ask for. Under a naming, shapes may differ in sizes of 1 at their end:
/// a 1 × 1 convolution and a linear layer have the same weight.
pub struct Naming {
    /// What packed layers are kept under, so that two components of one file are told apart.
    pub(super) label: String,
    find: Box<Find>,
}

impl Naming {
    /// `find` gives the parts of a tensor by the name that a model asks for; none if there is no such
    /// tensor. `label` says which map it is.
    pub fn new(
        label: impl Into<String>,
        find: impl Fn(&str) -> Vec<Part> + Send + Sync + 'static,
    ) -> Self {
        Self {
            label: label.into(),
            find: Box::new(find),
        }
    }

    pub(super) fn parts(&self, name: &str) -> Vec<Part> {
        (self.find)(name)
    }
}

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Naming({})", self.label)
    }
}
