//! `tintype model inspect`: what a file or folder is, as a person reads it.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tintype_flux::weights::Encoding;
use tintype_flux::weights::test_support::{GgufValue, gguf};

use crate::server::{Place, tintype};

fn golden(inside: &str) -> PathBuf {
    let flux = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flux");
    flux.join("tests/golden").join(inside)
}

fn inspect(place: &Place, arguments: &[&str]) -> Output {
    let mut command = tintype(place.path());
    command
        .args(["model", "inspect"])
        .args(arguments)
        .env("TINTYPE_DATA", place.data());
    command.output().expect("the program starts")
}

fn told(place: &Place, what: &Path) -> String {
    let output = inspect(place, &[what.to_str().expect("UTF-8")]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn refused(place: &Place, what: &Path) -> String {
    let output = inspect(place, &[what.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(errors.lines().count(), 1, "one sentence: {errors}");
    errors
}

#[test]
fn the_bundled_model_and_a_folder_are_told_with_their_memory() {
    let place = Place::new();
    let nano = told(&place, Path::new("nano"));
    for part in [
        "It is the model nano inside the program",
        "transformer",
        "CLIP-L text encoder",
        "ONE PART AT A TIME",
        "MiB",
    ] {
        assert!(nano.contains(part), "{nano}");
    }
    assert!(!nano.contains("0.00"), "{nano}");
    let folder = told(&place, &golden("kontext/model"));
    let what = "It is a diffusers folder that draws from text and edits pictures.";
    assert!(folder.contains(what), "{folder}");
    assert!(folder.contains("int8"), "{folder}");

    let json = inspect(&place, &["nano", "--json"]).stdout;
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    let parts = json["parts"].as_array().expect("parts");
    assert_eq!(parts.len(), 4);
    let parameters = parts.iter().filter_map(|part| part["parameters"].as_u64());
    assert!(parameters.sum::<u64>() > 1_000_000, "{json}");
    assert!(json["memory"][0]["peak_bytes"].as_u64() > json["memory"][0]["weights_bytes"].as_u64());
}

/// Two tensors by which a transformer in the makers' names is known, in as many files.
fn transformer_in_parts(folder: &Path) -> [PathBuf; 2] {
    let values = [0_u8; 4 * 6];
    let tensors = ["double_blocks.0.img_attn.qkv.weight", "img_in.weight"];
    let mut number = 0;
    tensors.map(|tensor| {
        let keys = [
            ("split.no", GgufValue::U32(number)),
            ("split.count", GgufValue::U32(2)),
            ("split.tensors.count", GgufValue::U32(2)),
        ];
        number += 1;
        let path = folder.join(format!("flux1-dev-Q8_0-{number:05}-of-00002.gguf"));
        let file = gguf(&keys, &[(tensor, &[2, 3], Encoding::F32, &values)]);
        std::fs::write(&path, file).expect("written");
        path
    })
}

#[test]
fn single_files_are_told_with_what_they_lack() {
    let place = Place::new();
    let file = golden("schnell/model/vae/diffusion_pytorch_model.safetensors");
    let vae = told(&place, &file);
    assert!(vae.contains("It is a VAE."), "{vae}");
    assert!(
        vae.contains("a transformer and the rest of a model"),
        "{vae}"
    );
    let [first, second] = transformer_in_parts(place.path());
    for path in [&first, &second] {
        let both = told(&place, path);
        assert!(both.contains("It is FLUX.1"), "{both}");
        assert!(both.contains("It lacks:\n- the VAE"), "{both}");
    }
    std::fs::remove_file(&second).expect("is there");
    let missing = refused(&place, &first);
    assert!(
        missing.contains("flux1-dev-Q8_0-00002-of-00002.gguf is missing"),
        "{missing}"
    );
}

#[test]
fn what_is_broken_or_nowhere_is_one_sentence() {
    let place = Place::new();
    let whole = golden("schnell/model/transformer/diffusion_pytorch_model.safetensors");
    let whole = std::fs::read(whole).expect("a golden file");
    let half = place.path().join("half.safetensors");
    std::fs::write(&half, &whole[..whole.len() / 2]).expect("written");
    let broken = refused(&place, &half);
    assert!(
        broken.contains("half.safetensors") && broken.contains("damaged"),
        "{broken}"
    );
    let pickle = place.path().join("flux.gguf");
    std::fs::write(&pickle, b"PK\x03\x04 and so on").expect("written");
    let pickle = refused(&place, &pickle);
    assert!(pickle.contains("convert it to safetensors"), "{pickle}");
    let nowhere = refused(&place, Path::new("flux-dve"));
    assert!(
        nowhere.contains("did you mean") && nowhere.contains("flux-dev"),
        "{nowhere}"
    );
}
