//! What `generate` and `edit` have in common: their flags, the progress bar, and the report.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use rand::Rng;
use serde_json::json;
use tintype_engine::native::{DeviceKind, DeviceOptions, Dtype, NativeEngine};
use tintype_engine::upsampling::{Purpose, Wish};
use tintype_engine::{
    Cancellation, Drawing, Engine, Job, LoraWish, Picture, Progress, ProgressSink, Sampling, Size,
    StartPicture,
};

use crate::compute_settings::ComputeSettings;
use crate::settings::{Overrides, Settings, data_folder};
use crate::{library, lora_settings, picture_file, upsample};

/// Pictures of one run at most: all of them are in memory at once.
const MAX_PICTURES: i64 = 16;

/// Flags of both commands.
#[derive(Debug, Args)]
pub struct PictureArguments {
    /// The bundled model, nano, one that `tintype model list` shows, or the folder of one.
    #[arg(
        long,
        value_name = "NAME|DIR",
        default_value = "nano",
        env = "TINTYPE_MODEL",
        hide_env_values = true
    )]
    model: String,
    /// Any 64-bit number; the same seed gives the same picture [default: a random one].
    #[arg(long, value_name = "N", value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// Denoising steps [default: the model's own].
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Guidance scale, for models that were distilled with one [default: the model's own].
    #[arg(long, value_name = "SCALE")]
    guidance: Option<f32>,
    /// How far the steps are moved towards noise, whatever the size [default: the model's own].
    #[arg(long, value_name = "SHIFT")]
    shift: Option<f32>,
    /// What the picture shall not show. Takes twice the time.
    #[arg(long, value_name = "TEXT")]
    negative_prompt: Option<String>,
    /// How strongly the picture is steered away from the negative prompt; 1 is not at all
    /// [default: 2 with a negative prompt, unless the model has its own].
    #[arg(long, value_name = "SCALE")]
    true_cfg: Option<f32>,
    /// Pictures to draw: the first is what one alone would be, the others go on in the same noise.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_PICTURES))]
    number: u32,
    /// Width in pixels, rounded down to what the model can draw.
    #[arg(long, value_name = "PIXELS", requires = "height")]
    width: Option<u32>,
    /// Height in pixels, rounded down to what the model can draw.
    #[arg(long, value_name = "PIXELS", requires = "width")]
    height: Option<u32>,
    /// Width to height, such as 16:9, at the size that suits the model.
    #[arg(long, value_name = "W:H", value_parser = parse_aspect, conflicts_with_all = ["width", "height"])]
    aspect: Option<Size>,
    /// Tokens of the prompt that the T5 encoder reads, at most 512 [default: the model's own].
    #[arg(long, value_name = "TOKENS")]
    max_sequence_length: Option<u32>,
    /// A LoRA, and how much of it if not 1: its name in the folder `loras` of the data folder, or a
    /// file; may be given several times. `tintype lora list` shows the names.
    #[arg(long, value_name = "NAME|FILE[:WEIGHT]", value_parser = lora_settings::parse_argument)]
    lora: Vec<LoraWish>,
    /// What weights are held in. With bf16 weights and noise are rounded to bf16; the arithmetic
    /// is done in f32 for now, so it saves neither time nor memory yet.
    #[arg(long, value_enum, default_value_t = DtypeName::F32)]
    dtype: DtypeName,
    /// What computes. The reference device is plain loops, for comparisons.
    #[arg(long, value_enum, default_value_t = DeviceName::Auto)]
    device: DeviceName,
    /// Threads; their number changes no picture [default: all cores].
    #[arg(
        long,
        value_name = "N",
        env = "TINTYPE_THREADS",
        hide_env_values = true
    )]
    threads: Option<usize>,
    /// Where the picture goes; PNG or JPEG by its ending. An existing file is replaced. Several are
    /// numbered: NAME-1.png, NAME-2.png … [default: tintype-SEED.png, of an edit IMAGE-edited.png].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Have the prompt rewritten before, as [upsampling] in the configuration says (nano has its own
    /// way), and print what was used.
    #[arg(long)]
    upsample: bool,
    /// Print seed, size, steps and seconds per stage as JSON.
    #[arg(long)]
    json: bool,
}

/// The types that weights can be held in, as flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DtypeName {
    F32,
    Bf16,
}

/// The devices, as flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DeviceName {
    Auto,
    Reference,
    Cpu,
}

/// What a command adds to the common flags.
pub struct Task {
    /// The prompt or instruction.
    pub prompt: String,
    /// The pictures to edit, or to take things from.
    pub references: Vec<RgbImage>,
    /// The picture to start from.
    pub start: Option<StartPicture>,
    /// Whether the reference is resized to its bucket.
    pub resize_reference: bool,
    /// The output's name without an ending, where none is given. `None`: named after the seed.
    pub output_stem: Option<String>,
}

impl PictureArguments {
    /// Draws, writes and reports.
    ///
    /// # Errors
    /// When the model cannot be opened, refuses the job or fails, or the picture cannot be written.
    pub fn run(self, task: Task) -> anyhow::Result<()> {
        // A generator keeps 32 bits of its seed: more would only be harder to type.
        let seed = self
            .seed
            .unwrap_or_else(|| rand::rng().random::<u32>().into());
        let output = self.output.clone().unwrap_or_else(|| {
            let stem = task.output_stem.clone();
            let stem = stem.unwrap_or_else(|| format!("tintype-{seed}"));
            PathBuf::from(format!("{stem}.png"))
        });
        let format = picture_file::format_of(&output)?;
        lora_settings::check(&self.lora)?;
        let upsampled = self.upsampled(&task, seed)?;
        let task = match &upsampled {
            Some(prompt) => Task {
                prompt: prompt.clone(),
                ..task
            },
            None => task,
        };
        let bar = progress_bar();
        bar.set_message("loading the model");
        let started = Instant::now();
        let engine = self.open()?;
        let load_seconds = started.elapsed().as_secs_f64();
        let job = self.job(task, seed);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let drawing = runtime.block_on(engine.run(job, show(bar.clone()), Cancellation::new()));
        bar.finish_and_clear();
        let drawing = drawing?;
        for (number, picture) in (1..).zip(&drawing.pictures) {
            let output = self.numbered(&output, number);
            picture_file::write(&picture.image, &output, format)?;
            if self.json {
                let mut report = report(&drawing, picture, &output, load_seconds);
                if let Some(prompt) = &upsampled {
                    report["upsampled_prompt"] = prompt.as_str().into();
                }
                println!("{report}");
            } else {
                println!("{}", summary(&drawing, picture, &output));
            }
        }
        Ok(())
    }

    /// What the prompt is rewritten to, if that is wished and possible. What keeps it from being
    /// rewritten is said, and the picture is drawn all the same unless the settings require it.
    fn upsampled(&self, task: &Task, seed: u64) -> anyhow::Result<Option<String>> {
        if !self.upsample {
            return Ok(None);
        }
        let settings = Settings::load(None, Overrides::default())?;
        let upsampler = upsample::upsampler(&settings, &self.model)?;
        let wish = Wish {
            prompt: task.prompt.clone(),
            purpose: match task.references.is_empty() {
                true => Purpose::Picture,
                false => Purpose::Edit,
            },
            seed,
        };
        match upsample::rewritten(upsampler.as_ref(), wish) {
            Ok(prompt) => {
                if !self.json {
                    println!("prompt: {prompt}");
                }
                Ok(Some(prompt))
            }
            Err(why) if settings.upsampling.required == Some(true) => Err(why),
            Err(why) => {
                eprintln!("tintype: {why}; drawing from the prompt as it is");
                Ok(None)
            }
        }
    }

    /// The file of one of the pictures, counted from one.
    fn numbered(&self, output: &Path, number: u32) -> PathBuf {
        if self.number == 1 {
            return output.to_owned();
        }
        let [stem, ending] = [output.file_stem(), output.extension()]
            .map(|part| part.unwrap_or_default().to_string_lossy());
        output.with_file_name(format!("{stem}-{number}.{ending}"))
    }

    fn open(&self) -> anyhow::Result<NativeEngine> {
        let source =
            library::source(&self.model, &data_folder()).context("the model cannot be opened")?;
        let options = DeviceOptions {
            device: match self.device {
                DeviceName::Auto => DeviceKind::Auto,
                DeviceName::Reference => DeviceKind::Reference,
                DeviceName::Cpu => DeviceKind::Cpu,
            },
            threads: self.threads.unwrap_or(0),
            dtype: match self.dtype {
                DtypeName::F32 => Dtype::F32,
                DtypeName::Bf16 => Dtype::Bf16,
            },
            lora_folder: Some(lora_settings::folder_from_environment()?),
            ..ComputeSettings::from_environment()?.device_options()?
        };
        NativeEngine::start(source, options).context("the model cannot be opened")
    }

    fn job(&self, task: Task, seed: u64) -> Job {
        let exact = self.width.zip(self.height);
        let exact = exact.map(|(width, height)| Size::Exact { width, height });
        Job {
            references: task.references,
            start: task.start,
            pictures: self.number,
            resize_reference: task.resize_reference,
            size: self.aspect.or(exact).unwrap_or(Size::MatchReference),
            sampling: Sampling {
                steps: self.steps,
                guidance: self.guidance,
                shift: self.shift,
                true_cfg: self.true_cfg,
                negative_prompt: self.negative_prompt.clone(),
            },
            max_sequence_length: self.max_sequence_length,
            loras: Some(self.lora.clone()),
            ..Job::new(task.prompt, seed)
        }
    }
}

/// A seed as torch takes it: unsigned, or negative in two's complement.
fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse::<u64>()
        .or_else(|_| text.parse::<i64>().map(|seed| seed as u64))
        .map_err(|_| "not a 64-bit number".to_owned())
}

fn parse_aspect(text: &str) -> Result<Size, String> {
    let part = |text: &str| text.trim().parse().ok().filter(|&part: &u32| part > 0);
    text.split_once(':')
        .and_then(|(width, height)| part(width).zip(part(height)))
        .map(|(width, height)| Size::Ratio { width, height })
        .ok_or_else(|| "not a ratio such as 16:9".to_owned())
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Shows an engine's progress on a bar.
fn show(bar: ProgressBar) -> ProgressSink {
    Box::new(move |progress| match progress {
        Progress::Started => bar.set_message("reading the prompt"),
        Progress::Step { step, steps } => {
            if step == 1 {
                let style = "{spinner} {bar:32} step {pos} of {len}, {eta} left";
                bar.set_style(
                    ProgressStyle::with_template(style)
                        .unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.set_length(u64::from(steps));
            }
            bar.set_position(u64::from(step));
        }
        Progress::Preview { .. } => {}
    })
}

fn report(drawing: &Drawing, picture: &Picture, output: &Path, load: f64) -> serde_json::Value {
    let (width, height) = picture.image.dimensions();
    let seconds = drawing.seconds;
    json!({
        "file": output.to_string_lossy(),
        "model": drawing.model_name,
        "seed": drawing.seed,
        "width": width,
        "height": height,
        "steps": drawing.steps,
        "seconds": {
            "load": load,
            "text": seconds.text,
            "encode": seconds.encode,
            "denoise": seconds.denoise,
            "decode": seconds.decode,
        },
    })
}

fn summary(drawing: &Drawing, picture: &Picture, output: &Path) -> String {
    let (width, height) = picture.image.dimensions();
    let seconds = drawing.seconds;
    let total = seconds.text + seconds.encode + seconds.denoise + seconds.decode;
    format!(
        "{}: {width}×{height}, seed {}, {} steps in {total:.1} s",
        output.display(),
        drawing.seed,
        drawing.steps
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_as_torch_reads_them() {
        assert_eq!(parse_seed("42"), Ok(42));
        assert_eq!(parse_seed("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_seed("-1"), Ok(u64::MAX));
        for bad in [
            "",
            "x",
            "1.5",
            "18446744073709551616",
            "-9223372036854775809",
        ] {
            assert!(parse_seed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ratios_have_two_positive_parts() {
        let ratio = |width, height| Ok(Size::Ratio { width, height });
        assert_eq!(parse_aspect("16:9"), ratio(16, 9));
        for bad in ["", "16", "16:0", "0:9", "a:b", "16:9:4", "-1:2"] {
            assert!(parse_aspect(bad).is_err(), "{bad}");
        }
    }
}
