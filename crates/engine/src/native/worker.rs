//! The thread that owns the pipeline: takes orders one by one and steps each to its end.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tintype_flux::pipeline::{self, Finished, Pipeline, Request, Run};
use tokio::sync::{mpsc, oneshot};

use super::preview::Previewer;
use crate::{
    Cancellation, Error, Picture, PreviewWish, Progress, ProgressSink, StageSeconds, Unavailable,
};

/// A job on its way through the thread.
pub struct Order {
    pub request: Request,
    pub progress: ProgressSink,
    pub cancellation: Cancellation,
    pub previews: PreviewWish,
    pub reply: oneshot::Sender<Result<Picture, Error>>,
}

impl Order {
    /// Whether nobody wants the picture any more.
    fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled() || self.reply.is_closed()
    }

    /// Answers. The asker may be gone: then there is nobody to tell.
    fn answer(self, outcome: Result<Picture, Error>) {
        drop(self.reply.send(outcome));
    }
}

/// Jobs that wait, in order.
struct Line {
    orders: mpsc::Receiver<Order>,
    waiting: VecDeque<Order>,
}

impl Line {
    /// The next job; `None` when the engine is gone.
    fn next(&mut self) -> Option<Order> {
        self.waiting
            .pop_front()
            .or_else(|| self.orders.blocking_recv())
    }

    /// Answers those waiting jobs that were cancelled.
    fn answer_cancelled(&mut self) {
        // Bounded: what is taken out of the queue makes room there only until this is as long.
        while self.waiting.len() < super::QUEUE_LENGTH {
            match self.orders.try_recv() {
                Ok(order) => self.waiting.push_back(order),
                Err(_) => break,
            }
        }
        for order in std::mem::take(&mut self.waiting) {
            if order.is_cancelled() {
                order.answer(Err(Error::Cancelled));
            } else {
                self.waiting.push_back(order);
            }
        }
    }
}

/// The pipeline and its line.
pub struct Worker {
    pipeline: Pipeline,
    line: Line,
    stopping: Arc<AtomicBool>,
}

impl Worker {
    pub fn new(
        pipeline: Pipeline,
        orders: mpsc::Receiver<Order>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let waiting = VecDeque::new();
        Self {
            pipeline,
            line: Line { orders, waiting },
            stopping,
        }
    }

    /// Serves until the engine is dropped. Jobs that still wait then find their reply gone.
    pub fn work(mut self) {
        while let Some(order) = self.line.next() {
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| self.serve(&order)));
            order.answer(outcome.unwrap_or_else(|panic| Err(failed_by(&*panic))));
        }
    }

    fn serve(&mut self, order: &Order) -> Result<Picture, Error> {
        let Self {
            pipeline,
            line,
            stopping,
        } = self;
        let mut check = || {
            line.answer_cancelled();
            if order.is_cancelled() {
                Err(Error::Cancelled)
            } else if stopping.load(Ordering::Acquire) {
                Err(Unavailable::shutting_down().into())
            } else {
                Ok(())
            }
        };
        check()?;
        (order.progress)(Progress::Started);
        let mut run = pipeline.start(&order.request).map_err(error)?;
        check()?;
        let mut previewer = Previewer::new();
        while !run.is_done() {
            run.step().map_err(error)?;
            (order.progress)(progress(&run));
            check()?;
            if order.previews.is_raised() {
                previewer.look_at(&run, &order.progress);
            }
        }
        let steps = run.steps() as u32;
        let finished = run.finish().map_err(error)?;
        let model_name = pipeline.settings().name.clone();
        picture(finished, model_name, order.request.items[0].seed, steps)
    }
}

fn progress(run: &Run<'_>) -> Progress {
    Progress::Step {
        step: run.steps_done() as u32,
        steps: run.steps() as u32,
    }
}

fn picture(
    finished: Finished,
    model_name: String,
    seed: u64,
    steps: u32,
) -> Result<Picture, Error> {
    let Finished { pictures, seconds } = finished;
    let image = pictures.into_iter().next();
    Ok(Picture {
        image: image.ok_or_else(|| Error::Failed("the model gave no picture".to_owned()))?,
        file: None,
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
    })
}

/// A pipeline's error in the engine's words, its causes included.
fn error(error: pipeline::Error) -> Error {
    if let pipeline::Error::Rejected(reason) = error {
        return Error::Rejected(reason);
    }
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        message = format!("{message}: {source}");
        cause = source.source();
    }
    Error::Failed(message)
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
