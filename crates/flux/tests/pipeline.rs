//! Whole pipelines against `FluxPipeline` and `FluxKontextPipeline`: the same prompts and seeds
//! must end in the same pictures, on every device, whatever the batch and the number of threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use safetensors::SafeTensors;
use serde::Deserialize;
use tintype_compute::{CpuDevice, Device, ReferenceDevice, Tensor};
use tintype_flux::pipeline::{Error, Item, Kind, ModelFiles, Pipeline, Precision, Request};
use tintype_flux::size::Size;

/// Least agreement of the final picture, in dB against its range of 1.
const LEAST_PSNR: f64 = 50.0;

/// Greatest relative RMS error of the latents after a step, and of a reference's latents.
const GREATEST_ERROR: f64 = 1e-4;

/// One line of `runs.json`.
#[derive(Debug, Deserialize)]
struct GoldenRun {
    name: String,
    prompts: Vec<String>,
    seeds: Vec<u64>,
    width: u32,
    height: u32,
    steps: u32,
    guidance: f32,
    max_sequence_length: usize,
    negative_prompt: Option<String>,
    true_cfg: f32,
    references: Vec<(u32, u32)>,
    resize_reference: bool,
    #[serde(default = "one")]
    references_each: usize,
    #[serde(default = "one")]
    pictures_each: usize,
    shift: Option<f32>,
    start: Option<(u32, u32)>,
    strength: Option<f64>,
}

fn one() -> usize {
    1
}

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(case)
}

fn open(case: &str, device: Arc<dyn Device>) -> Pipeline {
    let files = ModelFiles::Directory(golden(case).join("model"));
    Pipeline::open(&files, device).unwrap_or_else(|e| panic!("{case}: {e}"))
}

fn runs(case: &str) -> Vec<GoldenRun> {
    let json = std::fs::read(golden(case).join("runs.json")).expect("runs.json");
    serde_json::from_slice(&json).expect("runs.json")
}

fn run(case: &str, name: &str) -> (GoldenRun, GoldenFile) {
    let run = runs(case).into_iter().find(|run| run.name == name);
    (
        run.expect("a run of this name"),
        GoldenFile::open(case, name),
    )
}

/// The tensors of one run.
struct GoldenFile(Vec<u8>);

impl GoldenFile {
    fn open(case: &str, run: &str) -> Self {
        let path = golden(case).join(format!("run_{run}.safetensors"));
        Self(std::fs::read(path).expect("golden run"))
    }

    fn tensor(&self, name: &str) -> Tensor {
        let file = SafeTensors::deserialize(&self.0).expect("safetensors");
        let view = file.tensor(name).expect("a golden tensor");
        let values = view.data().chunks_exact(4);
        let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Tensor::from_vec(view.shape(), values.collect())
    }

    fn picture(&self, name: &str) -> RgbImage {
        let file = SafeTensors::deserialize(&self.0).expect("safetensors");
        let view = file.tensor(name).expect("a picture");
        let (height, width) = (view.shape()[0] as u32, view.shape()[1] as u32);
        RgbImage::from_raw(width, height, view.data().to_vec()).expect("RGB")
    }
}

impl GoldenRun {
    fn request(&self, file: &GoldenFile) -> Request {
        let items = self.prompts.iter().zip(&self.seeds).enumerate();
        let items = items.map(|(index, (prompt, &seed))| Item {
            prompt: prompt.clone(),
            seed,
            references: self.references_of(index, file),
            start: self.start.map(|_| file.picture("start")),
        });
        Request {
            items: items.collect(),
            steps: Some(self.steps),
            guidance: Some(self.guidance),
            true_cfg: Some(self.true_cfg),
            negative_prompt: self.negative_prompt.clone(),
            max_sequence_length: Some(self.max_sequence_length),
            pictures_each: self.pictures_each,
            shift: self.shift,
            strength: self.strength,
            resize_reference: self.resize_reference,
            ..Request::new("", 0, Size::new(self.width, self.height))
        }
    }

    fn references_of(&self, item: usize, file: &GoldenFile) -> Vec<RgbImage> {
        if self.references.is_empty() {
            return Vec::new();
        }
        let first = item * self.references_each;
        let numbers = first..first + self.references_each;
        let picture = |number| file.picture(&format!("reference.{number}"));
        numbers.map(picture).collect()
    }
}

/// Root mean square of the difference, relative to that of what is expected.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = found.iter().zip(expected);
    let error = squares(&mut pairs.map(|(a, b)| f64::from(a - b)));
    (error / squares(&mut expected.iter().map(|&v| f64::from(v)))).sqrt()
}

/// Peak signal-to-noise ratio of a decoded NHWC tensor in [-1, 1] against a NCHW picture in [0, 1].
fn psnr(decoded: &Tensor, picture: &Tensor) -> f64 {
    let [batch, height, width, channels] = decoded.rank4();
    assert_eq!(picture.shape(), [batch, channels, height, width]);
    let mut sum = 0.0;
    for (index, expected) in picture.data().iter().enumerate() {
        let (x, y) = (index % width, index / width % height);
        let channel = index / (width * height) % channels;
        let sample = index / (width * height * channels);
        let found = decoded.data()[((sample * height + y) * width + x) * channels + channel];
        let found = (found * 0.5 + 0.5).clamp(0.0, 1.0);
        sum += f64::from(found - expected).powi(2);
    }
    -10.0 * (sum / picture.data().len() as f64).log10()
}

fn check_case(case: &str, device: Arc<dyn Device>) {
    let pipeline = open(case, device);
    for golden_run in runs(case) {
        let file = GoldenFile::open(case, &golden_run.name);
        let label = format!("{case}/{}", golden_run.name);
        let mut run = pipeline
            .start(&golden_run.request(&file))
            .expect("a good request");
        let (noise, expected) = (run.latents(), file.tensor("noise"));
        if golden_run.start.is_none() {
            assert_eq!(*noise, expected, "{label}: noise");
        } else {
            let error = relative_error(noise.data(), expected.data());
            assert!(error <= GREATEST_ERROR, "{label}: start {error:e}");
        }
        assert_eq!(
            run.sigmas(),
            file.tensor("sigmas").data(),
            "{label}: sigmas"
        );
        assert_eq!(run.reference().is_some(), !golden_run.references.is_empty());
        if let Some(reference) = run.reference() {
            let expected = file.tensor("reference_latents");
            assert_eq!(reference.shape(), expected.shape(), "{label}");
            let error = relative_error(reference.data(), expected.data());
            assert!(error <= GREATEST_ERROR, "{label}: reference {error:e}");
        }
        while !run.is_done() {
            let expected = file.tensor(&format!("latents.{}", run.steps_done()));
            run.step().expect("finite numbers");
            let error = relative_error(run.latents().data(), expected.data());
            let step = run.steps_done();
            assert!(error <= GREATEST_ERROR, "{label}: step {step} {error:e}");
        }
        let psnr = psnr(
            &run.decode().expect("it is loaded"),
            &file.tensor("picture"),
        );
        println!("{label}: {psnr:.1} dB");
        assert!(psnr >= LEAST_PSNR, "{label}: {psnr} dB");
    }
}

#[test]
fn the_reference_device_draws_what_diffusers_draws() {
    for case in ["schnell", "dev", "kontext", "plain"] {
        check_case(case, Arc::new(ReferenceDevice));
    }
}

#[test]
fn the_cpu_device_draws_what_diffusers_draws() {
    for case in ["schnell", "dev", "kontext", "plain"] {
        check_case(case, Arc::new(CpuDevice::in_f32(2)));
    }
}

fn draw(pipeline: &Pipeline, request: &Request) -> Vec<RgbImage> {
    let mut run = pipeline.start(request).expect("a good request");
    while !run.is_done() {
        run.step().expect("finite numbers");
    }
    run.finish().expect("all steps are done").pictures
}

#[test]
fn neither_batch_nor_threads_change_a_byte() {
    for (case, name) in [("schnell", "batch"), ("kontext", "batch")] {
        let (golden_run, file) = run(case, name);
        let request = golden_run.request(&file);
        // Without the cache, every picture's prompts are encoded with those of its own batch.
        let open = |threads| open(case, Arc::new(CpuDevice::new(threads))).with_text_cache_bytes(0);
        let expected = draw(&open(1), &request);
        assert!(expected[0] != expected[1]);
        for threads in [2, 3] {
            let pipeline = open(threads);
            assert!(
                draw(&pipeline, &request) == expected,
                "{case} {threads} threads"
            );
            for (item, picture) in request.items.iter().zip(&expected) {
                let alone = Request {
                    items: vec![item.clone()],
                    ..request.clone()
                };
                assert!(draw(&pipeline, &alone)[0] == *picture, "{case} alone");
            }
        }
    }
}

#[test]
fn recent_prompts_are_encoded_once_and_change_no_byte() {
    for (case, name) in [("schnell", "batch"), ("kontext", "batch")] {
        let (golden_run, file) = run(case, name);
        let request = Request {
            true_cfg: Some(2.0),
            negative_prompt: None,
            ..golden_run.request(&file)
        };
        let cached = open(case, Arc::new(CpuDevice::new(2)));
        let first = draw(&cached, &request);
        let before = cached.text_cache();
        assert!(draw(&cached, &request) == first, "{case}");
        let after = cached.text_cache();
        assert_eq!(after.misses, before.misses, "{case}: all prompts are there");
        assert!(after.hits > before.hits && after.bytes > 0, "{case}");
        let uncached = open(case, Arc::new(CpuDevice::new(2))).with_text_cache_bytes(0);
        for _ in 0..2 {
            assert!(draw(&uncached, &request) == first, "{case}");
        }
        assert_eq!(
            (uncached.text_cache().hits, uncached.text_cache().bytes),
            (0, 0)
        );
    }
}

/// The workspace serves every step from what the first one left: nothing is allocated for an op.
#[test]
fn steps_after_the_first_need_no_fresh_buffer() {
    for (case, name) in [("schnell", "batch"), ("kontext", "batch"), ("dev", "text")] {
        let (golden_run, file) = run(case, name);
        // One thread: how many threads take part in an op, and want room for it, is up to chance.
        let device = Arc::new(CpuDevice::new(1));
        let pipeline = open(case, device.clone());
        let request = Request {
            steps: Some(5),
            true_cfg: Some(2.0),
            ..golden_run.request(&file)
        };
        let mut run = pipeline.start(&request).expect("a good request");
        run.step().expect("finite numbers");
        let first = device.workspace();
        while !run.is_done() {
            run.step().expect("finite numbers");
        }
        let last = device.workspace();
        assert!(
            last.taken > first.taken,
            "{case}: ops take their outputs there"
        );
        assert_eq!(last.fresh, first.fresh, "{case}: of {} taken", last.taken);
        assert_eq!(
            last.used_bytes, first.used_bytes,
            "{case}: nothing piles up"
        );
    }
}

#[test]
fn a_run_may_be_dropped_between_steps_and_not_finished_early() {
    let (golden_run, file) = run("schnell", "text");
    let pipeline = open("schnell", Arc::new(CpuDevice::new(1)));
    let request = golden_run.request(&file);
    let expected = draw(&pipeline, &request);
    let mut dropped = pipeline.start(&request).expect("a good request");
    dropped.step().expect("finite numbers");
    assert_eq!((dropped.steps_done(), dropped.steps()), (1, 4));
    drop(dropped);
    assert!(draw(&pipeline, &request) == expected);
    let early = pipeline.start(&request).expect("a good request").finish();
    assert!(matches!(early, Err(Error::Rejected(_))));
}

#[test]
fn files_in_the_program_make_the_same_model_as_a_folder() {
    let root = golden("kontext").join("model");
    let mut files: Vec<(&'static str, &'static [u8])> = Vec::new();
    for folder in std::fs::read_dir(&root).expect("the model") {
        let folder = folder.expect("an entry").path();
        let inside = match folder.is_dir() {
            true => std::fs::read_dir(&folder)
                .expect("a component")
                .map(|entry| entry.expect("an entry").path())
                .collect(),
            false => vec![folder],
        };
        for path in inside {
            let name = path.strip_prefix(&root).expect("below the root");
            let name = name.to_str().expect("UTF-8").to_owned();
            files.push((name.leak(), std::fs::read(path).expect("a file").leak()));
        }
    }
    let embedded = ModelFiles::Embedded {
        name: "test",
        files: files.leak(),
    };
    let embedded = Pipeline::open(&embedded, Arc::new(CpuDevice::new(1))).expect("a model");
    let folder = open("kontext", Arc::new(CpuDevice::new(1)));
    assert_eq!(embedded.settings(), folder.settings());
    assert_eq!(embedded.settings().kind, Kind::Kontext);
    let (golden_run, file) = run("kontext", "edit");
    let request = golden_run.request(&file);
    assert!(draw(&embedded, &request) == draw(&folder, &request));
}

#[test]
fn bf16_changes_the_picture_a_little() {
    let (golden_run, file) = run("schnell", "text");
    let request = golden_run.request(&file);
    let files = ModelFiles::Directory(golden("schnell").join("model"));
    let open = |precision| {
        Pipeline::open_in(precision, &files, Arc::new(CpuDevice::new(1))).expect("a model")
    };
    let [f32, bf16] = [Precision::F32, Precision::Bf16].map(|p| draw(&open(p), &request));
    assert!(f32 != bf16);
    let pairs = f32[0].iter().zip(bf16[0].iter());
    let sum: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    let mean = sum / f32[0].len() as f64;
    assert!(mean < 5.0, "{mean} of 255");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// What opening a copy of a golden model says after `damage` was done to it.
fn complaint(damage: impl Fn(&Path)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    copy_folder(&golden("schnell").join("model"), folder.path());
    damage(folder.path());
    let files = ModelFiles::Directory(folder.path().to_owned());
    Pipeline::open(&files, Arc::new(ReferenceDevice))
        .map(|_| ())
        .expect_err("a damaged model")
        .to_string()
}

#[test]
fn without_a_tintype_json_a_model_has_the_defaults_of_flux() {
    // steps, guidance, T5 tokens, what a side is a multiple of
    let cases = [
        ("schnell", (4, 3.5, 256, 8)),
        ("dev", (28, 3.5, 512, 16)),
        ("kontext", (28, 2.5, 512, 4)),
    ];
    for (case, expected) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let model = folder.path().join(format!("my-{case}"));
        copy_folder(&golden(case).join("model"), &model);
        std::fs::remove_file(model.join("tintype.json")).expect("a file");
        let files = ModelFiles::Directory(model);
        let pipeline = Pipeline::open(&files, Arc::new(ReferenceDevice)).expect("a model");
        let settings = pipeline.settings();
        let found = (
            settings.steps,
            settings.guidance,
            settings.max_sequence_length,
            settings.native.multiple,
        );
        assert_eq!(found, expected, "{case}");
        assert_eq!(settings.name, format!("my-{case}"));
        assert_eq!(
            (settings.native.area, settings.true_cfg),
            (1024 * 1024, 1.0)
        );
    }
}

fn replace(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).expect("a text file");
    assert!(text.contains(from), "{file}: {text}");
    std::fs::write(path, text.replace(from, to)).expect("a text file");
}

#[test]
fn a_broken_model_is_one_clear_error() {
    let remove = |file: &'static str| {
        move |folder: &Path| std::fs::remove_file(folder.join(file)).expect("a file")
    };
    let cases = [
        (
            complaint(remove("model_index.json")),
            "is not a model: it holds no model_index.json",
        ),
        (
            complaint(remove("vae/config.json")),
            "vae/config.json is missing",
        ),
        (
            complaint(remove("tokenizer/merges.txt")),
            "vocab.json with merges.txt",
        ),
        (
            complaint(remove("transformer/diffusion_pytorch_model.safetensors")),
            "the model's transformer cannot be loaded",
        ),
        (
            complaint(|f| {
                replace(
                    f,
                    "model_index.json",
                    "FluxPipeline",
                    "StableDiffusionPipeline",
                )
            }),
            "its class is StableDiffusionPipeline",
        ),
        (
            complaint(|f| {
                replace(
                    f,
                    "text_encoder_2/config.json",
                    "\"d_model\": 32",
                    "\"d_model\": 64",
                )
            }),
            "transformer.joint_attention_dim is 32, text_encoder_2.d_model is 64",
        ),
        (
            complaint(|f| {
                replace(
                    f,
                    "tintype.json",
                    "\"native_area\"",
                    "\"multiple\": 12, \"native_area\"",
                )
            }),
            "multiple is 12, but must be a multiple of 8",
        ),
        (
            complaint(|f| replace(f, "tintype.json", "{", "")),
            "tintype.json of the model in",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn absurd_requests_are_refused_with_a_reason() {
    let pipeline = open("schnell", Arc::new(ReferenceDevice));
    let good = Request::new("a star", 1, Size::new(16, 16));
    let with = |change: fn(&mut Request)| {
        let mut request = good.clone();
        change(&mut request);
        match pipeline.start(&request) {
            Err(Error::Rejected(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    let cases = [
        (with(|r| r.items.clear()), "1 to 16 pictures"),
        (with(|r| r.size = Size::new(0, 16)), "at least one pixel"),
        (with(|r| r.size = Size::new(20, 16)), "multiples of 8"),
        (with(|r| r.size = Size::new(u32::MAX, 8)), "too large"),
        (with(|r| r.steps = Some(0)), "steps must be"),
        (with(|r| r.steps = Some(201)), "steps must be"),
        (with(|r| r.guidance = Some(f32::NAN)), "guidance must be"),
        (
            with(|r| r.max_sequence_length = Some(513)),
            "max_sequence_length",
        ),
        (
            with(|r| r.items[0].references = vec![RgbImage::new(8, 8)]),
            "editing needs a Kontext model",
        ),
        (
            with(|r| r.items[0].references = vec![RgbImage::new(0, 8)]),
            "no pixels",
        ),
    ];
    for (reason, expected) in cases {
        assert!(reason.contains(expected), "{reason}");
    }
}
