//! `POST /v1/Run/{owner}/{model}`: accepts a task.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use tintype_domain::ToolSlug;
use tintype_service::RunRequest;

use crate::app::App;
use crate::body::Purpose;
use crate::errors::{ApiError, Kind};
use crate::wire::RunAnswer;

pub(super) async fn run(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Json<RunAnswer>, ApiError> {
    let Path((owner, model)) = path.map_err(|_| ApiError::new(Kind::UnknownPath))?;
    let call = app.admit(remote, request, Purpose::Run).await?;
    // What the operator configured may change until the task ends; what a client used may not.
    let from_request = call.base_url != app.service.public_url();
    let request = RunRequest {
        tool: ToolSlug::new(owner, model),
        inputs: call.inputs.raw,
        base_url: from_request.then_some(call.base_url),
    };
    let submitted = app.service.submit(&call.principal, request).await?;
    Ok(Json(RunAnswer {
        errors: [],
        taskid: submitted.task.to_string(),
        socketaccesstoken: submitted.token.0,
        result: true,
    }))
}
