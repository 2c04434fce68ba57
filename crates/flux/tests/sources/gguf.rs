//! GGUF: the picture of the same values stored as f32, and T5's tokenizer out of its own file.

use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};
use tintype_compute::{Encoding, StoredMatrix, StoredValues};
use tintype_flux::pipeline::ModelFiles;
use tintype_flux::sources::Inspection;
use tintype_flux::weights::test_support::{GgufValue, gguf};

use tintype_words::sentence;

use super::blocks::random_blocks;
use super::maker::{self, Stored, Tensors};
use super::scene::{Scene, draw, open, read_json};

/// Writes tensors as GGUF, matrices whose rows are whole blocks in `encoding`.
pub fn write(
    scene: &Scene,
    name: &str,
    tensors: &Tensors,
    encoding: Encoding,
    keys: &[(&str, GgufValue)],
) {
    let tensors: Vec<(String, Vec<usize>, Encoding, Vec<u8>)> = tensors
        .0
        .iter()
        .map(|(name, stored)| {
            let fits =
                stored.shape.len() == 2 && stored.shape[1].is_multiple_of(encoding.block_values());
            let own = own_encoding(stored);
            let (encoding, bytes) = match fits {
                true => (encoding, encoded(encoding, &decoded(own, &stored.bytes))),
                false => (own, stored.bytes.clone()),
            };
            (name.clone(), stored.shape.clone(), encoding, bytes)
        })
        .collect();
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, encoding, bytes)| (&name[..], &shape[..], *encoding, &bytes[..]))
        .collect();
    std::fs::write(scene.path(name), gguf(keys, &views)).expect("a writable folder");
}

/// The same cut into parts, as `gguf-split` does it: what the file says of itself stands in the first.
fn write_in_parts(scene: &Scene, stem: &str, tensors: &Tensors, parts: usize) {
    let all: Vec<_> = tensors.0.iter().collect();
    for (index, some) in all.chunks(all.len().div_ceil(parts)).enumerate() {
        let some = some
            .iter()
            .map(|(name, stored)| ((*name).clone(), (*stored).clone()));
        let number = |value: usize| GgufValue::U32(value as u32);
        let mut keys = vec![
            ("split.no", number(index)),
            ("split.count", number(parts)),
            ("split.tensors.count", number(all.len())),
        ];
        if index == 0 {
            keys.push(architecture("flux"));
        }
        let name = format!("{stem}-{:05}-of-{parts:05}.gguf", index + 1);
        write(
            scene,
            &name,
            &Tensors(some.collect()),
            Encoding::Q8_0,
            &keys,
        );
    }
}

/// The same values as safetensors in f32.
pub fn write_plain(scene: &Scene, name: &str, tensors: &Tensors, encoding: Encoding) {
    let mut plain = Tensors::default();
    for (tensor, stored) in &tensors.0 {
        let fits =
            stored.shape.len() == 2 && stored.shape[1].is_multiple_of(encoding.block_values());
        let own = decoded(own_encoding(stored), &stored.bytes);
        let values = match fits {
            true => decoded(encoding, &encoded(encoding, &own)),
            false => own,
        };
        let stored = Stored {
            dtype: Dtype::F32,
            shape: stored.shape.clone(),
            bytes: values.into_iter().flat_map(f32::to_le_bytes).collect(),
        };
        plain.0.insert(tensor.clone(), stored);
    }
    plain.write(&scene.path(name));
}

fn own_encoding(stored: &Stored) -> Encoding {
    match stored.dtype {
        Dtype::F32 => Encoding::F32,
        Dtype::F16 => Encoding::F16,
        Dtype::BF16 => Encoding::Bf16,
        other => panic!("{other:?}"),
    }
}

pub fn decoded(encoding: Encoding, bytes: &[u8]) -> Vec<f32> {
    let values = StoredValues::encoded(encoding, bytes);
    StoredMatrix::new(encoding.block_values(), [values])
        .to_tensor()
        .data()
        .to_vec()
}

/// A plain quantiser where one is simple, else random blocks of about the same size.
fn encoded(encoding: Encoding, values: &[f32]) -> Vec<u8> {
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
    match encoding {
        Encoding::F32 => values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        Encoding::F16 => values.iter().flat_map(|value| half(*value)).collect(),
        Encoding::Bf16 => {
            let short = |value: &f32| half::bf16::from_f32(*value).to_le_bytes();
            values.iter().flat_map(short).collect()
        }
        Encoding::Q8_0 => blocks(values, |block, out| {
            let scale = greatest(block) / 127.0;
            out.extend(half(scale));
            out.extend(
                block
                    .iter()
                    .map(|value| (value / scale.max(1e-9)).round() as i8 as u8),
            );
        }),
        Encoding::Q4_0 => blocks(values, |block, out| {
            let scale = greatest(block) / 7.0;
            out.extend(half(scale));
            let code =
                |value: f32| ((value / scale.max(1e-9)).round() + 8.0).clamp(0.0, 15.0) as u8;
            out.extend((0..16).map(|i| code(block[i]) | code(block[16 + i]) << 4));
        }),
        other => random_blocks(other, values),
    }
}

fn greatest(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn blocks(values: &[f32], encode: impl Fn(&[f32], &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    for block in values.chunks_exact(32) {
        encode(block, &mut out);
    }
    out
}

pub fn architecture(name: &str) -> (&'static str, GgufValue) {
    ("general.architecture", GgufValue::Text(name.to_owned()))
}

#[test]
fn gguf_draws_what_the_same_values_draw() {
    for encoding in [
        Encoding::F16,
        Encoding::Bf16,
        Encoding::Q8_0,
        Encoding::Q4_0,
    ] {
        let scene = Scene::of_separate_files("schnell");
        let transformer = maker::original_transformer(&scene.part("transformer"));
        let t5 = maker::llama_cpp_t5(&scene.part("text_encoder_2"));
        write_plain(&scene, "flux1-schnell.safetensors", &transformer, encoding);
        write_plain(&scene, "t5xxl_fp16.safetensors", &t5, encoding);
        let expected = scene.draw();
        assert!(
            expected != scene.draw_golden(),
            "{encoding} is not the whole"
        );
        scene.remove("flux1-schnell.safetensors");
        scene.remove("t5xxl_fp16.safetensors");
        write(
            &scene,
            "flux1-schnell-Q.gguf",
            &transformer,
            encoding,
            &[architecture("flux")],
        );
        write(
            &scene,
            "t5-encoder-Q.gguf",
            &t5,
            encoding,
            &[architecture("t5encoder")],
        );
        assert!(scene.draw() == expected, "{encoding}");
    }
}

#[test]
fn a_file_in_parts_is_opened_from_its_folder_or_from_any_part() {
    let scene = Scene::of_separate_files("schnell");
    let transformer = maker::original_transformer(&scene.part("transformer"));
    write_plain(
        &scene,
        "flux1-schnell.safetensors",
        &transformer,
        Encoding::Q8_0,
    );
    let expected = scene.draw();
    scene.remove("flux1-schnell.safetensors");
    write_in_parts(&scene, "flux1-schnell-Q8_0", &transformer, 3);
    assert!(scene.draw() == expected);
    let part = |number| scene.path(&format!("flux1-schnell-Q8_0-{number:05}-of-00003.gguf"));
    for number in [1, 3] {
        assert!(
            draw(&open(&part(number)).expect("a model")) == expected,
            "part {number}"
        );
        let files = ModelFiles::open(&part(number)).expect("a model");
        assert_eq!(files.name(), "flux1-schnell-Q8_0");
        let found = Inspection::of(&part(number)).expect("a model");
        assert_eq!(found.what, "FLUX.1 [schnell]");
        assert_eq!(found.parts[0].path, part(1));
        assert!(
            found.lacks.is_empty() && found.trouble.is_none(),
            "{found:?}"
        );
    }
    let all: u64 = transformer.0.values().map(values).sum();
    let found = Inspection::of(scene.folder.path()).expect("a model");
    assert_eq!(found.parts[0].parameters, all, "those of all parts");
}

fn values(stored: &Stored) -> u64 {
    stored.shape.iter().product::<usize>() as u64
}

#[test]
fn a_part_that_is_missing_or_foreign_is_named() {
    let scene = Scene::of_separate_files("schnell");
    let transformer = maker::original_transformer(&scene.part("transformer"));
    scene.remove("flux1-schnell.safetensors");
    write_in_parts(&scene, "flux1-schnell-Q8_0", &transformer, 3);
    let part = |number| scene.path(&format!("flux1-schnell-Q8_0-{number:05}-of-00003.gguf"));
    let refused = |path: &Path| {
        let error = ModelFiles::open(path).expect_err("not all of it");
        sentence(&error)
    };
    let missing = |path: &Path, name: &str| {
        let said = refused(path);
        assert!(said.contains(&format!("{name} is missing")), "{said}");
    };
    let [first, second] = [1, 2].map(|number| std::fs::read(part(number)).expect("a part"));
    std::fs::remove_file(part(2)).expect("is there");
    for path in [scene.folder.path(), &part(1), &part(3)] {
        missing(path, "flux1-schnell-Q8_0-00002-of-00003.gguf");
    }
    std::fs::write(part(2), &second).expect("writable");
    std::fs::remove_file(part(1)).expect("is there");
    missing(&part(2), "flux1-schnell-Q8_0-00001-of-00003.gguf");
    missing(
        scene.folder.path(),
        "flux1-schnell-Q8_0-00001-of-00003.gguf",
    );

    std::fs::write(part(1), &second).expect("writable");
    std::fs::write(part(2), &first).expect("writable");
    let said = refused(&part(1));
    assert!(
        said.contains("part 1, and itself that it is part 2"),
        "{said}"
    );
    let renamed = scene.path("renamed.gguf");
    std::fs::write(&renamed, &first).expect("writable");
    let said = refused(&renamed);
    assert!(
        said.contains("one of 3 parts of a file, and 1 were found"),
        "{said}"
    );

    std::fs::write(part(1), &first).expect("writable");
    let mut fewer = transformer;
    let last = fewer.0.keys().next_back().expect("a tensor").clone();
    fewer.0.remove(&last);
    std::fs::write(part(2), &second).expect("writable");
    let other = Scene::of("schnell");
    write_in_parts(&other, "x", &fewer, 3);
    std::fs::copy(other.path("x-00003-of-00003.gguf"), part(3)).expect("writable");
    let said = refused(&part(1));
    assert!(said.contains("they are not of one file"), "{said}");
}

/// What llama.cpp's converter keeps of a tokenizer.
fn vocabulary(scene: &Scene) -> Vec<(&'static str, GgufValue)> {
    let document = read_json(&scene.part("tokenizer_2").join("tokenizer.json"));
    let pieces = document["model"]["vocab"].as_array().expect("a vocabulary");
    let text = |value: &Value| value.as_str().expect("a piece").to_owned();
    let mut names: Vec<String> = pieces.iter().map(|piece| text(&piece[0])).collect();
    let mut scores: Vec<f32> = pieces
        .iter()
        .map(|piece| piece[1].as_f64().expect("a score") as f32)
        .collect();
    let kind = |name: &String| match name.as_str() {
        "<unk>" => 2,
        "<pad>" | "</s>" => 3,
        name if name.starts_with("<extra_id") => 4,
        _ => 1,
    };
    let mut types: Vec<i32> = names.iter().map(kind).collect();
    // Filled up to the embedding's size.
    for index in 0..5 {
        names.push(format!("[PAD{index}]"));
        scores.push(-1000.0);
        types.push(5);
    }
    vec![
        architecture("t5encoder"),
        ("tokenizer.ggml.model", GgufValue::Text("t5".to_owned())),
        ("tokenizer.ggml.tokens", GgufValue::Texts(names)),
        ("tokenizer.ggml.scores", GgufValue::F32s(scores)),
        ("tokenizer.ggml.token_type", GgufValue::I32s(types)),
        ("tokenizer.ggml.eos_token_id", GgufValue::U32(1)),
        ("tokenizer.ggml.unknown_token_id", GgufValue::U32(2)),
    ]
}

#[test]
fn t5s_own_file_may_bring_its_tokenizer() {
    let scene = Scene::of_separate_files("schnell");
    let expected = scene.draw();
    scene.remove("t5xxl_fp16.safetensors");
    scene.remove("tokenizer_2");
    let t5 = maker::llama_cpp_t5(&scene.part("text_encoder_2"));
    let name = "t5-v1_1-xxl-encoder-f32.gguf";
    write(
        &scene,
        name,
        &t5,
        Encoding::F32,
        &[architecture("t5encoder")],
    );
    let complaint = scene.complaint();
    assert!(complaint.contains("T5's tokenizer"), "{complaint}");
    write(&scene, name, &t5, Encoding::F32, &vocabulary(&scene));
    assert!(scene.draw() == expected);
    let mut broken = vocabulary(&scene);
    broken[3] = ("tokenizer.ggml.scores", GgufValue::F32s(vec![0.0]));
    write(&scene, name, &t5, Encoding::F32, &broken);
    let complaint = scene.complaint();
    assert!(
        complaint.contains("its tokenizer cannot be used"),
        "{complaint}"
    );
    scene.say(json!({}));
}
