//! Prompts rewritten by a language model on this machine: one thread that owns the model.
//!
//! The model is loaded for the first prompt and dropped when none has come for a while, so that its
//! memory goes back to the models that draw. Prompts wait in a bounded queue and are rewritten one
//! at a time; between two tokens the thread looks whether anybody still waits and whether the time
//! is over. A panic fails the prompt in hand and drops the model.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tintype_language::{
    FinishReason, GenerationOptions, Halt, LanguageModel, Message, OpenOptions, Reply, Sampling,
};
use tintype_words::sentence;
use tokio::sync::oneshot;

use super::{Budget, DeviceOptions, SetAside, StartError};
use crate::upsampling::{NotUpsampled, SystemPrompts, Upsampler, Wish, read_answer};

/// Prompts that wait at most: a worker has few tasks in hand.
const QUEUE_LENGTH: usize = 32;

/// Tokens that there is room for: the system prompt, a prompt of [`crate::upsampling::MAX_PROMPT_CHARS`]
/// characters even in a script of many tokens, and the answer.
const CONTEXT_TOKENS: usize = 8_192;

/// How prompts are rewritten on this machine.
#[derive(Debug, Clone)]
pub struct LanguageOptions {
    /// The model's name, for logs and people.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What it computes on.
    pub device: DeviceOptions,
    /// What it is told to do.
    pub system_prompts: SystemPrompts,
    /// Scores are divided by it; 0 always takes the best word; `None` is the model's own.
    pub temperature: Option<f32>,
    /// Tokens of an answer at most.
    pub max_tokens: usize,
    /// From the asking to the answer, the loading of the model included.
    pub timeout: Duration,
    /// After so long without a prompt the model is dropped.
    pub idle: Duration,
}

/// A prompt that waits, and who waits for it.
struct Order {
    wish: Wish,
    deadline: Instant,
    reply: oneshot::Sender<Result<String, NotUpsampled>>,
}

/// A language model that rewrites prompts.
#[derive(Debug)]
pub struct LanguageUpsampler {
    name: String,
    timeout: Duration,
    orders: Option<mpsc::SyncSender<Order>>,
    loads: Arc<AtomicU64>,
    drops: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl LanguageUpsampler {
    /// Starts the thread. Nothing is loaded yet.
    ///
    /// # Errors
    /// As [`LanguageUpsampler::start_within`].
    pub fn start(options: LanguageOptions) -> Result<Self, StartError> {
        let budget = Budget::new(options.device.memory);
        Self::start_within(options, &budget)
    }

    /// The same within a budget that others share: room for the model is set aside from now on. Of one that
    /// cannot be opened yet, it is when a prompt comes.
    ///
    /// # Errors
    /// [`StartError::Thread`] when the operating system gives none; [`StartError::NoRoomAside`].
    pub fn start_within(
        options: LanguageOptions,
        budget: &Arc<Budget>,
    ) -> Result<Self, StartError> {
        let aside = match memory_of(&options) {
            Ok(bytes) => Some(set_aside(&options, budget, bytes)?),
            Err(error) => {
                tracing::warn!(
                    model.name = options.name, error = %error,
                    "a language model cannot be opened"
                );
                None
            }
        };
        let (orders, waiting) = mpsc::sync_channel(QUEUE_LENGTH);
        let (loads, drops) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (name, timeout) = (options.name.clone(), options.timeout);
        let owner = Owner {
            options,
            budget: budget.clone(),
            aside,
            model: None,
            loads: loads.clone(),
            drops: drops.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("tintype-language".to_owned())
            .spawn(move || owner.work(&waiting))
            .map_err(StartError::Thread)?;
        Ok(Self {
            name,
            timeout,
            orders: Some(orders),
            loads,
            drops,
            thread: Some(thread),
        })
    }

    /// How often the model was loaded.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Acquire)
    }

    /// How often it was dropped, because nobody used it or because it broke.
    pub fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }
}

#[async_trait]
impl Upsampler for LanguageUpsampler {
    fn name(&self) -> &str {
        &self.name
    }

    async fn rewrite(&self, wish: &Wish) -> Result<String, NotUpsampled> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            wish: wish.clone(),
            deadline: Instant::now() + self.timeout,
            reply,
        };
        let orders = self.orders.as_ref().ok_or(NotUpsampled::Failed)?;
        orders.try_send(order).map_err(|refused| match refused {
            TrySendError::Full(_) => NotUpsampled::Busy,
            TrySendError::Disconnected(_) => NotUpsampled::Failed,
        })?;
        // Whoever waits behind a long load or answer is told in time, too. What is dropped here is
        // not begun.
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answered) => answered.unwrap_or(Err(NotUpsampled::Failed)),
            Err(_) => Err(NotUpsampled::TimedOut(self.timeout)),
        }
    }
}

impl Drop for LanguageUpsampler {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported where it happened.
            drop(thread.join());
        }
    }
}

/// What the thread owns.
struct Owner {
    options: LanguageOptions,
    budget: Arc<Budget>,
    /// The room for the model, from the first time on that it could be opened.
    aside: Option<SetAside>,
    model: Option<LanguageModel>,
    loads: Arc<AtomicU64>,
    drops: Arc<AtomicU64>,
}

impl Owner {
    /// Rewrites until the upsampler is dropped.
    fn work(mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let order = match &self.model {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => orders.recv_timeout(self.options.idle),
            };
            match order {
                Ok(order) => self.serve(order),
                Err(RecvTimeoutError::Timeout) => self.drop_model("nobody used it"),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn serve(&mut self, order: Order) {
        if order.reply.is_closed() {
            return;
        }
        let done = catch_unwind(AssertUnwindSafe(|| self.rewrite(&order)));
        let done = done.unwrap_or_else(|_| {
            tracing::error!(
                model.name = self.options.name,
                "rewriting a prompt panicked: this is a bug"
            );
            self.drop_model("it panicked");
            Err(NotUpsampled::Failed)
        });
        // Nobody waits any more: there is nothing to do about it.
        drop(order.reply.send(done));
    }

    fn rewrite(&mut self, order: &Order) -> Result<String, NotUpsampled> {
        let Owner { options, .. } = self;
        let messages = [
            Message::system(options.system_prompts.of(order.wish.purpose)),
            Message::user(order.wish.prompt.as_str()),
        ];
        let (temperature, max_new_tokens) = (options.temperature, options.max_tokens);
        let timeout = options.timeout;
        let name = options.name.clone();
        let model = self.model()?;
        let own = model.sampling();
        let options = GenerationOptions {
            sampling: Sampling {
                seed: order.wish.seed,
                temperature: temperature.unwrap_or(own.temperature),
                ..own
            },
            max_new_tokens,
        };
        let reply = model.chat(&messages, &options, &mut |_| {
            if order.reply.is_closed() {
                ControlFlow::Break(Halt::Cancelled)
            } else if Instant::now() >= order.deadline {
                ControlFlow::Break(Halt::Deadline)
            } else {
                ControlFlow::Continue(())
            }
        });
        let Reply {
            text,
            finish_reason,
            ..
        } = reply.map_err(|error| {
            tracing::warn!(model.name = name, error = %error, "a language model did not answer");
            NotUpsampled::Failed
        })?;
        match finish_reason {
            FinishReason::End => read_answer(&text, &order.wish),
            FinishReason::Length => Err(NotUpsampled::Unusable("it was cut off at max_tokens")),
            FinishReason::Halted(_) => Err(NotUpsampled::TimedOut(timeout)),
        }
    }

    /// The model, loaded if it is not there.
    fn model(&mut self) -> Result<&mut LanguageModel, NotUpsampled> {
        if self.model.is_none() {
            let started = Instant::now();
            let model = self.open().map_err(|error| {
                tracing::warn!(
                    model.name = self.options.name, error = %error,
                    "a language model cannot be opened"
                );
                NotUpsampled::Failed
            })?;
            self.loads.fetch_add(1, Ordering::AcqRel);
            tracing::info!(
                model.name = self.options.name,
                duration_ms = started.elapsed().as_millis() as u64,
                "language model loaded"
            );
            self.model = Some(model);
        }
        self.model.as_mut().ok_or(NotUpsampled::Failed)
    }

    fn open(&mut self) -> Result<LanguageModel, String> {
        if self.aside.is_none() {
            let bytes = memory_of(&self.options)?;
            let aside = set_aside(&self.options, &self.budget, bytes);
            self.aside = Some(aside.map_err(|error| sentence(&error))?);
        }
        let device = self
            .options
            .device
            .open()
            .map_err(|error| error.to_string())?;
        let options = open_options(&self.options);
        let opened = LanguageModel::open(&self.options.folder, device, &options);
        let opened = opened.map_err(|error| sentence(&error))?;
        self.say_whether_in_memory(true);
        Ok(opened)
    }

    fn say_whether_in_memory(&self, in_memory: bool) {
        if let Some(aside) = &self.aside {
            aside.is_in_memory(in_memory);
        }
    }

    fn drop_model(&mut self, why: &str) {
        if self.model.take().is_some() {
            self.say_whether_in_memory(false);
            self.drops.fetch_add(1, Ordering::AcqRel);
            tracing::info!(
                model.name = self.options.name,
                reason = why,
                "language model dropped"
            );
        }
    }
}

fn open_options(options: &LanguageOptions) -> OpenOptions {
    OpenOptions {
        context_tokens: CONTEXT_TOKENS,
        packed_cache: options.device.packed_cache.clone(),
    }
}

/// What the model takes with a full context, by the headers of its files.
fn memory_of(options: &LanguageOptions) -> Result<u64, String> {
    let device = options.device.measuring();
    let device = device.map_err(|error| sentence(&error))?;
    let memory = LanguageModel::memory(&options.folder, device, &open_options(options));
    Ok(memory.map_err(|error| sentence(&error))?.total_bytes())
}

fn set_aside(
    options: &LanguageOptions,
    budget: &Arc<Budget>,
    bytes: u64,
) -> Result<SetAside, StartError> {
    budget.set_aside(format!("the language model {}", options.name), bytes)
}
