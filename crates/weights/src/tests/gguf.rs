//! GGUF files, names, row ranges and scales.

use std::fs;

use safetensors::Dtype;
use tintype_compute::Encoding;

use super::{f32s, folder, write};
use crate::{
    Error, Format, Kind, Naming, Part, Weights,
    test_support::{GgufValue, gguf},
};

/// A block of Q8_0: the scale 0.5, and the numbers from `first` on.
fn q8_0(first: i8) -> Vec<u8> {
    let numbers = (first..).take(32).map(i8::cast_unsigned);
    [0x00, 0x38].into_iter().chain(numbers).collect()
}

fn open(bytes: &[u8]) -> Result<Weights, Error> {
    let folder = folder();
    let path = folder.path().join("no ending");
    fs::write(&path, bytes).expect("writable");
    Weights::open(&path)
}

#[test]
fn a_file_of_gguf_is_known_by_its_content() {
    let blocks = [q8_0(0), q8_0(-32)].concat();
    let numbers = f32s(&[1.0, -2.0]);
    let keys = [
        ("general.architecture", GgufValue::Text("flux".to_owned())),
        ("qwen3.block_count", GgufValue::U32(28)),
        ("eps", GgufValue::F32(0.5)),
        ("add_bos", GgufValue::Bool(true)),
        (
            "tokenizer.ggml.tokens",
            GgufValue::Texts(["<s>", "ä"].map(str::to_owned).to_vec()),
        ),
        ("types", GgufValue::I32s(vec![1, -3])),
        ("scores", GgufValue::F32s(vec![0.25])),
    ];
    let tensors: [(&str, &[usize], _, &[u8]); 2] = [
        ("proj.weight", &[2, 32], Encoding::Q8_0, &blocks),
        ("proj.bias", &[2], Encoding::F32, &numbers),
    ];
    let mut weights = open(&gguf(&keys, &tensors)).expect("opens");
    let stored: Vec<_> = weights.stored().collect();
    assert_eq!(stored[1].0, "proj.weight");
    assert_eq!(stored[1].1.kind, Kind::Encoded(Encoding::Q8_0));
    let file = weights.files().next().expect("one file");
    assert_eq!(file.format, Format::Gguf);
    let metadata = file.metadata;
    assert_eq!(metadata.text("general.architecture"), Some("flux"));
    assert_eq!(metadata.unsigned("qwen3.block_count"), Some(28));
    assert_eq!(metadata.float("eps"), Some(0.5));
    assert_eq!(metadata.text("eps"), None);
    let tokens = metadata.array("tokenizer.ggml.tokens").expect("is there");
    assert_eq!(tokens.texts(), Some(vec!["<s>", "ä"]));
    let types = metadata.array("types").expect("is there");
    let types: Vec<_> = types.iter().map(|value| value.as_float()).collect();
    assert_eq!(types, [Some(1.0), Some(-3.0)]);
    assert_eq!(metadata.keys().count(), keys.len());

    let weight = weights.take("proj.weight", &[2, 32]).expect("is there");
    assert_eq!(weight.data()[..3], [0.0, 0.5, 1.0]);
    assert_eq!(weight.data()[32], -16.0);
    let bias = weights.take("proj.bias", &[2]).expect("is there");
    assert_eq!(bias.data(), [1.0, -2.0]);
    weights.finish().expect("nothing is left");
}

/// `qkv` of three rows is `q`, `k` and `v`; `swapped` is its rows 2 and 0.
fn naming() -> Naming {
    Naming::new("test", |name| match name {
        "q" => vec![Part::of_rows("qkv", 0..1).scaled_by("qkv.scale")],
        "k" => vec![Part::of_rows("qkv", 1..2).scaled_by("qkv.scale")],
        "v" => vec![Part::of_rows("qkv", 2..3).scaled_by("qkv.scale")],
        "swapped" => vec![Part::of_rows("qkv", 2..3), Part::of_rows("qkv", 0..1)],
        "beyond" => vec![Part::of_rows("qkv", 2..4)],
        "whole" => vec![Part::whole("qkv")],
        "linear" => vec![Part::whole("conv")],
        "unscaled" => vec![Part::whole("conv").scaled_by("nowhere")],
        "table" => vec![Part::of_rows("qkv", 1..3)],
        _ => Vec::new(),
    })
}

#[test]
fn rows_of_a_stored_tensor_are_taken_by_other_names() {
    let blocks: Vec<u8> = [0, 10, 20].into_iter().flat_map(q8_0).collect();
    let file = |blocks: &[u8]| {
        let tensors: [(&str, &[usize], _, &[u8]); 3] = [
            ("qkv", &[3, 32], Encoding::Q8_0, blocks),
            ("qkv.scale", &[], Encoding::F32, &f32s(&[2.0])),
            ("conv", &[1, 2, 1, 1], Encoding::F32, &f32s(&[7.0, 8.0])),
        ];
        open(&gguf(&[], &tensors)).expect("opens").named(naming())
    };
    let mut weights = file(&blocks);
    for (name, first) in [("k", 10.0), ("q", 0.0)] {
        assert!(weights.contains(name));
        let row = weights.take(name, &[1, 32]).expect("is there");
        assert_eq!(row.data()[..2], [first, first + 1.0], "{name}");
        assert!(!weights.contains(name), "{name} is taken");
    }
    assert!(!weights.contains("whole"), "a part of it is taken");
    let linear = weights.take("linear", &[1, 2]).expect("ones at the end");
    assert_eq!(linear.data(), [7.0, 8.0]);
    let error = weights.finish().expect_err("v is left").to_string();
    assert!(error.contains("`qkv, rows 2 to 3`"), "{error}");
    assert!(error.contains("1 such in all"), "{error}");

    let mut weights = file(&blocks);
    let rows = weights.take("swapped", &[2, 32]).expect("is there");
    assert_eq!(rows.data()[0], 10.0);
    assert_eq!(rows.data()[32], 0.0);
    let twice = weights
        .take("q", &[1, 32])
        .expect_err("is taken")
        .to_string();
    assert!(twice.contains("no tensor `qkv` for `q`"), "{twice}");

    let mut weights = file(&blocks);
    let table = weights.table("table", [2, 32]).expect("is there");
    let rows = table.look_up(&tintype_compute::ReferenceDevice, &[1]);
    assert_eq!(rows.data()[0], 10.0);

    let cases: [(&str, &[usize], &str); 6] = [
        ("q", &[1, 31], "`qkv` has shape [1, 32]"),
        ("swapped", &[3, 32], "`qkv` has shape [2, 32]"),
        ("beyond", &[2, 32], "`qkv` has shape [3, 32]"),
        ("nothing", &[1], "no tensor `nothing`"),
        ("unscaled", &[1, 2], "no tensor `nowhere` for `unscaled`"),
        ("linear", &[2, 1], "`conv` has shape [1, 2, 1, 1]"),
    ];
    for (name, shape, expected) in cases {
        let error = file(&blocks).take(name, shape).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn fp8_and_its_scale_are_read_from_safetensors() {
    let folder = folder();
    let path = folder.path().join("flux1-fp8.safetensors");
    let bytes = vec![0x38, 0xb9, 0x01, 0x7e]; // 1, -1.125, 2⁻⁹, 448
    write(
        &path,
        &[
            ("w", Dtype::F8_E4M3, &[2, 2], bytes),
            ("w_scale", Dtype::F32, &[1], f32s(&[0.5])),
            ("steps", Dtype::I64, &[], vec![0; 8]),
        ],
    );
    let weights = Weights::open(folder.path()).expect("a folder of one file");
    let mut weights = weights.named(Naming::new("scaled", |name| {
        vec![Part::whole(name).scaled_by(format!("{name}_scale"))]
    }));
    let tensor = weights.take("w", &[2, 2]).expect("is there");
    assert_eq!(tensor.data(), [0.5, -0.5625, 0.000_976_562_5, 224.0]);
    let kinds: Vec<_> = weights
        .stored()
        .map(|(_, tensor)| tensor.kind.name())
        .collect();
    assert_eq!(kinds, ["I64", "F8_E4M3", "F32"]);
    weights.discard_stored("steps");
    weights.finish().expect("nothing is left");
}
