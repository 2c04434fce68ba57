//! Random values, made as fast as memory is copied: a model of gigabytes shall not take minutes.
//!
//! Every tensor is a stretch of one pool of values in -1..1, from another place each time. They are
//! values of bf16, as those of published weights are, and stay so when they are scaled by a power of
//! two.

use tintype_compute::Tensor;
use tintype_flux::weights::Weights;

/// Values in the pool. A prime, so that no row of a matrix is as another one.
const POOL: usize = 1_048_573;

/// How far the start moves from tensor to tensor; a prime, too.
const STRIDE: usize = 104_729;

/// The seed of all values: figures shall be of the same numbers each time.
const SEED: u64 = 0x7114_7e11;

/// The source of random values.
#[derive(Debug)]
pub(crate) struct Random {
    pool: Vec<f32>,
    start: usize,
}

impl Random {
    pub(crate) fn new() -> Self {
        let mut state = SEED;
        Self {
            pool: (0..POOL).map(|_| bf16_value(&mut state)).collect(),
            start: 0,
        }
    }

    /// Values in -1..1.
    pub(crate) fn tensor(&mut self, shape: &[usize]) -> Tensor {
        self.scaled(shape, 1.0)
    }

    /// Values in `-scale..scale`, which stay values of bf16 if it is a power of two.
    fn scaled(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let count = shape.iter().product();
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            let stretch = &self.pool[self.start..];
            let stretch = &stretch[..stretch.len().min(count - values.len())];
            values.extend(stretch.iter().map(|value| value * scale));
            self.start = (self.start + stretch.len()) % POOL;
        }
        self.start = (self.start + STRIDE) % POOL;
        Tensor::from_vec(shape, values)
    }

    /// A weight by which values keep their size: a layer's products have a variance of about 1, a
    /// norm's weights lie around 1, biases are small.
    pub(crate) fn weight(&mut self, name: &str, shape: &[usize]) -> Tensor {
        if name.ends_with(".bias") {
            return self.scaled(shape, 1.0 / 16.0);
        }
        if let [_] = shape {
            let mut tensor = self.scaled(shape, 1.0 / 8.0);
            tensor.data_mut().iter_mut().for_each(|value| *value += 1.0);
            return tensor;
        }
        let inputs: usize = shape[1..].iter().product();
        self.scaled(shape, power_of_two(3.0 / inputs as f32))
    }

    /// The weights of any model.
    pub(crate) fn weights(mut self) -> Weights {
        Weights::generated(move |name, shape| self.weight(name, shape))
    }
}

/// The power of two that is nearest to the root of `square`.
fn power_of_two(square: f32) -> f32 {
    square.sqrt().log2().round().exp2()
}

/// The next value in -1..1 with eight significant bits (SplitMix64).
fn bf16_value(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let value = ((mixed ^ (mixed >> 31)) as u32 as i32) as f32 / 2_147_483_648.0;
    f32::from_bits(value.to_bits() & 0xffff_0000)
}

#[cfg(test)]
mod tests {
    use super::{POOL, Random};

    #[test]
    fn values_are_of_bf16_and_differ_from_row_to_row() {
        let tensor = Random::new().weight("a.weight", &[3, 4096]);
        assert!(tensor.data().iter().all(|v| v.to_bits() & 0xffff == 0));
        assert_ne!(tensor.sample(0), tensor.sample(1));
    }

    #[test]
    fn a_tensor_may_be_larger_than_the_pool() {
        let mut random = Random::new();
        let tensor = random.tensor(&[2, POOL]);
        assert_eq!(tensor.sample(0), tensor.sample(1));
        assert_ne!(random.tensor(&[2, POOL]), tensor);
    }

    #[test]
    fn a_product_keeps_the_size_of_its_input() {
        let mut random = Random::new();
        let weight = random.weight("a.weight", &[64, 768]);
        let norm = weight.data().iter().map(|v| v * v).sum::<f32>() / 64.0;
        assert!((0.5..2.0).contains(&norm), "{norm}");
    }
}
