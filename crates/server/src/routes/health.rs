//! Probes: `GET /healthz` says that the process answers, `GET /readyz` that a task would be kept,
//! what is not moderated, and which tools nothing can draw for.

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::errors::{ApiError, Kind};
use crate::openapi::{Endpoint, Gives, Section, Takes, Verb};

pub(super) const ALIVE: Endpoint = Endpoint {
    verb: Verb::Get,
    path: "/healthz",
    section: Section::Service,
    name: "alive",
    summary: "Whether the process lives",
    description: "",
    takes: Takes::Nothing,
    gives: Gives::Line,
    refusals: &[],
};

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

pub(super) const READY: Endpoint = Endpoint {
    verb: Verb::Get,
    path: "/readyz",
    section: Section::Service,
    name: "ready",
    summary: "Whether a task would be kept",
    description: "The first line is `ready`; others say what is not moderated, and which tools nothing can draw \
                  for at the moment, if any.",
    takes: Takes::Nothing,
    gives: Gives::Line,
    refusals: &[Kind::Unavailable],
};

pub(super) async fn ready(State(app): State<App>) -> Result<(StatusCode, String), ApiError> {
    app.service.ready().await?;
    let moderation = app.service.moderation();
    if let Some(refusal) = moderation.refusal() {
        return Err(ApiError::with_sentences(Kind::Unavailable, vec![refusal]));
    }
    let mut lines = "ready\n".to_owned();
    if let Some(gap) = moderation.gap() {
        lines.extend([gap, "\n"]);
    }
    for tool in app.service.tools_without_engine() {
        lines += &format!("nothing can draw for {tool}; `tintype doctor` says why\n");
    }
    Ok((StatusCode::OK, lines))
}
