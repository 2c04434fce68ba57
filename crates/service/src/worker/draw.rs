//! The engine's part of an attempt: run it, and pass on what it reports.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use tintype_domain::{EventKind, ExitCode, TaskState, UnixMillis};
use tintype_engine::{Drawing, Engine, Error, Job, PreviewWish, Progress, ProgressSink, Reason};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Worker;
use super::attempt::Halt;
use super::held::{Held, Stop};
use super::show::Sketches;

/// Reports that may wait for the store. The thread that owns the device never waits for it: when
/// the store is slower than a few hundred steps, the newest reports are dropped.
const PROGRESS_BACKLOG: usize = 256;

/// Longest wait between tries of an engine that cannot draw for the moment, unless it asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What an engine reported, and when.
#[derive(Debug)]
struct Report {
    at: UnixMillis,
    progress: Progress,
}

/// What an engine has reported in this attempt and is not recorded yet.
#[derive(Debug, Default)]
struct Reports {
    /// When the first of all came in.
    first: Option<UnixMillis>,
    waiting: Vec<Report>,
}

impl Reports {
    /// What to record of those that wait, which then wait no longer.
    fn take(&mut self) -> Vec<(UnixMillis, EventKind)> {
        let mut happened = Vec::with_capacity(self.waiting.len() + 1);
        for Report { at, progress } in self.waiting.drain(..) {
            let first = *self.first.get_or_insert(at);
            let mut add = |kind| happened.push((at, kind));
            match progress {
                Progress::Started => add(entered(TaskState::Started)),
                Progress::Step { step, steps } => {
                    // Entered once; the store passes over the repetitions.
                    add(entered(TaskState::Output));
                    add(EventKind::Progress {
                        step,
                        steps,
                        elapsed_millis: u64::try_from(at.0 - first.0).unwrap_or_default(),
                    });
                }
                Progress::Preview { .. } => {}
            }
        }
        happened
    }
}

fn entered(state: TaskState) -> EventKind {
    EventKind::Entered { state }
}

/// How long to wait before the engine is asked again; `None` if that is of no use.
fn wait_after(result: &Result<Drawing, Error>, backoff: Duration) -> Option<Duration> {
    match result {
        Err(Error::Unavailable(unavailable))
            if unavailable.reason != Reason::ShuttingDown && unavailable.reason.is_temporary() =>
        {
            let wait = unavailable.retry_after.unwrap_or(backoff);
            Some(wait.max(backoff))
        }
        _ => None,
    }
}

impl Worker {
    /// Has an engine draw, up to [`TaskState::Ended`]. What its end brings is noted, not recorded:
    /// it goes with what follows. An engine that cannot draw for the moment is waited for.
    pub(super) async fn draw(
        &self,
        engine: &dyn Engine,
        job: Job,
        held: &Held,
    ) -> Result<Drawing, Halt> {
        let patience = Instant::now() + self.config.patience;
        let mut backoff = self.config.poll;
        loop {
            let result = self.draw_once(engine, job.clone(), held).await?;
            let Some(wait) = wait_after(&result, backoff) else {
                return self.conclude(result, held).await;
            };
            if Instant::now() + wait >= patience {
                return self.conclude(result, held).await;
            }
            self.record(held).await?;
            tokio::select! {
                stop = held.stopped() => return Err(Halt::Stopped(stop)),
                () = sleep(wait) => {}
            }
            backoff = (backoff * 2).min(LONGEST_WAIT);
        }
    }

    /// One try.
    async fn draw_once(
        &self,
        engine: &dyn Engine,
        job: Job,
        held: &Held,
    ) -> Result<Result<Drawing, Error>, Halt> {
        let (sender, mut received) = mpsc::channel(PROGRESS_BACKLOG);
        let clock = self.service.clock();
        let (sketches, showing) = Sketches::line();
        let sink: ProgressSink = Box::new(move |progress| {
            if let Some(progress) = sketches.sort_out(progress) {
                let at = clock.now();
                drop(sender.try_send(Report { at, progress }));
            }
        });
        let easel = self.service.hub.draw(held.task, held.epoch);
        // A preview shows what the picture is going to be: nobody has judged that yet.
        let withheld = self.service.moderation.judges_pictures();
        let previews = if withheld {
            PreviewWish::new()
        } else {
            easel.wish()
        };
        let job = Job { previews, ..job };
        let mut show = pin!(showing.show(&easel).fuse());
        let mut run = pin!(engine.run(job, sink, held.cancellation.clone()));
        let mut reports = Reports::default();
        let mut fenced = Ok(());
        let result = loop {
            tokio::select! {
                result = &mut run => break result,
                () = &mut show, if !withheld => {}
                // A closed channel gives nothing for ever: the engine alone decides the end.
                1.. = received.recv_many(&mut reports.waiting, PROGRESS_BACKLOG) => {
                    held.note(reports.take());
                    fenced = fenced.and(self.record(held).await);
                    if fenced.is_err() {
                        held.stop(Stop::Lost);
                    }
                }
            }
        };
        while let Ok(report) = received.try_recv() {
            reports.waiting.push(report);
        }
        held.note(reports.take());
        fenced?;
        Ok(result)
    }

    async fn conclude(&self, result: Result<Drawing, Error>, held: &Held) -> Result<Drawing, Halt> {
        let halt = match (result, held.why()) {
            // A picture that was finished all the same is not thrown away for a drain.
            (Ok(picture), None | Some(Stop::GiveBack)) => {
                use TaskState::{Ended, Output, OutputFull, Started};
                self.note(held, &[Started, Output, OutputFull, Ended]);
                return Ok(picture);
            }
            (Ok(_) | Err(_), Some(stop)) => Halt::Stopped(stop),
            (Err(Error::Unavailable(unavailable)), None)
                if unavailable.reason == Reason::ShuttingDown =>
            {
                self.record(held).await?;
                // Not at once: a queue that gives the task straight back would spin.
                tokio::select! {
                    _ = held.stopped() => {}
                    () = sleep(self.config.poll) => {}
                }
                Halt::Stopped(held.why().unwrap_or(Stop::GiveBack))
            }
            (Err(Error::Rejected(reason)), None) => Halt::failed(ExitCode::INPUT, reason),
            (Err(Error::Moderated(moderated)), None) => Halt::moderated(&moderated),
            (Err(Error::Unavailable(unavailable)), None) => {
                tracing::warn!(
                    task.id = %held.task, engine.reason = ?unavailable.reason,
                    error = %unavailable, "no engine could draw a task"
                );
                Halt::failed(ExitCode::ENGINE, unavailable.to_string())
            }
            (Err(error @ (Error::Failed(_) | Error::Cancelled)), None) => Halt::failed(
                ExitCode::ENGINE,
                format!("The model could not draw this: {error}"),
            ),
        };
        // Its last states are entered with its end: who hears of them finds the reason there.
        Err(halt)
    }
}
