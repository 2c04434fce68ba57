//! What a look at a picture costs: `cargo run --release -p tintype-vision --example look -- [THREADS]`.
//!
//! A ViT-B/16 for 224 × 224 pixels, as the usual classifiers are, with random weights; a picture of 1024 ×
//! 1024 pixels. Prints the median of some looks and what of it is the resizing.

use std::{sync::Arc, time::Instant};

use image::RgbImage;
use tintype_compute::{CpuDevice, Tensor};
use tintype_pixels::{Dimensions, Filter};
use tintype_vision::{config::VitConfig, vit::Vit};
use tintype_weights::Weights;

/// Looks that are timed.
const LOOKS: usize = 15;

/// Small values without a pattern that matters.
fn values(shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    let value = |index: usize| ((index * 7919) % 1009) as f32 / 1009.0 * 0.1 - 0.05;
    Tensor::from_vec(shape, (0..count).map(value).collect())
}

fn median_ms(mut look: impl FnMut()) -> f64 {
    look();
    let time = |_| {
        let start = Instant::now();
        look();
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..LOOKS).map(time).collect();
    times.sort_by(f64::total_cmp);
    times[LOOKS / 2]
}

fn main() {
    let threads = std::env::args().nth(1);
    let threads = threads.and_then(|text| text.parse().ok()).unwrap_or(1);
    let config = VitConfig::parse(r#"{"id2label": {"0": "normal", "1": "nsfw"}}"#);
    let config = config.expect("the defaults hold");
    let weights = Weights::generated(|_, shape| values(shape));
    let vit = Vit::load(config, 2, weights, Arc::new(CpuDevice::new(threads)));
    let vit = vit.expect("generated weights fit");
    let picture = RgbImage::from_fn(1024, 1024, |x, y| image::Rgb([x as u8, y as u8, 99]));
    let size = Dimensions {
        width: 224,
        height: 224,
    };
    let resizing = median_ms(|| {
        tintype_pixels::resize(&picture, size, Filter::Bilinear);
    });
    let pixels = values(&[1, 224, 224, 3]);
    let looking = median_ms(|| {
        vit.forward(&pixels);
    });
    println!("ViT-B/16, {threads} threads: resize {resizing:.1} ms, look {looking:.1} ms");
}
