//! A library in a fresh folder, a hub, and a model to pull.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use tempfile::TempDir;
use tintype_library::hub::{Hub, HubOptions, Pace};
use tintype_library::pull::{Planned, PullOptions, Pulled, Watcher};
use tintype_library::test_support::StandInHub;
use tintype_library::{Error, Library, Manifest, ModelName, RelativePath};

/// The repository of the scenes' models.
pub const REPOSITORY: &str = "owner/model";

/// What a pull told its watcher.
#[derive(Debug, Default)]
pub struct Seen {
    planned: Mutex<Option<Planned>>,
    waits: Mutex<Vec<(String, Duration)>>,
    bytes: Mutex<i64>,
}

impl Seen {
    pub fn planned(&self) -> Planned {
        self.planned
            .lock()
            .expect("nobody panicked")
            .expect("a plan")
    }

    pub fn waits(&self) -> Vec<(String, Duration)> {
        self.waits.lock().expect("nobody panicked").clone()
    }

    /// What arrived, less what was thrown away.
    pub fn bytes(&self) -> i64 {
        *self.bytes.lock().expect("nobody panicked")
    }
}

impl Watcher for Seen {
    fn checking(&self, _: &RelativePath) {}

    fn planned(&self, planned: &Planned) {
        *self.planned.lock().expect("nobody panicked") = Some(*planned);
    }

    fn received(&self, _: &RelativePath, bytes: u64) {
        *self.bytes.lock().expect("nobody panicked") += bytes as i64;
    }

    fn dropped(&self, _: &RelativePath, bytes: u64) {
        *self.bytes.lock().expect("nobody panicked") -= bytes as i64;
    }

    fn waiting(&self, _: &RelativePath, reason: &str, wait: Duration) {
        self.waits
            .lock()
            .expect("nobody panicked")
            .push((reason.to_owned(), wait));
    }

    fn finished(&self, _: &RelativePath, _: u64) {}
}

pub struct Scene {
    pub folder: TempDir,
    pub hub: StandInHub,
    pub library: Library,
}

impl Scene {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let library = Library::at(folder.path().join("models"));
        Self {
            folder,
            hub: StandInHub::start().await,
            library,
        }
    }

    /// Of a model with one large file.
    pub async fn with_file(bytes: &[u8]) -> (Self, Manifest) {
        let scene = Self::new().await;
        scene.hub.add(REPOSITORY, "weights.safetensors", bytes);
        (scene, manifest("m", &["weights.safetensors"]))
    }

    pub fn client(&self, token: Option<&str>) -> Hub {
        let options = HubOptions {
            url: self.hub.url.clone(),
            token: token.map(SecretString::from),
            pace: Pace {
                silence: Duration::from_millis(500),
                attempts: 4,
                first_wait: Duration::from_millis(1),
                longest_wait: Duration::from_millis(5),
                ..Pace::default()
            },
        };
        Hub::new(options).expect("a hub")
    }

    pub async fn pull(&self, manifest: &Manifest) -> Result<Pulled, Error> {
        self.pull_seen(manifest).await.0
    }

    pub async fn pull_seen(&self, manifest: &Manifest) -> (Result<Pulled, Error>, Arc<Seen>) {
        self.pull_as(manifest, PullOptions::default()).await
    }

    pub async fn pull_as(
        &self,
        manifest: &Manifest,
        options: PullOptions,
    ) -> (Result<Pulled, Error>, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let hub = self.client(None);
        let pulled = self.library.pull(&hub, manifest, options, seen.clone());
        (pulled.await, seen)
    }

    /// Why a pull fails, in the words that people see.
    pub async fn refusal(&self, manifest: &Manifest) -> String {
        self.pull(manifest)
            .await
            .expect_err("it cannot work")
            .to_string()
    }

    /// What `verify` finds wrong with an installed model, in the words that people see.
    pub fn faults(&self, model: &str) -> Vec<String> {
        let faults = self.library.verify(&name(model), |_| {});
        let faults = faults.expect("a model").into_iter();
        faults
            .map(|found| format!("{}: {}", found.path, found.fault))
            .collect()
    }

    /// The parts of files that a pull of a model has left behind.
    pub fn parts(&self, model: &str) -> Vec<PathBuf> {
        let folder = self.library.root().join(".staging").join(model);
        let entries = std::fs::read_dir(folder.join("parts")).expect("a folder");
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|ending| ending == "part"))
            .collect()
    }

    pub fn file(&self, model: &str, path: &str) -> PathBuf {
        self.library.root().join(model).join(path)
    }

    pub fn read(&self, model: &str, path: &str) -> Vec<u8> {
        std::fs::read(self.file(model, path)).expect("a file")
    }
}

pub fn name(text: &str) -> ModelName {
    text.parse().expect("a name")
}

/// A manifest with these files of [`REPOSITORY`].
pub fn manifest(model: &str, paths: &[&str]) -> Manifest {
    let files: String = paths
        .iter()
        .map(|path| format!("[[file]]\npath = \"{path}\"\n"))
        .collect();
    parse(model, &files)
}

/// A manifest of this text about its files.
pub fn parse(model: &str, files: &str) -> Manifest {
    let head = format!(
        "title = \"A model\"\nrepository = \"{REPOSITORY}\"\n\
         [licence]\nname = \"MIT\"\nurl = \"x\"\nacknowledge = false\n"
    );
    Manifest::parse(name(model), &format!("{head}{files}"), |_| None).expect("a manifest")
}
