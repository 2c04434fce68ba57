//! How long each model of a folder takes, without tokenizers and sampler.
//!
//! `cargo run --release -p tintype-flux --example stages -- FOLDER [threads] [height] [width]`

use std::{env, error::Error, fs, path::Path, sync::Arc, time::Instant};

use tintype_compute::{CpuDevice, Device, Tensor};
use tintype_flux::{
    clip::ClipTextEncoder, mmdit::Mmdit, t5::T5Encoder, vae::Vae, weights::Weights,
};

/// Evaluations of one picture: 16 steps.
const STEPS: usize = 16;

/// Text tokens.
const TEXT: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("which model folder?")?;
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let (threads, height, width) = (number(2)?, number(128)?, number(128)?);
    let device: Arc<dyn Device> = Arc::new(CpuDevice::new(threads));
    let load = |component: &str| -> Result<(String, Weights), Box<dyn Error>> {
        let folder = Path::new(&folder).join(component);
        let config = fs::read_to_string(folder.join("config.json"))?;
        Ok((config, Weights::open(&folder)?))
    };

    let start = Instant::now();
    let (config, weights) = load("text_encoder_2")?;
    let t5 = T5Encoder::load(&config, weights, device.clone())?;
    let (config, weights) = load("text_encoder")?;
    let clip = ClipTextEncoder::load(&config, weights, device.clone())?;
    let (config, weights) = load("transformer")?;
    let mmdit = Mmdit::load(&config, weights, device.clone())?;
    let (config, weights) = load("vae")?;
    let vae = Vae::load(&config, weights, device)?;
    report("load", start);

    // Twice: the first run also pays for fresh memory.
    for _ in 0..2 {
        let start = Instant::now();
        let text = t5.forward(&[3; TEXT], 1);
        let pooled = clip.forward_pooled(&[3; TEXT], 1);
        report("encode the prompt", start);

        let start = Instant::now();
        let (rows, columns) = (
            height / vae.config().downscale() / 2,
            width / vae.config().downscale() / 2,
        );
        let ids: Vec<[f32; 3]> = (0..rows * columns)
            .map(|i| [0.0, (i / columns) as f32, (i % columns) as f32])
            .collect();
        let rope = mmdit.rope(&[[0.0; 3]; TEXT], &ids);
        let timesteps: Vec<f32> = (0..STEPS).map(|i| 1.0 - i as f32 / STEPS as f32).collect();
        let conditions = mmdit.conditions(&timesteps, Some(3.5), &pooled);
        let text = mmdit.embed_text(&text);
        report("prepare the loop", start);

        let start = Instant::now();
        let mut latents = Tensor::zeros([1, ids.len(), mmdit.config().in_channels]);
        for condition in &conditions {
            let velocity = mmdit.denoise(&latents, &text, condition, &rope);
            for (x, v) in latents.data_mut().iter_mut().zip(velocity.data()) {
                *x -= v / STEPS as f32;
            }
        }
        report(&format!("denoise, {STEPS} steps"), start);

        let start = Instant::now();
        let channels = vae.config().latent_channels;
        let picture = vae.decode(&Tensor::zeros([1, 2 * rows, 2 * columns, channels]));
        report("decode", start);
        let start = Instant::now();
        vae.encode(&picture);
        report("encode", start);
    }
    Ok(())
}

fn report(what: &str, start: Instant) {
    println!("{what:20} {:8.1} ms", start.elapsed().as_secs_f64() * 1e3);
}
