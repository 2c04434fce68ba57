//! What is in memory on one device: which models, held how, which LoRAs, and what goes when a job needs the
//! room.
//!
//! All are used by one thread, a job at a time, and models are loaded between jobs: so none goes while a
//! job needs it, and a load takes nothing from a job in hand. Room is made for what each job asks for,
//! before anything of it is loaded: LoRAs that it does not want go first, then models that were not used
//! longest; and a model that does not fit whole beside the job is held in parts.

use std::sync::Arc;
use std::time::Instant;

use tintype_compute::Device;
use tintype_flux::lora::Applied;
use tintype_flux::pipeline::{Footprint, LoadWatch, Pipeline};

use super::budget::Budget;
use super::loras::{LoraShelf, MeasuredLoras};
use super::model::Model;
use super::plan::{Candidate, ModelPlan, Need, prepare};
use super::{DeviceOptions, StartError};
use crate::{Error, LoraWish};

/// A model that jobs draw with.
struct Resident {
    model: Arc<Model>,
    pipeline: Pipeline,
    footprint: Footprint,
    /// Whether a job has been let in: before, nothing of it is in memory.
    is_loaded: bool,
}

impl Resident {
    fn held_bytes(&self) -> u64 {
        self.pipeline.held_bytes(&self.footprint)
    }
}

/// The models in memory, the one that was used last at the end, and the LoRAs.
pub(super) struct Residents {
    device: Arc<dyn Device>,
    options: DeviceOptions,
    budget: Arc<Budget>,
    models: Vec<Resident>,
    loras: LoraShelf,
}

impl Residents {
    pub fn new(device: Arc<dyn Device>, options: DeviceOptions, budget: Arc<Budget>) -> Self {
        Self {
            device,
            loras: LoraShelf::new(options.lora_folder.clone()),
            options,
            budget,
            models: Vec::new(),
        }
    }

    /// Turns to a model: what follows is about it. Nothing is loaded yet if it was not there.
    ///
    /// # Errors
    /// [`StartError`] if it cannot be opened.
    pub fn turn_to(&mut self, model: &Arc<Model>) -> Result<&Pipeline, StartError> {
        match self.position(model) {
            Some(position) => self.models[position..].rotate_left(1),
            None => {
                let prepared = self.prepare(model);
                if let Err(error) = &prepared {
                    model.remember(Some(error));
                }
                self.models.push(prepared?);
            }
        }
        Ok(self.pipeline())
    }

    /// The model that was turned to last.
    pub fn pipeline(&self) -> &Pipeline {
        &self.last().pipeline
    }

    /// What these LoRAs take beside the model.
    ///
    /// # Errors
    /// [`Error::Rejected`] for one that is not there or does not fit.
    pub fn measure_loras(&mut self, wishes: &[LoraWish]) -> Result<MeasuredLoras, Error> {
        let Some(last) = self.models.last() else {
            return Ok(MeasuredLoras::default());
        };
        self.loras.measure(&last.pipeline, wishes)
    }

    /// These LoRAs, for the model. [`Residents::make_ready`] has made room for them.
    ///
    /// # Errors
    /// As [`Residents::measure_loras`].
    pub fn take_loras(&mut self, wishes: &[LoraWish]) -> Result<Vec<Applied>, Error> {
        let Some(last) = self.models.last() else {
            return Ok(Vec::new());
        };
        self.loras.take(&last.pipeline, wishes)
    }

    /// Makes room for a job of the model, decides how the model is held for it, and loads it if it was not
    /// there.
    ///
    /// # Errors
    /// [`StartError`]; also when `watch` stops the load. Nothing stays of a model that was not loaded.
    pub fn make_ready(
        &mut self,
        need: &Need,
        wanted_loras: usize,
        watch: LoadWatch,
    ) -> Result<(), StartError> {
        let room = Room {
            wanted_loras,
            evict: Evict::LeastRecent,
        };
        self.make_ready_in(need, room, watch)
    }

    /// Loads a model before anybody asks for it, if it is not there and fits beside those that are.
    ///
    /// # Errors
    /// As [`Self::make_ready`].
    pub fn preload(&mut self, model: &Arc<Model>, watch: LoadWatch) -> Result<(), StartError> {
        if self.position(model).is_some() {
            return Ok(());
        }
        self.turn_to(model)?;
        let need = Need::usual(self.pipeline());
        let room = Room {
            wanted_loras: 0,
            evict: Evict::Nobody,
        };
        self.make_ready_in(&need, room, watch)
    }

    /// Lets go of the model that was turned to last, if no job of it was let in: what was only looked at is
    /// looked at again.
    pub fn forget_unloaded(&mut self) {
        self.models.retain(|resident| resident.is_loaded);
    }

    fn last(&self) -> &Resident {
        let last = self.models.last();
        last.expect("a model was turned to before; this is a bug")
    }

    fn position(&self, model: &Arc<Model>) -> Option<usize> {
        let is_it = |resident: &Resident| Arc::ptr_eq(&resident.model, model);
        self.models.iter().position(is_it)
    }

    fn prepare(&self, model: &Arc<Model>) -> Result<Resident, StartError> {
        let pipeline = prepare(&model.source, &self.options, self.device.clone())?;
        Ok(Resident {
            model: model.clone(),
            footprint: pipeline.footprint()?,
            pipeline,
            is_loaded: false,
        })
    }

    fn make_ready_in(
        &mut self,
        need: &Need,
        room: Room,
        watch: LoadWatch,
    ) -> Result<(), StartError> {
        let ready = self
            .admit(need, room)
            .and_then(|plan| self.load(&plan, watch));
        let model = &self.last().model;
        model.remember(ready.as_ref().err());
        if ready.is_err() {
            self.forget_unloaded();
        }
        ready
    }

    /// Makes room. What the plan says may be in memory when this returns.
    fn admit(&mut self, need: &Need, room: Room) -> Result<ModelPlan, StartError> {
        let plan = self.plan(need)?;
        loop {
            let needed_bytes = plan.peak_bytes() + need.lora_bytes + self.bytes_beside(room);
            let Err(left) = self.budget.draw_with(needed_bytes, self.held_bytes()) else {
                return Ok(plan);
            };
            if !self.give_way(room) {
                return Err(StartError::NoRoomNow {
                    model: self.last().model.source.to_string(),
                    needed_bytes,
                    room_bytes: left.now_bytes,
                });
            }
        }
    }

    /// How the model is held for a job, if all others go.
    fn plan(&self, need: &Need) -> Result<ModelPlan, StartError> {
        let resident = self.last();
        let candidate = Candidate {
            pipeline: &resident.pipeline,
            footprint: &resident.footprint,
            source: &resident.model.source,
            options: &self.options,
        };
        let plan = || candidate.plan(need, self.budget.room(self.held_bytes()));
        match plan() {
            Ok(plan) if plan.residency == resident.pipeline.residency() => Ok(plan),
            // What earlier work left idle is not free for others, but would be.
            _ => {
                self.device.release_idle();
                plan()
            }
        }
    }

    fn load(&mut self, plan: &ModelPlan, watch: LoadWatch) -> Result<(), StartError> {
        let started = Instant::now();
        let resident = self.models.last_mut();
        let Resident {
            pipeline,
            model,
            is_loaded,
            ..
        } = resident.expect("room was made for it; this is a bug");
        if pipeline.residency() != plan.residency {
            pipeline.hold(plan.residency);
            tracing::info!(
                model.name = %plan.settings.name,
                memory.residency = %plan.residency,
                "the model is held as the job allows"
            );
        }
        pipeline.watch_loads(Some(watch));
        if *is_loaded {
            return Ok(());
        }
        pipeline.load()?;
        *is_loaded = true;
        model.loaded(plan);
        tracing::info!(
            model.name = %plan.settings.name,
            device.name = self.device.name(),
            duration_ms = started.elapsed().as_millis() as u64,
            memory.plan = %plan,
            "model loaded"
        );
        Ok(())
    }

    /// Lets something go that the job does not need; whether there was anything.
    fn give_way(&mut self, room: Room) -> bool {
        if self.loras.close_one_beside(room.wanted_loras) {
            return true;
        }
        if room.evict == Evict::Nobody || self.models.len() < 2 {
            return false;
        }
        let gone = self.models.remove(0);
        tracing::info!(
            model.name = %gone.pipeline.settings().name,
            "model evicted: another one needs its memory"
        );
        true
    }

    /// What stays beside a job: other models, and LoRAs that it does not want.
    fn bytes_beside(&self, room: Room) -> u64 {
        let others = self
            .models
            .split_last()
            .map_or(&[][..], |(_, others)| others);
        let others: u64 = others.iter().map(Resident::held_bytes).sum();
        others + self.loras.bytes_beside(room.wanted_loras)
    }

    /// All that is in memory.
    fn held_bytes(&self) -> u64 {
        let models = self.models.iter().map(Resident::held_bytes);
        models.sum::<u64>() + self.loras.bytes()
    }
}

/// What room is made of.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// The last ones of the shelf, which stay.
    wanted_loras: usize,
    evict: Evict,
}

/// Who has to go for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evict {
    LeastRecent,
    Nobody,
}
