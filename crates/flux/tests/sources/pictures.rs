//! The same picture, to the bit, however the weights are packaged.

use serde_json::json;
use tintype_flux::pipeline::Kind;

use super::maker;
use super::scene::{Scene, draw, golden, open};

#[test]
fn separate_files_draw_what_the_folder_draws() {
    // Stored as f32, bf16 and f16.
    for case in ["schnell", "dev", "kontext"] {
        let scene = Scene::of_separate_files(case);
        assert!(scene.draw() == scene.draw_golden(), "{case}");
    }
}

#[test]
fn a_file_says_which_model_it_is() {
    let defaults = |scene: &Scene| {
        let pipeline = scene.open().expect("a model");
        let settings = pipeline.settings();
        (settings.kind, settings.steps, settings.guidance)
    };
    assert_eq!(
        defaults(&Scene::of_separate_files("schnell")),
        (Kind::Text, 4, 3.5)
    );
    assert_eq!(
        defaults(&Scene::of_separate_files("dev")),
        (Kind::Text, 28, 3.5)
    );
    assert_eq!(
        defaults(&Scene::of_separate_files("kontext")),
        (Kind::Kontext, 28, 2.5)
    );
    let renamed = Scene::of_separate_files("dev");
    let file = renamed.path("flux1-dev.safetensors");
    std::fs::rename(&file, renamed.path("FLUX1-Krea-dev_Q8.safetensors")).expect("is there");
    assert_eq!(defaults(&renamed), (Kind::Text, 28, 4.5));
    // What a person says counts more than what the file is called.
    renamed.say(json!({"kind": "kontext"}));
    assert_eq!(defaults(&renamed), (Kind::Kontext, 28, 2.5));
    // And what the file says of itself.
    let scene = Scene::of_separate_files("dev");
    let transformer = maker::original_transformer(&scene.part("transformer"));
    scene.remove("flux1-dev.safetensors");
    let said = [("modelspec.title", "FLUX.1 Kontext [dev]")];
    transformer.write_with(&scene.path("unnamed.safetensors"), &said);
    assert_eq!(defaults(&scene), (Kind::Kontext, 28, 2.5));
}

#[test]
fn prefixes_and_diffusers_names_in_single_files_make_no_difference() {
    let scene = Scene::of_separate_files("dev");
    let expected = scene.draw();
    let file = scene.path("flux1-dev.safetensors");
    let transformer = maker::original_transformer(&scene.part("transformer"));
    transformer.prefixed("model.diffusion_model.").write(&file);
    assert!(scene.draw() == expected, "with ComfyUI's prefix");
    maker::Tensors::of_folder(&scene.part("transformer")).write(&file);
    maker::Tensors::of_folder(&scene.part("vae")).write(&scene.path("ae.safetensors"));
    assert!(scene.draw() == expected, "in diffusers' names");
}

#[test]
fn a_checkpoint_of_everything_is_a_model_but_for_its_tokenizers() {
    let scene = Scene::of("kontext");
    let everything = maker::original_transformer(&scene.part("transformer"))
        .prefixed("model.diffusion_model.")
        .joined(maker::original_vae(&scene.part("vae")).prefixed("vae."))
        .joined(scene.clip().prefixed("text_encoders.clip_l.transformer."))
        .joined(scene.t5().prefixed("text_encoders.t5xxl.transformer."));
    let file = scene.path("flux1-kontext-all.safetensors");
    everything.write(&file);
    scene.say(json!({}));
    let complaint = scene.complaint();
    assert!(complaint.contains("CLIP's tokenizer"), "{complaint}");
    assert!(complaint.contains("T5's tokenizer"), "{complaint}");
    scene.add_tokenizers();
    let expected = scene.draw_golden();
    assert!(scene.draw() == expected);
    let by_file = open(&file).expect("a model");
    assert!(draw(&by_file) == expected, "by the file's own path");
}

#[test]
fn files_may_lie_elsewhere_and_be_shared() {
    let shared = Scene::of_separate_files("dev");
    let model = Scene::of("dev");
    let transformer = maker::original_transformer(&model.part("transformer"));
    std::fs::create_dir(model.path("deep")).expect("a folder");
    transformer.write(&model.path("deep/any-name.safetensors"));
    model.say(json!({"files": {
        "transformer": "deep/any-name.safetensors",
        "vae": golden("dev").join("vae"),
        "text_encoder": shared.path("clip_l.safetensors"),
        "text_encoder_2": shared.path("t5xxl_fp16.safetensors"),
    }}));
    // The tokenizers lie beside the text encoders.
    assert!(model.draw() == shared.draw());
}

#[test]
fn the_folders_of_a_diffusers_model_complete_a_single_file() {
    let scene = Scene::of("kontext");
    let transformer = maker::original_transformer(&scene.part("transformer"));
    transformer.write(&scene.path("flux1-kontext-dev.safetensors"));
    for component in ["vae", "text_encoder", "text_encoder_2"] {
        std::os::unix::fs::symlink(scene.part(component), scene.path(component)).expect("a link");
    }
    scene.add_tokenizers();
    scene.say(json!({}));
    assert!(scene.draw() == scene.draw_golden());
}

#[test]
fn of_several_text_encoders_the_one_that_fits_is_taken() {
    let scene = Scene::of_separate_files("dev");
    let expected = scene.draw();
    let other = Scene::of_separate_files("kontext");
    std::fs::copy(
        other.path("clip_l.safetensors"),
        scene.path("clip_g.safetensors"),
    )
    .expect("a copy");
    assert!(scene.draw() == expected);
}
