//! `kill -9` in the middle of loading a model, with tasks that wait for it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::big_model;
use crate::client::{Client, Keys, PRO};
use crate::server::{LOOKS, Place, Server};

/// Tasks that wait for the model.
const TASKS: usize = 3;

/// A kill that comes when the model is loaded already is tried again, so often.
const TRIES: usize = 10;

/// Between two looks at the cache: loading takes some hundred times as long.
const LOOK_AT_CACHE: std::time::Duration = std::time::Duration::from_millis(1);

/// The cache file of the wide text encoder, whole or not.
fn cached(folder: &Path, ending: &str) -> Option<PathBuf> {
    let mut paths = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    paths.find(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.starts_with("text_encoder_2-") && name.ends_with(ending)
    })
}

/// A folder with the model, and servers that draw with it.
struct Scene {
    place: Place,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        big_model::write(&place.path().join("model"));
        Self { place }
    }

    /// A server that keeps packed weights in a folder of this name.
    fn serve(&self, cache: &str) -> Server {
        let mut command = self.place.serve_command();
        command
            .arg("--model")
            .arg(self.place.path().join("model"))
            .env("TINTYPE_COMPUTE__PACKED_CACHE", self.cache(cache));
        Server::start(command)
    }

    fn cache(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Asks for tasks and kills the server when the wide text encoder's cache is being written. Returns
    /// their tokens, and the half-written file if the kill was not too late.
    async fn die_loading(
        &self,
        cache: &str,
        keys: &mut Option<Keys>,
    ) -> (Vec<String>, Option<PathBuf>) {
        let server = self.serve(cache);
        let keys = keys.get_or_insert_with(|| server.keys.clone().expect("a first start"));
        let client = Client::new(&server.url, keys.clone());
        let mut tokens = Vec::new();
        for seed in 0..TASKS {
            tokens.push(client.run(PRO, inputs(seed)).await);
        }
        let folder = self.cache(cache);
        let begun = |path: PathBuf| fs::metadata(path).is_ok_and(|file| file.len() > 0);
        for _ in 0..LOOKS {
            let unfinished = cached(&folder, ".unfinished");
            if unfinished.is_some_and(begun) || cached(&folder, ".packed").is_some() {
                break;
            }
            tokio::time::sleep(LOOK_AT_CACHE).await;
        }
        server.kill();
        let half = cached(&folder, ".unfinished").filter(|_| cached(&folder, ".packed").is_none());
        (tokens, half)
    }
}

fn inputs(seed: usize) -> Value {
    json!({ "prompt": "a red circle", "seed": seed.to_string(), "aspectRatio": "1:1" })
}

/// What the tasks of all tokens drew, by seed.
async fn pictures(client: &Client, tokens: &[String]) -> Vec<Vec<u8>> {
    let mut pictures = Vec::new();
    for token in tokens {
        let task = client.ended(token).await;
        pictures.push(client.picture(&task).await.into_raw());
    }
    pictures
}

#[tokio::test]
async fn a_server_that_is_killed_while_it_loads_loses_no_task_and_believes_no_half_written_cache() {
    let scene = Scene::new();
    let (mut keys, mut accepted) = (None, Vec::new());
    let mut dead = None;
    for number in 0..TRIES {
        let cache = format!("cache-{number}");
        let (tokens, half) = scene.die_loading(&cache, &mut keys).await;
        accepted.extend(tokens);
        if let Some(half) = half {
            dead = Some((cache, half));
            break;
        }
    }
    let (cache, half) = dead.expect("one of the kills comes while the model is loaded");
    let keys = keys.expect("there was a server");
    let whole = half.with_extension("packed");
    // As a disk may leave it that wrote the name before the bytes.
    fs::copy(&half, &whole).expect("a copy");
    let half_bytes = fs::metadata(&whole).expect("is there").len();

    let server = scene.serve(&cache);
    let client = Client::new(&server.url, keys.clone());
    let after = pictures(&client, &accepted).await;
    client.queue_is_empty().await;
    assert!(
        fs::metadata(&whole).expect("a cache").len() > half_bytes,
        "it was made anew"
    );
    assert!(!half.exists(), "nothing unfinished is left");
    server.kill();

    // What is drawn by those that nobody disturbs: once packed, once from the cache.
    for cache in ["fresh", &cache] {
        let server = scene.serve(cache);
        let client = Client::new(&server.url, keys.clone());
        let mut tokens = Vec::new();
        for seed in 0..TASKS {
            tokens.push(client.run(PRO, inputs(seed)).await);
        }
        let expected = pictures(&client, &tokens).await;
        assert_ne!(expected[0], expected[1], "seeds count");
        for (number, picture) in after.iter().enumerate() {
            assert!(
                *picture == expected[number % TASKS],
                "task {number}, {cache}"
            );
        }
    }
}
