//! Probes: `GET /healthz` says that the process answers, `GET /readyz` that a task would be kept.

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::errors::ApiError;

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(app): State<App>) -> Result<(StatusCode, &'static str), ApiError> {
    app.service.ready().await?;
    Ok((StatusCode::OK, "ready\n"))
}
