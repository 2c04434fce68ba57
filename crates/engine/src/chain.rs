//! Engines in an order: the next one is asked when one cannot draw.
//!
//! A job that is rejected, moderated or fails is not given to the next: only an engine that is not
//! available is passed over. Each engine has a [`Breaker`], which chains that share the engine
//! share too.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use crate::{
    Breaker, Cancellation, Drawing, Engine, Error, Job, Progress, ProgressSink, Reason, Unavailable,
};

/// An engine in a chain.
#[derive(Clone)]
pub struct Link {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Its breaker.
    pub breaker: Arc<Breaker>,
}

/// Engines in the order in which they are asked.
pub struct Chain {
    links: Vec<Link>,
    name: String,
    clock: fn() -> Instant,
}

impl Chain {
    /// Asks these engines, in this order. `clock` is [`Instant::now`] outside of tests.
    pub fn new(links: Vec<Link>, clock: fn() -> Instant) -> Self {
        let names: Vec<_> = links.iter().map(|link| link.engine.model_name()).collect();
        Self {
            name: names.join(", "),
            links,
            clock,
        }
    }
}

#[async_trait]
impl Engine for Chain {
    fn model_name(&self) -> &str {
        &self.name
    }

    /// Those of the first that is there: it draws as long as nothing is wrong, and more jobs would
    /// only wait for it.
    fn places(&self) -> usize {
        let mut places = self.links.iter().map(|link| link.engine.places());
        places.find(|places| *places > 0).unwrap_or(1)
    }

    /// That of the first that is there, as its places are.
    fn shared_device(&self) -> Option<usize> {
        let engines = self.links.iter().map(|link| &link.engine);
        let first = engines.into_iter().find(|engine| engine.places() > 0)?;
        first.shared_device()
    }

    /// All of it, if no engine can draw.
    fn trouble(&self) -> Option<String> {
        let troubles = self.links.iter().map(|link| link.engine.trouble());
        let troubles: Option<Vec<String>> = troubles.collect();
        troubles.map(|troubles| troubles.join("; "))
    }

    async fn run(
        &self,
        job: Job,
        progress: ProgressSink,
        cancellation: Cancellation,
    ) -> Result<Drawing, Error> {
        let progress: Arc<dyn Fn(Progress) + Send + Sync> = progress.into();
        let mut refusals = Vec::new();
        for link in &self.links {
            let pass = match link.breaker.admit((self.clock)()) {
                Ok(pass) => pass,
                Err(refusal) => {
                    refusals.push(refusal);
                    continue;
                }
            };
            let sink = Arc::clone(&progress);
            let run = link.engine.run(
                job.clone(),
                Box::new(move |progress| sink(progress)),
                cancellation.clone(),
            );
            let result = run.await;
            match &result {
                Err(Error::Unavailable(why)) if why.reason != Reason::ShuttingDown => {
                    pass.failed(why, (self.clock)());
                    tracing::info!(
                        engine.name = link.breaker.name(), engine.reason = ?why.reason, error = %why,
                        "an engine could not draw"
                    );
                    refusals.push(why.clone());
                    continue;
                }
                // Says nothing about the engine.
                Err(Error::Cancelled | Error::Unavailable(_)) => drop(pass),
                Ok(_) | Err(_) => pass.succeeded(),
            }
            return result;
        }
        Err(all_in_all(refusals).into())
    }
}

/// What several refusals come to: what is worth waiting for, if anything is.
fn all_in_all(refusals: Vec<Unavailable>) -> Unavailable {
    let mut messages: Vec<&str> = Vec::new();
    for refusal in &refusals {
        if !messages.contains(&refusal.message.as_str()) {
            messages.push(&refusal.message);
        }
    }
    let message = messages.join(" ");
    let temporary = refusals
        .iter()
        .filter(|refusal| refusal.reason.is_temporary());
    let soonest = temporary.min_by_key(|refusal| refusal.retry_after.unwrap_or_default());
    match soonest.or(refusals.first()) {
        Some(refusal) => Unavailable {
            message,
            ..refusal.clone()
        },
        None => Unavailable::new(Reason::NoWeights, "no engine is set for this tool"),
    }
}

/// An engine that could not be made ready, with the reason: its place in a chain is passed over.
#[derive(Debug)]
pub struct AbsentEngine {
    name: String,
    message: String,
}

impl AbsentEngine {
    /// In the place of the engine or model of this name.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            message: message.into(),
        }
    }
}

#[async_trait]
impl Engine for AbsentEngine {
    fn model_name(&self) -> &str {
        &self.name
    }

    /// It works on nothing.
    fn places(&self) -> usize {
        0
    }

    fn trouble(&self) -> Option<String> {
        Some(self.message.clone())
    }

    async fn run(
        &self,
        _job: Job,
        _progress: ProgressSink,
        _cancellation: Cancellation,
    ) -> Result<Drawing, Error> {
        Err(Unavailable::new(Reason::NoWeights, self.message.clone()).into())
    }
}
