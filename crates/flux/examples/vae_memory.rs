//! What the VAE takes at FLUX.1's geometry, on weights that are made up: memory and time of a decode and
//! an encode, whole and in strips, and whether both give the same bits.
//!
//! `cargo run --release -p tintype-flux --example vae_memory -- [side] [bounds in MB, or "none"]…`

use std::{env, error::Error, fs, sync::Arc};

use tintype_compute::{CpuDevice, Tensor};
use tintype_flux::{vae::Vae, weights::Weights};

/// The configuration of FLUX.1's VAE.
const CONFIG: &str = r#"{
    "in_channels": 3, "out_channels": 3, "latent_channels": 16,
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32,
    "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": false,
    "use_post_quant_conv": false, "mid_block_add_attention": true
}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let side: usize = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    let bounds: Vec<Option<usize>> = arguments.map(|text| text.parse().ok()).collect();
    let bounds = if bounds.is_empty() {
        vec![None, Some(1024), Some(0)]
    } else {
        bounds
    };
    let mut expected = None;
    for bound in bounds {
        let found = measure(side, bound)?;
        match &expected {
            None => expected = Some(found),
            Some(expected) => println!("  the bits of the first: {}", found == *expected),
        }
    }
    Ok(())
}

/// A decode, then an encode of its picture.
fn measure(side: usize, bound_mb: Option<usize>) -> Result<[Tensor; 2], Box<dyn Error>> {
    let device = Arc::new(CpuDevice::new(1));
    let bytes = bound_mb.map(|megabytes| megabytes << 20);
    let vae = Vae::load(CONFIG, weights(), device.clone())?.within(bytes);
    let latents = noise(&[1, side / 8, side / 8, 16], 1);
    let bound = bound_mb.map_or("whole".to_owned(), |bound| format!("bound {bound} MB"));
    let start = busy_seconds();
    let picture = vae.decode(&latents);
    let report = |what, start: f64| {
        let peak = device.workspace().used_bytes_peak as f64 / f64::from(1 << 20);
        let seconds = busy_seconds() - start;
        println!(
            "{what} {side} x {side}, {bound}: {seconds:.1} s of one core, peak {peak:.0} MB so far"
        );
    };
    report("decode", start);
    let start = busy_seconds();
    let moments = vae.encode(&picture).mean;
    report("encode", start);
    Ok([picture, moments])
}

fn weights() -> Weights {
    let mut seed = 0;
    Weights::generated(move |_, shape| {
        seed += 1;
        let depth: usize = shape.iter().skip(1).product();
        let scale = (3.0 / depth as f32).sqrt();
        let mut weight = noise(shape, seed);
        weight.data_mut().iter_mut().for_each(|w| *w *= scale);
        weight
    })
}

/// The same values for the same seed, between -1 and 1.
fn noise(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    Tensor::from_vec(shape, (0..shape.iter().product()).map(|_| next()).collect())
}

/// How long this thread has been on a processor, where Linux says so.
fn busy_seconds() -> f64 {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}
