//! Folders and files, good and bad.

use std::{collections::HashMap, fs, path::Path};

use safetensors::{Dtype, tensor::TensorView};

use tintype_compute::Tensor;

use super::{Error, Weights};

mod gguf;
mod hostile;

fn write(path: &Path, tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.to_vec(), bytes).expect("a valid tensor");
        (*name, view)
    });
    let bytes = safetensors::serialize(views, None::<HashMap<String, String>>).expect("serialises");
    fs::write(path, bytes).expect("the temporary folder is writable");
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn f32_f16_and_bf16_are_read_as_f32() {
    let folder = folder();
    let half: Vec<u8> = [0x00, 0x3c, 0x00, 0xc0].to_vec(); // 1, -2 as f16
    let brain: Vec<u8> = [0x80, 0x3f, 0x00, 0xc0].to_vec(); // 1, -2 as bf16
    write(
        &folder.path().join("model.safetensors"),
        &[
            ("a", Dtype::F32, &[2], f32s(&[1.0, -2.0])),
            ("b", Dtype::F16, &[1, 2], half),
            ("c", Dtype::BF16, &[2, 1], brain),
        ],
    );
    let mut weights = Weights::open(folder.path()).expect("opens");
    for (name, shape) in [("a", vec![2]), ("b", vec![1, 2]), ("c", vec![2, 1])] {
        let tensor = weights.take(name, &shape).expect("is there");
        assert_eq!(tensor.data(), [1.0, -2.0], "{name}");
    }
    weights.finish().expect("nothing is left");
}

#[test]
fn shards_are_joined_by_their_index() {
    let folder = folder();
    let shard = |n| {
        folder
            .path()
            .join(format!("model-0000{n}-of-00002.safetensors"))
    };
    write(&shard(1), &[("a", Dtype::F32, &[1], f32s(&[1.0]))]);
    write(&shard(2), &[("b", Dtype::F32, &[1], f32s(&[2.0]))]);
    let error = Weights::open(folder.path()).err().expect("no index yet");
    assert!(matches!(error, Error::Files { found: 2, .. }), "{error}");

    let index = r#"{"metadata":{"total_size":8},"weight_map":{
        "a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    let index_path = folder.path().join("model.safetensors.index.json");
    fs::write(&index_path, index).expect("writable");
    let mut weights = Weights::open(folder.path()).expect("opens");
    assert_eq!(weights.take("b", &[1]).expect("is there").data(), [2.0]);
    assert_eq!(weights.take("a", &[1]).expect("is there").data(), [1.0]);
    weights.finish().expect("nothing is left");

    fs::write(
        &index_path,
        r#"{"weight_map":{"a":"../elsewhere.safetensors"}}"#,
    )
    .expect("writable");
    let error = Weights::open(folder.path())
        .err()
        .expect("leads out of the folder");
    assert!(
        error.to_string().contains("not a plain file name"),
        "{error}"
    );
}

#[test]
fn a_missing_surplus_or_misshapen_tensor_is_named() {
    let folder = folder();
    let file = folder.path().join("diffusion_pytorch_model.safetensors");
    write(
        &file,
        &[
            ("proj.weight", Dtype::F32, &[2, 3], f32s(&[0.0; 6])),
            ("steps", Dtype::I64, &[1], vec![0; 8]),
        ],
    );
    let mut weights = Weights::open(folder.path()).expect("opens");
    let error = weights
        .take("proj.bias", &[2])
        .expect_err("is not there")
        .to_string();
    assert!(
        error.contains("no tensor `proj.bias` (expected with shape [2])"),
        "{error}"
    );
    let error = weights
        .take("steps", &[1])
        .expect_err("is no float")
        .to_string();
    assert!(error.contains("`steps` is stored as I64"), "{error}");

    let mut weights = Weights::open(folder.path()).expect("opens");
    let error = weights
        .take("proj.weight", &[3, 2])
        .expect_err("other shape")
        .to_string();
    assert!(
        error.contains("`proj.weight` has shape [2, 3], but config.json asks for [3, 2]"),
        "{error}"
    );
    assert!(
        error.contains("diffusion_pytorch_model.safetensors"),
        "{error}"
    );

    let weights = Weights::open(folder.path()).expect("opens");
    let error = weights.finish().expect_err("nothing was taken").to_string();
    assert!(
        error.contains("`proj.weight` belongs to no layer"),
        "{error}"
    );
    assert!(error.contains("2 such in all"), "{error}");
}

#[test]
fn damaged_files_are_errors_not_panics() {
    let folder = folder();
    let file = folder.path().join("model.safetensors");
    write(&file, &[("a", Dtype::F32, &[4], f32s(&[0.0; 4]))]);
    let good = fs::read(&file).expect("readable");
    let huge_header = [&u64::MAX.to_le_bytes()[..], &good[8..]].concat();
    for bad in [
        &good[..0],
        &good[..5],
        &good[..good.len() - 1],
        &huge_header,
    ] {
        fs::write(&file, bad).expect("writable");
        let error = Weights::open(folder.path()).err().expect("is damaged");
        assert!(
            matches!(error, Error::Format { .. } | Error::Io { .. }),
            "{error}"
        );
    }
    let error = Weights::open(&folder.path().join("absent"))
        .err()
        .expect("is not there");
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn generated_weights_hold_what_is_asked_for() {
    let mut weights = Weights::generated(|name, shape| {
        let value = if name.ends_with(".bias") { 0.0 } else { 1.5 };
        Tensor::from_vec(shape, vec![value; shape.iter().product()])
    });
    assert!(!weights.contains("a.weight"), "nothing is left over");
    let tensor = weights.take("a.weight", &[2, 3]).expect("is made");
    assert_eq!(
        (tensor.shape(), tensor.data()),
        (&[2, 3][..], &[1.5; 6][..])
    );
    assert_eq!(weights.take("a.bias", &[1]).expect("is made").data(), [0.0]);
    weights.finish().expect("nothing is left");
}

#[test]
fn a_table_is_read_row_by_row_after_the_rest_is_gone() {
    let folder = folder();
    let values: Vec<f32> = (0..6_i8).map(f32::from).collect();
    let halves = [0x00, 0x3c, 0x00, 0xc0].to_vec(); // 1, -2 as f16
    write(
        &folder.path().join("model.safetensors"),
        &[
            ("table", Dtype::F32, &[3, 2], f32s(&values)),
            ("halves", Dtype::F16, &[2, 1], halves),
        ],
    );
    let mut weights = Weights::open(folder.path()).expect("opens");
    let error = weights.table("table", [2, 3]).expect_err("another shape");
    assert!(error.to_string().contains("[3, 2]"), "{error}");
    let mut weights = Weights::open(folder.path()).expect("opens");
    let table = weights.table("table", [3, 2]).expect("is there");
    let halves = weights.table("halves", [2, 1]).expect("is there");
    weights.finish().expect("nothing is left");
    table.release();
    let device = tintype_compute::ReferenceDevice;
    let rows = table.look_up(&device, &[2, 0, 2]);
    assert_eq!(rows.shape(), [1, 3, 2]);
    assert_eq!(rows.data(), [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
    assert_eq!(halves.look_up(&device, &[1]).data(), [-2.0]);
    assert_eq!(table.matrix().to_tensor().data(), values);
}
