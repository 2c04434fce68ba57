//! Rows of pictures that are too large to be kept in every state: how a level is computed strip by
//! strip, to the bit as it is computed whole.
//!
//! A group norm needs the sums of its whole input, so a residual block walks over its picture three
//! times: for the sums of its input, for those of its first convolution, and for the result. What lies
//! between (the doubled input, the first convolution's output) is computed anew in each walk and never
//! stored: about twice the arithmetic for a fraction of the memory.

use std::{iter, ops::Range};

use tintype_compute::{Conv2d, Convolution, Device, Normalisation, Strip, Target, Tensor};

/// Rows of a strip: the rows that neighbours compute twice (four to eight) stay a small part.
const ROWS: usize = 64;

/// Rows that a strip may need of those before it: two convolutions of 3 × 3 need one each, and strips
/// begin at multiples of [`Conv2d::ROW_STEP`].
pub(super) const HALO: usize = 2 * Conv2d::ROW_STEP;

/// The strips of a picture of `height` rows.
pub(super) fn strips(height: usize) -> impl Iterator<Item = Range<usize>> {
    (0..height)
        .step_by(ROWS)
        .map(move |first| first..height.min(first + ROWS))
}

/// `rows` grown to whole steps, as a convolution computes them.
pub(super) fn whole_steps(rows: Range<usize>, height: usize) -> Range<usize> {
    let step = Conv2d::ROW_STEP;
    rows.start / step * step..rows.end.next_multiple_of(step).min(height)
}

/// One convolution of a strip. Returns just `rows` of its output.
pub(super) fn convolve(
    device: &dyn Device,
    layer: &Conv2d,
    input: Strip<'_>,
    norm: Option<&Normalisation>,
    rows: Range<usize>,
) -> Tensor {
    let convolution = Convolution {
        layer,
        input,
        norm,
        rows: rows.clone(),
    };
    let (_, width) = convolution.output_size();
    let mut output = device.tensor(&[input.rows.dim(0), rows.len(), width, layer.out_channels()]);
    let target = Target {
        tensor: &mut output,
        first_row: rows.start,
        add: false,
    };
    device.convolve(&convolution, target);
    output
}

/// A picture whose rows can be had: stored, or the doubling of a stored one.
#[derive(Clone, Copy)]
pub(super) struct Picture<'a> {
    pub stored: &'a Tensor,
    /// Computed from `stored` whenever rows are asked for.
    pub upsample: Option<&'a Conv2d>,
}

impl Picture<'_> {
    /// `[batch, height, width, channels]`
    pub fn shape(&self) -> [usize; 4] {
        match self.upsample {
            Some(layer) => layer.output_shape(self.stored),
            None => self.stored.rank4(),
        }
    }

    /// A copy of some rows, which begin and end with a step.
    pub fn rows(&self, device: &dyn Device, rows: Range<usize>) -> Tensor {
        match self.upsample {
            Some(layer) => convolve(device, layer, Strip::whole(self.stored), None, rows),
            None => copy_rows(device, iter::once((self.stored, rows))),
        }
    }
}

/// The rows of all parts, one below the other.
pub(super) fn copy_rows<'a>(
    device: &dyn Device,
    parts: impl Iterator<Item = (&'a Tensor, Range<usize>)> + Clone,
) -> Tensor {
    let (first, _) = parts
        .clone()
        .next()
        .expect("there is a part; this is a bug");
    let [batch, _, width, channels] = first.rank4();
    let height = parts.clone().map(|(_, rows)| rows.len()).sum();
    let mut output = device.tensor(&[batch, height, width, channels]);
    let row = width * channels;
    for (sample, target) in output.data_mut().chunks_exact_mut(height * row).enumerate() {
        let mut start = 0;
        for (part, rows) in parts.clone() {
            let values = &part.sample(sample)[rows.start * row..rows.end * row];
            target[start..start + values.len()].copy_from_slice(values);
            start += values.len();
        }
    }
    output
}

/// Rows of a picture, taken out of it.
pub(super) struct Rows {
    pub tensor: Tensor,
    /// Where they begin.
    pub first: usize,
}

impl Rows {
    /// The rows that `layer` needs for `rows` of its output, which is of the same height.
    pub fn new(
        layer: &Conv2d,
        rows: &Range<usize>,
        height: usize,
        rows_of: &dyn Fn(Range<usize>) -> Tensor,
    ) -> Self {
        let needed = whole_steps(layer.input_rows(rows, height), height);
        Self {
            first: needed.start,
            tensor: rows_of(needed),
        }
    }

    pub fn strip(&self, height: usize) -> Strip<'_> {
        Strip {
            rows: &self.tensor,
            first_row: self.first,
            height,
        }
    }

    /// Copies `rows` to their place in a whole picture.
    pub fn copy_to(&self, picture: &mut Tensor, rows: Range<usize>) {
        let [_, height, width, channels] = picture.rank4();
        let row = width * channels;
        let samples = picture.data_mut().chunks_exact_mut(height * row);
        for (sample, target) in samples.enumerate() {
            let source = &self.tensor.sample(sample)[(rows.start - self.first) * row..];
            let target = &mut target[rows.start * row..rows.end * row];
            target.copy_from_slice(&source[..target.len()]);
        }
    }
}

/// A picture that is overwritten from above while rows further down still need those above them as
/// they were.
pub(super) struct Overwritten<'a> {
    pub picture: &'a mut Tensor,
    /// The last rows before `next` as they were.
    saved: Option<Tensor>,
    next: usize,
}

impl<'a> Overwritten<'a> {
    pub fn new(picture: &'a mut Tensor) -> Self {
        Self {
            picture,
            saved: None,
            next: 0,
        }
    }

    /// Rows as they were: up to [`HALO`] above those that were given up, and any below.
    pub fn rows(&self, device: &dyn Device, rows: Range<usize>) -> Tensor {
        let below = rows.start.max(self.next)..rows.end;
        match &self.saved {
            Some(saved) if rows.start < self.next => {
                let first = self.next - saved.dim(1);
                let above = (saved, rows.start - first..self.next - first);
                copy_rows(device, [above, (&*self.picture, below)].into_iter())
            }
            _ => copy_rows(device, iter::once((&*self.picture, below))),
        }
    }

    /// Everything above `end` is about to be overwritten.
    pub fn give_up(&mut self, device: &dyn Device, end: usize) {
        let first = end.saturating_sub(HALO);
        self.saved = Some(self.rows(device, first..end));
        self.next = end;
    }
}
