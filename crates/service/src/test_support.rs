//! For tests of this crate and of those above it: an engine that follows a script, and a clock
//! that is moved by hand, and a receiver of webhooks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use image::{Rgb, RgbImage};
use tintype_domain::UnixMillis;
use tintype_engine::{
    Cancellation, Drawing, Engine, Error, Job, Picture, PictureFile, PreviewWish, Progress,
    ProgressSink, Size, StageSeconds, Unavailable,
};
use tokio::sync::watch;

use crate::Clock;

mod judge;
mod receiver;
mod upsampler;

pub use judge::StandInJudge;
pub use receiver::{Answer, Call, Receiver};
pub use upsampler::StandInUpsampler;

/// How often a held job looks whether it is cancelled: its denoising steps are this short.
const STEP: Duration = Duration::from_millis(1);

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows the hour of the documented example.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_734_513_807_000)))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(
            i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
            Ordering::SeqCst,
        );
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// What the fake engine does with a job.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Draws a picture of one colour.
    Draw,
    /// Waits after its first step until it is opened or cancelled, then draws. Shows a preview
    /// while it waits, if one is wanted.
    Hold(Hold),
    /// Says that the job can never run.
    Reject(String),
    /// Fails.
    Fail(String),
    /// Says that it is shutting down.
    Unavailable,
    /// Ends with an error before anything is drawn.
    Refuse(Error),
    /// Draws, and hands a file over with the pixels.
    Deliver(PictureFile),
    /// Panics.
    Panic,
}

/// The strings of a held job.
#[derive(Debug, Clone)]
pub struct Hold {
    reached: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl Hold {
    fn new() -> Self {
        Self {
            reached: watch::channel(false).0,
            open: watch::channel(false).0,
        }
    }

    /// Waits until the job has made its first step.
    pub async fn reached(&self) {
        drop(self.reached.subscribe().wait_for(|&reached| reached).await);
    }

    /// Lets it go on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// An engine without a model.
#[derive(Debug, Default)]
pub struct FakeEngine {
    script: Mutex<VecDeque<Behaviour>>,
    jobs: Mutex<Vec<Job>>,
}

impl FakeEngine {
    /// Denoising steps of every job.
    pub const STEPS: u32 = 3;

    /// An engine that draws whatever it is asked to.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Says what happens to the next job that has no part in the script yet.
    pub fn then(&self, behaviour: Behaviour) {
        lock(&self.script).push_back(behaviour);
    }

    /// Holds that job after its first step.
    pub fn then_hold(&self) -> Hold {
        let hold = Hold::new();
        self.then(Behaviour::Hold(hold.clone()));
        hold
    }

    /// The jobs that arrived so far.
    pub fn jobs(&self) -> Vec<Job> {
        lock(&self.jobs).clone()
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn model_name(&self) -> &str {
        "fake"
    }

    async fn run(
        &self,
        job: Job,
        progress: ProgressSink,
        cancellation: Cancellation,
    ) -> Result<Drawing, Error> {
        lock(&self.jobs).push(job.clone());
        let behaviour = lock(&self.script).pop_front().unwrap_or(Behaviour::Draw);
        match behaviour {
            Behaviour::Reject(reason) => return Err(Error::Rejected(reason)),
            Behaviour::Unavailable => return Err(Unavailable::shutting_down().into()),
            Behaviour::Refuse(error) => return Err(error),
            _ => progress(Progress::Started),
        }
        for step in 1..=Self::STEPS {
            if cancellation.is_cancelled() {
                return Err(Error::Cancelled);
            }
            progress(Progress::Step {
                step,
                steps: Self::STEPS,
            });
            match &behaviour {
                Behaviour::Hold(hold) => {
                    let show = || {
                        let image = picture_of(&job, 0);
                        progress(Progress::Preview { step, image });
                    };
                    wait_for(hold, &cancellation, &job.previews, show).await;
                }
                Behaviour::Fail(reason) => return Err(Error::Failed(reason.clone())),
                Behaviour::Panic => panic!("the fake engine panics as it was told"),
                _ => {}
            }
        }
        let file = match behaviour {
            Behaviour::Deliver(file) => Some(file),
            _ => None,
        };
        let picture = |index| Picture {
            image: picture_of(&job, index),
            file: file.clone(),
        };
        Ok(Drawing {
            pictures: (0..job.pictures).map(picture).collect(),
            engine_name: "fake".to_owned(),
            model_name: "fake".to_owned(),
            prompt_upsampled: false,
            seed: job.seed,
            steps: Self::STEPS,
            seconds: StageSeconds::default(),
            remarks: Vec::new(),
        })
    }
}

/// Waits, and shows one preview if one is wanted meanwhile.
async fn wait_for(
    hold: &Hold,
    cancellation: &Cancellation,
    previews: &PreviewWish,
    show: impl Fn(),
) {
    hold.reached.send_replace(true);
    let mut shown = false;
    while !cancellation.is_cancelled() && !*hold.open.borrow() {
        if previews.is_raised() && !shown {
            show();
            shown = true;
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Sixteen pixels for each part of a ratio, in a colour that the seed and the picture's place decide.
fn picture_of(job: &Job, index: u32) -> RgbImage {
    let start = job.start.as_ref().map(|start| &start.image);
    let (width, height) = match (job.size, job.references.first().or(start)) {
        (Size::Exact { width, height }, _) => (width, height),
        (Size::Ratio { width, height }, _) => (16 * width, 16 * height),
        (Size::MatchReference, Some(reference)) => reference.dimensions(),
        (Size::MatchReference, None) => (64, 64),
    };
    let [red, green, blue, ..] = (job.seed + u64::from(index)).to_le_bytes();
    RgbImage::from_pixel(width, height, Rgb([red, green, blue]))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a file is not taken for a picture, if it is not.
pub fn refusal_of_picture(bytes: &[u8]) -> Option<String> {
    let refused = crate::preprocess::decode::decode(bytes).err();
    refused.map(|error| error.to_string())
}

/// The signature in a header, if there is one.
pub fn signature_in(header: &str) -> Option<[u8; 32]> {
    crate::authentication::find_signature(header)
}
