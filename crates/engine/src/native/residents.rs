//! The models in memory: which are there, and which one goes when another needs its room.
//!
//! All are used by one thread, a job at a time, and models are loaded between jobs: so none goes while a
//! job needs it, and a load takes nothing from a job in hand.

use std::sync::Arc;
use std::time::Instant;

use tintype_compute::Device;
use tintype_flux::pipeline::{LoadWatch, Pipeline};

use super::memory::MemoryProbe;
use super::model::Model;
use super::plan::{ModelPlan, Rivals, prepare};
use super::{DeviceOptions, StartError};

/// A model in memory.
struct Resident {
    model: Arc<Model>,
    pipeline: Pipeline,
    /// Its weights that are in memory together, at most.
    weights_bytes: u64,
    /// What it takes besides while it draws.
    work_bytes: u64,
}

/// The models in memory, the one that was used last at the end.
pub(super) struct Residents {
    device: Arc<dyn Device>,
    options: DeviceOptions,
    probe: MemoryProbe,
    models: Vec<Resident>,
}

impl Residents {
    pub fn new(device: Arc<dyn Device>, options: DeviceOptions, probe: MemoryProbe) -> Self {
        Self {
            device,
            options,
            probe,
            models: Vec::new(),
        }
    }

    /// A model, loaded if it is not there. Models that were not used longest are evicted until it fits.
    ///
    /// # Errors
    /// [`StartError`]; also when `watch` stops the load. Nothing stays of a model that was not loaded.
    pub fn model(&mut self, model: &Arc<Model>, watch: LoadWatch) -> Result<&Pipeline, StartError> {
        match self.position(model) {
            Some(position) => self.models[position..].rotate_left(1),
            None => {
                let loaded = self.load(model, watch.clone(), Evict::LeastRecent);
                model.remember(loaded.as_ref().err());
                let loaded = loaded?;
                self.models.push(loaded);
            }
        }
        let resident = self.models.last().expect("just put there; this is a bug");
        resident.pipeline.watch_loads(Some(watch));
        Ok(&resident.pipeline)
    }

    /// Loads a model before anybody asks for it, if it is not there and fits beside those that are.
    ///
    /// # Errors
    /// As [`Self::model`].
    pub fn preload(&mut self, model: &Arc<Model>, watch: LoadWatch) -> Result<(), StartError> {
        if self.position(model).is_none() {
            let loaded = self.load(model, watch, Evict::Nobody);
            model.remember(loaded.as_ref().err());
            self.models.push(loaded?);
        }
        Ok(())
    }

    fn position(&self, model: &Arc<Model>) -> Option<usize> {
        let is_it = |resident: &Resident| Arc::ptr_eq(&resident.model, model);
        self.models.iter().position(is_it)
    }

    fn load(
        &mut self,
        model: &Arc<Model>,
        watch: LoadWatch,
        evict: Evict,
    ) -> Result<Resident, StartError> {
        let started = Instant::now();
        let pipeline = prepare(&model.source, &self.options, self.device.clone())?;
        let rivals = Rivals {
            held_bytes: self.held_bytes(),
        };
        let plan = ModelPlan::of_prepared(
            &pipeline,
            &model.source,
            &self.options,
            &rivals,
            &self.probe,
        )?;
        let resident = Resident {
            model: model.clone(),
            weights_bytes: plan.footprint.weights_bytes(plan.residency),
            work_bytes: plan.footprint.work_bytes(&plan.work),
            pipeline: pipeline.held(plan.residency),
        };
        self.make_room(&resident, evict)?;
        resident.pipeline.watch_loads(Some(watch));
        resident.pipeline.load()?;
        model.loaded(&plan);
        tracing::info!(
            model.name = %plan.settings.name,
            device.name = self.device.name(),
            duration_ms = started.elapsed().as_millis() as u64,
            memory.plan = %plan,
            "model loaded"
        );
        Ok(resident)
    }

    /// Evicts models until the new one fits beside the rest.
    fn make_room(&mut self, new: &Resident, evict: Evict) -> Result<(), StartError> {
        loop {
            let room = self.options.memory.room(self.held_bytes(), &self.probe);
            let all = || self.models.iter().chain([new]);
            let weights: u64 = all().map(|resident| resident.weights_bytes).sum();
            let work = all().map(|resident| resident.work_bytes).max();
            let needed_bytes = weights + work.unwrap_or_default();
            if needed_bytes <= room.now_bytes || self.models.is_empty() {
                return Ok(());
            }
            if evict == Evict::Nobody {
                return Err(StartError::NoRoomNow {
                    model: new.model.source.to_string(),
                    needed_bytes,
                    room_bytes: room.now_bytes,
                });
            }
            let gone = self.models.remove(0);
            tracing::info!(
                model.name = %gone.pipeline.settings().name,
                "model evicted: another one needs its memory"
            );
        }
    }

    fn held_bytes(&self) -> u64 {
        self.models
            .iter()
            .map(|resident| resident.weights_bytes)
            .sum()
    }
}

/// Who has to go for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evict {
    LeastRecent,
    Nobody,
}
