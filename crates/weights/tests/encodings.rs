//! Every encoding is decoded to the bits that the `gguf` package and torch decode it to, in files that
//! they wrote (`tools/golden/stored_weights.py`).

use std::path::{Path, PathBuf};

use tintype_compute::Tensor;
use tintype_weights::{Encoding, Format, Kind, Naming, Part, Value, Weights};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(name)
}

fn open(name: &str) -> Weights {
    Weights::open(&golden(name)).expect("the golden file opens")
}

/// Numbers agree to the bit; what is none is none in both.
fn assert_same(name: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.shape(), expected.shape(), "{name}");
    let pairs = found.data().iter().zip(expected.data());
    for (index, (found, expected)) in pairs.enumerate() {
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(same, "{name}: value {index} is {found}, not {expected}");
    }
}

/// The names and shapes of the tensors that have a `.values` beside them.
fn cases(weights: &Weights) -> Vec<(String, Vec<usize>)> {
    let stored = weights.stored();
    let values = stored.filter_map(|(name, tensor)| {
        let name = name.strip_suffix(".values")?;
        Some((name.to_owned(), tensor.shape.clone()))
    });
    values.collect()
}

#[test]
fn blocks_are_decoded_as_the_gguf_package_does_it() {
    let mut weights = open("encodings.gguf");
    let mut seen = Vec::new();
    for (name, shape) in cases(&weights) {
        let kind = weights.stored().find(|(stored, _)| *stored == name);
        let Some(Kind::Encoded(encoding)) = kind.map(|(_, tensor)| tensor.kind.clone()) else {
            panic!("{name} is not understood")
        };
        assert_eq!(encoding.name(), name);
        seen.push(encoding);
        let found = weights.take(&name, &shape).expect("is there");
        let expected = weights.take(&format!("{name}.values"), &shape);
        assert_same(&name, &found, &expected.expect("is there"));
    }
    weights.finish().expect("nothing is left");
    seen.extend([Encoding::F32, Encoding::F8E4m3, Encoding::F8E5m2]);
    seen.sort();
    assert_eq!(seen, Encoding::ALL);
}

#[test]
fn rows_of_blocks_are_those_of_the_whole() {
    let whole = open("encodings.gguf");
    for (name, _) in cases(&whole)
        .into_iter()
        .filter(|(_, shape)| shape[0] == 24)
    {
        let stored = name.clone();
        let rows = Naming::new("rows", move |asked| match asked {
            "middle" => vec![Part::of_rows(&stored, 20..22), Part::of_rows(&stored, 7..8)],
            other => vec![Part::whole(other)],
        });
        let mut weights = open("encodings.gguf").named(rows);
        let found = weights.take("middle", &[3, 256]).expect("is there");
        let values = weights.take(&format!("{name}.values"), &[24, 256]);
        let values = values.expect("is there");
        let expected = [20, 21, 7].map(|row| &values.data()[row * 256..][..256]);
        assert_same(
            &name,
            &found,
            &Tensor::from_vec([3, 256], expected.concat()),
        );
    }
}

#[test]
fn what_a_gguf_file_says_of_itself_is_read() {
    let weights = open("encodings.gguf");
    let file = weights.files().next().expect("one file");
    assert_eq!(file.format, Format::Gguf);
    let metadata = file.metadata;
    assert_eq!(metadata.text("general.architecture"), Some("golden"));
    assert_eq!(metadata.unsigned("a.number"), Some(7));
    assert!(matches!(
        metadata.get("a.negative"),
        Some(Value::Signed(-7))
    ));
    assert_eq!(metadata.float("a.half"), Some(0.5));
    assert!(matches!(metadata.get("a.bool"), Some(Value::Bool(true))));
    assert_eq!(metadata.text("a.text"), Some("naïve 漢字"));
    let tokens = metadata.array("tokenizer.ggml.tokens").expect("is there");
    assert_eq!(tokens.texts(), Some(vec!["<pad>", "▁a", "🙂"]));
    let scores = metadata.array("tokenizer.ggml.scores").expect("is there");
    let scores: Vec<_> = scores.iter().filter_map(|score| score.as_float()).collect();
    assert_eq!(scores, [0.0, -1.5, 2.25]);
}

/// Under which a weight comes with its scale.
fn with_scales() -> Naming {
    Naming::new("with scales", |name| {
        let part = Part::whole(name);
        vec![match name.ends_with(".values") {
            true => part,
            false => part.scaled_by(format!("{name}.weight_scale")),
        }]
    })
}

#[test]
fn eight_bit_floats_are_decoded_as_torch_does_it() {
    let mut weights = open("float8.safetensors").named(with_scales());
    let file = weights.files().next().expect("one file");
    let said = file.metadata.text("_quantization_metadata");
    assert_eq!(said, Some(r#"{"format_version": "1.0"}"#));
    let cases = cases(&weights);
    assert_eq!(cases.len(), 4);
    for (name, shape) in cases {
        let found = weights.take(&name, &shape).expect("is there");
        let expected = weights.take(&format!("{name}.values"), &shape);
        assert_same(&name, &found, &expected.expect("is there"));
    }
    weights.finish().expect("nothing is left");
}
