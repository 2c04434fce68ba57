//! A golden model taken apart into single files, and what is drawn with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use serde_json::{Value, json};
use tempfile::TempDir;
use tintype_compute::CpuDevice;
use tintype_flux::pipeline::{Error, Item, ModelFiles, Pipeline, Request};
use tintype_flux::size::Size;

use super::maker::{self, Tensors};

/// The diffusers folder of a golden case.
pub fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(case)
        .join("model")
}

/// A folder in which a model is put together.
pub struct Scene {
    pub folder: TempDir,
    pub model: PathBuf,
}

impl Scene {
    /// An empty folder.
    pub fn of(case: &str) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            model: golden(case),
        }
    }

    /// Transformer, autoencoder and text encoders as separate files with the names that people know, and
    /// both tokenizers.
    pub fn of_separate_files(case: &str) -> Self {
        let scene = Self::of(case);
        let transformer = maker::original_transformer(&scene.part("transformer"));
        transformer.write(&scene.path(&format!("flux1-{case}.safetensors")));
        maker::original_vae(&scene.part("vae")).write(&scene.path("ae.safetensors"));
        scene.clip().write(&scene.path("clip_l.safetensors"));
        scene.t5().write(&scene.path("t5xxl_fp16.safetensors"));
        scene.add_tokenizers();
        scene.say(json!({}));
        scene
    }

    /// A file or folder of this scene.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A part of the golden model.
    pub fn part(&self, name: &str) -> PathBuf {
        self.model.join(name)
    }

    /// CLIP as ComfyUI's file has it: with what FLUX does not use.
    pub fn clip(&self) -> Tensors {
        let mut clip = Tensors::of_folder(&self.part("text_encoder"));
        if clip.0.contains_key("embeddings.token_embedding.weight") {
            clip = clip.prefixed("text_model.");
        }
        let unused = clip.0.values().next().expect("a tensor").clone();
        clip.0.insert("logit_scale".to_owned(), unused.clone());
        clip.0.insert("text_projection.weight".to_owned(), unused);
        clip
    }

    pub fn t5(&self) -> Tensors {
        Tensors::of_folder(&self.part("text_encoder_2"))
    }

    pub fn add_tokenizers(&self) {
        for name in ["tokenizer", "tokenizer_2"] {
            self.add_tokenizer(name);
        }
    }

    pub fn add_tokenizer(&self, name: &str) {
        std::fs::create_dir(self.path(name)).expect("a folder");
        for entry in std::fs::read_dir(self.part(name)).expect("a tokenizer") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), self.path(name).join(entry.file_name())).expect("a copy");
        }
    }

    /// Writes the `tintype.json`: the golden model's own, what a tiny model has otherwise than FLUX.1, and
    /// `more`.
    pub fn say(&self, more: Value) {
        let mut said = read_json(&self.part("tintype.json"));
        let geometry = [
            ("transformer", &["axes_dims_rope"][..]),
            ("vae", &["norm_num_groups"][..]),
            ("text_encoder", &["num_attention_heads", "hidden_act"][..]),
            ("text_encoder_2", &["relative_attention_max_distance"][..]),
        ];
        for (component, keys) in geometry {
            let config = read_json(&self.part(component).join("config.json"));
            for key in keys {
                said["config"][component][key] = config[key].clone();
            }
        }
        for (key, value) in more.as_object().expect("an object") {
            said[key] = value.clone();
        }
        std::fs::write(self.path("tintype.json"), said.to_string()).expect("a writable folder");
    }

    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        match path.is_dir() {
            true => std::fs::remove_dir_all(path),
            false => std::fs::remove_file(path),
        }
        .expect("is there");
    }

    pub fn open(&self) -> Result<Pipeline, Error> {
        open(self.folder.path())
    }

    /// What is drawn with this model.
    pub fn draw(&self) -> Vec<RgbImage> {
        draw(
            &self
                .open()
                .unwrap_or_else(|error| panic!("{error}: {}", causes(&error))),
        )
    }

    /// What is drawn with the golden model itself.
    pub fn draw_golden(&self) -> Vec<RgbImage> {
        draw(&open(&self.model).expect("the golden model"))
    }

    /// The whole error of a model that cannot be opened.
    pub fn complaint(&self) -> String {
        complaint(self.open())
    }
}

pub fn complaint(opened: Result<Pipeline, Error>) -> String {
    let error = opened
        .map(|_| ())
        .expect_err("a model that cannot be opened");
    format!("{error}: {}", causes(&error))
}

fn causes(error: &Error) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!("{error}; ");
        source = error.source();
    }
    text
}

/// In f32: tiles round what they multiply, and they multiply only what is kept as bf16.
pub fn open(path: &Path) -> Result<Pipeline, Error> {
    let device = CpuDevice::in_f32(1);
    Pipeline::open(&ModelFiles::open(path)?, Arc::new(device))
}

/// A picture from a prompt and, with a model that can, an edit.
pub fn draw(pipeline: &Pipeline) -> Vec<RgbImage> {
    let reference = match pipeline.settings().kind {
        tintype_flux::pipeline::Kind::Kontext => Some(RgbImage::from_fn(48, 48, |x, y| {
            image::Rgb([(5 * x) as u8, (5 * y) as u8, 99])
        })),
        tintype_flux::pipeline::Kind::Text => None,
    };
    let item = Item {
        prompt: "a red circle left of a blue square".to_owned(),
        seed: 7,
        references: reference.into_iter().collect(),
        start: None,
    };
    let request = Request {
        items: vec![item],
        steps: Some(2),
        ..Request::new("", 0, Size::new(48, 48))
    };
    let mut run = pipeline.start(&request).expect("a good request");
    while !run.is_done() {
        run.step().expect("finite numbers");
    }
    run.finish().expect("all steps are done").pictures
}

pub fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}
