//! Weights that are made up, not read: a model of any geometry without a file of its size, for
//! measurements and tests. Nothing that draws pictures uses it.

use std::{collections::BTreeMap, fmt};

use tintype_compute::Tensor;

use super::Weights;

/// Makes the tensor of a name and a shape.
type Make = dyn FnMut(&str, &[usize]) -> Tensor + Send;

/// A [`Make`] of its own.
pub(super) struct Generator(Box<Make>);

impl Generator {
    /// # Panics
    /// If the function that makes the tensors gives another shape.
    pub fn make(&mut self, name: &str, shape: &[usize]) -> Tensor {
        let tensor = (self.0)(name, shape);
        assert_eq!(tensor.shape(), shape, "{name}; this is a bug");
        tensor
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generator")
    }
}

impl Weights {
    /// Weights that hold whatever a model asks for: `make` is given each tensor's name and shape, in
    /// the order in which the model loads. So a model of full size needs no file, and no more memory
    /// at a time than its packed layers and the tensor that is being made.
    pub fn generated(make: impl FnMut(&str, &[usize]) -> Tensor + Send + 'static) -> Self {
        Self {
            component: "generated weights".to_owned(),
            place: None,
            naming: None,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            rounded: false,
            cache: None,
            meter: None,
            watched: None,
            generator: Some(Generator(Box::new(make))),
        }
    }
}
