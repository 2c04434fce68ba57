//! The types that clients see, field by field and in the order of the published examples.
//!
//! Everything is a decimal string except `parameters` and `outputs`; a time that is not set is
//! `"0"`. Nothing here decides anything: a [`Task`] goes in, its picture on the wire comes out.

use serde::Serialize;
use tintype_domain::{OutputFile, Task, TaskState, TaskTimes, UnixMillis};

use crate::errors::ErrorEntry;

/// The answer to an accepted run.
#[derive(Debug, Serialize)]
pub struct RunAnswer {
    /// Always empty: failures have their own envelope.
    pub errors: [ErrorEntry; 0],
    /// The task's number.
    pub taskid: String,
    /// The capability to watch it.
    pub socketaccesstoken: String,
    /// Always `true`.
    pub result: bool,
}

/// The answer to every question about tasks.
#[derive(Debug, Serialize)]
pub struct TasksAnswer {
    /// How many tasks there are in all.
    pub total: String,
    /// Always empty.
    pub errors: [ErrorEntry; 0],
    /// The tasks.
    pub tasklist: Vec<WireTask>,
    /// Always `true`.
    pub result: bool,
}

/// The answer to a deletion.
#[derive(Debug, Serialize)]
pub struct DoneAnswer {
    /// Always `true`.
    pub result: bool,
    /// Always empty.
    pub errors: [ErrorEntry; 0],
}

/// What a task's record does not say itself.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The base of absolute addresses, without a slash at the end.
    pub base_url: &'a str,
    /// What the tool says about itself.
    pub tool_description: &'a str,
}

/// A task.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireTask {
    pub id: String,
    pub uuid: String,
    pub socketaccesstoken: String,
    pub parameters: serde_json::Map<String, serde_json::Value>,
    pub debugoutput: String,
    pub debugerror: String,
    pub starttime: String,
    pub endtime: String,
    pub elapsedseconds: String,
    pub status: &'static str,
    pub createtime: String,
    pub canceltime: String,
    pub assigntime: String,
    pub accepttime: String,
    pub preprocessstarttime: String,
    pub preprocessendtime: String,
    pub postprocessstarttime: String,
    pub postprocessendtime: String,
    pub outputs: Vec<WireOutput>,
    pub size: String,
    pub pexit: String,
    pub totalcost: String,
    pub modeldescription: String,
    pub modelslugowner: String,
    pub modelslugproject: String,
    pub outputfolderid: String,
}

/// A final picture of a task.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireOutput {
    pub id: String,
    pub name: String,
    pub contenttype: String,
    pub parentid: String,
    pub uuid: String,
    pub size: String,
    pub addedtime: String,
    pub modifiedtime: String,
    pub accesskey: String,
    pub url: String,
}

/// The word for a state.
pub fn status_word(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "task_queue",
        TaskState::Accepted => "task_accept",
        TaskState::PreprocessStarted => "task_preprocess_start",
        TaskState::PreprocessEnded => "task_preprocess_end",
        TaskState::Assigned => "task_assign",
        TaskState::Started => "task_start",
        TaskState::Output => "task_output",
        TaskState::OutputFull => "task_output_full",
        TaskState::Ended => "task_end",
        TaskState::PostprocessStarted => "task_postprocess_start",
        TaskState::Finished => "task_postprocess_end",
        TaskState::Cancelled => "task_cancel",
    }
}

impl WireTask {
    /// A task as clients see it.
    pub fn of(task: Task, surroundings: Surroundings<'_>) -> Self {
        let times = task.times;
        let succeeded = task.exit_code.is_some_and(|code| code.0 == 0);
        let size_bytes: u64 = task.outputs.iter().map(|output| output.size_bytes).sum();
        let uuid = task.uuid.to_string();
        let outputs = task.outputs.into_iter();
        Self {
            id: task.id.to_string(),
            socketaccesstoken: task.token.0,
            parameters: task.parameters,
            debugoutput: task.debug_output,
            debugerror: task.debug_error,
            starttime: seconds(times.started),
            endtime: seconds(times.ended),
            elapsedseconds: elapsed_seconds(&times),
            status: status_word(task.state),
            createtime: seconds(Some(times.created)),
            canceltime: seconds(times.cancelled),
            assigntime: seconds(times.assigned),
            accepttime: seconds(times.accepted),
            preprocessstarttime: seconds(times.preprocess_started),
            preprocessendtime: seconds(times.preprocess_ended),
            postprocessstarttime: seconds(times.postprocess_started),
            postprocessendtime: seconds(times.postprocess_ended),
            outputs: outputs
                .map(|file| WireOutput::of(file, &uuid, surroundings))
                .collect(),
            size: size_bytes.to_string(),
            pexit: task
                .exit_code
                .map(|code| code.0.to_string())
                .unwrap_or_default(),
            totalcost: if succeeded {
                cost(task.cost_micros)
            } else {
                "0".to_owned()
            },
            modeldescription: surroundings.tool_description.to_owned(),
            modelslugowner: task.tool.owner,
            modelslugproject: task.tool.model,
            outputfolderid: task.output_folder.0,
            uuid,
        }
    }
}

impl WireOutput {
    fn of(file: OutputFile, task_uuid: &str, surroundings: Surroundings<'_>) -> Self {
        Self {
            url: format!("{}/{}/{}", surroundings.base_url, file.directory, file.name),
            id: file.id.0,
            name: file.name,
            contenttype: file.content_type,
            parentid: file.parent_id.0,
            uuid: task_uuid.to_owned(),
            size: file.size_bytes.to_string(),
            addedtime: seconds(Some(file.added_at)),
            modifiedtime: seconds(Some(file.modified_at)),
            accesskey: file.access_key.0,
        }
    }
}

pub(crate) fn seconds(at: Option<UnixMillis>) -> String {
    at.map_or_else(|| "0".to_owned(), |at| at.seconds().to_string())
}

/// From the worker's accept to the end of the run, in seconds with four decimals: time in the
/// queue is free. A task that ended before its engine did counts to its last state.
fn elapsed_seconds(times: &TaskTimes) -> String {
    let end = times.ended.or(times.postprocess_ended).or(times.cancelled);
    let millis = match (times.accepted, end) {
        (Some(accepted), Some(end)) => end.0.saturating_sub(accepted.0).max(0),
        _ => 0,
    };
    format!("{}.{:03}0", millis / 1000, millis % 1000)
}

/// Millionths as a decimal number with twelve places.
fn cost(micros: i64) -> String {
    let micros = micros.max(0);
    format!("{}.{:06}000000", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
