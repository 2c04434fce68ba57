//! The tensor: a shape and its f32 values in row-major order.

use std::fmt;

/// A dense row-major f32 tensor, a plain value with no device of its own.
///
/// Sequences are `(batch, sequence, features)`, pictures `(batch, height, width, channels)`.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Panics
    /// If `data` does not hold exactly as many values as `shape` says.
    pub fn from_vec(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        let shape = shape.into();
        assert_eq!(
            shape.iter().product::<usize>(),
            data.len(),
            "tensor of shape {shape:?} over {} values; this is a bug",
            data.len()
        );
        Self { shape, data }
    }

    /// A tensor of `shape` full of zeros.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let data = vec![0.0; shape.iter().product()];
        Self { shape, data }
    }

    /// The length of every axis, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The length of one axis.
    pub fn dim(&self, axis: usize) -> usize {
        self.shape[axis]
    }

    /// The length of the last axis (1 for a scalar).
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The number of rows, a row being the values along the last axis.
    pub fn rows(&self) -> usize {
        self.data.len() / self.width().max(1)
    }

    /// The values in row-major order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values in row-major order, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// A copy of the values in row-major order.
    pub fn to_vec(&self) -> Vec<f32> {
        self.data.clone()
    }

    /// The values in row-major order, without a copy.
    pub fn into_vec(self) -> Vec<f32> {
        self.data
    }

    /// The same values under another shape.
    ///
    /// # Panics
    /// If the shapes hold different numbers of values.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Self {
        Self::from_vec(shape, self.data)
    }

    /// The values of one sample: the `index`-th part along the first axis.
    pub fn sample(&self, index: usize) -> &[f32] {
        let size = self.data.len() / self.shape[0];
        &self.data[index * size..][..size]
    }

    /// Joins `(batch, *, features)` tensors along the sequence axis.
    ///
    /// # Panics
    /// If the batch or the features differ, or a tensor is not of rank 3.
    pub fn concat_sequence(parts: &[&Tensor]) -> Self {
        let [batch, _, width] = parts[0].rank3();
        let length = parts.iter().map(|part| part.dim(1)).sum();
        let mut data = Vec::with_capacity(batch * length * width);
        for sample in 0..batch {
            for part in parts {
                let [part_batch, _, part_width] = part.rank3();
                assert_eq!((part_batch, part_width), (batch, width), "this is a bug");
                data.extend_from_slice(part.sample(sample));
            }
        }
        Self::from_vec([batch, length, width], data)
    }

    /// The tokens `start .. start + length` of every sample of a `(batch, sequence, features)` tensor.
    ///
    /// # Panics
    /// If the range leaves the sequence or the tensor is not of rank 3.
    pub fn narrow_sequence(&self, start: usize, length: usize) -> Self {
        let [batch, sequence, width] = self.rank3();
        assert!(start + length <= sequence, "this is a bug");
        let mut data = Vec::with_capacity(batch * length * width);
        for sample in 0..batch {
            data.extend_from_slice(&self.sample(sample)[start * width..][..length * width]);
        }
        Self::from_vec([batch, length, width], data)
    }

    /// The shape of a `(batch, sequence, features)` tensor.
    ///
    /// # Panics
    /// If the tensor is not of rank 3.
    pub fn rank3(&self) -> [usize; 3] {
        <[usize; 3]>::try_from(self.shape())
            .unwrap_or_else(|_| panic!("expected rank 3, found {:?}; this is a bug", self.shape))
    }

    /// The shape of a `(batch, height, width, channels)` tensor.
    ///
    /// # Panics
    /// If the tensor is not of rank 4.
    pub fn rank4(&self) -> [usize; 4] {
        <[usize; 4]>::try_from(self.shape())
            .unwrap_or_else(|_| panic!("expected rank 4, found {:?}; this is a bug", self.shape))
    }
}

impl fmt::Debug for Tensor {
    /// The shape and the first few values: a whole tensor never belongs in a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.data[..self.data.len().min(4)];
        write!(f, "Tensor{:?}{shown:?}", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::Tensor;

    #[test]
    fn narrowing_a_joined_sequence_gives_the_parts_back() {
        let a = Tensor::from_vec([2, 1, 2], vec![1.0, 2.0, 3.0, 4.0]);
        let b = Tensor::from_vec([2, 2, 2], (5..13).map(|v| v as f32).collect());
        let joined = Tensor::concat_sequence(&[&a, &b]);
        assert_eq!(joined.shape(), [2, 3, 2]);
        assert_eq!(joined.sample(1), [3.0, 4.0, 9.0, 10.0, 11.0, 12.0]);
        assert_eq!(joined.narrow_sequence(0, 1), a);
        assert_eq!(joined.narrow_sequence(1, 2), b);
    }

    #[test]
    #[should_panic(expected = "this is a bug")]
    fn a_shape_that_does_not_fit_its_values_is_refused() {
        Tensor::from_vec([2, 2], vec![0.0; 3]);
    }
}
