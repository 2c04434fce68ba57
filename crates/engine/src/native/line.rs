//! What waits for the thread that owns the device.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, PoisonError};

use tintype_flux::pipeline::Request;
use tokio::sync::{mpsc, oneshot};

use super::StartError;
use super::model::Model;
use crate::{Cancellation, Drawing, Error, Job, LoraWish, PreviewWish, ProgressSink};

/// What the thread is told to do.
pub(super) enum Order {
    /// To draw.
    Draw(Box<Commission>),
    /// To load a model that fits beside the others, and to say how that went, if somebody listens.
    Load {
        model: Arc<Model>,
        reply: Option<blocking::SyncSender<Result<(), StartError>>>,
    },
}

/// A job on its way through the thread.
pub(super) struct Commission {
    pub model: Arc<Model>,
    pub wish: Wish,
    pub loras: Vec<LoraWish>,
    pub progress: ProgressSink,
    pub previews: PreviewWish,
    pub asker: Arc<Asker>,
}

/// What is to be drawn.
pub(super) enum Wish {
    /// Nobody knows the model's defaults yet: they decide what the job means.
    Job(Box<Job>),
    /// The job in the words of the pipeline.
    Request(Box<Request>),
}

/// Whoever waits for a picture.
pub(super) struct Asker {
    cancellation: Cancellation,
    reply: Mutex<Option<oneshot::Sender<Result<Drawing, Error>>>>,
    in_hand: Arc<AtomicBool>,
}

impl Asker {
    /// `in_hand` is raised when the thread begins with the job.
    pub fn new(
        cancellation: Cancellation,
        reply: oneshot::Sender<Result<Drawing, Error>>,
        in_hand: Arc<AtomicBool>,
    ) -> Self {
        Self {
            cancellation,
            reply: Mutex::new(Some(reply)),
            in_hand,
        }
    }

    /// Whether nobody wants the picture any more.
    pub fn is_cancelled(&self) -> bool {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        self.cancellation.is_cancelled() || reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Answers. The asker may be gone: then there is nobody to tell.
    pub fn answer(&self, outcome: Result<Drawing, Error>) {
        let mut reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = reply.take() {
            drop(reply.send(outcome));
        }
    }

    /// The thread has begun with it.
    pub fn take_in_hand(&self) {
        self.in_hand.store(true, Ordering::Release);
    }
}

/// Orders that wait, in order.
pub(super) struct Line {
    orders: mpsc::Receiver<Order>,
    waiting: VecDeque<Order>,
}

impl Line {
    pub fn new(orders: mpsc::Receiver<Order>) -> Self {
        Self {
            orders,
            waiting: VecDeque::new(),
        }
    }

    /// The next order; `None` when the host is gone.
    pub fn next(&mut self) -> Option<Order> {
        self.waiting
            .pop_front()
            .or_else(|| self.orders.blocking_recv())
    }

    /// Answers those waiting jobs that were cancelled.
    pub fn answer_cancelled(&mut self) {
        // Bounded: what is taken out of the queue makes room there only until this is as long.
        while self.waiting.len() < super::QUEUE_LENGTH {
            match self.orders.try_recv() {
                Ok(order) => self.waiting.push_back(order),
                Err(_) => break,
            }
        }
        self.waiting.retain(|order| match order {
            Order::Draw(drawing) if drawing.asker.is_cancelled() => {
                drawing.asker.answer(Err(Error::Cancelled));
                false
            }
            Order::Draw(_) | Order::Load { .. } => true,
        });
    }
}
