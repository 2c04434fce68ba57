//! What the provider is asked for.

use serde::Serialize;

use super::{input, size};
use crate::{Error, FileType, Job, Reason, Size, Unavailable};

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
    /// A job in the provider's words. Blocks while the input picture is encoded.
    pub fn of(job: Job, model: Model) -> Result<Self, Error> {
        let order = Self {
            prompt: job.prompt,
            seed: job.seed,
            input_image: None,
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
            Model::KontextMax => Self {
                input_image: job.reference.as_ref().map(input::as_base64).transpose()?,
                aspect_ratio: aspect_ratio(job.size),
                ..order
            },
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

/// Without a ratio the provider's model keeps that of the input picture.
fn aspect_ratio(size: Size) -> Option<String> {
    match size {
        Size::MatchReference => None,
        Size::Ratio { width, height } | Size::Exact { width, height } => {
            Some(format!("{width}:{height}"))
        }
    }
}
