//! What a picture is about: `ViTForImageClassification` models in the layout of transformers, on the op
//! set. It knows no category of moderation and no task.

pub mod config;
pub mod vit;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::RgbImage;
use tintype_compute::{Device, Tensor};
use tintype_weights::{Meter, Weights};

use config::{CHANNELS, Processor, Scoring, VitConfig};
use vit::Vit;

/// Why a classifier cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is not there, or holds something else.
    #[error(
        "{} holds no picture classifier: it has no config.json (expected: config.json, \
         preprocessor_config.json and model.safetensors of a ViTForImageClassification)",
        .0.display()
    )]
    NoModel(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Weights or configuration do not fit.
    #[error("{}: {source}", folder.display())]
    Model {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        source: tintype_weights::Error,
    },
}

/// How much of one label was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The model's own name for it.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
}

/// A model and how it wants its pictures.
#[derive(Debug)]
pub struct Classifier {
    vit: Vit,
    processor: Processor,
    scoring: Scoring,
    labels: Vec<String>,
}

impl Classifier {
    /// Opens a folder with `config.json`, `preprocessor_config.json` (transformers' defaults without
    /// one) and safetensors.
    ///
    /// # Errors
    /// [`Error`], naming the file, tensor or setting.
    pub fn open(folder: &Path, device: Arc<dyn Device>) -> Result<Self, Error> {
        let json = read(&folder.join("config.json"))?;
        let json = json.ok_or_else(|| Error::NoModel(folder.to_owned()))?;
        let processor = read(&folder.join("preprocessor_config.json"))?;
        Self::load(folder, &json, processor.as_deref(), device).map_err(|source| Error::Model {
            folder: folder.to_owned(),
            source,
        })
    }

    /// Bytes of memory that the model in a folder takes, a look at a picture included, by the headers of its
    /// files. What cannot be opened is an error here already, unless its tensors hold wrong values.
    ///
    /// # Errors
    /// As [`Classifier::open`].
    pub fn memory_bytes(folder: &Path, device: Arc<dyn Device>) -> Result<u64, Error> {
        let json = read(&folder.join("config.json"))?;
        let json = json.ok_or_else(|| Error::NoModel(folder.to_owned()))?;
        let measure = || -> Result<u64, tintype_weights::Error> {
            let config = VitConfig::parse(&json)?;
            let (meter, labels) = (Meter::new(), config.labels()?.len());
            let work_bytes = config.work_bytes();
            let weights = Weights::open(folder)?.metered(&meter);
            Vit::load(config, labels, weights, device)?;
            Ok(meter.bytes() + work_bytes)
        };
        measure().map_err(|source| Error::Model {
            folder: folder.to_owned(),
            source,
        })
    }

    fn load(
        folder: &Path,
        json: &str,
        processor: Option<&str>,
        device: Arc<dyn Device>,
    ) -> Result<Self, tintype_weights::Error> {
        let config = VitConfig::parse(json)?;
        let processor = Processor::parse(processor, &config)?;
        let (labels, scoring) = (config.labels()?, config.scoring()?);
        let weights = Weights::open(folder)?;
        Ok(Self {
            vit: Vit::load(config, labels.len(), weights, device)?,
            processor,
            scoring,
            labels,
        })
    }

    /// What the model calls what it sees.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The model itself.
    pub fn vit(&self) -> &Vit {
        &self.vit
    }

    /// Looks at a picture of any size.
    pub fn classify(&self, picture: &RgbImage) -> Vec<Seen> {
        let outputs = self.vit.forward(&self.prepare(picture));
        let scores = scores(self.scoring, outputs.data());
        let labels = self.labels.iter().cloned();
        let seen = labels.zip(scores);
        seen.map(|(label, score)| Seen { label, score }).collect()
    }

    /// A picture as the model wants it: `(1, height, width, 3)`.
    pub fn prepare(&self, picture: &RgbImage) -> Tensor {
        let processor = &self.processor;
        let resized = tintype_pixels::resize(picture, processor.size, processor.filter);
        let channels = (0..CHANNELS).cycle();
        let values = resized.iter().zip(channels).map(|(&byte, channel)| {
            // In the order and the types of transformers' `rescale` and `normalize`.
            let value = (f64::from(byte) * processor.factor) as f32;
            (value - processor.mean[channel]) / processor.deviation[channel]
        });
        let (width, height) = (
            processor.size.width as usize,
            processor.size.height as usize,
        );
        Tensor::from_vec([1, height, width, CHANNELS], values.collect())
    }
}

/// Scores from 0 to 1 of a model's outputs.
fn scores(scoring: Scoring, outputs: &[f32]) -> Vec<f32> {
    match scoring {
        Scoring::Sigmoid => outputs.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        Scoring::Softmax => {
            let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = outputs.iter().map(|x| (x - most).exp()).collect();
            let sum: f32 = powers.iter().sum();
            powers.into_iter().map(|power| power / sum).collect()
        }
    }
}

/// A file's text; `None` if there is no such file.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(source) => Err(Error::Io {
            path: path.to_owned(),
            source,
        }),
    }
}
