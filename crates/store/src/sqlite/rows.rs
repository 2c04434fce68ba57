//! Between rows and the types of the domain.

use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tintype_domain::{
    AccessKey, AuthKind, Epoch, ExitCode, FileId, FileRecord, Folder, Maker, OutputFile, Project,
    ProjectId, Task, TaskId, TaskState, TaskTimes, TaskToken, ToolSlug, UnixMillis,
};

use super::columns::Columns;

/// The columns that [`task`] reads, of `task JOIN job ON job.task = task.id`.
pub(super) const TASK_COLUMNS: &str = "id, uuid, token, project, tool_owner, tool_model, \
     parameters, output_folder, callback_url, warnings, state, epoch, cancel_requested, \
     created_at, accepted_at, preprocess_started_at, preprocess_ended_at, assigned_at, \
     started_at, ended_at, postprocess_started_at, postprocess_ended_at, cancelled_at, \
     exit_code, debug_output, debug_error, cost_micros, engine_name, model_name, \
     upsampled_prompt";

/// A task without its outputs, of [`TASK_COLUMNS`].
pub(super) fn task(columns: &Columns<'_>) -> rusqlite::Result<Task> {
    // In the order of the columns, which is that of these fields.
    Ok(Task {
        id: TaskId(columns.next()?),
        uuid: columns.text(str::parse)?,
        token: TaskToken(columns.next()?),
        project: ProjectId(columns.next()?),
        tool: ToolSlug::new(columns.next::<String>()?, columns.next::<String>()?),
        parameters: columns.json()?,
        output_folder: FileId(columns.next()?),
        callback_url: columns.next()?,
        warnings: columns.json()?,
        state: columns.text(state)?,
        epoch: Epoch(columns.next()?),
        cancel_requested: columns.next()?,
        times: times(columns)?,
        exit_code: columns.next::<Option<i32>>()?.map(ExitCode),
        debug_output: columns.next()?,
        debug_error: columns.next()?,
        cost_micros: columns.next()?,
        maker: maker(columns)?,
        upsampled_prompt: columns.next()?,
        outputs: Vec::new(),
    })
}

/// The engine and the model of a job that have both been set.
pub(super) fn maker(columns: &Columns<'_>) -> rusqlite::Result<Option<Maker>> {
    let (engine, model) = (columns.next()?, columns.next()?);
    Ok(Option::zip(engine, model).map(|(engine, model)| Maker { engine, model }))
}

/// The times of a job, from `created_at` to `cancelled_at`.
pub(super) fn times(columns: &Columns<'_>) -> rusqlite::Result<TaskTimes> {
    Ok(TaskTimes {
        created: UnixMillis(columns.next()?),
        accepted: columns.time()?,
        preprocess_started: columns.time()?,
        preprocess_ended: columns.time()?,
        assigned: columns.time()?,
        started: columns.time()?,
        ended: columns.time()?,
        postprocess_started: columns.time()?,
        postprocess_ended: columns.time()?,
        cancelled: columns.time()?,
    })
}

/// The columns that [`output`] reads.
pub(super) const OUTPUT_COLUMNS: &str = "id, name, content_type, parent_id, size_bytes, added_at, \
     modified_at, access_key, directory, blob_key";

/// An output of a finished task.
pub(super) fn output(columns: &Columns<'_>) -> rusqlite::Result<OutputFile> {
    Ok(OutputFile {
        id: FileId(columns.next()?),
        name: columns.next()?,
        content_type: columns.next()?,
        parent_id: FileId(columns.next()?),
        size_bytes: columns.next()?,
        added_at: UnixMillis(columns.next()?),
        modified_at: UnixMillis(columns.next()?),
        access_key: AccessKey(columns.next()?),
        directory: columns.next()?,
        blob_key: columns.next()?,
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

/// The state that a word stands for.
pub(super) fn state(word: &str) -> Result<TaskState, String> {
    TaskState::ALL
        .into_iter()
        .find(|state| state_word(*state) == word)
        .ok_or_else(|| format!("{word:?} is not a task state"))
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
