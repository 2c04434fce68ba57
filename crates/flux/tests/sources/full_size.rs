//! FLUX.1 at its true size, packaged in every way that people have it: 19 + 38 blocks, T5-XXL, CLIP-L and
//! the VAE, with the names and shapes that diffusers and transformers give them
//! (`tests/golden/full_size.json`). The files are sparse and take some megabytes each.
//!
//! Each is opened and planned in the normal tests. The ignored one loads them as well, every layer through
//! its packing, and compares what arrives with what arrives from the diffusers folder:
//!
//! ```text
//! cargo test --release -p tintype-flux --test sources -- --ignored full_size
//! ```

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tintype_compute::{CpuDevice, Encoding};
use tintype_flux::pipeline::{Error, Footprint, LoadOptions, ModelFiles, Pipeline, Residency};

use super::full_size_files::{self as files, KINDS};
use super::noting::{Note, NotingDevice};
use super::scene::read_json;
use super::sparse::{self, Tensor};

/// A folder on the disk: elsewhere pages of holes may take memory when they are read.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn plan(path: &Path) -> Result<Footprint, Error> {
    let device = Arc::new(CpuDevice::new(1));
    let files = ModelFiles::open(path)?;
    Pipeline::prepare(&LoadOptions::default(), &files, device)?.footprint()
}

/// A failure with its causes.
fn complaint(path: &Path) -> String {
    let error = plan(path).expect_err("a model that cannot be loaded");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[test]
fn full_size_models_of_every_kind_are_opened_and_planned() {
    for kind in KINDS {
        let folder = folder();
        let bytes = kind.write(folder.path());
        let plan = plan(folder.path()).unwrap_or_else(|error| panic!("{}: {error}", kind.name));
        // Weights are kept in the size that they are stored in, or Q4_K's blocks in four bytes more; small
        // tensors are widened to f32.
        let kept = plan.transformer_bytes as f64 / bytes.transformer as f64 / kind.kept;
        assert!(
            (0.995..1.005).contains(&kept),
            "{}: {kept}, {plan}",
            kind.name
        );
        let gib = plan.weights_bytes(Residency::Resident) as f64 / f64::from(1 << 30);
        println!("{}: {plan}, {gib:.1} GiB together", kind.name);
    }
}

#[test]
fn full_size_counts_are_those_of_the_models() {
    let parameters = |component: &str| {
        let model: Value = read_json(&files::golden());
        model[component]["values"].as_u64().expect("a number")
    };
    assert_eq!(parameters("transformer"), 11_901_408_320);
    for component in ["transformer", "vae", "text_encoder", "text_encoder_2"] {
        let tensors = files::tensors(component);
        let values: usize = tensors
            .0
            .values()
            .map(|stored| stored.shape.iter().product::<usize>())
            .sum();
        assert_eq!(values as u64, parameters(component), "{component}");
    }
}

#[test]
fn full_size_files_with_one_tensor_wrong_are_refused_by_its_name() {
    let folder = folder();
    let makers = KINDS.iter().find(|kind| kind.name == files::MAKERS);
    makers.expect("is listed").write(folder.path());
    let path = folder.path().join("flux1-dev.safetensors");
    let whole = files::in_one_encoding(files::original("transformer"), Encoding::Bf16);
    let last = "single_blocks.37.linear2.weight";

    let mut lacking = whole.clone();
    lacking.remove(last);
    sparse::safetensors(&path, &lacking, &[]);
    let text = complaint(folder.path());
    assert!(text.contains(&format!("no tensor `{last}`")), "{text}");

    let mut narrow = whole.clone();
    let Some(Tensor::Marked { shape, .. }) = narrow.get_mut(last) else {
        panic!("{last} is there");
    };
    shape[1] -= 1;
    sparse::safetensors(&path, &narrow, &[]);
    let text = complaint(folder.path());
    assert!(
        text.contains(&format!("tensor `{last}` has shape [3072, 15359]")),
        "{text}"
    );

    let mut surplus = whole.clone();
    let more = whole[last].clone();
    surplus.insert("single_blocks.37.linear3.weight".to_owned(), more);
    sparse::safetensors(&path, &surplus, &[]);
    let text = complaint(folder.path());
    assert!(text.contains("`single_blocks.37.linear3.weight`"), "{text}");

    sparse::safetensors(&path, &whole, &[]);
    let file = std::fs::OpenOptions::new().write(true).open(&path);
    let file = file.expect("a file");
    let length = file.metadata().expect("a length").len();
    file.set_len(length - 1).expect("a shorter file");
    let text = complaint(folder.path());
    assert!(text.contains("flux1-dev.safetensors"), "{text}");
}

#[test]
#[ignore = "packs a hundred billion weights: see CONTRIBUTING.md"]
fn full_size_loads_of_every_kind_give_the_same_layers() {
    let mut expected: Option<Vec<Note>> = None;
    for kind in KINDS {
        let folder = folder();
        kind.write(folder.path());
        let device = Arc::new(NotingDevice::new());
        let files = ModelFiles::open(folder.path()).expect("a model");
        let started = std::time::Instant::now();
        let opened = Pipeline::open(&files, device.clone());
        opened.unwrap_or_else(|error| panic!("{}: {error}", kind.name));
        let notes = device.notes();
        let seconds = started.elapsed().as_secs();
        println!(
            "{}: {} layers packed in {seconds} s",
            kind.name,
            notes.len()
        );
        let expected = expected.get_or_insert_with(|| notes.clone());
        assert_eq!(notes.len(), expected.len(), "{}", kind.name);
        for (number, (found, expected)) in notes.iter().zip(&*expected).enumerate() {
            assert_eq!(found, expected, "{}, layer {number}", kind.name);
        }
    }
}
