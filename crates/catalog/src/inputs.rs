//! The typed view of a run's inputs.

use serde_json::{Map, Value};
use tintype_domain::LoraChoice;

/// The inputs of one run: as the client sees them echoed, and as the run uses them.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// The effective inputs under their catalogue names, values as strings, in the form's order.
    /// What the tool does not know is not in it.
    pub parameters: Map<String, Value>,
    /// What to draw, or to change; as it was sent.
    pub prompt: String,
    /// The pictures that came, in the form's order.
    pub images: Vec<InputImage>,
    /// How far the drawing goes away from a picture that it starts from; `None`: as usual.
    pub strength: Option<f64>,
    /// How many pictures are drawn.
    pub num_outputs: u32,
    /// How the sampler is to run, as far as it was said.
    pub sampler: SamplerInputs,
    /// LoRAs that were asked for; `None`: those of the tool.
    pub loras: Option<Vec<LoraChoice>>,
    /// Where the noise starts. `None` asks for a random one: see [`Inputs::settle_seed`].
    pub seed: Option<u64>,
    /// Width to height.
    pub aspect_ratio: AspectRatio,
    /// The file type of the result.
    pub output_format: OutputFormat,
    /// Whether the prompt may be rewritten.
    pub prompt_upsampling: bool,
    /// 0 lets the least through, 6 the most.
    pub safety_tolerance: u8,
    /// The seed's catalogue name.
    pub(crate) seed_id: Option<String>,
}

/// A picture that came with a request.
#[derive(Debug, Clone, PartialEq)]
pub struct InputImage {
    /// Its catalogue name.
    pub id: String,
    /// Where it is to be had.
    pub source: ImageReference,
    /// Whether the drawing starts from it: else it is one to work from.
    pub starts: bool,
}

/// How the sampler is to run. What is `None` was not said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplerInputs {
    /// Denoising steps.
    pub steps: Option<u32>,
    /// The scale of distilled guidance.
    pub guidance: Option<f32>,
    /// How far the steps are moved towards noise.
    pub shift: Option<f32>,
    /// The scale of classifier-free guidance.
    pub true_cfg: Option<f32>,
    /// What the picture shall not show.
    pub negative_prompt: Option<String>,
}

impl Inputs {
    /// Fixes a seed that was left to chance, and records it, so that the run can be repeated.
    pub fn settle_seed(&mut self, draw: impl FnOnce() -> u64) {
        if self.seed.is_some() {
            return;
        }
        let seed = draw();
        self.seed = Some(seed);
        if let Some(id) = &self.seed_id {
            self.parameters
                .insert(id.clone(), Value::String(seed.to_string()));
        }
    }

    /// Puts the address of a stored file in the place of an image that came with the request, by its
    /// place among [`Inputs::images`].
    pub fn settle_image(&mut self, index: usize, url: String) {
        if let Some(image) = self.images.get_mut(index) {
            let recorded = Value::String(url.clone());
            self.parameters.insert(image.id.clone(), recorded);
            image.source = ImageReference::Url(url);
        }
    }
}

/// How a client names a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
    /// An `http` or `https` address.
    Url(String),
    /// A `data:` URI, as it came.
    DataUri(String),
    /// The name of a file, or bare base64: whoever resolves it finds out.
    NameOrBase64(String),
}

impl ImageReference {
    /// Tells the kinds apart by their first letters.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let starts_with = |prefix: &str| {
            text.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if starts_with("http://") || starts_with("https://") {
            Self::Url(text.to_owned())
        } else if starts_with("data:") {
            Self::DataUri(text.to_owned())
        } else {
            Self::NameOrBase64(text.to_owned())
        }
    }
}

/// Width to height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AspectRatio {
    /// That of the input picture; without one, the model's own choice.
    MatchInput,
    /// A fixed one.
    Ratio {
        /// Width part.
        width: u32,
        /// Height part.
        height: u32,
    },
}

/// The file type of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// `image/jpeg`
    Jpeg,
    /// `image/png`
    Png,
}

impl OutputFormat {
    /// The ending of its files' names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}
