//! `[moderation.classifier]`: a model on this machine that judges pictures, and what its labels mean.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, bail};
use async_trait::async_trait;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use tintype_engine::native::SetAside;
use tintype_moderation::{Category, PictureModerator, Scores, Unjudged};
use tintype_vision::{Classifier, Seen};

use crate::library;
use crate::machine::Machine;

/// The library's model that is used when it is installed and nobody says otherwise.
pub const DEFAULT_MODEL: &str = "nsfw-vit";

/// What a label means that is no category: nothing that is moderated.
const NONE: &str = "none";

/// What the labels of the usual classifiers mean.
const USUAL: [(&str, Option<Category>); 18] = [
    ("drawing", None),
    ("drawings", None),
    ("neutral", None),
    ("normal", None),
    ("safe", None),
    ("sfw", None),
    ("explicit", Some(Category::Sexual)),
    ("hentai", Some(Category::Sexual)),
    ("nsfw", Some(Category::Sexual)),
    ("nude", Some(Category::Sexual)),
    ("nudity", Some(Category::Sexual)),
    ("porn", Some(Category::Sexual)),
    ("pornography", Some(Category::Sexual)),
    ("sexy", Some(Category::Sexual)),
    ("blood", Some(Category::ViolenceGraphic)),
    ("gore", Some(Category::ViolenceGraphic)),
    ("violent", Some(Category::Violence)),
    ("non-violence", None),
];

/// A classifier on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierSettings {
    /// The name of an installed model, or a folder.
    #[serde(default = "default_model")]
    pub model: String,
    /// Threads that it computes with, no more than the engine's: pictures are drawn meanwhile.
    #[serde(default = "one")]
    pub threads: usize,
    /// What labels mean: a category, or `none`.
    #[serde(default)]
    pub categories: BTreeMap<String, String>,
}

fn default_model() -> String {
    DEFAULT_MODEL.to_owned()
}

fn one() -> usize {
    1
}

impl Default for ClassifierSettings {
    fn default() -> Self {
        Self {
            model: default_model(),
            threads: one(),
            categories: BTreeMap::new(),
        }
    }
}

/// `tintype.json` in a classifier's folder: what its labels mean.
#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    categories: BTreeMap<String, String>,
}

impl ClassifierSettings {
    /// The one that nobody had to set up: it is installed.
    pub fn installed(data: &Path) -> Option<Self> {
        let folder = data.join("models").join(DEFAULT_MODEL);
        folder.is_dir().then(Self::default)
    }

    /// Opens the model, in memory that is set aside for it.
    ///
    /// # Errors
    /// The model is not there, cannot be run, or finds no room; a label whose meaning nobody knows.
    pub fn open(&self, data: &Path, machine: &Machine) -> anyhow::Result<ClassifierModerator> {
        if self.threads == 0 {
            bail!("threads must be at least 1");
        }
        let folder = library::locate(&self.model, data)?;
        let options = machine.beside(self.threads);
        let bytes = Classifier::memory_bytes(&folder, options.measuring()?)?;
        let what = format!("the picture classifier {}", self.model);
        let aside = machine.budget.set_aside(what, bytes)?;
        let classifier = Classifier::open(&folder, options.open()?)?;
        aside.is_in_memory(true);
        let meanings = self.meanings(&folder, classifier.labels())?;
        Ok(ClassifierModerator(Arc::new(Inner {
            classifier: Mutex::new(classifier),
            meanings,
            _aside: aside,
        })))
    }

    /// What each label means, by whom is asked first: the settings, the model's folder, what is usual.
    fn meanings(&self, folder: &Path, labels: &[String]) -> anyhow::Result<Meanings> {
        let manifest = manifest(folder)?;
        let meaning = |label: &String| {
            let said = self.categories.get(label);
            let said = said.or_else(|| manifest.categories.get(label));
            let meaning = match said {
                Some(name) if name == NONE => Some(None),
                Some(name) => Some(Some(name.parse().context("categories")?)),
                None => usual(label),
            };
            let meaning = meaning.ok_or_else(|| {
                anyhow!(
                    "nobody knows what the label \"{label}\" means: say it under \
                     [moderation.classifier.categories], as a category or as \"{NONE}\""
                )
            })?;
            Ok((label.clone(), meaning))
        };
        let meanings: Meanings = labels.iter().map(meaning).collect::<anyhow::Result<_>>()?;
        let unknown = self.categories.keys().find(|label| !labels.contains(label));
        if let Some(label) = unknown {
            bail!(
                "categories: the model has no label \"{label}\"; it has {}",
                labels.join(", ")
            );
        }
        if meanings.values().all(Option::is_none) {
            bail!("no label of the model means anything that is moderated");
        }
        Ok(meanings)
    }
}

fn manifest(folder: &Path) -> anyhow::Result<Manifest> {
    let file = folder.join("tintype.json");
    match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// What a label usually means.
fn usual(label: &str) -> Option<Option<Category>> {
    let label = label.to_lowercase();
    let found = USUAL.iter().find(|(name, _)| *name == label);
    let found = found.map(|(_, meaning)| *meaning);
    found.or_else(|| label.parse().ok().map(Some))
}

/// The category of each label; none for what is innocent.
type Meanings = BTreeMap<String, Option<Category>>;

/// Judges pictures with a classifier.
#[derive(Clone)]
pub struct ClassifierModerator(Arc<Inner>);

struct Inner {
    /// One picture at a time: the memory that it takes is bounded, and the threads are one pool.
    classifier: Mutex<Classifier>,
    meanings: Meanings,
    /// Given back with the model.
    _aside: SetAside,
}

impl ClassifierModerator {
    /// What is seen in a picture, by label and by category. Computes for a while.
    pub fn look(&self, picture: &RgbImage) -> (Vec<Seen>, Scores) {
        // A panic within leaves nothing half-done in a model that is only read.
        let classifier = self.0.classifier.lock();
        let classifier = classifier.unwrap_or_else(PoisonError::into_inner);
        let seen = classifier.classify(picture);
        let scores = scores(&self.0.meanings, &seen);
        (seen, scores)
    }
}

/// Labels of one category add up: a picture may be torn between them.
fn scores(meanings: &Meanings, seen: &[Seen]) -> Scores {
    let mut scores = Scores::NONE;
    for category in Category::ALL {
        let of_category = |seen: &&Seen| meanings.get(&seen.label) == Some(&Some(category));
        let together = seen.iter().filter(of_category).map(|seen| seen.score);
        scores.raise(category, together.sum());
    }
    scores
}

#[async_trait]
impl PictureModerator for ClassifierModerator {
    async fn judge_picture(&self, picture: &RgbImage) -> Result<Scores, Unjudged> {
        let (judge, picture) = (self.clone(), picture.clone());
        let looked = tokio::task::spawn_blocking(move || judge.look(&picture)).await;
        match looked {
            Ok((seen, scores)) if seen.iter().all(|seen| seen.score.is_finite()) => Ok(scores),
            Ok(_) | Err(_) => Err(Unjudged::Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use tintype_engine::native::MemoryLimit;

    use super::*;

    /// A tiny random classifier with these labels, in place of a real one.
    fn golden() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../vision/tests/golden/sigmoid/model")
    }

    fn settings(categories: &[(&str, &str)]) -> ClassifierSettings {
        ClassifierSettings {
            model: golden().display().to_string(),
            categories: categories
                .iter()
                .map(|(label, category)| ((*label).to_owned(), (*category).to_owned()))
                .collect(),
            ..ClassifierSettings::default()
        }
    }

    fn refusal(categories: &[(&str, &str)]) -> String {
        let opened = settings(categories).open(Path::new("/nowhere"), &Machine::default());
        format!("{:#}", opened.err().expect("it cannot be used"))
    }

    #[tokio::test]
    async fn labels_become_categories() {
        let picture = RgbImage::from_fn(50, 40, |x, y| image::Rgb([x as u8 * 5, y as u8 * 6, 90]));
        let judge = |categories: &[(&str, &str)]| {
            let judge = settings(categories).open(Path::new("/nowhere"), &Machine::default());
            judge.expect("it opens")
        };
        let usual = judge(&[]);
        let (seen, scores) = usual.look(&picture);
        let of = |label: &str| {
            let found = seen.iter().find(|seen| seen.label == label);
            found.expect("the label").score
        };
        assert_eq!(scores.of(Category::ViolenceGraphic), of("gore"));
        assert_eq!(scores.of(Category::Sexual), of("sexy"));
        assert_eq!(usual.judge_picture(&picture).await, Ok(scores));
        let own = judge(&[("drawings", "hate"), ("gore", "hate"), ("sexy", "none")]);
        let (_, scores) = own.look(&picture);
        assert_eq!(
            scores.of(Category::Hate),
            (of("drawings") + of("gore")).min(1.0)
        );
        assert_eq!(scores.of(Category::Sexual), 0.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert!(refusal(&[("gore", "blood")]).contains("no category \"blood\""));
        let unknown = refusal(&[("cats", "hate")]);
        assert!(
            unknown.contains("no label \"cats\"; it has drawings, gore, sexy"),
            "{unknown}"
        );
        let nothing = refusal(&[("gore", "none"), ("sexy", "none")]);
        assert!(nothing.contains("no label of the model"), "{nothing}");
        let labels = ["dogs".to_owned()];
        let meaningless = ClassifierSettings::default().meanings(&golden(), &labels);
        let meaningless = meaningless.expect_err("nobody knows").to_string();
        assert!(meaningless.contains("\"dogs\""), "{meaningless}");
        let absent = ClassifierSettings::default().open(Path::new("/nowhere"), &Machine::default());
        let absent = absent.err().expect("not installed").to_string();
        assert!(absent.contains("tintype model pull nsfw-vit"), "{absent}");
    }

    #[test]
    fn its_memory_is_set_aside_while_it_lives_or_it_is_refused() {
        let machine = |bytes| Machine::with(MemoryLimit::Bytes(bytes));
        let roomy = machine(1 << 30);
        let opened = settings(&[]).open(Path::new("/nowhere"), &roomy);
        let opened = opened.expect("it opens");
        let [(what, bytes)] = &roomy.budget.aside()[..] else {
            panic!("one thing: {:?}", roomy.budget.aside());
        };
        assert!(what.starts_with("the picture classifier "), "{what}");
        assert!(*bytes > 10_000, "{bytes}");
        drop(opened);
        assert!(roomy.budget.aside().is_empty());
        let tight = settings(&[]).open(Path::new("/nowhere"), &machine(10_000));
        let refused = format!("{:#}", tight.err().expect("no room"));
        assert!(
            refused.contains("no room for the picture classifier"),
            "{refused}"
        );
        assert!(refused.contains("memory_gb"), "{refused}");
    }

    #[test]
    fn the_folder_of_a_model_says_what_its_labels_mean() {
        let data = tempfile::tempdir().expect("a folder");
        assert_eq!(ClassifierSettings::installed(data.path()), None);
        let folder = data.path().join("models").join(DEFAULT_MODEL);
        fs::create_dir_all(&folder).expect("created");
        fs::write(
            folder.join("tintype.json"),
            r#"{"categories": {"dogs": "harassment", "cats": "none"}}"#,
        )
        .expect("written");
        let installed = ClassifierSettings::installed(data.path()).expect("it is there");
        let labels = ["cats".to_owned(), "dogs".to_owned()];
        let meanings = installed.meanings(&folder, &labels).expect("known");
        assert_eq!(meanings["cats"], None);
        assert_eq!(meanings["dogs"], Some(Category::Harassment));
    }
}
