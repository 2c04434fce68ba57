//! The tensor: a shape and its f32 values in row-major order.

use std::fmt;

use crate::workspace::Buffer;

/// Axes of a tensor at most.
const MAX_RANK: usize = 6;

/// A dense row-major f32 tensor, a plain value with no device of its own.
///
/// Sequences are `(batch, sequence, features)`, pictures `(batch, height, width, channels)`.
///
/// A tensor that an op returned lies in a buffer of its device's workspace, and so do its clones and
/// what is cut from it or joined to it.
///
/// It knows whether its values are [as coarse as bf16](Self::is_coarse): what other libraries say by the
/// type that they keep activations in.
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    data: Data,
    coarse: bool,
}

/// The length of every axis, outermost first; at most six. Made from arrays, slices and vectors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    axes: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    fn as_slice(&self) -> &[usize] {
        &self.axes[..self.rank]
    }
}

impl From<&[usize]> for Shape {
    /// # Panics
    /// If there are more than six axes.
    fn from(given: &[usize]) -> Self {
        assert!(given.len() <= MAX_RANK, "shape {given:?}; this is a bug");
        let mut axes = [0; MAX_RANK];
        axes[..given.len()].copy_from_slice(given);
        let rank = given.len();
        Self { axes, rank }
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(axes: [usize; N]) -> Self {
        Self::from(&axes[..])
    }
}

impl From<Vec<usize>> for Shape {
    fn from(axes: Vec<usize>) -> Self {
        Self::from(&axes[..])
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// The values: a vector of the tensor's own, or a buffer of a workspace.
enum Data {
    Own(Vec<f32>),
    Pooled(Buffer),
}

impl Data {
    /// `len` values that are anything, from where these came from.
    fn another(&self, len: usize) -> Self {
        match self {
            Self::Own(_) => Self::Own(vec![0.0; len]),
            Self::Pooled(buffer) => Self::Pooled(buffer.another(len)),
        }
    }

    fn get(&self) -> &[f32] {
        match self {
            Self::Own(values) => values,
            Self::Pooled(buffer) => buffer,
        }
    }

    fn get_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Own(values) => values,
            Self::Pooled(buffer) => buffer,
        }
    }
}

impl Clone for Data {
    fn clone(&self) -> Self {
        match self {
            Self::Own(values) => Self::Own(values.clone()),
            Self::Pooled(buffer) => {
                let mut copy = buffer.another(buffer.len());
                copy.copy_from_slice(buffer);
                Self::Pooled(copy)
            }
        }
    }
}

/// Values are compared, not how coarse they are.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.data() == other.data()
    }
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Panics
    /// If `data` does not hold exactly as many values as `shape` says.
    pub fn from_vec(shape: impl Into<Shape>, data: Vec<f32>) -> Self {
        Self::over(shape.into(), Data::Own(data))
    }

    /// A tensor of `shape` full of zeros. Ops take their outputs from [`crate::Device::tensor`], which
    /// neither allocates nor clears.
    pub fn zeros(shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let data = vec![0.0; shape.as_slice().iter().product()];
        Self::from_vec(shape, data)
    }

    /// A tensor of `shape` over the first values of a workspace's buffer.
    pub(crate) fn pooled(shape: Shape, buffer: Buffer) -> Self {
        Self::over(shape, Data::Pooled(buffer))
    }

    fn over(shape: Shape, data: Data) -> Self {
        let values = data.get().len();
        assert_eq!(
            shape.as_slice().iter().product::<usize>(),
            values,
            "tensor of shape {shape:?} over {values} values; this is a bug"
        );
        Self {
            shape,
            data,
            coarse: false,
        }
    }

    /// Whether the values come out of products of bf16 or less, so that a device may round them to bf16
    /// where that makes it faster. Clones, parts and other shapes of such a tensor are so, too; what is
    /// computed from it is what its device says.
    pub fn is_coarse(&self) -> bool {
        self.coarse
    }

    /// The same values, which may be rounded to bf16 from here on.
    #[must_use]
    pub fn into_coarse(self) -> Self {
        Self {
            coarse: true,
            ..self
        }
    }

    /// A tensor of `shape` with any values, to be overwritten, from where this one's came from.
    fn another(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let values = shape.as_slice().iter().product();
        Self::over(shape, self.data.another(values))
    }

    /// The length of every axis, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.shape.as_slice()
    }

    /// The length of one axis.
    pub fn dim(&self, axis: usize) -> usize {
        self.shape()[axis]
    }

    /// The length of the last axis (1 for a scalar).
    pub fn width(&self) -> usize {
        self.shape().last().copied().unwrap_or(1)
    }

    /// The number of rows, a row being the values along the last axis.
    pub fn rows(&self) -> usize {
        self.data().len() / self.width().max(1)
    }

    /// The values in row-major order.
    pub fn data(&self) -> &[f32] {
        self.data.get()
    }

    /// The values in row-major order, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.data.get_mut()
    }

    /// A copy of the values in row-major order.
    pub fn to_vec(&self) -> Vec<f32> {
        self.data().to_vec()
    }

    /// The values in row-major order; without a copy if they lie in no workspace.
    pub fn into_vec(self) -> Vec<f32> {
        match self.data {
            Data::Own(values) => values,
            Data::Pooled(buffer) => buffer.to_vec(),
        }
    }

    /// The same values under another shape.
    ///
    /// # Panics
    /// If the shapes hold different numbers of values.
    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        Self {
            coarse: self.coarse,
            ..Self::over(shape.into(), self.data)
        }
    }

    /// The values of one sample: the `index`-th part along the first axis.
    pub fn sample(&self, index: usize) -> &[f32] {
        let size = self.data().len() / self.dim(0);
        &self.data()[index * size..][..size]
    }

    /// Joins `(batch, *, features)` tensors along the sequence axis.
    ///
    /// # Panics
    /// If the batch or the features differ, or a tensor is not of rank 3.
    pub fn concat_sequence(parts: &[&Tensor]) -> Self {
        let [batch, _, width] = parts[0].rank3();
        let length = parts.iter().map(|part| part.dim(1)).sum();
        let mut joined = parts[0].another([batch, length, width]);
        joined.coarse = parts.iter().all(|part| part.coarse);
        let mut rest = joined.data_mut();
        for sample in 0..batch {
            for part in parts {
                let [part_batch, _, part_width] = part.rank3();
                assert_eq!((part_batch, part_width), (batch, width), "this is a bug");
                let values = part.sample(sample);
                let (target, after) = rest.split_at_mut(values.len());
                target.copy_from_slice(values);
                rest = after;
            }
        }
        joined
    }

    /// The tokens `start .. start + length` of every sample of a `(batch, sequence, features)` tensor.
    ///
    /// # Panics
    /// If the range leaves the sequence or the tensor is not of rank 3.
    pub fn narrow_sequence(&self, start: usize, length: usize) -> Self {
        let [batch, sequence, width] = self.rank3();
        assert!(start + length <= sequence, "this is a bug");
        let mut part = self.another([batch, length, width]);
        part.coarse = self.coarse;
        let size = length * width;
        for sample in 0..batch {
            let values = &self.sample(sample)[start * width..][..size];
            part.data_mut()[sample * size..][..size].copy_from_slice(values);
        }
        part
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
        let shown = &self.data()[..self.data().len().min(4)];
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
    fn parts_of_what_is_coarse_are_coarse() {
        let fine = Tensor::zeros([1, 4, 2]);
        let coarse = fine.clone().into_coarse();
        assert!(!fine.is_coarse() && coarse.is_coarse());
        assert_eq!(fine, coarse, "the values are the same");
        assert!(coarse.narrow_sequence(1, 2).is_coarse());
        assert!(coarse.clone().reshape([8]).is_coarse());
        assert!(!fine.narrow_sequence(1, 2).is_coarse());
    }

    #[test]
    #[should_panic(expected = "this is a bug")]
    fn a_shape_that_does_not_fit_its_values_is_refused() {
        Tensor::from_vec([2, 2], vec![0.0; 3]);
    }
}
