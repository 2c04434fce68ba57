//! `POST /v1/Run/{owner}/{model}`: accepts a task.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use tintype_domain::ToolSlug;

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
    let submitted = app
        .service
        .submit(
            &call.principal,
            &ToolSlug::new(owner, model),
            call.inputs.raw,
        )
        .await?;
    Ok(Json(RunAnswer {
        errors: [],
        taskid: submitted.task.to_string(),
        socketaccesstoken: submitted.token.0,
        result: true,
    }))
}
