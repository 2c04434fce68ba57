//! The rewriting of a prompt at its place in a task's life: after everything that could stop the
//! task, and on record before anything is drawn.

use tintype_catalog::Inputs;
use tintype_domain::{ExitCode, Task};
use tintype_engine::upsampling::{NotUpsampled, Purpose, Wish};
use tokio::time::{Instant, sleep};

use super::Worker;
use super::attempt::{COMPLETE_BACKOFF, COMPLETE_PATIENCE, Halt};
use super::held::{Held, Stop};
use super::moderate::Remarks;
use crate::upsampling::{ToolUpsampling, rewrite};

/// What a person reads who asked for a better prompt where nobody makes one.
const NO_UPSAMPLER: &str = "no upsampler is set up for this tool";

/// What the prompt became.
#[derive(Debug)]
pub(super) enum Upsampled {
    /// Nobody asked for it.
    NotWished,
    /// The picture is drawn from this.
    To(String),
    /// It stays as it was sent, for this reason. An engine may still rewrite it.
    Not(String),
}

impl Upsampled {
    /// The remark for the person who asked, if no engine rewrote the prompt either.
    pub(super) fn remark(&self, by_engine: bool) -> Option<String> {
        match self {
            Self::Not(why) if !by_engine => Some(format!(
                "The prompt was not rewritten: {why}. The picture was drawn from the prompt as it \
                 was sent."
            )),
            _ => None,
        }
    }
}

impl Worker {
    /// Rewrites the prompt if that is wished. A task that was attempted before keeps the rewriting
    /// of then.
    pub(super) async fn upsample(
        &self,
        task: &Task,
        inputs: &Inputs,
        held: &Held,
        remarks: &mut Remarks,
    ) -> Result<Upsampled, Halt> {
        if !inputs.prompt_upsampling {
            return Ok(Upsampled::NotWished);
        }
        if let Some(kept) = &task.upsampled_prompt {
            return Ok(Upsampled::To(kept.clone()));
        }
        let ToolUpsampling {
            upsampler,
            required,
        } = self.service.upsampling.of(&task.tool);
        let Some(upsampler) = upsampler else {
            return Ok(Upsampled::Not(NO_UPSAMPLER.to_owned()));
        };
        self.record(held).await?;
        let rewritten = tokio::select! {
            stop = held.stopped() => return Err(Halt::Stopped(stop)),
            rewritten = rewrite(upsampler.as_ref(), wish(inputs)) => rewritten,
        };
        let why = match rewritten {
            Ok(text) => match self.objection(&text, inputs, held, remarks).await? {
                None => return self.keep_upsampled(text, held).await.map(Upsampled::To),
                Some(objection) => objection.to_owned(),
            },
            Err(why) => {
                log_failure(held, upsampler.name(), &why);
                format!("the upsampler {why}")
            }
        };
        if required {
            return Err(Halt::failed(ExitCode::ENGINE, refusal(&why)));
        }
        Ok(Upsampled::Not(why))
    }

    /// Puts it on record, with patience: what is drawn from and what is shown must be one.
    async fn keep_upsampled(&self, text: String, held: &Held) -> Result<String, Halt> {
        let (mut wait, longest) = COMPLETE_BACKOFF;
        let patience = Instant::now() + COMPLETE_PATIENCE;
        loop {
            let store = &self.service.store;
            let kept = store.keep_upsampled_prompt(held.task, held.epoch, text.clone());
            match kept.await {
                Ok(Some(kept)) => {
                    tintype_store::moments::reached("upsampled");
                    return Ok(kept);
                }
                Ok(None) => return Err(Halt::Stopped(Stop::Lost)),
                Err(tintype_store::Error::Unavailable { reason }) if Instant::now() < patience => {
                    tracing::warn!(task.id = %held.task, reason, "cannot record a prompt; trying again");
                }
                Err(error) => {
                    tracing::error!(task.id = %held.task, error = %error, "a prompt was not recorded");
                    let sentence =
                        "The rewritten prompt could not be recorded. Submit it again later.";
                    return Err(Halt::failed(ExitCode::STORAGE, sentence));
                }
            }
            tokio::select! {
                stop = held.stopped() => return Err(Halt::Stopped(stop)),
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(longest);
        }
    }
}

fn wish(inputs: &Inputs) -> Wish {
    Wish {
        prompt: inputs.prompt.clone(),
        purpose: match inputs.images.iter().find(|image| !image.starts) {
            Some(_) => Purpose::Edit,
            None => Purpose::Picture,
        },
        // Submission has settled and recorded one.
        seed: inputs.seed.unwrap_or_default(),
    }
}

fn refusal(why: &str) -> String {
    format!(
        "The prompt could not be rewritten, which this tool requires: {why}. Submit it again later, \
         or without promptUpsampling."
    )
}

fn log_failure(held: &Held, name: &str, why: &NotUpsampled) {
    tracing::warn!(
        task.id = %held.task, upsampler.name = name, reason = %why, "a prompt was not rewritten"
    );
}
