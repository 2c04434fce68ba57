//! Why a model is not there, for whoever starts the program and for the jobs that wanted it.

use std::time::Duration;

use tintype_flux::pipeline;

use tintype_words::{Bytes, sentence};

use crate::{Error, Reason, Unavailable};

/// When it is worth trying again to load a model for which there was no room: whoever has the memory now
/// is rarely done within a second.
const ROOM_PAUSE: Duration = Duration::from_secs(15);

/// Why an engine could not be started, or a model not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No built-in model and no folder has this name.
    #[error(
        "there is no model {0}: give `nano`, the built-in model, or the folder of a FLUX model \
         in diffusers layout"
    )]
    UnknownModel(String),
    /// An instruction set was asked for that this machine lacks.
    #[error(transparent)]
    Isa(#[from] tintype_compute::MissingIsa),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] pipeline::Error),
    /// The model does not fit, however it is held.
    #[error(
        "the model {model} does not fit into memory: for a picture of {size} it needs {} even if its parts are \
         loaded one at a time ({parts}), and {} may be taken. {advice}", Bytes(*needed_bytes), Bytes(*room_bytes)
    )]
    TooLarge {
        /// Its name.
        model: String,
        /// That of a picture of its own size.
        size: String,
        /// What takes how much.
        parts: String,
        /// The least that it needs.
        needed_bytes: u64,
        /// What models may take.
        room_bytes: u64,
        /// What would fit.
        advice: String,
    },
    /// The model fits, but not with what a request asks for.
    #[error(
        "{what} is more than there is memory for: the model {model} needs {} for it even if its parts are \
         loaded one at a time, and {} may be taken. {advice}", Bytes(*needed_bytes), Bytes(*room_bytes)
    )]
    WorkTooLarge {
        /// What is asked for.
        what: String,
        /// The model's name.
        model: String,
        /// The least that it needs.
        needed_bytes: u64,
        /// What models may take.
        room_bytes: u64,
        /// What would fit.
        advice: String,
    },
    /// Nothing is left for a model that does not draw.
    #[error(
        "there is no room for {what}: it needs {}, and {} are left of what models may take together. Raise \
         memory_gb under [compute], choose a smaller model, or do without it",
        Bytes(*needed_bytes), Bytes(*room_bytes)
    )]
    NoRoomAside {
        /// What it is.
        what: String,
        /// What it takes.
        needed_bytes: u64,
        /// What is left.
        room_bytes: u64,
    },
    /// The model would fit, but something else has the memory.
    #[error(
        "there is no room for the model {model} now: it needs {}, and {} are free. It is loaded when memory \
         is back: end other programs", Bytes(*needed_bytes), Bytes(*room_bytes)
    )]
    NoRoomNow {
        /// Its name.
        model: String,
        /// The least that it needs.
        needed_bytes: u64,
        /// What models may take at the moment.
        room_bytes: u64,
    },
    /// The operating system gave no thread.
    #[error("the engine's thread could not be started")]
    Thread(#[source] std::io::Error),
    /// A panic while the device was opened or the model loaded.
    #[error("loading the model failed unexpectedly; this is a bug")]
    Panicked,
}

impl StartError {
    /// With its causes, as one sentence.
    pub fn sentence(&self) -> String {
        sentence(self)
    }

    /// What a job hears that wanted the model.
    pub(super) fn for_job(&self) -> Error {
        let message = format!("{}.", self.sentence());
        if let Self::WorkTooLarge { .. } = self {
            return Error::Rejected(message);
        }
        let unavailable = match self {
            Self::NoRoomNow { .. } => Unavailable {
                retry_after: Some(ROOM_PAUSE),
                ..Unavailable::new(Reason::NoMemory, message)
            },
            _ => Unavailable::new(Reason::NoWeights, message),
        };
        unavailable.into()
    }
}
