//! One clear sentence where a person gave the wrong file, or too few.

use serde_json::json;

use super::maker::{self, Tensors};
use super::scene::{Scene, complaint, open};

#[track_caller]
fn says(complaint: &str, pieces: &[&str]) {
    for piece in pieces {
        assert!(
            complaint.contains(piece),
            "`{piece}` is not in: {complaint}"
        );
    }
}

#[test]
fn everything_that_is_lacking_is_said_at_once() {
    let scene = Scene::of_separate_files("dev");
    for name in ["ae.safetensors", "t5xxl_fp16.safetensors", "tokenizer"] {
        scene.remove(name);
    }
    says(
        &scene.complaint(),
        &[
            "lacks",
            "the VAE (such as ae.safetensors)",
            "T5-XXL text encoder",
            "CLIP's tokenizer",
            "tintype.json",
        ],
    );
    let by_file = complaint(open(&scene.path("flux1-dev.safetensors")));
    says(
        &by_file,
        &["flux1-dev.safetensors is incomplete", "the VAE"],
    );
    let empty = Scene::of("dev");
    says(&empty.complaint(), &["is not a model", "ae.safetensors"]);
}

#[test]
fn a_missing_or_surplus_tensor_is_named_as_the_file_names_it() {
    let scene = Scene::of_separate_files("dev");
    let file = scene.path("flux1-dev.safetensors");
    let whole = maker::original_transformer(&scene.part("transformer"));
    let mut lacking = whole.clone();
    lacking.0.remove("single_blocks.1.linear1.weight");
    lacking.write(&file);
    says(
        &scene.complaint(),
        &[
            "single_blocks.1.linear1.weight",
            "single_transformer_blocks.1.attn.to_q.weight",
            "transformer",
        ],
    );
    let mut surplus = whole.clone();
    let extra = surplus.0["img_in.bias"].clone();
    surplus
        .0
        .insert("double_blocks.0.img_attn.extra".to_owned(), extra);
    surplus.write(&file);
    says(
        &scene.complaint(),
        &["double_blocks.0.img_attn.extra", "belongs to no layer"],
    );
    let mut misshapen = whole;
    let stored = misshapen
        .0
        .get_mut("double_blocks.0.img_attn.qkv.bias")
        .expect("is there");
    stored.shape[0] -= 1;
    stored.bytes.truncate(stored.bytes.len() - 2);
    misshapen.write(&file);
    says(
        &scene.complaint(),
        &["double_blocks.0.img_attn.qkv.bias", "has shape"],
    );
    let mut vae = maker::original_vae(&scene.part("vae"));
    maker::original_transformer(&scene.part("transformer")).write(&file);
    vae.0.remove("decoder.up.3.block.0.conv1.bias");
    vae.write(&scene.path("ae.safetensors"));
    says(
        &scene.complaint(),
        &[
            "decoder.up.3.block.0.conv1.bias",
            "decoder.up_blocks.0.resnets.0.conv1.bias",
        ],
    );
}

#[test]
fn something_else_under_a_files_name_is_called_what_it_is() {
    let cases: [(&str, &[u8], &str); 4] = [
        (
            "ae.safetensors",
            b"<!DOCTYPE html><html><body>Log in</body></html>",
            "page of the web",
        ),
        (
            "ae.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "git lfs pull",
        ),
        ("t5xxl_fp16.safetensors", b"PK\x03\x04data.pkl", "pickle"),
        ("clip_l.safetensors", b"", "empty"),
    ];
    for (file, bytes, expected) in cases {
        let scene = Scene::of_separate_files("dev");
        std::fs::write(scene.path(file), bytes).expect("a writable folder");
        says(&scene.complaint(), &[file, expected, "lacks"]);
        // Said of the transformer at once: it was asked for by its path.
        let path = scene.path("flux1-dev.safetensors");
        std::fs::write(&path, bytes).expect("a writable folder");
        says(
            &complaint(open(&path)),
            &["flux1-dev.safetensors", expected],
        );
    }
}

#[test]
fn other_models_are_refused_by_name() {
    let cases = [
        (
            "model.diffusion_model.input_blocks.0.0.weight",
            "Stable Diffusion",
        ),
        (
            "joint_blocks.0.x_block.attn.qkv.weight",
            "Stable Diffusion 3",
        ),
        (
            "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight",
            "a LoRA",
        ),
        ("something.weight", "does not know"),
    ];
    for (name, expected) in cases {
        let scene = Scene::of_separate_files("dev");
        let one = maker::original_transformer(&scene.part("transformer")).0["img_in.bias"].clone();
        let path = scene.path("flux1-dev.safetensors");
        Tensors([(name.to_owned(), one)].into()).write(&path);
        says(&scene.complaint(), &["lacks: the transformer", expected]);
        says(
            &complaint(open(&path)),
            &["flux1-dev.safetensors cannot be used", expected],
        );
    }
}

#[test]
fn fill_and_depth_are_refused_by_name() {
    for (times, expected) in [(6, "FLUX.1 Fill"), (2, "FLUX.1 Canny or Depth")] {
        let scene = Scene::of_separate_files("dev");
        let mut transformer = maker::original_transformer(&scene.part("transformer"));
        let stored = transformer.0.get_mut("img_in.weight").expect("is there");
        stored.shape[1] *= times;
        stored.bytes = stored.bytes.repeat(times);
        transformer.write(&scene.path("flux1-dev.safetensors"));
        says(&scene.complaint(), &[expected, "not supported"]);
    }
}

#[test]
fn the_wrong_file_as_a_component_is_told() {
    let scene = Scene::of_separate_files("dev");
    scene.say(json!({"files": {"vae": "clip_l.safetensors"}}));
    says(
        &scene.complaint(),
        &["tintype.json", "files.vae", "CLIP-L text encoder", "no VAE"],
    );
    scene.say(json!({"files": {"vea": "ae.safetensors"}}));
    says(&scene.complaint(), &["`vea` is no part of a model", "vae"]);
    scene.say(json!({"files": {"vae": "absent.safetensors"}}));
    says(&scene.complaint(), &["absent.safetensors"]);
    scene.say(json!({"kind": "pro"}));
    says(&scene.complaint(), &["tintype.json", "kontext"]);
    // A file of its own is asked for by a transformer's path.
    says(
        &complaint(open(&scene.path("ae.safetensors"))),
        &["tintype.json"],
    );
    scene.say(json!({}));
    says(
        &complaint(open(&scene.path("ae.safetensors"))),
        &["it holds a VAE", "transformer's file"],
    );
}

#[test]
fn an_autoencoder_of_another_model_does_not_fit() {
    let scene = Scene::of_separate_files("dev");
    let other = Scene::of_separate_files("schnell");
    std::fs::copy(other.path("ae.safetensors"), scene.path("ae.safetensors")).expect("a copy");
    says(
        &scene.complaint(),
        &["do not fit together", "vae.latent_channels"],
    );
}

#[test]
fn two_transformers_are_one_too_many() {
    let scene = Scene::of_separate_files("dev");
    let file = scene.path("flux1-dev.safetensors");
    std::fs::copy(&file, scene.path("flux1-dev-copy.safetensors")).expect("a copy");
    says(
        &scene.complaint(),
        &[
            "several transformers",
            "flux1-dev-copy.safetensors",
            "files",
        ],
    );
    assert!(open(&file).is_ok(), "by its path");
    scene.say(json!({"files": {"transformer": "flux1-dev.safetensors"}}));
    assert!(scene.open().is_ok(), "by its name");
}

#[test]
fn an_edit_without_a_kontext_model_says_how_to_have_one() {
    let scene = Scene::of_separate_files("dev");
    let pipeline = scene.open().expect("a model");
    let mut request =
        tintype_flux::pipeline::Request::new("x", 1, tintype_flux::size::Size::new(48, 48));
    request.items[0].references = vec![image::RgbImage::new(48, 48)];
    let error = pipeline
        .start(&request)
        .map(|_| ())
        .expect_err("draws from text only");
    says(&error.to_string(), &["Kontext"]);
}
