//! The parts that need no model, against what torch, diffusers, transformers and Pillow say.
//! `tests/golden/README.md` describes the files.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;
use tintype_compute::Tensor;
use tintype_flux::latents::{self, Role};
use tintype_flux::noise::{Generator, NoiseType};
use tintype_flux::picture;
use tintype_flux::schedule::SchedulerConfig;
use tintype_flux::size::Size;
use tintype_flux::tokenizer::{Files, Tokenizer};

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

fn read(path: &str) -> Vec<u8> {
    let path = golden(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read_json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).expect("golden JSON")
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// `{type}.{seed}.{count}`.
fn parse_noise_name(name: &str) -> (NoiseType, u64, usize) {
    let mut parts = name.split('.');
    let noise_type = match parts.next() {
        Some("f32") => NoiseType::F32,
        Some("bf16") => NoiseType::Bf16,
        other => panic!("{other:?}"),
    };
    let seed: i128 = parts.next().expect("seed").parse().expect("seed");
    let count = parts.next().expect("count").parse().expect("count");
    (noise_type, seed as u64, count)
}

#[test]
fn noise_is_bit_equal_to_torch() {
    let file = read("noise.safetensors");
    let tensors = SafeTensors::deserialize(&file).expect("safetensors");
    assert_eq!(tensors.len(), 160);
    for (name, view) in tensors.iter() {
        let (noise_type, seed, count) = parse_noise_name(name);
        let expected: Vec<f32> = match noise_type {
            NoiseType::F32 => f32s(view.data()),
            NoiseType::Bf16 => view
                .data()
                .chunks_exact(2)
                .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
        };
        let drawn = Generator::new(seed).normal(count, noise_type);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&drawn), bits(&expected), "{name}");
    }
}

#[test]
fn a_million_samples_hash_to_what_torch_draws() {
    for case in read_json("noise_hashes.json").as_array().expect("a list") {
        let seed = case["seed"].as_i64().expect("seed") as u64;
        let count = case["count"].as_u64().expect("count") as usize;
        let hash = Generator::new(seed)
            .normal(count, NoiseType::F32)
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |state, sample| {
                (state ^ u64::from(sample.to_bits())).wrapping_mul(0x0100_0000_01b3)
            });
        assert_eq!(format!("{hash:016x}"), case["fnv1a"], "{case}");
    }
}

#[test]
fn sigmas_are_those_of_the_scheduler() {
    for case in read_json("schedule.json").as_array().expect("a list") {
        let config = SchedulerConfig::from_json(&case["config"].to_string()).expect("config");
        let steps = case["steps"].as_u64().expect("steps") as usize;
        let tokens = case["image_seq_len"].as_u64().expect("tokens") as usize;
        let sigmas = config.sigmas(steps, tokens);
        let expected = case["sigmas"].as_array().expect("sigmas");
        assert_eq!(sigmas.len(), expected.len());
        for (sigma, expected) in sigmas.iter().zip(expected) {
            let expected = expected.as_f64().expect("a number") as f32;
            // numpy's own rounding order leaves one unit in the last place open.
            assert!(
                (sigma - expected).abs() <= f32::EPSILON,
                "{sigma} {expected} {case}"
            );
        }
    }
}

#[test]
fn variants_of_the_scheduler_that_flux_does_not_use_are_refused() {
    let refused = SchedulerConfig::from_json(r#"{"use_karras_sigmas": true}"#);
    let message = refused.expect_err("karras").to_string();
    assert!(message.contains("use_karras_sigmas"), "{message}");
    assert!(SchedulerConfig::from_json(r#"{"_class_name": "x", "shift": 3.0}"#).is_ok());
}

/// The files of one tokenizer of one case, held so that they can be lent.
struct Folder([Option<Vec<u8>>; 4]);

impl Folder {
    fn open(path: &str) -> Self {
        let names = [
            "tokenizer.json",
            "vocab.json",
            "merges.txt",
            "tokenizer_config.json",
        ];
        Self(names.map(|name| std::fs::read(golden(path).join(name)).ok()))
    }

    fn files(&self) -> Files<'_> {
        let [
            tokenizer_json,
            vocab_json,
            merges_txt,
            tokenizer_config_json,
        ] = self.0.each_ref().map(Option::as_deref);
        Files {
            tokenizer_json,
            vocab_json,
            merges_txt,
            tokenizer_config_json,
        }
    }
}

fn assert_ids(tokenizer: &Tokenizer, prompts: &Value, expected: &Value, length: usize) {
    let prompts = prompts.as_array().expect("prompts");
    for (prompt, expected) in prompts.iter().zip(expected.as_array().expect("ids")) {
        let prompt = prompt.as_str().expect("a string");
        let ids = tokenizer.encode(prompt, length).expect("no prompt fails");
        assert_eq!(serde_json::json!(ids), *expected, "{prompt:?}");
    }
}

#[test]
fn token_ids_are_those_of_transformers() {
    let golden = read_json("tokenizers.json");
    let t5_length = golden["t5_length"].as_u64().expect("length") as usize;
    for case in ["schnell", "dev", "kontext"] {
        let clip = Folder::open(&format!("{case}/model/tokenizer"));
        let clip = Tokenizer::clip(clip.files()).expect("CLIP");
        let length = clip.clip_length();
        assert_eq!(length, 77);
        assert_ids(&clip, &golden["prompts"], &golden[case]["clip"], length);
        let t5 = Folder::open(&format!("{case}/model/tokenizer_2"));
        let t5 = Tokenizer::t5(t5.files()).expect("T5");
        assert_ids(&t5, &golden["prompts"], &golden[case]["t5"], t5_length);
    }
}

#[test]
fn a_folder_without_a_tokenizer_says_what_is_missing() {
    let message = Tokenizer::clip(Files::default())
        .expect_err("empty")
        .to_string();
    assert_eq!(
        message,
        "tokenizer holds no tokenizer.json, nor vocab.json with merges.txt"
    );
    let broken = Files {
        tokenizer_json: Some(b"{"),
        ..Files::default()
    };
    let message = Tokenizer::t5(broken).expect_err("broken").to_string();
    assert!(
        message.starts_with("tokenizer_2/tokenizer.json cannot be read"),
        "{message}"
    );
}

#[test]
fn resizing_is_pillows() {
    let file = read("resize.safetensors");
    let tensors = SafeTensors::deserialize(&file).expect("safetensors");
    let image = |name: &str| {
        let view = tensors.tensor(name).expect("a picture");
        let (height, width) = (view.shape()[0] as u32, view.shape()[1] as u32);
        image::RgbImage::from_raw(width, height, view.data().to_vec()).expect("RGB")
    };
    for name in tensors.names().into_iter().filter(|n| n.contains('x')) {
        let (index, size) = name.split_once('.').expect("a name");
        let (width, height) = size.split_once('x').expect("a size");
        let size = Size::new(
            width.parse().expect("width"),
            height.parse().expect("height"),
        );
        let resized = picture::resize(&image(&format!("{index}.source")), size);
        let expected = image(name);
        let differing = resized.iter().zip(expected.iter()).filter(|(a, b)| a != b);
        assert_eq!(differing.count(), 0, "{name}");
    }
}

#[test]
fn latents_are_packed_as_diffusers_packs_them() {
    let file = read("packing.safetensors");
    let tensors = SafeTensors::deserialize(&file).expect("safetensors");
    let values = |name: &str| f32s(tensors.tensor(name).expect("a tensor").data());
    let (channels, height, width) = (3, 4, 6);
    let planes = values("latents");
    let packed: Vec<f32> = planes
        .chunks(channels * height * width)
        .flat_map(|picture| latents::pack_planes(picture, channels, height, width))
        .collect();
    assert_eq!(packed, values("packed"));
    let tokens = Tensor::from_vec([2, 6, 12], packed);
    let unpacked = latents::unpack(&tokens, height, width);
    assert_eq!(unpacked.shape(), [2, height, width, channels]);
    assert_eq!(unpacked.data()[..3], [planes[0], planes[24], planes[48]]);
    assert_eq!(latents::pack(&unpacked), tokens);
    let ids = latents::image_ids(Role::Target, 2, 3);
    assert_eq!(ids.concat(), values("ids"));
    let reference = latents::image_ids(Role::Reference(0), 1, 2);
    assert_eq!(reference, [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]);
}
