//! One claimed task, from its acceptance to its end.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use image::RgbImage;
use tintype_catalog::{AspectRatio, InputImage, Inputs, OutputFormat, SamplerInputs, Sizes};
use tintype_domain::{
    Epoch, EventKind, ExitCode, LoraChoice, Maker, Outcome, Task, TaskId, TaskState,
};
use tintype_engine::{
    Engine, FileType, Job, LoraWish, Moderated, Sampling, Size, SizeTable, StartPicture,
};
use tintype_store::{Fenced, Progress};
use tokio::time::{Instant, sleep};

use super::Worker;
use super::held::{Held, Stop};
use super::keep::Numbered;
use super::moderate::Remarks;
use super::upsample::Upsampled;
use crate::preprocess::ImageError;

/// First and longest wait between tries to write a task's end.
pub(super) const COMPLETE_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));

/// How long a finished picture is held for a store that cannot write. After that the lease runs
/// out, and the task is drawn again when the store is back.
pub(super) const COMPLETE_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Why an attempt does not end with a picture.
#[derive(Debug)]
pub(super) enum Halt {
    /// Someone or something asked for it.
    Stopped(Stop),
    /// It cannot be done.
    Failed(Failure),
}

/// A failure as the task will carry it.
#[derive(Debug)]
pub(super) struct Failure {
    exit_code: ExitCode,
    sentence: String,
}

impl Halt {
    /// It is not let through: the one place that writes such an end.
    pub(super) fn moderated(moderated: &Moderated) -> Self {
        Self::failed(ExitCode::MODERATED, moderated.to_string())
    }

    pub(super) fn failed(exit_code: ExitCode, sentence: impl Into<String>) -> Self {
        Self::Failed(Failure {
            exit_code,
            sentence: sentence.into(),
        })
    }
}

/// A task that is ready for an engine.
struct Prepared {
    job: Job,
    inputs: Inputs,
    upsampled: Upsampled,
}

impl Worker {
    /// Runs a claimed task to its end, whatever happens on the way.
    pub(super) async fn attempt(&self, task: &Task, held: &Held) {
        let started = Instant::now();
        let caught = AssertUnwindSafe(self.run(task, held)).catch_unwind().await;
        let ended = caught.unwrap_or_else(|panic| Err(panicked(task, &*panic)));
        // What a failure left unrecorded comes before the end.
        let ended = self.record(held).await.and(ended);
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(Halt::Failed(failure)) => Outcome::Failed {
                exit_code: failure.exit_code,
                debug_error: failure.sentence,
            },
            Err(Halt::Stopped(Stop::Cancel)) => Outcome::Cancelled,
            Err(Halt::Stopped(Stop::GiveBack)) => return self.release(held.task, held.epoch).await,
            Err(Halt::Stopped(Stop::Lost)) => {
                tracing::warn!(task.id = %task.id, "lost the lease of a task; leaving it alone");
                return;
            }
        };
        log_end(task, &outcome, started.elapsed());
        self.complete(held, outcome).await;
    }

    async fn run(&self, task: &Task, held: &Held) -> Result<Outcome, Halt> {
        self.note(held, &[TaskState::PreprocessStarted]);
        self.check_moderators()?;
        let mut remarks = Remarks::default();
        let Prepared {
            job,
            inputs,
            upsampled,
        } = self.prepare(task, held, &mut remarks).await?;
        if let Some(stop) = held.why() {
            return Err(Halt::Stopped(stop));
        }
        let engine = self.engine_of(task)?;
        self.note(held, &[TaskState::PreprocessEnded, TaskState::Assigned]);
        self.record(held).await?;
        let drawing = self.draw(engine.as_ref(), job, held).await?;
        self.note(held, &[TaskState::PostprocessStarted]);
        self.record(held).await?;
        let maker = Maker {
            engine: drawing.engine_name,
            model: drawing.model_name,
        };
        let unheard = upsampled.remark(drawing.prompt_upsampled);
        let drawn = drawing.pictures.len();
        let pictures = self
            .moderate_outputs(drawing.pictures, &inputs, &mut remarks)
            .await?;
        let mut outputs = Vec::with_capacity(pictures.len());
        for (index, picture) in pictures {
            let numbered = Numbered { index, picture };
            let kept = self.keep(task, held, numbered, inputs.output_format);
            outputs.push(kept.await?);
        }
        if let Some(unheard) = unheard {
            remarks.add(unheard);
        }
        for remark in drawing.remarks {
            remarks.add(remark);
        }
        Ok(Outcome::Succeeded {
            withheld: (drawn - outputs.len()) as u32,
            outputs,
            maker: Some(maker),
            debug_error: remarks.text(),
        })
    }

    /// Reads the recorded parameters again, and fetches what they point at.
    async fn prepare(
        &self,
        task: &Task,
        held: &Held,
        remarks: &mut Remarks,
    ) -> Result<Prepared, Halt> {
        let service = &self.service;
        let tool = service.catalog.tool(&task.tool).ok_or_else(|| {
            let sentence = format!("The tool {} is not offered any more.", task.tool);
            Halt::failed(ExitCode::INPUT, sentence)
        })?;
        let fields: Vec<_> = task.parameters.clone().into_iter().collect();
        let inputs = tool.validate(&fields).map_err(|errors| {
            let sentences: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Halt::failed(ExitCode::INPUT, sentences.join(" "))
        })?;
        self.moderate_prompt(&inputs, held, remarks).await?;
        let mut references = Vec::new();
        let mut start = None;
        for image in &inputs.images {
            let picture = self.input_picture(task, image, held).await?;
            self.moderate_input(&picture, &inputs, held, remarks)
                .await?;
            if image.starts {
                start = Some(StartPicture {
                    image: picture,
                    strength: inputs.strength,
                });
            } else {
                references.push(picture);
            }
        }
        let upsampled = self.upsample(task, &inputs, held, remarks).await?;
        let (prompt, prompt_upsampling) = match &upsampled {
            Upsampled::NotWished => (&inputs.prompt, false),
            // Nothing rewrites it twice.
            Upsampled::To(prompt) => (prompt, false),
            Upsampled::Not(_) => (&inputs.prompt, true),
        };
        let defaults = self.config.tool_defaults.get(&task.tool);
        let default_loras = self.config.tool_loras.get(&task.tool);
        let job = Job {
            loras: inputs.loras.as_deref().map(loras),
            default_loras: default_loras.cloned().unwrap_or_default(),
            references,
            start,
            pictures: inputs.num_outputs,
            sampling: sampling(&inputs.sampler),
            defaults: defaults.cloned().unwrap_or_default(),
            size: match inputs.aspect_ratio {
                AspectRatio::MatchInput => Size::MatchReference,
                AspectRatio::Ratio { width, height } => Size::Ratio { width, height },
            },
            size_table: match tool.sizes {
                Sizes::Kontext => SizeTable::Kontext,
                Sizes::Pro => SizeTable::Pro,
            },
            tool: Some(task.tool.to_string()),
            safety_tolerance: Some(inputs.safety_tolerance),
            prompt_upsampling,
            file_type: match inputs.output_format {
                OutputFormat::Jpeg => FileType::Jpeg,
                OutputFormat::Png => FileType::Png,
            },
            ..Job::new(prompt.clone(), inputs.seed.unwrap_or_default())
        };
        Ok(Prepared {
            job,
            inputs,
            upsampled,
        })
    }

    /// Fetches and decodes an input picture. That may take long: a stop does not wait for it.
    async fn input_picture(
        &self,
        task: &Task,
        image: &InputImage,
        held: &Held,
    ) -> Result<RgbImage, Halt> {
        self.record(held).await?;
        let picture = tokio::select! {
            stop = held.stopped() => return Err(Halt::Stopped(stop)),
            picture = self.service.reference_picture(task.project, &image.source) => picture,
        };
        picture.map_err(|error| Halt::failed(exit_code(&error), error.to_string()))
    }

    fn engine_of(&self, task: &Task) -> Result<Arc<dyn Engine>, Halt> {
        self.engines.get(&task.tool).cloned().ok_or_else(|| {
            let sentence = format!(
                "No model is bound to the tool {} on this server. Its operator has to name one.",
                task.tool
            );
            Halt::failed(ExitCode::ENGINE, sentence)
        })
    }

    /// Notes that a task entered some states just now.
    pub(super) fn note(&self, held: &Held, states: &[TaskState]) {
        let at = self.service.now();
        let entered = states.iter().map(|&state| EventKind::Entered { state });
        held.note(entered.map(|kind| (at, kind)));
    }

    /// Records what was noted, in its order and in one transaction. Whoever is about to wait calls
    /// it first: what lasts is seen. Only a lost lease stops the task: a store that cannot write
    /// right now may be back when the end is written.
    pub(super) async fn record(&self, held: &Held) -> Result<(), Halt> {
        let happened = held.take_notes();
        if happened.is_empty() {
            return Ok(());
        }
        let progress = |(at, kind)| Progress {
            task: held.task,
            epoch: held.epoch,
            at,
            kind,
        };
        let progress = happened.into_iter().map(progress).collect();
        match self.service.store.record(progress).await {
            Ok(fenced) if fenced.contains(&Fenced::Stale) => Err(Halt::Stopped(Stop::Lost)),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(task.id = %held.task, error = %error, "progress was not recorded");
                Ok(())
            }
        }
    }

    /// Writes a task's end, with patience: the work is done, and its files are kept.
    async fn complete(&self, held: &Held, outcome: Outcome) {
        let (mut wait, longest) = COMPLETE_BACKOFF;
        let patience = Instant::now() + COMPLETE_PATIENCE;
        loop {
            let (outcome, now) = (outcome.clone(), self.service.now());
            let error = match self
                .service
                .store
                .complete(held.task, held.epoch, outcome, now)
                .await
            {
                Ok(Fenced::Applied) => return self.service.ended.notify_one(),
                Ok(Fenced::Stale) => {
                    tracing::warn!(task.id = %held.task, "a task had ended or moved on already");
                    return;
                }
                Err(error) => error,
            };
            let transient = matches!(error, tintype_store::Error::Unavailable { .. });
            if !transient || Instant::now() >= patience || held.why() == Some(Stop::Lost) {
                tracing::error!(
                    task.id = %held.task, error = %error,
                    "a task's end was not recorded; it will run again when its lease ends"
                );
                return;
            }
            tracing::warn!(task.id = %held.task, error = %error, "cannot record an end; trying again");
            sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// Gives a task back to the queue.
    pub(super) async fn release(&self, task: TaskId, epoch: Epoch) {
        match self
            .service
            .store
            .release(task, epoch, self.service.now())
            .await
        {
            Ok(Fenced::Applied) => {
                tracing::info!(task.id = %task, "gave a task back to the queue");
                self.service.queued.notify_one();
            }
            Ok(Fenced::Stale) => {}
            Err(error) => tracing::warn!(
                task.id = %task, error = %error,
                "a task was not given back; it is free when its lease ends"
            ),
        }
    }
}

/// What the client said of the sampler, in the engine's words.
fn sampling(inputs: &SamplerInputs) -> Sampling {
    Sampling {
        steps: inputs.steps,
        guidance: inputs.guidance,
        shift: inputs.shift,
        true_cfg: inputs.true_cfg,
        negative_prompt: inputs.negative_prompt.clone(),
    }
}

/// LoRAs by their names, in the engine's words.
fn loras(choices: &[LoraChoice]) -> Vec<LoraWish> {
    let wish = |choice: &LoraChoice| LoraWish::named(choice.name.as_str(), choice.weight);
    choices.iter().map(wish).collect()
}

fn exit_code(error: &ImageError) -> ExitCode {
    match error {
        ImageError::Service(_) => ExitCode::STORAGE,
        _ => ExitCode::INPUT,
    }
}

/// What a panic makes of a task: its failure, and nobody else's.
fn panicked(task: &Task, panic: &(dyn Any + Send)) -> Halt {
    let text = panic.downcast_ref::<&str>().copied();
    let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("no message");
    tracing::error!(task.id = %task.id, panic.message = message, "a task panicked: this is a bug");
    Halt::failed(
        ExitCode::ENGINE,
        "An internal error stopped this task. The server's log has the details; please report it.",
    )
}

fn log_end(task: &Task, outcome: &Outcome, elapsed: Duration) {
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Outcome::Succeeded { .. } => {
            tracing::info!(task.id = %task.id, tool.name = %task.tool, duration_ms, "finished");
        }
        Outcome::Failed { exit_code, .. } => tracing::info!(
            task.id = %task.id, tool.name = %task.tool, duration_ms, exit_code = exit_code.0, "failed"
        ),
        Outcome::Cancelled => {
            tracing::info!(task.id = %task.id, tool.name = %task.tool, duration_ms, "cancelled");
        }
    }
}
