//! `POST /v1/Task/…`: what a project may do with its own tasks besides watching one.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use tintype_service::Page;

use crate::app::App;
use crate::body::Purpose;
use crate::errors::ApiError;
use crate::fields;
use crate::limits::TASKS_LISTED;
use crate::routes::tasks::{about, named};
use crate::wire::{DoneAnswer, TasksAnswer};

/// Tasks in a page for clients that do not say how many: what the published clients ask for.
const USUAL_PAGE: u64 = 20;

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
    let tasks = tasks.into_iter();
    Ok(Json(TasksAnswer {
        total: total.to_string(),
        errors: [],
        tasklist: tasks
            .map(|task| app.on_the_wire(task, &call.base_url))
            .collect(),
        result: true,
    }))
}

pub(super) async fn cancel(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<TasksAnswer>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let task = app.service.cancel(&call.principal, &named(&call)?).await?;
    Ok(about(&app, &call, task))
}

/// Answers when the task has stopped, or after a short while with the task as it stands then: the
/// wish is on record, and the next step is its last.
pub(super) async fn kill(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<TasksAnswer>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let task = app.service.kill(&call.principal, &named(&call)?).await?;
    Ok(about(&app, &call, task))
}

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
