//! What `tintype model inspect` tells.

use tintype_flux::sources::{Component, Inspection};

use super::maker;
use super::scene::{Scene, golden};

#[test]
fn a_model_of_single_files_is_told_with_its_memory() {
    let scene = Scene::of_separate_files("dev");
    let found = Inspection::of(scene.folder.path()).expect("a model");
    assert_eq!(found.what, "FLUX.1 [dev]");
    assert!(
        found.lacks.is_empty() && found.trouble.is_none(),
        "{found:?}"
    );
    let components: Vec<_> = found.parts.iter().map(|part| part.component).collect();
    assert_eq!(components, Component::ALL);
    let transformer = &found.parts[0];
    assert_eq!(transformer.path, scene.path("flux1-dev.safetensors"));
    assert_eq!(transformer.formats.len(), 1);
    assert_eq!(transformer.formats[0].0.to_lowercase(), "bf16");
    assert_eq!(transformer.size_bytes, 2 * transformer.parameters);
    let memory: Vec<_> = found
        .memory
        .iter()
        .map(|used| (used.device, used.weights))
        .collect();
    assert_eq!(
        memory,
        [
            ("cpu", "exact"),
            ("cpu", "bf16"),
            ("cpu", "int8"),
            ("reference", "exact")
        ]
    );
    for used in &found.memory {
        assert!(
            used.weights_bytes > 0 && used.least_bytes <= used.peak_bytes,
            "{used:?}"
        );
    }
    assert!(found.memory[2].weights_bytes < found.memory[0].weights_bytes);
    let by_file = Inspection::of(&scene.path("flux1-dev.safetensors")).expect("a model");
    assert!(by_file.lacks.is_empty());
}

#[test]
fn what_is_lacking_or_broken_is_told() {
    let scene = Scene::of_separate_files("kontext");
    scene.remove("ae.safetensors");
    let found = Inspection::of(scene.folder.path()).expect("most of a model");
    assert_eq!(found.what, "FLUX.1 Kontext [dev]");
    assert!(found.memory.is_empty());
    assert_eq!(found.lacks.len(), 1, "{found:?}");
    assert!(found.lacks[0].contains("VAE"), "{found:?}");

    let mut vae = maker::original_vae(&scene.part("vae"));
    vae.0.remove("decoder.conv_in.bias");
    vae.write(&scene.path("ae.safetensors"));
    let found = Inspection::of(scene.folder.path()).expect("a model");
    let trouble = found.trouble.expect("a tensor is missing");
    assert!(trouble.contains("decoder.conv_in.bias"), "{trouble}");

    let found = Inspection::of(&scene.path("clip_l.safetensors")).expect("a part");
    assert_eq!(found.what, "a CLIP-L text encoder");
    assert_eq!(found.parts.len(), 1);
    assert!(!found.lacks.is_empty());
    std::fs::write(scene.path("page.safetensors"), "<html>").expect("a file");
    let error = Inspection::of(&scene.path("page.safetensors")).expect_err("a page");
    assert!(error.to_string().contains("page of the web"), "{error}");
}

#[test]
fn a_diffusers_folder_is_told_as_well() {
    let found = Inspection::of(&golden("kontext")).expect("a model");
    assert!(found.what.contains("edits pictures"), "{}", found.what);
    assert_eq!(found.parts.len(), 4);
    assert_eq!(found.memory.len(), 4, "{found:?}");
}
