//! The engine's part of an attempt: run it, and pass on what it reports.

use std::pin::pin;

use tintype_domain::{EventKind, ExitCode, TaskState};
use tintype_engine::{Engine, Error, Job, Picture, Progress, ProgressSink};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Worker;
use super::attempt::Halt;
use super::held::{Held, Stop};

/// Reports that may wait for the store. The thread that owns the device never waits for it: when
/// the store is slower than a few hundred steps, the newest reports are dropped.
const PROGRESS_BACKLOG: usize = 256;

impl Worker {
    /// Has an engine draw, up to [`TaskState::Ended`].
    pub(super) async fn draw(
        &self,
        engine: &dyn Engine,
        job: Job,
        held: &Held,
    ) -> Result<Picture, Halt> {
        let (sender, mut reports) = mpsc::channel(PROGRESS_BACKLOG);
        let sink: ProgressSink = Box::new(move |progress| drop(sender.try_send(progress)));
        let mut run = pin!(engine.run(job, sink, held.cancellation.clone()));
        let mut batch = Vec::new();
        let mut fenced = Ok(());
        let result = loop {
            tokio::select! {
                result = &mut run => break result,
                // A closed channel gives nothing for ever: the engine alone decides the end.
                1.. = reports.recv_many(&mut batch, PROGRESS_BACKLOG) => {
                    fenced = fenced.and(self.report(held, &mut batch).await);
                    if fenced.is_err() {
                        held.stop(Stop::Lost);
                    }
                }
            }
        };
        while let Ok(progress) = reports.try_recv() {
            batch.push(progress);
        }
        fenced.and(self.report(held, &mut batch).await)?;
        self.conclude(result, held).await
    }

    async fn conclude(&self, result: Result<Picture, Error>, held: &Held) -> Result<Picture, Halt> {
        let halt = match (result, held.why()) {
            // A picture that was finished all the same is not thrown away for a drain.
            (Ok(picture), None | Some(Stop::GiveBack)) => {
                use TaskState::{Ended, Output, OutputFull, Started};
                self.mark(held, &[Started, Output, OutputFull, Ended])
                    .await?;
                return Ok(picture);
            }
            (Ok(_) | Err(_), Some(stop)) => Halt::Stopped(stop),
            (Err(Error::Unavailable), None) => {
                // Not at once: a queue that gives the task straight back would spin.
                tokio::select! {
                    _ = held.stopped() => {}
                    () = sleep(self.config.poll) => {}
                }
                Halt::Stopped(held.why().unwrap_or(Stop::GiveBack))
            }
            (Err(Error::Rejected(reason)), None) => Halt::failed(ExitCode::INPUT, reason),
            (Err(error @ (Error::Failed(_) | Error::Cancelled)), None) => Halt::failed(
                ExitCode::ENGINE,
                format!("The model could not draw this: {error}"),
            ),
        };
        if let Halt::Failed(_) = halt {
            self.mark(held, &[TaskState::Ended, TaskState::PostprocessStarted])
                .await?;
        }
        Err(halt)
    }

    /// Records what an engine reported, and empties the batch.
    async fn report(&self, held: &Held, batch: &mut Vec<Progress>) -> Result<(), Halt> {
        let mut kinds = Vec::with_capacity(batch.len() + 1);
        for progress in batch.drain(..) {
            match progress {
                Progress::Started => kinds.push(EventKind::Entered {
                    state: TaskState::Started,
                }),
                Progress::Step { step, steps } => {
                    // Entered once; the store passes over the repetitions.
                    kinds.push(EventKind::Entered {
                        state: TaskState::Output,
                    });
                    kinds.push(EventKind::Progress { step, steps });
                }
                Progress::Preview { .. } => {}
            }
        }
        if kinds.is_empty() {
            Ok(())
        } else {
            self.record(held, kinds).await
        }
    }
}
