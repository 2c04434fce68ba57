//! What the provider is asked for.

use serde::Serialize;

use super::{input, size};
use crate::{Error, FileType, Job, Reason, Sampling, Size, Unavailable};

/// The provider's models that tools are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// `flux-kontext-max`
    KontextMax,
    /// `flux-pro-1.1`
    Pro11,
}

impl Model {
    /// The model of a tool, which has its name.
    pub fn for_tool(tool: Option<&str>) -> Result<Self, Error> {
        let name = tool
            .and_then(|tool| tool.rsplit('/').next())
            .unwrap_or_default();
        let known = [Self::KontextMax, Self::Pro11];
        let model = known.into_iter().find(|model| model.name() == name);
        model.ok_or_else(|| {
            let message = format!(
                "The engine bfl has no model for the tool {}.",
                tool.unwrap_or("without a name")
            );
            Unavailable::new(Reason::NoWeights, message).into()
        })
    }

    /// Its name in addresses and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::KontextMax => "flux-kontext-max",
            Self::Pro11 => "flux-pro-1.1",
        }
    }
}

/// The body of a submission. Fields that are `None` take the provider's default.
#[derive(Serialize)]
pub struct Order {
    prompt: String,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_image_2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_image_3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_image_4: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aspect_ratio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    output_format: &'static str,
    prompt_upsampling: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_tolerance: Option<u8>,
}

impl Order {
    /// A job in the provider's words. Blocks while the input pictures are encoded.
    ///
    /// # Errors
    /// [`Error::Rejected`] for what the provider does not do and a picture would lack.
    pub fn of(job: Job, model: Model) -> Result<Self, Error> {
        if let Some(complaint) = not_offered(&job, model) {
            return Err(Error::Rejected(complaint));
        }
        let order = Self {
            prompt: job.prompt,
            seed: job.seed,
            input_image: None,
            input_image_2: None,
            input_image_3: None,
            input_image_4: None,
            aspect_ratio: None,
            width: None,
            height: None,
            output_format: match job.file_type {
                FileType::Jpeg => "jpeg",
                FileType::Png => "png",
            },
            prompt_upsampling: job.prompt_upsampling,
            safety_tolerance: job.safety_tolerance,
        };
        Ok(match model {
            Model::KontextMax => {
                let mut pictures = job.references.iter().map(input::as_base64);
                let mut next = || pictures.next().transpose();
                Self {
                    input_image: next()?,
                    input_image_2: next()?,
                    input_image_3: next()?,
                    input_image_4: next()?,
                    aspect_ratio: aspect_ratio(job.size),
                    ..order
                }
            }
            Model::Pro11 => {
                let (width, height) = size::pixels(job.size);
                Self {
                    width: Some(width),
                    height: Some(height),
                    ..order
                }
            }
        })
    }
}

/// Input pictures that an order has room for.
const MAX_INPUT_IMAGES: usize = 4;

/// Why the provider's picture would not be what was asked for.
fn not_offered(job: &Job, model: Model) -> Option<String> {
    let what = if job.pictures > 1 {
        "draws one picture a task: ask for one, in several tasks"
    } else if job.start.is_some() || (model == Model::Pro11 && !job.references.is_empty()) {
        "draws from the prompt alone with this tool: leave the input picture out"
    } else if job.sampling.negative_prompt.is_some() || job.sampling.true_cfg.is_some() {
        "knows no negative prompt: leave it and its scale out"
    } else if job.loras.as_ref().is_some_and(|loras| !loras.is_empty()) {
        // A finetune of the provider is another thing: it is trained there and has an id there.
        "applies no LoRAs: leave them out; only this server's own models can"
    } else if job.references.len() > MAX_INPUT_IMAGES {
        "takes at most four input pictures"
    } else {
        return None;
    };
    Some(format!("The provider {what}."))
}

/// What the provider chooses by itself, whatever was asked for: a remark for the person who did.
pub fn passed_over(sampling: &Sampling) -> Option<String> {
    let asked = [
        ("steps", sampling.steps.is_some()),
        ("guidance", sampling.guidance.is_some()),
        ("shift", sampling.shift.is_some()),
    ];
    let names: Vec<&str> = asked
        .iter()
        .filter(|(_, asked)| *asked)
        .map(|(name, _)| *name)
        .collect();
    let list = names.join(", ");
    (!names.is_empty()).then(|| format!("The provider chooses this by itself: {list}."))
}

/// Without a ratio the provider's model keeps that of the input picture.
fn aspect_ratio(size: Size) -> Option<String> {
    match size {
        Size::MatchReference => None,
        Size::Ratio { width, height } | Size::Exact { width, height } => {
            Some(format!("{width}:{height}"))
        }
    }
}
