//! What the ways to keep weights cost in quality: pictures of the bundled model against those of exact
//! weights (PSNR), and layers of FLUX.1's size over random weights and an input with outliers (relative
//! RMS error).
//!
//! `cargo run --release -p tintype-nano --example weights -- [STEPS]`

use std::sync::Arc;

use image::RgbImage;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tintype_compute::{CpuDevice, CpuOptions, Device, Epilogue, Tensor, WeightFormat};
use tintype_flux::pipeline::{Pipeline, Request};
use tintype_flux::size::{Ratio, Table};

/// Prompts of the kind that the model knows.
const PROMPTS: [&str; 4] = [
    "a red circle left of a blue square on a white background",
    "a green star",
    "a yellow triangle above a black ring on a grey background",
    "three small blue circles",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = std::env::args().nth(1).map(|n| n.parse()).transpose()?;
    let expected = pictures(WeightFormat::Exact, steps)?;
    for format in [WeightFormat::Bf16, WeightFormat::Int8] {
        let found = pictures(format, steps)?;
        let mut psnr: Vec<f64> = found
            .iter()
            .zip(&expected)
            .map(|(f, e)| psnr(f, e))
            .collect();
        psnr.sort_by(f64::total_cmp);
        let mean = psnr.iter().sum::<f64>() / psnr.len() as f64;
        println!(
            "nano, {format}: PSNR {mean:.1} dB in the mean, {:.1} dB at worst",
            psnr[0]
        );
    }
    for (rows, depth, columns) in [(512, 3072, 3072), (256, 15360, 3072), (256, 4096, 10240)] {
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            for outliers in [false, true] {
                let error = layer_error(format, [rows, depth, columns], outliers)?;
                let kind = if outliers { "with outliers" } else { "normal" };
                println!(
                    "{rows} x {depth} -> {columns}, {kind}, {format}: relative RMS error {error:.2e}"
                );
            }
        }
    }
    Ok(())
}

fn device(weights: WeightFormat) -> Result<CpuDevice, Box<dyn std::error::Error>> {
    let options = CpuOptions {
        weights,
        ..CpuOptions::default()
    };
    Ok(CpuDevice::with_options(options)?)
}

fn pictures(
    format: WeightFormat,
    steps: Option<u32>,
) -> Result<Vec<RgbImage>, Box<dyn std::error::Error>> {
    let pipeline = Pipeline::open(&tintype_nano::model(), Arc::new(device(format)?))?;
    let native = pipeline.settings().native;
    let size = native.size_for(Ratio::new(1, 1), Table::Kontext);
    let mut pictures = Vec::new();
    for (seed, prompt) in PROMPTS.into_iter().enumerate() {
        let request = Request {
            steps,
            ..Request::new(prompt, seed as u64, size)
        };
        let mut run = pipeline.start(&request)?;
        while !run.is_done() {
            run.step()?;
        }
        pictures.extend(run.finish()?.pictures);
    }
    Ok(pictures)
}

/// Of eight-bit pictures, in decibels.
fn psnr(found: &RgbImage, expected: &RgbImage) -> f64 {
    let squares = found
        .iter()
        .zip(expected.iter())
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    let mean = squares.sum::<f64>() / found.as_raw().len() as f64;
    10.0 * (255.0_f64.powi(2) / mean.max(1e-9)).log10()
}

/// Against exact weights. With outliers, four features of the input are a hundred times the others, as
/// those of text encoders are.
fn layer_error(
    format: WeightFormat,
    [rows, depth, columns]: [usize; 3],
    outliers: bool,
) -> Result<f64, Box<dyn std::error::Error>> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut normal = |shape: &[usize]| {
        let values = (0..shape.iter().product()).map(|_| {
            let sum: f32 = (0..12).map(|_| rng.random_range(0.0..1.0_f32)).sum();
            sum - 6.0
        });
        Tensor::from_vec(shape, values.collect())
    };
    let (mut x, weight) = (normal(&[1, rows, depth]), normal(&[columns, depth]));
    if outliers {
        for row in x.data_mut().chunks_exact_mut(depth) {
            row.iter_mut()
                .step_by(depth / 4)
                .for_each(|value| *value *= 100.0);
        }
    }
    let [expected, found] = [device(WeightFormat::Exact)?, device(format)?]
        .map(|device| device.linear(&device.pack_linear(&weight, None), &x, Epilogue::None));
    let pairs = || found.data().iter().zip(expected.data());
    let error: f64 = pairs().map(|(f, e)| f64::from(f - e).powi(2)).sum();
    let power: f64 = pairs().map(|(_, e)| f64::from(*e).powi(2)).sum();
    Ok((error / power).sqrt())
}
