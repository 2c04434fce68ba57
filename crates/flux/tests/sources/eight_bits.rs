//! Eight-bit files: the picture of the same values stored as f32.

use safetensors::Dtype;
use tintype_compute::{Encoding, StoredMatrix, StoredValues};

use super::maker::{self, Stored, Tensors};
use super::scene::Scene;

/// How eight-bit files keep their scales.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Style {
    /// Not at all: every tensor is cast, biases and norms too.
    Cast,
    /// `weight_scale` and `input_scale`, and a mark for each layer.
    WeightScale,
    /// `scale_weight`, and one mark for the file.
    ScaleWeight,
}

fn values(stored: &Stored) -> Vec<f32> {
    let encoding = match stored.dtype {
        Dtype::F32 => Encoding::F32,
        Dtype::F16 => Encoding::F16,
        Dtype::BF16 => Encoding::Bf16,
        Dtype::F8_E4M3 => Encoding::F8E4m3,
        Dtype::F8_E5M2 => Encoding::F8E5m2,
        other => panic!("{other:?}"),
    };
    let values = StoredValues::encoded(encoding, &stored.bytes);
    StoredMatrix::new(1, [values]).to_tensor().data().to_vec()
}

/// The nearest of the 256 numbers.
fn nearest(value: f32, numbers: &[f32]) -> u8 {
    let distance = |code: &u8| (numbers[usize::from(*code)] - value).abs();
    let finite = (0..=255_u8).filter(|code| numbers[usize::from(*code)].is_finite());
    finite
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
        .expect("256 numbers")
}

/// Tensors in eight bits, and the same values in f32.
fn converted(tensors: &Tensors, dtype: Dtype, style: Style) -> (Tensors, Tensors) {
    let codes: Vec<u8> = (0..=255).collect();
    let all = Stored {
        dtype,
        shape: vec![256],
        bytes: codes,
    };
    let numbers = values(&all);
    let finite = numbers.iter().filter(|number| number.is_finite());
    let most = finite.fold(0.0_f32, |most, number| most.max(*number));
    let (mut small, mut plain) = (Tensors::default(), Tensors::default());
    for (name, stored) in &tensors.0 {
        let is_matrix = stored.shape.len() == 2;
        if style != Style::Cast && !is_matrix {
            small.0.insert(name.clone(), stored.clone());
            plain.0.insert(name.clone(), stored.clone());
            continue;
        }
        let found = values(stored);
        let greatest = found
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        let scale = match style {
            Style::Cast => 1.0,
            _ => greatest / most,
        };
        let bytes: Vec<u8> = found
            .iter()
            .map(|value| nearest(value / scale, &numbers))
            .collect();
        let rounded = bytes.iter().map(|code| numbers[usize::from(*code)] * scale);
        let f32s = Stored {
            dtype: Dtype::F32,
            shape: stored.shape.clone(),
            bytes: rounded.flat_map(f32::to_le_bytes).collect(),
        };
        plain.0.insert(name.clone(), f32s);
        let eight = Stored {
            dtype,
            shape: stored.shape.clone(),
            bytes,
        };
        small.0.insert(name.clone(), eight);
        let scalar = |value: f32| Stored {
            dtype: Dtype::F32,
            shape: Vec::new(),
            bytes: value.to_le_bytes().to_vec(),
        };
        let mark = Stored {
            dtype: Dtype::U8,
            shape: vec![2],
            bytes: b"{}".to_vec(),
        };
        let module = name.strip_suffix(".weight").unwrap_or(name);
        match style {
            Style::Cast => {}
            Style::WeightScale => {
                small
                    .0
                    .insert(format!("{module}.weight_scale"), scalar(scale));
                small.0.insert(format!("{module}.input_scale"), scalar(1.0));
                small.0.insert(format!("{module}.comfy_quant"), mark);
            }
            Style::ScaleWeight => {
                small
                    .0
                    .insert(format!("{module}.scale_weight"), scalar(scale));
                small.0.insert("scaled_fp8".to_owned(), mark);
            }
        }
    }
    (small, plain)
}

#[test]
fn eight_bits_draw_what_the_same_values_draw() {
    for dtype in [Dtype::F8_E4M3, Dtype::F8_E5M2] {
        for style in [Style::Cast, Style::WeightScale, Style::ScaleWeight] {
            draws_what_the_same_values_draw(dtype, style);
        }
    }
}

fn draws_what_the_same_values_draw(dtype: Dtype, style: Style) {
    let scene = Scene::of_separate_files("schnell");
    let parts = [
        (
            maker::original_transformer(&scene.part("transformer")),
            "flux1-schnell.safetensors",
        ),
        (scene.t5(), "t5xxl_fp16.safetensors"),
    ];
    let parts = parts.map(|(tensors, file)| (converted(&tensors, dtype, style), scene.path(file)));
    for ((_, plain), path) in &parts {
        plain.write(path);
    }
    let expected = scene.draw();
    assert!(
        expected != scene.draw_golden(),
        "eight bits are not the whole"
    );
    for ((small, _), path) in &parts {
        let layers = [(
            "_quantization_metadata",
            r#"{"format_version":"1.0","layers":{}}"#,
        )];
        small.write_with(path, &layers);
    }
    assert!(scene.draw() == expected, "{dtype:?} {style:?}");
}
