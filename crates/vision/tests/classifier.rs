//! Classifiers against transformers (`tools/golden/vision.py` writes the files), on both devices.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::RgbImage;
use safetensors::SafeTensors;
use tintype_compute::{CpuDevice, Device, ReferenceDevice, Tensor};
use tintype_vision::Classifier;

/// Relative RMS error that a block may have: f32 summed in another order than torch's stays far below.
const TOLERANCE: f64 = 1e-5;

const CASES: [&str; 2] = ["softmax", "sigmoid"];

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(case)
}

struct Golden(Vec<u8>);

impl Golden {
    fn of(case: &str) -> Self {
        Self(fs::read(golden(case).join("trace.safetensors")).expect("golden file"))
    }

    fn tensor(&self, name: &str) -> Tensor {
        let file = SafeTensors::deserialize(&self.0).expect("golden file");
        let view = file.tensor(name).expect("golden tensor");
        let values = view.data().as_chunks().0.iter();
        let values = values.map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Tensor::from_vec(view.shape(), values)
    }

    fn picture(&self, index: usize) -> RgbImage {
        let file = SafeTensors::deserialize(&self.0).expect("golden file");
        let view = file.tensor(&format!("picture.{index}")).expect("a picture");
        let (height, width) = (view.shape()[0] as u32, view.shape()[1] as u32);
        RgbImage::from_raw(width, height, view.data().to_vec()).expect("three bytes a pixel")
    }

    /// Turned from `(batch, channels, height, width)` to channels last.
    fn pixels(&self) -> Tensor {
        let tensor = self.tensor("pixels");
        let [batch, channels, height, width] = tensor.rank4();
        let mut values = Vec::new();
        for (sample, pixel) in (0..batch).flat_map(|s| (0..height * width).map(move |p| (s, p))) {
            let planes = tensor.sample(sample);
            values.extend((0..channels).map(|channel| planes[channel * height * width + pixel]));
        }
        Tensor::from_vec([batch, height, width, channels], values)
    }
}

fn for_each(test: impl Fn(&str, &Golden, Classifier)) {
    for case in CASES {
        let devices: [Arc<dyn Device>; 2] =
            [Arc::new(ReferenceDevice), Arc::new(CpuDevice::in_f32(2))];
        for device in devices {
            let name = format!("{case} on {}", device.name());
            let classifier = Classifier::open(&golden(case).join("model"), device);
            test(&name, &Golden::of(case), classifier.expect("it opens"));
        }
    }
}

fn assert_close(name: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.shape(), expected.shape(), "{name}");
    let pairs = found.data().iter().zip(expected.data());
    let error: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let size: f64 = expected.data().iter().map(|b| f64::from(*b).powi(2)).sum();
    let relative = (error / size).sqrt();
    assert!(relative <= TOLERANCE, "{name}: {relative:e}");
}

#[test]
fn pictures_are_prepared_as_transformers_does() {
    for_each(|name, golden, classifier| {
        let expected = golden.pixels();
        for index in 0..2 {
            let prepared = classifier.prepare(&golden.picture(index));
            let pairs = prepared.data().iter().zip(expected.sample(index));
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 1e-6, "{name}: {worst}");
        }
    });
}

#[test]
fn every_block_is_that_of_transformers() {
    for_each(|name, golden, classifier| {
        let vit = classifier.vit();
        let mut expected = golden.tensor("embedding");
        assert_close(name, &vit.embed(&golden.pixels()), &expected);
        for (index, block) in vit.blocks().iter().enumerate() {
            let found = block.forward(&expected);
            expected = golden.tensor(&format!("block.{index}"));
            assert_close(&format!("{name}, block {index}"), &found, &expected);
        }
        let logits = vit.forward(&golden.pixels());
        assert_close(
            &format!("{name}, logits"),
            &logits,
            &golden.tensor("logits"),
        );
    });
}

#[test]
fn scores_are_those_of_transformers() {
    for_each(|name, golden, classifier| {
        let expected = golden.tensor("scores");
        for index in 0..2 {
            let seen = classifier.classify(&golden.picture(index));
            assert_eq!(seen.len(), classifier.labels().len());
            for (seen, expected) in seen.iter().zip(expected.sample(index)) {
                assert!(
                    (seen.score - expected).abs() < 1e-5,
                    "{name}: {seen:?} {expected}"
                );
            }
        }
    });
}

#[test]
fn labels_come_in_the_models_order() {
    for_each(|name, _, classifier| {
        let expected: &[&str] = match name.starts_with("softmax") {
            true => &["normal", "nsfw"],
            false => &["drawings", "gore", "sexy"],
        };
        assert_eq!(classifier.labels(), expected);
    });
}

#[test]
fn folders_that_hold_no_classifier_say_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusal = |folder: &Path| {
        let opened = Classifier::open(folder, Arc::new(ReferenceDevice));
        opened.expect_err("it cannot be opened").to_string()
    };
    let nowhere = refusal(&folder.path().join("nowhere"));
    assert!(nowhere.contains("holds no picture classifier"), "{nowhere}");
    let model = golden("softmax").join("model");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(model.join(file), folder.path().join(file)).expect("copied");
    }
    // Without a preprocessor_config.json, transformers' defaults hold.
    Classifier::open(folder.path(), Arc::new(ReferenceDevice)).expect("it opens");
    let config = fs::read_to_string(model.join("config.json")).expect("golden config");
    let deeper = config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4");
    assert_ne!(config, deeper);
    fs::write(folder.path().join("config.json"), deeper).expect("written");
    let missing = refusal(folder.path());
    assert!(missing.contains("vit.encoder.layer.3."), "{missing}");
    let shallower = config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2");
    fs::write(folder.path().join("config.json"), shallower).expect("written");
    let surplus = refusal(folder.path());
    assert!(surplus.contains("vit.encoder.layer.2."), "{surplus}");
}
