//! The thread that owns the device: takes orders one by one, loads the model that each needs, and steps it to
//! its end.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tintype_flux::pipeline::{self, Finished, LoadWatch, Request, Run};
use tintype_words::sentence;
use tokio::sync::mpsc;

use super::StartError;
use super::line::{Asker, Commission, Line, Order, Wish};
use super::model::Model;
use super::plan::Need;
use super::preview::Previewer;
use super::request;
use super::residents::Residents;
use crate::{Drawing, Error, Picture, Progress, StageSeconds, Unavailable};

/// Says whether somebody still wants what is being done; looked at between two steps, and between two
/// tensors of a load.
type Check = Arc<dyn Fn() -> Result<(), Error> + Send + Sync>;

/// The models and the line before them.
pub(super) struct Worker {
    residents: Residents,
    line: Arc<Mutex<Line>>,
    stopping: Arc<AtomicBool>,
}

impl Worker {
    pub fn new(
        residents: Residents,
        orders: mpsc::Receiver<Order>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Self {
            residents,
            line: Arc::new(Mutex::new(Line::new(orders))),
            stopping,
        }
    }

    /// Serves until the host is dropped. Jobs that still wait then find their reply gone.
    pub fn work(mut self) {
        loop {
            let next = lock(&self.line).next();
            let Some(order) = next.filter(|_| !self.stopping.load(Ordering::Acquire)) else {
                return;
            };
            match order {
                Order::Draw(commission) => {
                    commission.asker.take_in_hand();
                    let outcome = catch_unwind(AssertUnwindSafe(|| self.draw(&commission)));
                    let outcome = outcome.unwrap_or_else(|panic| Err(failed_by(&*panic)));
                    commission.asker.answer(outcome);
                }
                Order::Load { model, reply } => {
                    let outcome = catch_unwind(AssertUnwindSafe(|| self.preload(&model)));
                    let outcome = outcome.unwrap_or(Err(StartError::Panicked));
                    tell_of_preload(&model, outcome.as_ref().err());
                    if let Some(reply) = reply {
                        // Whoever asked may be gone.
                        drop(reply.send(outcome));
                    }
                }
            }
        }
    }

    fn preload(&mut self, model: &Arc<Model>) -> Result<(), StartError> {
        let (line, stopping) = (self.line.clone(), self.stopping.clone());
        let watch: LoadWatch = Arc::new(move |_| {
            lock(&line).answer_cancelled();
            match stopping.load(Ordering::Acquire) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        self.residents.preload(model, watch)
    }

    fn check_of(&self, asker: &Arc<Asker>) -> Check {
        let (line, stopping) = (self.line.clone(), self.stopping.clone());
        let asker = asker.clone();
        Arc::new(move || {
            lock(&line).answer_cancelled();
            if asker.is_cancelled() {
                Err(Error::Cancelled)
            } else if stopping.load(Ordering::Acquire) {
                Err(Unavailable::shutting_down().into())
            } else {
                Ok(())
            }
        })
    }

    /// What is to be drawn, with a model and LoRAs that are ready for it.
    fn prepare(&mut self, commission: &Commission, watch: LoadWatch) -> Result<Request, Refusal> {
        let residents = &mut self.residents;
        let pipeline = residents.turn_to(&commission.model)?;
        let mut request = match &commission.wish {
            Wish::Request(request) => (**request).clone(),
            Wish::Job(job) => request::of_job((**job).clone(), pipeline.settings())?,
        };
        let work = pipeline.work_of(&request).map_err(error_of)?;
        let loras = residents.measure_loras(&commission.loras)?;
        let need = Need {
            work,
            lora_bytes: loras.bytes,
        };
        residents.make_ready(&need, loras.open, watch)?;
        request.loras = residents.take_loras(&commission.loras)?;
        Ok(request)
    }

    fn draw(&mut self, commission: &Commission) -> Result<Drawing, Error> {
        let check = self.check_of(&commission.asker);
        check()?;
        let looking = check.clone();
        let watch: LoadWatch = Arc::new(move |_| match looking() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
        let prepared = self.prepare(commission, watch);
        // A model for which no room was made is not kept.
        self.residents.forget_unloaded();
        let request = prepared.map_err(|refusal| match refusal {
            Refusal::Model(StartError::Model(error)) if is_stopped(&error) => stopped(&check),
            Refusal::Model(error) => error.for_job(),
            Refusal::Job(error) => error,
        })?;
        let pipeline = self.residents.pipeline();
        let error = |error: pipeline::Error| match is_stopped(&error) {
            true => stopped(&check),
            false => error_of(error),
        };
        (commission.progress)(Progress::Started);
        let mut run = pipeline.start(&request).map_err(error)?;
        check()?;
        let mut previewer = Previewer::new();
        while !run.is_done() {
            run.step().map_err(error)?;
            (commission.progress)(progress(&run));
            check()?;
            if commission.previews.is_raised() {
                previewer.look_at(&run, &commission.progress);
            }
        }
        let steps = run.steps() as u32;
        let finished = run.finish().map_err(error)?;
        let model_name = pipeline.settings().name.clone();
        let seed = request.items[0].seed;
        Ok(drawing_of(finished, model_name, seed, steps))
    }
}

/// Why nothing is drawn.
enum Refusal {
    Model(StartError),
    Job(Error),
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        Self::Model(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Job(error)
    }
}

/// A load that was stopped in the words of whoever stopped it.
fn stopped(check: &Check) -> Error {
    check().err().unwrap_or(Error::Cancelled)
}

fn is_stopped(error: &pipeline::Error) -> bool {
    matches!(error, pipeline::Error::Stopped)
}

fn tell_of_preload(model: &Model, error: Option<&StartError>) {
    if let Some(error) = error {
        tracing::warn!(
            model.name = %model.name,
            error = %sentence(error),
            "a model was not loaded ahead; the first task that needs it tries again"
        );
    }
}

/// The line has no invariants that a panic could break.
fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

fn progress(run: &Run<'_>) -> Progress {
    Progress::Step {
        step: run.steps_done() as u32,
        steps: run.steps() as u32,
    }
}

fn drawing_of(finished: Finished, model_name: String, seed: u64, steps: u32) -> Drawing {
    let Finished { pictures, seconds } = finished;
    let picture = |image| Picture { image, file: None };
    Drawing {
        pictures: pictures.into_iter().map(picture).collect(),
        engine_name: super::ENGINE_NAME.to_owned(),
        model_name,
        prompt_upsampled: false,
        seed,
        steps,
        seconds: StageSeconds {
            text: seconds.text,
            encode: seconds.encode,
            denoise: seconds.denoise,
            decode: seconds.decode,
        },
        remarks: Vec::new(),
    }
}

/// A pipeline's error in the engine's words, its causes included.
fn error_of(error: pipeline::Error) -> Error {
    match error {
        pipeline::Error::Rejected(reason) => Error::Rejected(reason),
        error => Error::Failed(sentence(&error)),
    }
}

fn failed_by(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no reason given");
    tracing::error!(panic.message = text, "a job panicked");
    Error::Failed(format!(
        "drawing failed unexpectedly ({text}); this is a bug"
    ))
}
