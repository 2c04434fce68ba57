//! One task's life with a power cut or a refusal at each of its writes in turn: before it and after
//! it, in every kind of life. Whatever happens, the task ends once, as its life says.

use std::time::Duration;

use image::ImageFormat;
use serde_json::json;
use tintype_domain::{EventKind, ExitCode, Task, TaskId, TaskRef, TaskState};
use tintype_service::test_support::{Behaviour, Hold, StandInUpsampler};
use tintype_service::worker::WorkerHandle;

use crate::bench::{Bench, LEASE, draw, part, picture};
use crate::faults::{Moment, Trouble};
use crate::upsampling::upsampled_by;

/// More writes than a life has: the loop below ends by itself when no trouble comes any more.
const MANY: u32 = 60;

/// More attempts than a life has.
const ATTEMPTS: usize = 20;

/// A heartbeat that does not come by itself, so that a life's writes are the same in each run.
const NEVER: Duration = Duration::from_secs(3600);

/// What a task goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Draw,
    /// Its prompt is rewritten before.
    Upsampled,
    Edit,
    /// The engine fails.
    Failure,
    /// Someone kills it while it is drawn.
    Kill,
    /// Its worker is told to stop while it is drawn, and another takes over.
    Drain,
}

/// A life under way.
struct Stage {
    bench: Bench,
    life: Life,
    task: TaskId,
    /// In lives that wait while they are drawn.
    hold: Option<Hold>,
    /// Whether a kill was acknowledged.
    killed: bool,
}

impl Stage {
    async fn new(life: Life) -> Self {
        let upsampler = StandInUpsampler::new();
        let bench = Bench::with(|config| {
            config.kill_patience = Duration::ZERO;
            config.upsampling = upsampled_by(&upsampler, false);
        })
        .await;
        let hold = match life {
            Life::Kill | Life::Drain => Some(bench.engine.then_hold()),
            Life::Failure => {
                for _ in 0..ATTEMPTS {
                    bench
                        .engine
                        .then(Behaviour::Fail("it is broken".to_owned()));
                }
                None
            }
            Life::Draw | Life::Upsampled | Life::Edit => None,
        };
        let task = match life {
            Life::Edit => {
                let bytes = picture(8, 8, ImageFormat::Png);
                let prompt = tintype_service::RawValue::Json(json!("x"));
                let upload = vec![
                    ("prompt".to_owned(), prompt),
                    part("inputImage", "a.png", bytes),
                ];
                bench.try_submit_edit(upload).await.expect("accepted").task
            }
            Life::Upsampled => {
                // Each attempt that asks gets something else.
                for number in 0..ATTEMPTS {
                    upsampler.then(Ok(&format!("rewriting {number}")));
                }
                let fields = json!({ "prompt": "x", "promptUpsampling": true });
                bench.submit(&draw(), fields).await.task
            }
            _ => bench.submit(&draw(), json!({ "prompt": "x" })).await.task,
        };
        Self {
            bench,
            life,
            task,
            hold,
            killed: false,
        }
    }

    fn worker(&self) -> WorkerHandle {
        self.bench.worker_with(|config| config.beat = NEVER)
    }

    /// Lives with this worker up to the end, or until the power goes; `true` if it went.
    async fn live(&mut self, worker: WorkerHandle) -> bool {
        let faults = self.bench.faults.clone();
        let crashed = tokio::select! {
            biased;
            () = faults.crashed() => true,
            () = self.act(worker) => faults.has_crashed(),
        };
        faults.none();
        crashed
    }

    async fn act(&mut self, worker: WorkerHandle) {
        if let Some(hold) = &self.hold {
            hold.reached().await;
        }
        match self.life {
            Life::Drain => worker.drain().await,
            Life::Kill => {
                let task = TaskRef::Id(self.task);
                let asked = self.bench.service.kill(&self.bench.principal, &task).await;
                self.killed = asked.is_ok();
                self.bench.ended(self.task).await;
            }
            _ => drop(self.bench.ended(self.task).await),
        }
    }

    /// Another worker, later, with nothing in its way.
    async fn recover(&self) {
        if let Some(hold) = &self.hold {
            hold.open();
        }
        self.bench.clock.advance(LEASE * 2);
        let _next = self.bench.worker();
        self.bench.ended(self.task).await;
    }

    async fn check(&self) {
        let task = self.bench.task(self.task).await;
        let (state, exit_code) = match self.life {
            Life::Failure => (TaskState::Finished, Some(ExitCode::ENGINE)),
            Life::Kill if task.state == TaskState::Cancelled => (TaskState::Cancelled, None),
            // The power went before anybody was told that it will stop.
            _ => (TaskState::Finished, Some(ExitCode::SUCCESS)),
        };
        assert_eq!((task.state, task.exit_code), (state, exit_code), "{task:?}");
        if self.killed {
            assert_eq!(task.state, TaskState::Cancelled, "a kill was acknowledged");
        }
        if self.life == Life::Upsampled {
            self.check_prompt(&task);
        }
        self.check_outputs(&task).await;
        self.check_history(&task).await;
        self.check_counts(&task).await;
    }

    /// Every attempt drew from what is on record.
    fn check_prompt(&self, task: &Task) {
        let kept = task.upsampled_prompt.as_deref().expect("a rewriting");
        assert!(kept.starts_with("rewriting"), "{kept}");
        for job in self.bench.engine.jobs() {
            assert_eq!(job.prompt, kept);
        }
        assert_eq!(task.debug_error, "");
    }

    async fn check_outputs(&self, task: &Task) {
        let succeeded = task.exit_code == Some(ExitCode::SUCCESS);
        assert_eq!(task.outputs.len(), usize::from(succeeded), "{task:?}");
        for output in &task.outputs {
            let bytes = self.bench.blob(&output.blob_key).await;
            assert_eq!(bytes.len() as u64, output.size_bytes);
            image::load_from_memory(&bytes).expect("a picture");
        }
    }

    async fn check_history(&self, task: &Task) {
        let asked = self
            .bench
            .store
            .history(&TaskRef::Id(task.id), None, 0)
            .await;
        let history = asked.expect("history").expect("the task is there");
        let numbers: Vec<u32> = history.iter().map(|event| event.number).collect();
        assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<_>>());
        assert!(history.is_sorted_by_key(|event| event.at), "{history:?}");
        let is_end =
            |kind: &EventKind| matches!(kind, EventKind::Entered { state } if state.is_final());
        let ends = history.iter().filter(|event| is_end(&event.kind)).count();
        assert_eq!(ends, 1, "{history:?}");
        assert!(history.last().is_some_and(|event| is_end(&event.kind)));
    }

    async fn check_counts(&self, task: &Task) {
        let stats = self.bench.store.tool_stats().await.expect("stats");
        let [(_, stats)] = stats.as_slice() else {
            panic!("one tool was run: {stats:?}")
        };
        let succeeded = task.exit_code == Some(ExitCode::SUCCESS);
        let failed = task.exit_code.is_some() && !succeeded;
        let expected = (1, u64::from(succeeded), u64::from(failed));
        assert_eq!((stats.runs, stats.successes, stats.failures), expected);
    }
}

/// Lives with one trouble at one write; `false` if the life has fewer.
async fn survives(life: Life, write: u32, trouble: Trouble) -> bool {
    let mut stage = Stage::new(life).await;
    stage.bench.faults.trouble_at(write, trouble);
    let worker = stage.worker();
    let crashed = stage.live(worker).await;
    let met = crashed || stage.bench.faults.met();
    stage.recover().await;
    stage.check().await;
    met
}

async fn survives_everything(life: Life) {
    for moment in [Moment::Before, Moment::After] {
        for trouble in [Trouble::Crash(moment), Trouble::Refusal(moment)] {
            let mut met = 0;
            while met < MANY && survives(life, met, trouble).await {
                met += 1;
            }
            println!("{life:?}: {met} writes, {trouble:?} at each");
            // Reports that come in the same moment share a write, so the number is not always the
            // same; and a life may end before anybody sees that its last write was met.
            assert!((2..MANY).contains(&met), "a life has several writes: {met}");
        }
    }
}

#[tokio::test]
async fn a_drawing_ends_once_whatever_write_goes_wrong() {
    survives_everything(Life::Draw).await;
}

#[tokio::test]
async fn a_rewritten_prompt_stays_the_same_whatever_write_goes_wrong() {
    survives_everything(Life::Upsampled).await;
}

#[tokio::test]
async fn an_edit_ends_once_whatever_write_goes_wrong() {
    survives_everything(Life::Edit).await;
}

#[tokio::test]
async fn a_failure_ends_once_whatever_write_goes_wrong() {
    survives_everything(Life::Failure).await;
}

#[tokio::test]
async fn a_killed_task_ends_once_whatever_write_goes_wrong() {
    survives_everything(Life::Kill).await;
}

#[tokio::test]
async fn a_drained_task_ends_once_whatever_write_goes_wrong() {
    survives_everything(Life::Drain).await;
}
