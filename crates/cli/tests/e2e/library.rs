//! `tintype model …` against a stand-in of a hub, and models by their names everywhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tintype_library::Known;
use tintype_library::test_support::{Misbehaviour, StandInHub, noise};

use crate::server::{LOOK_AGAIN, LOOKS, Place, tintype};

const REPOSITORY: &str = "owner/model";

/// A place whose hub is the stand-in.
struct Scene {
    place: Place,
    hub: StandInHub,
}

impl Scene {
    async fn new() -> Self {
        Self {
            place: Place::new(),
            hub: StandInHub::start().await,
        }
    }

    /// A `tintype` that asks the stand-in.
    fn command(&self) -> Command {
        let mut command = tintype(self.place.path());
        for name in ["HF_TOKEN", "HF_HUB_OFFLINE", "TINTYPE_CONFIG"] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.hub.url);
        command.env("TINTYPE_DATA", self.place.data());
        command
    }

    fn model(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        let command = command.arg("model").args(arguments);
        command.output().expect("the program starts")
    }

    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.model(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            errors(&output)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.model(arguments);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{arguments:?}: {}",
            errors(&output)
        );
        errors(&output)
    }

    fn folder(&self, model: &str) -> PathBuf {
        self.place.data().join("models").join(model)
    }

    /// An operator's manifest with these files of [`REPOSITORY`].
    fn manifest(&self, model: &str, head: &str, files: &[&str]) {
        let licence = "[licence]\nname = \"Ours\"\nurl = \"https://a.example\"\nacknowledge = ";
        let mut text =
            format!("title = \"{model}\"\nrepository = \"{REPOSITORY}\"\n{head}{licence}");
        text += if head.contains("# ask") {
            "true\n"
        } else {
            "false\n"
        };
        for file in files {
            text += &format!("[[file]]\npath = \"{file}\"\n");
        }
        write_manifest(&self.folder("manifests"), model, &text);
    }

    /// A classifier that can be opened, of random weights.
    fn shelve_classifier(&self, repository: &str) {
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../vision/tests/golden/softmax/model");
        for file in files_under(&golden) {
            let bytes = std::fs::read(golden.join(&file)).expect("a file");
            self.hub.add(repository, &file, bytes);
        }
    }

    /// Every image model of the program as the bundled one under another name: it can draw.
    fn shelve_models_that_draw(&self) {
        let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nano/model");
        let files = files_under(&nano);
        for file in &files {
            let bytes = std::fs::read(nano.join(file)).expect("a file");
            self.hub.add(REPOSITORY, file, bytes);
        }
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let files: Vec<&str> = files
            .into_iter()
            .filter(|file| *file != "tintype.json")
            .collect();
        let settings = std::fs::read_to_string(nano.join("tintype.json")).expect("a file");
        let settings: Value = serde_json::from_str(&settings).expect("JSON");
        for model in Known::builtin().iter() {
            if model.kind == tintype_library::Kind::Image {
                let ask = if model.licence.acknowledge {
                    "# ask\n"
                } else {
                    ""
                };
                self.manifest(model.name.as_str(), ask, &files);
                let path = self
                    .folder("manifests")
                    .join(format!("{}.toml", model.name));
                let text = std::fs::read_to_string(&path).expect("a file");
                std::fs::write(path, text + &as_toml(&settings)).expect("a file");
            } else {
                let shelved = self.hub.shelve(model);
                if model.kind == tintype_library::Kind::Vision {
                    self.shelve_classifier(model.files[0].repository.as_str());
                }
                let text = tintype_library::test_support::unpinned_text(&shelved);
                write_manifest(&self.folder("manifests"), model.name.as_str(), &text);
            }
        }
    }
}

/// What stands in `tintype.json`, as a table of a manifest.
fn as_toml(settings: &Value) -> String {
    let settings = settings.as_object().expect("an object").iter();
    let lines: Vec<String> = settings
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    format!("[tintype]\n{}", lines.concat())
}

fn write_manifest(folder: &Path, model: &str, text: &str) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join(format!("{model}.toml")), text).expect("a file");
}

fn files_under(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            let inside = files_under(&path).into_iter();
            found.extend(inside.map(|file| format!("{name}/{file}")));
        } else {
            found.push(name);
        }
    }
    found
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_killed_goes_on_and_asks_only_for_what_is_missing() {
    let scene = Scene::new().await;
    let (bytes, sent) = (noise(1_000_000), 600_000);
    scene.hub.add(REPOSITORY, "weights.gguf", bytes.clone());
    scene.manifest("m", "", &["weights.gguf"]);
    scene
        .hub
        .misbehave(REPOSITORY, "weights.gguf", &[Misbehaviour::Stall(sent)]);
    let mut pulling = scene.command();
    let mut pulling = pulling
        .args(["model", "pull", "m"])
        .spawn()
        .expect("a process");
    let parts = scene.folder(".staging/m/parts");
    let arrived = || -> u64 {
        let entries = std::fs::read_dir(&parts).into_iter().flatten().flatten();
        let lengths = entries.filter_map(|entry| Some(entry.metadata().ok()?.len()));
        lengths.max().unwrap_or_default()
    };
    for _ in 0..LOOKS {
        if arrived() == sent as u64 {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let busy = scene.refused(&["pull", "m"]);
    assert!(
        busy.contains("another tintype works on the model m"),
        "{busy}"
    );
    pulling.kill().expect("kill -9");
    pulling.wait().expect("it ends");
    assert!(!scene.folder("m").exists(), "half a model is no model");
    scene.hub.forget();
    let output = scene.model(&["pull", "m"]);
    let told = errors(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("600.0 kB are here already"), "{told}");
    assert_eq!(scene.hub.offsets(REPOSITORY, "weights.gguf"), [sent as u64]);
    assert_eq!(
        std::fs::read(scene.folder("m/weights.gguf")).expect("a file"),
        bytes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_opens_a_gated_model_and_is_in_no_log() {
    const TOKEN: &str = "hf_nobody_may_see_this";
    let scene = Scene::new().await;
    scene.hub.add(REPOSITORY, "weights.gguf", noise(10_000));
    scene.hub.gate(REPOSITORY, TOKEN);
    scene.manifest("m", "gated = true\n", &["weights.gguf"]);
    let refused = scene.refused(&["pull", "m"]);
    assert!(
        refused.contains("HF_TOKEN") && refused.contains("accept its licence at"),
        "{refused}"
    );
    let mut command = scene.command();
    command.env("HF_TOKEN", TOKEN).env("TINTYPE_LOG", "trace");
    let output = command
        .args(["model", "pull", "m"])
        .output()
        .expect("it ends");
    let log = errors(&output);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("TRACE"), "the log is on");
    assert!(!log.contains("nobody_may_see"), "{log}");
    let elsewhere: Vec<_> = scene
        .hub
        .asked()
        .into_iter()
        .filter(|asked| asked.elsewhere)
        .collect();
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|asked| asked.authorization.is_none()));
    let record =
        std::fs::read_to_string(scene.folder("m/.tintype-library.json")).expect("a record");
    assert!(!record.contains("nobody_may_see"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_that_forbids_something_is_taken_first() {
    let scene = Scene::new().await;
    scene.hub.add(REPOSITORY, "weights.gguf", "x");
    scene.manifest("m", "# ask\n", &["weights.gguf"]);
    let refused = scene.refused(&["pull", "m"]);
    assert!(
        refused.contains("Do you accept the Ours") && refused.contains("--accept-licence"),
        "{refused}"
    );
    assert_eq!(scene.hub.asked(), [], "nothing is fetched before");
    scene.printed(&["pull", "m", "--accept-licence"]);
    assert!(
        scene.printed(&["pull", "m"]).contains("is here and whole"),
        "taken once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_is_listed_checked_mended_and_removed() {
    let scene = Scene::new().await;
    scene.hub.add(REPOSITORY, "weights.gguf", noise(10_000));
    scene.manifest("m", "kind = \"image\"\n", &["weights.gguf"]);
    assert!(scene.printed(&["pull", "m"]).contains("m is ready"));
    let list: Value =
        serde_json::from_str(&scene.printed(&["list", "--installed", "--json"])).expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    assert_eq!(list[0]["state"], "installed");
    assert_eq!(list[0]["bytes"], 10_000);
    let folder = scene.folder("m");
    assert_eq!(
        scene.printed(&["path", "m"]).trim(),
        folder.display().to_string()
    );
    assert!(scene.printed(&["verify", "m"]).contains("all 1 files"));
    std::fs::write(folder.join("weights.gguf"), "spoilt").expect("a file");
    let output = scene.model(&["verify", "m"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("weights.gguf has 6 bytes where 10000 were fetched"),
        "{told}"
    );
    assert!(errors(&output).contains("`tintype model pull m`"));
    scene.printed(&["pull", "m"]);
    assert!(scene.printed(&["verify", "m"]).contains("all 1 files"));
    let asked = scene.refused(&["remove", "m"]);
    assert!(
        asked.contains("Delete m") && asked.contains("--yes"),
        "{asked}"
    );
    assert!(folder.is_dir());
    assert!(
        scene
            .printed(&["remove", "m", "--yes"])
            .contains("m is deleted")
    );
    assert!(!folder.exists());
    assert!(
        scene
            .refused(&["path", "m"])
            .contains("tintype model pull m")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_drawn_with_by_its_name() {
    let scene = Scene::new().await;
    scene.shelve_models_that_draw();
    scene.printed(&["pull", "flux-schnell-q4"]);
    let draw = |model: &str| {
        let mut command = scene.command();
        let drawing = [
            "generate",
            "--seed",
            "7",
            "--steps",
            "2",
            "--json",
            "-o",
            "out.png",
            "a red circle",
        ];
        command
            .args(drawing)
            .args(["--model", model])
            .output()
            .expect("it ends")
    };
    let output = draw("flux-schnell-q4");
    assert!(output.status.success(), "{}", errors(&output));
    let missing = errors(&draw("flux-schnell-q6"));
    assert!(
        missing.contains("tintype model pull flux-schnell-q6"),
        "{missing}"
    );
    let unknown = errors(&draw("flux-shnell-q4"));
    assert!(
        unknown.contains("did you mean flux-schnell-q4"),
        "{unknown}"
    );
    std::fs::write(
        scene.place.path().join("tintype.toml"),
        "model = \"flux-schnell-q4\"\n",
    )
    .expect("a file");
    let doctor = scene.command().arg("doctor").output().expect("it ends");
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.status.success(), "{told}");
    assert!(
        told.contains("library") && told.contains("flux-schnell-q4"),
        "{told}"
    );
    let mut serve = scene.place.serve_command();
    serve.env("HF_ENDPOINT", &scene.hub.url);
    let server = crate::server::Server::start(serve);
    assert!(
        server.greeting.contains("flux-schnell-q4"),
        "{}",
        server.greeting
    );
}

/// The lines of a page that people are told to type.
fn commands(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    blocks
        .flat_map(str::lines)
        .filter(|line| !line.trim().is_empty())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_about_models_works() {
    let scene = Scene::new().await;
    scene.shelve_models_that_draw();
    scene.hub.add(
        "city96/FLUX.1-dev-gguf",
        "flux1-dev-Q5_K_S.gguf",
        noise(1_000),
    );
    let program = Path::new(env!("CARGO_BIN_EXE_tintype"))
        .parent()
        .expect("a folder");
    let path = format!(
        "{}:{}",
        program.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let lines = commands(include_str!("../../../../docs/models.md"));
    assert!(lines.len() > 20, "{lines:?}");
    for line in lines {
        let own = scene.command();
        let mut command = Command::new("sh");
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .current_dir(scene.place.path())
            .env("PATH", &path)
            .env("TINTYPE_THREADS", "1");
        if line.contains("tintype serve") {
            command
                .args(["-c", &format!("exec {line}")])
                .env("TINTYPE_LISTEN", "127.0.0.1:0");
            drop(crate::server::Server::start(command));
            continue;
        }
        let output = command.args(["-c", line]).output().expect("a shell");
        assert!(output.status.success(), "{line}: {}", errors(&output));
    }
    for model in [
        "flux-dev-q6",
        "flux-kontext-dev-q8",
        "nsfw-vit",
        "qwen3-0.6b",
        "dev-q5-alone",
    ] {
        assert!(scene.folder(model).is_dir(), "{model}");
    }
    assert!(!scene.folder("flux-schnell-fp8").exists(), "it was removed");
    assert!(scene.place.path().join("lighthouse.png").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_models_names_each_that_there_is() {
    let page = include_str!("../../../../docs/models.md");
    for model in Known::builtin().iter() {
        let name = model.name.as_str();
        let family = name.trim_end_matches("-q4").trim_end_matches("-q6");
        let family = family.trim_end_matches("-q8").trim_end_matches("-fp8");
        assert!(
            page.contains(&format!("`{name}`")) || page.contains(&format!("`{family}`")),
            "{name}"
        );
    }
}
