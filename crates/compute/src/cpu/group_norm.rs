//! Group norms over pictures: one pass for the sums, row by row, one for the result. Models that keep
//! the sums and let the next convolution normalise what it reads do without the second.

use super::{CpuDevice, conv, simd};
use crate::{Activation, Device, GroupNorm, GroupSums, Tensor};

pub(super) fn add_sums(device: &CpuDevice, sums: &mut GroupSums, strip: &Tensor) {
    let [_, _, width, channels] = strip.rank4();
    let groups = sums.groups();
    assert_eq!(channels % groups, 0, "this is a bug");
    let per_group = channels / groups;
    let rows = strip.data().chunks_exact(width * channels);
    let mut by_row = vec![[0.0; 2]; rows.len() * groups];
    let tasks = rows.zip(by_row.chunks_exact_mut(groups));
    let by_channel = || [vec![0.0; channels], vec![0.0; channels]];
    device.for_each(tasks, by_channel, |[sums, squares], (row, by_group)| {
        sums.fill(0.0);
        squares.fill(0.0);
        simd::channel_sums(device.simd(), row, sums, squares);
        let members = sums
            .chunks_exact(per_group)
            .zip(squares.chunks_exact(per_group));
        for (group, (sums, squares)) in by_group.iter_mut().zip(members) {
            *group = [sums.iter().sum(), squares.iter().sum()];
        }
    });
    sums.add_rows(&by_row, width * per_group);
}

pub(super) fn run(
    device: &CpuDevice,
    input: &Tensor,
    norm: &GroupNorm,
    activation: Option<Activation>,
) -> Tensor {
    let [batch, _, width, channels] = input.rank4();
    let mut sums = GroupSums::new(batch, norm.groups);
    add_sums(device, &mut sums, input);
    let norm = sums.normalisation(norm, activation);
    let mut output = device.tensor(input.shape());
    let rows = output.rows() / width / batch;
    let from = input.data().chunks_exact(width * channels);
    let to = output.data_mut().chunks_exact_mut(width * channels);
    device.for_each(
        from.zip(to).enumerate(),
        || (),
        |(), (row, (from, to))| {
            to.copy_from_slice(from);
            conv::normalise(device.simd(), &norm, row / rows, to);
        },
    );
    output
}
