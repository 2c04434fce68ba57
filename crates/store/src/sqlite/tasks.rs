//! Submitting and reading tasks.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, named_params};
use tintype_domain::{
    Epoch, Idempotency, NewTask, ProjectId, Refusal, Task, TaskId, TaskRef, TaskState, TaskTimes,
    UnixMillis,
};

use super::batch::Batch;
use super::columns::Columns;
use super::job::{self, Entry, Job};
use super::{accounts, outputs, registry, repeats, rows, tool_stats};
use crate::{Error, MAX_PAGE, TaskQuery};

static LOAD: LazyLock<String> = LazyLock::new(|| by_number(rows::TASK_COLUMNS));
static LOAD_WITH_JOB: LazyLock<String> =
    LazyLock::new(|| by_number(&format!("{}, {}", rows::TASK_COLUMNS, job::COLUMNS)));

fn by_number(columns: &str) -> String {
    format!("SELECT {columns} FROM task JOIN job ON job.task = task.id WHERE task.id = ?1")
}

/// Records a task and queues it; one that was asked for before, under the same key, comes back as
/// it is. Everything that may refuse it is looked at before anything is written.
pub(super) fn submit(
    batch: &Batch<'_>,
    task: NewTask,
    now: UnixMillis,
) -> Result<Result<Task, Refusal>, Error> {
    if let Some(idempotency) = &task.idempotency
        && let Some(known) = repeated(batch, task.project, idempotency)?
    {
        return Ok(known);
    }
    let applicant = match accounts::admit(batch, &task)? {
        Ok(applicant) => applicant,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let price_micros = applicant.price_micros;
    let mean_ms = tool_stats::count_run(batch, &task.tool, now)?;
    let place = applicant.enter(batch, mean_ms)?;
    let id = insert(batch, &task)?;
    let entry = Entry {
        task: id,
        place,
        price_micros,
    };
    let times = Job::insert(batch, entry, now)?;
    for upload in &task.uploads {
        registry::add_file(batch, upload)?;
    }
    if let Some(idempotency) = &task.idempotency {
        repeats::remember(batch, task.project, idempotency, id, now)?;
    }
    Ok(Ok(queued(id, task, times)))
}

/// What came of an earlier request with this key, if there was one.
pub(super) fn repeated(
    connection: &Connection,
    project: ProjectId,
    idempotency: &Idempotency,
) -> Result<Option<Result<Task, Refusal>>, Error> {
    let Idempotency {
        key, keep_after, ..
    } = idempotency;
    let Some(first) = repeats::find(connection, project, key, *keep_after)? else {
        return Ok(None);
    };
    if first.fingerprint != idempotency.fingerprint {
        return Ok(Some(Err(Refusal::KeyReused)));
    }
    Ok(Some(Ok(load(connection, first.task)?)))
}

fn insert(connection: &Connection, task: &NewTask) -> Result<TaskId, Error> {
    connection
        .prepare_cached(
            "INSERT INTO task (uuid, token, project, tool_owner, tool_model, parameters, \
             output_folder, callback_url, warnings, callback_base_url) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            task.uuid.to_string(),
            task.token.as_str(),
            task.project.0,
            &task.tool.owner,
            &task.tool.model,
            rows::to_json(&task.parameters),
            task.output_folder.as_str(),
            &task.callback_url,
            rows::to_json(&task.warnings),
            &task.callback_base_url,
        ))?;
    Ok(TaskId(connection.last_insert_rowid()))
}

fn queued(id: TaskId, task: NewTask, times: TaskTimes) -> Task {
    Task {
        id,
        uuid: task.uuid,
        token: task.token,
        project: task.project,
        tool: task.tool,
        parameters: task.parameters,
        state: TaskState::Queued,
        times,
        epoch: Epoch(0),
        exit_code: None,
        cancel_requested: false,
        debug_output: String::new(),
        debug_error: String::new(),
        cost_micros: 0,
        outputs: Vec::new(),
        maker: None,
        upsampled_prompt: None,
        output_folder: task.output_folder,
        callback_url: task.callback_url,
        warnings: task.warnings,
    }
}

/// The number of a task, if the project (when given) owns it.
pub(super) fn find(
    connection: &Connection,
    task: &TaskRef,
    project: Option<ProjectId>,
) -> Result<Option<TaskId>, Error> {
    let (id, token) = match task {
        TaskRef::Id(id) => (Some(id.0), None),
        TaskRef::Token(token) => (None, Some(token.as_str())),
    };
    let project = project.map(|project| project.0);
    let statement = match task {
        TaskRef::Id(_) => "SELECT id FROM task WHERE id = ?1 AND (?2 IS NULL OR project = ?2)",
        TaskRef::Token(_) => {
            "SELECT id FROM task WHERE token = ?1 AND (?2 IS NULL OR project = ?2)"
        }
    };
    let mut statement = connection.prepare_cached(statement)?;
    let found = match (id, token) {
        (Some(id), _) => statement.query_row((id, project), |row| row.get(0)),
        (None, token) => statement.query_row((token, project), |row| row.get(0)),
    };
    Ok(found.optional()?.map(TaskId))
}

/// A task that must be there, with its outputs.
pub(super) fn load(connection: &Connection, id: TaskId) -> Result<Task, Error> {
    let mut task = connection
        .prepare_cached(&LOAD)?
        .query_row((id.0,), |row| rows::task(&Columns::of(row)))?;
    add_outputs(connection, &mut task)?;
    Ok(task)
}

/// A task that waits or runs and must be there, and its job.
pub(super) fn load_with_job(connection: &Connection, id: TaskId) -> Result<(Task, Job), Error> {
    let loaded = connection
        .prepare_cached(&LOAD_WITH_JOB)?
        .query_row((id.0,), |row| {
            let columns = Columns::of(row);
            Ok((rows::task(&columns)?, Job::read(&columns)?))
        })?;
    Ok(loaded)
}

/// A task by number or token.
pub(super) fn detail(
    connection: &Connection,
    task: &TaskRef,
    project: Option<ProjectId>,
) -> Result<Option<Task>, Error> {
    find(connection, task, project)?
        .map(|id| load(connection, id))
        .transpose()
}

/// A page of a project's tasks, and how many there are in all.
pub(super) fn list(connection: &Connection, query: &TaskQuery) -> Result<(Vec<Task>, u64), Error> {
    let filter = match query.tool {
        None => "project = :project AND :owner IS NULL AND :model IS NULL",
        Some(_) => "project = :project AND tool_owner = :owner AND tool_model = :model",
    };
    let order = if query.descending { "DESC" } else { "ASC" };
    let owner = query.tool.as_ref().map(|tool| &tool.owner);
    let model = query.tool.as_ref().map(|tool| &tool.model);

    let total = connection
        .prepare_cached(&format!("SELECT count(*) FROM task WHERE {filter}"))?
        .query_row(
            named_params! {":project": query.project.0, ":owner": owner, ":model": model},
            |row| row.get(0),
        )?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM task JOIN job ON job.task = task.id WHERE {filter} \
         ORDER BY task.id {order} LIMIT :limit OFFSET :start",
        rows::TASK_COLUMNS
    ))?;
    let page = named_params! {
        ":project": query.project.0,
        ":owner": owner,
        ":model": model,
        ":limit": query.limit.min(MAX_PAGE),
        ":start": i64::try_from(query.start).unwrap_or(i64::MAX),
    };
    let mut tasks = statement
        .query_map(page, |row| rows::task(&Columns::of(row)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for task in &mut tasks {
        add_outputs(connection, task)?;
    }
    Ok((tasks, total))
}

fn add_outputs(connection: &Connection, task: &mut Task) -> Result<(), Error> {
    if task.state == TaskState::Finished {
        task.outputs = outputs::of_task(connection, task.id)?;
    }
    Ok(())
}
