//! LoRAs against diffusers: the same files at the same weights must end in the same pictures. And what
//! files that are damaged, strange or made for another model are told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use safetensors::{SafeTensors, View};
use serde::Deserialize;
use tintype_compute::{CpuDevice, Device, ReferenceDevice, Tensor};
use tintype_flux::lora::{Applied, MAX_RANK, Summary};
use tintype_flux::pipeline::{Error, Item, LoadOptions, ModelFiles, Pipeline, Request, Residency};
use tintype_flux::size::Size;

/// Greatest relative RMS error of the latents after a step, as without LoRAs.
const GREATEST_ERROR: f64 = 1e-4;

/// Least agreement of the final picture, in dB against its range of 1: what f32 gives, not 50.
const LEAST_PSNR: f64 = 90.0;

fn golden(inside: &str) -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.join("tests/golden").join(inside)
}

fn open(case: &str, device: Arc<dyn Device>) -> Pipeline {
    let files = ModelFiles::Directory(golden(case).join("model"));
    Pipeline::open(&files, device).unwrap_or_else(|e| panic!("{case}: {e}"))
}

/// A line of `runs.json` of a case, as far as its first run needs it.
#[derive(Deserialize)]
struct GoldenRun {
    prompts: Vec<String>,
    seeds: Vec<u64>,
    width: u32,
    height: u32,
    steps: u32,
    guidance: f32,
    max_sequence_length: usize,
}

/// The request of the case's first run.
fn request(case: &str) -> Request {
    let json = std::fs::read(golden(case).join("runs.json")).expect("runs.json");
    let runs: Vec<GoldenRun> = serde_json::from_slice(&json).expect("runs.json");
    let run = &runs[0];
    let items = run.prompts.iter().zip(&run.seeds);
    Request {
        items: items
            .map(|(prompt, &seed)| Item {
                prompt: prompt.clone(),
                seed,
                ..Item::default()
            })
            .collect(),
        steps: Some(run.steps),
        guidance: Some(run.guidance),
        max_sequence_length: Some(run.max_sequence_length),
        ..Request::new("", 0, Size::new(run.width, run.height))
    }
}

/// A line of `lora/runs.json`.
#[derive(Deserialize)]
struct Choice {
    name: String,
    loras: Vec<(String, f32)>,
}

fn choices(case: &str) -> Vec<Choice> {
    let json = std::fs::read(golden("lora/runs.json")).expect("runs.json");
    let mut all: BTreeMap<String, Vec<Choice>> = serde_json::from_slice(&json).expect("runs.json");
    all.remove(case).expect("a case")
}

fn apply(pipeline: &Pipeline, case: &str, loras: &[(&str, f32)]) -> Vec<Applied> {
    let apply = |&(name, weight): &(&str, f32)| {
        let path = golden(&format!("lora/{case}/{name}.safetensors"));
        let lora = pipeline.open_lora(&path).unwrap_or_else(|e| panic!("{e}"));
        let lora = Arc::new(lora);
        Applied { lora, weight }
    };
    loras.iter().map(apply).collect()
}

fn tensor(file: &[u8], name: &str) -> Tensor {
    let file = SafeTensors::deserialize(file).expect("safetensors");
    let view = file.tensor(name).expect("a golden tensor");
    let values = view.data().chunks_exact(4);
    let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Tensor::from_vec(view.shape(), values.collect())
}

fn mean_square(values: impl Iterator<Item = f32>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| {
        (sum + f64::from(value).powi(2), count + 1.0)
    });
    sum / count
}

/// Peak signal-to-noise ratio of an NHWC tensor of one sample in [-1, 1] against an NCHW one in [0, 1].
fn psnr(decoded: &Tensor, picture: &Tensor) -> f64 {
    let [_, channels, height, width] = picture.rank4();
    let pixels = height * width;
    let differences = picture.data().iter().enumerate().map(|(index, expected)| {
        let found = decoded.data()[index % pixels * channels + index / pixels];
        (found * 0.5 + 0.5).clamp(0.0, 1.0) - expected
    });
    -10.0 * mean_square(differences).log10()
}

fn check_case(case: &str, device: Arc<dyn Device>) {
    let pipeline = open(case, device);
    for choice in choices(case) {
        let label = format!("{case}/{}", choice.name);
        let loras = choice.loras.iter().map(|(name, w)| (name.as_str(), *w));
        let request = Request {
            loras: apply(&pipeline, case, &loras.collect::<Vec<_>>()),
            ..request(case)
        };
        let path = golden(&format!("lora/{case}/run_{}.safetensors", choice.name));
        let file = std::fs::read(path).expect("a golden run");
        let mut run = pipeline.start(&request).expect("a good request");
        while !run.is_done() {
            let expected = tensor(&file, &format!("latents.{}", run.steps_done()));
            run.step().expect("finite numbers");
            let pairs = run.latents().data().iter().zip(expected.data());
            let error = mean_square(pairs.map(|(a, b)| a - b))
                / mean_square(expected.data().iter().copied());
            let (error, step) = (error.sqrt(), run.steps_done());
            assert!(error <= GREATEST_ERROR, "{label}: step {step} {error:e}");
        }
        let decoded = run.decode().expect("a picture");
        let psnr = psnr(&decoded, &tensor(&file, "picture"));
        println!("{label}: {psnr:.1} dB");
        assert!(psnr >= LEAST_PSNR, "{label}: {psnr} dB");
    }
}

#[test]
fn the_reference_device_draws_with_loras_what_diffusers_draws() {
    for case in ["schnell", "dev"] {
        check_case(case, Arc::new(ReferenceDevice));
    }
}

#[test]
fn the_cpu_device_draws_with_loras_what_diffusers_draws() {
    for case in ["schnell", "dev"] {
        check_case(case, Arc::new(CpuDevice::in_f32(2)));
    }
}

/// The pictures' bytes.
fn draw(pipeline: &Pipeline, request: &Request) -> Vec<Vec<u8>> {
    let mut run = pipeline.start(request).expect("a good request");
    while !run.is_done() {
        run.step().expect("finite numbers");
    }
    let pictures = run.finish().expect("all steps are done").pictures;
    pictures.into_iter().map(|p| p.into_raw()).collect()
}

#[test]
fn at_weight_zero_and_after_loras_the_model_is_what_it_was() {
    let pipeline = open("schnell", Arc::new(CpuDevice::new(1)));
    let plain = request("schnell");
    let expected = draw(&pipeline, &plain);
    let with = |loras: &[(&str, f32)]| Request {
        loras: apply(&pipeline, "schnell", loras),
        ..plain.clone()
    };
    let style = draw(&pipeline, &with(&[("kohya", 1.0)]));
    assert!(style != expected, "the LoRA shows");
    let nothing = with(&[("kohya", 0.0), ("peft", -0.0)]);
    assert!(draw(&pipeline, &nothing) == expected);
    assert!(draw(&pipeline, &plain) == expected, "nothing stays behind");
    // What the text encoder made of the prompt with a LoRA is not what it makes of it without.
    assert!(draw(&pipeline, &with(&[("kohya", 1.0)])) == style);
    assert!(draw(&pipeline, &with(&[("kohya", 0.0), ("kohya", 1.0)])) == style);
}

#[test]
fn neither_batch_nor_threads_nor_residency_change_a_byte_with_loras() {
    let mut two = request("schnell");
    two.items.push(Item {
        prompt: "a small green star".to_owned(),
        seed: 5,
        ..Item::default()
    });
    let loras = [("peft", 0.7), ("kohya", -0.4)];
    let mut expected: Option<Vec<Vec<u8>>> = None;
    for (threads, residency) in [
        (1, Residency::Resident),
        (3, Residency::Resident),
        (2, Residency::OneByOne),
    ] {
        let files = ModelFiles::Directory(golden("schnell").join("model"));
        let options = LoadOptions {
            residency,
            ..LoadOptions::default()
        };
        let device = Arc::new(CpuDevice::new(threads));
        let pipeline = Pipeline::open_with(&options, &files, device).expect("a model");
        let pipeline = pipeline.with_text_cache_bytes(0);
        two.loras = apply(&pipeline, "schnell", &loras);
        let pictures = draw(&pipeline, &two);
        for (item, picture) in two.items.iter().zip(&pictures) {
            let alone = Request {
                items: vec![item.clone()],
                ..two.clone()
            };
            assert!(draw(&pipeline, &alone)[0] == *picture, "the batch");
        }
        let expected = expected.get_or_insert_with(|| pictures.clone());
        assert!(*expected == pictures, "{threads} threads, {residency:?}");
    }
}

/// A tensor to be written: its shape and values.
#[derive(Clone)]
struct Values(Vec<usize>, Vec<f32>);

impl Values {
    fn new(shape: &[usize], value: impl Fn(usize) -> f32) -> Self {
        let count = shape.iter().product();
        Self(shape.to_vec(), (0..count).map(value).collect())
    }
}

fn write(path: &Path, tensors: &[(&str, Values)]) {
    let bytes: Vec<(&str, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, Values(shape, values))| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (*name, shape, bytes.collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("values");
        assert_eq!(view.data_len(), bytes.len());
        (*name, view)
    });
    serialize_to_file(views, None, path).expect("a file");
}

/// Two ways to write one LoRA for `schnell`, whose hidden width is 32.
fn twins() -> [Vec<(&'static str, Values)>; 2] {
    let wave = |i: usize| (i as f32 * 0.7).sin() * 0.3;
    let rows = |values: &Values, range: std::ops::Range<usize>| {
        let width = values.0[1];
        let slice = &values.1[range.start * width..range.end * width];
        Values(vec![range.len(), width], slice.to_vec())
    };
    let (down, up) = (Values::new(&[2, 32], wave), Values::new(&[7 * 32, 2], wave));
    let (down2, up2) = (Values::new(&[3, 32], wave), Values::new(&[64, 3], wave));
    let swapped = Values(vec![64, 3], [&up2.1[96..], &up2.1[..96]].concat());
    let alpha = Values(vec![], vec![6.0]);
    let scaled = |values: &Values, by: f32| {
        Values(values.0.clone(), values.1.iter().map(|v| v * by).collect())
    };
    let bfl = vec![
        ("single_blocks.0.linear1.lora_A.weight", down.clone()),
        ("single_blocks.0.linear1.lora_B.weight", up.clone()),
        ("single_blocks.0.linear1.alpha", alpha.clone()),
        (
            "diffusion_model.final_layer.adaLN_modulation.1.lora_down.weight",
            down2.clone(),
        ),
        (
            "diffusion_model.final_layer.adaLN_modulation.1.lora_up.weight",
            swapped,
        ),
    ];
    let base = "base_model.model.single_transformer_blocks.0";
    let name = |part: &str| -> &'static str { format!("{base}.{part}.weight").leak() };
    let mut diffusers = vec![
        ("transformer.norm_out.linear.lora_A.weight", down2),
        ("transformer.norm_out.linear.lora_B.weight", up2),
    ];
    let parts = [
        ("attn.to_q", 0..32),
        ("attn.to_k", 32..64),
        ("attn.to_v", 64..96),
        ("proj_mlp", 96..224),
    ];
    for (part, range) in parts {
        // alpha / rank
        diffusers.push((name(&format!("{part}.lora_A")), scaled(&down, 3.0)));
        diffusers.push((name(&format!("{part}.lora_B")), rows(&up, range)));
    }
    [bfl, diffusers]
}

#[test]
fn one_lora_under_two_sets_of_names_draws_one_picture() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = open("schnell", Arc::new(CpuDevice::new(1)));
    let latents = twins().map(|tensors| {
        let path = folder.path().join("twin.safetensors");
        write(&path, &tensors);
        let lora = Arc::new(pipeline.open_lora(&path).unwrap_or_else(|e| panic!("{e}")));
        assert_eq!((lora.name(), lora.layers()), ("twin", 3));
        assert!(lora.bytes() > 0);
        let measured = pipeline
            .measure_lora(&path)
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(measured, lora.bytes(), "known before it is opened");
        let loras = vec![Applied { lora, weight: 1.0 }];
        let request = Request {
            loras,
            ..request("schnell")
        };
        let mut run = pipeline.start(&request).expect("a good request");
        run.step().expect("finite numbers");
        run.latents().to_vec()
    });
    let pairs = latents[0].iter().zip(&latents[1]);
    let error = mean_square(pairs.map(|(a, b)| a - b)).sqrt();
    assert!(error < 1e-6, "{error:e}");
}

#[test]
fn a_file_that_does_not_fit_is_one_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = open("schnell", Arc::new(ReferenceDevice));
    let path = folder.path().join("odd.safetensors");
    let complaint = |tensors: &[(&str, Values)]| {
        write(&path, tensors);
        let error = pipeline.open_lora(&path).expect_err("an odd file");
        let message = error.to_string();
        assert!(
            message.starts_with(&path.display().to_string()),
            "{message}"
        );
        message
    };
    let one = |shape: &[usize]| Values::new(shape, |_| 1.0);
    let (a, b) = ("proj_out.lora_A.weight", "proj_out.lora_B.weight");
    let good = |name: &str| one(if name == a { &[4, 32] } else { &[16, 4] });
    let with =
        |name: &'static str, values: Values| vec![(a, good(a)), (b, good(b)), (name, values)];
    let cases: Vec<(Vec<(&str, Values)>, &str)> = vec![
        (vec![], "holds no tensors"),
        (vec![(a, good(a))], "no matrix up"),
        (vec![(b, good(b))], "no matrix down"),
        (vec![("proj_out.alpha", one(&[]))], "no matrix down"),
        (
            vec![(a, one(&[4, 3072])), (b, good(b))],
            "expected [rank, 32]",
        ),
        (
            vec![(a, good(a)), (b, one(&[16, 5]))],
            "[16, 4] is expected",
        ),
        (
            vec![(a, one(&[0, 32])), (b, one(&[16, 0]))],
            "has rank 0; expected 1 to",
        ),
        (
            vec![(a, one(&[MAX_RANK + 1, 32])), (b, one(&[16, MAX_RANK + 1]))],
            "has rank 1025",
        ),
        (vec![(a, one(&[32])), (b, good(b))], "has shape [32]"),
        (
            with("proj_out.alpha", Values(vec![], vec![f32::NAN])),
            "is NaN; expected a finite number",
        ),
        (
            with("proj_out.alpha", one(&[2])),
            "expected a single number",
        ),
        (with("proj_out.lora_B.bias", one(&[4])), "[16] is expected"),
        (
            with("lora_unet_final_layer_linear.lora_down.weight", good(a)),
            "no matrix up",
        ),
        (
            with("transformer.proj_out.lora_down.weight", good(a)),
            "is there twice",
        ),
        (
            with("proj_out.dora_scale", one(&[16])),
            "`proj_out.dora_scale` is part of DoRA",
        ),
        (with("lora_te3_block_0.lora_up.weight", one(&[1])), "T5"),
        (
            with(
                "transformer_blocks.2.attn.to_q.lora_A.weight",
                one(&[4, 32]),
            ),
            "made for another one",
        ),
        (
            with("lora_unet_mid_block_x.alpha", one(&[])),
            "for Stable Diffusion",
        ),
        (with("something.else", one(&[1])), "is no part of a LoRA"),
        (
            vec![(a, good(a)), (b, Values::new(&[16, 4], |_| f32::INFINITY))],
            "not finite",
        ),
    ];
    for (tensors, expected) in cases {
        let message = complaint(&tensors);
        assert!(message.contains(expected), "{message}");
    }
    let twice = |name: &'static str| (name, good(if name.contains("down") { a } else { b }));
    let message = complaint(&[
        (a, good(a)),
        (b, good(b)),
        twice("lora_unet_final_layer_linear.lora_down.weight"),
        twice("lora_unet_final_layer_linear.lora_up.weight"),
    ]);
    assert!(
        message.contains("changes the layer proj_out, and so does"),
        "{message}"
    );
}

#[test]
fn what_is_no_safetensors_file_is_said_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = open("schnell", Arc::new(ReferenceDevice));
    let path = folder.path().join("text.safetensors");
    std::fs::write(&path, "<html>please log in</html>").expect("a file");
    let message = pipeline.open_lora(&path).expect_err("a text").to_string();
    assert!(message.contains("page of the web"), "{message}");
    let absent = pipeline.open_lora(&folder.path().join("absent.safetensors"));
    assert!(
        absent
            .expect_err("nothing")
            .to_string()
            .contains("cannot read")
    );
    let golden = std::fs::read(golden("lora/schnell/kohya.safetensors")).expect("a file");
    std::fs::write(&path, &golden[..golden.len() - 7]).expect("a file");
    pipeline.open_lora(&path).expect_err("a truncated file");
}

#[test]
fn weights_are_bounded() {
    let pipeline = open("schnell", Arc::new(ReferenceDevice));
    for weight in [f32::NAN, f32::INFINITY, 20.5, -21.0] {
        let request = Request {
            loras: apply(&pipeline, "schnell", &[("xlabs", weight)]),
            ..request("schnell")
        };
        match pipeline.start(&request) {
            Err(Error::Rejected(reason)) => {
                assert!(reason.contains("the LoRA xlabs has weight"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_says_of_itself_what_it_is() {
    let summary = |path: &Path| Summary::of_file(path).expect("a LoRA");
    let kohya = summary(&golden("lora/schnell/kohya.safetensors"));
    assert_eq!(kohya.title.as_deref(), Some("golden kohya"));
    assert_eq!(kohya.words, ["tintype", "portrait"]);
    assert_eq!((kohya.transformer_layers, kohya.clip_layers), (23, 12));
    assert_eq!(kohya.ranks.keys().copied().collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(kohya.problem, None);
    let model = golden("schnell/model/transformer/diffusion_pytorch_model.safetensors");
    let problem = summary(&model).problem.expect("a model is no LoRA");
    assert!(problem.contains("is no part of a LoRA"), "{problem}");
}
