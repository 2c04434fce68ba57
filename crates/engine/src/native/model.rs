//! A model that may be asked for, whether it is in memory or not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tintype_flux::pipeline::Settings;

use super::budget::Budget;
use super::plan::ModelPlan;
use super::{DeviceOptions, ModelSource, StartError};

/// What is known of a model.
#[derive(Debug)]
pub(super) struct Model {
    pub source: ModelSource,
    pub name: String,
    loads: AtomicU64,
    known: Mutex<Known>,
}

/// What was found out last.
#[derive(Debug, Default)]
struct Known {
    settings: Option<Settings>,
    plan: Option<String>,
    trouble: Option<String>,
}

impl Model {
    /// Looks at the model's files. One that cannot be used is looked at again when a job wants it.
    pub fn look_at(source: ModelSource, options: &DeviceOptions, budget: &Budget) -> Self {
        let plan = ModelPlan::of(&source, options, budget);
        let model = Self {
            name: match &plan {
                Ok(plan) => plan.settings.name.clone(),
                Err(_) => source.to_string(),
            },
            source,
            loads: AtomicU64::new(0),
            known: Mutex::default(),
        };
        match plan {
            Ok(plan) => model.known().learn(&plan),
            Err(error) => model.remember(Some(&error)),
        }
        model
    }

    /// Its defaults, as far as they are known.
    pub fn settings(&self) -> Option<Settings> {
        self.known().settings.clone()
    }

    /// What it takes in memory, in words.
    pub fn plan(&self) -> Option<String> {
        self.known().plan.clone()
    }

    /// What keeps it from being used.
    pub fn trouble(&self) -> Option<String> {
        self.known().trouble.clone()
    }

    /// How often it was loaded.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    pub fn loaded(&self, plan: &ModelPlan) {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.known().learn(plan);
    }

    /// How the last try to load it ended. One that was stopped says nothing, nor one for which a job asked
    /// for too much.
    pub fn remember(&self, error: Option<&StartError>) {
        use tintype_flux::pipeline::Error::Stopped;
        match error {
            Some(StartError::Model(Stopped) | StartError::WorkTooLarge { .. }) => {}
            error => self.known().trouble = error.map(StartError::sentence),
        }
    }

    /// Every change is one assignment: a panic leaves nothing half done.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn learn(&mut self, plan: &ModelPlan) {
        self.settings = Some(plan.settings.clone());
        self.plan = Some(plan.to_string());
    }
}
