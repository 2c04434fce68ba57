//! Between rows and the types of the domain.

use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tintype_domain::{
    AccessKey, AuthKind, Epoch, ExitCode, FileId, FileRecord, Folder, OutputFile, Project,
    ProjectId, Task, TaskId, TaskState, TaskTimes, TaskToken, ToolSlug, UnixMillis,
};

/// The columns that [`task`] reads, of `task JOIN job ON job.task = task.id`.
pub(super) const TASK_COLUMNS: &str = "id, uuid, token, project, tool_owner, tool_model, \
     parameters, output_folder, callback_url, warnings, state, epoch, cancel_requested, \
     created_at, accepted_at, preprocess_started_at, preprocess_ended_at, assigned_at, \
     started_at, ended_at, postprocess_started_at, postprocess_ended_at, cancelled_at, \
     exit_code, debug_output, debug_error, cost_micros";

/// A task without its outputs.
pub(super) fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        id: TaskId(row.get("id")?),
        uuid: parsed(row, "uuid")?,
        token: TaskToken(row.get("token")?),
        project: ProjectId(row.get("project")?),
        tool: ToolSlug::new(
            row.get::<_, String>("tool_owner")?,
            row.get::<_, String>("tool_model")?,
        ),
        parameters: json(row, "parameters")?,
        state: state(row, "state")?,
        times: times(row)?,
        epoch: Epoch(row.get("epoch")?),
        exit_code: row.get::<_, Option<i32>>("exit_code")?.map(ExitCode),
        cancel_requested: row.get("cancel_requested")?,
        debug_output: row.get("debug_output")?,
        debug_error: row.get("debug_error")?,
        cost_micros: row.get("cost_micros")?,
        outputs: Vec::new(),
        output_folder: FileId(row.get("output_folder")?),
        callback_url: row.get("callback_url")?,
        warnings: json(row, "warnings")?,
    })
}

/// The times of a job.
pub(super) fn times(row: &Row<'_>) -> rusqlite::Result<TaskTimes> {
    let time = |column| -> rusqlite::Result<Option<UnixMillis>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(UnixMillis))
    };
    Ok(TaskTimes {
        created: UnixMillis(row.get("created_at")?),
        accepted: time("accepted_at")?,
        preprocess_started: time("preprocess_started_at")?,
        preprocess_ended: time("preprocess_ended_at")?,
        assigned: time("assigned_at")?,
        started: time("started_at")?,
        ended: time("ended_at")?,
        postprocess_started: time("postprocess_started_at")?,
        postprocess_ended: time("postprocess_ended_at")?,
        cancelled: time("cancelled_at")?,
    })
}

/// An output of a finished task.
pub(super) fn output(row: &Row<'_>) -> rusqlite::Result<OutputFile> {
    Ok(OutputFile {
        id: FileId(row.get("id")?),
        name: row.get("name")?,
        content_type: row.get("content_type")?,
        parent_id: FileId(row.get("parent_id")?),
        size_bytes: row.get("size_bytes")?,
        added_at: UnixMillis(row.get("added_at")?),
        modified_at: UnixMillis(row.get("modified_at")?),
        access_key: AccessKey(row.get("access_key")?),
        directory: row.get("directory")?,
        blob_key: row.get("blob_key")?,
    })
}

/// An uploaded file.
pub(super) fn file(row: &Row<'_>) -> rusqlite::Result<FileRecord> {
    Ok(FileRecord {
        id: FileId(row.get("id")?),
        project: ProjectId(row.get("project")?),
        folder: row.get::<_, Option<String>>("folder")?.map(FileId),
        name: row.get("name")?,
        content_type: row.get("content_type")?,
        size_bytes: row.get("size_bytes")?,
        added_at: UnixMillis(row.get("added_at")?),
        access_key: AccessKey(row.get("access_key")?),
        directory: row.get("directory")?,
        blob_key: row.get("blob_key")?,
    })
}

/// A folder.
pub(super) fn folder(row: &Row<'_>) -> rusqlite::Result<Folder> {
    Ok(Folder {
        id: FileId(row.get("id")?),
        project: ProjectId(row.get("project")?),
        parent: row.get::<_, Option<String>>("parent")?.map(FileId),
        name: row.get("name")?,
        added_at: UnixMillis(row.get("added_at")?),
    })
}

/// A project.
pub(super) fn project(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: ProjectId(row.get("id")?),
        name: row.get("name")?,
        api_key: row.get("api_key")?,
        sealed_secret: row.get("sealed_secret")?,
        auth: auth(row)?,
        allowed_networks: json(row, "allowed_networks")?,
        strict_nonce: row.get("strict_nonce")?,
        created_at: UnixMillis(row.get("created_at")?),
    })
}

/// The word for a state in the database. Stored data: never changed, only added to.
pub(super) fn state_word(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "queued",
        TaskState::Accepted => "accepted",
        TaskState::PreprocessStarted => "preprocess_started",
        TaskState::PreprocessEnded => "preprocess_ended",
        TaskState::Assigned => "assigned",
        TaskState::Started => "started",
        TaskState::Output => "output",
        TaskState::OutputFull => "output_full",
        TaskState::Ended => "ended",
        TaskState::PostprocessStarted => "postprocess_started",
        TaskState::Finished => "finished",
        TaskState::Cancelled => "cancelled",
    }
}

/// The state that a column's word stands for.
pub(super) fn state(row: &Row<'_>, column: &str) -> rusqlite::Result<TaskState> {
    let word: String = row.get(column)?;
    TaskState::ALL
        .into_iter()
        .find(|state| state_word(*state) == word)
        .ok_or_else(|| unreadable(column, format!("{word:?} is not a task state")))
}

/// The word for a project's authentication in the database.
pub(super) fn auth_word(auth: AuthKind) -> &'static str {
    match auth {
        AuthKind::Signature => "signature",
        AuthKind::Key => "key",
    }
}

fn auth(row: &Row<'_>) -> rusqlite::Result<AuthKind> {
    let word: String = row.get("auth")?;
    [AuthKind::Signature, AuthKind::Key]
        .into_iter()
        .find(|auth| auth_word(*auth) == word)
        .ok_or_else(|| unreadable("auth", format!("{word:?} is not a kind of authentication")))
}

/// JSON for a column.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("maps with string keys are JSON; this is a bug")
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error.to_string()))
}

/// What a column's text stands for.
pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &Row<'_>,
    column: &str,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error: T::Err| unreadable(column, error.to_string()))
}

/// What a column that cannot be read is reported as.
pub(super) fn unreadable(column: &str, reason: String) -> rusqlite::Error {
    let reason = format!("column {column}: {reason}");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, reason.into())
}
