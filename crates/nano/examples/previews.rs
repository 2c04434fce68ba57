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
use tintype_flux::size::{Ratio, Table};

/// The longest side of a preview.
const LONGEST: u32 = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let prompt = arguments.next().ok_or("give a prompt")?;
    let file = arguments.next().ok_or("give a file for the previews")?;
    let pipeline = Pipeline::open(&tintype_nano::model(), Arc::new(CpuDevice::new(0)))?;
    let native = pipeline.settings().native;
    let size = native.size_for(Ratio::new(1, 1), Table::Kontext);
    let mut run = pipeline.start(&Request::new(prompt, 42, size))?;
    let mut strip = RgbImage::new(
        size.width * 4,
        size.height * (run.steps() as u32).div_ceil(4),
    );
    while !run.is_done() {
        let began = Instant::now();
        run.step()?;
        let (stepped, began) = (began.elapsed(), Instant::now());
        let preview = run.preview(LONGEST).ok_or("a step was made")?;
        let step = run.steps_done();
        println!("step {step}: {stepped:?}, preview {:?}", began.elapsed());
        let (column, row) = ((step as u32 - 1) % 4, (step as u32 - 1) / 4);
        replace(
            &mut strip,
            &preview[0],
            i64::from(column * size.width),
            i64::from(row * size.height),
        );
    }
    strip.save(file)?;
    Ok(())
}
