//! `config.json` and `preprocessor_config.json`, as transformers writes them.

use std::collections::BTreeMap;

use serde::Deserialize;
use tintype_compute::Activation;
use tintype_pixels::{Dimensions, Filter};
use tintype_weights::config::{Error, activation, check, check_sizes, parse};

/// What the errors call it.
const COMPONENT: &str = "picture classifier";

/// Values a picture has for each pixel.
pub const CHANNELS: usize = 3;

/// Patches of a picture at most: attention takes memory by it, and no such model has more than 1,024.
const MAX_PATCHES: usize = 1 << 14;

/// A side: one number for a square, or height and width.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
enum Sides {
    Square(usize),
    HeightWidth([usize; 2]),
}

impl Sides {
    fn height_width(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::HeightWidth(sides) => sides,
        }
    }
}

/// `ViTConfig` of a `ViTForImageClassification`; defaults are those of transformers 5.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct VitConfig {
    /// Features of a token.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Features between the two layers of a feed-forward block.
    pub intermediate_size: usize,
    /// The activation's name.
    pub hidden_act: String,
    /// Added to the variance of every norm.
    pub layer_norm_eps: f32,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    image_size: Sides,
    patch_size: Sides,
    num_channels: usize,
    id2label: BTreeMap<String, String>,
    problem_type: Option<String>,
    architectures: Vec<String>,
}

impl Default for VitConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".to_owned(),
            layer_norm_eps: 1e-12,
            qkv_bias: true,
            image_size: Sides::Square(224),
            patch_size: Sides::Square(16),
            num_channels: CHANNELS,
            id2label: BTreeMap::new(),
            problem_type: None,
            architectures: Vec::new(),
        }
    }
}

impl VitConfig {
    /// What lies between the ops while one picture is looked at, at most: in a block the input, normalised and
    /// not, and queries, keys and values with the result, or twice the width of the feed-forward part; before
    /// the blocks the picture, whole and in patches.
    pub fn work_bytes(&self) -> u64 {
        /// Buffers of a device's workspace are up to a quarter larger than asked for.
        const ROUNDING: f64 = 1.25;
        let tokens = 1 + self.patches();
        let inner = (4 * self.hidden_size).max(2 * self.intermediate_size);
        let block = tokens * (2 * self.hidden_size + inner);
        let [height, width] = self.image_height_width();
        let values = block + 2 * height * width * CHANNELS;
        (values as f64 * size_of::<f32>() as f64 * ROUNDING) as u64
    }

    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// It is not that of a `ViTForImageClassification` that this program can run, with the reason.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let config: Self = parse(COMPONENT, "model_type", &["vit"], json)?;
        let class = "ViTForImageClassification";
        check(
            COMPONENT,
            config.architectures.is_empty() || config.architectures.iter().any(|c| c == class),
            &format!(
                "architectures is {:?}; expected {class}",
                config.architectures
            ),
        )?;
        let ([height, width], [patch_height, patch_width]) =
            (config.image_height_width(), config.patch_height_width());
        let sizes = [
            config.hidden_size,
            config.num_attention_heads,
            config.intermediate_size,
            height,
            width,
            patch_height,
            patch_width,
        ];
        check_sizes(COMPONENT, &sizes)?;
        check(
            COMPONENT,
            config.num_channels == CHANNELS,
            "num_channels must be 3",
        )?;
        check(
            COMPONENT,
            config
                .hidden_size
                .is_multiple_of(config.num_attention_heads),
            "hidden_size must be a multiple of num_attention_heads",
        )?;
        check(
            COMPONENT,
            (1..=MAX_PATCHES).contains(&config.patches()),
            "image_size must hold from 1 to 16384 patches of patch_size",
        )?;
        config.activation()?;
        config.labels()?;
        config.scoring()?;
        Ok(config)
    }

    /// Height and width of the picture that the model sees, in pixels.
    pub fn image_height_width(&self) -> [usize; 2] {
        self.image_size.height_width()
    }

    /// Height and width of a patch, in pixels.
    pub fn patch_height_width(&self) -> [usize; 2] {
        self.patch_size.height_width()
    }

    /// Rows and columns of patches.
    pub fn grid(&self) -> [usize; 2] {
        let ([height, width], [patch_height, patch_width]) =
            (self.image_height_width(), self.patch_height_width());
        [height / patch_height, width / patch_width]
    }

    /// Tokens that stand for a part of the picture.
    pub fn patches(&self) -> usize {
        self.grid().iter().product()
    }

    /// Values of a patch.
    pub fn patch_values(&self) -> usize {
        CHANNELS * self.patch_height_width().iter().product::<usize>()
    }

    /// The activation of the feed-forward blocks.
    pub(crate) fn activation(&self) -> Result<Activation, Error> {
        activation(COMPONENT, &self.hidden_act)
    }

    /// What the outputs are called, in their order.
    pub(crate) fn labels(&self) -> Result<Vec<String>, Error> {
        let labels: Vec<String> = (0..self.id2label.len())
            .map_while(|id| self.id2label.get(&id.to_string()).cloned())
            .collect();
        check(
            COMPONENT,
            !labels.is_empty() && labels.len() == self.id2label.len(),
            "id2label must name the outputs 0, 1, 2 … without a gap",
        )?;
        Ok(labels)
    }

    /// How scores come of the outputs.
    pub(crate) fn scoring(&self) -> Result<Scoring, Error> {
        match self.problem_type.as_deref() {
            None | Some("single_label_classification") => Ok(Scoring::Softmax),
            Some("multi_label_classification") => Ok(Scoring::Sigmoid),
            Some(other) => Err(Error {
                component: COMPONENT,
                reason: format!("problem_type {other} gives no scores"),
            }),
        }
    }
}

/// What makes scores of a model's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// One label holds: the scores sum to 1.
    Softmax,
    /// Each label holds or not.
    Sigmoid,
}

/// `ViTImageProcessor`: how a picture becomes what the model sees.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct ProcessorConfig {
    do_resize: bool,
    size: Option<Size>,
    resample: u64,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f32; CHANNELS],
    image_std: [f32; CHANNELS],
    do_center_crop: Option<bool>,
}

/// As older and newer files have it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
enum Size {
    Square(u32),
    Sides { height: u32, width: u32 },
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: None,
            resample: 2,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.5; CHANNELS],
            image_std: [0.5; CHANNELS],
            do_center_crop: None,
        }
    }
}

/// A checked [`ProcessorConfig`].
#[derive(Clone, Debug, PartialEq)]
pub struct Processor {
    /// What every picture is resized to.
    pub size: Dimensions,
    /// How.
    pub filter: Filter,
    /// What the bytes are multiplied by.
    pub factor: f64,
    /// What is subtracted then, for each channel.
    pub mean: [f32; CHANNELS],
    /// What is divided by last, for each channel.
    pub deviation: [f32; CHANNELS],
}

impl Processor {
    /// Reads a `preprocessor_config.json` for a model; without one, transformers' defaults hold.
    ///
    /// # Errors
    /// It cannot be understood, asks for something else, or does not fit the model.
    pub fn parse(json: Option<&str>, model: &VitConfig) -> Result<Self, Error> {
        let config: ProcessorConfig = parse(
            COMPONENT,
            "image_processor_type",
            &[
                "ViTImageProcessor",
                "ViTImageProcessorFast",
                "ViTFeatureExtractor",
            ],
            json.unwrap_or("{}"),
        )?;
        let [height, width] = model.image_height_width().map(|side| side as u32);
        let size = match config.size {
            None => Dimensions { width, height },
            Some(Size::Square(side)) => Dimensions {
                width: side,
                height: side,
            },
            Some(Size::Sides { height, width }) => Dimensions { width, height },
        };
        check(
            COMPONENT,
            config.do_resize && !config.do_center_crop.unwrap_or(false),
            "preprocessor_config.json must resize, and not crop",
        )?;
        check(
            COMPONENT,
            size == Dimensions { width, height },
            "preprocessor_config.json resizes to another size than image_size",
        )?;
        let filter = Filter::of_number(config.resample).ok_or_else(|| Error {
            component: COMPONENT,
            reason: format!("resample {} is no filter from 1 to 5", config.resample),
        })?;
        check(
            COMPONENT,
            config.image_std.iter().all(|deviation| *deviation != 0.0),
            "image_std must not be 0",
        )?;
        Ok(Self {
            size,
            filter,
            factor: if config.do_rescale {
                config.rescale_factor
            } else {
                1.0
            },
            mean: if config.do_normalize {
                config.image_mean
            } else {
                [0.0; CHANNELS]
            },
            deviation: if config.do_normalize {
                config.image_std
            } else {
                [1.0; CHANNELS]
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Processor, VitConfig};

    const LABELS: &str = r#""id2label": {"0": "normal", "1": "nsfw"}"#;

    fn refusal(json: &str) -> String {
        let json = format!("{{{json}}}");
        VitConfig::parse(&json).expect_err(&json).to_string()
    }

    #[test]
    fn what_this_program_cannot_run_is_named() {
        assert!(refusal(r#""model_type": "swin""#).contains("swin"));
        assert!(refusal(r#""architectures": ["ViTModel"]"#).contains("ViTForImageClassification"));
        assert!(refusal("").contains("id2label"));
        assert!(refusal(r#""id2label": {"0": "a", "2": "c"}"#).contains("without a gap"));
        assert!(refusal(&format!(r#"{LABELS}, "num_channels": 1"#)).contains("num_channels"));
        assert!(refusal(&format!(r#"{LABELS}, "image_size": 8"#)).contains("patches"));
        assert!(refusal(&format!(r#"{LABELS}, "image_size": 1000000"#)).contains("patches"));
        assert!(refusal(&format!(r#"{LABELS}, "hidden_size": 0"#)).contains("size is 0"));
        let regression = format!(r#"{LABELS}, "problem_type": "regression""#);
        assert!(refusal(&regression).contains("regression"));
    }

    #[test]
    fn a_processor_must_fit_its_model() {
        let model = VitConfig::parse(&format!("{{{LABELS}}}")).expect("the defaults");
        let of = |json| Processor::parse(Some(json), &model).map_err(|error| error.to_string());
        assert_eq!(
            Processor::parse(None, &model).expect("none"),
            of("{}").expect("empty")
        );
        assert_eq!(of(r#"{"size": 224}"#), of("{}"));
        let refused = |json| of(json).expect_err(json);
        assert!(refused(r#"{"size": 384}"#).contains("image_size"));
        assert!(refused(r#"{"resample": 0}"#).contains("resample 0"));
        assert!(refused(r#"{"do_center_crop": true}"#).contains("crop"));
        assert!(refused(r#"{"image_std": [1, 0, 1]}"#).contains("image_std"));
        assert!(refused(r#"{"image_processor_type": "CLIPImageProcessor"}"#).contains("CLIP"));
    }
}
