//! The bundled model as users meet it: a prompt in, a PNG out.

use std::io::Cursor;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use image::ImageFormat;
use tintype_flux::pipeline::{Finished, MAX_STEPS, Pipeline, Request};
use tintype_flux::size::Size;

use super::Case;
use crate::device::Chosen;

/// The command line of `bench nano`.
#[derive(Debug, Args)]
pub struct NanoArguments {
    /// Denoising steps.
    #[arg(long, value_name = "N", default_value_t = 16)]
    steps: u32,
}

/// A picture of the ratio 1:1.
pub(crate) fn nano(what: &NanoArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    let steps = what.steps;
    ensure!(
        (1..=MAX_STEPS).contains(&steps),
        "--steps must be between 1 and {MAX_STEPS}"
    );
    let pipeline = Pipeline::open(&tintype_nano::model(), chosen.device.clone())?;
    let side = pipeline.settings().native.area.isqrt();
    let mut seed = 0;
    let case = Case::new("nano", move || {
        seed += 1;
        let mut request = Request::new(prompt(seed as usize), seed, Size::new(side, side));
        request.steps = Some(steps);
        let finished = draw(&pipeline, &request)?;
        let png = encode(&finished)?;
        let seconds = finished.seconds;
        Ok(vec![
            ("text", Duration::from_secs_f64(seconds.text)),
            ("denoise", Duration::from_secs_f64(seconds.denoise)),
            ("decode", Duration::from_secs_f64(seconds.decode)),
            ("png", png),
        ])
    });
    Ok(case
        .fact("steps", steps)
        .fact("width", side)
        .fact("height", side))
}

fn draw(pipeline: &Pipeline, request: &Request) -> anyhow::Result<Finished> {
    let mut run = pipeline.start(request)?;
    while !run.is_done() {
        run.step()?;
    }
    Ok(run.finish()?)
}

/// How long it takes to make a PNG of the picture.
fn encode(finished: &Finished) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let picture = finished.pictures.first().context("no picture was drawn")?;
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(began.elapsed())
}

/// Words of the bundled model's language.
const COLOURS: [&str; 6] = ["red", "green", "blue", "yellow", "orange", "purple"];
const SHAPES: [&str; 3] = ["circle", "square", "triangle"];

/// Another prompt each time: what is remembered of earlier ones shall not count as speed.
fn prompt(index: usize) -> String {
    let thing = |index: usize| {
        let colour = COLOURS[index % COLOURS.len()];
        let shape = SHAPES[index / COLOURS.len() % SHAPES.len()];
        format!("a {colour} {shape}")
    };
    let kinds = COLOURS.len() * SHAPES.len();
    let (left, right) = (thing(index), thing(index / kinds + 1));
    format!("{left} left of {right} on a white background")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn prompts_repeat_late() {
        let prompts: BTreeSet<String> = (0..324).map(super::prompt).collect();
        assert_eq!(prompts.len(), 324);
    }
}
