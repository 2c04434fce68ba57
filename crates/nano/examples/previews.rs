//! Draws a picture with the bundled model and shows what each step was heading for: writes one
//! PNG with all previews beside the result, and prints what a preview costs.
//!
//! `cargo run --release -p tintype-nano --example previews -- "a red circle" previews.png`

use std::sync::Arc;
use std::time::Instant;

use image::RgbImage;
use image::imageops::replace;
use tintype_compute::CpuDevice;
use tintype_flux::pipeline::{Pipeline, Request};
use tintype_flux::size::Size;

/// The longest side of a preview.
const LONGEST: u32 = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let prompt = arguments.next().ok_or("give a prompt")?;
    let file = arguments.next().ok_or("give a file for the previews")?;
    let pipeline = Pipeline::open(&tintype_nano::model(), Arc::new(CpuDevice::new(0)))?;
    let mut run = pipeline.start(&Request::new(prompt, 42, Size::new(128, 128)))?;
    let mut strip = RgbImage::new(128 * 4, 128 * (run.steps() as u32).div_ceil(4));
    while !run.is_done() {
        let began = Instant::now();
        run.step()?;
        let (stepped, began) = (began.elapsed(), Instant::now());
        let preview = run.preview(LONGEST).ok_or("a step was made")?;
        let step = run.steps_done();
        println!("step {step}: {stepped:?}, preview {:?}", began.elapsed());
        let (column, row) = ((step - 1) % 4, (step - 1) / 4);
        replace(
            &mut strip,
            &preview[0],
            (column * 128) as i64,
            (row * 128) as i64,
        );
    }
    strip.save(file)?;
    Ok(())
}
