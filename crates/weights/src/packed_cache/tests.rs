//! First start, second start, and everything that may have happened in between.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, tensor::TensorView};
use tintype_compute::{CpuDevice, CpuOptions, Device, Epilogue, Tensor, WeightFormat};

use super::{super::layers::Width, PackedCache, Weights};
use crate::layers::Loader;

const WIDTH: Width = Width {
    input: 40,
    output: 33,
};

struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    /// Two layers whose weights begin with `first`.
    fn new(first: f32) -> Self {
        let case = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        fs::create_dir(case.model()).expect("writable");
        case.write(first);
        case
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn write(&self, first: f32) {
        let values = |count: usize| -> Vec<u8> {
            let values = (0..count).map(|i| first + (i * 7919 % 1000) as f32 / 999.0);
            values.flat_map(f32::to_le_bytes).collect()
        };
        let weight = values(WIDTH.input * WIDTH.output);
        let bias = values(WIDTH.output);
        let tensors = ["a", "b", "c"].into_iter().flat_map(|name| {
            let shape = vec![WIDTH.output, WIDTH.input];
            let weight = TensorView::new(Dtype::F32, shape, &weight).expect("valid");
            let bias = TensorView::new(Dtype::F32, vec![WIDTH.output], &bias).expect("valid");
            [
                (format!("{name}.weight"), weight),
                (format!("{name}.bias"), bias),
            ]
        });
        let path = self.model().join("model.safetensors");
        safetensors::serialize_to_file(tensors, None::<HashMap<String, String>>, &path)
            .expect("writable");
    }

    /// Loads with the cache; returns whether it was there, and what the layers compute.
    fn load(&self, device: &CpuDevice) -> (bool, Vec<Tensor>) {
        let weights = Weights::open(&self.model()).expect("opens");
        load(weights.with_packed_cache(&self.cache(), device), device)
    }

    fn plain(&self, device: &CpuDevice) -> Vec<Tensor> {
        load(Weights::open(&self.model()).expect("opens"), device).1
    }

    /// The one file of the cache.
    fn file(&self) -> PathBuf {
        let files = files(&self.cache());
        let [file] = &files[..] else {
            panic!("one file expected: {files:?}")
        };
        file.clone()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn load(mut weights: Weights, device: &CpuDevice) -> (bool, Vec<Tensor>) {
    let there = matches!(weights.cache, Some(PackedCache::Reading(_)));
    let mut loader = Loader {
        weights: &mut weights,
        device,
    };
    let joined = ["a", "b"].map(str::to_owned);
    let layers = [
        loader.joined(&joined, WIDTH, true).expect("loads"),
        loader.linear("c", WIDTH).expect("loads"),
    ];
    weights.finish().expect("nothing is left");
    let values = (0..3 * WIDTH.input).map(|i| (i % 7) as f32 - 3.0);
    let x = Tensor::from_vec([1, 3, WIDTH.input], values.collect());
    let outputs = layers.map(|layer| device.linear(&layer, &x, Epilogue::None));
    (there, outputs.into())
}

#[test]
fn the_second_start_takes_the_layers_from_the_cache() {
    for weights in [WeightFormat::Exact, WeightFormat::Bf16] {
        let options = CpuOptions {
            threads: 1,
            weights,
            ..CpuOptions::default()
        };
        let device = CpuDevice::with_options(options).expect("every machine has one");
        let case = Case::new(0.1);
        let expected = case.plain(&device);
        assert_eq!(case.load(&device), (false, expected.clone()));
        assert_eq!(case.load(&device), (true, expected));
        assert_eq!(files(&case.cache()), [case.file()], "nothing else is left");
    }
}

#[test]
fn a_cache_of_other_weights_is_replaced() {
    let device = CpuDevice::new(1);
    let case = Case::new(0.1);
    let (_, before) = case.load(&device);
    let old = case.file();
    case.write(0.2);
    let time = fs::File::options()
        .write(true)
        .open(case.model().join("model.safetensors"));
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
    time.and_then(|file| file.set_modified(later))
        .expect("writable");
    let (there, after) = case.load(&device);
    assert!(!there && after != before);
    assert_eq!(after, case.plain(&device));
    assert_ne!(case.file(), old, "the old one is gone");
    assert_eq!(case.load(&device), (true, after));
}

#[test]
fn a_damaged_cache_is_made_anew() {
    let device = CpuDevice::new(1);
    let case = Case::new(0.1);
    let (_, expected) = case.load(&device);
    let whole = fs::read(case.file()).expect("readable");
    let mut damages: Vec<Vec<u8>> = [0, 7, 23, 24, whole.len() / 2, whole.len() - 1]
        .map(|length| whole[..length].to_vec())
        .into();
    // In the list, its checksum, its length and the magic word.
    for from_end in [60, 12, 20, 24, 1] {
        let mut damaged = whole.clone();
        damaged[whole.len() - from_end] ^= 0x20;
        damages.push(damaged);
    }
    for (index, damaged) in damages.iter().enumerate() {
        fs::write(case.file(), damaged).expect("writable");
        assert_eq!(
            case.load(&device),
            (false, expected.clone()),
            "damage {index}"
        );
        assert_eq!(fs::read(case.file()).expect("readable"), whole);
    }
    assert_eq!(case.load(&device), (true, expected));
}

#[test]
fn a_model_that_does_not_load_and_a_folder_that_is_none_leave_nothing() {
    let device = CpuDevice::new(1);
    let case = Case::new(0.1);
    let weights = Weights::open(&case.model()).expect("opens");
    let mut weights = weights.with_packed_cache(&case.cache(), &device);
    let mut loader = Loader {
        weights: &mut weights,
        device: &device,
    };
    loader.linear("a", WIDTH).expect("loads");
    assert!(weights.finish().is_err(), "tensors are left");
    assert!(files(&case.cache()).is_empty());

    fs::remove_dir(case.cache()).expect("empty");
    fs::write(case.cache(), "in the way").expect("writable");
    let (there, found) = case.load(&device);
    assert!(!there);
    assert_eq!(found, case.plain(&device));
}
