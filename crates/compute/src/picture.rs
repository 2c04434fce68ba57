//! Pictures in strips: what lets a model work on some rows of a picture at a time and still get, to the
//! bit, what it would get from the whole.
//!
//! A convolution reads [`Strip`]s and writes some rows of a [`Target`]; a group norm is split into its
//! sums ([`GroupSums`], row by row in order) and a factor and an offset for each channel
//! ([`Normalisation`]), which the following convolution applies to the pixels that it reads, so that
//! the normalised picture is never stored.

use std::ops::Range;

use crate::{Activation, Conv2d, GroupNorm, Tensor};

/// Some neighbouring rows of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Strip<'a> {
    /// `(batch, rows, width, channels)`
    pub rows: &'a Tensor,
    /// Where in the picture they begin.
    pub first_row: usize,
    /// Rows of the picture. Outside of it are the zeros of a convolution's padding.
    pub height: usize,
}

impl<'a> Strip<'a> {
    /// All rows.
    pub fn whole(picture: &'a Tensor) -> Self {
        Self {
            rows: picture,
            first_row: 0,
            height: picture.dim(1),
        }
    }

    /// Row `row` of the picture of one sample, `(width, channels)`.
    ///
    /// # Panics
    /// If the strip does not have it.
    pub(crate) fn row(&self, sample: usize, row: usize) -> &'a [f32] {
        let [_, held, width, channels] = self.rows.rank4();
        let index = row.checked_sub(self.first_row).filter(|&row| row < held);
        let index = index.expect("the strip has the rows that are read; this is a bug");
        &self.rows.sample(sample)[index * width * channels..][..width * channels]
    }
}

/// A convolution of some rows, and what it does to the pixels that it reads.
#[derive(Clone, Debug)]
pub struct Convolution<'a> {
    /// The layer.
    pub layer: &'a Conv2d,
    /// At least the rows that [`Conv2d::input_rows`] names.
    pub input: Strip<'a>,
    /// Applied to the pixels of the input, not to the zeros around it.
    pub norm: Option<&'a Normalisation>,
    /// The rows of the output that are computed. They begin at a multiple of
    /// [`Conv2d::ROW_STEP`] and end at one or with the picture.
    pub rows: Range<usize>,
}

impl Convolution<'_> {
    /// Height and width of the whole output.
    pub fn output_size(&self) -> (usize, usize) {
        let (geometry, kernel) = (self.layer.geometry(), self.layer.kernel());
        geometry.output(self.input.height, self.input.rows.dim(2), kernel)
    }

    /// Stops at what would be a bug of the caller.
    pub(crate) fn check(&self, target: &Target<'_>) {
        let (height, width) = self.output_size();
        let Range { start, end } = self.rows;
        assert_eq!(
            self.input.rows.width(),
            self.layer.in_channels(),
            "this is a bug"
        );
        assert!(start <= end && end <= height, "this is a bug");
        assert_eq!(start % Conv2d::ROW_STEP, 0, "this is a bug");
        assert!(
            end == height || end % Conv2d::ROW_STEP == 0,
            "this is a bug"
        );
        let [batch, held, held_width, channels] = target.tensor.rank4();
        assert_eq!(batch, self.input.rows.dim(0), "this is a bug");
        assert_eq!(
            (held_width, channels),
            (width, self.layer.out_channels()),
            "this is a bug"
        );
        assert!(
            target.first_row <= start && end <= target.first_row + held,
            "this is a bug"
        );
    }
}

/// Where a convolution's rows go.
#[derive(Debug)]
pub struct Target<'a> {
    /// `(batch, rows, width, out_channels)`; rows that are not computed stay as they are.
    pub tensor: &'a mut Tensor,
    /// Which row of the output its first one is.
    pub first_row: usize,
    /// Add the result to what is there: a residual connection without a third picture.
    pub add: bool,
}

/// The sums of a group norm: by sample and group over all rows that were added so far.
#[derive(Clone, Debug)]
pub struct GroupSums {
    groups: usize,
    /// By sample, then by group: the sum and the sum of squares.
    sums: Vec<Vec<[f64; 2]>>,
    /// Values that went into each of them.
    count: usize,
}

impl GroupSums {
    /// Nothing summed yet.
    pub fn new(batch: usize, groups: usize) -> Self {
        Self {
            groups,
            sums: vec![vec![[0.0; 2]; groups]; batch],
            count: 0,
        }
    }

    /// Into how many groups the channels fall.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// For devices: adds the sums of some rows, by sample and row and group. Rows are added one by one
    /// in their order, so that strips of any height give the same bits.
    pub fn add_rows(&mut self, rows: &[[f64; 2]], values_per_row_and_group: usize) {
        let per_sample = rows.len() / self.sums.len();
        for (sums, rows) in self.sums.iter_mut().zip(rows.chunks_exact(per_sample)) {
            for row in rows.chunks_exact(self.groups) {
                for (total, [sum, squares]) in sums.iter_mut().zip(row) {
                    total[0] += sum;
                    total[1] += squares;
                }
            }
        }
        self.count += per_sample / self.groups * values_per_row_and_group;
    }

    /// The norm over everything that was added.
    pub fn normalisation(&self, norm: &GroupNorm, activation: Option<Activation>) -> Normalisation {
        assert_eq!(norm.groups, self.groups, "this is a bug");
        let affine = self.sums.iter().map(|sums| self.affine(sums, norm));
        Normalisation {
            affine: affine.collect(),
            activation,
        }
    }

    /// `(x - mean) / sqrt(variance + eps) * weight + bias` as `x * factor + offset`.
    fn affine(&self, sums: &[[f64; 2]], norm: &GroupNorm) -> Affine {
        let channels = norm.weight.width();
        let per_group = channels / self.groups;
        let mut affine = Affine::default();
        for channel in 0..channels {
            let [sum, squares] = sums[channel / per_group].map(|sum| sum / self.count as f64);
            let variance = (squares - sum * sum).max(0.0);
            let deviation = (variance + f64::from(norm.eps)).sqrt();
            let factor = f64::from(norm.weight.data()[channel]) / deviation;
            let offset = f64::from(norm.bias.data()[channel]) - sum * factor;
            affine.factors.push(factor as f32);
            affine.offsets.push(offset as f32);
        }
        affine
    }
}

/// A group norm whose sums are known: `activation(x * factor + offset)` channel by channel.
#[derive(Clone, Debug)]
pub struct Normalisation {
    affine: Vec<Affine>,
    /// What follows, value by value.
    pub activation: Option<Activation>,
}

/// One sample's factor and offset for each channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affine {
    pub factors: Vec<f32>,
    pub offsets: Vec<f32>,
}

impl Normalisation {
    pub(crate) fn affine(&self, sample: usize) -> &Affine {
        &self.affine[sample]
    }
}

#[cfg(test)]
mod tests {
    use super::GroupSums;

    #[test]
    fn strips_of_any_height_add_up_to_the_same_bits() {
        let rows: Vec<[f64; 2]> = (0..12)
            .map(|i| [f64::from(i) * 0.1, 1.0 / f64::from(i + 1)])
            .collect();
        let mut whole = GroupSums::new(1, 2);
        whole.add_rows(&rows, 5);
        let mut strips = GroupSums::new(1, 2);
        for strip in [&rows[..2], &rows[2..8], &rows[8..]] {
            strips.add_rows(strip, 5);
        }
        assert_eq!(whole.sums, strips.sums);
        assert_eq!((whole.count, strips.count), (30, 30));
    }
}
