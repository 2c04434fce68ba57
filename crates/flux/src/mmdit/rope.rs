//! The rotation of every token by its position (diffusers 0.42, `FluxPosEmbed`).

use tintype_compute::{RopeLayout, RopeTable, Tensor};

/// The base of the frequencies.
const THETA: f64 = 10_000.0;

/// Angles in f64 as in diffusers, their cosines and sines rounded to f32. Each axis of a position
/// turns its own share of a head's features.
pub(super) fn table(axes: [usize; 3], text_ids: &[[f32; 3]], image_ids: &[[f32; 3]]) -> RopeTable {
    let frequencies: Vec<(usize, f64)> = axes
        .iter()
        .enumerate()
        .flat_map(|(axis, &width)| {
            (0..width)
                .step_by(2)
                .map(move |i| (axis, 1.0 / THETA.powf(i as f64 / width as f64)))
        })
        .collect();
    let angles: Vec<f64> = text_ids
        .iter()
        .chain(image_ids)
        .flat_map(|id| frequencies.iter().map(|&(axis, f)| f64::from(id[axis]) * f))
        .collect();
    let shape = [text_ids.len() + image_ids.len(), frequencies.len()];
    let map =
        |f: fn(f64) -> f64| Tensor::from_vec(shape, angles.iter().map(|&a| f(a) as f32).collect());
    RopeTable {
        layout: RopeLayout::Interleaved,
        cos: map(f64::cos),
        sin: map(f64::sin),
    }
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn each_axis_turns_its_own_features() {
        let rope = table([2, 4, 2], &[[0.0; 3]], &[[1.0, 2.0, 3.0]]);
        assert_eq!(rope.cos.shape(), [2, 4]);
        assert_eq!(rope.cos.sample(0), [1.0; 4]);
        let angles = [1.0_f64, 2.0, 2.0 / 100.0, 3.0];
        assert_eq!(rope.sin.sample(1), angles.map(|a| a.sin() as f32));
    }
}
