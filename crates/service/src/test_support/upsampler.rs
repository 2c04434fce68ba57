//! An upsampler that does what a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tintype_engine::upsampling::{NotUpsampled, Upsampler, Wish};
use tokio::sync::watch;

/// Rewrites `x` with the seed 7 to `x, rewritten 7`, unless it was told something else.
#[derive(Debug)]
pub struct StandInUpsampler {
    script: Mutex<VecDeque<Result<String, NotUpsampled>>>,
    wishes: watch::Sender<Vec<Wish>>,
    held: watch::Sender<bool>,
    /// Calls that wait.
    waiting: Arc<()>,
}

impl StandInUpsampler {
    /// One that rewrites everything.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::default(),
            wishes: watch::Sender::new(Vec::new()),
            held: watch::Sender::new(false),
            waiting: Arc::new(()),
        })
    }

    /// The next call that has no part in the script yet ends so.
    pub fn then(&self, end: Result<&str, NotUpsampled>) {
        lock(&self.script).push_back(end.map(str::to_owned));
    }

    /// Keeps every call waiting, or lets them go on.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// What it was asked so far.
    pub fn wishes(&self) -> Vec<Wish> {
        self.wishes.borrow().clone()
    }

    /// Waits until it was asked this often.
    pub async fn asked(&self, times: usize) {
        let mut wishes = self.wishes.subscribe();
        drop(wishes.wait_for(|wishes| wishes.len() >= times).await);
    }

    /// Calls that still wait; those that were dropped do not.
    pub fn waiting(&self) -> usize {
        Arc::strong_count(&self.waiting) - 1
    }
}

#[async_trait]
impl Upsampler for StandInUpsampler {
    fn name(&self) -> &str {
        "stand-in"
    }

    async fn rewrite(&self, wish: &Wish) -> Result<String, NotUpsampled> {
        let _waiting = Arc::clone(&self.waiting);
        self.wishes.send_modify(|wishes| wishes.push(wish.clone()));
        drop(self.held.subscribe().wait_for(|held| !held).await);
        let next = lock(&self.script).pop_front();
        next.unwrap_or_else(|| Ok(format!("{}, rewritten {}", wish.prompt, wish.seed)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
