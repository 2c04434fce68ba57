//! From the fields of a request to the inputs of a run, by the rules of the tool's file.

use serde_json::{Map, Value};
use tintype_domain::{LoraChoice, LoraError};

use crate::coerce::{Coerced, Whole, coerce, whole_number};
use crate::inputs::{AspectRatio, ImageReference, InputImage, Inputs, OutputFormat, SamplerInputs};
use crate::tool::{Control, Decimals, EmptyMeans, Input, Role, Tool};

/// Characters of a prompt at most. Text encoders see 512 tokens (some 2,500 characters) at most;
/// four times that leaves room for habits without letting a book into every task list.
pub const MAX_PROMPT_CHARS: usize = 10_000;

/// Characters of an image's address or name at most, as browsers and proxies bound them. Pictures
/// sent inline are longer: [`Tool::validate`] lets them through, whoever stores them bounds them.
pub const MAX_REFERENCE_CHARS: usize = 8_192;

/// The fields of a request, in order. A name may come more than once: the first that says
/// something counts.
pub type Fields = [(String, Value)];

/// One fault of one field. Its `Display` is the sentence that clients see.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InputError {
    /// It did not come, or came empty.
    #[error("Request parameter [{id}] required")]
    Required {
        /// The field.
        id: String,
    },
    /// It is not a number.
    #[error("Request parameter [{id}] must be integer or float")]
    NotANumber {
        /// The field.
        id: String,
    },
    /// It is a number that no run can use.
    #[error("Request parameter [{id}] must be between {min} and {max}")]
    OutOfRange {
        /// The field.
        id: String,
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// The same for numbers with decimals.
    #[error("Request parameter [{id}] must be between {min} and {max}")]
    OutOfBounds {
        /// The field.
        id: String,
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// It is a longer text than a run can use.
    #[error("Request parameter [{id}] must be between 1 and {max} characters")]
    TooLong {
        /// The field.
        id: String,
        /// Characters at most.
        max: usize,
    },
    /// It is not one of the options.
    #[error("Request parameters are invalid. [{id}] must be one of: {options}")]
    NotAnOption {
        /// The field.
        id: String,
        /// What it may be.
        options: String,
    },
    /// It names no LoRAs.
    #[error("Request parameters are invalid. [{id}]: {reason}")]
    NoLoras {
        /// The field.
        id: String,
        /// What is wrong with it.
        reason: LoraError,
    },
    /// It is an object or a list.
    #[error("Request parameters are invalid. [{id}] must be a single value")]
    NotAValue {
        /// The field.
        id: String,
    },
}

/// What a client said about one input.
enum Said<'a> {
    Nothing,
    Empty,
    Text(String),
    Nonsense(&'a Input),
}

impl Tool {
    /// Checks the fields of a request and settles what the run will use.
    ///
    /// Fields that the tool does not know are ignored and not echoed. A field that did not come
    /// takes its default, and so does one that is `""`, except that an empty seed asks for a
    /// random one. Required inputs take no default. Of the [extras](Tool::extras) only those count,
    /// and are recorded, that say something. The recorded [`parameters`](Inputs::parameters) are
    /// valid fields again and give the same inputs.
    ///
    /// A picture to start from has the ratio that is wanted, unless the request names one.
    ///
    /// # Errors
    /// All faults, in the form's order.
    pub fn validate(&self, fields: &Fields) -> Result<Inputs, Vec<InputError>> {
        let mut inputs = Inputs {
            parameters: Map::new(),
            prompt: String::new(),
            images: Vec::new(),
            strength: None,
            num_outputs: 1,
            sampler: SamplerInputs::default(),
            loras: None,
            seed: None,
            aspect_ratio: AspectRatio::MatchInput,
            output_format: OutputFormat::Png,
            prompt_upsampling: false,
            safety_tolerance: 0,
            seed_id: None,
        };
        let mut errors = Vec::new();
        for input in &self.inputs {
            match effective(input, said(input, fields)) {
                Ok(text) => inputs.record(input, text),
                Err(error) => errors.push(error),
            }
        }
        for input in &self.extras {
            match checked_extra(input, said(input, fields)) {
                Ok(Some(text)) => inputs.record(input, text),
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        self.follow_start_image(&mut inputs, fields);
        if errors.is_empty() {
            Ok(inputs)
        } else {
            Err(errors)
        }
    }

    /// With a picture to start from the default of the aspect ratio does not count: it is not
    /// recorded either.
    fn follow_start_image(&self, inputs: &mut Inputs, fields: &Fields) {
        let ratio = self
            .inputs
            .iter()
            .find(|input| input.role == Role::AspectRatio);
        if let Some(ratio) = ratio
            && inputs.images.iter().any(|image| image.starts)
            && !matches!(said(ratio, fields), Said::Text(_))
        {
            inputs.aspect_ratio = AspectRatio::MatchInput;
            inputs.parameters.shift_remove(&ratio.id);
        }
    }
}

impl Inputs {
    /// Takes a checked text, and puts it on record.
    fn record(&mut self, input: &Input, text: String) {
        self.take(input, &text);
        self.parameters
            .insert(input.id.clone(), Value::String(text));
    }

    /// Reads a checked text into the typed field of its role.
    fn take(&mut self, input: &Input, text: &str) {
        match input.role {
            Role::Prompt => self.prompt = text.to_owned(),
            Role::Image | Role::StartImage => {
                let image = || InputImage {
                    id: input.id.clone(),
                    source: ImageReference::parse(text),
                    starts: input.role == Role::StartImage,
                };
                self.images.extend((!text.is_empty()).then(image));
            }
            Role::Strength => self.strength = text.parse().ok(),
            Role::NumOutputs => self.num_outputs = text.parse().unwrap_or(1),
            Role::Steps => self.sampler.steps = text.parse().ok(),
            Role::Guidance => self.sampler.guidance = text.parse().ok(),
            Role::Shift => self.sampler.shift = text.parse().ok(),
            Role::TrueCfg => self.sampler.true_cfg = text.parse().ok(),
            Role::NegativePrompt => self.sampler.negative_prompt = Some(text.to_owned()),
            Role::Loras => self.loras = LoraChoice::list(text).ok(),
            Role::Upsampling => self.prompt_upsampling = text == "true",
            Role::Safety => self.safety_tolerance = text.parse().unwrap_or_default(),
            Role::Seed => {
                self.seed_id = Some(input.id.clone());
                self.seed = text.parse().ok();
            }
            Role::AspectRatio => self.aspect_ratio = parse_ratio(text),
            Role::OutputFormat => {
                self.output_format = if text == "jpeg" {
                    OutputFormat::Jpeg
                } else {
                    OutputFormat::Png
                };
            }
        }
    }
}

/// What the fields say about an input: its own name before its aliases, and of each the first
/// value that is not empty.
fn said<'a>(input: &'a Input, fields: &Fields) -> Said<'a> {
    let names = std::iter::once(&input.id).chain(&input.aliases);
    let mut seen = Said::Nothing;
    for name in names {
        for (_, value) in fields.iter().filter(|(field, _)| field == name) {
            match coerce(value) {
                Coerced::Absent => {}
                Coerced::Empty => seen = Said::Empty,
                Coerced::Text(text) => return Said::Text(text),
                Coerced::Unusable => return Said::Nonsense(input),
            }
        }
    }
    seen
}

/// The text that a run uses and the client sees echoed.
fn effective(input: &Input, said: Said<'_>) -> Result<String, InputError> {
    match said {
        Said::Nonsense(input) => Err(InputError::NotAValue {
            id: input.id.clone(),
        }),
        Said::Text(text) => checked(input, text),
        Said::Nothing | Said::Empty if input.required => Err(InputError::Required {
            id: input.id.clone(),
        }),
        Said::Empty if input.empty == EmptyMeans::Random => Ok(String::new()),
        Said::Nothing | Said::Empty => Ok(input.default.clone()),
    }
}

/// The text of an extra parameter, if it says something.
fn checked_extra(input: &Input, said: Said<'_>) -> Result<Option<String>, InputError> {
    match said {
        Said::Nothing | Said::Empty => Ok(None),
        said => effective(input, said).map(Some),
    }
}

fn checked(input: &Input, text: String) -> Result<String, InputError> {
    if input.range.is_some() {
        return checked_number(input, &text);
    }
    if let Some(decimals) = input.decimals {
        return checked_decimal(input, decimals, &text);
    }
    if input.role == Role::Loras {
        let id = input.id.clone();
        let known = LoraChoice::list(&text);
        return known
            .map(|_| text)
            .map_err(|reason| InputError::NoLoras { id, reason });
    }
    if input.control == Control::Select {
        return checked_option(input, &text);
    }
    let max = if input.role.is_picture() {
        max_image_chars(&text)
    } else {
        MAX_PROMPT_CHARS
    };
    if text.chars().count() > max {
        return Err(InputError::TooLong {
            id: input.id.clone(),
            max,
        });
    }
    Ok(if input.role.is_picture() {
        text.trim().to_owned()
    } else {
        text
    })
}

/// Pictures sent inline have no limit of their own here: the body's limit holds, and whoever
/// stores them knows how many bytes they come to.
fn max_image_chars(text: &str) -> usize {
    let inline = match ImageReference::parse(text) {
        ImageReference::Url(_) => false,
        ImageReference::DataUri(_) => true,
        ImageReference::NameOrBase64(text) => text.bytes().all(is_base64),
    };
    if inline {
        usize::MAX
    } else {
        MAX_REFERENCE_CHARS
    }
}

/// Both alphabets, padding, and the line breaks that some encoders insert.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_=\r\n \t".contains(&byte)
}

fn checked_number(input: &Input, text: &str) -> Result<String, InputError> {
    let id = || input.id.clone();
    let Some(range) = input.range else {
        return Ok(text.to_owned());
    };
    let beyond = InputError::OutOfRange {
        id: id(),
        min: range.min,
        max: range.max,
    };
    match whole_number(text) {
        Whole::NotANumber => Err(InputError::NotANumber { id: id() }),
        Whole::Number(number)
            if number >= i128::from(range.min) && number <= i128::from(range.max) =>
        {
            Ok(number.to_string())
        }
        Whole::Number(_) | Whole::Beyond => Err(beyond),
    }
}

/// A number as clients write it, in the way that this service writes it.
fn checked_decimal(input: &Input, decimals: Decimals, text: &str) -> Result<String, InputError> {
    let Decimals { min, max, .. } = decimals;
    let id = input.id.clone();
    match text.trim().parse::<f64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
        Ok(number) if !number.is_nan() => Err(InputError::OutOfBounds { id, min, max }),
        _ => Err(InputError::NotANumber { id }),
    }
}

/// Options are matched by value, by label and by synonym, whatever the case.
fn checked_option(input: &Input, text: &str) -> Result<String, InputError> {
    let text = text.trim();
    let synonym = input
        .synonyms
        .iter()
        .find(|(spelling, _)| spelling.eq_ignore_ascii_case(text));
    if let Some((_, meaning)) = synonym {
        return Ok(meaning.clone());
    }
    let matches = |candidate: &str| candidate.eq_ignore_ascii_case(text);
    let by_value = input.options.iter().find(|option| matches(&option.value));
    by_value
        .or_else(|| input.options.iter().find(|option| matches(&option.label)))
        .map(|option| option.value.clone())
        .ok_or_else(|| InputError::NotAnOption {
            id: input.id.clone(),
            options: listed(input),
        })
}

fn listed(input: &Input) -> String {
    let shown = |option: &crate::Choice| {
        if option.value.is_empty() {
            option.label.clone()
        } else {
            option.value.clone()
        }
    };
    input
        .options
        .iter()
        .map(shown)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `16:9`, already known to be an option; anything else is `match_input_image`.
fn parse_ratio(text: &str) -> AspectRatio {
    let parts = text.split_once(':');
    let parsed =
        parts.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    match parsed {
        Some((width, height)) => AspectRatio::Ratio { width, height },
        None => AspectRatio::MatchInput,
    }
}
