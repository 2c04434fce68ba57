//! A bound on the memory of the pictures changes no bit.

use std::sync::Arc;

use tintype_compute::{CpuDevice, Device, ReferenceDevice, Tensor};

use super::Vae;
use crate::weights::Weights;

const CONFIG: &str = r#"{
    "in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels": [8, 16, 16],
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
    "layers_per_block": 1, "norm_num_groups": 4, "scaling_factor": 1.0, "shift_factor": 0.0,
    "use_quant_conv": false, "use_post_quant_conv": false, "mid_block_add_attention": true
}"#;

/// Values without a pattern that an error could hide in.
fn noise(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    Tensor::from_vec(shape, (0..shape.iter().product()).map(|_| next()).collect())
}

fn vae(device: Arc<dyn Device>) -> Vae {
    let mut seed = 0;
    let weights = Weights::generated(move |_, shape| {
        seed += 1;
        let mut weight = noise(shape, seed);
        let depth: usize = shape.iter().skip(1).product();
        let scale = (3.0 / depth as f32).sqrt();
        weight.data_mut().iter_mut().for_each(|w| *w *= scale);
        weight
    });
    Vae::load(CONFIG, weights, device).expect("loads")
}

/// Three strips and a piece, at odd widths.
fn check(device: &Arc<dyn Device>, latent_rows: usize, bound: usize) {
    let latents = noise(&[2, latent_rows, 7, 4], 7);
    let whole = vae(device.clone());
    let picture = whole.decode(&latents);
    let strips = vae(device.clone()).within(Some(bound));
    assert_eq!(strips.decode(&latents), picture, "decode on {device:?}");
    let (found, expected) = (strips.encode(&picture), whole.encode(&picture));
    assert_eq!(found, expected, "encode on {device:?}");
}

#[test]
fn pictures_in_strips_have_the_bits_of_whole_ones() {
    for threads in [1, 3] {
        let device: Arc<dyn Device> = Arc::new(CpuDevice::new(threads));
        // All levels in strips; then those alone that are larger than the bound.
        for bound in [0, 300_000] {
            check(&device, 49, bound);
        }
    }
    check(&(Arc::new(ReferenceDevice) as Arc<dyn Device>), 17, 0);
}

#[test]
fn a_bound_lowers_the_peak() {
    let peak = |bound| {
        let device = Arc::new(CpuDevice::new(1));
        let vae = vae(device.clone()).within(bound);
        vae.decode(&noise(&[1, 96, 64, 4], 3));
        device.workspace().used_bytes_peak
    };
    let (whole, bounded) = (peak(None), peak(Some(0)));
    assert!(bounded * 10 < whole * 7, "{bounded} of {whole} bytes");
}
