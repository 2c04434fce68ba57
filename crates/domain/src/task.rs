//! The life of a task: its states, the one function that moves between them, and its record.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Epoch, FileId, Idempotency, NewFile, OutputFile, ProjectId, TaskId, TaskToken, ToolSlug,
    UnixMillis,
};

/// Where a task stands. The order of the variants is the order of a life without trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waiting for a worker.
    Queued,
    /// A worker holds the lease.
    Accepted,
    /// Inputs are being fetched and checked.
    PreprocessStarted,
    /// Inputs are ready.
    PreprocessEnded,
    /// The model is being made ready.
    Assigned,
    /// The engine runs.
    Started,
    /// The engine has reported progress.
    Output,
    /// All of the engine's progress is in.
    OutputFull,
    /// The engine is done, well or not.
    Ended,
    /// Results are being encoded and stored.
    PostprocessStarted,
    /// Final: see the exit code for how it went.
    Finished,
    /// Final: stopped before the end.
    Cancelled,
}

impl TaskState {
    /// All states, in order.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Accepted,
        Self::PreprocessStarted,
        Self::PreprocessEnded,
        Self::Assigned,
        Self::Started,
        Self::Output,
        Self::OutputFull,
        Self::Ended,
        Self::PostprocessStarted,
        Self::Finished,
        Self::Cancelled,
    ];

    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled)
    }

    /// Whether a worker holds the task.
    pub fn is_running(self) -> bool {
        self != Self::Queued && !self.is_final()
    }
}

/// A refused transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task cannot go from {from:?} to {to:?}")]
pub struct TransitionError {
    /// Where it stands.
    pub from: TaskState,
    /// Where it was asked to go.
    pub to: TaskState,
}

/// Stage names of a life, used where a worker reports what it is doing.
pub type Stage = TaskState;

/// When each state was entered. `None` means not yet. Of a task that ran more than once, the
/// times are those of the last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskTimes {
    /// Submitted.
    pub created: UnixMillis,
    /// Claimed by a worker.
    pub accepted: Option<UnixMillis>,
    /// Preprocessing began.
    pub preprocess_started: Option<UnixMillis>,
    /// Preprocessing ended.
    pub preprocess_ended: Option<UnixMillis>,
    /// Handed to a model.
    pub assigned: Option<UnixMillis>,
    /// Engine began.
    pub started: Option<UnixMillis>,
    /// Engine ended.
    pub ended: Option<UnixMillis>,
    /// Postprocessing began.
    pub postprocess_started: Option<UnixMillis>,
    /// Final.
    pub postprocess_ended: Option<UnixMillis>,
    /// Cancelled.
    pub cancelled: Option<UnixMillis>,
}

impl TaskTimes {
    /// The latest time that is set; no later event may lie before it.
    pub fn latest(&self) -> UnixMillis {
        [
            self.accepted,
            self.preprocess_started,
            self.preprocess_ended,
            self.assigned,
            self.started,
            self.ended,
            self.postprocess_started,
            self.postprocess_ended,
            self.cancelled,
        ]
        .into_iter()
        .flatten()
        .fold(self.created, UnixMillis::max)
    }
}

/// The pure transition function: the state and the times after a task enters `to` at `at`.
///
/// Forward moves may skip states (a failure goes straight to [`TaskState::Ended`] or
/// [`TaskState::Finished`]); [`TaskState::Accepted`] may be entered again from any state that is
/// not final (a lost lease), and [`TaskState::Queued`] too (a lease given back): both clear the
/// times of the earlier attempt. A clock that ran backwards is held at the latest known time.
///
/// # Errors
/// [`TransitionError`] when `from` is final or `to` lies before it.
pub fn transition(
    from: TaskState,
    times: TaskTimes,
    to: TaskState,
    at: UnixMillis,
) -> Result<(TaskState, TaskTimes), TransitionError> {
    use TaskState as S;
    let restart = matches!(to, S::Accepted | S::Queued);
    let repeat = from == to && to == S::Output;
    if from.is_final()
        || !(restart || repeat || to > from)
        || (from == S::Queued && to == S::Queued)
    {
        return Err(TransitionError { from, to });
    }
    let at = at.max(times.latest());
    let mut next = if restart {
        TaskTimes {
            created: times.created,
            ..TaskTimes::default()
        }
    } else {
        times
    };
    match to {
        S::Queued | S::Output | S::OutputFull => {}
        S::Accepted => next.accepted = Some(at),
        S::PreprocessStarted => next.preprocess_started = Some(at),
        S::PreprocessEnded => next.preprocess_ended = Some(at),
        S::Assigned => next.assigned = Some(at),
        S::Started => next.started = Some(at),
        S::Ended => next.ended = Some(at),
        S::PostprocessStarted => next.postprocess_started = Some(at),
        S::Finished => next.postprocess_ended = Some(at),
        S::Cancelled => next.cancelled = Some(at),
    }
    Ok((to, next))
}

/// How a run ended, as one number: 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExitCode(pub i32);

impl ExitCode {
    /// The picture is there.
    pub const SUCCESS: Self = Self(0);
    /// The engine failed.
    pub const ENGINE: Self = Self(1);
    /// An input could not be used.
    pub const INPUT: Self = Self(2);
    /// The result could not be stored.
    pub const STORAGE: Self = Self(3);
    /// The task was given to workers as often as allowed, and none finished it.
    pub const ATTEMPTS: Self = Self(4);
    /// Moderation let the request or the picture not through.
    pub const MODERATED: Self = Self(5);
}

/// What made a task's pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// The engine.
    pub engine: String,
    /// The model that it drew with.
    pub model: String,
}

/// What a worker says when it is done with a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Pictures are in the blob store.
    Succeeded {
        /// What was made.
        outputs: Vec<OutputFile>,
        /// Pictures that were asked for and are not among them. They are not paid for.
        withheld: u32,
        /// What made it, if that is known.
        maker: Option<Maker>,
        /// Remarks for the person who asked; empty on a clean success.
        debug_error: String,
    },
    /// There is no picture.
    Failed {
        /// Not zero.
        exit_code: ExitCode,
        /// The reason, with what to do next.
        debug_error: String,
    },
    /// The task was stopped on request.
    Cancelled,
}

/// A task about to be queued.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// A public name for the task.
    pub uuid: Uuid,
    /// The capability to watch it.
    pub token: TaskToken,
    /// Who asked.
    pub project: ProjectId,
    /// What was asked.
    pub tool: ToolSlug,
    /// The effective inputs, validated and coerced, as the client sees them echoed.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// The folder that its outputs will stand in.
    pub output_folder: FileId,
    /// Where to report the end, if anywhere.
    pub callback_url: Option<String>,
    /// Where the addresses in that report begin; `None`: where the service says.
    pub callback_base_url: Option<String>,
    /// Remarks that were made at submission (an ignored callback, say); shown in `debugerror`
    /// only if the run asks for it, always kept.
    pub warnings: Vec<String>,
    /// The files that came with the request, recorded together with the task.
    pub uploads: Vec<NewFile>,
    /// Pictures that it asks for, at least one: each of them is paid for, and is work of its own.
    pub pictures: u32,
    /// What makes the request one that may be repeated.
    pub idempotency: Option<Idempotency>,
}

/// A task as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// Its public name.
    pub uuid: Uuid,
    /// The capability to watch it.
    pub token: TaskToken,
    /// Who asked.
    pub project: ProjectId,
    /// What was asked.
    pub tool: ToolSlug,
    /// The effective inputs.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Where it stands.
    pub state: TaskState,
    /// When it got there.
    pub times: TaskTimes,
    /// The fencing number of its latest claim; zero before the first.
    pub epoch: Epoch,
    /// How it ended; `None` before the end and for cancelled tasks.
    pub exit_code: Option<ExitCode>,
    /// Whether someone has asked a running task to stop.
    pub cancel_requested: bool,
    /// What the run printed; empty on a clean success.
    pub debug_output: String,
    /// What went wrong, for the person who asked; empty on a clean success.
    pub debug_error: String,
    /// Millionths of the account's currency; zero unless it succeeded.
    pub cost_micros: i64,
    /// The final pictures; empty unless it succeeded.
    pub outputs: Vec<OutputFile>,
    /// What made them; `None` unless it succeeded.
    pub maker: Option<Maker>,
    /// What the prompt was rewritten to, once it was; every attempt draws from the same.
    pub upsampled_prompt: Option<String>,
    /// The folder of the outputs.
    pub output_folder: FileId,
    /// Where to report the end.
    pub callback_url: Option<String>,
    /// Remarks made at submission.
    pub warnings: Vec<String>,
}

/// How a client names a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskRef {
    /// By number.
    Id(TaskId),
    /// By capability.
    Token(TaskToken),
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "task {id}"),
            Self::Token(_) => f.write_str("the task of this token"),
        }
    }
}

/// One thing that happened to a task, as subscribers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The task.
    pub task: TaskId,
    /// Its place in the life of the task: the states that a task enters are numbered 1, 2, 3 and
    /// so on, through all of its attempts. Progress has the number of the state that it follows.
    pub number: u32,
    /// When.
    pub at: UnixMillis,
    /// What.
    pub kind: EventKind,
}

/// What can happen to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EventKind {
    /// It entered a state.
    Entered {
        /// Which.
        state: TaskState,
    },
    /// The engine finished a step. For those who watch now: it is kept nowhere.
    Progress {
        /// Steps done.
        step: u32,
        /// Steps in all.
        steps: u32,
        /// Milliseconds since the engine's first report of this attempt.
        elapsed_millis: u64,
    },
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const CREATED: UnixMillis = UnixMillis(1_000);

    fn fresh() -> (TaskState, TaskTimes) {
        let times = TaskTimes {
            created: CREATED,
            ..TaskTimes::default()
        };
        (TaskState::Queued, times)
    }

    /// The times in the order of a life.
    fn in_order(times: &TaskTimes) -> Vec<UnixMillis> {
        [
            times.accepted,
            times.preprocess_started,
            times.preprocess_ended,
            times.assigned,
            times.started,
            times.ended,
            times.postprocess_started,
            times.postprocess_ended.or(times.cancelled),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    #[test]
    fn a_life_without_trouble_sets_every_time() {
        let (mut state, mut times) = fresh();
        for (seconds, to) in (1..).zip(&TaskState::ALL[1..11]) {
            let at = CREATED.plus_millis(seconds * 1000);
            (state, times) = transition(state, times, *to, at).expect("the next state");
        }
        assert_eq!(state, TaskState::Finished);
        let seconds: Vec<_> = in_order(&times).iter().map(|at| at.seconds()).collect();
        assert_eq!(seconds, [2, 3, 4, 5, 6, 9, 10, 11]);
        assert_eq!(times.created, CREATED);
    }

    #[test]
    fn every_pair_of_states_is_decided_as_documented() {
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                let (_, times) = fresh();
                let allowed = match (from, to) {
                    (TaskState::Finished | TaskState::Cancelled, _) => false,
                    (TaskState::Queued, TaskState::Queued) => false,
                    (_, TaskState::Queued | TaskState::Accepted) => true,
                    (TaskState::Output, TaskState::Output) => true,
                    _ => to > from,
                };
                let moved = transition(from, times, to, CREATED);
                assert_eq!(moved.is_ok(), allowed, "{from:?} to {to:?}");
                if let Err(refused) = moved {
                    assert_eq!(refused, TransitionError { from, to });
                }
            }
        }
    }

    #[test]
    fn all_states_are_listed_in_order_and_two_are_final() {
        assert!(TaskState::ALL.is_sorted_by(|a, b| a < b));
        let finals: Vec<_> = TaskState::ALL
            .into_iter()
            .filter(|s| s.is_final())
            .collect();
        assert_eq!(finals, [TaskState::Finished, TaskState::Cancelled]);
        let idle: Vec<_> = TaskState::ALL
            .into_iter()
            .filter(|s| !s.is_running())
            .collect();
        let expected = [TaskState::Queued, TaskState::Finished, TaskState::Cancelled];
        assert_eq!(idle, expected);
    }

    #[test]
    fn a_new_attempt_forgets_the_times_of_the_last() {
        let (state, times) = fresh();
        let (state, times) =
            transition(state, times, TaskState::Accepted, UnixMillis(2_000)).expect("claimed");
        let (state, times) =
            transition(state, times, TaskState::Started, UnixMillis(3_000)).expect("started");
        let (_, again) =
            transition(state, times, TaskState::Accepted, UnixMillis(9_000)).expect("lost lease");
        assert_eq!(in_order(&again), [UnixMillis(9_000)]);
        let (_, released) =
            transition(state, times, TaskState::Queued, UnixMillis(9_000)).expect("given back");
        assert_eq!(released, fresh().1);
    }

    fn steps() -> impl Strategy<Value = Vec<(TaskState, i64)>> {
        vec((select(&TaskState::ALL[..]), 0..3_000_i64), 0..40)
    }

    proptest! {
        #[test]
        fn no_walk_leaves_a_final_state_or_turns_back_time(steps in steps()) {
            let (mut state, mut times) = fresh();
            for (to, at) in steps {
                let Ok((next, after)) = transition(state, times, to, UnixMillis(at)) else {
                    continue;
                };
                prop_assert!(!state.is_final());
                prop_assert_eq!(next, to);
                prop_assert_eq!(after.created, CREATED);
                let restart = matches!(to, TaskState::Queued | TaskState::Accepted);
                prop_assert!(restart || after.latest() >= times.latest());
                let walked = in_order(&after);
                prop_assert!(walked.is_sorted(), "{after:?}");
                prop_assert!(walked.iter().all(|time| *time >= CREATED), "{after:?}");
                prop_assert_eq!(after.cancelled.is_some(), to == TaskState::Cancelled);
                prop_assert_eq!(after.postprocess_ended.is_some(), to == TaskState::Finished);
                (state, times) = (next, after);
            }
        }
    }
}
