//! The types that clients see, field by field and in the order of the published examples.
//!
//! Everything is a decimal string except `parameters` and `outputs`; a time that is not set is
//! `"0"`. Nothing here decides anything: a [`Task`] goes in, its picture on the wire comes out.

use serde::Serialize;
use tintype_domain::{OutputFile, Task, TaskState, TaskTimes, UnixMillis};
use tintype_service::Outlook;
use utoipa::ToSchema;

use crate::errors::ErrorEntry;
use crate::openapi::words;

/// The answer to an accepted run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunAccepted)]
pub struct RunAnswer {
    /// Always empty: failures have their own envelope.
    #[schema(schema_with = words::no_errors)]
    pub errors: [ErrorEntry; 0],
    /// The task's number.
    #[schema(pattern = "^[0-9]+$")]
    pub taskid: String,
    /// The task's token: whoever has it may watch the task.
    #[schema(pattern = "^[0-9A-Za-z]{30}$")]
    pub socketaccesstoken: String,
    /// Always `true`.
    #[schema(schema_with = words::yes)]
    pub result: bool,
}

/// The answer to every question about tasks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tasks)]
pub struct TasksAnswer {
    /// How many tasks there are in all, on all pages.
    #[schema(pattern = "^[0-9]+$")]
    pub total: String,
    /// Always empty: failures have their own envelope.
    #[schema(schema_with = words::no_errors)]
    pub errors: [ErrorEntry; 0],
    /// The tasks.
    pub tasklist: Vec<WireTask>,
    /// Always `true`.
    #[schema(schema_with = words::yes)]
    pub result: bool,
}

/// The answer to a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Done)]
pub struct DoneAnswer {
    /// Always `true`.
    #[schema(schema_with = words::yes)]
    pub result: bool,
    /// Always empty: failures have their own envelope.
    #[schema(schema_with = words::no_errors)]
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
pub struct WireTask {
    /// The task's number.
    #[schema(pattern = "^[0-9]+$")]
    pub id: String,
    /// A name of the task that is unique everywhere.
    #[schema(format = "uuid")]
    pub uuid: String,
    /// The task's token: whoever has it may watch the task.
    pub socketaccesstoken: String,
    /// The inputs that the run uses, under their names in the tool's form, as texts: with
    /// defaults filled in, and the seed that was drawn.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// What the run has to say; `""` on a clean success.
    pub debugoutput: String,
    /// What went wrong and what to do next; `""` on a clean success.
    pub debugerror: String,
    /// When the engine began, in unix seconds; `"0"` while it has not.
    #[schema(pattern = "^[0-9]+$")]
    pub starttime: String,
    /// When the engine ended; `"0"` before.
    #[schema(pattern = "^[0-9]+$")]
    pub endtime: String,
    /// Seconds of work with four decimals. Time in the queue is not counted.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+)?$")]
    pub elapsedseconds: String,
    /// Where the task stands. `task_postprocess_end` and `task_cancel` are final.
    #[schema(schema_with = words::status)]
    pub status: &'static str,
    /// When the task was submitted.
    #[schema(pattern = "^[0-9]+$")]
    pub createtime: String,
    /// When it was cancelled or killed; `"0"` if it was not.
    #[schema(pattern = "^[0-9]+$")]
    pub canceltime: String,
    /// When a model was chosen for it; `"0"` before.
    #[schema(pattern = "^[0-9]+$")]
    pub assigntime: String,
    /// When a worker took it; `"0"` before.
    #[schema(pattern = "^[0-9]+$")]
    pub accepttime: String,
    /// When its inputs began to be fetched and checked; `"0"` before.
    #[schema(pattern = "^[0-9]+$")]
    pub preprocessstarttime: String,
    /// When its inputs were ready; `"0"` before.
    #[schema(pattern = "^[0-9]+$")]
    pub preprocessendtime: String,
    /// When its picture began to be stored; `"0"` before.
    #[schema(pattern = "^[0-9]+$")]
    pub postprocessstarttime: String,
    /// When all was done, well or not; `"0"` before.
    #[schema(pattern = "^[0-9]+$")]
    pub postprocessendtime: String,
    /// The final pictures, and nothing else: empty until the task has succeeded, and again when
    /// its files were deleted.
    pub outputs: Vec<WireOutput>,
    /// While the task waits: how many are before it, `"10000"` for that many or more. Otherwise
    /// `""`.
    #[schema(pattern = "^[0-9]*$")]
    pub queueposition: String,
    /// Seconds until the task has ended, by the mean of its tool's last runs; `""` when nobody
    /// knows, and when it has ended.
    #[schema(pattern = "^[0-9]*$")]
    pub estimatedseconds: String,
    /// Bytes of all outputs.
    #[schema(pattern = "^[0-9]+$")]
    pub size: String,
    /// `"0"` on success, `""` before the end and for cancelled tasks, another number on failure.
    #[schema(pattern = "^(-?[0-9]+)?$")]
    pub pexit: String,
    /// What the run cost, with twelve decimals; `"0"` unless it succeeded.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+)?$")]
    pub totalcost: String,
    /// What the tool says about itself.
    pub modeldescription: String,
    /// The first half of the tool's address.
    pub modelslugowner: String,
    /// The second half of the tool's address.
    pub modelslugproject: String,
    /// The folder of the outputs.
    pub outputfolderid: String,
    /// The engine that made the outputs; `""` unless the task succeeded.
    pub enginename: String,
    /// The model that it made them with; `""` unless the task succeeded.
    pub modelname: String,
    /// What the picture is drawn from in the place of `prompt`, if `promptUpsampling` asked for a
    /// better one and this service made it; otherwise `""`.
    pub upsampledprompt: String,
}

/// A final picture of a task.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Output)]
pub struct WireOutput {
    /// The file's id.
    pub id: String,
    /// The file's name.
    pub name: String,
    /// Its media type.
    pub contenttype: String,
    /// The folder that it stands in.
    pub parentid: String,
    /// The `uuid` of its task.
    #[schema(format = "uuid")]
    pub uuid: String,
    /// Bytes.
    #[schema(pattern = "^[0-9]+$")]
    pub size: String,
    /// When it was stored, in unix seconds.
    #[schema(pattern = "^[0-9]+$")]
    pub addedtime: String,
    /// When it was last changed.
    #[schema(pattern = "^[0-9]+$")]
    pub modifiedtime: String,
    /// Its read capability.
    pub accesskey: String,
    /// Its absolute address. No key is needed: the directory cannot be guessed.
    #[schema(format = "uri")]
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
        let maker = task.maker.map(|maker| (maker.engine, maker.model));
        let (enginename, modelname) = maker.unwrap_or_default();
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
            queueposition: String::new(),
            estimatedseconds: String::new(),
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
            enginename,
            modelname,
            upsampledprompt: task.upsampled_prompt.unwrap_or_default(),
            uuid,
        }
    }
}

impl WireTask {
    /// With what lies before the task.
    pub fn expecting(self, outlook: Outlook) -> Self {
        Self {
            queueposition: queue_position(outlook),
            estimatedseconds: estimated_seconds(outlook),
            ..self
        }
    }
}

/// How many tasks go first; empty for a task that is not queued.
pub fn queue_position(outlook: Outlook) -> String {
    let position = outlook.position.map(|position| position.to_string());
    position.unwrap_or_default()
}

/// Whole seconds, rounded up; empty if nobody knows.
pub fn estimated_seconds(outlook: Outlook) -> String {
    let millis = outlook.estimated_ms.map(|millis| millis.max(0));
    let seconds = millis.map(|millis| millis / 1_000 + i64::from(millis % 1_000 > 0));
    seconds
        .map(|seconds| seconds.to_string())
        .unwrap_or_default()
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
