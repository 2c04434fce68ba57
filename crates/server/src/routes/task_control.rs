//! `POST /v1/Task/…`: what a project may do with its own tasks besides watching one.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use serde_json::json;
use tintype_service::Page;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::Purpose;
use crate::errors::{ApiError, Kind};
use crate::fields;
use crate::limits::TASKS_LISTED;
use crate::openapi::{Endpoint, Gives, Section, Shape, Takes, Verb, samples, words};
use crate::routes::tasks::{ABOUT, NAMED, about, named};
use crate::wire::{DoneAnswer, TasksAnswer};

/// Tasks in a page for clients that do not say how many: what the published clients ask for.
const USUAL_PAGE: u64 = 20;

pub(super) const LIST: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/Task/List",
    section: Section::Tasks,
    name: "task_list",
    summary: "A project's tasks, page by page",
    description: "Tasks are listed by number, the newest first unless `order` says otherwise. `total` counts \
                  those on all pages.",
    takes: Takes::Fields {
        shape: Shape::of::<TaskPage>(),
        example: |_| {
            json!({
                "type": "model", "sort": "id", "order": "DESC", "start": "0", "limit": "20",
                "modelName": "flux-pro-1.1",
            })
        },
    },
    gives: ABOUT,
    refusals: &[Kind::InvalidInputs],
};

/// Which of a project's tasks.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `list` reads")]
struct TaskPage {
    #[schema(schema_with = words::start)]
    start: Option<u64>,
    #[schema(schema_with = words::limit)]
    limit: Option<u64>,
    /// `ASC` shows the oldest first.
    #[schema(example = "DESC")]
    order: Option<String>,
    /// Tasks of this model only. `modelname` is read, too.
    #[serde(rename = "modelName")]
    model_name: Option<String>,
    /// Passed over: every order in time is the order of numbers.
    sort: Option<String>,
    /// Passed over: all tasks are runs of models.
    r#type: Option<String>,
}

/// Tasks are listed by number, whatever `sort` says: later ones have higher numbers, so every
/// order in time is this one. `type` is passed over, too: all tasks are runs of models.
pub(super) async fn list(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<TasksAnswer>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let inputs = &call.inputs.raw;
    let order = fields::text(inputs, "order");
    let limit = fields::count(inputs, "limit", fields::ANY_COUNT)?.unwrap_or(USUAL_PAGE);
    let page = Page {
        model: fields::text(inputs, "modelName").or_else(|| fields::text(inputs, "modelname")),
        descending: !order.is_some_and(|order| order.eq_ignore_ascii_case("asc")),
        start: fields::count(inputs, "start", fields::ANY_COUNT)?.unwrap_or(0),
        limit: limit.min(TASKS_LISTED),
    };
    let (tasks, total) = app.service.list(&call.principal, page).await?;
    let mut tasklist = Vec::with_capacity(tasks.len());
    for task in tasks {
        tasklist.push(app.on_the_wire(task, &call.base_url).await);
    }
    Ok(Json(TasksAnswer {
        total: total.to_string(),
        errors: [],
        tasklist,
        result: true,
    }))
}

pub(crate) const CANCEL: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/Task/Cancel",
    section: Section::Tasks,
    name: "task_cancel",
    summary: "Take a task out of the queue",
    description: "A task that a worker has already is not touched: see `Task/Kill`.",
    takes: NAMED,
    gives: Gives::Json {
        shape: Shape::of::<TasksAnswer>(),
        example: samples::cancelled,
    },
    refusals: &[Kind::TaskNotNamed, Kind::UnknownTask, Kind::NotCancellable],
};

pub(super) async fn cancel(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<TasksAnswer>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let task = app.service.cancel(&call.principal, &named(&call)?).await?;
    Ok(about(&app, &call, task).await)
}

pub(crate) const KILL: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/Task/Kill",
    section: Section::Tasks,
    name: "task_kill",
    summary: "Stop a running task",
    description: "It stops at its next denoising step and ends as `task_cancel`. The answer waits for that a short \
        while; if it comes before, the task is stopped all the same.",
    takes: NAMED,
    gives: Gives::Json {
        shape: Shape::of::<TasksAnswer>(),
        example: samples::cancelled,
    },
    refusals: &[Kind::TaskNotNamed, Kind::UnknownTask, Kind::NotKilled],
};

/// Answers when the task has stopped, or after a short while with the task as it stands then: the
/// wish is on record, and the next step is its last.
pub(super) async fn kill(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<TasksAnswer>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let task = app.service.kill(&call.principal, &named(&call)?).await?;
    Ok(about(&app, &call, task).await)
}

pub(crate) const DELETE_FILES: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/Task/InputOutputDelete",
    section: Section::Tasks,
    name: "task_delete_files",
    summary: "Delete a task's files",
    description: "For tasks that have ended. The record stays, its `outputs` are empty afterwards, and the addresses \
        lead nowhere. To do it again is no fault.",
    takes: NAMED,
    gives: Gives::Json {
        shape: Shape::of::<DoneAnswer>(),
        example: samples::done,
    },
    refusals: &[Kind::TaskNotNamed, Kind::NoFilesOfTask, Kind::NotEnded],
};

pub(super) async fn delete_files(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<DoneAnswer>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let task = named(&call)?;
    app.service.delete_files(&call.principal, &task).await?;
    Ok(Json(DoneAnswer {
        result: true,
        errors: [],
    }))
}
