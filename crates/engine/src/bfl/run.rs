//! One job at the provider, from its order to its picture.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use url::Url;

use super::answers::Standing;
use super::backoff::Backoff;
use super::client::Trouble;
use super::order::{self, Model, Order};
use super::reporter::Reporter;
use super::{BflEngine, ENGINE_NAME, picture};
use crate::{Drawing, Error, Job, Picture, Reason, StageSeconds, Unavailable};

/// Tries to place an order. Of one whose answer was lost nobody knows whether it counts, so there
/// are few.
const SUBMIT_TRIES: u32 = 3;

/// Polls in a row that may fail.
const POLL_TRIES: u32 = 6;

/// Polls in a row that may find the order unknown: it may not have reached all of the provider's
/// machines yet.
const UNKNOWN_TRIES: u32 = 6;

/// Fetches of a picture, each from an address that was asked for afresh.
const FETCH_TRIES: u32 = 3;

/// How long an answer that could not be understood keeps a job from being ordered again: it may
/// have been ordered, and be paid for.
const UNCLEAR_PAUSE: Duration = Duration::from_secs(60);

/// Percents that the stages stand for; what lies between says the provider.
mod percent {
    pub const WAITING: u32 = 1;
    pub const ORDERED: u32 = 5;
    pub const READY: u32 = 95;
    pub const FETCHED: u32 = 100;
}

/// A job on its way.
pub struct Run<'a> {
    pub engine: &'a BflEngine,
    pub model: Model,
    pub job: &'a Job,
    pub reporter: Reporter,
}

impl Run<'_> {
    /// Draws it.
    pub async fn draw(&self) -> Result<Drawing, Error> {
        self.reporter.started();
        let started = Instant::now();
        let address = match self.ordered_before() {
            Some(address) => address,
            None => self.order().await?,
        };
        self.reporter.percent(percent::ORDERED);
        let drawn = self.wait_for(&address).await;
        // What is kept is worth asking for again only while the provider is out of reach.
        if !matches!(drawn, Err(Error::Unavailable(_))) {
            self.job.receipt.forget();
        }
        let drawing = drawn?;
        self.reporter.percent(percent::FETCHED);
        Ok(Drawing {
            seconds: StageSeconds {
                denoise: started.elapsed().as_secs_f64(),
                ..StageSeconds::default()
            },
            ..drawing
        })
    }

    fn ordered_before(&self) -> Option<Url> {
        let kept = self.job.receipt.get()?;
        self.engine.client.polled(&kept).ok()
    }

    /// Places the order, and keeps where to ask for it.
    async fn order(&self) -> Result<Url, Error> {
        let order = self.written().await?;
        let pace = &self.engine.options.pace;
        let mut backoff = Backoff::new(pace.retry);
        let give_up = Instant::now() + pace.patience_with_limits;
        let mut tries = 0;
        loop {
            match self.engine.client.submit(self.model, &order).await {
                Ok(address) => {
                    self.job.receipt.keep(address.to_string());
                    return Ok(address);
                }
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Busy { retry_after }) => {
                    let wait = retry_after.unwrap_or_else(|| backoff.wait());
                    if Instant::now() + wait > give_up {
                        return Err(over_limits(wait));
                    }
                    self.reporter.percent(percent::WAITING);
                    sleep(self.engine.spread(wait).max(wait)).await;
                }
                Err(trouble @ Trouble::Unclear) => {
                    return Err(Error::Unavailable(Unavailable {
                        retry_after: Some(UNCLEAR_PAUSE),
                        ..down(&trouble)
                    }));
                }
                Err(trouble @ Trouble::Passing(_)) => {
                    tries += 1;
                    if tries == SUBMIT_TRIES {
                        return Err(down(&trouble).into());
                    }
                    sleep(self.engine.spread(backoff.wait())).await;
                }
            }
        }
    }

    /// The order, its input picture encoded off the event loop.
    async fn written(&self) -> Result<Order, Error> {
        let (job, model) = (self.job.clone(), self.model);
        let written = tokio::task::spawn_blocking(move || Order::of(job, model)).await;
        written.unwrap_or_else(|_| Err(Error::Failed("the order could not be written".to_owned())))
    }

    /// Asks until there is a picture, or a reason why there will be none.
    async fn wait_for(&self, address: &Url) -> Result<Drawing, Error> {
        let pace = &self.engine.options.pace;
        let mut backoff = Backoff::new(pace.poll);
        let (mut failures, mut unknown, mut fetches) = (0, 0, 0);
        loop {
            sleep(self.engine.spread(backoff.wait())).await;
            let standing = match self.engine.client.poll(address).await {
                Ok(standing) => standing,
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Busy { retry_after }) => {
                    sleep(retry_after.unwrap_or(pace.poll.1)).await;
                    continue;
                }
                Err(trouble) => {
                    failures += 1;
                    if failures == POLL_TRIES {
                        return Err(down(&trouble).into());
                    }
                    continue;
                }
            };
            failures = 0;
            match standing {
                Standing::Working { percent } => self.reporter.percent(percent),
                Standing::Moderated(moderated) => return Err(Error::Moderated(moderated)),
                Standing::Failed(reason) => {
                    let sentence = format!("the provider could not draw it: {reason}");
                    return Err(Error::Failed(sentence));
                }
                Standing::Unknown if unknown < UNKNOWN_TRIES => unknown += 1,
                Standing::Unknown => {
                    let sentence = "the provider does not know of the job any more".to_owned();
                    return Err(Error::Failed(sentence));
                }
                Standing::Ready { sample, seed } => {
                    self.reporter.percent(percent::READY);
                    fetches += 1;
                    match self.fetch(&sample, seed).await {
                        Ok(drawing) => return Ok(drawing),
                        Err(Bad::Final(error)) => return Err(error),
                        Err(bad) if fetches == FETCH_TRIES => return Err(bad.into_error()),
                        // A fresh address comes with the next poll.
                        Err(_) => backoff = Backoff::new(pace.retry),
                    }
                }
            }
        }
    }

    async fn fetch(&self, sample: &str, seed: Option<u64>) -> Result<Drawing, Bad> {
        let fetched = self.engine.client.fetch(sample).await;
        let bytes = fetched.map_err(|trouble| match trouble {
            Trouble::Final(error) => Bad::Final(error),
            trouble => Bad::OutOfReach(trouble),
        })?;
        // Off the event loop: a large PNG takes a while.
        let read = tokio::task::spawn_blocking(move || picture::read(bytes)).await;
        let read = read.unwrap_or_else(|_| Err("could not be read".to_owned()));
        let (image, file) = read.map_err(Bad::Damaged)?;
        let file = Some(file);
        Ok(Drawing {
            pictures: vec![Picture { image, file }],
            engine_name: ENGINE_NAME.to_owned(),
            model_name: self.model.name().to_owned(),
            prompt_upsampled: self.job.prompt_upsampling,
            seed: seed.unwrap_or(self.job.seed),
            steps: 0,
            seconds: StageSeconds::default(),
            remarks: order::passed_over(&self.job.sampling).into_iter().collect(),
        })
    }
}

/// Why a picture that is ready could not be had.
enum Bad {
    OutOfReach(Trouble),
    Damaged(String),
    Final(Error),
}

impl Bad {
    fn into_error(self) -> Error {
        match self {
            Self::OutOfReach(trouble) => down(&trouble).into(),
            Self::Damaged(what) => Error::Failed(format!("the provider's picture {what}")),
            Self::Final(error) => error,
        }
    }
}

fn down(what: &Trouble) -> Unavailable {
    Unavailable::new(
        Reason::Down,
        format!("The provider {what}. Try again later."),
    )
}

fn over_limits(wait: Duration) -> Error {
    let message = "The provider has more to do than it takes from this service. Try again later.";
    Error::Unavailable(Unavailable {
        retry_after: Some(wait),
        ..Unavailable::new(Reason::OverLimits, message)
    })
}
