//! Moderation at its places in a task's life. What is not let through ends the task as an engine
//! that moderates by itself would end it.

use std::fmt;

use image::RgbImage;
use tintype_catalog::Inputs;
use tintype_domain::ExitCode;
use tintype_engine::{Moderated, Picture, Stage};
use tintype_moderation::{Category, Tolerance, Unjudged};

use super::Worker;
use super::attempt::Halt;
use super::held::Held;
use crate::moderation::Verdict;

/// What was judged, as it is called in reasons and notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Prompt,
    Rewriting,
    InputImage,
    Picture,
}

impl Subject {
    fn stage(self) -> Stage {
        match self {
            Self::Prompt | Self::Rewriting | Self::InputImage => Stage::Request,
            Self::Picture => Stage::Content,
        }
    }

    fn moderated(self, category: Category) -> Moderated {
        Moderated {
            stage: self.stage(),
            category: Some(category.name().to_owned()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prompt => "prompt",
            Self::Rewriting => "rewritten prompt",
            Self::InputImage => "input image",
            Self::Picture => "picture",
        })
    }
}

/// Remarks for the person who asked, made on the way.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<String>);

impl Remarks {
    /// One more.
    pub(super) fn add(&mut self, remark: impl Into<String>) {
        self.0.push(remark.into());
    }

    /// All of them; empty if there are none.
    pub(super) fn text(&self) -> String {
        self.0.join(" ")
    }
}

impl Worker {
    /// Nothing is run that cannot be moderated where that is required.
    pub(super) fn check_moderators(&self) -> Result<(), Halt> {
        match self.service.moderation.refusal() {
            Some(refusal) => Err(Halt::failed(ExitCode::ENGINE, refusal)),
            None => Ok(()),
        }
    }

    /// Judges the prompt, before anything costly is done for it.
    pub(super) async fn moderate_prompt(
        &self,
        inputs: &Inputs,
        held: &Held,
        remarks: &mut Remarks,
    ) -> Result<(), Halt> {
        let moderation = &self.service.moderation;
        if !moderation.judges_texts() {
            return Ok(());
        }
        let verdict = tokio::select! {
            stop = held.stopped() => return Err(Halt::Stopped(stop)),
            verdict = moderation.judge_text(&inputs.prompt, tolerance(inputs)) => verdict,
        };
        follow(verdict, Subject::Prompt, remarks)
    }

    /// What speaks against a rewriting of a prompt that was let through; `None` if nothing does. The
    /// words of a moderated one are shown to nobody.
    pub(super) async fn objection(
        &self,
        upsampled: &str,
        inputs: &Inputs,
        held: &Held,
        remarks: &mut Remarks,
    ) -> Result<Option<&'static str>, Halt> {
        let moderation = &self.service.moderation;
        if !moderation.judges_texts() {
            return Ok(None);
        }
        let verdict = tokio::select! {
            stop = held.stopped() => return Err(Halt::Stopped(stop)),
            verdict = moderation.judge_text(upsampled, tolerance(inputs)) => verdict,
        };
        Ok(match verdict {
            Verdict::Moderated(_) => Some("moderation did not let the rewriting through"),
            Verdict::Refused(_) => Some("the rewriting could not be moderated"),
            passed => {
                follow(passed, Subject::Rewriting, remarks)?;
                None
            }
        })
    }

    /// Judges the input picture, before a model sees it.
    pub(super) async fn moderate_input(
        &self,
        picture: &RgbImage,
        inputs: &Inputs,
        held: &Held,
        remarks: &mut Remarks,
    ) -> Result<(), Halt> {
        let moderation = &self.service.moderation;
        if !moderation.judges_pictures() {
            return Ok(());
        }
        let verdict = tokio::select! {
            stop = held.stopped() => return Err(Halt::Stopped(stop)),
            verdict = moderation.judge_picture(picture, tolerance(inputs)) => verdict,
        };
        follow(verdict, Subject::InputImage, remarks)
    }

    /// Judges what was drawn, each picture by itself, before a byte of it is kept; returns those that
    /// are let through with their places. Nobody waits long for it: judges are bounded in time, so a
    /// drain does not throw the pictures away.
    ///
    /// Of several pictures those that are not let through are withheld, with a remark; if none is
    /// left the task ends as a single picture's would.
    pub(super) async fn moderate_outputs(
        &self,
        pictures: Vec<Picture>,
        inputs: &Inputs,
        remarks: &mut Remarks,
    ) -> Result<Vec<(u32, Picture)>, Halt> {
        let moderation = &self.service.moderation;
        let (mut kept, mut withheld) = (Vec::new(), Vec::new());
        for (index, picture) in (0..).zip(pictures) {
            if moderation.judges_pictures() {
                let tolerance = tolerance(inputs);
                match moderation.judge_picture(&picture.image, tolerance).await {
                    Verdict::Moderated(category) => {
                        withheld.push((index, Subject::Picture.moderated(category)));
                        continue;
                    }
                    verdict => follow(verdict, Subject::Picture, remarks)?,
                }
            }
            kept.push((index, picture));
        }
        match withheld.first() {
            Some((_, moderated)) if kept.is_empty() => return Err(Halt::moderated(moderated)),
            _ => {}
        }
        for (index, moderated) in withheld {
            remarks.add(format!("Picture {index} was withheld. {moderated}."));
        }
        Ok(kept)
    }
}

/// What the catalogue lets through is a level; anything else would be a bug, and is met strictly.
fn tolerance(inputs: &Inputs) -> Tolerance {
    Tolerance::new(inputs.safety_tolerance).unwrap_or(Tolerance::STRICTEST)
}

fn follow(verdict: Verdict, subject: Subject, remarks: &mut Remarks) -> Result<(), Halt> {
    match verdict {
        Verdict::Pass => Ok(()),
        Verdict::PassUnjudged(why) => {
            remarks.add(format!(
                "The {subject} was not judged by every moderator: {}.",
                called(&why)
            ));
            Ok(())
        }
        Verdict::Refused(why) => Err(Halt::failed(
            ExitCode::ENGINE,
            format!(
                "The {subject} could not be moderated: {}. Please submit it again later.",
                called(&why)
            ),
        )),
        Verdict::Moderated(category) => Err(Halt::moderated(&subject.moderated(category))),
    }
}

/// The failure of a judge, as a part of a sentence.
fn called(why: &Unjudged) -> String {
    let why = why.to_string();
    let why = why.strip_prefix("it ").unwrap_or(&why);
    match why.strip_prefix("its ") {
        Some(own) => format!("the moderator's {own}"),
        None => format!("the moderator {why}"),
    }
}
